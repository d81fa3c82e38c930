//! Weights from one storage into another, streaming and without libtorch.
//!
//! A result is laid out before it is made; threads convert chunks of tensors and write them to their places; a journal says
//! which of them are on the disk. A conversion that was cut off goes on from there, and ends with the same bytes.

pub mod backup;
pub mod chunk;
pub mod convert;
pub mod error;
pub mod expand;
pub mod feed;
pub mod foretell;
pub mod form;
pub mod gguf_file;
pub mod gguf_plan;
pub mod gguf_words;
pub mod journal;
pub mod layout;
pub mod output;
pub mod part_file;
pub mod pipeline;
pub mod place;
pub mod plan;
pub mod recheck;
pub mod report;
pub mod room;
pub mod source;
pub mod stock;
pub mod tray;
pub mod turn;
pub mod view;
pub mod whole;
pub mod work;

pub use backup::Brought;
pub use convert::{Aside, Check, Outcome, Sizes, Wish, check, convert, lookup, sizes, sizes_in};
pub use error::ConversionError;
pub use foretell::foretell;
pub use pipeline::Watch;
pub use place::folders;
pub use recheck::{Rechecked, recheck};
pub use room::{Room, remove};
pub use source::Part;
pub use stock::Stock;
pub use turn::is_in_use;
