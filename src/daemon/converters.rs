//! What the core may not do for a conversion itself: looking at files, and children that convert.
//!
//! A child is this very program, in a process of its own with the lowest claims on processors and disk, so that a crash or a
//! kill there costs what was not journalled yet and nothing else. It dies with the daemon.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::engines::spawn::{SpawnSpec, Spawned, spawn};
use super::input::{ConversionHeard, Converted, Exit, Input};
use super::run::Message;
use crate::cache::store::Place;
use crate::cache::{Access, Shelf, Store};
use crate::config::Settings;
use crate::conversion::{self, Aside, Part, Wish as Asked};
use crate::families::{Component, Role, describe_loadable};
use crate::library::{self, LibraryError, Roots, inventory};
use crate::units::{Bytes, Clock, SystemClock};
use crate::weights::Catalog;
use crate::wire::status::CacheView;
use crate::wire::{ConvertAsk, ConvertOrder, ConvertReport, ConvertStatus, ConvertedView, Limit, asynchronous};
use crate::workflow::{Conversion, JobSpec, Kind, Refusal, Wish};

/// The program that runs, whatever has taken its file's place since: both sides are of one build.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Looks for conversions, and has children make them.
#[derive(Debug)]
pub struct Converters {
    roots: Roots,
    threads: Option<u32>,
    /// How much of a disk they leave free.
    floor: Bytes,
    /// Where they may be fetched from instead.
    backup: Option<String>,
    tell: mpsc::Sender<Message>,
    /// Those at work. Dropped, one ends.
    children: HashMap<u64, oneshot::Sender<()>>,
}

impl Converters {
    /// Returns one that has nothing to do yet.
    #[must_use]
    pub fn new(roots: Roots, settings: &Settings, tell: mpsc::Sender<Message>) -> Self {
        let (threads, floor, backup) = (settings.engine_threads.value, settings.disk_floor.value, settings.backup.value.clone());
        Self { roots, threads, floor, backup, tell, children: HashMap::new() }
    }

    /// Looks whether a conversion is there.
    pub fn look(&self, id: u64, wish: Wish) {
        let (tell, roots) = (self.tell.clone(), self.roots.clone());
        drop(spawn_blocking(move || {
            let found = look(&wish, &roots).map(|found| found.map(Box::new));
            drop(tell.blocking_send(Message::Input(Input::Conversion(id, ConversionHeard::Looked(found)))));
        }));
    }

    /// Has a child make a conversion.
    pub fn make(&mut self, id: u64, wish: Wish) {
        let order =
            ConvertOrder { wish, models: self.roots.models.clone(), threads: self.threads, floor: self.floor, backup: self.backup.clone() };
        let (stop, stopped) = oneshot::channel();
        self.children.insert(id, stop);
        let spec = SpawnSpec {
            program: PathBuf::from(THIS_PROGRAM),
            arguments: &["converter"],
            source: "converter".to_owned(),
            environment: Vec::new(),
        };
        // Started here and not in the task: a child dies with the thread that starts it.
        let spawned = spawn(&spec);
        let child = Child { id, tell: self.tell.clone() };
        tokio::spawn(async move {
            let heard = match spawned {
                Ok(spawned) => child.converse(spawned, &order, stopped).await,
                Err(error) => Some(ConversionHeard::Died(Exit { how: format!("could not be started: {error}"), log: Vec::new() })),
            };
            if let Some(heard) = heard {
                child.say(heard).await;
            }
        });
    }

    /// Ends a child, if it is there.
    pub fn stop(&mut self, id: u64) {
        self.children.remove(&id);
    }

    /// Ends all children.
    pub fn clear(&mut self) {
        self.children.clear();
    }

    /// Counts the conversions that there are.
    pub fn count(&self) {
        let (tell, roots) = (self.tell.clone(), self.roots.clone());
        drop(spawn_blocking(move || {
            let shelf = Shelf::look(&conversion::folders(&roots));
            drop(tell.blocking_send(Message::Input(Input::Counted(counted(&shelf)))));
        }));
    }
}

fn counted(shelf: &Shelf) -> CacheView {
    let sums = shelf.by_precision();
    CacheView {
        count: sums.values().map(|(count, _)| count).sum(),
        bytes: sums.values().map(|(_, bytes)| *bytes).sum(),
        by_precision: sums.into_iter().map(|(precision, (_, bytes))| (precision, bytes)).collect(),
    }
}

/// One child, and who hears of it.
struct Child {
    id: u64,
    tell: mpsc::Sender<Message>,
}

impl Child {
    async fn say(&self, heard: ConversionHeard) {
        // When the daemon ends, nobody listens any more.
        drop(self.tell.send(Message::Input(Input::Conversion(self.id, heard))).await);
    }

    /// Tells the child what to do, and passes on what it says; nothing where nobody wants to know any more.
    async fn converse(&self, spawned: Spawned, order: &ConvertOrder, mut stopped: oneshot::Receiver<()>) -> Option<ConversionHeard> {
        let socket = spawned.socket.try_clone().and_then(|socket| {
            socket.set_nonblocking(true)?;
            UnixStream::from_std(socket)
        });
        let (mut from, mut to) = match socket {
            Ok(socket) => socket.into_split(),
            Err(error) => return Some(ConversionHeard::Died(Exit { how: format!("could not be spoken with: {error}"), log: Vec::new() })),
        };
        // A child that is gone already does not hear it; its exit says more.
        drop(asynchronous::write(&mut to, order, Limit::CONTROL).await);
        loop {
            let report = tokio::select! {
                report = asynchronous::read::<ConvertReport>(&mut from, Limit::CONTROL) => report,
                _ = &mut stopped => return None,
            };
            match report {
                Ok(Some(ConvertReport::Progress { done, bytes })) => self.say(ConversionHeard::Progress { done, bytes }).await,
                Ok(Some(ConvertReport::Waiting(path))) => tracing::info!("waiting: another process makes {}", path.display()),
                Ok(Some(ConvertReport::Converted(view))) => {
                    let part = order.wish.part.clone();
                    let described = spawn_blocking(move || described(*view, part.as_deref())).await;
                    let lost = |error| Err(Refusal::bare(Kind::Failed, format!("the conversion could not be looked at: {error}")));
                    return Some(ConversionHeard::Made(described.unwrap_or_else(lost).map(Box::new)));
                }
                Ok(Some(ConvertReport::Failed(refusal))) => return Some(ConversionHeard::Made(Err(refusal))),
                Ok(None) | Err(_) => break,
            }
        }
        // One that says nothing more has ended, or is ended now.
        let how = tokio::select! {
            how = spawned.exit => how.unwrap_or_else(|_| "is gone, and nobody knows how".to_owned()),
            _ = &mut stopped => return None,
        };
        Some(ConversionHeard::Died(Exit { how, log: spawned.tail.lines() }))
    }
}

/// Returns what a client asks to be converted.
pub fn locate(ask: &ConvertAsk, roots: &Roots) -> Result<Wish, Refusal> {
    part(ask.part.as_deref())?;
    let source = inventory::locate_any(&ask.source, roots)?;
    Ok(Wish { source, part: ask.part.clone(), to: ask.to.clone() })
}

/// Returns a conversion, if it is there. An error says that it cannot be made either.
pub fn look(wish: &Wish, roots: &Roots) -> Result<Option<Converted>, Refusal> {
    let asked = asked(wish, roots)?;
    let Some(outcome) = conversion::lookup(&asked)? else { return Ok(None) };
    described(outcome.view(&wish.source, &wish.to, 0.0), wish.part.as_deref()).map(Some)
}

/// Has a job run what its conversion has become, if that is there already. An error says that it never will be.
pub fn settle(spec: &mut JobSpec, roots: &Roots) -> Result<(), Refusal> {
    let Some(Conversion { wish, result }) = &mut spec.conversion else { return Ok(()) };
    if let Some(converted) = look(wish, roots)? {
        *result = Some(converted.view.output);
        if let Some(component) = converted.component {
            spec.set.replace(component);
        }
    }
    Ok(())
}

/// Returns what the diffusion network of a job will hold, where that is to be converted first. If it is there, the job has it.
pub fn foretold(spec: &mut JobSpec, roots: &Roots) -> Result<Option<Catalog>, Refusal> {
    settle(spec, roots)?;
    let lacks = spec.conversion.as_ref().filter(|c| c.result.is_none());
    lacks.map(|c| Ok(conversion::foretell(&asked(&c.wish, roots)?)?)).transpose()
}

/// Returns what a wish asks of the converter.
pub fn asked<'a>(wish: &'a Wish, roots: &'a Roots) -> Result<Asked<'a>, Refusal> {
    let part = part(wish.part.as_deref())?;
    let (source, target) = (&wish.source, wish.to.clone());
    Ok(Asked { source, part, target, folder: None, roots, floor: Bytes::ZERO, backup: None, now: SystemClock.now() })
}

fn part(name: Option<&str>) -> Result<Option<Part>, Refusal> {
    let parsed = name.map(str::parse::<Part>).transpose();
    parsed.map_err(|error| Refusal::new(Kind::Usage, error, "leave it out for the diffusion network"))
}

/// Looks at what a conversion has become. Only a diffusion network is ever run in its place.
fn described(view: ConvertedView, part: Option<&str>) -> Result<Converted, Refusal> {
    let is_network = part == Some(Role::Denoiser.name()) && view.status != ConvertStatus::Skipped;
    let component = if is_network { Some(component(&view.output)?) } else { None };
    Ok(Converted { view, component })
}

fn component(path: &Path) -> Result<Component, Refusal> {
    let sources = library::open(path, Some(Role::Denoiser))?;
    let described = describe_loadable(&sources).map_err(LibraryError::of_tensors(path))?;
    let found = described.components.into_iter().find(|c| c.role == Role::Denoiser);
    let none = || Refusal::bare(Kind::BadFile, format!("{}: it holds no diffusion network", path.display()));
    found.ok_or_else(none)
}

/// Does what a daemon says on a socket, and tells it there; for the child itself. `access` is for where the order says that
/// back-ups are.
pub fn obey(order: &ConvertOrder, access: Access, watch: conversion::Watch<'_>, say: &(dyn Fn(&ConvertReport) + Sync)) -> ConvertReport {
    let roots = Roots { models: order.models.clone(), ..Roots::default() };
    let begun = std::time::Instant::now();
    let backup = order.backup.as_deref().map(Place::parse).transpose().map(|place| place.map(|place| Store::new(place, access)));
    let backup = backup.unwrap_or_else(|error| {
        tracing::warn!("{error}");
        None
    });
    let made = asked(&order.wish, &roots).and_then(|asked| {
        let tell = |aside: Aside<'_>| match aside {
            Aside::Waiting(path) => say(&ConvertReport::Waiting(path.to_owned())),
            Aside::Gone(item) => tracing::info!("removed to make room for a conversion: {}, {}", item.path.display(), item.bytes),
            Aside::NoBackup(error) => tracing::warn!("the back-up was of no help: {error}"),
        };
        conversion::convert(&Asked { floor: order.floor, backup: backup.as_ref(), ..asked }, watch, tell).map_err(Refusal::from)
    });
    match made {
        Ok(outcome) => ConvertReport::Converted(Box::new(outcome.view(&order.wish.source, &order.wish.to, begun.elapsed().as_secs_f64()))),
        Err(refusal) => ConvertReport::Failed(refusal),
    }
}

/// Returns what is told of progress.
#[must_use]
pub fn progress(done: Bytes, bytes: Bytes) -> ConvertReport {
    ConvertReport::Progress { done, bytes }
}
