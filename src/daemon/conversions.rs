//! Conversions on their way: what jobs lack before they can start, and what clients ask for.
//!
//! ```text
//!   wished --> looking --> (it is there) ------------------------> ready
//!                 \--> waiting --> making --> (its child is done) --^
//!                         ^----------'  it died, so often, and those who wait fail; or it is paused
//! ```
//!
//! Who wishes the same shares one. What nobody wishes any more is stopped, and what it has done is kept on the disk for who
//! wishes it next.

use std::collections::BTreeMap;
use std::time::Duration;

use super::core::Core;
use super::input::{Asker, ConversionHeard, Converted, Exit};
use super::output::Output;
use super::pending::Pending;
use super::reports;
use crate::jobs::{Failure, Phase, Progress};
use crate::ledger::{Command, Entry};
use crate::units::{Bytes, JobId, SessionId, Timestamp};
use crate::wire::{Change, ConversionId, ConversionView, Reply};
use crate::workflow::{Kind, Refusal, Wish};

/// Deaths of its children after which a conversion fails.
const DEATHS: u32 = 3;
/// How often progress is told.
const BEAT: Duration = Duration::from_millis(200);
/// Jobs that are named as waiting for a conversion, and told of its progress; lists have them all.
const SHOWN: usize = 50;

/// What is being converted.
#[derive(Debug, Default)]
pub(super) struct Desk {
    items: BTreeMap<Wish, Item>,
    /// Whether none goes on.
    paused: bool,
    last: u64,
    told: Option<Timestamp>,
}

/// One conversion.
#[derive(Debug)]
struct Item {
    id: u64,
    stage: Stage,
    deaths: u32,
    askers: Vec<Asker>,
    /// Whether its operator keeps it from going on.
    paused: bool,
    /// How far it was when it was last heard of.
    read: (Bytes, Bytes),
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Looking,
    Waiting,
    Making { since: Timestamp, done: Bytes, bytes: Bytes },
}

impl Desk {
    /// Returns one where nothing is on its way, and nothing goes on where its operator has said so.
    pub(super) fn new(paused: bool) -> Self {
        Self { paused, ..Self::default() }
    }

    /// Returns how far a conversion is that is being made.
    pub(super) fn progress(&self, wish: &Wish, now: Timestamp) -> Option<Progress> {
        let Stage::Making { since, done, bytes } = self.items.get(wish)?.stage else { return None };
        let percent = done.get().min(bytes.get()).saturating_mul(100).checked_div(bytes.get()).unwrap_or(0);
        let step = u32::try_from(percent).unwrap_or(100);
        let step_s = (step > 0).then(|| now.since(since).as_secs_f64() / f64::from(step));
        Some(Progress { phase: Phase::Converting, step, steps: 100, step_s })
    }

    fn making(&self) -> usize {
        self.items.values().filter(|i| matches!(i.stage, Stage::Making { .. })).count()
    }

    fn by_id(&mut self, id: u64) -> Option<(&Wish, &mut Item)> {
        self.items.iter_mut().find(|(_, item)| item.id == id)
    }
}

/// What was found before may be gone since: it is looked for again before the job starts.
pub(super) fn look_again(entry: &mut Entry) {
    if let Some(conversion) = &mut entry.conversion {
        conversion.result = None;
    }
}

/// Takes up what is wished, begins what can be begun, and stops what nobody wants.
pub(super) fn start(core: &mut Core) {
    let unwanted = |(wish, item): (&Wish, &Item)| (item.askers.is_empty() && !core.queue.is_lacked(wish)).then(|| wish.clone());
    let unwanted: Vec<Wish> = core.conversions.items.iter().filter_map(unwanted).collect();
    for wish in unwanted {
        remove(core, &wish);
    }
    let new: Vec<Wish> = core.queue.wishes().map(|(w, _)| w).filter(|w| !core.conversions.items.contains_key(w)).cloned().collect();
    for wish in new {
        look(core, wish, Vec::new());
    }
    while core.conversions.making() < core.policy.conversions_at_once
        && let Some(wish) = next(core)
    {
        make(core, &wish);
    }
}

fn look(core: &mut Core, wish: Wish, askers: Vec<Asker>) {
    core.conversions.last += 1;
    let id = core.conversions.last;
    core.conversions
        .items
        .insert(wish.clone(), Item { id, stage: Stage::Looking, deaths: 0, askers, paused: false, read: Default::default() });
    core.emit(Output::LookForConversion { id, wish });
}

/// Returns what is to be made next: what the first of the jobs lacks, then what clients ask for. Where no job may start, none
/// is prepared.
fn next(core: &Core) -> Option<Wish> {
    let places: BTreeMap<&Wish, _> = if core.paused { BTreeMap::new() } else { core.queue.wishes().collect() };
    if core.conversions.paused {
        return None;
    }
    let waiting = core.conversions.items.iter().filter(|(_, item)| matches!(item.stage, Stage::Waiting) && !item.paused);
    let allowed = waiting.filter(|(wish, item)| !item.askers.is_empty() || places.contains_key(wish));
    let first = allowed.min_by_key(|(wish, item)| (!places.contains_key(wish), places.get(wish).copied(), item.id));
    first.map(|(wish, _)| wish.clone())
}

fn make(core: &mut Core, wish: &Wish) {
    let now = core.now;
    let Some(item) = core.conversions.items.get_mut(wish) else { return };
    item.stage = Stage::Making { since: now, done: Bytes::ZERO, bytes: Bytes::ZERO };
    let id = item.id;
    tracing::info!("converting {} to {}", wish.source.display(), wish.to);
    core.news.conversions = true;
    core.emit(Output::Convert { id, wish: wish.clone() });
}

fn remove(core: &mut Core, wish: &Wish) -> Option<Item> {
    let item = core.conversions.items.remove(wish)?;
    core.news.conversions = true;
    core.emit(Output::StopConversion(item.id));
    Some(item)
}

/// What a client asks for was found, or not.
pub(super) fn located(core: &mut Core, asker: Asker, wish: Result<Wish, Refusal>) {
    match wish {
        Err(refusal) => core.answer(asker, Err(refusal)),
        Ok(_) if core.stop_by.is_some() => core.answer(asker, Err(ending())),
        Ok(wish) => match core.conversions.items.get_mut(&wish) {
            Some(item) => item.askers.push(asker),
            None => look(core, wish, vec![asker]),
        },
    }
    core.news.conversions = true;
}

/// Something was heard of a conversion.
pub(super) fn heard(core: &mut Core, id: u64, heard: ConversionHeard) {
    let Some((wish, item)) = core.conversions.by_id(id) else { return };
    let wish = wish.clone();
    match heard {
        ConversionHeard::Looked(Ok(None)) => item.stage = Stage::Waiting,
        ConversionHeard::Looked(Ok(Some(converted))) | ConversionHeard::Made(Ok(converted)) => ready(core, &wish, *converted),
        ConversionHeard::Looked(Err(refusal)) | ConversionHeard::Made(Err(refusal)) => fail(core, &wish, &refusal, &[]),
        ConversionHeard::Progress { done, bytes } => {
            if let Stage::Making { since, .. } = item.stage {
                item.stage = Stage::Making { since, done, bytes };
                item.read = (done, bytes);
                tell_progress(core, &wish);
            }
        }
        ConversionHeard::Died(exit) => died(core, &wish, &exit),
    }
}

fn tell_progress(core: &mut Core, wish: &Wish) {
    let now = core.now;
    if core.listeners.is_empty() || core.conversions.told.is_some_and(|told| now.since(told) < BEAT) {
        return;
    }
    core.conversions.told = Some(now);
    core.news.conversions = true;
    let Some(progress) = core.conversions.progress(wish, now) else { return };
    let listened = core.listeners.values().filter_map(|topics| topics.job);
    let lacks = |job: &JobId| core.queue.get(*job).is_some_and(|j| j.lacks() == Some(wish));
    let mut jobs: Vec<JobId> = core.queue.all_that_lack(wish).into_iter().take(SHOWN).chain(listened.filter(lacks)).collect();
    jobs.sort_unstable();
    jobs.dedup();
    for job in jobs {
        core.publish(Change::Progress { job, progress });
    }
}

/// It is there: the jobs that lacked it can start.
fn ready(core: &mut Core, wish: &Wish, converted: Converted) {
    let Some(item) = remove(core, wish) else { return };
    if matches!(item.stage, Stage::Making { .. }) {
        core.emit(Output::Count);
    }
    let Converted { view, component } = converted;
    let jobs = core.queue.all_that_lack(wish);
    for job in &jobs {
        core.queue.change(*job, |j| {
            if let Some(conversion) = &mut j.entry.conversion {
                conversion.result = Some(view.output.clone());
            }
        });
    }
    if !jobs.is_empty() {
        let (result, component) = (view.output.clone(), component.map(Box::new));
        core.ask_ledger(Command::Converted { jobs, result, component }, Pending::Change(None));
        core.news.everything = true;
    }
    for asker in item.askers {
        core.answer(asker, Ok(Reply::Converted(Box::new(view.clone()))));
    }
}

/// It will not be there.
fn fail(core: &mut Core, wish: &Wish, refusal: &Refusal, log: &[String]) {
    let Some(item) = remove(core, wish) else { return };
    for asker in item.askers {
        core.answer(asker, Err(refusal.clone()));
    }
    let jobs = core.queue.all_that_lack(wish);
    if jobs.is_empty() {
        return;
    }
    let which = if let [job] = jobs[..] { format!("job {job} failed") } else { format!("{} jobs failed", jobs.len()) };
    core.notice("fail", format!("{which}: {}", refusal.message), if let [job] = jobs[..] { Some(job) } else { None });
    for job in jobs {
        let Refusal { kind, message, hint } = refusal.clone();
        reports::fail_untold(core, job, None, Failure { kind, message, hint, log: log.to_vec() });
    }
}

/// Its child is gone: the next one goes on from what is on the disk, but not for ever.
fn died(core: &mut Core, wish: &Wish, exit: &Exit) {
    let Some(item) = core.conversions.items.get_mut(wish) else { return };
    item.deaths += 1;
    item.stage = Stage::Waiting;
    core.news.conversions = true;
    tracing::warn!("the converter of {} {}", wish.source.display(), exit.how);
    if item.deaths >= DEATHS {
        let message =
            format!("the conversion of {} to {} died {DEATHS} times; the last time it {}", wish.source.display(), wish.to, exit.how);
        let words = if exit.log.is_empty() { "it wrote nothing before it died" } else { "its last words are in the log" };
        let refusal = Refusal::new(Kind::Failed, message, format!("{words}; what is done is kept, and the next try goes on from there"));
        fail(core, wish, &refusal, &exit.log);
    }
}

/// Keeps conversions, or one, from going on, or lets them. What is done of it is on the disk, and its child is not needed. That none
/// goes on holds for daemons to come, too.
pub(super) fn pause(core: &mut Core, asker: Asker, which: Option<ConversionId>, paused: bool) {
    match which {
        None => {
            core.conversions.paused = paused;
            // Who lets all go on lets each go on.
            let all = core.conversions.items.values_mut();
            all.filter(|_| !paused).for_each(|item| item.paused = false);
            core.ask_ledger(Command::PauseConversions(paused), Pending::Setting(asker));
        }
        Some(ConversionId(id)) => {
            let answer = match core.conversions.by_id(id) {
                Some((_, item)) => {
                    item.paused = paused;
                    Ok(Reply::Done)
                }
                None => Err(unknown(id)),
            };
            core.answer(asker, answer);
        }
    }
    let all_are = core.conversions.paused;
    let mut stopped = Vec::new();
    for item in core.conversions.items.values_mut().filter(|item| item.paused || all_are) {
        if matches!(item.stage, Stage::Making { .. }) {
            item.stage = Stage::Waiting;
            stopped.push(item.id);
        }
    }
    for id in stopped {
        core.emit(Output::StopConversion(id));
    }
    core.news.conversions = true;
}

/// Gives a conversion up.
pub(super) fn cancel(core: &mut Core, asker: Asker, ConversionId(id): ConversionId) {
    let Some((wish, _)) = core.conversions.by_id(id) else { return core.answer(asker, Err(unknown(id))) };
    let wish = wish.clone();
    let message = format!("the conversion of {} to {} was cancelled", wish.source.display(), wish.to);
    let refusal = Refusal::new(Kind::Interrupted, message, "what is done is kept, and the next try goes on from there");
    fail(core, &wish, &refusal, &[]);
    core.answer(asker, Ok(Reply::Done));
}

fn unknown(id: u64) -> Refusal {
    Refusal::new(Kind::NotFound, format!("there is no conversion {id} on its way"), "`perilune conversions list` shows them")
}

/// A client is gone: nobody waits for what it wanted.
pub(super) fn left(core: &mut Core, session: SessionId) {
    for item in core.conversions.items.values_mut() {
        item.askers.retain(|asker| asker.session != session);
    }
}

/// The daemon ends. What is done is kept; the next daemon goes on with what its jobs lack.
pub(super) fn give_up(core: &mut Core) {
    for (_, item) in std::mem::take(&mut core.conversions.items) {
        core.emit(Output::StopConversion(item.id));
        for asker in item.askers {
            core.answer(asker, Err(ending()));
        }
    }
}

fn ending() -> Refusal {
    Refusal::new(Kind::Interrupted, "the daemon is ending; what is converted so far is kept", "run the same command again to go on")
}

/// Returns the conversions as clients see them, those that are being made first.
pub(super) fn views(core: &Core) -> Vec<ConversionView> {
    let view = |(wish, item): (&Wish, &Item)| {
        let (since, done, bytes) = match item.stage {
            Stage::Looking => return None,
            Stage::Waiting => (None, item.read.0, item.read.1),
            Stage::Making { since, done, bytes } => (Some(since), done, bytes),
        };
        Some(ConversionView {
            id: ConversionId(item.id),
            source: wish.source.clone(),
            part: wish.part.clone(),
            to: wish.to.clone(),
            running: since.is_some(),
            paused: item.paused || core.conversions.paused,
            done,
            bytes,
            seconds: since.map_or(0.0, |since| core.now.since(since).as_secs_f64()),
            jobs: core.queue.all_that_lack(wish).into_iter().take(SHOWN).collect(),
        })
    };
    let mut views: Vec<ConversionView> = core.conversions.items.iter().filter_map(view).collect();
    views.sort_by_key(|v| !v.running);
    views
}
