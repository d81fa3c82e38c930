//! Pictures as tokens: patches of 2 × 2 cells, row by row.

use tch::Tensor;

/// The order of a patch's numbers in its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Channel, row, column: Flux.
    ChannelFirst,
    /// Row, column, channel: what SD3 gives, and what Z-Image takes and gives.
    ChannelLast,
}

/// Returns a latent whose sides are even, continued from its other side where they are not.
///
/// Source: ComfyUI `comfy/ldm/common_dit.py`, `pad_to_patch_size`.
pub fn even(x: &Tensor) -> Tensor {
    let (height, width) = sides(x);
    if height % 2 == 0 && width % 2 == 0 {
        return x.shallow_clone();
    }
    x.pad([0, width % 2, 0, height % 2], "circular", None)
}

/// `x [B, C, h, w]` with even sides to `[B, h/2 · w/2, 4·C]`.
pub fn pack(x: &Tensor, order: Order) -> Tensor {
    let size = x.size();
    let (batch, channels, rows, columns) = (size[0], size[1], size[2] / 2, size[3] / 2);
    let patches = x.reshape([batch, channels, rows, 2, columns, 2]);
    let patches = match order {
        Order::ChannelFirst => patches.permute([0, 2, 4, 1, 3, 5]),
        Order::ChannelLast => patches.permute([0, 2, 4, 3, 5, 1]),
    };
    patches.reshape([batch, rows * columns, channels * 4])
}

/// `tokens [B, ⌈h/2⌉ · ⌈w/2⌉, 4·C]` to `[B, C, h, w]`.
pub fn unpack(tokens: &Tensor, order: Order, (height, width): (i64, i64)) -> Tensor {
    let size = tokens.size();
    let (batch, channels, rows, columns) = (size[0], size[2] / 4, (height + 1) / 2, (width + 1) / 2);
    let patches = match order {
        Order::ChannelFirst => tokens.reshape([batch, rows, columns, channels, 2, 2]).permute([0, 3, 1, 4, 2, 5]),
        Order::ChannelLast => tokens.reshape([batch, rows, columns, 2, 2, channels]).permute([0, 5, 1, 3, 2, 4]),
    };
    patches.reshape([batch, channels, rows * 2, columns * 2]).narrow(2, 0, height).narrow(3, 0, width)
}

/// Returns height and width of a latent.
#[must_use]
pub fn sides(x: &Tensor) -> (i64, i64) {
    let size = x.size();
    (size[2], size[3])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn what_is_packed_comes_back() {
        let x = Tensor::arange(2 * 3 * 4 * 6, (Kind::Float, Device::Cpu)).view([2, 3, 4, 6]);
        for order in [Order::ChannelFirst, Order::ChannelLast] {
            assert!(unpack(&pack(&x, order), order, (4, 6)) == x, "{order:?}");
        }
        let first = |order| Vec::<f32>::try_from(pack(&x, order).get(0).get(0)).unwrap();
        assert_eq!(first(Order::ChannelFirst), [0.0, 1.0, 6.0, 7.0, 24.0, 25.0, 30.0, 31.0, 48.0, 49.0, 54.0, 55.0]);
        assert_eq!(first(Order::ChannelLast), [0.0, 24.0, 48.0, 1.0, 25.0, 49.0, 6.0, 30.0, 54.0, 7.0, 31.0, 55.0]);
    }

    #[test]
    fn odd_sides_are_continued_from_the_other_side_and_cut_again() {
        let x = Tensor::arange(3 * 5, (Kind::Float, Device::Cpu)).view([1, 1, 3, 5]);
        let padded = even(&x);
        assert_eq!(padded.size(), [1, 1, 4, 6]);
        assert!(padded.double_value(&[0, 0, 3, 5]).abs() < f64::EPSILON);
        assert!(unpack(&pack(&padded, Order::ChannelLast), Order::ChannelLast, (3, 5)) == x);
    }
}
