//! Weights from one storage into another, streaming and without libtorch.
//!
//! A result is laid out before it is made; threads convert chunks of tensors and write them to their places; a journal says
//! which of them are on the disk. A conversion that was cut off goes on from there, and ends with the same bytes.

pub mod chunk;
pub mod convert;
pub mod error;
pub mod feed;
pub mod form;
pub mod gguf_file;
pub mod journal;
pub mod output;
pub mod part_file;
pub mod pipeline;
pub mod place;
pub mod plan;
pub mod report;
pub mod source;

pub use convert::{Check, Outcome, Sizes, Wish, check, convert, sizes};
pub use error::ConversionError;
pub use part_file::is_in_use;
pub use pipeline::Watch;
pub use place::folders;
pub use source::Part;
