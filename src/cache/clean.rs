//! Which conversions may go, and in which order.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::{CacheError, Item, State, beside, kept, uses};
use crate::units::{Bytes, Timestamp};

/// What the operator wants gone. What is set holds together: an item goes if any of it says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Of each source, all but this many that were made last.
    pub keep: Option<usize>,
    /// What was not used for longer than this.
    pub older_than: Option<Duration>,
    /// As much as this, what is cheapest to miss first.
    pub to_free: Option<Bytes>,
    /// What cannot be used: damaged, stale, without source, unfinished.
    pub useless: bool,
}

/// An item that goes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice<'a> {
    /// What.
    pub item: &'a Item,
    /// Why.
    pub reason: String,
}

/// Returns what goes by a rule. What is in use and what the operator keeps is never among it.
#[must_use]
pub fn choose<'a>(items: &'a [Item], rule: &Rule, now: Timestamp, in_use: impl Fn(&Item) -> bool) -> Vec<Choice<'a>> {
    let (used, free): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.kept || in_use(item));
    // A file and the part that will take its place have one path.
    let key = |item: &Item| (item.path.clone(), item.is_finished());
    let mut chosen = BTreeMap::new();
    let mut take = |item: &'a Item, reason: String| {
        chosen.entry(key(item)).or_insert(Choice { item, reason });
    };
    if rule.useless {
        free.iter().filter_map(|item| Some((*item, useless(item.state)?))).for_each(|(item, why)| take(item, why.to_owned()));
    }
    if let Some(age) = rule.older_than {
        for (item, used) in free.iter().filter_map(|item| Some((*item, item.used()?))).filter(|(_, used)| now.since(*used) > age) {
            take(item, format!("last used {used}"));
        }
    }
    if let Some(keep) = rule.keep {
        let mut of_source: BTreeMap<&Path, Vec<&Item>> = BTreeMap::new();
        for item in items {
            if let Some(source) = item.source() {
                of_source.entry(source).or_default().push(item);
            }
        }
        for mut items in of_source.into_values() {
            // What can be used stays before what cannot; of those made at once, the one that was used last.
            items.sort_by_key(|item| {
                (item.state != State::Valid, Reverse((item.manifest.as_ref().map(|m| m.made), item.used())), &item.path)
            });
            for item in items.into_iter().skip(keep).filter(|item| !used.contains(item)) {
                take(item, format!("not among the {keep} newest of its source"));
            }
        }
    }
    if let Some(wanted) = rule.to_free {
        let mut freed: u64 = chosen.values().map(|c| c.item.bytes.0).sum();
        let mut rest: Vec<&Item> = free.into_iter().filter(|item| !chosen.contains_key(&key(item))).collect();
        rest.sort_by(|a, b| worth(a, now).total_cmp(&worth(b, now)).then_with(|| a.path.cmp(&b.path)));
        for item in rest {
            if freed >= wanted.0 {
                break;
            }
            freed += item.bytes.0;
            let reason = useless(item.state).unwrap_or("cheapest to miss: soon made again, large, or long unused");
            chosen.insert(key(item), Choice { item, reason: reason.to_owned() });
        }
    }
    chosen.into_values().collect()
}

fn useless(state: State) -> Option<&'static str> {
    match state {
        State::Valid => None,
        State::Stale => Some("its source was changed"),
        State::Orphaned => Some("its source is gone"),
        State::Damaged => Some("it is not what was written"),
        State::Unfinished => Some("nobody finished it"),
    }
}

/// Returns what keeping an item is worth for each byte: seconds that making it again takes, less the longer it was not used.
/// What cannot be used is worth nothing; what cannot be made again, without its source, is kept longest of equals.
fn worth(item: &Item, now: Timestamp) -> f64 {
    let Some(manifest) = &item.manifest else { return 0.0 };
    if !matches!(item.state, State::Valid | State::Orphaned) {
        return 0.0;
    }
    let idle = item.used().map_or(0.0, |used| now.since(used).as_secs_f64() / 86_400.0);
    let again = if item.state == State::Orphaned { 10.0 } else { 1.0 };
    again * manifest.seconds.max(0.001) / (item.bytes.0.max(1) as f64) / (1.0 + idle)
}

/// Removes a conversion and what is about it; an unfinished one with what is done of it, and without the file that it would
/// have replaced.
pub fn discard(item: &Item) -> Result<(), CacheError> {
    let about = |kinds: &[&str]| kinds.iter().map(|kind| beside(&item.path, kind)).collect::<Vec<_>>();
    let done = about(&["json", "sums", "upload", uses::KIND, kept::KIND]);
    let mut gone = Vec::new();
    if item.is_finished() {
        // The file first: a manifest without one is nothing.
        gone.push(item.path.clone());
        gone.extend(done);
    } else {
        gone.extend(about(&["part", "journal"]));
        // What was written about a file that never got its name.
        if item.path.symlink_metadata().is_err() {
            gone.extend(done);
        }
    }
    for path in gone {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(CacheError::io(&path, "removing it")(e)),
            _ => {}
        }
    }
    Ok(())
}
