//! Memory, and blocks of each kind at two sizes: a small one that reads its weights, and a large one that computes.

use tch::{Kind, Tensor};

use super::Bench;
use crate::engine::EngineError;
use crate::engine::device::kind;
use crate::engine::nn::attention::Causal;
use crate::engine::nn::conv::convolve;
use crate::engine::nn::{attend, product};
use crate::placement::{Finding, Speed, Subject};
use crate::weights::BlockKind;

/// Channels at the bottom of Stable Diffusion's network, where most of its weights are.
const CHANNELS: i64 = 1280;
/// Its attention heads.
const HEADS: i64 = 8;
/// Cells of a side at both sizes: the bottom of 128 × 128 pixels, and its second level at 512 × 512.
const SIDES: [i64; 2] = [2, 32];
/// Weights that take turns, so that none is read from a cache of the processor: larger than those are together.
const IN_TURN: usize = 128 << 20;
/// Walks at each size that are timed.
const TIMES: usize = 5;
/// Elements that are copied: far more than a cache holds.
const COPIED: i64 = 64 << 20;

/// Measures copying within the memory of the device.
pub(super) fn memory(bench: &Bench<'_>) -> Result<(), EngineError> {
    let failed = |e| EngineError::torch(&e, bench.compute.id, "calibration of memory");
    let make = || Tensor::f_zeros([COPIED], (Kind::Float, bench.compute.device)).map_err(failed);
    let (from, mut to) = (make()?, make()?);
    let seconds = bench.seconds(TIMES, || to.f_copy_(&from).map_err(failed))?;
    bench.link(Subject::Memory, COPIED as f64 * 4.0 / seconds.max(f64::MIN_POSITIVE));
    Ok(())
}

/// Measures each kind.
pub(super) fn measure(bench: &Bench<'_>) -> Result<(), EngineError> {
    for kind in BlockKind::ALL {
        let blocks = blocks(bench, kind)?;
        let at = |side: i64| -> Result<Point, EngineError> {
            let input = Tensor::f_rand([1, CHANNELS, side, side], (self::kind(bench.order.precision), bench.compute.device));
            let input = input.map_err(|e| EngineError::torch(&e, bench.compute.id, "calibration of blocks"))?;
            let all = || {
                bench.cancel.check()?;
                for weights in &blocks {
                    drop(compute(kind, weights, &input));
                }
                Ok(())
            };
            let seconds = bench.seconds(TIMES, all)? / blocks.len().max(1) as f64;
            Ok(Point { flops: flops(kind, side * side), seconds })
        };
        let (small, large) = (at(SIDES[0])?, at(SIDES[1])?);
        let bytes = elements(kind) as f64 * bench.order.precision.bytes() as f64;
        (bench.tell)(Finding::Speed(Subject::Kind(kind), two_terms(small, large, bytes)));
    }
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Point {
    flops: f64,
    seconds: f64,
}

/// Returns operations and bytes a second, such that both points take `flops / F + bytes / M`.
fn two_terms(small: Point, large: Point, bytes: f64) -> Speed {
    let per_flop = (large.seconds - small.seconds).max(large.seconds * SURE) / (large.flops - small.flops);
    let reading = (small.seconds - small.flops * per_flop).max(small.seconds * SURE);
    Speed { flops: 1.0 / per_flop, bytes_per_second: bytes / reading, measured: true }
}

/// The least share of a measurement that is taken for one of its terms: noise must not make it nothing.
const SURE: f64 = 0.05;

/// The weights of as many blocks as take turns.
fn blocks(bench: &Bench<'_>, kind: BlockKind) -> Result<Vec<Vec<Tensor>>, EngineError> {
    let make = |shape: &Vec<i64>| {
        let weight = Tensor::f_rand(shape.as_slice(), (self::kind(bench.order.precision), bench.compute.device));
        // Small, so that no sum runs over in 16 bits.
        weight.and_then(|w| w.f_mul_scalar(1e-3)).map_err(|e| EngineError::torch(&e, bench.compute.id, "calibration of blocks"))
    };
    let count = IN_TURN.div_ceil(elements(kind) * bench.order.precision.bytes() as usize);
    (0..count).map(|_| shapes(kind).iter().map(make).collect()).collect()
}

fn shapes(kind: BlockKind) -> Vec<Vec<i64>> {
    match kind {
        BlockKind::Convolution => vec![vec![CHANNELS, CHANNELS, 3, 3]],
        BlockKind::Attention => vec![vec![CHANNELS, CHANNELS]; 4],
        BlockKind::FeedForward => vec![vec![8 * CHANNELS, CHANNELS], vec![CHANNELS, 4 * CHANNELS]],
    }
}

fn elements(kind: BlockKind) -> usize {
    shapes(kind).iter().map(|shape| shape.iter().product::<i64>().unsigned_abs() as usize).sum()
}

/// As `families::cost` counts them.
fn flops(kind: BlockKind, cells: i64) -> f64 {
    let weights = 2.0 * elements(kind) as f64 * cells as f64;
    match kind {
        BlockKind::Attention => weights + 4.0 * cells as f64 * cells as f64 * CHANNELS as f64,
        BlockKind::Convolution | BlockKind::FeedForward => weights,
    }
}

/// `input [1, C, H, W]` through a block.
fn compute(kind: BlockKind, weights: &[Tensor], input: &Tensor) -> Tensor {
    let tokens = || input.flatten(2, 3).transpose(1, 2).contiguous();
    let none: Option<&Tensor> = None;
    match (kind, weights) {
        (BlockKind::Convolution, [kernel]) => convolve(input, kernel, none, 1, 1),
        (BlockKind::Attention, [q, k, v, out]) => {
            let x = tokens();
            let attended = attend(&product(&x, q, none), &product(&x, k, none), &product(&x, v, none), HEADS, Causal::No);
            product(&attended, out, none)
        }
        (BlockKind::FeedForward, [first, second]) => {
            let halves = product(&tokens(), first, none).chunk(2, -1);
            match halves.as_slice() {
                [value, gate] => product(&(value * gate.gelu("none")), second, none),
                _ => input.shallow_clone(),
            }
        }
        (BlockKind::Convolution | BlockKind::Attention | BlockKind::FeedForward, _) => input.shallow_clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_terms_are_found_and_noise_makes_neither_nothing() {
        let point = |flops: f64| Point { flops, seconds: flops / 1e11 + 0.01 };
        let speed = two_terms(point(1e6), point(1e10), 1e8);
        assert!((speed.flops / 1e11 - 1.0).abs() < 1e-9 && (speed.bytes_per_second / 1e10 - 1.0).abs() < 1e-6, "{speed:?}");
        let odd = two_terms(Point { flops: 1.0, seconds: 2.0 }, Point { flops: 1e9, seconds: 1.0 }, 1e8);
        assert!(odd.flops.is_finite() && odd.flops > 0.0 && odd.bytes_per_second > 0.0, "{odd:?}");
    }
}
