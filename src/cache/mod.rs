//! Converted weights on disk: what each was made of, and what may be used.
//!
//! Beside every conversion, in a folder `.perilune` that no loader looks into, lie its manifest (what it was made of) and its
//! sums (which bytes are where), once it was used again, how often, and whether the operator keeps it. The file itself says in its header what it was made of, so one whose manifest was lost is made
//! again in its place, and is nobody else's.
//!
//! Apart from all that, [`embeddings`] keeps what text encoders made of texts.

use std::path::{Path, PathBuf};

pub mod backup;
pub mod clean;
pub mod embeddings;
pub mod error;
mod index;
pub mod kept;
mod looking;
pub mod manifest;
pub mod outside;
pub mod shelf;
pub mod store;
pub mod users;
pub mod uses;
pub mod verify;

pub use clean::{Choice, Rule, choose, discard};
pub use embeddings::Embeddings;
pub use error::CacheError;
pub use manifest::{Errors, Manifest, Origin, Worst, sweep};
pub use shelf::{Item, Shelf, State};
pub use store::{Access, Journey, Store};
pub use users::Users;
pub use uses::Uses;
pub use verify::{Segment, remember, verify, write_sums};

/// The folder beside conversions that holds what is about them.
const FOLDER: &str = ".perilune";

/// Returns where what is about `target` lies, by the kind of it.
#[must_use]
pub fn beside(target: &Path, kind: &str) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(FOLDER).join(format!("{name}.{kind}"))
}
