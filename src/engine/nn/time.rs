//! How networks are told the time.

use tch::{Device, Kind, Tensor};

use super::{Linear, Scope};
use crate::engine::residency::Held;
use crate::families::FamilyError;

/// Returns `[1, width]` of cosines, then sines, in fp32: 16-bit times would be steps of 4 apart near 999.
///
/// Source: diffusers `models/embeddings.py`, `get_timestep_embedding` with `flip_sin_to_cos` and no shift of frequencies, which is
/// how every family here reads times, sizes and strengths of guidance.
pub fn time_embedding(time: f64, width: i64, device: Device) -> Tensor {
    let half = width / 2;
    let exponents = Tensor::arange(half, (Kind::Float, device)) * (-(10_000f64.ln()) / half as f64);
    let angles = exponents.exp() * time;
    Tensor::cat(&[angles.cos(), angles.sin()], 0).unsqueeze(0)
}

/// Two matrices with SiLU between them: what networks make of a time, of sizes and of a text as a whole.
#[derive(Debug, Clone)]
pub struct Embedder {
    first: Linear,
    second: Linear,
}

impl Embedder {
    /// Finds the weights of both layers by their names.
    pub fn new(scope: &Scope<'_>, [first, second]: [&str; 2]) -> Result<Self, FamilyError> {
        Ok(Self { first: Linear::new(&scope.at(first))?, second: Linear::new(&scope.at(second))? })
    }

    /// `x [B, in]` to `[B, out]`, in the weights' type, or in a wider one where they are few.
    pub fn forward(&self, held: &Held<'_>, x: &Tensor) -> Tensor {
        self.second.forward(held, &self.first.forward(held, x).silu_())
    }

    /// Returns the type that its first matrix would compute in for so many rows.
    #[must_use]
    pub fn reads(&self, held: &Held<'_>, rows: i64) -> Kind {
        self.first.reads(held, rows)
    }
}
