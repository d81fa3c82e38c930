//! Model folders and the weight files in them: found, described from their headers, and mapped. Pictures to start from.
//!
//! Nothing here is downloaded, nothing is executed, and no weight is copied.

pub mod error;
pub mod extra_paths;
pub mod header;
pub mod index;
pub mod inventory;
pub mod likeness;
pub mod mapped;
pub mod moonlet;
pub mod network;
pub mod page_cache;
pub mod picture;
pub mod regular;
pub mod router;
pub mod scan;
pub mod shards;
pub mod sources;
pub mod vocabulary;

pub use error::LibraryError;
pub use mapped::MappedFile;
pub use network::Network;
pub use scan::{FolderKind, Roots, find, models_of, scan};
pub use sources::open;
