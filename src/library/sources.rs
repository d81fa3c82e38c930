//! Opens what an operator names: a single file, a sharded model, or a diffusers folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{LibraryError, header, regular, shards};
use crate::families::{Role, Source, flux};
use crate::formats::error::shown;
use crate::formats::shard_index;
use crate::weights::{Catalog, encoder_keys};

/// Returns the weight files that this path stands for, headers read. `role` says what a file given on its own is.
pub fn open(path: &Path, role: Option<Role>) -> Result<Vec<Source>, LibraryError> {
    let metadata = fs::metadata(path).map_err(|e| LibraryError::io(path, "looking at it", e))?;
    if metadata.is_dir() {
        return if path.join("model_index.json").is_file() { folder(path) } else { part_folder(path, role) };
    }
    if shards::is_index(path) {
        return Ok(vec![sharded(path, role)?]);
    }
    // Its tensors may look like a shorter model's, which paints another picture.
    if let Some(parts) = shards::parts(path) {
        return Err(LibraryError::OnePart { path: path.to_owned(), parts });
    }
    let (catalog, name) = (header::read(path)?, path.file_name().unwrap_or_default().to_string_lossy());
    // Nothing else is told by a name, and the same bytes under another are the same part.
    let catalog = if flux::says_kontext(&name) { catalog.with_note(flux::FILE, &name) } else { catalog };
    Ok(vec![Source { files: vec![path.to_owned()], role, catalog }])
}

/// Returns one part from exactly these files, headers read again; a part's shards come together.
pub fn reopen(files: &[PathBuf], role: Role) -> Result<Source, LibraryError> {
    let mut catalog = joined(files)?;
    if let Some(theta) = files.first().filter(|_| role == Role::Qwen).and_then(|file| rope_theta(file)) {
        catalog = catalog.with_note(encoder_keys::ROPE_THETA, &theta.to_string());
    }
    Ok(Source { files: files.to_owned(), role: Some(role), catalog })
}

/// Returns the base of a language model's rotations, which no safetensors header tells: what `config.json` beside it says, where
/// old and new versions of transformers and models that see have it.
#[must_use]
pub fn rope_theta(file: &Path) -> Option<f64> {
    let places = ["/rope_parameters/rope_theta", "/rope_theta", "/text_config/rope_parameters/rope_theta", "/text_config/rope_theta"];
    configured(file, &places)?.as_f64()
}

/// Returns a number that the `config.json` beside a language model of Qwen's kind says, at the first of these places where there is one.
#[must_use]
pub fn configured(file: &Path, places: &[&str]) -> Option<serde_json::Number> {
    let config: serde_json::Value = serde_json::from_slice(&regular::read(&file.with_file_name("config.json")).ok()?).ok()?;
    let is_qwen = config["model_type"].as_str().is_some_and(|name| name.starts_with("qwen"));
    places.iter().filter(|_| is_qwen).find_map(|place| config.pointer(place)?.as_number().cloned())
}

fn joined(files: &[PathBuf]) -> Result<Catalog, LibraryError> {
    let mut catalog = Catalog::default();
    for (number, file) in files.iter().enumerate() {
        catalog = catalog.joined(header::stored(file)?, number);
    }
    header::gathered(catalog, files)
}

/// A diffusers folder: `model_index.json` names the parts, each in a folder of its own.
fn folder(path: &Path) -> Result<Vec<Source>, LibraryError> {
    let index_path = path.join("model_index.json");
    let text = regular::read(&index_path)?;
    let index: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&text)
        .map_err(|e| LibraryError::BadModelIndex { path: index_path.clone(), reason: shown(&e.to_string()) })?;
    let pipeline = index.get("_class_name").and_then(|name| name.as_str()).unwrap_or_default();
    let mut sources = Vec::new();
    for (part, class) in &index {
        // A part that was left out is named, and of no class.
        let Some(class) = class.get(1).and_then(|c| c.as_str()) else { continue };
        if let Some(role) = role_of(part, class) {
            // Many keep encoders and autoencoders elsewhere, once for several models.
            if role != Role::Denoiser && !path.join(part).exists() {
                continue;
            }
            let mut source = weights_in(&path.join(part), Some(role)).map_err(LibraryError::of_a_part)?;
            if role == Role::Denoiser {
                source.catalog = source.catalog.with_note(flux::PIPELINE, pipeline);
            }
            sources.push(source);
        }
    }
    if sources.is_empty() {
        return Err(LibraryError::BadModelIndex { path: index_path, reason: "it names no part that holds weights".to_owned() });
    }
    Ok(sources)
}

/// One part's folder, such as `unet/`, given on its own.
fn part_folder(path: &Path, role: Option<Role>) -> Result<Vec<Source>, LibraryError> {
    match (role, weights_in(path, role)) {
        (Some(_), Ok(source)) => Ok(vec![source]),
        (Some(_), Err(error)) => Err(error),
        // With a configuration beside its weights it is what diffusers writes of one part.
        (None, Ok(source)) if path.join("config.json").is_file() || source.files.len() > 1 => Ok(vec![source]),
        (None, Err(error)) if shards::is_one_model(path) => Err(error),
        (None, _) => Err(LibraryError::NotDiffusers { path: path.to_owned() }),
    }
}

fn role_of(part: &str, class: &str) -> Option<Role> {
    match part {
        "unet" | "transformer" => Some(Role::Denoiser),
        "vae" => Some(Role::Vae),
        _ if !part.starts_with("text_encoder") => None,
        _ if class.starts_with("T5") || class.starts_with("UMT5") => Some(Role::T5),
        _ if class.starts_with("Qwen") => Some(Role::Qwen),
        "text_encoder" => Some(Role::ClipL),
        _ => Some(Role::ClipG),
    }
}

/// File names that diffusers and transformers write, the usual ones first.
const STEMS: &[&str] = &["diffusion_pytorch_model", "model", "diffusion_pytorch_model.fp16", "model.fp16"];

fn weights_in(folder: &Path, role: Option<Role>) -> Result<Source, LibraryError> {
    for stem in STEMS {
        let single = folder.join(format!("{stem}.safetensors"));
        if single.is_file() {
            return Ok(Source { catalog: header::read(&single)?, files: vec![single], role });
        }
        // Shards of a variant are named `model.safetensors.index.fp16.json` by transformers.
        let (name, variant) = stem.strip_suffix(".fp16").map_or((*stem, ""), |s| (s, ".fp16"));
        let index = folder.join(format!("{name}.safetensors.index{variant}.json"));
        if index.is_file() {
            return sharded(&index, role);
        }
    }
    if let Some(index) = shards::indices(folder).first() {
        return sharded(index, role);
    }
    if let Some(files) = shards::without_index(folder) {
        let catalog = joined(&files).map_err(LibraryError::of_a_part)?;
        return Ok(Source { files, role, catalog });
    }
    let names = fs::read_dir(folder).map_err(|e| LibraryError::io(folder, "listing it", e))?;
    let pickles = names.flatten().any(|n| n.path().extension().is_some_and(|e| e == "bin" || e == "pt" || e == "ckpt"));
    Err(LibraryError::NoWeights { path: folder.to_owned(), pickles })
}

fn sharded(index_path: &Path, role: Option<Role>) -> Result<Source, LibraryError> {
    let text = regular::read(index_path)?;
    let wrong = |source| LibraryError::Format { path: index_path.to_owned(), source };
    let index = shard_index::parse(&text).map_err(wrong)?;
    let folder = index_path.parent().unwrap_or(Path::new("."));
    let files: Vec<PathBuf> = index.files.iter().map(|f| folder.join(f)).collect();
    let catalog = joined(&files).map_err(LibraryError::of_a_part)?;
    for (tensor, home) in &index.home {
        if catalog.get(tensor).is_none_or(|e| e.file != *home) {
            return Err(LibraryError::NotInShard { path: files[*home].clone(), tensor: shown(tensor) });
        }
    }
    Ok(Source { files, role, catalog })
}
