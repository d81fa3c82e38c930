//! What can go wrong with a weight file on disk.

use std::io;
use std::path::{Path, PathBuf};

use super::vocabulary::Tried;
use crate::families::FamilyError;
use crate::formats::FormatError;
use crate::quant::QuantError;
use crate::tokens::{VocabularyError, VocabularyKind};
use crate::workflow::{Kind, Refusal};

/// What is wrong with a file or folder, and which.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// Nothing is there.
    #[error("{}: there is no such file or folder", path.display())]
    NotFound {
        /// Where.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {doing} failed: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The bytes are not a weight file.
    #[error("{}: {source}", path.display())]
    Format {
        /// Where.
        path: PathBuf,
        /// What is wrong with them.
        source: FormatError,
    },
    /// Weights are stored in a way that does not hold together.
    #[error("{}: {source}", path.display())]
    Storage {
        /// Where.
        path: PathBuf,
        /// What is wrong with them.
        source: QuantError,
    },
    /// The tensors are no model we know.
    #[error("{}: {source}", path.display())]
    Family {
        /// Where.
        path: PathBuf,
        /// What is wrong with them.
        source: FamilyError,
    },
    /// A folder that is not laid out as a diffusers model.
    #[error("{}: the folder holds no model_index.json, so it is not a diffusers model", path.display())]
    NotDiffusers {
        /// Where.
        path: PathBuf,
    },
    /// A `model_index.json` that cannot be read as one.
    #[error("{}: not a valid model_index.json: {reason}", path.display())]
    BadModelIndex {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A part of a diffusers folder without weights that we open.
    #[error("{}: no .safetensors file{}", path.display(), if *.pickles { ", only pickles (.bin), which can run code when opened" } else { "" })]
    NoWeights {
        /// The part's folder.
        path: PathBuf,
        /// Whether there are pickles instead.
        pickles: bool,
    },
    /// One of the files among which a model is divided, in place of the model.
    #[error("{}: this is one of {parts} parts of a model, and not all of it", path.display())]
    OnePart {
        /// Where.
        path: PathBuf,
        /// How many there are.
        parts: u64,
    },
    /// A pipe, a device, a socket, or a folder in a file's place.
    #[error("{}: this is no regular file", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
    },
    /// A file that was given as a picture.
    #[error("{}: no picture that can be read: {reason}", path.display())]
    Picture {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An index or description that is longer than any real one.
    #[error("{}: the file is longer than {limit} bytes, the most that is read of its kind", path.display())]
    TooLong {
        /// Where.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
    /// A model's folder lacks something that its own index names.
    #[error("{}: the model's index names this, but it is not there", path.display())]
    Incomplete {
        /// What is missing.
        path: PathBuf,
    },
    /// What was found as a vocabulary is none.
    #[error("{}: {source}", path.display())]
    Vocabulary {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        source: VocabularyError,
    },
    /// A text encoder's vocabulary is nowhere.
    #[error("{kind}'s vocabulary was not found; tried {}", told(tried))]
    NoVocabulary {
        /// Whose.
        kind: VocabularyKind,
        /// Where it was looked for.
        tried: Vec<Tried>,
    },
    /// A shard holds other tensors than its index says.
    #[error("{}: the index puts the tensor `{tensor}` here, but it is not", path.display())]
    NotInShard {
        /// The shard.
        path: PathBuf,
        /// The tensor.
        tensor: String,
    },
}

fn told(tried: &[Tried]) -> String {
    let one = |t: &Tried| {
        let place = t.place.display();
        t.problem.as_ref().map_or_else(|| place.to_string(), |problem| format!("{place} ({problem})"))
    };
    tried.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl LibraryError {
    /// Returns an error of the operating system, "not found" told apart.
    #[must_use]
    pub fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::NotFound { Self::NotFound { path } } else { Self::Io { path, doing, source } }
    }

    /// Returns what makes errors of this file out of what is wrong with its tensors.
    pub fn of_tensors(path: &Path) -> impl Fn(FamilyError) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Family { path: path.clone(), source }
    }

    /// Returns what is wrong with a picture.
    pub(super) fn picture(path: &Path, error: &image::ImageError) -> Self {
        Self::Picture { path: path.to_owned(), reason: error.to_string() }
    }

    /// Returns the same error about something that a model's own index names: if it is missing, the model is damaged.
    #[must_use]
    pub fn of_a_part(self) -> Self {
        match self {
            Self::NotFound { path } => Self::Incomplete { path },
            other => other,
        }
    }

    /// Returns the kind of refusal it leads to.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NotFound { .. } | Self::NoVocabulary { .. } => Kind::NotFound,
            Self::Io { .. } => Kind::Failed,
            Self::Format { .. }
            | Self::Family { .. }
            | Self::Storage { .. }
            | Self::NotDiffusers { .. }
            | Self::BadModelIndex { .. }
            | Self::NoWeights { .. }
            | Self::OnePart { .. }
            | Self::NotAFile { .. }
            | Self::Vocabulary { .. }
            | Self::Picture { .. }
            | Self::TooLong { .. }
            | Self::Incomplete { .. }
            | Self::NotInShard { .. } => Kind::BadFile,
        }
    }

    /// Returns what the operator can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => "check the path; `perilune models list` shows the models that are known".to_owned(),
            Self::Io { .. } => "check the file's permissions and its disk".to_owned(),
            Self::Format { source, .. } => source.hint().to_owned(),
            Self::Family { source, .. } => source.hint().to_owned(),
            Self::Storage { .. } => {
                "the file is incomplete or of a version that is not known; get it again, or convert its original".to_owned()
            }
            Self::NotDiffusers { .. } => "give the folder that holds model_index.json, or a single .safetensors file".to_owned(),
            Self::NoWeights { pickles: true, .. } => FormatError::Pickle.hint().to_owned(),
            Self::NoWeights { pickles: false, .. }
            | Self::BadModelIndex { .. }
            | Self::TooLong { .. }
            | Self::Incomplete { .. }
            | Self::NotInShard { .. } => "the folder is incomplete; get it again from its source".to_owned(),
            Self::OnePart { path, .. } if path.extension().is_some_and(|e| e == "gguf") => {
                "GGUF files in parts are not read; join them, with `llama-gguf-split --merge`".to_owned()
            }
            Self::OnePart { .. } => "give the folder: its parts together are the model".to_owned(),
            Self::NotAFile { .. } => "give a .safetensors or .gguf file, or a diffusers folder".to_owned(),
            Self::Vocabulary { .. } => "get the model's tokenizer.json again".to_owned(),
            Self::NoVocabulary { .. } => {
                "put the model's tokenizer.json beside its weights, or name its folder in config.yaml: `tokenizers: [FOLDER]`; a daemon that runs knows what is \
                 new there after `perilune stop`"
                    .to_owned()
            }
            Self::Picture { .. } => "give a PNG, JPEG or WebP file".to_owned(),
        }
    }
}

impl From<LibraryError> for Refusal {
    fn from(error: LibraryError) -> Self {
        Self::new(error.kind(), error.to_string(), error.hint())
    }
}
