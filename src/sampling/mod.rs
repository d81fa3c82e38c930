//! Noise schedules and solvers: numbers in f64, and no tensors.
//!
//! A [`NoiseTable`] says which noise level belongs to which time of training and how noise and picture
//! stand together there, a [`Course`] picks the
//! levels of one run from it, and [`solve`] walks down them. A solver works on anything that can be
//! summed with weights, so the same lines run on golden vectors in tests and on latents in the engine.

pub mod brownian;
pub mod guidance;
pub mod method;
pub mod noising;
pub mod sigmas;
pub mod solver;
pub mod table;

mod dpmpp;
mod euler;
mod heun;
mod lcm;
mod unipc;

#[cfg(test)]
mod toy;

pub use brownian::Brownian;
pub use guidance::{Spread, StartNoise, guide, guide_rescaled};
pub use method::{Prediction, Sampler, Schedule};
pub use noising::Noising;
pub use sigmas::Course;
pub use solver::{Field, Linear, solve};
pub use table::{NoiseTable, TimeRule, flux_mu};
