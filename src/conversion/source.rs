//! What is converted: the tensors of one part of a model, or of a whole checkpoint.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::feed::Feed;
use super::gguf_words::{self, Words};
use super::whole::Whole;
use super::{ConversionError, pipeline};
use crate::cache::Origin;
use crate::families::{Family, Joined, Role, Source, detect};
use crate::library::{self, LibraryError, MappedFile};
use crate::quant::comfy_gguf::{Architecture, Prefix};
use crate::quant::detect::Precision;
use crate::quant::{self, floats};
use crate::weights::{Catalog, Code, Coded, TensorEntry};
use crate::workflow::Kind;

/// Which part of a file is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// One part, without the others.
    One(Role),
    /// Everything, under its own names.
    Whole,
}

impl Part {
    /// Every part, the usual one first.
    pub const ALL: [Self; 7] = [
        Self::One(Role::Denoiser),
        Self::One(Role::ClipL),
        Self::One(Role::ClipG),
        Self::One(Role::T5),
        Self::One(Role::Qwen),
        Self::One(Role::Vae),
        Self::Whole,
    ];

    /// Returns the name used in flags and recipes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One(role) => role.name(),
            Self::Whole => "whole",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Part {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|p| p.name() == text).ok_or_else(|| format!("`{text}` is no part of a model; parts are {}", names()))
    }
}

/// An opened source.
#[derive(Debug)]
pub struct Opened {
    /// What the operator named.
    pub path: PathBuf,
    /// Which part of it.
    pub part: Part,
    /// The tensors of that part.
    pub catalog: Catalog,
    /// What they are joined to in a result; each stays alone where nothing is said.
    pub joined: Vec<Joined>,
    /// Whether they are all that the file holds.
    pub is_all: bool,
    /// The files that they lie in, by number.
    pub files: Vec<MappedFile>,
    /// What a file beside the weights says of how they are stored.
    pub configuration: Option<String>,
    /// The same files, as the file system knows them.
    pub origins: Vec<Origin>,
    /// The hash of the tensors, once somebody wanted it: all of them are read for it.
    hash: OnceCell<String>,
    /// How they are stored, once somebody wanted to know.
    stored: OnceCell<Precision>,
    /// The family of the network, once somebody wanted to know.
    family: OnceCell<Option<Family>>,
    /// Which list of layers that stay wide is the network's, once somebody wanted to know.
    architecture: OnceCell<Option<Architecture>>,
    /// What a GGUF header says of an encoder, once somebody wanted to know.
    words: OnceCell<Words>,
}

/// Opens a source. Without a part, a file that holds a diffusion network is converted to that network alone, and any other
/// file is the part that it is.
pub fn open(path: &Path, part: Option<Part>) -> Result<Opened, ConversionError> {
    let role = match part {
        Some(Part::One(role)) => Some(role),
        Some(Part::Whole) | None => None,
    };
    of(path, &library::open(path, role.filter(|_| !path.is_file()))?, part)
}

/// Opens the same, of which the headers were read already.
pub fn of(path: &Path, sources: &[Source], part: Option<Part>) -> Result<Opened, ConversionError> {
    let (part, source, catalog) = match part {
        Some(Part::Whole) => {
            let [source] = sources else {
                return Err(impossible(
                    path,
                    Kind::Usage,
                    "a folder of parts is no single checkpoint",
                    "convert its parts one by one, with --part",
                ));
            };
            (Part::Whole, source.clone(), source.catalog.clone())
        }
        Some(Part::One(role)) => {
            let Some((source, catalog)) = held(sources, role)? else {
                return Err(impossible(
                    path,
                    Kind::NotFound,
                    &format!("it holds no {role}"),
                    "see what it holds with `perilune models inspect`",
                ));
            };
            (Part::One(role), source, catalog)
        }
        None => usual(path, sources)?,
    };
    let is_all = catalog.len() == source.catalog.len();
    // Only the files that the part lies in.
    let mut numbers: BTreeMap<usize, usize> = catalog.iter().map(|e| (e.file, 0)).collect();
    for (new, number) in numbers.values_mut().enumerate() {
        *number = new;
    }
    let metadata = catalog.metadata().clone();
    let renumbered = catalog.iter().map(|e| e.clone().in_file(numbers[&e.file]));
    let catalog = Catalog::new(renumbered.collect::<Vec<_>>(), metadata);
    let files: Vec<PathBuf> = numbers.keys().map(|n| source.files[*n].clone()).collect();
    let configuration = files.first().and_then(|f| std::fs::read_to_string(f.with_file_name("quantization_config.json")).ok());
    let origins = files.iter().map(|f| Origin::of(f)).collect::<Result<_, _>>()?;
    let files = files.iter().map(|f| MappedFile::open(f)).collect::<Result<_, LibraryError>>()?;
    Ok(Opened {
        path: path.to_owned(),
        part,
        catalog,
        joined: Vec::new(),
        is_all,
        files,
        configuration,
        origins,
        hash: OnceCell::new(),
        stored: OnceCell::new(),
        family: OnceCell::new(),
        architecture: OnceCell::new(),
        words: OnceCell::new(),
    })
}

/// Returns the diffusion network where there is one, else the first other part, else everything.
fn usual(path: &Path, sources: &[Source]) -> Result<(Part, Source, Catalog), ConversionError> {
    for part in Part::ALL {
        if let Part::One(role) = part
            && let Some((source, catalog)) = held(sources, role)?
        {
            return Ok((part, source, catalog));
        }
    }
    match sources {
        [source] => Ok((unknown(path, &source.catalog), source.clone(), source.catalog.clone())),
        _ => Err(impossible(path, Kind::BadFile, "it holds no part of a known model", "give one of its files")),
    }
}

/// Returns what a file of no known family is taken for: what its folder is for, else a network. A checkpoint, or an encoder,
/// stays as it is.
fn unknown(path: &Path, catalog: &Catalog) -> Part {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut folders = real.ancestors().skip(1).filter_map(|folder| folder.file_name()?.to_str());
    let role = folders.find_map(|name| match name {
        "diffusion_models" | "unet" => Some(Part::One(Role::Denoiser)),
        "vae" => Some(Part::One(Role::Vae)),
        "checkpoints" | "text_encoders" | "clip" => Some(Part::Whole),
        _ => None,
    });
    let otherwise = if catalog.has_prefix(DENOISER) { Part::Whole } else { Part::One(Role::Denoiser) };
    role.unwrap_or(otherwise)
}

/// Returns the tensors of one part, where these files hold it. A network of a family that is refused elsewhere can still be
/// converted: its tensors are taken as they are.
fn held(sources: &[Source], role: Role) -> Result<Option<(Source, Catalog)>, ConversionError> {
    for source in sources.iter().rev().filter(|s| s.role.is_none_or(|r| r == role)) {
        let wrong = |error| LibraryError::Family { path: source.files.first().cloned().unwrap_or_default(), source: error };
        let found = match detect::as_named(&source.catalog, role) {
            // What a folder says is the network is it, whatever its family.
            Ok(None) if source.role == Some(role) => Some(source.catalog.clone()),
            Ok(found) => found,
            Err(_) if role == Role::Denoiser && source.catalog.has_prefix(DENOISER) => Some(source.catalog.strip(DENOISER)),
            Err(_) if source.role == Some(role) => Some(source.catalog.clone()),
            Err(error) => return Err(wrong(error).into()),
        };
        if let Some(catalog) = found {
            return Ok(Some((source.clone(), with_marks(&source.catalog, catalog, role))));
        }
    }
    Ok(None)
}

/// What the diffusion network's names begin with in a checkpoint.
const DENOISER: &str = "model.diffusion_model.";

/// Tensors beside the network that say how it was trained; without them its pictures are noise.
const MARKS: &[&str] = &["v_pred", "ztsnr", "edm_vpred.sigma_max", "edm_vpred.sigma_min"];

fn with_marks(all: &Catalog, catalog: Catalog, role: Role) -> Catalog {
    if role != Role::Denoiser {
        return catalog;
    }
    let marks = MARKS.iter().filter_map(|name| all.get(name)).cloned();
    let metadata = catalog.metadata().clone();
    Catalog::new(catalog.iter().cloned().chain(marks).collect::<Vec<_>>(), metadata)
}

fn impossible(path: &Path, kind: Kind, reason: &str, hint: &'static str) -> ConversionError {
    ConversionError::Impossible { path: path.to_owned(), reason: reason.to_owned(), kind, hint }
}

impl Opened {
    /// Returns the tensors as numbers. Scales of 8-bit weights are part of the weights they belong to.
    pub fn feeds(&self) -> Result<Vec<Feed>, ConversionError> {
        let mut feeds = Vec::new();
        for entry in self.catalog.iter() {
            let scale = match entry.coded.as_deref() {
                None | Some(Coded { code: Code::Blocks, .. }) => None,
                Some(Coded { code: Code::Float8, beside }) => beside.first().map(|scale| self.scale(scale)).transpose()?,
                Some(Coded { code: Code::FourBit { .. } | Code::Rows8 | Code::Sdnq(_) | Code::Part, .. }) => {
                    let reason = format!("`{}` is quantised with scales of its own, and would be rounded twice", entry.name);
                    return Err(impossible(&self.path, Kind::BadFile, &reason, "convert the file that it was made of"));
                }
            };
            feeds.push(Feed::of(entry, scale));
        }
        Ok(feeds)
    }

    /// Returns the tensors of a result, each with what it is made of.
    pub fn wholes(&self) -> Result<Vec<Whole>, ConversionError> {
        let feeds = self.feeds()?;
        if self.joined.is_empty() {
            return Ok(feeds.into_iter().map(Whole::alone).collect());
        }
        let mut feeds: BTreeMap<String, Feed> = feeds.into_iter().map(|feed| (feed.name.clone(), feed)).collect();
        let whole = |Joined { name, parts }: &Joined| {
            let parts = parts.iter().filter_map(|part| feeds.remove(part)).collect();
            Whole { name: name.clone(), parts }
        };
        Ok(self.joined.iter().map(whole).filter(|whole| !whole.parts.is_empty()).collect())
    }

    /// Returns the hash that converting it would find.
    pub fn hash(&self) -> Result<&str, ConversionError> {
        if let Some(hash) = self.hash.get() {
            return Ok(hash);
        }
        let hash = pipeline::identify(&self.feeds()?, &self.files)?;
        Ok(self.hash.get_or_init(|| hash))
    }

    /// Returns how the tensors are stored.
    pub fn stored(&self) -> &Precision {
        self.stored.get_or_init(|| quant::detect::detect(&self.catalog, self.configuration.as_deref()))
    }

    /// Returns the family of the network, where it is known.
    pub fn family(&self) -> Option<Family> {
        *self.family.get_or_init(|| Some(detect::detect(&self.catalog).ok()??.family))
    }

    /// Returns whose list it is that says which layers stay wide. Other programs' layouts have lists of their own kind, which the
    /// usual one stands for.
    pub fn architecture(&self) -> Option<Architecture> {
        *self.architecture.get_or_init(|| {
            let names: Vec<&str> = self.catalog.iter().map(|entry| entry.name.as_str()).collect();
            let prefix = Prefix::find(&names);
            let own: HashSet<String> = names.iter().filter_map(|name| prefix.strip(name)).collect();
            Architecture::detect(|name| own.contains(name)).ok()
        })
    }

    /// Returns what a GGUF header says of it, of an encoder that was laid out for such a file.
    pub fn words(&self, role: Role) -> Result<&Words, ConversionError> {
        if let Some(words) = self.words.get() {
            return Ok(words);
        }
        let words = gguf_words::of_encoder(self, role)?;
        Ok(self.words.get_or_init(|| words))
    }

    fn scale(&self, entry: &TensorEntry) -> Result<f32, ConversionError> {
        let bytes = Feed::of(entry, None).slice(self.files[entry.file].bytes(), &(0..1)).to_owned();
        let mut value = [0.0];
        let wrong = |_| {
            impossible(&self.path, Kind::BadFile, "the scale of its 8-bit weights is no number", "convert the file that it was made of")
        };
        floats::widen(entry.dtype, &bytes, &mut value).map_err(wrong)?;
        Ok(value[0])
    }

    /// Returns an error if somebody wrote into the files meanwhile.
    pub fn check_unchanged(&self) -> Result<(), ConversionError> {
        for (file, origin) in self.files.iter().zip(&self.origins) {
            let now = Origin::of(&origin.path);
            if file.was_written_into() || now.is_ok_and(|now| now.inode == origin.inode && !now.is_same_file(origin)) {
                return Err(ConversionError::SourceChanged { path: origin.path.clone() });
            }
        }
        Ok(())
    }
}
