//! From mapped files to networks with weights on the compute device.

pub mod arena;
pub mod assemble;
pub mod encoders;
pub mod vault;

pub use assemble::{Asked, Asks, LoadedUnet, LoadedVae, Offload, PlacedVae};
pub use encoders::{LoadedClip, LoadedQwen, LoadedT5};
pub use vault::{LoadError, Vault, Weights};
