//! Where 16 bits are too few.
//!
//! A network whose weights are bf16, with 8 bits of mantissa, keeps its stream, the sum that layers read from and add to,
//! in fp32. Products read it rounded to the weights' type, once, and stay as fast as they are; norms and sums compute in
//! fp32, and so do the small convolutions that the whole stream passes.
//!
//! Small products gain nothing from 16 bits: a GPU is done with them sooner than it is told of the next, and a processor
//! takes twice as long as in fp32. They compute in fp32, too, by what their weights are in bf16. moonlet's are all small:
//! its pictures in bf16 are off those in fp32 by 0.27 of 255 in the mean, which is how weights were rounded; by 0.35 with
//! its products in bf16.
//!
//! What is computed in fp32 or fp16 does not change: there every type is the weights' own.

use tch::{Kind, Tensor};

/// The most weights of a small product: to turn them into fp32 takes less than the product.
const FEW_WEIGHTS: usize = 1 << 17;
/// The most that it multiplies and adds for one picture, whatever the batch is: its pictures are the same in every batch.
const FEW_SUMS: usize = 1 << 25;

/// Returns the type of the stream of a network whose weights have this type.
#[must_use]
pub fn stream(weights: Kind) -> Kind {
    if weights == Kind::BFloat16 { Kind::Float } else { weights }
}

/// Returns the type that a product with so many weights of a type computes in, for so many rows of each picture.
#[must_use]
pub fn of_product((kind, weights): (Kind, usize), rows: i64) -> Kind {
    let is_small = weights <= FEW_WEIGHTS && weights.saturating_mul(usize::try_from(rows).unwrap_or(usize::MAX)) <= FEW_SUMS;
    if is_small { stream(kind) } else { kind }
}

/// Adds what a layer gave to the stream that it read, in the stream's type.
pub fn add(mut layer: Tensor, stream: &Tensor) -> Tensor {
    // Where both are of one type, no memory beside the layer's is needed.
    if layer.kind() == stream.kind() { layer.g_add_(stream) } else { layer + stream }
}

/// Returns a tensor in a type. Where it has it already, libtorch is not asked: a step asks this hundreds of times.
pub fn in_kind(x: &Tensor, kind: Kind) -> Tensor {
    if x.kind() == kind { x.shallow_clone() } else { x.to_kind(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_products_of_bf16_are_widened() {
        for (weights, rows, kind, wanted) in [
            (64 * 64, 77, Kind::BFloat16, Kind::Float),
            // A convolution of moonlet's, and the same at eight times its size.
            (64 * 128 * 9, 8 * 8, Kind::BFloat16, Kind::Float),
            (64 * 128 * 9, 64 * 64, Kind::BFloat16, Kind::BFloat16),
            // Of SD1.5: its narrowest matrix over a picture's tokens, a text's keys, the time.
            (320 * 320, 64 * 64, Kind::BFloat16, Kind::BFloat16),
            (320 * 768, 77, Kind::BFloat16, Kind::BFloat16),
            (1280 * 1280, 1, Kind::BFloat16, Kind::BFloat16),
            (64 * 64, 77, Kind::Half, Kind::Half),
            (64 * 64, i64::MAX, Kind::BFloat16, Kind::BFloat16),
            (64 * 64, 77, Kind::Float, Kind::Float),
        ] {
            assert_eq!(of_product((kind, weights), rows), wanted, "{weights} {kind:?} over {rows} rows");
        }
    }
}
