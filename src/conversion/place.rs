//! Where a conversion lands, under which name, and whether what lies there will do.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::ConversionError;
use super::output::SOURCE_KEY;
use super::source::{Opened, Part};
use crate::cache::{Item, Manifest, Origin, Shelf, State};
use crate::families::Role;
use crate::library::Roots;
use crate::workflow::Kind;

/// The beginning of a result in which its own words lie, before those about its tensors.
const HEAD: usize = 1 << 20;

/// As much of it is read at first: few have more words than that.
const FIRST: usize = 16 << 10;

/// Names that are tried, where others have taken them.
const NAMES: u32 = 1000;

/// What lies at a name.
#[derive(Debug)]
pub enum Found {
    /// Exactly what is wanted. Its manifest is as the file system has its source now.
    Wanted(Box<Manifest>),
    /// What the same source once was, or nothing: a conversion goes there.
    Free {
        /// Why what is there cannot be used.
        reason: Option<&'static str>,
    },
}

/// Returns the folder for the results of a source, in the model folder that it lies in, else in the first one.
pub fn folder(roots: &Roots, source: &Path, part: Part, gguf: bool) -> Result<PathBuf, ConversionError> {
    let real = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let holds = |root: &&PathBuf| root.canonicalize().is_ok_and(|root| real.starts_with(root));
    let Some(root) = roots.models.iter().find(holds).or_else(|| roots.models.first()) else {
        return Err(ConversionError::Impossible {
            path: source.to_owned(),
            reason: "there is no model folder to put the result into".to_owned(),
            kind: Kind::NotFound,
            hint: "name a folder with --output, or a model folder with --models",
        });
    };
    let kind = match part {
        Part::One(Role::Denoiser) => "diffusion_models",
        Part::One(Role::Vae) => "vae",
        Part::One(_) => "text_encoders",
        Part::Whole => "checkpoints",
    };
    Ok(root.join(kind).join(if gguf { "gguf" } else { "converted" }))
}

/// Returns every folder that results land in.
#[must_use]
pub fn folders(roots: &Roots) -> BTreeSet<PathBuf> {
    let kinds = ["diffusion_models", "vae", "text_encoders", "checkpoints"];
    let of = |root: &PathBuf| kinds.map(|kind| ["converted", "gguf"].map(|end| root.join(kind).join(end)));
    roots.models.iter().flat_map(of).flatten().collect()
}

/// Returns the path for this source's result, and what lies there: its own name, then one with its folder's, then numbers.
/// What is somebody else's is never touched. Where nothing of it lies at its name, the source may have had another name when it
/// was converted.
pub fn find(folder: &Path, source: &Opened, recipe: &str, file_name: impl Fn(&str) -> String) -> Result<(PathBuf, Found), ConversionError> {
    let (path, found) = named(folder, source, recipe, file_name)?;
    if let Found::Free { .. } = found
        && let Some((other, manifest)) = renamed(folder, source, recipe)?
    {
        return Ok((other, Found::Wanted(manifest)));
    }
    Ok((path, found))
}

/// Returns the result of a source that had another name or was copied.
fn renamed(folder: &Path, source: &Opened, recipe: &str) -> Result<Option<(PathBuf, Box<Manifest>)>, ConversionError> {
    let shelf = Shelf::look(&BTreeSet::from([folder.to_owned()]));
    let is_like_it = |item: &Item| {
        let about = item.manifest.as_ref().filter(|_| item.state != State::Damaged);
        about.is_some_and(|m| m.recipe == recipe && sizes(&m.origins) == sizes(&source.origins))
    };
    for item in shelf.items.iter().filter(|item| is_like_it(item)) {
        if let Some(Found::Wanted(manifest)) = look(&item.path, source, recipe)? {
            return Ok(Some((item.path.clone(), manifest)));
        }
    }
    Ok(None)
}

/// Returns the path for this source's result by its name, and what lies there.
fn named(folder: &Path, source: &Opened, recipe: &str, file_name: impl Fn(&str) -> String) -> Result<(PathBuf, Found), ConversionError> {
    let stem = stem(&source.path);
    let above = source.origins.first().and_then(|o| o.path.parent()?.file_name().map(|n| n.to_string_lossy().into_owned()));
    let others = (2..NAMES).map(|n| format!("{stem}-{n}"));
    let names = [Some(stem.clone()), above.map(|a| format!("{a}-{stem}"))].into_iter().flatten().chain(others);
    for name in names {
        let path = folder.join(file_name(&name));
        if let Some(found) = look(&path, source, recipe)? {
            return Ok((path, found));
        }
    }
    Err(ConversionError::Impossible {
        path: folder.join(file_name(&stem)),
        reason: "every name for it is taken by another file".to_owned(),
        kind: Kind::Refused,
        hint: "name another folder with --output",
    })
}

/// Returns what lies at a path, or nothing where it is somebody else's.
pub fn look(path: &Path, source: &Opened, recipe: &str) -> Result<Option<Found>, ConversionError> {
    let exists = path.symlink_metadata().is_ok();
    let Some(mut manifest) = Manifest::read(path)? else {
        if !exists {
            return Ok(Some(Found::Free { reason: None }));
        }
        // What says of itself that it was made of this source is ours; all else is somebody's.
        let mut head = Head::of(path);
        let is_ours = head.has(SOURCE_KEY) && head.has(recipe) && head.has(source.hash()?);
        return Ok(is_ours.then_some(Found::Free { reason: Some("its manifest was lost") }));
    };
    if !exists {
        return Ok(Some(Found::Free { reason: None }));
    }
    let is_at_home = same(&manifest.origins, &source.origins, |a, b| a.path == b.path);
    let is_unchanged = same(&manifest.origins, &source.origins, Origin::is_same_file);
    let is_source = is_unchanged || (sizes(&manifest.origins) == sizes(&source.origins) && manifest.source == source.hash()?);
    if !is_source {
        return Ok(is_at_home.then_some(Found::Free { reason: Some("its source was changed since") }));
    }
    if manifest.recipe != recipe {
        return Ok(Some(Found::Free { reason: Some("it was made in another way") }));
    }
    if manifest.damage.is_some() || !holds(path, &manifest) {
        return Ok(Some(Found::Free { reason: Some("it is not what was written") }));
    }
    manifest.origins.clone_from(&source.origins);
    Ok(Some(Found::Wanted(Box::new(manifest))))
}

fn same(a: &[Origin], b: &[Origin], are: impl Fn(&Origin, &Origin) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| are(a, b))
}

fn sizes(origins: &[Origin]) -> Vec<u64> {
    origins.iter().map(|o| o.bytes.0).collect()
}

/// Returns whether a file is the one that the manifest is about, by its size and what it says of itself.
fn holds(path: &Path, manifest: &Manifest) -> bool {
    let has_size = fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == manifest.bytes.0);
    let mut head = Head::of(path);
    has_size && head.has(SOURCE_KEY) && head.has(&manifest.source)
}

/// The head of a file, as much of it as was needed.
struct Head {
    file: Option<File>,
    bytes: Vec<u8>,
}

impl Head {
    /// Nothing is in the head of a file that cannot be read.
    fn of(path: &Path) -> Self {
        Self { file: File::open(path).ok(), bytes: Vec::new() }
    }

    /// Returns whether it has these words.
    fn has(&mut self, words: &str) -> bool {
        let mut searched = 0;
        loop {
            let from = searched - words.len().min(searched);
            if memchr::memmem::find(&self.bytes[from..], words.as_bytes()).is_some() {
                return true;
            }
            searched = self.bytes.len();
            if !self.read_on() {
                return false;
            }
        }
    }

    /// Reads more of it: as much again, from a little on. Returns whether there was more.
    fn read_on(&mut self) -> bool {
        let held = self.bytes.len();
        let more = held.max(FIRST).min(HEAD - held);
        let Some(file) = self.file.as_mut().filter(|_| more > 0) else { return false };
        self.bytes.reserve_exact(more);
        file.take(more as u64).read_to_end(&mut self.bytes).is_ok_and(|read| read > 0)
    }
}

/// Returns the name of a source without its ending; a folder's parts go by the folder's name.
fn stem(path: &Path) -> String {
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    let name = name.map_or_else(|| "model".to_owned(), |n| n.to_string_lossy().into_owned());
    name.strip_suffix(".safetensors.index").map_or_else(|| name.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_anywhere_in_the_head_and_not_behind_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let (first, head) = (FIRST, HEAD);
        for (at, is_there) in [(0, true), (first - 3, true), (2 * first - 1, true), (head - 5, true), (head - 4, false), (head, false)] {
            let mut bytes = vec![b'.'; at];
            bytes.extend(b"words");
            fs::write(&path, bytes).unwrap();
            let mut found = Head::of(&path);
            assert_eq!((found.has("words"), found.has("words"), found.has("sword")), (is_there, is_there, false), "at {at}");
        }
        assert!(!Head::of(&folder.path().join("none")).has("words"));
    }
}
