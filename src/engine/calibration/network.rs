//! Walks through a network with its own weights, all of them on the compute device.

use tch::{Kind, Tensor};

use super::Bench;
use crate::engine::EngineError;
use crate::engine::device::kind;
use crate::engine::loading::assemble::Target;
use crate::engine::loading::{LoadedUnet, Offload};
use crate::families::cost::Work;
use crate::placement::{Finding, Sample};
use crate::units::Size;

/// Pixels of a side, and how often a walk is timed. Between two of them time grows with the operations.
const SIZES: [(u32, usize); 3] = [(64, 7), (256, 3), (512, 2)];
/// Somewhere in the middle of the noise.
const TIME: f64 = 500.0;
/// Tokens of one window of text.
const WINDOW: i64 = 77;

/// Measures one picture in one pass at each size.
pub(super) fn measure(bench: &Bench<'_>) -> Result<(), EngineError> {
    let target = Target { compute: bench.compute, precision: bench.order.precision, cancel: bench.cancel, offload: Offload::Nothing };
    let unet = LoadedUnet::load(&bench.order.network, target)?;
    let random = |shape: &[i64]| {
        let made = Tensor::f_randn(shape, (Kind::Float, bench.compute.device)).map(|t| t.to_kind(kind(bench.order.precision)));
        made.map_err(|e| EngineError::torch(&e, bench.compute.id, "calibration of a network"))
    };
    let wide = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let context = random(&[1, WINDOW, wide(unet.config.context_width)])?;
    for (side, times) in SIZES {
        let Ok(size) = Size::new(side, side) else { continue };
        let work = Work::of(size, 1, 1.0, 1);
        let x = random(&[1, wide(unet.config.in_channels), wide(work.latent.0), wide(work.latent.1)])?;
        let seconds = bench.seconds(times, || unet.model.forward(&unet.residency, &x, TIME, &context).map(drop))?;
        (bench.tell)(Finding::Step(Sample { walk: unet.walk(work), seconds }));
    }
    Ok(())
}
