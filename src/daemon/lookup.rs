//! Finds out what drafts and names mean, on a thread of its own, in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::converters;
use super::input::{Input, Ticket};
use super::run::Message;
use crate::config::{Environment, Settings};
use crate::families::Role;
use crate::gallery;
use crate::library::extra_paths::{self, Surroundings};
use crate::library::{FolderKind, Roots, inventory};
use crate::units::Seed;
use crate::workflow::{Defaults, Inventory, JobDraft, JobSpec, Kind, Refusal, resolve};

/// How long a name is believed to mean the same file, and a folder to hold the same shards.
const BELIEVED: Duration = Duration::from_secs(2);
/// Models that are remembered.
const REMEMBERED: usize = 64;

/// Returns the model folders that the settings name.
pub fn roots(settings: &Settings) -> Result<Roots, Refusal> {
    let mut roots = Roots {
        models: settings.models.value.clone(),
        extra: Vec::new(),
        tokenizers: settings.tokenizers.value.clone(),
        cache: settings.paths.cache.clone(),
    };
    if let Some(path) = &settings.extra_model_paths.value {
        let wrong = |problem: String| {
            Refusal::new(Kind::Usage, format!("{}: {problem}", path.display()), "mend the file, or take it out of config.yaml")
        };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        roots.extra = extra_folders(&text, path, &settings.surroundings).map_err(|e| wrong(e.to_string()))?;
    }
    Ok(roots)
}

/// Returns the folders that `ComfyUI`'s list of them adds, which lies at this path.
pub fn extra_folders(text: &str, path: &Path, environment: &Environment) -> Result<Vec<(FolderKind, PathBuf)>, serde_yaml::Error> {
    let variable = |name: &str| environment.said(name);
    let around = Surroundings { home: environment.home().map(PathBuf::as_path), variable: &variable };
    extra_paths::parse(text, path.parent().unwrap_or(Path::new("/")), around)
}

/// The thread that looks at drafts.
#[derive(Debug)]
pub struct Lookup {
    drafts: Sender<(Ticket, Box<JobDraft>, Box<Defaults>)>,
}

impl Lookup {
    /// Starts the thread. What is found goes to `tell`.
    pub fn start(roots: Roots, tell: mpsc::Sender<Message>) -> std::io::Result<Self> {
        let (drafts, from) = channel::<(Ticket, Box<JobDraft>, Box<Defaults>)>();
        let mut known = Known { roots, models: HashMap::new() };
        thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            for (ticket, draft, defaults) in from {
                let result = prepare(&draft, *defaults, &mut known);
                // At the end nobody listens any more.
                drop(tell.blocking_send(Message::Input(Input::Prepared(ticket, result))));
            }
        })?;
        Ok(Self { drafts })
    }

    /// Has a draft looked at.
    pub fn ask(&self, ticket: Ticket, draft: Box<JobDraft>, defaults: Box<Defaults>) {
        if self.drafts.send((ticket, draft, defaults)).is_err() {
            tracing::error!("the thread that looks at drafts is gone");
        }
    }
}

fn prepare(draft: &JobDraft, mut defaults: Defaults, known: &mut Known) -> Result<Box<JobSpec>, Refusal> {
    defaults.seed = random_seed();
    if let Some(path) = &draft.init_image {
        says_where_it_is(path, "--init-image")?;
        if !path.is_file() {
            let message = format!("there is no picture {}", path.display());
            return Err(Refusal::new(Kind::NotFound, message, "check the path after --init-image"));
        }
    }
    let inventory = known.find(draft)?;
    let mut spec = resolve(draft, inventory, &defaults)?;
    converters::settle(&mut spec, &known.roots)?;
    says_where_it_is(&spec.output, "--output")?;
    gallery::check(&spec.output).map_err(|e| Refusal::from(&e))?;
    Ok(Box::new(spec))
}

/// A daemon lives nowhere in particular, so a relative path leads nowhere.
fn says_where_it_is(path: &Path, flag: &str) -> Result<(), Refusal> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(Refusal::new(Kind::Usage, format!("{flag} {} is relative", path.display()), "give the path from / on"))
}

/// The standard library seeds its hashers from the system's random numbers; a picture's seed needs no better ones.
fn random_seed() -> Seed {
    Seed::from_bits(RandomState::new().hash_one(Instant::now()))
}

/// What was found out lately.
struct Known {
    roots: Roots,
    models: HashMap<Names, Found>,
}

/// What a draft says about its files.
type Names = (String, Option<String>, Vec<String>, BTreeMap<Role, String>, Option<PathBuf>, Vec<PathBuf>);

struct Found {
    inventory: Inventory,
    /// The files, as they were.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    at: Instant,
}

type Stamp = (SystemTime, u64);

impl Known {
    fn find(&mut self, draft: &JobDraft) -> Result<&Inventory, Refusal> {
        let JobDraft { model, vae, clip, encoders, init_image, models, .. } = draft.clone();
        let names = (model, vae, clip, encoders, init_image, models);
        let fresh = self.models.get(&names).is_some_and(Found::still_holds);
        if !fresh {
            let inventory = inventory::gather(draft, &self.roots)?;
            let files = inventory.description.iter().flat_map(|d| &d.components).flat_map(|c| &c.files);
            let stamps = files.map(|path| (path.clone(), stamp(path))).collect();
            if self.models.len() >= REMEMBERED {
                self.models.clear();
            }
            self.models.insert(names.clone(), Found { inventory, stamps, at: Instant::now() });
        }
        // It was there, or has just been put there.
        self.models.get(&names).map(|f| &f.inventory).ok_or_else(|| Refusal::bare(Kind::Failed, "the model was forgotten"))
    }
}

impl Found {
    fn still_holds(&self) -> bool {
        self.at.elapsed() < BELIEVED && self.stamps.iter().all(|(path, before)| before.is_some() && stamp(path) == *before)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
