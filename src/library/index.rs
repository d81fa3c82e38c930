//! What was found out about weight files, kept from one listing to the next.
//!
//! A listing opens what it has not seen before, and nothing else. The file system stays the truth: every
//! file is looked at each time, and what is kept of one counts only while size, times, inode and device of
//! all that it was read from are the same. What changed so lately that a second change could show the same
//! times is not kept at all, as git does not trust its index there. Another build may find other things, so
//! it starts anew; an index that is lost or damaged costs the time of reading headers.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{LibraryError, regular, shards, sources};
use crate::families::{Family, Role, describe, describe_loadable};
use crate::weights::DType;
use crate::wire::hello::BUILD;
use crate::workflow::{Kind, ModelEntry};

/// Changes younger than this may hide another: the coarsest clock of a file system, FAT's, ticks every two seconds.
const TICK: Duration = Duration::from_secs(2);

/// Files beside a weight file that say how it is stored.
const BESIDE: [&str; 2] = ["quantization_config.json", "config.json"];

/// What a header says, as lists of models show it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Found {
    family: Option<Family>,
    variant: Option<String>,
    precision: Option<DType>,
    components: Vec<Role>,
    problem: Option<String>,
}

/// What is kept of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    stamp: String,
    found: Found,
}

/// The index as it lies on the disk.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    build: String,
    files: BTreeMap<PathBuf, Known>,
}

/// Returns where the index lies in the cache folder.
#[must_use]
pub fn place(cache: &Path) -> PathBuf {
    cache.join("library.json")
}

/// Fills in what the headers of these models say, from the index in the cache folder where it still holds.
pub fn describe_all(entries: &mut [ModelEntry], cache: &Path) {
    describe_at(entries, cache, SystemTime::now());
}

fn describe_at(entries: &mut [ModelEntry], cache: &Path, now: SystemTime) {
    // Without a cache folder there is no place for one.
    let place = (!cache.as_os_str().is_empty()).then(|| place(cache));
    let mut known = place.as_deref().map(load).unwrap_or_default();
    let read: Vec<(PathBuf, Option<Known>)> = entries.par_iter_mut().filter_map(|entry| describe_entry(entry, &known, now)).collect();
    let mut changed = false;
    for (path, found) in read {
        match found {
            Some(found) => changed |= known.insert(path, found.clone()).as_ref() != Some(&found),
            None => changed |= known.remove(&path).is_some(),
        }
    }
    if let Some(place) = place.filter(|_| changed) {
        // Other folders than these may be listed next; what is nowhere any more goes.
        known.retain(|path, _| path.exists());
        if let Err(error) = save(&place, known) {
            tracing::warn!("{}: the index of models cannot be kept: {error}", place.display());
        }
    }
}

/// Describes one model. Returns what is to be kept of it, where that is not what is kept already.
fn describe_entry(entry: &mut ModelEntry, known: &BTreeMap<PathBuf, Known>, now: SystemTime) -> Option<(PathBuf, Option<Known>)> {
    if entry.problem.is_some() || entry.family.is_some() {
        return None;
    }
    let stamp = Stamp::of(&entry.path);
    if let (Ok(stamp), Some(known)) = (&stamp, known.get(&entry.path))
        && known.stamp == stamp.text
    {
        fill(entry, known.found.clone());
        return None;
    }
    let (found, lasts) = read(&entry.path);
    fill(entry, found.clone());
    let stamp = stamp.ok().filter(|stamp| lasts && stamp.is_older_than(now));
    Some((entry.path.clone(), stamp.map(|stamp| Known { stamp: stamp.text, found })))
}

fn fill(entry: &mut ModelEntry, found: Found) {
    let Found { family, variant, precision, components, problem } = found;
    *entry = ModelEntry { family, variant, precision, components, problem, ..entry.clone() };
}

/// Returns what the header says, and whether it will say the same next time: what the operating system refuses today it may
/// allow tomorrow.
fn read(path: &Path) -> (Found, bool) {
    let failed = |error: &LibraryError| Found { problem: Some(error.to_string()), ..Found::default() };
    let sources = match sources::open(path, None) {
        Ok(sources) => sources,
        Err(error) => return (failed(&error), error.kind() == Kind::BadFile),
    };
    // What cannot be run is listed with its family and the reason.
    let loadable = describe_loadable(&sources);
    let problem = loadable.as_ref().err().map(ToString::to_string);
    let found = match loadable.or_else(|_| describe(&sources)) {
        Ok(found) => Found {
            family: found.family,
            variant: found.variant,
            precision: found.precision,
            components: found.components.iter().map(|c| c.role).collect(),
            problem,
        },
        Err(error) => Found { problem: Some(error.to_string()), ..Found::default() },
    };
    (found, true)
}

/// What files that something is made from look like from outside.
#[derive(Debug)]
pub struct Stamp {
    text: String,
    youngest: SystemTime,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let mut stamp = StampMaker { hash: blake3::Hasher::new(), youngest: UNIX_EPOCH };
        let itself = fs::metadata(path)?;
        if itself.is_dir() {
            for file in files_of_folder(path)? {
                stamp.add(&file, Some(&fs::metadata(&file)?));
            }
        } else {
            stamp.add(path, Some(&itself));
            for shard in shards::listed(path) {
                stamp.add(&shard, fs::metadata(&shard).ok().as_ref());
            }
            for name in BESIDE {
                let file = path.with_file_name(name);
                match fs::metadata(&file) {
                    Ok(metadata) => stamp.add(&file, Some(&metadata)),
                    Err(error) if error.kind() == ErrorKind::NotFound => stamp.add(&file, None),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Self { text: stamp.hash.finalize().to_hex().to_string(), youngest: stamp.youngest })
    }

    /// Looks at these files alone.
    pub fn of_files(files: &[PathBuf]) -> io::Result<Self> {
        let mut stamp = StampMaker { hash: blake3::Hasher::new(), youngest: UNIX_EPOCH };
        for file in files {
            stamp.add(file, Some(&fs::metadata(file)?));
        }
        Ok(Self { text: stamp.hash.finalize().to_hex().to_string(), youngest: stamp.youngest })
    }

    /// Returns what they look like in one word: another where any of them was written to, replaced or moved.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether the last change is so long ago that none can hide behind it.
    #[must_use]
    pub fn is_older_than(&self, now: SystemTime) -> bool {
        now.duration_since(self.youngest).is_ok_and(|age| age > TICK)
    }
}

struct StampMaker {
    hash: blake3::Hasher,
    youngest: SystemTime,
}

impl StampMaker {
    fn add(&mut self, path: &Path, metadata: Option<&Metadata>) {
        let mut numbers = |list: &[i64]| {
            for number in list {
                self.hash.update(&number.to_le_bytes());
            }
        };
        numbers(&[i64::try_from(path.as_os_str().len()).unwrap_or(i64::MAX)]);
        match metadata {
            Some(m) => {
                let unsigned = [m.len(), m.ino(), m.dev()].map(u64::cast_signed);
                numbers(&unsigned);
                numbers(&[m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec()]);
                // The inode's own time moves with every write, and nobody can set it.
                let changed = Duration::new(u64::try_from(m.ctime()).unwrap_or(0), u32::try_from(m.ctime_nsec()).unwrap_or(0));
                self.youngest = self.youngest.max(UNIX_EPOCH + changed);
            }
            None => numbers(&[-1]),
        }
        self.hash.update(path.as_os_str().as_encoded_bytes());
    }
}

/// Returns the files that say what a diffusers folder is: its index, and weights and descriptions of its parts.
fn files_of_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let list = |folder: &Path| -> io::Result<Vec<PathBuf>> { fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect() };
    let mut files = Vec::new();
    for path in list(folder)? {
        if path.is_dir() { files.extend(list(&path)?) } else { files.push(path) }
    }
    files.retain(|f| f.extension().is_some_and(|e| e == "safetensors" || e == "json") && f.is_file());
    files.sort();
    Ok(files)
}

/// Returns what an index holds; one that is not there, damaged, or another build's holds nothing.
fn load(place: &Path) -> BTreeMap<PathBuf, Known> {
    let Ok(text) = regular::read(place) else { return BTreeMap::new() };
    match serde_json::from_slice::<Index>(&text) {
        Ok(index) if index.build == BUILD => index.files,
        Ok(_) => BTreeMap::new(),
        Err(error) => {
            tracing::warn!("{}: the index of models is damaged and made anew: {error}", place.display());
            BTreeMap::new()
        }
    }
}

/// Writes an index beside its place and gives it its name when it is whole.
fn save(place: &Path, files: BTreeMap<PathBuf, Known>) -> io::Result<()> {
    let folder = place.parent().unwrap_or(place);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec(&Index { build: BUILD.to_owned(), files })?)?;
    file.persist(place).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::library::{Roots, scan};

    /// Long after everything that a test writes.
    fn later() -> SystemTime {
        SystemTime::now() + Duration::from_hours(1)
    }

    struct World {
        _folder: tempfile::TempDir,
        roots: Roots,
        model: PathBuf,
    }

    fn header(entries: &str, bytes: usize) -> Vec<u8> {
        let json = format!("{{{entries}}}");
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![0; bytes]].concat()
    }

    /// A file that holds an autoencoder's first tensor, and so is known as one.
    fn vae() -> Vec<u8> {
        header(r#""decoder.conv_in.weight":{"dtype":"F32","shape":[1,1,1,1],"data_offsets":[0,4]}"#, 4)
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        fs::create_dir_all(models.join("vae")).unwrap();
        let model = models.join("vae/one.safetensors");
        fs::write(&model, vae()).unwrap();
        let roots = Roots { models: vec![models], extra: vec![], cache: folder.path().join("cache"), tokenizers: vec![] };
        World { _folder: folder, roots, model }
    }

    fn list(world: &World, now: SystemTime) -> Vec<ModelEntry> {
        let mut entries = scan(&world.roots, false);
        entries.retain(|e| e.name != crate::library::moonlet::NAME);
        describe_at(&mut entries, &world.roots.cache, now);
        entries
    }

    fn kept(world: &World) -> usize {
        load(&place(&world.roots.cache)).len()
    }

    /// Puts a family into the index that no header says, so that a listing shows where it looked.
    fn mark(world: &World) {
        let place = place(&world.roots.cache);
        let mut files = load(&place);
        for known in files.values_mut() {
            known.found.family = Some(Family::Flux);
        }
        save(&place, files).unwrap();
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let world = world();
        let first = list(&world, later());
        assert_eq!((first.len(), kept(&world)), (1, 1));
        assert_eq!(list(&world, later()), first);
        mark(&world);
        assert_eq!(list(&world, later())[0].family, Some(Family::Flux), "the index was not asked");
    }

    #[test]
    fn a_file_that_changed_is_read_again() {
        type Change = fn(&World);
        let changes: [(&str, Change); 6] = [
            ("written over with the same size and time", |w| {
                let time = fs::metadata(&w.model).unwrap().modified().unwrap();
                fs::write(&w.model, vae()).unwrap();
                fs::File::options().write(true).open(&w.model).unwrap().set_modified(time).unwrap();
            }),
            ("longer", |w| fs::write(&w.model, header("", 0)).unwrap()),
            ("another one in its place", |w| {
                let other = w.model.with_extension("new");
                fs::write(&other, vae()).unwrap();
                fs::rename(other, &w.model).unwrap();
            }),
            ("its time moved", |w| {
                let file = fs::File::options().write(true).open(&w.model).unwrap();
                file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
            }),
            ("said to be stored otherwise", |w| fs::write(w.model.with_file_name("quantization_config.json"), "{}").unwrap()),
            ("the index damaged", |w| fs::write(place(&w.roots.cache), "{").unwrap()),
        ];
        for (what, change) in changes {
            let world = world();
            list(&world, later());
            mark(&world);
            assert_eq!(list(&world, later())[0].family, Some(Family::Flux));
            change(&world);
            assert_eq!(list(&world, later())[0].family, None, "{what}");
        }
    }

    #[test]
    fn what_changed_just_now_and_what_could_not_be_opened_is_not_kept() {
        let world = world();
        list(&world, SystemTime::now());
        assert_eq!(kept(&world), 0, "a second change could hide behind the first");
        list(&world, later());
        assert_eq!(kept(&world), 1);
        list(&world, later());
        fs::remove_file(&world.model).unwrap();
        fs::write(world.model.with_file_name("two.safetensors"), vae()).unwrap();
        list(&world, later());
        assert_eq!(load(&place(&world.roots.cache)).into_keys().collect::<Vec<_>>(), [world.model.with_file_name("two.safetensors")]);
    }

    #[test]
    fn another_build_s_index_is_none_and_a_folder_that_cannot_be_written_stops_nothing() {
        let world = world();
        let first = list(&world, later());
        let place = place(&world.roots.cache);
        let text = fs::read_to_string(&place).unwrap().replace(BUILD, "0.0.0+another");
        fs::write(&place, text).unwrap();
        assert_eq!(kept(&world), 0);
        fs::set_permissions(&world.roots.cache, fs::Permissions::from_mode(0o500)).unwrap();
        assert_eq!(list(&world, later()), first);
        fs::set_permissions(&world.roots.cache, fs::Permissions::from_mode(0o700)).unwrap();
        let nowhere = Roots { cache: PathBuf::new(), ..world.roots.clone() };
        let mut entries = scan(&nowhere, false);
        describe_at(&mut entries, &nowhere.cache, later());
        assert!(!Path::new("library.json").exists());
    }
}
