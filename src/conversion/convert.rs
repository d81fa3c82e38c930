//! One conversion from beginning to end.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::journal::Journal;
use super::output::Output;
use super::part_file::{PartFile, Turn};
use super::pipeline::{self, Converted, Watch};
use super::place::{self, Found};
use super::source::{self, Opened, Part};
use super::{ConversionError, plan, report};
use crate::cache::{self, Manifest};
use crate::library::Roots;
use crate::quant::precision::Target;
use crate::units::{Bytes, Timestamp};

/// What the operator wants.
#[derive(Debug, Clone)]
pub struct Wish<'a> {
    /// The file or folder.
    pub source: &'a Path,
    /// Which part of it; the usual one if nobody says.
    pub part: Option<Part>,
    /// What it should become.
    pub target: Target,
    /// Where the result goes, if not into a model folder.
    pub folder: Option<&'a Path>,
    /// The model folders.
    pub roots: &'a Roots,
    /// The present moment.
    pub now: Timestamp,
}

/// How a conversion ended well.
#[derive(Debug)]
pub enum Outcome {
    /// It was made.
    Converted {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        manifest: Manifest,
        /// Chunks of an earlier attempt that needed no work, and all.
        resumed: (usize, usize),
        /// Why what was there before would not do.
        replaced: Option<&'static str>,
    },
    /// It was there.
    Cached {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        manifest: Manifest,
    },
    /// The source is that already.
    Skipped {
        /// What it is.
        precision: String,
        /// Its size.
        bytes: Bytes,
    },
}

/// Converts, unless it is done or needless. `waiting` is called when another process is at it.
pub fn convert(wish: &Wish<'_>, watch: Watch<'_>, waiting: impl FnOnce(&Path)) -> Result<Outcome, ConversionError> {
    let source = source::open(wish.source, wish.part)?;
    let from = plan::stored(&source);
    // A part that is taken out of a whole is work even where its precision stays.
    let is_whole_file = source.catalog.bytes().0 + (1 << 20) > source.origins.iter().map(|o| o.bytes.0).sum::<u64>();
    if from == wish.target.to_string() && is_whole_file {
        return Ok(Outcome::Skipped { precision: from, bytes: source.catalog.bytes() });
    }
    let folder = match wish.folder {
        Some(folder) => folder.to_owned(),
        None => place::folder(wish.roots, wish.source, source.part, plan::is_gguf(&wish.target))?,
    };
    let recipe = plan::recipe(&wish.target, source.part);
    let known = OnceCell::new();
    let mut hash = || match known.get() {
        Some(hash) => Ok(String::clone(hash)),
        None => place::hash(&source).map(|hash| known.get_or_init(|| hash).clone()),
    };
    let name = |stem: &str| plan::file_name(stem, &wish.target, source.part);
    let (path, found) = place::find(&folder, &source, &recipe, name, &mut hash)?;
    if let Found::Wanted(manifest) = found {
        return used(path, *manifest, wish.now);
    }
    let mut waited = false;
    let turn = Turn::take(&path, || {
        waited = true;
        waiting(&path);
    })?;
    // Whoever was at it meanwhile may have made it.
    match place::look(&path, &source, &recipe, &mut hash)? {
        Some(Found::Wanted(manifest)) => used(path, *manifest, wish.now),
        Some(Found::Free { reason }) => {
            let (manifest, resumed) = make(wish, &source, &path, (from, recipe), watch)?;
            drop(turn);
            Ok(Outcome::Converted { path, manifest, resumed, replaced: reason })
        }
        // Somebody put a file of theirs there.
        None => Err(ConversionError::Impossible {
            path,
            reason: "another file has taken this name meanwhile".to_owned(),
            hint: "run the same command again",
        }),
    }
}

/// What a conversion would come to.
#[derive(Debug)]
pub struct Check {
    /// Whether it is there.
    pub exists: bool,
    /// Where it is, or would be.
    pub path: Option<PathBuf>,
    /// How large it is, or would be.
    pub bytes: Bytes,
    /// What is to be known about it.
    pub reason: Option<String>,
}

/// How a part of a model is stored, and how large it would be otherwise.
#[derive(Debug)]
pub struct Sizes {
    /// The part.
    pub part: Part,
    /// The precision that it is stored in.
    pub stored: String,
    /// Its size.
    pub bytes: Bytes,
    /// The size of each conversion that is possible, of those that were asked for.
    pub targets: Vec<(Target, Bytes)>,
}

/// Says how large the usual part of a source is, and would be as each of these, from its header alone.
pub fn sizes(path: &Path, targets: &[Target]) -> Result<Sizes, ConversionError> {
    let source = source::open(path, None)?;
    let size = |target: &Target| {
        let output = plan::output(&source, target, &plan::recipe(target, source.part)).ok()?;
        Some((target.clone(), Bytes(output.length)))
    };
    Ok(Sizes {
        part: source.part,
        stored: plan::stored(&source),
        bytes: source.catalog.bytes(),
        targets: targets.iter().filter_map(size).collect(),
    })
}

/// Says what a conversion into the model folders would come to, and makes nothing.
pub fn check(path: &Path, part: Option<Part>, target: &Target, roots: &Roots) -> Result<Check, ConversionError> {
    let source = source::open(path, part)?;
    if plan::stored(&source) == target.to_string() {
        return Ok(Check {
            exists: true,
            path: Some(path.to_owned()),
            bytes: source.catalog.bytes(),
            reason: Some("the source is it".to_owned()),
        });
    }
    let folder = place::folder(roots, path, source.part, plan::is_gguf(target))?;
    let recipe = plan::recipe(target, source.part);
    let name = |stem: &str| plan::file_name(stem, target, source.part);
    let (path, found) = place::find(&folder, &source, &recipe, name, &mut || place::hash(&source))?;
    Ok(match found {
        Found::Wanted(manifest) => Check { exists: true, path: Some(path), bytes: manifest.bytes, reason: None },
        Found::Free { reason } => {
            let bytes = Bytes(plan::output(&source, target, &recipe)?.length);
            Check { exists: false, path: Some(path), bytes, reason: reason.map(str::to_owned) }
        }
    })
}

fn used(path: PathBuf, mut manifest: Manifest, now: Timestamp) -> Result<Outcome, ConversionError> {
    manifest.hits += 1;
    manifest.used = now;
    // A cache on a disk that cannot be written to is as good for reading.
    drop(manifest.write(&path));
    Ok(Outcome::Cached { path, manifest })
}

fn make(
    wish: &Wish<'_>,
    source: &Opened,
    path: &Path,
    (from, recipe): (String, String),
    watch: Watch<'_>,
) -> Result<(Manifest, (usize, usize)), ConversionError> {
    let begun = Instant::now();
    let output = plan::output(source, &wish.target, &recipe)?;
    let work = serde_json::json!({"work": output.identity(), "origins": source.origins}).to_string();
    if !PartFile::is_begun(path) {
        Journal::remove(path)?;
    }
    let part = PartFile::open(path, output.length)?;
    let (mut journal, before) = Journal::open(path, &work)?;
    output.constants.iter().try_for_each(|(at, bytes)| part.write(*at, bytes))?;
    let converted = pipeline::run(&output, &source.files, &part, (&mut journal, before), watch)?;
    source.check_unchanged()?;
    part.write(0, &output.header(&converted.source))?;
    let manifest = finish(wish, source, path, &output, &converted, begun.elapsed().as_secs_f64(), (from, recipe), &part)?;
    part.publish()?;
    Journal::remove(path)?;
    Ok((manifest, (converted.resumed, converted.chunks)))
}

/// Checks the result, and writes what is about it before it gets its name: a file with its name is never without them.
#[expect(clippy::too_many_arguments, reason = "what a manifest says comes from everywhere")]
fn finish(
    wish: &Wish<'_>,
    source: &Opened,
    path: &Path,
    output: &Output,
    converted: &Converted,
    seconds: f64,
    (from, recipe): (String, String),
    part: &PartFile,
) -> Result<Manifest, ConversionError> {
    plan::check(output, part, &wish.target)?;
    let segments = output.with_known(&converted.segments, &converted.source);
    let content = cache::write_sums(path, &segments)?;
    let manifest = Manifest {
        version: Manifest::VERSION,
        program: concat!("perilune ", env!("CARGO_PKG_VERSION")).to_owned(),
        recipe,
        from,
        to: wish.target.to_string(),
        origins: source.origins.clone(),
        source: converted.source.clone(),
        source_bytes: source.catalog.bytes(),
        bytes: Bytes(output.length),
        content,
        tensors: output.tensors,
        seconds,
        made: wish.now,
        used: wish.now,
        hits: 0,
        error: report::errors(output, &converted.losses),
    };
    manifest.write(path)?;
    Ok(manifest)
}
