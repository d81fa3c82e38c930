//! `perilune convert`: weights into other storages, here and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::quality::{self, Made};
use crate::cache::Manifest;
use crate::cli::context::Context;
use crate::cli::conversions::ConvertArgs;
use crate::cli::output::{self, significant};
use crate::cli::report;
use crate::client::Place;
use crate::conversion::{self, ConversionError, Outcome, Part, Watch, Wish};
use crate::families::Role;
use crate::library::{self, Roots, inventory};
use crate::quant::precision::Target;
use crate::units::{Bytes, Clock, SystemClock};
use crate::workflow::{Kind, Refusal};

/// Converts each source to each precision. One that fails does not keep the others; the first failure's code is returned.
pub(super) fn convert(context: &Context, args: &ConvertArgs) -> Result<u8, Refusal> {
    if let Place::Host(host) = &context.place {
        let hint = format!("run it there: ssh {host} perilune convert ...");
        return Err(Refusal::new(Kind::Usage, "conversions are made on the machine that has the files", hint));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the program at once; what is journalled is kept all the same.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")))?;
    }
    let roots = context.roots()?;
    let sources = sources(context, args, &roots)?;
    let compares = args.compare.report.is_some();
    if compares {
        check_comparable(args, &sources)?;
    }
    let (mut code, mut made) = (0, Vec::new());
    for (name, source) in &sources {
        for target in &args.to {
            let refusal = match source.as_ref().map_err(Refusal::clone).and_then(|s| one(context, args, s, target, &roots, &stop)) {
                Ok(result) => {
                    made.extend(result);
                    continue;
                }
                Err(refusal) => refusal,
            };
            if refusal.kind == Kind::Interrupted {
                return Err(refusal);
            }
            let failed = json!({"source": name, "output": Value::Null, "from": Value::Null, "to": target.to_string(),
                "status": "failed", "reason": refusal.message});
            if context.output.json {
                output::json(&failed);
            }
            let exit = report::report(&refusal);
            code = if code == 0 { exit } else { code };
        }
    }
    match sources.as_slice() {
        [(_, Ok(source))] if compares && code == 0 => {
            let known = conversion::sizes(source, &[])?;
            let source = Made { name: known.stored, path: source.clone(), bytes: known.bytes, rel_l2: None };
            quality::compare(context, &args.compare, source, made).map(|()| code)
        }
        _ => Ok(code),
    }
}

/// A report is about the diffusion network of one model.
fn check_comparable(args: &ConvertArgs, sources: &[Named]) -> Result<(), Refusal> {
    let is_network = args.part.is_none_or(|part| part == Part::One(Role::Denoiser));
    if sources.len() == 1 && is_network {
        return Ok(());
    }
    let message = "--report compares the diffusion network of one model";
    Err(Refusal::new(Kind::Usage, message, "name one source, and leave out --all and --part"))
}

/// What was named, and where it is.
type Named = (String, Result<PathBuf, Refusal>);

fn sources(context: &Context, args: &ConvertArgs, roots: &Roots) -> Result<Vec<Named>, Refusal> {
    let mut sources: Vec<Named> = args.sources.iter().map(|name| (name.clone(), located(context, name, roots))).collect();
    if let Some(kind) = args.all {
        let found = library::models_of(roots, kind).into_iter().filter(|path| !is_result(path));
        sources.extend(found.map(|path| (path.display().to_string(), Ok(path))));
        if sources.is_empty() {
            let message = format!("there is nothing to convert among {}", kind.name());
            return Err(Refusal::new(Kind::NotFound, message, "`perilune models list` shows the models that are known"));
        }
    }
    Ok(sources)
}

/// Returns whether a file is a conversion of ours.
fn is_result(path: &Path) -> bool {
    Manifest::read(path).is_ok_and(|m| m.is_some())
}

/// Returns where a path or name is.
pub(super) fn located(context: &Context, name: &str, roots: &Roots) -> Result<PathBuf, Refusal> {
    let path = context.environment.absolute(Path::new(name));
    if !name.is_empty() && path.exists() { Ok(path) } else { inventory::locate_any(name, roots) }
}

fn one(
    context: &Context,
    args: &ConvertArgs,
    source: &Path,
    target: &Target,
    roots: &Roots,
    stop: &AtomicBool,
) -> Result<Option<Made>, Refusal> {
    let bar = bar(context, source, target);
    let begun = Instant::now();
    let folder = args.output.as_ref().map(|folder| context.environment.absolute(folder));
    let wish = Wish { source, part: args.part, target: target.clone(), folder: folder.as_deref(), roots, now: SystemClock.now() };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.map_or(processors, usize::from);
    let tell = |done: Bytes, all: Bytes| {
        bar.set_length(all.0);
        bar.set_position(done.0);
    };
    let watch = Watch { stop, tell: &tell, threads };
    let waiting = |path: &Path| bar.suspend(|| report::note(&format!("waiting: another process makes {}", path.display())));
    let done = conversion::convert(&wish, watch, waiting);
    bar.finish_and_clear();
    let outcome = done.map_err(|error| if stop.load(Ordering::Relaxed) { ConversionError::Cancelled } else { error })?;
    tell_of(context, source, target, &outcome, begun.elapsed().as_secs_f64());
    Ok(match outcome {
        Outcome::Converted { path, manifest, .. } | Outcome::Cached { path, manifest } => {
            Some(Made { name: target.to_string(), path, bytes: manifest.bytes, rel_l2: Some(manifest.error.rel_l2_mean) })
        }
        // It is the source itself.
        Outcome::Skipped { .. } => None,
    })
}

fn bar(context: &Context, source: &Path, target: &Target) -> ProgressBar {
    if context.output.json {
        return ProgressBar::hidden();
    }
    // Without a terminal the library shows nothing.
    let style = ProgressStyle::with_template("{msg} {bar:20} {bytes}/{total_bytes} {binary_bytes_per_sec} eta {eta}");
    let bar = ProgressBar::new(0).with_message(format!("{} to {target}", source.file_name().unwrap_or_default().to_string_lossy()));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn tell_of(context: &Context, source: &Path, target: &Target, outcome: &Outcome, seconds: f64) {
    let (status, path, manifest, reason) = match outcome {
        Outcome::Converted { path, manifest, resumed, replaced } => {
            let resumed = (resumed.0 > 0).then(|| format!("went on from {} of {} chunks", resumed.0, resumed.1));
            ("converted", path, manifest, resumed.or_else(|| replaced.map(|r| format!("made again: {r}"))))
        }
        Outcome::Cached { path, manifest } => ("cached", path, manifest, None),
        Outcome::Skipped { precision, bytes } => {
            let reason = format!("it is {precision} already");
            let line = json!({"source": source, "output": source, "from": precision, "to": target.to_string(), "status": "skipped",
                "reason": reason, "source_bytes": bytes, "output_bytes": bytes, "seconds": seconds});
            return context.output.show(&line, || format!("{}: {reason}\n", source.display()));
        }
    };
    let line = json!({"source": source, "output": path, "from": manifest.from, "to": manifest.to, "status": status, "reason": reason,
        "source_bytes": manifest.source_bytes, "output_bytes": manifest.bytes, "seconds": seconds, "tensors": manifest.tensors,
        "error": manifest.error});
    context.output.show(&line, || text(path, status, manifest, reason.as_deref(), seconds));
    let error = &manifest.error;
    for (count, what) in [(error.clipped, "beyond the range of the type"), (error.not_a_number, "no numbers")] {
        if count > 0 && !context.output.json {
            report::note(&format!("warning: {count} values were {what}"));
        }
    }
}

fn text(path: &Path, status: &str, manifest: &Manifest, reason: Option<&str>, seconds: f64) -> String {
    let Manifest { source_bytes, bytes, from, to, error, .. } = manifest;
    let speed = Bytes((source_bytes.0 as f64 / seconds.max(1e-3)) as u64);
    let how = if status == "converted" { format!(", {} s, {speed}/s", significant(seconds)) } else { String::new() };
    let why = reason.map(|r| format!(" ({r})")).unwrap_or_default();
    let mut text = format!("{}\n  {status}{why}: {from} {source_bytes} to {to} {bytes}{how}\n", path.display());
    if error.rel_l2_max > 0.0 {
        text += &format!(
            "  relative error {} over all, by tensor at most {}:\n",
            significant(error.rel_l2_mean),
            significant(error.rel_l2_max)
        );
        let rows = error.worst.iter().map(|w| vec!["   ".to_owned(), w.tensor.clone(), significant(w.rel_l2)]);
        text += &output::table(&[], rows);
    }
    text
}
