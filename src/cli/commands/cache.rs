//! `perilune cache`: what was converted, and what of it may go.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::convert::located;
use super::{backup, verify};
use crate::cache::embeddings::Usage;
use crate::cache::{self, Item, Rule, Shelf, State, outside};
use crate::cli::context::Context;
use crate::cli::conversions::CacheCommand;
use crate::cli::output::{plain, table};
use crate::cli::report;
use crate::client::Place;
use crate::conversion::{self, Check, Part, Stock, stock};
use crate::quant::precision::Target;
use crate::units::{Bytes, Clock, SystemClock, Timestamp};
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
        CacheCommand::Verify { full, files } => Ok(verify::verify(context, &named(context, &files)?, full)),
        CacheCommand::Backup { files } => backup::backup(context, &named(context, &files)?, !files.is_empty()),
        CacheCommand::Restore { names, dry_run } => backup::restore(context, &names, dry_run),
        CacheCommand::Keep { names } => keep(context, &names, true).map(|()| 0),
        CacheCommand::Unkeep { names } => keep(context, &names, false).map(|()| 0),
        CacheCommand::Clean { files, keep, older_than, to_free, useless, yes, dry_run } => {
            let stock = Stock::look(&context.roots()?);
            let rule = Rule { keep, older_than, to_free, useless };
            let files: Vec<PathBuf> = files.iter().map(|file| context.environment.absolute(file)).collect();
            are_there(&stock, &files)?;
            let gone = stock.chosen(Some(&rule).filter(|rule| **rule != Rule::default()), &files, SystemClock.now());
            if !context.output.json {
                told_of_used(&stock);
            }
            Ok(remove(context, &gone, yes && !dry_run))
        }
        CacheCommand::Purge { yes } => purge(context, yes),
    }
}

/// Returns where it is noted what was made outside of the model folders.
pub(super) fn links(context: &Context) -> PathBuf {
    context.settings.paths.conversions()
}

fn shelf(context: &Context) -> Result<Shelf, Refusal> {
    let folders: BTreeSet<PathBuf> = conversion::folders(&context.roots()?);
    Ok(Shelf::look(&folders))
}

fn told_of_used(stock: &Stock) {
    for item in stock.shelf.items.iter().filter(|item| stock.is_in_use(item)) {
        report::note(&format!("{} is in use and stays", item.path.display()));
    }
    for item in stock.shelf.items.iter().filter(|item| item.kept) {
        report::note(&format!("{} is kept and stays; `perilune cache unkeep` lets it go", item.path.display()));
    }
}

/// Says which of these files is no conversion, if one is none.
fn are_there(stock: &Stock, files: &[PathBuf]) -> Result<(), Refusal> {
    match files.iter().find(|file| !stock.shelf.items.iter().any(|item| item.path == **file)) {
        Some(missing) => Err(no_conversion(missing)),
        None => Ok(()),
    }
}

fn no_conversion(path: &Path) -> Refusal {
    let message = format!("{}: this is no conversion that was made here", path.display());
    Refusal::new(Kind::NotFound, message, "`perilune cache list` shows them")
}

/// Keeps these conversions, each a file or the name of one, or lets them go again.
fn keep(context: &Context, names: &[PathBuf], kept: bool) -> Result<(), Refusal> {
    let shelf = shelf(context)?;
    let mut found: Vec<&Path> = Vec::new();
    for name in names {
        let absolute = context.environment.absolute(name);
        let is_it =
            |path: &Path| path == absolute || path.file_name() == Some(name.as_os_str()) || path.file_stem() == Some(name.as_os_str());
        let before = found.len();
        found.extend(shelf.items.iter().filter(|item| item.is_finished() && is_it(&item.path)).map(|item| item.path.as_path()));
        match &found[before..] {
            [_] => {}
            [] => return Err(no_conversion(name)),
            [one, ..] => {
                let hint = format!("name the file: {}", one.display());
                return Err(Refusal::new(Kind::Usage, format!("several conversions are called {}", name.display()), hint));
            }
        }
    }
    for path in found {
        stock::keep(path, kept)?;
        let end = if kept { "is kept" } else { "may go again" };
        context.output.show(&json!({"path": path, "kept": kept}), || format!("{}  {end}\n", plain(&path.display().to_string())));
    }
    Ok(())
}

fn list(context: &Context, to: Option<&Target>, source: Option<&str>) -> Result<(), Refusal> {
    let source = source.map(|name| located(context, name, &context.roots()?)).transpose()?;
    let source = source.map(|path| path.canonicalize().unwrap_or(path));
    let shelf = shelf(context)?;
    let outside = shelf.others(outside::items(&links(context))?);
    let to = to.map(Target::to_string);
    let is_asked_for = |(item, _): &(&Item, bool)| {
        let is_to = to.as_deref().is_none_or(|to| item.manifest.as_ref().is_some_and(|m| m.to == to));
        is_to && source.as_deref().is_none_or(|source| item.source() == Some(source))
    };
    let inside = shelf.items.iter().map(|item| (item, false));
    let all: Vec<(&Item, bool)> = inside.chain(outside.iter().map(|item| (item, true))).filter(is_asked_for).collect();
    let lines = all.iter().filter(|_| context.output.json).map(|(item, is_outside)| Shown { outside: *is_outside, ..shown(item) });
    let lines: Vec<Shown<'_>> = lines.collect();
    context.output.show(&BTreeMap::from([("conversions", lines)]), || {
        if all.is_empty() {
            return "no conversions\n".to_owned();
        }
        table(&["file", "from", "to", "size", "state", "used", "hits"], all.iter().map(|(item, is_outside)| row(item, *is_outside)))
    });
    Ok(())
}

/// A conversion in a line of JSON.
#[derive(Serialize)]
struct Shown<'a> {
    bytes: Bytes,
    from: Option<&'a str>,
    hits: Option<u64>,
    kept: bool,
    made: Option<Timestamp>,
    outside: bool,
    path: &'a Path,
    rel_l2_mean: Option<f64>,
    seconds: Option<f64>,
    source: Option<&'a Path>,
    state: State,
    to: Option<&'a str>,
    used: Option<Timestamp>,
}

fn shown(item: &Item) -> Shown<'_> {
    let about = item.manifest.as_ref();
    Shown {
        bytes: item.bytes,
        from: about.map(|m| m.from.as_str()),
        hits: about.map(|m| m.hits),
        kept: item.kept,
        made: about.map(|m| m.made),
        outside: false,
        path: &item.path,
        rel_l2_mean: about.map(|m| m.error.rel_l2_mean),
        seconds: about.map(|m| m.seconds),
        source: item.source(),
        state: item.state,
        to: about.map(|m| m.to.as_str()),
        used: item.used(),
    }
}

fn row(item: &Item, is_outside: bool) -> Vec<String> {
    let state = word(item.state);
    let about = |text: &dyn Fn(&cache::Manifest) -> String| item.manifest.as_deref().map_or_else(|| "-".to_owned(), text);
    vec![
        item.path.display().to_string(),
        about(&|m| m.from.clone()),
        about(&|m| m.to.clone()),
        item.bytes.to_string(),
        [Some(state), is_outside.then_some("outside"), item.kept.then_some("kept")].into_iter().flatten().collect::<Vec<_>>().join(", "),
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
    let unfinished: Vec<&Item> = shelf.items.iter().filter(|i| !i.is_finished()).collect();
    let bytes: Bytes = shelf.items.iter().map(|i| i.bytes).sum();
    let by_precision = shelf.by_precision();
    let (hits, made) = shelf.items.iter().filter_map(|i| i.manifest.as_ref()).fold((0, 0), |(h, n), m| (h + m.hits, n + 1));
    let rate = if hits + made > 0 { Some(hits as f64 / (hits + made) as f64) } else { None };
    let texts = Usage::of(&context.settings.paths.embeddings());
    let by: serde_json::Map<String, Value> =
        by_precision.iter().map(|(name, (count, bytes))| (name.clone(), json!({"count": count, "bytes": bytes}))).collect();
    let line = json!({"count": shelf.items.len(), "bytes": bytes, "by_precision": by, "unfinished": unfinished.len(), "hits": hits,
        "hit_rate": rate, "embeddings": {"count": texts.count, "bytes": texts.bytes, "limit": context.settings.embeddings_cache.value}});
    context.output.show(&line, || {
        let mut rows: Vec<Vec<String>> =
            by_precision.iter().map(|(name, (count, bytes))| vec![name.clone(), count.to_string(), bytes.to_string()]).collect();
        if !unfinished.is_empty() {
            let bytes: Bytes = unfinished.iter().map(|i| i.bytes).sum();
            rows.push(vec!["unfinished".to_owned(), unfinished.len().to_string(), bytes.to_string()]);
        }
        rows.push(vec!["all".to_owned(), shelf.items.len().to_string(), bytes.to_string()]);
        let rate = rate.map_or_else(|| "-".to_owned(), |r| format!("{:.0} %", r * 100.0));
        let texts = match texts.count {
            0 => String::new(),
            count => format!("{} of texts as encoders read them, in {count} files\n", texts.bytes),
        };
        format!("{}{hits} uses instead of another conversion, {rate} of all\n{texts}", table(&["precision", "files", "size"], rows))
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

/// Returns these conversions; all of them where none is named.
fn named(context: &Context, files: &[PathBuf]) -> Result<Shelf, Refusal> {
    if files.is_empty() {
        return shelf(context);
    }
    let wanted: BTreeSet<PathBuf> = files.iter().map(|f| context.environment.absolute(f)).collect();
    let folders: BTreeSet<PathBuf> = wanted.iter().filter_map(|f| f.parent().map(Path::to_owned)).collect();
    let mut shelf = Shelf::look(&folders);
    shelf.items.retain(|item| item.is_finished() && wanted.contains(&item.path));
    match wanted.iter().find(|f| !shelf.items.iter().any(|i| &&i.path == f)) {
        Some(missing) => Err(no_conversion(missing)),
        None => Ok(shelf),
    }
}

fn purge(context: &Context, yes: bool) -> Result<u8, Refusal> {
    let stock = Stock::look(&context.roots()?);
    let free = stock.shelf.items.iter().filter(|item| !item.kept && !stock.is_in_use(item));
    let all: Vec<(&Item, String)> = free.map(|item| (item, "everything goes".to_owned())).collect();
    if !context.output.json {
        told_of_used(&stock);
    }
    if !yes && !all.is_empty() && !asked(&all)? {
        report::note("nothing was removed");
        return Ok(0);
    }
    Ok(remove(context, &all, true))
}

fn asked(all: &[(&Item, String)]) -> Result<bool, Refusal> {
    if !std::io::stdin().is_terminal() {
        return Err(Refusal::new(Kind::Usage, "nobody can be asked here", "add --yes to remove every conversion"));
    }
    let bytes: Bytes = all.iter().map(|(i, _)| i.bytes).sum();
    report::note(&format!("remove all {} conversions, {bytes}? [y/N]", all.len()));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|e| Refusal::bare(Kind::Failed, format!("the answer cannot be read: {e}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Removes, or only shows; one that cannot be removed does not keep the others. Returns the exit code.
fn remove(context: &Context, gone: &[(&Item, String)], really: bool) -> u8 {
    let (mut freed, mut count, mut code) = (Bytes::ZERO, 0_usize, 0);
    for (item, reason) in gone {
        let is_gone = if really { conversion::remove(item) } else { Ok(true) };
        let (removed, reason) = match is_gone {
            Ok(true) => (really, reason.as_str()),
            Ok(false) => (false, "another process makes it at the moment"),
            Err(error) => {
                code = report::report(&error.into());
                continue;
            }
        };
        if removed || !really {
            freed += item.bytes;
            count += 1;
        }
        let line = json!({"path": item.path, "bytes": item.bytes, "removed": removed, "reason": reason});
        context.output.show(&line, || format!("{}  {}  {reason}\n", plain(&item.path.display().to_string()), item.bytes));
    }
    if !context.output.json {
        let files = if count == 1 { "file" } else { "files" };
        let end = if really { "freed" } else { "would be freed; add --yes to do it" };
        report::note(&format!("{count} {files}, {freed} {end}"));
    }
    code
}
