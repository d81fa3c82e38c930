//! From mapped files to networks with weights on the compute device.

pub mod arena;
pub mod assemble;
pub mod encoders;
mod norms;
pub mod vault;

pub use assemble::{Asked, Asks, LoadedDenoiser, LoadedVae, Offload, PlacedVae};
pub use encoders::{LoadedClip, LoadedEncoder, LoadedQwen, LoadedT5};
pub use vault::{LoadError, Vault, Weights};
