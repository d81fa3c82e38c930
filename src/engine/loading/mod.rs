//! From mapped files to networks with weights on the compute device.

pub mod arena;
pub mod assemble;
pub mod vault;

pub use assemble::{Asked, Asks, LoadedClip, LoadedDenoiser, LoadedEncoder, LoadedVae, Offload, PlacedVae};
pub use vault::{LoadError, Vault, Weights};
