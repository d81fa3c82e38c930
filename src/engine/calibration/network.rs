//! Walks through a network with its own weights, all of them on the compute device.

use tch::{Kind, Tensor};

use super::Bench;
use crate::engine::EngineError;
use crate::engine::device::kind;
use crate::engine::loading::assemble::Target;
use crate::engine::loading::{LoadedDenoiser, Offload};
use crate::engine::models::denoiser::Pass;
use crate::families::cost::Work;
use crate::placement::{Finding, Sample};
use crate::units::Size;

/// Pixels of a side, and how often a walk is timed. Between two of them time grows with the operations.
const SIZES: [(u32, usize); 3] = [(64, 7), (256, 3), (512, 2)];

/// Measures one picture in one pass at each size.
pub(super) fn measure(bench: &Bench<'_>) -> Result<(), EngineError> {
    let target = Target { compute: bench.compute, precision: bench.order.precision, cancel: bench.cancel, offload: Offload::Nothing };
    let denoiser = LoadedDenoiser::load(&bench.order.network, target)?;
    let random = |shape: &[i64]| {
        let made = Tensor::f_randn(shape, (Kind::Float, bench.compute.device)).map(|t| t.to_kind(kind(bench.order.precision)));
        made.map_err(|e| EngineError::torch(&e, bench.compute.id, "calibration of a network"))
    };
    let wide = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let context = random(&[1, wide(denoiser.config.text_tokens()), wide(denoiser.config.context_width())])?;
    let vector = denoiser.config.vector_width().map(|width| random(&[1, wide(width)])).transpose()?;
    let time = denoiser.config.middle_time();
    for (side, times) in SIZES {
        let Ok(size) = Size::new(side, side) else { continue };
        let work = Work::of(size, 1, 1.0, 1);
        let x = random(&[1, wide(denoiser.config.in_channels()), wide(work.latent.0), wide(work.latent.1)])?;
        let pass = Pass { vector: vector.as_ref(), ..Pass::of_text(&x, time, &context) };
        let seconds = bench.seconds(times, || denoiser.model.forward(&denoiser.residency, pass).map(drop))?;
        (bench.tell)(Finding::Step(Sample { walk: denoiser.walk(work), seconds, beyond: None }));
    }
    Ok(())
}
