//! Modulation: what transformers are told the time by.
//!
//! Source: "Scalable Diffusion Models with Transformers", Peebles and Xie, 2022 (adaptive layer norm).

use tch::{Kind, Tensor};

use super::{Linear, Scope};
use crate::engine::residency::Held;
use crate::families::FamilyError;
use crate::families::apart::Halves;

/// The epsilon of norms that have no weights of their own.
const EPS: f64 = 1e-6;

/// Normalises the last axis of `x [.., C]`, without weights, in its type.
pub fn normed(x: &Tensor) -> Tensor {
    let width = *x.size().last().unwrap_or(&1);
    x.layer_norm([width], None::<Tensor>, None::<Tensor>, EPS, true)
}

/// Returns `norm(x) · (1 + scale) + shift` for `x [B, L, C]` and `shift, scale [B, 1, C]`, in its type.
pub fn modulated(x: &Tensor, shift: &Tensor, scale: &Tensor) -> Tensor {
    normed(x).g_mul_(&(scale + 1.0)).g_add_(shift)
}

/// Adds what a layer gave, through its gate, to the stream that it read: `x + gate · layer`, in `x`'s type.
pub fn gated(mut x: Tensor, gate: &Tensor, layer: &Tensor) -> Tensor {
    x.addcmul_(gate, layer)
}

/// Brings what overflowed in fp16 back to its largest number; other types are as they are.
///
/// Source: ComfyUI `comfy/ldm/flux/layers.py` and `comfy/ldm/lumina/model.py`, which do so between blocks.
pub fn within_half(mut x: Tensor) -> Tensor {
    const LARGEST: f64 = 65504.0;
    if x.kind() == Kind::Half { x.clamp_(-LARGEST, LARGEST) } else { x }
}

/// A matrix that makes several vectors of the embedding of time: shifts, scales and gates.
#[derive(Debug, Clone)]
pub struct Modulation(Linear);

impl Modulation {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>) -> Result<Self, FamilyError> {
        Linear::new(scope).map(Self)
    }

    /// `emb [B, E]` after its activation to `N` of `[B, 1, C]` of this type.
    pub fn forward<const N: usize>(&self, held: &Held<'_>, emb: &Tensor, kind: Kind) -> [Tensor; N] {
        let all = self.0.forward(held, emb).to_kind(kind).unsqueeze(1);
        let width = all.size()[2] / N as i64;
        std::array::from_fn(|n| all.narrow(2, n as i64 * width, width))
    }
}

/// A modulation of shift and scale, whichever way round they are stored.
#[derive(Debug, Clone)]
pub enum ShiftScale {
    /// As two matrices.
    Apart {
        /// Makes the shift.
        shift: Modulation,
        /// Makes the scale.
        scale: Modulation,
    },
    /// As one, shift first.
    ShiftFirst(Modulation),
    /// As one, scale first.
    ScaleFirst(Modulation),
}

impl ShiftScale {
    /// Finds the layer's weights.
    pub fn new(scope: &Scope<'_>, stored: Halves) -> Result<Self, FamilyError> {
        let layer = |name: &str| Modulation::new(&scope.at(name));
        Ok(match stored {
            Halves::Apart => Self::Apart { shift: layer("shift")?, scale: layer("scale")? },
            Halves::ShiftScale => Self::ShiftFirst(layer("shift_scale")?),
            Halves::ScaleShift => Self::ScaleFirst(layer("scale_shift")?),
        })
    }

    /// `emb [B, E]` after its activation to shift and scale, each `[B, 1, C]` of this type.
    pub fn forward(&self, held: &Held<'_>, emb: &Tensor, kind: Kind) -> [Tensor; 2] {
        match self {
            Self::Apart { shift, scale } => {
                let [shift] = shift.forward(held, emb, kind);
                let [scale] = scale.forward(held, emb, kind);
                [shift, scale]
            }
            Self::ShiftFirst(both) => both.forward(held, emb, kind),
            Self::ScaleFirst(both) => {
                let [scale, shift] = both.forward(held, emb, kind);
                [shift, scale]
            }
        }
    }
}
