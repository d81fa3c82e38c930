//! What goes into a picture's file besides pixels, what the file is called, and how far pictures are apart.
//!
//! Everything here is text. Samplers and models come as their names: this module knows how a picture
//! is described, not how it is made, and it touches no file.

pub mod a1111_text;
pub mod difference;
pub mod error;
pub mod filename;
pub mod latent;
pub mod parameters;
pub mod png_text;

pub use difference::Difference;
pub use error::ImageryError;
pub use filename::{FileStem, NameFields, NamePattern};
pub use latent::{KeptLatent, LatentDifference};
pub use parameters::Parameters;
pub use png_text::{TextChunk, TextKind, text_chunks};
