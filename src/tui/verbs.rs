//! What can be done with jobs: to which, why not, and what is asked of the daemon for it.

use super::action::{Action, DeviceVerb, JobVerb, LogVerb};
use super::asked::{ConversionDeed, Purpose, Submission};
use super::effect::Effect;
use super::layer::Layer;
use super::model::{Confirm, Model, Then};
use super::screens::{Screen, alerts, cache, compose, detail, devices, offload, sets};
use super::{frozen, taking_back, twin, wording};
use crate::jobs::{JobState, JobView, Move};
use crate::theme::Role;
use crate::units::JobId;
use crate::wire::{Cursor, Request};
use crate::workflow::{JobDraft, script};

/// Returns why an action cannot be done now, if it cannot.
#[must_use]
pub fn reason_against(model: &Model, action: Action) -> Option<String> {
    if action.needs_daemon() && !model.is_up() {
        return Some("the daemon does not answer".to_owned());
    }
    if let Some(reason) = frozen::reason_against(model, action) {
        return Some(reason);
    }
    match action {
        Action::Job(verb) => reason_against_verb(model, verb),
        Action::Tune(verb) => offload::deeds::reason_against(model, verb),
        Action::Cache(verb) => cache::deeds::reason_against(model, verb),
        Action::Set(verb) => sets::deeds::reason_against(model, verb),
        Action::Hide => alerts::update::reason_against_hiding(model),
        Action::Device(DeviceVerb::Signal) => devices::processes::reason_against(model),
        Action::CopyCommand if model.help.is_none() => match (twin::command(model), model.screen) {
            (Some(_), _) => None,
            (None, Screen::Compose) => Some("a field cannot be read yet".to_owned()),
            (None, Screen::Offload) => Some("the wish cannot be read yet".to_owned()),
            (None, _) => Some("no command does the same".to_owned()),
        },
        Action::Open | Action::CopyValue | Action::CopyCommand if is_only_read(model, action) => {
            Some("there is nothing to open or copy here".to_owned())
        }
        Action::Mark | Action::MarkAll if model.screen == Screen::Cache => {
            let files = model.known.cached.iter().flatten().next();
            files.is_none().then(|| "no file is shown".to_owned())
        }
        Action::Mark | Action::MarkAll if model.queue.shown(&model.known).is_empty() => Some("no job is shown".to_owned()),
        Action::Log(LogVerb::NextMatch | LogVerb::PreviousMatch) if model.log.search.is_empty() => {
            Some(format!("nothing is searched for; {} does", model.options.keys.said(Layer::Log, Action::Filter)))
        }
        Action::SubmitJob | Action::SubmitHeld if model.asked.waits_for(|p| matches!(p, Purpose::Submit(_))) => {
            Some("the form is being submitted".to_owned())
        }
        Action::RestoreField if !model.compose.can_restore() => Some("nothing was taken out of a field".to_owned()),
        Action::Quit
        | Action::Suspend
        | Action::Redraw
        | Action::Refresh
        | Action::GoTo(_)
        | Action::Move(_)
        | Action::Open
        | Action::Back
        | Action::Filter
        | Action::Palette
        | Action::Help
        | Action::Alerts
        | Action::Freeze
        | Action::Mouse
        | Action::Complete
        | Action::CopyValue
        | Action::CopyCommand
        | Action::Mark
        | Action::MarkAll
        | Action::SubmitJob
        | Action::SubmitHeld
        | Action::ClearField
        | Action::RestoreField
        | Action::ClearForm
        | Action::TakeProfile
        | Action::SaveProfile
        | Action::Device(DeviceVerb::Span)
        | Action::Log(_)
        | Action::Play(_)
        | Action::NextHost
        | Action::Accept
        | Action::Decline => None,
    }
}

/// Help is only read, and so are details, but for their value.
fn is_only_read(model: &Model, action: Action) -> bool {
    if model.palette.is_some() || model.help.as_ref().is_some_and(|h| h.search.typing) {
        return false;
    }
    model.help.is_some() || (model.alarm.is_none() && model.detail.is_some() && action == Action::Open)
}

fn reason_against_verb(model: &Model, verb: JobVerb) -> Option<String> {
    let at_hand = model.job_at_hand().and_then(|id| model.job(id));
    let only = |wanted: &str, fits: fn(JobState) -> bool| match at_hand {
        None => Some("no job is selected".to_owned()),
        Some(job) if fits(job.state) => None,
        Some(job) => Some(format!("job {} is {}; {wanted}", job.job, job.state)),
    };
    let unless = |possible: bool, reason: &str| (!possible).then(|| reason.to_owned());
    match verb {
        JobVerb::Cancel if !targets(model, is_open).is_empty() => None,
        JobVerb::Retry if !targets(model, can_retry).is_empty() => None,
        JobVerb::Hold if !targets(model, waits).is_empty() => None,
        JobVerb::Cancel => only("only jobs that are not finished are cancelled", is_open),
        JobVerb::Retry => only("only failed and cancelled jobs are tried again", can_retry),
        JobVerb::Hold => only("only waiting jobs are held", waits),
        JobVerb::MoveUp | JobVerb::MoveDown => only("only waiting jobs are moved", waits),
        JobVerb::Edit => {
            let key = model.options.keys.said(Layer::Jobs, Action::Job(JobVerb::Duplicate));
            only(&format!("only waiting jobs are edited; {key} takes its settings for a new one"), waits)
        }
        JobVerb::Duplicate | JobVerb::Offload => only("", |_| true),
        JobVerb::PauseJob => unless(running(model).is_some(), "no job runs"),
        JobVerb::PauseConversions | JobVerb::CancelConversion => unless(!model.known.conversions.is_empty(), "no conversion is on its way"),
        JobVerb::PauseQueue => None,
        JobVerb::Save => match (model.known.waiting(), model.known.unseen_waiting()) {
            (0, _) => Some("no job waits".to_owned()),
            (_, 0) => None,
            (_, unseen) => Some(format!("{unseen} more wait than are shown here; perilune queue save FILE writes them all")),
        },
        JobVerb::CancelWaiting => unless(model.known.waiting() > 0, "no job waits"),
        JobVerb::ClearFinished => unless(model.known.finished() > 0, "no job is finished"),
    }
}

/// Does something with jobs.
pub fn perform(model: &mut Model, verb: JobVerb) -> Vec<Effect> {
    match verb {
        JobVerb::Cancel => {
            let jobs = targets(model, is_open);
            taking_back::these(model, jobs);
            Vec::new()
        }
        JobVerb::CancelWaiting => {
            taking_back::all_that_wait(model);
            Vec::new()
        }
        JobVerb::ClearFinished => {
            model.confirm = Some(Confirm {
                question: format!("Forget {}?", wording::count(model.known.finished(), "finished job")),
                consequence: "Their pictures stay; the list of what was done goes.".to_owned(),
                command: Some("perilune queue clear".to_owned()),
                list: Vec::new(),
                scroll: 0,
                then: Then::ClearFinished,
            });
            Vec::new()
        }
        JobVerb::PauseConversions if model.known.conversions.iter().all(|c| c.paused) => {
            vec![model.ask(Purpose::Conversions(ConversionDeed::Resume), Request::ResumeConversions { conversion: None })]
        }
        JobVerb::PauseConversions => {
            vec![model.ask(Purpose::Conversions(ConversionDeed::Pause), Request::PauseConversions { conversion: None })]
        }
        JobVerb::CancelConversion => {
            taking_back::a_conversion(model);
            Vec::new()
        }
        JobVerb::PauseQueue if model.known.paused => ask(model, "goes on", Vec::new(), Request::Resume { job: None }),
        JobVerb::PauseQueue => ask(model, "starts no more jobs", Vec::new(), Request::Pause { job: None }),
        JobVerb::PauseJob => match running(model).map(|j| (j.job, j.state)) {
            Some((id, JobState::Paused)) => ask(model, "goes on", vec![id], Request::Resume { job: Some(id) }),
            Some((id, _)) => ask(model, "stops at the next step border", vec![id], Request::Pause { job: Some(id) }),
            None => Vec::new(),
        },
        JobVerb::Hold => hold(model),
        JobVerb::Retry => {
            let jobs = targets(model, can_retry);
            model.queue.marked.clear();
            ask(model, "is tried again", jobs.clone(), Request::Retry(jobs))
        }
        JobVerb::MoveDown => shift(model, Move::Down),
        JobVerb::MoveUp => shift(model, Move::Up),
        JobVerb::Duplicate => into_form(model, false),
        JobVerb::Edit => into_form(model, true),
        JobVerb::Offload => tune(model),
        JobVerb::Save => vec![Effect::WriteQueue(script(&written(model)))],
    }
}

/// Does what a yes asks for.
pub fn accept(model: &mut Model, then: Then) -> Vec<Effect> {
    match then {
        Then::Cancel(jobs) => {
            model.queue.marked.clear();
            model.queue.leaving.extend(&jobs);
            ask(model, "is taken back", jobs.clone(), Request::Cancel(jobs))
        }
        Then::CancelWaiting => vec![list_waiting(model, None)],
        Then::ClearFinished => vec![model.ask(Purpose::Clear, Request::Clear { states: Vec::new() })],
        Then::CancelConversion(id) => vec![model.ask(Purpose::Conversions(ConversionDeed::Cancel), Request::CancelConversion(id))],
        Then::ClearForm => {
            model.compose = compose::State::default();
            Vec::new()
        }
        Then::Fill { draft, replaces } => {
            fill(model, &draft, replaces);
            Vec::new()
        }
        Then::Clean(ask) => cache::deeds::clean(model, *ask),
        Then::Unload(target) => vec![sets::deeds::ask(model, &target, sets::deeds::Deed::Unload)],
        Then::Signal(ask) => {
            let what = format!("{} to process {}", ask.signal.name(), ask.pid);
            vec![model.ask(Purpose::Signal(what), Request::Signal(ask))]
        }
        Then::Save(order) => vec![Effect::Save(order)],
        Then::Quit => vec![Effect::Quit],
    }
}

/// Asks for a page of waiting jobs, all of which will be taken back.
pub fn list_waiting(model: &mut Model, after: Option<Cursor>) -> Effect {
    let states = vec![JobState::Queued, JobState::Held];
    model.ask(Purpose::CancelWaiting, Request::List { states, after, limit: 500 })
}

/// Asks for jobs to be taken back that a page named.
pub fn cancel_page(model: &mut Model, jobs: Vec<JobId>) -> Vec<Effect> {
    ask(model, "is taken back", jobs.clone(), Request::Cancel(jobs))
}

/// Submits the form, if it can be.
pub fn submit(model: &mut Model, held: bool) -> Vec<Effect> {
    let (mut draft, problems) = model.compose.draft();
    if let Some((field, refusal)) = problems.into_iter().next().or_else(|| model.compose.missing()) {
        model.compose.go_to(field);
        model.compose.mode = compose::Mode::Moving;
        model.toast(Role::Warn, format!("not submitted: {}: {}", field.name(), refusal.message));
        return Vec::new();
    }
    draft.held = held;
    let replaces = model.compose.replaces.filter(|id| model.known.job(*id).is_some_and(|j| waits(j.state)));
    if let (Some(old), None) = (model.compose.replaces, replaces) {
        model.toast(Role::Warn, format!("job {old} no longer waits; this is a new job beside it"));
    }
    let submission = Submission { draft: draft.clone(), replaces };
    vec![model.submit(Purpose::Submit(Box::new(submission)), draft)]
}

/// Returns the jobs that a verb is for: the marked ones, or the one at hand, as far as they are in such a state.
fn targets(model: &Model, fits: fn(JobState) -> bool) -> Vec<JobId> {
    let marks = model.screen == Screen::Queue && model.detail.is_none() && !model.queue.marked.is_empty();
    let at_hand = model.job_at_hand();
    let chosen = |j: &&JobView| if marks { model.queue.marked.contains(&j.job) } else { at_hand == Some(j.job) };
    model.known.jobs.iter().filter(chosen).filter(|j| fits(j.state)).map(|j| j.job).collect()
}

fn hold(model: &mut Model) -> Vec<Effect> {
    let jobs = targets(model, waits);
    model.queue.marked.clear();
    let mut effects = Vec::new();
    for id in jobs {
        let held = model.known.job(id).is_some_and(|j| j.state == JobState::Held);
        effects.extend(if held {
            ask(model, "is released", vec![id], Request::Resume { job: Some(id) })
        } else {
            ask(model, "is held", vec![id], Request::Pause { job: Some(id) })
        });
    }
    effects
}

fn shift(model: &mut Model, to: Move) -> Vec<Effect> {
    let Some(job) = model.job_at_hand() else { return Vec::new() };
    model.queue.selected = Some(job);
    vec![model.ask(Purpose::Verb { done: None, jobs: vec![job] }, Request::Move { job, to })]
}

fn into_form(model: &mut Model, replace: bool) -> Vec<Effect> {
    if let Some((job, draft)) = settings_at_hand(model) {
        offer(model, draft, replace.then_some(job));
    }
    Vec::new()
}

/// Returns the drafts of the jobs that wait, in their order.
fn written(model: &Model) -> Vec<JobDraft> {
    let waiting = model.known.jobs.iter().filter(|j| waits(j.state));
    waiting.map(|j| JobDraft { held: j.state == JobState::Held, ..JobDraft::again(&j.spec) }).collect()
}

fn tune(model: &mut Model) -> Vec<Effect> {
    let Some((job, draft)) = settings_at_hand(model) else { return Vec::new() };
    offload::update::enter_for(model, job, draft)
}

/// Returns the job at hand and the draft that asks for it again.
fn settings_at_hand(model: &Model) -> Option<(JobId, JobDraft)> {
    let job = model.job_at_hand().and_then(|id| model.job(id))?;
    let mut draft = JobDraft::again(&job.spec);
    // One picture of several is made again by its own seed.
    if let Some(image) = model.finished.entry(&model.known).filter(|_| model.screen == Screen::Gallery).and_then(|e| e.image().cloned()) {
        (draft.seed, draft.batch) = (Some(image.seed), Some(1));
    }
    // The name from the model folders reads better than the path behind it.
    if let Some(entry) = model.known.models.iter().flatten().find(|m| m.path.to_string_lossy() == draft.model) {
        draft.model.clone_from(&entry.name);
    }
    Some((job.job, draft))
}

/// Fills the form; asks first where that would lose a draft.
pub fn offer(model: &mut Model, draft: JobDraft, replaces: Option<JobId>) {
    if model.compose.unsent {
        model.confirm = Some(Confirm {
            question: "Replace the draft in the Run form?".to_owned(),
            consequence: "It holds a draft that was not submitted.".to_owned(),
            command: None,
            list: Vec::new(),
            scroll: 0,
            then: Then::Fill { draft: Box::new(draft), replaces },
        });
    } else {
        fill(model, &draft, replaces);
    }
}

fn fill(model: &mut Model, draft: &JobDraft, replaces: Option<JobId>) {
    model.compose.fill(draft, replaces);
    model.detail = None;
    model.screen = Screen::Compose;
}

fn ask(model: &mut Model, done: &'static str, jobs: Vec<JobId>, request: Request) -> Vec<Effect> {
    vec![model.ask(Purpose::Verb { done: Some(done), jobs }, request)]
}

/// The running job that `P` is for: the one at hand, or the first.
fn running(model: &Model) -> Option<&JobView> {
    let at_hand = model.job_at_hand().and_then(|id| model.known.job(id)).filter(|j| j.state.is_active());
    at_hand.or_else(|| model.known.jobs.iter().find(|j| j.state.is_active()))
}

fn is_open(state: JobState) -> bool {
    !state.is_final()
}

/// Returns whether a job waits.
#[must_use]
pub fn waits(state: JobState) -> bool {
    matches!(state, JobState::Queued | JobState::Held)
}

fn can_retry(state: JobState) -> bool {
    matches!(state, JobState::Failed | JobState::Cancelled)
}

/// Opens the details of a job that a subject names, asking for it where it is not known.
pub fn show(model: &mut Model, id: JobId) -> Vec<Effect> {
    model.detail = Some(detail::State { subject: detail::Subject::Job(id), scroll: 0 });
    if model.known.job(id).is_none() && model.is_up() && !model.asked.waits_for(|p| *p == Purpose::Show(id)) {
        return vec![model.ask(Purpose::Show(id), Request::Show(id))];
    }
    Vec::new()
}
