//! From mapped files to networks with weights on the compute device.

pub mod arena;
pub mod assemble;
pub mod vault;

pub use assemble::{Asked, LoadedClip, LoadedUnet, LoadedVae, Offload, OpenedVae};
pub use vault::{LoadError, Vault, Weights};
