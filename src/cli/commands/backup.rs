//! `perilune cache backup` and `restore`: conversions that are kept elsewhere, too.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::convert::stop_on_signals;
use crate::cache::backup::{self, Kept};
use crate::cache::{CacheError, Item, Journey, Manifest, Shelf, State, Store};
use crate::cli::context::Context;
use crate::cli::output::plain;
use crate::cli::report;
use crate::conversion::{self, Brought, ConversionError};
use crate::library::Roots;
use crate::units::{Bytes, Clock, SystemClock};
use crate::workflow::{Kind, Refusal};

/// Returns what is said where nobody said where back-ups go.
pub(super) fn nowhere() -> Refusal {
    let hint = "set `backup` in config.yaml, or the variable PERILUNE_BACKUP, to s3://BUCKET/PREFIX or a folder";
    Refusal::new(Kind::Usage, "nobody said where back-ups go", hint)
}

fn bar(context: &Context, path: &Path, doing: &str) -> ProgressBar {
    if context.output.json {
        return ProgressBar::hidden();
    }
    let name = plain(&path.file_name().unwrap_or_default().to_string_lossy());
    let bar = ProgressBar::new(0).with_message(format!("{name} {doing}"));
    let style = ProgressStyle::with_template("{msg}  {bar:20}  {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Copies one conversion into a store, and shows how far it is; returns whether that was to be done.
pub(super) fn save(context: &Context, store: &Store, path: &Path, manifest: &Manifest, stop: &AtomicBool) -> Result<bool, ConversionError> {
    let bar = bar(context, path, &format!("to {}", store.place()));
    let tell = |done: Bytes, all: Bytes| {
        bar.set_length(all.0);
        bar.set_position(done.0);
    };
    let saved = conversion::backup::save(store, path, manifest, Journey { stop, tell: &tell });
    bar.finish_and_clear();
    saved
}

/// Copies conversions into the back-up; one that cannot be copied does not keep the others. Returns the exit code.
pub(super) fn backup(context: &Context, shelf: &Shelf, is_named: bool) -> Result<u8, Refusal> {
    let store = context.backup()?.ok_or_else(nowhere)?;
    let stop = stop_on_signals()?;
    // What cannot be used is no use elsewhere.
    let of_use = |item: &&Item| is_named || matches!(item.state, State::Valid | State::Orphaned);
    let items: Vec<(&Item, &Manifest)> = shelf.items.iter().filter(of_use).filter_map(|i| Some((i, i.manifest.as_deref()?))).collect();
    if items.is_empty() && !context.output.json {
        report::note("no conversions");
    }
    let mut code = 0;
    for (item, manifest) in items {
        let saved = save(context, &store, &item.path, manifest, &stop);
        if let Err(ConversionError::Cancelled) = saved {
            return Err(CacheError::Stopped.into());
        }
        let (status, reason) = match &saved {
            Ok(true) => ("saved", None),
            Ok(false) => ("there", None),
            Err(error) => ("failed", Some(error.to_string())),
        };
        let line = json!({"path": item.path, "bytes": item.bytes, "store": store.place().to_string(), "status": status, "reason": reason});
        let said = match saved {
            Ok(true) => "saved",
            Ok(false) => "was there",
            Err(error) => {
                code = report::report(&error.into());
                if context.output.json {
                    context.output.show(&line, String::new);
                }
                continue;
            }
        };
        context.output.show(&line, || format!("{}  {}  {said}\n", plain(&item.path.display().to_string()), item.bytes));
    }
    Ok(code)
}

/// Fetches conversions from the back-up, or shows what it has. Returns the exit code.
pub(super) fn restore(context: &Context, names: &[String], dry_run: bool) -> Result<u8, Refusal> {
    let store = context.backup()?.ok_or_else(nowhere)?;
    let stop = stop_on_signals()?;
    let roots = context.roots()?;
    let kept: Vec<Kept> = backup::all(&store)?.into_iter().filter(|k| names.is_empty() || names.contains(&k.name)).collect();
    if let Some(missing) = names.iter().find(|name| !kept.iter().any(|k| &&k.name == name)) {
        let message = format!("{}: there is no `{missing}`", store.place());
        return Err(Refusal::new(Kind::NotFound, message, "`perilune cache restore --dry-run` shows what is kept"));
    }
    if kept.is_empty() && !context.output.json {
        report::note(&format!("{}: no conversions", store.place()));
    }
    let mut code = 0;
    for kept in &kept {
        let done = if dry_run { conversion::backup::home(&roots, kept) } else { bring(context, &store, kept, &roots, &stop) };
        let (path, brought) = match done {
            Ok(done) => done,
            Err(ConversionError::Cancelled) => return Err(CacheError::Stopped.into()),
            Err(error) => {
                code = report::report(&error.into());
                continue;
            }
        };
        let (status, said) = match brought {
            Brought::Restored if dry_run => ("missing", "would be restored"),
            Brought::Restored => ("restored", "restored"),
            Brought::There => ("there", "is here"),
            Brought::Taken => ("taken", "another file has its name here; it stays"),
        };
        let bytes = kept.manifest.bytes;
        let line = json!({"name": kept.name, "path": path, "bytes": bytes, "from": kept.manifest.from, "to": kept.manifest.to,
            "source": kept.manifest.origins.first().map(|o| &o.path), "made": kept.manifest.made, "status": status});
        context.output.show(&line, || format!("{}  {bytes}  {said}\n", plain(&path.display().to_string())));
    }
    Ok(code)
}

fn bring(context: &Context, store: &Store, kept: &Kept, roots: &Roots, stop: &AtomicBool) -> Result<(PathBuf, Brought), ConversionError> {
    let bar = bar(context, Path::new(&kept.name), &format!("from {}", store.place()));
    let tell = |done: Bytes, all: Bytes| {
        bar.set_length(all.0);
        bar.set_position(done.0);
    };
    let gone = |item: &Item| bar.suspend(|| report::note(&format!("removed to make room: {}, {}", item.path.display(), item.bytes)));
    let (floor, now) = (context.settings.disk_floor.value, SystemClock.now());
    let done = conversion::backup::bring(store, kept, roots, (floor, now), Journey { stop, tell: &tell }, gone);
    bar.finish_and_clear();
    done
}
