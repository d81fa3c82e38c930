//! `perilune cache verify`: whether conversions are what was written, and with `--full` whether that was right.

use rayon::prelude::*;
use serde_json::{Value, json};

use crate::cache::{self, CacheError, Item, Manifest, Shelf};
use crate::cli::context::Context;
use crate::cli::output::{plain, significant};
use crate::cli::report;
use crate::conversion::{self, Rechecked};
use crate::workflow::Refusal;

/// What reading one conversion has shown.
struct Found<'a> {
    item: &'a Item,
    manifest: &'a Manifest,
    bytes: Result<(), CacheError>,
    numbers: Option<Result<Rechecked, Refusal>>,
}

/// Reads conversions; returns the exit code.
pub(super) fn verify(context: &Context, shelf: &Shelf, full: bool) -> u8 {
    let finished: Vec<(&Item, &Manifest)> = shelf.items.iter().filter_map(|i| Some((i, i.manifest.as_deref()?))).collect();
    if finished.is_empty() && !context.output.json {
        report::note("no conversions");
    }
    let read = |(item, manifest): &(&'_ Item, &'_ Manifest)| -> (Result<(), CacheError>, Option<Result<Rechecked, Refusal>>) {
        let bytes = cache::verify(&item.path, manifest);
        // What is not what was written needs no closer look.
        let numbers = (full && bytes.is_ok()).then(|| conversion::recheck(&item.path, manifest).map_err(Refusal::from));
        (bytes, numbers)
    };
    let found: Vec<_> = finished.par_iter().map(read).collect();
    let mut code = 0;
    for ((item, manifest), (bytes, numbers)) in finished.into_iter().zip(found) {
        let exit = told(context, Found { item, manifest, bytes, numbers });
        code = if code == 0 { exit } else { code };
    }
    code
}

fn told(context: &Context, Found { item, manifest, bytes, numbers }: Found<'_>) -> u8 {
    cache::remember(item, bytes.as_ref().err());
    let problem = match &numbers {
        Some(Ok(rechecked)) => rechecked.problems.first().map(|_| rechecked.problems.join("; ")),
        Some(Err(refusal)) => Some(refusal.message.clone()),
        None => None,
    };
    let reason = bytes.as_ref().err().map(ToString::to_string).or_else(|| problem.clone());
    let mut line = json!({"path": item.path, "bytes": item.bytes, "intact": reason.is_none(), "reason": reason});
    if let Some(Ok(rechecked)) = &numbers {
        line["full"] = shown(rechecked, manifest);
    }
    let path = plain(&item.path.display().to_string());
    context.output.show(&line, || match (&reason, &numbers) {
        (None, Some(Ok(rechecked))) => format!("{path}: intact, {}\n", said(rechecked, manifest)),
        (None, _) => format!("{path}: intact\n"),
        (Some(_), _) => String::new(),
    });
    match (bytes, problem) {
        (Err(error), _) => report::report(&error.into()),
        (Ok(()), Some(reason)) => report::report(&CacheError::Damaged { path: item.path.clone(), reason }.into()),
        (Ok(()), None) => 0,
    }
}

fn shown(found: &Rechecked, manifest: &Manifest) -> Value {
    let compared = found.compared.as_ref();
    json!({
        "tensors": found.tensors, "values": found.values, "not_a_number": found.not_a_number, "infinite": found.infinite,
        "bad_scales": found.bad_scales, "compared": compared.map(|c| c.tensors), "rel_l2": compared.map(|c| c.rel_l2),
        "rel_l2_when_made": manifest.error.rel_l2_mean, "worst": compared.map(|c| &c.worst),
    })
}

fn said(found: &Rechecked, manifest: &Manifest) -> String {
    let mut text = format!("{} values in {} tensors are numbers", found.values, found.tensors);
    if found.not_a_number + found.infinite > 0 {
        text = format!(
            "{} values in {} tensors: {} NaN, {} infinite, as when it was made",
            found.values, found.tensors, found.not_a_number, found.infinite
        );
    }
    let made = significant(manifest.error.rel_l2_mean);
    match &found.compared {
        Some(compared) => text + &format!("; relative error {} against its source, {made} when it was made", significant(compared.rel_l2)),
        None => text + &format!("; its source is not there to compare with (relative error {made} when it was made)"),
    }
}
