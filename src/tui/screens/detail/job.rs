//! Everything about a job: settings, times, where its weights were, pictures, and why it failed.

use ratatui::text::Line;

use super::view::entry;
use crate::devices::Labelled;
use crate::jobs::progress::median;
use crate::jobs::{Failure, JobView, Placement, Timing};
use crate::placement::Part;
use crate::theme::Role;
use crate::tui::alerts;
use crate::tui::model::Model;
use crate::tui::outcome;
use crate::tui::paint::Paint;
use crate::tui::widgets::line;
use crate::tui::wording;
use crate::units::{Bytes, DeviceId};
use crate::workflow::JobSpec;

/// Returns the facts that matter most, for the side of the queue.
#[must_use]
pub fn facts(model: &Model, job: &JobView, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let spec = &job.spec;
    let mut lines = Vec::new();
    if let Some(failure) = &job.failure {
        lines.extend(entry(paint, "failed", Role::Crit, &failure.message, columns));
        lines.extend(failure.hint.iter().flat_map(|hint| entry(paint, "hint", Role::Text, hint, columns)));
    }
    // A long prompt must not push everything else out.
    lines.extend(entry(paint, "prompt", Role::Text, &spec.prompt, columns).into_iter().take(3));
    lines.extend(entry(paint, "settings", Role::Text, &settings(spec), columns));
    lines.extend(entry(paint, "device", Role::Text, &computed(job), columns));
    lines.extend(job.warnings.iter().flat_map(|w| entry(paint, "warning", Role::Warn, w, columns)));
    if let Some(timing) = &job.timing {
        lines.extend(entry(paint, "took", Role::Text, &wording::measured(timing.total), columns));
    }
    lines.extend(job.images.iter().take(2).flat_map(|i| entry(paint, "image", Role::Text, &i.path.display().to_string(), columns)));
    lines.extend(entry(paint, "submitted", Role::Dim, &submitted(model, job), columns));
    lines
}

/// Returns everything.
#[must_use]
pub fn lines(model: &Model, job: &JobView, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let spec = &job.spec;
    let text = |name: &str, value: &str| entry(paint, name, Role::Text, value, columns);
    let mut lines = text("state", &state(job));
    lines.extend(job.failure.iter().flat_map(|f| failure(f, paint, columns)));
    lines.extend(job.warnings.iter().flat_map(|w| entry(paint, "warning", Role::Warn, w, columns)));
    lines.push(Line::default());
    lines.extend(text("model", &format!("{} ({} {}, {})", spec.set.name, spec.set.family.title(), spec.set.variant, spec.set.bytes())));
    lines.extend(text("prompt", &spec.prompt));
    if !spec.negative.is_empty() {
        lines.extend(text("negative", &spec.negative));
    }
    lines.extend(text("settings", &settings(spec)));
    if let Some(init) = &spec.init {
        lines.extend(text("init image", &format!("{}, denoise {}", init.path.display(), init.denoise)));
    }
    lines.extend(text("device", &computed(job)));
    lines.extend(text("output", &spec.output.display().to_string()));
    lines.extend(text("priority", &spec.priority.to_string()));
    lines.extend(text("submitted", &submitted(model, job)));
    if let Some(timing) = &job.timing {
        lines.push(Line::default());
        lines.extend(times(timing, paint, columns));
    }
    if let Some(placement) = &job.placement {
        lines.push(Line::default());
        lines.extend(places(job.spec.compute, placement, paint));
        let told = outcome::pace(placement, job.timing.as_ref());
        lines.extend(told.iter().flat_map(|(name, value)| entry(paint, name, Role::Text, value, columns)));
        let others = placement.parts.iter().filter(|part| part.part != Part::Denoiser && part.is_spread());
        lines.extend(others.flat_map(|part| entry(paint, "part", Role::Text, &part.told(), columns)));
    }
    if !job.images.is_empty() {
        lines.push(Line::default());
        for image in &job.images {
            lines.extend(text("image", &format!("{} (seed {}, {}x{})", image.path.display(), image.seed, image.width, image.height)));
        }
    }
    lines
}

fn state(job: &JobView) -> String {
    let progress = job.progress.filter(|_| job.state.is_active()).map(|p| {
        let pace = p.step_s.map(|s| format!(", {} per step", wording::measured(s))).unwrap_or_default();
        format!(", {}, step {} of {}{pace}", p.phase, p.step, p.steps)
    });
    let reason = job.reason.as_ref().map(|r| format!(", {r}"));
    let stopping = if job.cancelling { ", stopping at the next block" } else { "" };
    let attempts = if job.attempts > 1 { format!(", attempt {}", job.attempts) } else { String::new() };
    format!("{}{}{}{stopping}{attempts}", job.state, progress.unwrap_or_default(), reason.unwrap_or_default())
}

/// Returns the settings in a line.
#[must_use]
pub fn settings(spec: &JobSpec) -> String {
    if !spec.is_readable() {
        return "unknown".to_owned();
    }
    let batch = if spec.batch > 1 { format!(", batch {}", spec.batch) } else { String::new() };
    format!("{}, {} steps, cfg {}, {} {}, seed {}{batch}", spec.size, spec.steps, spec.cfg, spec.sampler, spec.schedule, spec.seed)
}

fn computed(job: &JobView) -> String {
    let stored = job.spec.conversion.as_ref().map(|c| c.wish.to.name());
    let precision = stored.or_else(|| job.precision.clone()).or_else(|| job.spec.precision.map(|p| p.to_string()));
    format!("{}{}", Labelled(job.spec.compute), precision.map(|p| format!(", {p}")).unwrap_or_default())
}

fn submitted(model: &Model, job: &JobView) -> String {
    let owner = if job.spec.owner.is_empty() { String::new() } else { format!(" by {}", job.spec.owner) };
    let ago = wording::span(model.now.since(job.created).as_secs_f64());
    format!("{} UTC{owner}, {ago} ago", job.created.time_of_day())
}

fn failure(failure: &Failure, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = entry(paint, "failed", Role::Crit, &failure.message, columns);
    lines.extend(failure.hint.iter().flat_map(|hint| entry(paint, "hint", Role::Text, hint, columns)));
    for (at, text) in failure.log.iter().enumerate() {
        lines.extend(entry(paint, if at == 0 { "log" } else { "" }, Role::Dim, text, columns));
    }
    lines
}

fn times(timing: &Timing, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let each = median(&timing.per_step).map(|s| format!(" ({} x {})", timing.per_step.len(), wording::measured(s))).unwrap_or_default();
    let [queued, load, encode, sample, decode, total] =
        [timing.queued, timing.load, timing.encode, timing.sample, timing.decode, timing.total].map(wording::measured);
    let text = format!("{total}: load {load}, encode {encode}, sample {sample}{each}, decode {decode}; {queued} in the queue before");
    entry(paint, "took", Role::Text, &text, columns)
}

/// Asked and measured side by side: a plan that was not followed must be seen.
fn places(compute: DeviceId, placement: &Placement, paint: &Paint) -> Vec<Line<'static>> {
    let mut devices: Vec<DeviceId> = placement.asked.iter().chain(&placement.measured).map(|s| s.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let bytes = |shares: &[crate::placement::Share], device| shares.iter().find(|s| s.device == device).map_or(Bytes::ZERO, |s| s.bytes);
    let named = |device: &DeviceId| Labelled(*device).to_string();
    let width = devices.iter().map(|d| named(d).len() + 1).max().unwrap_or_default().max(12);
    let mut lines = vec![line::text(paint, Role::Label, format!("{:<width$}{:>12}{:>12}", "weights on", "asked", "measured"))];
    let needed = alerts::asked_of_needed(placement);
    for device in devices {
        let (asked, measured) = (bytes(&placement.asked, device), bytes(&placement.measured, device));
        let role = Paint::role_of(alerts::kept(compute, device, bytes(&needed, device), measured));
        let mark = paint.mark_of_value(role);
        lines.push(line::text(paint, role, format!("{:<width$}{asked:>12}{measured:>12} {mark}", named(&device))));
    }
    lines
}
