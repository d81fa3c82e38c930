//! The transformer of Flux.1.

pub mod layers;
pub mod model;

pub use model::Flux;
