//! What an operator asks for, and what will be done.

pub mod draft;
pub mod inventory;
pub mod rejection;
pub mod resolve;
pub mod spec;
pub mod text;

pub use draft::JobDraft;
pub use inventory::{Inventory, ModelEntry};
pub use rejection::{Kind, Refusal};
pub use resolve::{Defaults, resolve};
pub use spec::{InitImage, JobSpec, ModelSet, Passes, Tiling};
