//! `perilune convert`: weights into other storages, here and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::quality::{self, Made};
use crate::cache::{Item, Manifest};
use crate::cli::context::Context;
use crate::cli::conversions::ConvertArgs;
use crate::cli::output::{self, plain, significant};
use crate::cli::report;
use crate::client::call::{Heard, unexpected};
use crate::client::{Client, Place};
use crate::conversion::{self, Aside, ConversionError, Outcome, Part, Watch, Wish};
use crate::families::Role;
use crate::library::{self, Roots, inventory};
use crate::quant::precision::Target;
use crate::units::{Bytes, Clock, SystemClock};
use crate::wire::control::Topics;
use crate::wire::{Change, ConversionView, ConvertAsk, ConvertStatus, ConvertedView, Reply, Request};
use crate::workflow::{Kind, Refusal};

/// Converts each source to each precision. One that fails does not keep the others; the first failure's code is returned.
pub(super) fn convert(context: &Context, args: &ConvertArgs) -> Result<u8, Refusal> {
    if let Place::Host(host) = &context.place {
        return converted_there(context, args, host);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the program at once; what is journalled is kept all the same.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")))?;
    }
    // A limit on the size of files is an error of the write, and no end of the program.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default())
        .map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")))?;
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
            if context.output.json {
                output::json(&failed(name, target, &refusal));
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

/// Has the daemon of another machine convert, and tells of it. Ctrl-C leaves, and it stops.
fn converted_there(context: &Context, args: &ConvertArgs, host: &str) -> Result<u8, Refusal> {
    if args.compare.report.is_some() {
        let hint = format!("run it there: ssh {host} perilune convert ...");
        return Err(Refusal::new(Kind::Usage, "--report compares pictures on the machine that paints them", hint));
    }
    if args.output.is_some() || args.threads.is_some() {
        let hint = format!("leave --output and --threads out: the daemon of {host} has folders and threads of its own");
        return Err(Refusal::new(Kind::Usage, "they are for conversions that this machine makes", hint));
    }
    context.with_daemon(|mut daemon| async move {
        daemon.call(Request::Subscribe(Topics::default())).await?;
        let mut code = 0;
        for source in sources_there(&mut daemon, args).await? {
            for to in &args.to {
                let ask = ConvertAsk { source: source.clone(), part: args.part.map(|p| p.name().to_owned()), to: to.clone() };
                let made = tokio::select! {
                    made = one_there(context, &mut daemon, &ask) => made?,
                    _ = tokio::signal::ctrl_c() => return Err(ConversionError::Cancelled.into()),
                };
                match made {
                    Ok(view) => tell_of(context, &view),
                    Err(refusal) => {
                        if context.output.json {
                            output::json(&failed(&source, to, &refusal));
                        }
                        let exit = report::report(&refusal);
                        code = if code == 0 { exit } else { code };
                    }
                }
            }
        }
        Ok(code)
    })
}

/// Returns what was named there, and with --all what lies there and is no conversion itself.
async fn sources_there(daemon: &mut Client, args: &ConvertArgs) -> Result<Vec<String>, Refusal> {
    let mut sources = args.sources.clone();
    if let Some(kind) = args.all {
        let models = match daemon.call(Request::Models).await? {
            Reply::Models(models) => models,
            reply => return Err(unexpected(&reply)),
        };
        let is_result = |path: &Path| path.parent().is_some_and(|folder| folder.ends_with("converted") || folder.ends_with("gguf"));
        let found = models.into_iter().filter(|m| m.folder == kind.name() && !is_result(&m.path));
        sources.extend(found.map(|m| m.path.display().to_string()));
    }
    Ok(sources)
}

/// Has one thing converted there. What goes wrong with it does not keep the others.
async fn one_there(context: &Context, daemon: &mut Client, ask: &ConvertAsk) -> Result<Result<ConvertedView, Refusal>, Refusal> {
    let bar = bar(context, Path::new(&ask.source), &ask.to);
    let id = daemon.ask(Request::Convert(ask.clone())).await?;
    loop {
        match daemon.answer_or_event(id).await? {
            Heard::Answer(answer) => {
                bar.finish_and_clear();
                return match *answer {
                    Ok(Reply::Converted(view)) => Ok(Ok(*view)),
                    Ok(reply) => Err(unexpected(&reply)),
                    Err(refusal) if refusal.kind == Kind::NoDaemon => Err(refusal),
                    Err(refusal) => Ok(Err(refusal)),
                };
            }
            Heard::Event(event) => {
                let Change::Conversions(all) = event.change else { continue };
                let stem = Path::new(&ask.source).file_stem().unwrap_or_default().to_string_lossy();
                let ours = |c: &&ConversionView| c.running && c.to == ask.to && c.source.to_string_lossy().contains(stem.as_ref());
                if let Some(view) = all.iter().find(ours) {
                    bar.set_length(view.bytes.0);
                    bar.set_position(view.done.0);
                }
            }
        }
    }
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
    let floor = context.settings.disk_floor.value;
    let wish = Wish { source, part: args.part, target: target.clone(), folder: folder.as_deref(), roots, floor, now: SystemClock.now() };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.threads.map_or(processors, usize::from);
    let tell = |done: Bytes, all: Bytes| {
        bar.set_length(all.0);
        bar.set_position(done.0);
    };
    let watch = Watch { stop, tell: &tell, threads };
    let aside = |aside: Aside<'_>| bar.suspend(|| report::note(&said(&aside)));
    let done = conversion::convert(&wish, watch, aside);
    bar.finish_and_clear();
    let outcome = done.map_err(|error| if stop.load(Ordering::Relaxed) { ConversionError::Cancelled } else { error })?;
    tell_of(context, &outcome.view(source, target, begun.elapsed().as_secs_f64()));
    Ok(match outcome {
        Outcome::Converted { path, manifest, .. } | Outcome::Cached { path, manifest } => {
            Some(Made { name: target.to_string(), path, bytes: manifest.bytes, rel_l2: Some(manifest.error.rel_l2_mean) })
        }
        // It is the source itself.
        Outcome::Skipped { .. } => None,
    })
}

fn failed(name: &str, target: &Target, refusal: &Refusal) -> Value {
    json!({"source": name, "output": null, "from": null, "to": target.to_string(), "status": "failed", "reason": refusal.message,
        "source_bytes": null, "output_bytes": null, "seconds": null, "tensors": null, "error": null})
}

fn said(aside: &Aside<'_>) -> String {
    match aside {
        Aside::Waiting(path) => format!("waiting: another process makes {}", path.display()),
        Aside::Gone(Item { path, bytes, .. }) => format!("removed to make room: {}, {bytes}", path.display()),
    }
}

fn bar(context: &Context, source: &Path, target: &Target) -> ProgressBar {
    if context.output.json {
        return ProgressBar::hidden();
    }
    // Without a terminal the library shows nothing.
    let style = ProgressStyle::with_template("{msg}  {bar:20}  {bytes} of {total_bytes} read, {binary_bytes_per_sec}, {eta} left");
    let name = plain(&source.file_name().unwrap_or_default().to_string_lossy());
    let bar = ProgressBar::new(0).with_message(format!("{name} to {target}"));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn tell_of(context: &Context, view: &ConvertedView) {
    context.output.show(view, || text(view));
    let Some(error) = &view.error else { return };
    let warnings = [
        (error.clipped, format!("beyond the range of {} and became its largest value or infinity", view.to)),
        (error.not_a_number, "no numbers (NaN) in the source".to_owned()),
    ];
    for (count, what) in warnings.into_iter().filter(|(count, _)| *count > 0 && !context.output.json) {
        let values = if count == 1 { "value was" } else { "values were" };
        report::note(&format!("warning: {count} {values} {what}"));
    }
}

fn text(view: &ConvertedView) -> String {
    let ConvertedView { output, from, to, reason, source_bytes, output_bytes, seconds, .. } = view;
    let milliseconds = ((seconds * 1e3).round() as i64).max(1).unsigned_abs();
    let speed = Bytes(source_bytes.0.saturating_mul(1000) / milliseconds);
    let (status, how) = match view.status {
        ConvertStatus::Skipped => return format!("{}: {}\n", output.display(), reason.as_deref().unwrap_or_default()),
        ConvertStatus::Cached => ("cached", String::new()),
        ConvertStatus::Converted => ("converted", format!(", {} s, {speed}/s", significant(*seconds))),
    };
    let why = reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    let mut text = format!("{}\n  {status}{why}: {from} {source_bytes} to {to} {output_bytes}{how}\n", output.display());
    if let Some(error) = view.error.as_ref().filter(|e| e.rel_l2_max > 0.0) {
        text += "  relative error ";
        text += &significant(error.rel_l2_mean);
        text += " over all; the tensors that lost most:\n";
        let rows = error.worst.iter().map(|w| vec![w.tensor.clone(), significant(w.rel_l2)]);
        let lines = output::table(&["tensor", "relative error"], rows);
        text.extend(lines.lines().map(|line| format!("    {line}\n")));
    }
    text
}
