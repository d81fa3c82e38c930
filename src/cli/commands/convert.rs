//! `perilune convert`: weights into other storages, here and now.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};

use super::backup;
use super::convert_batch::{Batch, Task};
use super::convert_there::convert_there;
use super::quality::{self, Made};
use crate::cache::Manifest;
use crate::cli::context::Context;
use crate::cli::conversions::ConvertArgs;
use crate::cli::output::{self, significant};
use crate::cli::report;
use crate::client::Place;
use crate::conversion::{self, Part};
use crate::families::Role;
use crate::library::{self, Roots, inventory};
use crate::quant::precision::Target;
use crate::units::Bytes;
use crate::wire::{ConvertStatus, ConvertedView};
use crate::workflow::{Kind, Refusal};

/// Converts each source to each precision. One that fails does not keep the others; the first failure's code is returned.
pub(super) fn convert(context: &Context, args: &ConvertArgs) -> Result<u8, Refusal> {
    if let Place::Host(host) = &context.place {
        return convert_there(context, args, host);
    }
    let stop = stop_on_signals()?;
    let backup = context.backup()?;
    if args.backup && backup.is_none() {
        return Err(backup::nowhere());
    }
    let roots = context.roots()?;
    let sources = sources(context, args, &roots)?;
    let compares = args.compare.report.is_some();
    if compares {
        check_comparable(args, &sources)?;
    }
    let each = |(name, source): &Named| args.to.iter().map(|to| Task::new(name, source, to)).collect::<Vec<_>>();
    let tasks: Vec<Task> = sources.iter().flat_map(each).collect();
    let (code, made) = Batch::new(context, args, &roots, (&stop, backup.as_ref()), tasks).run()?;
    match sources.as_slice() {
        [(_, Ok(source))] if compares && code == 0 => {
            let known = conversion::sizes(source, &[])?;
            let source = Made { name: known.stored, path: source.clone(), bytes: known.bytes, rel_l2: None };
            quality::compare(context, &args.compare, source, made).map(|()| code)
        }
        _ => Ok(code),
    }
}

/// Returns a flag that is set when the operator, or the system, says stop.
pub(super) fn stop_on_signals() -> Result<Arc<AtomicBool>, Refusal> {
    let stop = Arc::new(AtomicBool::new(false));
    let refused = |e| Refusal::bare(Kind::Failed, format!("the system refused: {e}"));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the program at once; what is journalled is kept all the same.
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(refused)?;
    }
    // A limit on the size of files is an error of the write, and no end of the program.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default()).map_err(refused)?;
    Ok(stop)
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

pub(super) fn failed(name: &str, target: &Target, refusal: &Refusal) -> Value {
    json!({"source": name, "output": null, "from": null, "to": target.to_string(), "status": "failed", "reason": refusal.message,
        "source_bytes": null, "output_bytes": null, "seconds": null, "tensors": null, "error": null})
}

pub(super) fn tell_of(context: &Context, view: &ConvertedView) {
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
        ConvertStatus::Restored => ("restored", format!(", {} s", significant(*seconds))),
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
