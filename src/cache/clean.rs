//! Which conversions may go, and in which order.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use super::{CacheError, Item, State, beside};
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

/// Returns what goes by a rule. What is in use is never among it.
#[must_use]
pub fn choose<'a>(items: &'a [Item], rule: &Rule, now: Timestamp, in_use: impl Fn(&Path) -> bool) -> Vec<Choice<'a>> {
    let free: Vec<&Item> = items.iter().filter(|item| !in_use(&item.path)).collect();
    let mut chosen: BTreeMap<&Path, Choice<'a>> = BTreeMap::new();
    let mut take = |item: &'a Item, reason: String| {
        chosen.entry(&item.path).or_insert(Choice { item, reason });
    };
    if rule.useless {
        free.iter().filter_map(|item| Some((*item, useless(item.state)?))).for_each(|(item, why)| take(item, why.to_owned()));
    }
    if let Some(age) = rule.older_than {
        let is_old = |item: &&&Item| item.used().is_some_and(|used| now.since(used) > age);
        free.iter().filter(is_old).for_each(|item| take(item, "not used for so long".to_owned()));
    }
    if let Some(keep) = rule.keep {
        let mut of_source: BTreeMap<&Path, Vec<&Item>> = BTreeMap::new();
        for item in &free {
            if let Some(source) = item.source() {
                of_source.entry(source).or_default().push(item);
            }
        }
        for mut items in of_source.into_values() {
            items.sort_by_key(|item| std::cmp::Reverse(item.manifest.as_ref().map(|m| m.made)));
            items.into_iter().skip(keep).for_each(|item| take(item, format!("not among the {keep} newest of its source")));
        }
    }
    if let Some(wanted) = rule.to_free {
        let mut freed: u64 = chosen.values().map(|c| c.item.bytes.0).sum();
        let mut rest: Vec<&Item> = free.into_iter().filter(|item| !chosen.contains_key(item.path.as_path())).collect();
        rest.sort_by(|a, b| worth(a, now).total_cmp(&worth(b, now)).then_with(|| a.path.cmp(&b.path)));
        for item in rest {
            if freed >= wanted.0 {
                break;
            }
            freed += item.bytes.0;
            chosen.insert(&item.path, Choice { item, reason: "cheap to make again, large, or long unused".to_owned() });
        }
    }
    chosen.into_values().collect()
}

fn useless(state: State) -> Option<&'static str> {
    match state {
        State::Valid => None,
        State::Stale => Some("its source was changed"),
        State::Orphaned => Some("its source is gone"),
        State::Damaged => Some("its size is not what was written"),
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

/// Removes a conversion and what is about it; an unfinished one with what is done of it.
pub fn discard(item: &Item) -> Result<(), CacheError> {
    let about = ["json", "sums", "part", "journal"].map(|kind| beside(&item.path, kind));
    let own = (item.state != State::Unfinished).then(|| item.path.clone());
    // The file first: a manifest without one is nothing, a file without its manifest nobody's.
    for path in own.into_iter().chain(about) {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(CacheError::io(&path, "removing it")(e)),
            _ => {}
        }
    }
    Ok(())
}
