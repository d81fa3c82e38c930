//! `perilune cache`: what was converted, and what of it may go.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Value, json};

use super::convert::located;
use crate::cache::{self, Item, Rule, Shelf, State};
use crate::cli::context::Context;
use crate::cli::conversions::CacheCommand;
use crate::cli::output::table;
use crate::cli::report;
use crate::client::Place;
use crate::conversion::{self, Check, Part};
use crate::quant::precision::Target;
use crate::units::{Bytes, Clock, SystemClock};
use crate::workflow::{Kind, Refusal};

/// Looks at the cache, or changes it; returns the exit code.
pub(super) fn cache(context: &Context, command: CacheCommand) -> Result<u8, Refusal> {
    if let Place::Host(host) = &context.place {
        let hint = format!("run it there: ssh {host} perilune cache ...");
        return Err(Refusal::new(Kind::Usage, "the cache is looked at on the machine that has it", hint));
    }
    match command {
        CacheCommand::List { to, source } => list(context, to.as_ref(), source.as_deref()).map(|()| 0),
        CacheCommand::Stats => stats(context).map(|()| 0),
        CacheCommand::Check { source, to, part } => check(context, &source, &to, part).map(|()| 0),
        CacheCommand::Verify { files } => verify(context, &files),
        CacheCommand::Clean { keep, older_than, to_free, useless, yes, dry_run } => {
            let shelf = shelf(context)?;
            let rule = Rule { keep, older_than, to_free, useless };
            let chosen = cache::choose(&shelf.items, &rule, SystemClock.now(), |path| conversion::is_in_use(path));
            let gone: Vec<(&Item, String)> = chosen.into_iter().map(|c| (c.item, c.reason)).collect();
            remove(context, &gone, !dry_run && (yes || !std::io::stdout().is_terminal()))
        }
        CacheCommand::Purge { yes } => purge(context, yes),
    }
}

fn shelf(context: &Context) -> Result<Shelf, Refusal> {
    let folders: BTreeSet<PathBuf> = conversion::folders(&context.roots()?);
    Ok(Shelf::look(&folders)?)
}

fn list(context: &Context, to: Option<&Target>, source: Option<&str>) -> Result<(), Refusal> {
    let source = source.map(|name| located(context, name, &context.roots()?)).transpose()?;
    let source = source.map(|path| path.canonicalize().unwrap_or(path));
    let mut shelf = shelf(context)?;
    shelf.items.retain(|item| {
        let is_to = to.is_none_or(|to| item.manifest.as_ref().is_some_and(|m| m.to == to.to_string()));
        is_to && source.as_deref().is_none_or(|source| item.source() == Some(source))
    });
    context.output.show(&json!({"conversions": shelf.items.iter().map(shown).collect::<Vec<_>>()}), || {
        if shelf.items.is_empty() {
            return "no conversions\n".to_owned();
        }
        table(&["file", "from", "to", "size", "state", "used", "hits"], shelf.items.iter().map(row))
    });
    Ok(())
}

fn shown(item: &Item) -> Value {
    let about = item.manifest.as_ref();
    json!({
        "path": item.path, "bytes": item.bytes, "state": item.state, "source": item.source(),
        "from": about.map(|m| &m.from), "to": about.map(|m| &m.to), "made": about.map(|m| m.made), "used": item.used(),
        "hits": about.map(|m| m.hits), "seconds": about.map(|m| m.seconds), "rel_l2_mean": about.map(|m| m.error.rel_l2_mean),
    })
}

fn row(item: &Item) -> Vec<String> {
    let about = |text: &dyn Fn(&cache::Manifest) -> String| item.manifest.as_ref().map_or_else(|| "-".to_owned(), text);
    vec![
        item.path.display().to_string(),
        about(&|m| m.from.clone()),
        about(&|m| m.to.clone()),
        item.bytes.to_string(),
        word(item.state).to_owned(),
        about(&|m| m.used.to_string()),
        about(&|m| m.hits.to_string()),
    ]
}

fn word(state: State) -> &'static str {
    match state {
        State::Valid => "valid",
        State::Stale => "stale",
        State::Orphaned => "source gone",
        State::Damaged => "damaged",
        State::Unfinished => "unfinished",
    }
}

fn stats(context: &Context) -> Result<(), Refusal> {
    let shelf = shelf(context)?;
    let bytes: Bytes = shelf.items.iter().map(|i| i.bytes).sum();
    let by_precision = shelf.by_precision();
    let (hits, made) = shelf.items.iter().filter_map(|i| i.manifest.as_ref()).fold((0, 0), |(h, n), m| (h + m.hits, n + 1));
    let rate = if hits + made > 0 { Some(hits as f64 / (hits + made) as f64) } else { None };
    let by: serde_json::Map<String, Value> =
        by_precision.iter().map(|(name, (count, bytes))| (name.clone(), json!({"count": count, "bytes": bytes}))).collect();
    let line = json!({"count": shelf.items.len(), "bytes": bytes, "by_precision": by, "hits": hits, "hit_rate": rate});
    context.output.show(&line, || {
        let mut rows: Vec<Vec<String>> =
            by_precision.iter().map(|(name, (count, bytes))| vec![name.clone(), count.to_string(), bytes.to_string()]).collect();
        rows.push(vec!["all".to_owned(), shelf.items.len().to_string(), bytes.to_string()]);
        let rate = rate.map_or_else(|| "-".to_owned(), |r| format!("{:.0} %", r * 100.0));
        format!("{}used {hits} times instead of converting: {rate}\n", table(&["precision", "files", "size"], rows))
    });
    Ok(())
}

fn check(context: &Context, source: &str, to: &[Target], part: Option<Part>) -> Result<(), Refusal> {
    let roots = context.roots()?;
    let path = located(context, source, &roots)?;
    let checks = to.iter().map(|target| conversion::check(&path, part, target, &roots).map(|c| (target, c)));
    let checks: Vec<(&Target, Check)> = checks.collect::<Result<_, _>>()?;
    let lines: Vec<Value> = checks
        .iter()
        .map(|(target, c)| json!({"to": target.to_string(), "exists": c.exists, "output": c.path, "bytes": c.bytes, "reason": c.reason}))
        .collect();
    context.output.show(&json!({"source": path, "conversions": lines}), || {
        let rows = checks.iter().map(|(target, c)| {
            let state = if c.exists { "there" } else { "would be made" };
            let file = c.path.as_ref().map_or_else(|| "-".to_owned(), |p| p.display().to_string());
            vec![target.to_string(), state.to_owned(), c.bytes.to_string(), file, c.reason.clone().unwrap_or_default()]
        });
        table(&["to", "state", "size", "file", ""], rows)
    });
    Ok(())
}

fn verify(context: &Context, files: &[PathBuf]) -> Result<u8, Refusal> {
    let mut shelf = shelf(context)?;
    if !files.is_empty() {
        let wanted: BTreeSet<PathBuf> = files.iter().map(|f| context.environment.absolute(f)).collect();
        let folders: BTreeSet<PathBuf> = wanted.iter().filter_map(|f| f.parent().map(Path::to_owned)).collect();
        shelf = Shelf::look(&folders)?;
        shelf.items.retain(|item| wanted.contains(&item.path));
        if let Some(missing) = wanted.iter().find(|f| !shelf.items.iter().any(|i| &&i.path == f)) {
            let message = format!("{}: this is no conversion that was made here", missing.display());
            return Err(Refusal::new(Kind::NotFound, message, "`perilune cache list` shows them"));
        }
    }
    let finished: Vec<(&Item, &cache::Manifest)> = shelf.items.iter().filter_map(|i| Some((i, i.manifest.as_ref()?))).collect();
    let found: Vec<_> = finished.par_iter().map(|(item, manifest)| (*item, cache::verify(&item.path, manifest))).collect();
    let mut code = 0;
    for (item, result) in found {
        let reason = result.as_ref().err().map(ToString::to_string);
        let line = json!({"path": item.path, "bytes": item.bytes, "intact": result.is_ok(), "reason": reason});
        context.output.show(&line, || result.as_ref().map_or_else(|_| String::new(), |()| format!("{}: intact\n", item.path.display())));
        if let Err(error) = result {
            code = report::report(&error.into());
        }
    }
    Ok(code)
}

fn purge(context: &Context, yes: bool) -> Result<u8, Refusal> {
    let shelf = shelf(context)?;
    let all: Vec<(&Item, String)> =
        shelf.items.iter().filter(|i| !conversion::is_in_use(&i.path)).map(|i| (i, "everything goes".to_owned())).collect();
    if !yes && !all.is_empty() && !asked(&all)? {
        return Ok(0);
    }
    remove(context, &all, true)
}

fn asked(all: &[(&Item, String)]) -> Result<bool, Refusal> {
    if !std::io::stdin().is_terminal() {
        return Err(Refusal::new(Kind::Usage, "nobody can be asked here", "add --yes to remove every conversion"));
    }
    let bytes: Bytes = all.iter().map(|(i, _)| i.bytes).sum();
    report::note(&format!("remove {} conversions, {bytes}? [y/N]", all.len()));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Refusal::bare(Kind::Failed, format!("the answer cannot be read: {e}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn remove(context: &Context, gone: &[(&Item, String)], really: bool) -> Result<u8, Refusal> {
    let mut freed = Bytes::ZERO;
    for (item, reason) in gone {
        if really {
            cache::discard(item)?;
        }
        freed += item.bytes;
        let line = json!({"path": item.path, "bytes": item.bytes, "removed": really, "reason": reason});
        context.output.show(&line, || format!("{}  {}  {reason}\n", item.path.display(), item.bytes));
    }
    if !context.output.json {
        let end = if really { "freed" } else { "would be freed; add --yes to do it" };
        report::note(&format!("{} files, {freed} {end}", gone.len()));
    }
    Ok(0)
}
