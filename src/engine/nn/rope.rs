//! Rotary positions: pairs of neighbouring numbers of a head are turned by angles that grow with a token's place.
//!
//! Source: "`RoFormer`", Su et al., 2021; with several axes, each with pairs of its own, as in black-forest-labs `flux/math.py`.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::{Linear, RmsNorm};
use crate::engine::residency::Held;

/// Sequences of so many kinds are met in turn: prompts of two lengths, in two sizes.
const KEPT: usize = 4;

/// What is said of a sequence: tokens of text, rows and columns of the picture.
pub type Extents = [i64; 3];

/// Rotations for sequences of tokens, kept for those that come again in every step.
#[derive(Debug)]
pub struct Rope {
    theta: f64,
    axes: [i64; 3],
    kept: RefCell<Vec<(Extents, Device, Tensor)>>,
}

impl Rope {
    /// Returns rotations whose pairs turn by `position · theta^(−2k/d)`, `d` numbers of a head for each axis.
    #[must_use]
    pub fn new(theta: f64, axes: [i64; 3]) -> Self {
        Self { theta, axes, kept: RefCell::default() }
    }

    /// Returns the rotations of a sequence as complex numbers `[L, 1, d/2]`; `positions` says where its tokens are.
    pub fn table(&self, extents: Extents, device: Device, positions: impl FnOnce() -> Vec<[i64; 3]>) -> Tensor {
        let mut kept = self.kept.borrow_mut();
        if let Some((.., table)) = kept.iter().find(|(of, on, _)| *of == extents && *on == device) {
            return table.shallow_clone();
        }
        let table = self.rotations(&positions()).to_device(device);
        if kept.len() == KEPT {
            drop(kept.remove(0));
        }
        kept.push((extents, device, table.shallow_clone()));
        table
    }

    /// In doubles, of which what is kept is rounded once.
    fn rotations(&self, positions: &[[i64; 3]]) -> Tensor {
        let frequency = |d: i64, k: i64| self.theta.powf(-(2 * k) as f64 / d as f64);
        let frequencies: Vec<(usize, f64)> =
            self.axes.iter().enumerate().flat_map(|(axis, d)| (0..d / 2).map(move |k| (axis, frequency(*d, k)))).collect();
        let turn = |at: &[i64; 3]| {
            let at = *at;
            frequencies.iter().flat_map(move |(axis, frequency)| {
                let (sine, cosine) = (at[*axis] as f64 * frequency).sin_cos();
                [cosine as f32, sine as f32]
            })
        };
        let numbers: Vec<f32> = positions.iter().flat_map(turn).collect();
        Tensor::from_slice(&numbers).view([positions.len() as i64, 1, frequencies.len() as i64, 2]).view_as_complex()
    }
}

/// Makes queries or keys of `x [B, L, D]`: a product, normed by head, and turned to its place; in `x`'s type.
pub fn placed(held: &Held<'_>, x: &Tensor, product: &Linear, norm: &RmsNorm, heads: i64, rotations: &Tensor) -> Tensor {
    let size = x.size();
    let by_head = product.forward(held, x).view([size[0], size[1], heads, -1]).to_kind(Kind::Float);
    rotate(norm.forward(held, &by_head), rotations).flatten(2, 3).to_kind(x.kind())
}

/// Turns the pairs of `x [B, L, H, d]`, which nobody else has, by the rotations `[L, 1, d/2]`: fp32, the same shape.
#[expect(clippy::needless_pass_by_value, reason = "it is turned where it lies")]
pub fn rotate(x: Tensor, table: &Tensor) -> Tensor {
    let size = x.size();
    let pairs = [size[0], size[1], size[2], size[3] / 2, 2];
    let mut turned = x.to_kind(Kind::Float).view(pairs).view_as_complex();
    turned.g_mul_(table).view_as_real().view(&size[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_turn_by_their_place_on_their_axis() {
        let rope = Rope::new(100.0, [4, 2, 2]);
        let table = rope.table([1, 2, 3], Device::Cpu, || vec![[2, 3, 5]]);
        let angles = [2.0, 0.2, 3.0, 5.0_f64];
        let x = Tensor::from_slice(&[1f32, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]).view([1, 1, 1, 8]);
        let expected = [
            [angles[0].cos(), angles[0].sin()],
            [-angles[1].sin(), angles[1].cos()],
            [angles[2].cos(), angles[2].sin()],
            [-angles[3].sin(), angles[3].cos()],
        ];
        let turned = Vec::<f32>::try_from(rotate(x, &table).flatten(0, -1)).unwrap();
        for (n, expected) in expected.as_flattened().iter().enumerate() {
            assert!((f64::from(turned[n]) - expected).abs() < 1e-6, "{n}: {turned:?}");
        }
    }

    #[test]
    fn a_sequence_that_comes_again_is_not_reckoned_again() {
        let rope = Rope::new(100.0, [2, 2, 2]);
        let first = rope.table([1, 1, 1], Device::Cpu, || vec![[1, 1, 1]]);
        let again = rope.table([1, 1, 1], Device::Cpu, || panic!("it is known"));
        assert_eq!(first.data_ptr(), again.data_ptr());
        for n in 2..8 {
            drop(rope.table([n, 1, 1], Device::Cpu, || vec![[n, 1, 1]]));
        }
        assert_eq!(rope.kept.borrow().len(), KEPT);
    }
}
