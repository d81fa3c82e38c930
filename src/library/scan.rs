//! Lists the models in the model folders, which are laid out as ComfyUI's are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{index, moonlet, shards};
use crate::units::Bytes;
use crate::workflow::ModelEntry;

/// What a folder of models holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FolderKind {
    /// Whole models in one file.
    Checkpoints,
    /// Diffusion networks alone.
    DiffusionModels,
    /// Text encoders.
    TextEncoders,
    /// Autoencoders.
    Vae,
    /// Folders as diffusers writes them.
    Diffusers,
}

impl FolderKind {
    /// Every kind, in the order in which names are looked for.
    pub const ALL: &[Self] = &[Self::Checkpoints, Self::DiffusionModels, Self::Diffusers, Self::TextEncoders, Self::Vae];

    /// Returns the folder's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoints => "checkpoints",
            Self::DiffusionModels => "diffusion_models",
            Self::TextEncoders => "text_encoders",
            Self::Vae => "vae",
            Self::Diffusers => "diffusers",
        }
    }

    /// Returns every name that `ComfyUI` accepts for it, older ones and those that its nodes for GGUF files and language models add.
    #[must_use]
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Checkpoints => &["checkpoints"],
            Self::DiffusionModels => &["diffusion_models", "unet", "unet_gguf"],
            Self::TextEncoders => &["text_encoders", "clip", "clip_gguf", "LLM"],
            Self::Vae => &["vae"],
            Self::Diffusers => &["diffusers"],
        }
    }

    /// Returns the kind that goes by this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|k| k.names().contains(&name))
    }
}

/// Where models are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roots {
    /// Folders laid out as ComfyUI's `models` folder.
    pub models: Vec<PathBuf>,
    /// Single folders, from `extra_model_paths.yaml`.
    pub extra: Vec<(FolderKind, PathBuf)>,
    /// Folders with vocabularies of text encoders.
    pub tokenizers: Vec<PathBuf>,
    /// The cache folder, where the embedded model is written when it is wanted.
    pub cache: PathBuf,
}

impl Roots {
    /// Returns every folder of one kind, without looking whether it is there.
    pub fn folders(&self, kind: FolderKind) -> impl Iterator<Item = PathBuf> {
        let own = self.models.iter().flat_map(move |root| kind.names().iter().map(move |n| root.join(n)));
        let extra = self.extra.iter().filter(move |(k, _)| *k == kind).map(|(_, p)| p.clone());
        own.chain(extra)
    }
}

/// Folders within folders that are still looked into.
const DEPTH: usize = 6;

/// Lists the models in the folders. `described` also says what their headers say: families, parts and problems.
#[must_use]
pub fn scan(roots: &Roots, described: bool) -> Vec<ModelEntry> {
    let mut entries = Vec::new();
    for kind in FolderKind::ALL {
        for folder in roots.folders(*kind) {
            walk(&folder, DEPTH, &mut BTreeSet::new(), &mut |path| entries.push(entry(*kind, &folder, path)));
        }
    }
    entries.push(moonlet::entry(&roots.cache));
    if described {
        index::describe_all(&mut entries, &roots.cache);
    }
    entries
}

/// Returns the path of the model that goes by `name` in folders of these kinds: by all of its name, or by the last part of it where
/// only one has it. An error has the names of all that do.
pub fn find(roots: &Roots, kinds: &[FolderKind], name: &str) -> Result<Option<PathBuf>, Vec<String>> {
    let named = |e: &ModelEntry| e.name == name || e.path.file_name().is_some_and(|f| f.to_string_lossy() == name);
    let stem_named = |e: &ModelEntry| Path::new(&e.name).file_name().is_some_and(|f| f.to_string_lossy() == name);
    for kind in kinds {
        let mut entries = Vec::new();
        for folder in roots.folders(*kind) {
            walk(&folder, DEPTH, &mut BTreeSet::new(), &mut |path| entries.push(entry(*kind, &folder, path)));
        }
        // Of a model that lies there both ways, the pickle is the one that nobody can use.
        entries.sort_by_key(|e| e.problem.is_some());
        if let Some(entry) = entries.iter().find(|e| named(e)) {
            return Ok(Some(entry.path.clone()));
        }
        let alike: Vec<&ModelEntry> = entries.iter().filter(|e| stem_named(e)).collect();
        let usable = alike.iter().filter(|e| e.problem.is_none()).map(|e| e.name.clone()).collect::<BTreeSet<_>>();
        match alike.first() {
            Some(_) if usable.len() > 1 => return Err(usable.into_iter().collect()),
            Some(entry) => return Ok(Some(entry.path.clone())),
            None => {}
        }
    }
    Ok(None)
}

/// Returns every weight file and folder of one kind that can be opened.
#[must_use]
pub fn models_of(roots: &Roots, kind: FolderKind) -> Vec<PathBuf> {
    let mut entries = Vec::new();
    for folder in roots.folders(kind) {
        walk(&folder, DEPTH, &mut BTreeSet::new(), &mut |path| entries.push(entry(kind, &folder, path)));
    }
    entries.into_iter().filter(|e| e.problem.is_none()).map(|e| e.path).collect()
}

/// Calls `found` with every weight file below `folder`, and with every folder that is one model: one of diffusers, or the shards of one.
/// Of shards that lie among other models their index is the model. Folders reached twice over links are visited once.
fn walk(folder: &Path, depth: usize, seen: &mut BTreeSet<PathBuf>, found: &mut dyn FnMut(&Path)) {
    // A folder that is not there or not ours to read holds no models.
    let (Ok(real), Ok(names)) = (folder.canonicalize(), fs::read_dir(folder)) else { return };
    if depth == 0 || !seen.insert(real) {
        return;
    }
    let mut paths: Vec<PathBuf> = names.flatten().map(|n| n.path()).collect();
    paths.sort();
    let cut: BTreeSet<PathBuf> = paths.iter().flat_map(|path| shards::listed(path)).collect();
    for path in paths {
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        if path.is_dir() {
            if is_model(&path) { found(&path) } else { walk(&path, depth - 1, seen, found) }
        } else if !cut.contains(&path) && (has_weights(&path) || !shards::listed(&path).is_empty()) {
            found(&path);
        }
    }
}

fn has_weights(path: &Path) -> bool {
    path.extension().is_some_and(|e| EXTENSIONS.contains(&&*e.to_string_lossy().to_ascii_lowercase()))
}

fn is_model(folder: &Path) -> bool {
    folder.join("model_index.json").is_file() || shards::is_one_model(folder)
}

const EXTENSIONS: &[&str] = &["safetensors", "gguf", "ckpt", "pt", "pth", "bin"];
const PICKLES: &[&str] = &["ckpt", "pt", "pth", "bin"];

fn entry(kind: FolderKind, folder: &Path, path: &Path) -> ModelEntry {
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let name = match path {
        path if path.is_dir() => relative.to_owned(),
        path if shards::is_index(path) => shards::stem(relative),
        _ => relative.with_extension(""),
    };
    let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let pickle = PICKLES.contains(&extension.as_str()) && !path.is_dir();
    let problem = if path.to_str().is_none() {
        Some("its name is not valid UTF-8; rename it")
    } else {
        pickle.then_some("a pickle, which is never opened; convert it to safetensors")
    };
    ModelEntry {
        name: name.to_string_lossy().into_owned(),
        folder: kind.name().to_owned(),
        bytes: size(path),
        // What is listed travels as text.
        path: PathBuf::from(path.to_string_lossy().into_owned()),
        family: None,
        variant: None,
        precision: None,
        components: Vec::new(),
        problem: problem.map(str::to_owned),
    }
}

fn size(path: &Path) -> Bytes {
    let sum = |files: Vec<PathBuf>| files.iter().map(|f| Bytes(fs::metadata(f).map_or(0, |m| m.len()))).sum();
    let weights = |folder: PathBuf| -> Vec<PathBuf> {
        let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|n| n.path());
        files.filter(|f| f.extension().is_some_and(|e| e == "safetensors")).collect()
    };
    if !path.is_dir() {
        let cut = shards::listed(path);
        return sum(if cut.is_empty() { vec![path.to_owned()] } else { cut });
    }
    if !path.join("model_index.json").is_file() {
        return sum(weights(path.to_owned()));
    }
    let parts = fs::read_dir(path).into_iter().flatten().flatten().map(|n| n.path()).filter(|p| p.is_dir());
    sum(parts.flat_map(weights).collect())
}
