//! The models that are known, as a value.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Search;
use crate::families::{Description, Family, Role};
use crate::tokens::vocabulary::Place;
use crate::units::{Bytes, Size};
use crate::weights::DType;

/// A model in one of the model folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// What to write after `-m`: the path below its folder, without extension.
    pub name: String,
    /// The kind of folder it lies in: `checkpoints`, `vae`, …
    pub folder: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its size on disk.
    pub bytes: Bytes,
    /// Its family, where the header has been read and names one.
    pub family: Option<Family>,
    /// Which member of it.
    pub variant: Option<String>,
    /// The stored type of most weights.
    pub precision: Option<DType>,
    /// The parts that it holds.
    pub components: Vec<Role>,
    /// Why it cannot be used, where that is known.
    pub problem: Option<String>,
}

/// What was found out about the files that a draft names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// The name under which the set is shown.
    pub name: String,
    /// Where the model is.
    pub path: PathBuf,
    /// The model with every override in place.
    pub description: Option<Description>,
    /// The size of the picture to start from, cut to whole latent cells.
    pub init_size: Option<Size>,
    /// Where the words are that T5 and Qwen know, for the parts that need them.
    pub vocabularies: BTreeMap<Role, Place>,
    /// What was decided for the operator, to be told.
    pub notes: Vec<String>,
    /// Where the parts were looked for that are still missing.
    pub search: Search,
}
