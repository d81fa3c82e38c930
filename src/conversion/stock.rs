//! What was converted on this box, and what of it may go: for the commands and for the daemon alike.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{folders, is_in_use, remove};
use crate::cache::{self, CacheError, Item, Rule, Shelf, State, Users, outside};
use crate::library::Roots;
use crate::units::Timestamp;
use crate::wire::{CachedState, CachedView, CleanAsk, GoneView, VerifiedView};
use crate::workflow::{Kind, Refusal};

/// The conversions of a box, and what programs use of them.
#[derive(Debug)]
pub struct Stock {
    /// Those in the model folders.
    pub shelf: Shelf,
    users: Users,
}

impl Stock {
    /// Looks into the model folders, and at what programs use there: engines, ComfyUI, copies that are being made.
    #[must_use]
    pub fn look(roots: &Roots) -> Self {
        Self::of(Shelf::look(&folders(roots)))
    }

    /// Returns these conversions with what programs use of them.
    #[must_use]
    pub fn of(shelf: Shelf) -> Self {
        let folders = shelf.items.iter().filter_map(|item| item.path.parent().map(Path::to_owned)).collect();
        Self { users: Users::look(&folders), shelf }
    }

    /// Returns whether somebody uses a conversion, or makes it.
    #[must_use]
    pub fn is_in_use(&self, item: &Item) -> bool {
        is_in_use(&item.path) || (item.is_finished() && self.users.use_it(&item.path))
    }

    /// Returns what goes: what a rule says, among these files where some are named; without a rule these files. What is in use
    /// or kept stays.
    #[must_use]
    pub fn chosen(&self, rule: Option<&Rule>, files: &[PathBuf], now: Timestamp) -> Vec<(&Item, String)> {
        let files: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        let is_named = |item: &Item| files.is_empty() || files.contains(item.path.as_path());
        match rule {
            Some(rule) => {
                let chosen = cache::choose(&self.shelf.items, rule, now, |item| self.is_in_use(item));
                chosen.into_iter().filter(|c| is_named(c.item)).map(|c| (c.item, c.reason)).collect()
            }
            None if files.is_empty() => Vec::new(),
            None => {
                let free = self.shelf.items.iter().filter(|item| is_named(item) && !item.kept && !self.is_in_use(item));
                free.map(|item| (item, "it was named".to_owned())).collect()
            }
        }
    }
}

/// Returns every conversion for a list, those outside of the model folders, which `links` names, too.
pub fn list(roots: &Roots, links: &Path) -> Result<Vec<CachedView>, CacheError> {
    let mut shelf = Shelf::look(&folders(roots));
    let outside = shelf.others(outside::items(links)?);
    let inside = shelf.items.len();
    shelf.items.extend(outside);
    let stock = Stock::of(shelf);
    Ok(stock.shelf.items.iter().enumerate().map(|(place, item)| view(item, place >= inside, stock.is_in_use(item))).collect())
}

/// Removes what is asked for, or only says what would go.
#[must_use]
pub fn clean(roots: &Roots, ask: &CleanAsk, now: Timestamp) -> Vec<GoneView> {
    let stock = Stock::look(roots);
    let rule = ask.has_rule().then(|| Rule {
        keep: ask.keep.map(|keep| usize::try_from(keep).unwrap_or(usize::MAX)),
        older_than: ask.older_than_s.map(Duration::from_secs),
        to_free: ask.to_free,
        useless: ask.useless,
    });
    let gone = |(item, reason): (&Item, String)| {
        let (removed, problem) = match (ask.dry_run, remove_if(ask, item)) {
            (true, _) => (false, None),
            (false, Ok(true)) => (true, None),
            (false, Ok(false)) => (false, Some("another process makes it at the moment".to_owned())),
            (false, Err(problem)) => (false, Some(problem)),
        };
        GoneView { path: item.path.clone(), bytes: item.bytes, reason, removed, problem }
    };
    stock.chosen(rule.as_ref(), &ask.files, now).into_iter().map(gone).collect()
}

fn remove_if(ask: &CleanAsk, item: &Item) -> Result<bool, String> {
    if ask.dry_run {
        return Ok(false);
    }
    remove(item).map_err(|error| error.to_string())
}

/// Reads a conversion, compares every byte with what was written, and keeps what was found with it.
#[must_use]
pub fn verify(path: &Path) -> VerifiedView {
    let folder: BTreeSet<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    let found = Shelf::look(&folder).items.into_iter().find(|item| item.is_finished() && item.path == path);
    let problem = match found.as_ref().and_then(|item| Some((item, item.manifest.as_deref()?))) {
        None => Some("this is no conversion that was made here, or what says what it is was lost".to_owned()),
        Some((item, manifest)) => {
            let bytes = cache::verify(path, manifest);
            cache::remember(item, bytes.as_ref().err());
            bytes.err().map(|error| error.to_string())
        }
    };
    VerifiedView { path: path.to_owned(), problem }
}

/// Keeps a conversion whatever rule cleans, or lets it go again.
pub fn keep(path: &Path, kept: bool) -> Result<(), Refusal> {
    let folder: BTreeSet<PathBuf> = path.parent().map(Path::to_owned).into_iter().collect();
    if !Shelf::look(&folder).items.iter().any(|item| item.is_finished() && item.path == path) {
        let message = format!("{}: this is no conversion that was made here", path.display());
        return Err(Refusal::new(Kind::NotFound, message, "`perilune cache list` shows them"));
    }
    cache::kept::keep(path, kept).map_err(Refusal::from)
}

fn view(item: &Item, outside: bool, in_use: bool) -> CachedView {
    let about = item.manifest.as_ref();
    CachedView {
        path: item.path.clone(),
        source: item.source().map(Path::to_owned),
        from: about.map(|m| m.from.clone()),
        to: about.map(|m| m.to.clone()),
        bytes: item.bytes,
        state: match item.state {
            State::Valid => CachedState::Valid,
            State::Stale => CachedState::Stale,
            State::Orphaned => CachedState::Orphaned,
            State::Damaged => CachedState::Damaged,
            State::Unfinished => CachedState::Unfinished,
        },
        damage: about.and_then(|m| m.damage.clone()),
        outside,
        in_use,
        kept: item.kept,
        made: about.map(|m| m.made),
        used: item.used(),
        hits: about.map(|m| m.hits),
        seconds: about.map(|m| m.seconds),
        rel_l2_mean: about.map(|m| m.error.rel_l2_mean),
    }
}
