//! One conversion from beginning to end.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::chunk::CUTS;
use super::journal::Journal;
use super::output::Output;
use super::part_file::PartFile;
use super::pipeline::{self, Converted, Watch};
use super::place::{self, Found};
use super::room::{self, Room};
use super::source::{self, Opened, Part};
use super::turn::Turn;
use super::{ConversionError, backup, plan, report};
use crate::cache::{self, CacheError, Item, Manifest, Store, Uses};
use crate::families::Source;
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
    /// How much of the disk stays free for others.
    pub floor: Bytes,
    /// Where conversions may be fetched from instead of being made again.
    pub backup: Option<&'a Store>,
    /// The present moment.
    pub now: Timestamp,
}

/// What happens on the way and should be told.
#[derive(Debug)]
pub enum Aside<'a> {
    /// Another process makes this file; it is waited for.
    Waiting(&'a Path),
    /// An older conversion had to make room.
    Gone(&'a Item),
    /// The back-up was of no help.
    NoBackup(&'a CacheError),
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
    /// It came from the back-up.
    Restored {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        manifest: Manifest,
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

/// Converts, unless it is done or needless.
pub fn convert(wish: &Wish<'_>, watch: Watch<'_>, tell: impl Fn(Aside<'_>)) -> Result<Outcome, ConversionError> {
    let source = source::open(wish.source, wish.part)?.for_target(&wish.target)?;
    let from = plan::stored(&source);
    // A part that is taken out of a whole is work even where its precision stays.
    if from == wish.target.to_string() && source.is_all {
        return Ok(Outcome::Skipped { precision: from, bytes: source.catalog.bytes() });
    }
    let folder = match wish.folder {
        Some(folder) => folder.to_owned(),
        None => place::folder(wish.roots, wish.source, source.part, plan::is_gguf(&wish.target))?,
    };
    let recipe = plan::recipe(&wish.target, source.part);
    let output = OnceCell::new();
    let name = |stem: &str| plan::file_name(stem, &wish.target, source.part);
    loop {
        let (path, found) = place::find(&folder, &source, &recipe, name)?;
        if let Found::Wanted(manifest) = found {
            return Ok(used(path, *manifest, wish.now));
        }
        // What cannot be made is refused before anything is on the disk.
        let output = if let Some(output) = output.get() {
            output
        } else {
            let laid_out = plan::output(&source, &wish.target, &recipe)?;
            output.get_or_init(|| laid_out)
        };
        let turn = Turn::take(&path, watch.stop, || tell(Aside::Waiting(&path)))?;
        // Whoever was at it meanwhile may have made it, or may have taken the name for another source.
        match place::look(&path, &source, &recipe)? {
            Some(Found::Wanted(manifest)) => return Ok(used(path, *manifest, wish.now)),
            Some(Found::Free { reason }) => {
                let gone = make_room(wish, &source, &folder, &path, output)?;
                for item in &gone {
                    tell(Aside::Gone(item));
                }
                match backup::restored(wish, &source, (&path, &recipe, output.length), watch) {
                    Ok(Some(manifest)) => return Ok(Outcome::Restored { path, manifest }),
                    Ok(None) => {}
                    // Whatever is wrong there, it can be made here.
                    Err(ConversionError::Cache(error)) => tell(Aside::NoBackup(&error)),
                    Err(error) => return Err(error),
                }
                let (manifest, resumed) = make(wish, &source, &path, output, (from, recipe), watch)?;
                drop(turn);
                return Ok(Outcome::Converted { path, manifest, resumed, replaced: reason });
            }
            None => {}
        }
    }
}

fn make_room(wish: &Wish<'_>, source: &Opened, folder: &Path, path: &Path, output: &Output) -> Result<Vec<Item>, ConversionError> {
    let mut folders = place::folders(wish.roots);
    folders.insert(folder.to_owned());
    let room = Room { floor: wish.floor, folders: &folders };
    let sources: Vec<PathBuf> = source.origins.iter().map(|origin| origin.path.clone()).collect();
    room::make(&room, path, output.length, &sources, wish.now)
}

/// Returns a conversion into the model folders that is there, and notes that it was used. Where there is none it is said
/// whether it can be made.
pub fn lookup(wish: &Wish<'_>) -> Result<Option<Outcome>, ConversionError> {
    let source = source::open(wish.source, wish.part)?.for_target(&wish.target)?;
    let from = plan::stored(&source);
    if from == wish.target.to_string() && source.is_all {
        return Ok(Some(Outcome::Skipped { precision: from, bytes: source.catalog.bytes() }));
    }
    let folder = place::folder(wish.roots, wish.source, source.part, plan::is_gguf(&wish.target))?;
    let recipe = plan::recipe(&wish.target, source.part);
    let name = |stem: &str| plan::file_name(stem, &wish.target, source.part);
    match place::find(&folder, &source, &recipe, name)? {
        (path, Found::Wanted(manifest)) => Ok(Some(used(path, *manifest, wish.now))),
        (_, Found::Free { .. }) => plan::output(&source, &wish.target, &recipe).map(|_| None),
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
    sizes_of(targets, || source::open(path, None))
}

/// Says the same of a source whose headers were read already.
pub fn sizes_in(path: &Path, sources: &[Source], targets: &[Target]) -> Result<Sizes, ConversionError> {
    sizes_of(targets, || source::of(path, sources, None))
}

fn sizes_of(targets: &[Target], open: impl Fn() -> Result<Opened, ConversionError>) -> Result<Sizes, ConversionError> {
    let source = open()?;
    // All GGUF files have it laid out the same way. What cannot be laid out has no size.
    let gguf = targets.iter().find(|target| plan::is_gguf(target)).and_then(|target| open().ok()?.for_target(target).ok());
    let size = |target: &Target| {
        let source = if plan::is_gguf(target) { gguf.as_ref()? } else { &source };
        let output = plan::output(source, target, &plan::recipe(target, source.part)).ok()?;
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
    let source = source::open(path, part)?.for_target(target)?;
    if plan::stored(&source) == target.to_string() && source.is_all {
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
    let (path, found) = place::find(&folder, &source, &recipe, name)?;
    Ok(match found {
        Found::Wanted(manifest) => Check { exists: true, path: Some(path), bytes: manifest.bytes, reason: None },
        Found::Free { reason } => {
            let bytes = Bytes(plan::output(&source, target, &recipe)?.length);
            Check { exists: false, path: Some(path), bytes, reason: reason.map(str::to_owned) }
        }
    })
}

fn used(path: PathBuf, mut manifest: Manifest, now: Timestamp) -> Outcome {
    // A cache on a disk that cannot be written to is as good for reading.
    drop(manifest.count_use(&path, now));
    // What a process left that was killed in its last moment; it does no harm where it cannot be removed.
    if (Journal::exists(&path) || Turn::is_left(&path))
        && let Ok(Some(_turn)) = Turn::attempt(&path)
    {
        drop(Journal::remove(&path));
    }
    Outcome::Cached { path, manifest }
}

fn make(
    wish: &Wish<'_>,
    source: &Opened,
    path: &Path,
    output: &Output,
    (from, recipe): (String, String),
    watch: Watch<'_>,
) -> Result<(Manifest, (usize, usize)), ConversionError> {
    let begun = Instant::now();
    // Where the source lies is no part of the work.
    let files: Vec<_> = source.origins.iter().map(|o| (o.bytes, o.modified_ns.to_string(), o.inode, o.device)).collect();
    let work = serde_json::json!({"work": output.identity(), "cuts": CUTS, "files": files}).to_string();
    if !PartFile::is_begun(path, output.length) {
        Journal::remove(path)?;
    }
    let in_place = path.symlink_metadata().is_ok();
    let part = PartFile::open(path, output.length)?;
    let (mut journal, before) = Journal::open(path, &work)?;
    output.constants.iter().try_for_each(|(at, bytes)| part.write(*at, bytes))?;
    let converted = pipeline::run(output, &source.files, &part, (&mut journal, before), watch)?;
    source.check_unchanged()?;
    part.write(0, &output.header(&converted.source))?;
    let manifest = finish(wish, source, path, output, &converted, begun.elapsed().as_secs_f64(), (from, recipe), &part)?;
    part.publish(in_place)?;
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
    Uses::forget(path)?;
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
        damage: None,
    };
    manifest.write(path)?;
    Ok(manifest)
}
