//! What every command needs: settings, output, and a way to the daemon.

use std::fs;
use std::future::Future;
use std::path::PathBuf;

use super::global::Global;
use super::output::Output;
use crate::cache::{Access, Store, store};
use crate::client::{Client, Gate, Place};
use crate::config::{Environment, Flags, Origin, Settings, StoreKeys};
use crate::daemon::lookup;
use crate::library::Roots;
use crate::tui::options::ColorChoice;
use crate::workflow::{Kind, Refusal};

/// Returns what a store wants to know of us.
#[must_use]
pub fn access(keys: StoreKeys) -> Access {
    let StoreKeys { id, secret, token, region, endpoint } = keys;
    Access { key_id: id, secret, token, region, endpoint }
}

/// What becomes of a command where the file of settings is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WrongFile {
    /// It is refused: it would do something else than was meant.
    Refused,
    /// It does without the file, and the mistake is told: what shows the settings or ends the daemon must work all the same.
    Told,
}

/// What every command needs.
#[derive(Debug)]
pub struct Context {
    /// Every setting.
    pub settings: Settings,
    /// Why the file of settings could not be used; the settings are then those without it.
    pub problem: Option<Refusal>,
    /// The surroundings of this process.
    pub environment: Environment,
    /// Where the daemon is.
    pub place: Place,
    /// Where else there are daemons, for the dashboard.
    pub others: Vec<Place>,
    /// Whether to tell line by line.
    pub plain: bool,
    /// Whether one may be started.
    pub spawn: bool,
    /// Model folders as they were given by flag.
    pub models: Vec<PathBuf>,
    /// What was said about colours by flag.
    pub color: ColorChoice,
    /// Where results go.
    pub output: Output,
}

/// A folder that is not there would only look as if it held no models.
fn are_folders(models: &[PathBuf], environment: &Environment) -> Result<(), Refusal> {
    let hint = "name a folder that is there; `perilune config` shows where models are looked for without the flag";
    for folder in models {
        let problem = match fs::metadata(environment.absolute(folder)) {
            Ok(about) if about.is_dir() => continue,
            Ok(_) => "this is no folder".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(Refusal::new(Kind::NotFound, format!("--models {}: {problem}", folder.display()), hint));
    }
    Ok(())
}

impl Context {
    /// Resolves the settings.
    pub fn new(global: Global, environment: Environment, output: Output, wrong: WrongFile) -> Result<Self, Refusal> {
        let flags = Flags { home: global.home, models: global.models.clone(), profile: global.profile };
        let (settings, problem) = match (Settings::load(&flags, &environment), wrong) {
            (Ok(settings), _) => (settings, None),
            (Err(error), WrongFile::Refused) => return Err(error.into()),
            // What is wrong without the file, too, stands somewhere else.
            (Err(error), WrongFile::Told) => (Settings::without_file(&flags, &environment)?, Some(Refusal::from(error))),
        };
        let mut places: Vec<Place> = Vec::new();
        for host in global.host {
            let place = if host == "local" { Place::Local } else { Place::Host(host) };
            // A box that is named twice is one box.
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let mut places = places.into_iter();
        let place = places.next().unwrap_or(Place::Local);
        if place == Place::Local {
            are_folders(&global.models, &environment)?;
        }
        let (others, plain) = (places.collect(), global.plain);
        let color = if global.no_color { ColorChoice::Never } else { global.color.unwrap_or_default() };
        Ok(Self { settings, problem, environment, place, others, plain, spawn: !global.no_spawn, models: global.models, color, output })
    }

    /// Returns the way to the daemon.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate_to(self.place.clone())
    }

    /// Returns the ways to every daemon that was named.
    pub fn gates(&self) -> impl Iterator<Item = Gate> {
        [&self.place].into_iter().chain(&self.others).map(|place| self.gate_to(place.clone()))
    }

    fn gate_to(&self, place: Place) -> Gate {
        Gate::of(&self.settings, place, self.spawn, self.environment.program())
    }

    /// Returns the model folders.
    pub fn roots(&self) -> Result<Roots, Refusal> {
        lookup::roots(&self.settings)
    }

    /// Returns the model folders that this command names for its own parts, as the daemon finds them: another box's are those of the
    /// flag alone, given as they are there.
    pub fn asked_models(&self) -> Result<Vec<PathBuf>, Refusal> {
        match (&self.place, &self.settings.models.origin) {
            (Place::Local, Origin::Flag(_) | Origin::Environment(_)) => Ok(self.settings.models.value.clone()),
            (Place::Host(host), _) => match self.models.iter().find(|folder| !folder.is_absolute()) {
                Some(folder) => Err(Refusal::new(
                    Kind::Usage,
                    format!("--models {} is relative, but the model is looked for on {host}", folder.display()),
                    "give the folder as it is there, from / on",
                )),
                None => Ok(self.models.clone()),
            },
            (Place::Local, _) => Ok(Vec::new()),
        }
    }

    /// Returns where back-ups of conversions go, if they go anywhere.
    pub fn backup(&self) -> Result<Option<Store>, Refusal> {
        let place = self.settings.backup.value.as_deref().map(store::Place::parse).transpose()?;
        Ok(place.map(|place| Store::new(place, access(StoreKeys::of(&self.environment)))))
    }

    /// Connects to the daemon and does something with it.
    pub fn with_daemon<T, F: Future<Output = Result<T, Refusal>>>(&self, work: impl FnOnce(Client) -> F) -> Result<T, Refusal> {
        let gate = self.gate();
        self.wait_for(async { work(Client::connect(&gate).await?).await })
    }

    /// Waits for something that takes time.
    pub fn wait_for<T>(&self, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")))?;
        let done = runtime.block_on(work);
        // Threads that wait for a lock or a pipe must not keep the program.
        runtime.shutdown_background();
        done
    }
}
