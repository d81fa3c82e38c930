//! How networks are told the time.

use tch::{Device, Kind, Tensor};

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
