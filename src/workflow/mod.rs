//! What an operator asks for, and what will be done.

pub mod again;
pub mod command_line;
pub mod draft;
pub mod inventory;
pub mod lacking;
pub mod rejection;
pub mod resolve;
pub mod set_id;
pub mod spec;
pub mod text;

pub use command_line::{Whose, command_line, quote, script, script_to};
pub use draft::JobDraft;
pub use inventory::{Inventory, ModelEntry};
pub use lacking::Search;
pub use rejection::{Kind, Refusal};
pub use resolve::{Defaults, check_ranges, resolve};
pub use set_id::SetId;
pub use spec::{Conversion, InitImage, JobSpec, ModelSet, Named, Passes, Tiling, Wish, part_of};
