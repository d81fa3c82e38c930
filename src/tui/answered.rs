//! What an answer of the daemon changes.

use super::action::{Action, CacheVerb, JobVerb, TuneVerb};
use super::asked::{ConversionDeed, Purpose, Submission};
use super::effect::Effect;
use super::layer::Layer;
use super::model::{Freshness, Model};
use super::screens::{Screen, cache, compose, offload, sets};
use super::{verbs, wording};
use crate::jobs::Move;
use crate::theme::Role;
use crate::units::JobId;
use crate::wire::{Change, Reply, Request};
use crate::workflow::Refusal;

/// Takes in the answer to a request.
pub fn take(model: &mut Model, id: u64, result: Result<Reply, Refusal>) -> Vec<Effect> {
    let Some(purpose) = model.asked.take(id) else { return Vec::new() };
    match result {
        Ok(reply) => granted(model, purpose, reply),
        // The tuner shows by itself why it knows nothing.
        Err(refusal) => match purpose {
            Purpose::Tune(draft) => offload::update::told(model, &draft, Err(refusal)),
            Purpose::Estimate(of) => {
                compose::estimate::told(model, *of, Err(refusal));
                Vec::new()
            }
            // What is no model is said where it is submitted; every precision can be chosen without advice.
            Purpose::Advice(_) => Vec::new(),
            Purpose::Verify(path) => {
                model.cache.trouble = Some(format!("{}: {}", wording::file_name(&path), refusal.message));
                cache::deeds::verified(model, &path, None)
            }
            Purpose::Pictures(id) => {
                model.finished.unknown.insert(id);
                Vec::new()
            }
            purpose => {
                refused(model, &purpose, &refusal);
                Vec::new()
            }
        },
    }
}

fn granted(model: &mut Model, purpose: Purpose, reply: Reply) -> Vec<Effect> {
    match (purpose, reply) {
        (Purpose::Status, Reply::Status(status)) => model.known.take_queue(status.queue),
        (Purpose::Devices, Reply::Devices { devices, host }) => model.known.apply(Change::Devices { devices, host }, model.now),
        (Purpose::Models, Reply::Models(models)) => model.known.models = Some(models),
        (Purpose::Log, Reply::Log(lines)) => model.known.replace_log(lines),
        (Purpose::Show(_), Reply::Job(job)) => model.known.put(*job),
        (Purpose::Tune(draft), Reply::Tune(view)) => return offload::update::told(model, &draft, Ok(*view)),
        (Purpose::Estimate(of), Reply::Plan(view)) => compose::estimate::told(model, *of, Ok(view)),
        (Purpose::Advice(of), Reply::Advice(suggestions)) => model.known.advice = Some((of, suggestions)),
        (Purpose::Cache, Reply::Cached(files)) => {
            model.cache.marked.retain(|path| files.iter().any(|f| f.path == *path));
            model.known.cached = Some(files);
        }
        (Purpose::Convert(what), Reply::Converted(view)) => return cache::deeds::converted(model, &what, &view),
        (Purpose::CleanShown(ask), Reply::Cleaned(gone)) => cache::deeds::would_go(model, &ask, &gone),
        (Purpose::Clean, Reply::Cleaned(gone)) => return cache::deeds::cleaned(model, &gone),
        (Purpose::Verify(path), Reply::Verified(view)) => return cache::deeds::verified(model, &path, Some(view)),
        (Purpose::Keep(path, kept), Reply::Done) => cache::deeds::kept(model, &path, kept),
        (Purpose::Watch, _) => {}
        (Purpose::Set { name, deed }, Reply::Sets(sets)) => sets::deeds::done(model, &name, deed, &sets),
        (Purpose::Set { name, deed }, Reply::Done) => sets::deeds::done(model, &name, deed, &[]),
        (Purpose::Signal(what), Reply::Done) => model.toast(Role::Ok, format!("sent {what}")),
        (Purpose::Finished, Reply::Rows { rows, .. }) => model.finished.list(rows),
        (Purpose::Pictures(id), Reply::Job(view)) => drop(model.finished.older.insert(id, *view)),
        (Purpose::Trial, Reply::Accepted(job)) => offload::deeds::tried(model, job),
        (Purpose::Probe, Reply::Calibrated(view)) => return offload::deeds::probed(model, &view),
        (Purpose::Submit(submission), Reply::Accepted(job)) => return accepted(model, job, &submission),
        (Purpose::CancelWaiting, Reply::Rows { rows, next, .. }) => {
            let mut effects = Vec::new();
            if !rows.is_empty() {
                effects = verbs::cancel_page(model, rows.into_iter().map(|r| r.job).collect());
            }
            if let Some(after) = next {
                effects.push(verbs::list_waiting(model, Some(after)));
            }
            return effects;
        }
        (Purpose::Replace { old, new }, Reply::Changed(gone)) => replaced(model, old, new, &gone),
        (Purpose::Clear, Reply::Cleared(count)) => model.toast(Role::Ok, format!("{} forgotten", wording::count(count, "job"))),
        (Purpose::Conversions(deed), Reply::Done) => conversions(model, deed),
        (Purpose::Verb { done, .. }, Reply::Changed(jobs)) => changed(model, done, &jobs),
        (purpose, _unexpected) => {
            let about = what(&purpose);
            model.toast(Role::Crit, format!("{about}: the daemon answered another question; restart it with perilune stop"));
        }
    }
    Vec::new()
}

fn accepted(model: &mut Model, job: JobId, submission: &Submission) -> Vec<Effect> {
    let state = if submission.draft.held { "held" } else { "queued" };
    model.compose.submitted();
    model.queue.selected = Some(job);
    let Some(old) = submission.replaces else {
        model.toast(
            Role::Ok,
            format!("job {job} is {state}; {} shows the queue", model.options.keys.said(Layer::Everywhere, Action::GoTo(Screen::Queue))),
        );
        return Vec::new();
    };
    let mut effects = Vec::new();
    // A job that has begun meanwhile stands before nobody.
    let priority = submission.draft.priority.unwrap_or(0);
    if model.known.job(old).is_some_and(|j| verbs::waits(j.state) && j.spec.priority == priority) {
        let request = Request::Move { job, to: Move::Before(old) };
        effects.push(model.ask(Purpose::Verb { done: None, jobs: vec![job] }, request));
    }
    effects.push(model.ask(Purpose::Replace { old, new: job }, Request::Withdraw(old)));
    effects
}

/// The job that another was to take the place of was taken back, or had begun before that.
fn replaced(model: &mut Model, old: JobId, new: JobId, gone: &[JobId]) {
    model.known.order_doubtful = true;
    if gone.is_empty() {
        model.toast(Role::Warn, format!("job {old} had begun and goes on; job {new} is a new one beside it"));
    } else {
        model.toast(Role::Ok, format!("job {new} has taken the place of job {old}"));
    }
}

fn changed(model: &mut Model, done: Option<&'static str>, jobs: &[JobId]) {
    // Where a moved job stands now is not said, so it is asked for.
    model.known.order_doubtful = true;
    let Some(done) = done else { return };
    match jobs {
        [] => model.toast(Role::Ok, format!("the queue {done}")),
        [only] => model.toast(Role::Ok, format!("job {only} {done}")),
        several => model.toast(Role::Ok, format!("{}: each {done}", wording::count(several.len() as u64, "job"))),
    }
}

fn conversions(model: &mut Model, deed: ConversionDeed) {
    let layer = if model.screen == Screen::Cache { Layer::Cache } else { Layer::Jobs };
    let done = match deed {
        ConversionDeed::Pause => {
            let key = model.options.keys.said(layer, Action::Job(JobVerb::PauseConversions));
            format!("conversions are paused; {key} lets them go on")
        }
        ConversionDeed::Resume => "conversions go on".to_owned(),
        ConversionDeed::Cancel => "the conversion is cancelled".to_owned(),
    };
    model.toast(Role::Ok, done);
}

fn refused(model: &mut Model, purpose: &Purpose, refusal: &Refusal) {
    let hint = refusal.hint.as_deref().map(|h| format!("; {h}")).unwrap_or_default();
    model.toast(Role::Crit, format!("{}: {}{hint}", what(purpose), refusal.message));
    match purpose {
        Purpose::Submit(_) => model.compose.refusal = Some(refusal.clone()),
        Purpose::Show(id) if model.known.job(*id).is_none() => model.detail = None,
        Purpose::Cache | Purpose::Convert(_) | Purpose::CleanShown(_) | Purpose::Clean | Purpose::Keep(..) => {
            model.cache.trouble = Some(format!("{}: {}{hint}", what(purpose), refusal.message));
        }
        // Asking again and again would not help.
        Purpose::Status => model.known.order_doubtful = false,
        Purpose::Devices
        | Purpose::Models
        | Purpose::Log
        | Purpose::Show(_)
        | Purpose::Tune(_)
        | Purpose::Advice(_)
        | Purpose::Estimate(_)
        | Purpose::Trial
        | Purpose::Probe
        | Purpose::Watch
        | Purpose::Verify(_)
        | Purpose::Set { .. }
        | Purpose::Signal(_)
        | Purpose::Finished
        | Purpose::Pictures(_)
        | Purpose::CancelWaiting
        | Purpose::Replace { .. }
        | Purpose::Clear
        | Purpose::Conversions(_)
        | Purpose::Verb { .. } => {}
    }
}

/// Says that the daemon was asked, where it has been silent for a while: its answer, which would show it, may be long in coming.
pub fn tell_of_silence(model: &mut Model, effects: &[Effect]) {
    let acts = |effect: &Effect| matches!(effect, Effect::Call { id, .. } if model.asked.of(*id).is_some_and(Purpose::acts));
    if model.is_up() && matches!(model.freshness(), Freshness::Old(_)) && effects.iter().any(acts) {
        model.toast(Role::Warn, "asked; the daemon has not answered yet");
    }
}

/// Says of requests that were lost with the connection what is not known about them now.
pub fn abandon(model: &mut Model) {
    let keys = model.options.keys.clone();
    let refresh = || keys.said(Layer::Everywhere, Action::Refresh);
    for purpose in model.asked.abandon() {
        let lost = match purpose {
            Purpose::Submit(_) => "the connection was lost while submitting; look at the queue before you submit again".to_owned(),
            Purpose::Verb { jobs, .. } if jobs.is_empty() => "the connection was lost; look whether the queue is paused".to_owned(),
            Purpose::Verb { jobs, .. } => {
                let ids: Vec<String> = jobs.iter().map(ToString::to_string).collect();
                format!("the connection was lost; look at job {} before you ask again", ids.join(", "))
            }
            Purpose::Trial => "the connection was lost; look at the queue before you try again".to_owned(),
            Purpose::Probe => {
                let key = keys.said(Layer::Offload, Action::Tune(TuneVerb::Probe));
                format!("the connection was lost, and nothing is measured any more; {key} begins again")
            }
            Purpose::Conversions(_) => "the connection was lost; look at the conversions before you ask again".to_owned(),
            Purpose::Convert(what) => {
                let key = keys.said(Layer::Cache, Action::Cache(CacheVerb::Convert));
                format!("the connection was lost, and {what} is not converted any more; what is done is kept, and {key} goes on with it")
            }
            Purpose::Clean => format!("the connection was lost while files were removed; {} shows what is left", refresh()),
            Purpose::Keep(path, _) => format!("the connection was lost; {} shows whether {} is kept", refresh(), wording::file_name(&path)),
            Purpose::Set { name, .. } => format!("the connection was lost; look at {name} before you ask again"),
            Purpose::Signal(what) => format!("the connection was lost; whether {what} was sent is not known"),
            Purpose::Verify(_) => {
                model.cache.verifying.clear();
                let key = keys.said(Layer::Cache, Action::Cache(CacheVerb::Verify));
                format!("the connection was lost while files were read; {key} reads them again")
            }
            Purpose::Replace { old, new } => {
                format!("the connection was lost; job {new} waits, and job {old} may wait beside it: look at the queue")
            }
            Purpose::CancelWaiting | Purpose::Clear => "the connection was lost; look at the queue before you ask again".to_owned(),
            Purpose::Status
            | Purpose::Devices
            | Purpose::Models
            | Purpose::Log
            | Purpose::Tune(_)
            | Purpose::Advice(_)
            | Purpose::Estimate(_)
            | Purpose::Watch
            | Purpose::Cache
            | Purpose::CleanShown(_)
            | Purpose::Finished
            | Purpose::Pictures(_)
            | Purpose::Show(_) => continue,
        };
        model.toast(Role::Warn, lost);
    }
}

fn what(purpose: &Purpose) -> String {
    match purpose {
        Purpose::Status => "queue not read".to_owned(),
        Purpose::Devices => "devices not read".to_owned(),
        Purpose::Models => "models not listed".to_owned(),
        Purpose::Log => "log not read".to_owned(),
        Purpose::Show(id) | Purpose::Pictures(id) => format!("job {id} not shown"),
        Purpose::Advice(_) => "no advice".to_owned(),
        Purpose::Estimate(_) => "no estimate".to_owned(),
        Purpose::Tune(_) => "the model is not known".to_owned(),
        Purpose::Watch => "bus traffic not measured".to_owned(),
        Purpose::Cache => "the cache was not listed".to_owned(),
        Purpose::Convert(what) => format!("{what} not converted"),
        Purpose::CleanShown(_) | Purpose::Clean => "not cleaned".to_owned(),
        Purpose::Verify(path) => format!("{} not read", wording::file_name(path)),
        Purpose::Keep(path, true) => format!("{} not kept", wording::file_name(path)),
        Purpose::Keep(path, false) => format!("{} stays kept", wording::file_name(path)),
        Purpose::Set { name, deed } => deed.undone(name),
        Purpose::Signal(what) => format!("not sent: {what}"),
        Purpose::Finished => "finished jobs not listed".to_owned(),
        Purpose::Trial => "not tried".to_owned(),
        Purpose::Probe => "not measured".to_owned(),
        Purpose::Submit(_) => "not submitted".to_owned(),
        Purpose::CancelWaiting => "waiting jobs not cancelled".to_owned(),
        Purpose::Replace { old, .. } => format!("job {old} not taken back"),
        Purpose::Clear => "not cleared".to_owned(),
        Purpose::Conversions(_) => "conversions not changed".to_owned(),
        Purpose::Verb { jobs, .. } => match jobs[..] {
            [] => "queue not changed".to_owned(),
            [only] => format!("job {only} not changed"),
            [..] => "jobs not changed".to_owned(),
        },
    }
}
