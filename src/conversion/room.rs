//! Room on the disk for a result: what is free above a floor, and what older conversions may give.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::ConversionError;
use super::turn::Turn;
use crate::cache::{self, Item, Rule, Shelf, State, Users, beside};
use crate::units::{Bytes, Timestamp};

/// What a conversion may do about room.
#[derive(Debug, Clone, Copy)]
pub struct Room<'a> {
    /// What is left free of the disk for others.
    pub floor: Bytes,
    /// Where older conversions lie that may give way.
    pub folders: &'a BTreeSet<PathBuf>,
}

/// Sees to it that `length` bytes fit at `target` above the floor. Where they do not, older conversions of the same disk leave
/// that can be made again and that nobody uses, what is cheapest to miss first; where that would not do, none leaves. Returns
/// those that left.
pub fn make(room: &Room<'_>, target: &Path, length: u64, sources: &[PathBuf], now: Timestamp) -> Result<Vec<Item>, ConversionError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    let held = fs::metadata(beside(target, "part")).map_or(0, |m| m.blocks() * 512);
    let needed = length.saturating_sub(held);
    // What cannot be asked is found out by writing.
    let Ok(disk) = statvfs(folder) else { return Ok(Vec::new()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let missing = (needed + room.floor.0).saturating_sub(free);
    if needed == 0 || missing == 0 {
        return Ok(Vec::new());
    }
    let device = |path: &Path| fs::metadata(path).map(|m| m.dev()).ok();
    let here = device(folder);
    let folders: BTreeSet<PathBuf> = room.folders.iter().filter(|other| here.is_some() && device(other) == here).cloned().collect();
    let shelf = Shelf::look(&folders);
    let users = Users::look(&folders);
    let stays = |item: &Item| {
        let is_source = item.path.canonicalize().is_ok_and(|path| sources.contains(&path));
        item.path == target || is_source || item.state == State::Orphaned || users.use_it(&item.path)
    };
    let rule = Rule { to_free: Some(Bytes(missing)), ..Rule::default() };
    let chosen = cache::choose(&shelf.items, &rule, now, stays);
    let given: u64 = chosen.iter().map(|choice| choice.item.bytes.0).sum();
    if given < missing {
        return Err(ConversionError::NoSpace {
            path: target.to_owned(),
            needed: Bytes(needed),
            free: Bytes(free),
            floor: room.floor,
            missing: Bytes(missing),
        });
    }
    let mut gone = Vec::new();
    for choice in chosen {
        if remove(choice.item)? {
            gone.push(choice.item.clone());
        }
    }
    Ok(gone)
}

/// Removes a conversion, unless somebody makes it at the moment; returns whether it is gone.
pub fn remove(item: &Item) -> Result<bool, ConversionError> {
    let Some(_turn) = Turn::attempt(&item.path)? else { return Ok(false) };
    cache::discard(item)?;
    Ok(true)
}
