//! The daemon's core in a made-up world, where everything may die at any moment.
//!
//! The core and the ledger are real. Engines, files, clients and time are values here, and a random
//! script says what happens next: a request, an engine's next word, its death, or the daemon's. After
//! that all is left in peace until nothing more happens, and then nothing may be lost or done twice.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use perilune::config::Supervision;
use perilune::daemon::core::{Core, Policy};
use perilune::daemon::input::{Asker, ConversionHeard, Converted, Exit, Heard, Input};
use perilune::daemon::output::Output;
use perilune::devices::{DeviceKind, DeviceReading, Health};
use perilune::families::{Component, Role};
use perilune::jobs::{ImageRecord, JobState, JobView, Move, Placement, Timing, WaitReason};
use perilune::ledger::{Answer, Command, Ledger};
use perilune::placement::{Floors, OffloadAsk, OffloadPlan};
use perilune::quant::precision::Target;
use perilune::sampling::{Sampler, Schedule};
use perilune::telemetry::{Frame, Waiting};
use perilune::units::{Bytes, DeviceId, JobId, RunId, Seed, SessionId, Size, Timestamp};
use perilune::weights::DType;
use perilune::wire::control::Topics;
use perilune::wire::work::{FailedRun, Finished, KeptTexts, Moved, Rebudget, Rebudgeted};
use perilune::wire::{ConvertStatus, ConvertedView, Order, Reply, Report, Request, RunOrder, Status};
use perilune::workflow::{Conversion, Defaults, JobDraft, JobSpec, Kind, Refusal, Wish};
use proptest::prelude::*;

use crate::support::fixtures;

/// Something that may happen.
#[derive(Debug, Clone)]
enum Event {
    Submit {
        device: bool,
        priority: i32,
        /// Whether its network must be converted, and to which of two.
        wish: Option<bool>,
    },
    /// A conversion that was asked for is a step further.
    Convert,
    ConverterDies,
    /// What was converted is gone from the disk.
    CacheIsCleaned,
    Cancel(usize),
    Retry(usize),
    Pause(usize),
    Resume(usize),
    PauseQueue(bool),
    Move(usize, Move),
    Rebudget(usize),
    /// The world does so much of what it was asked for.
    Work(u8),
    /// The engine of a device says its next word.
    Engine(bool),
    EngineFails(bool),
    EngineDies(bool),
    DaemonDies,
    DaemonStops,
    Time(u16),
}

fn event() -> impl Strategy<Value = Event> {
    let place = prop_oneof![Just(Move::Up), Just(Move::Down), Just(Move::First), Just(Move::Last)];
    prop_oneof![
        4 => (any::<bool>(), -1..=1, prop::option::of(any::<bool>()))
            .prop_map(|(device, priority, wish)| Event::Submit { device, priority, wish }),
        6 => Just(Event::Convert),
        1 => Just(Event::ConverterDies),
        1 => Just(Event::CacheIsCleaned),
        1 => (0usize..20).prop_map(Event::Cancel),
        1 => (0usize..20).prop_map(Event::Retry),
        1 => (0usize..20).prop_map(Event::Pause),
        1 => (0usize..20).prop_map(Event::Resume),
        1 => any::<bool>().prop_map(Event::PauseQueue),
        1 => (0usize..20, place).prop_map(|(j, p)| Event::Move(j, p)),
        2 => (0usize..20).prop_map(Event::Rebudget),
        12 => (1u8..6).prop_map(Event::Work),
        10 => any::<bool>().prop_map(Event::Engine),
        1 => any::<bool>().prop_map(Event::EngineFails),
        2 => any::<bool>().prop_map(Event::EngineDies),
        1 => Just(Event::DaemonDies),
        1 => Just(Event::DaemonStops),
        3 => (0u16..700).prop_map(Event::Time),
    ]
}

/// An engine's process, as the world keeps it.
#[derive(Debug, Default)]
struct Engine {
    generation: u64,
    ready: bool,
    run: Option<(RunOrder, u8)>,
    cancelled: bool,
    paused: bool,
    budgets: VecDeque<OffloadAsk>,
}

struct World {
    ledger: Ledger,
    core: Core,
    now: i64,
    /// What the core has asked for and nobody has done yet.
    todo: VecDeque<Output>,
    /// What has happened and the core has not been told yet.
    inbox: VecDeque<Input>,
    engines: BTreeMap<DeviceId, Engine>,
    hidden: HashSet<PathBuf>,
    /// Final names, and how often a picture got each.
    named: HashMap<PathBuf, u32>,
    accepted: Vec<JobId>,
    refused: Vec<String>,
    /// Runs that an engine has been told to do.
    ordered: HashSet<RunId>,
    /// Conversions that a child makes, and how far each is.
    converters: BTreeMap<u64, (Wish, u8)>,
    /// What lies on the disk.
    cache: HashSet<Wish>,
    exited: bool,
    next_ask: u64,
    /// Questions about budgets, to which an engine may know the answer.
    unanswered: HashSet<u64>,
    /// The last snapshot that began a subscription.
    subscribed: Option<Status>,
    /// Later ones, and to whom they went.
    refreshed: Vec<(Vec<SessionId>, Status)>,
}

const DEVICES: [DeviceId; 2] = [DeviceId::Cpu, DeviceId::Cuda(0)];

fn device(second: bool) -> DeviceId {
    DEVICES[usize::from(second)]
}

fn defaults() -> Defaults {
    Defaults {
        steps: Some(1),
        cfg: Some(1.0),
        sampler: Some(Sampler::Euler),
        schedule: Some(Schedule::Normal),
        size: Some(Size::new(64, 64).unwrap()),
        output: "/out".into(),
        compute: DeviceId::Cpu,
        seed: Seed(1),
    }
}

fn policy() -> Policy {
    Policy {
        defaults: defaults(),
        compute: None,
        visible: None,
        patience: Supervision::default(),
        simulated: Vec::new(),
        tally: PathBuf::from("/nowhere"),
        texts: KeptTexts::none(),
        engine_threads: None,
        engine_idle_s: None,
        engine_log: "info".to_owned(),
        conversions_at_once: 1,
        floors: Floors::default(),
        ahead: Vec::new(),
        pid: 1,
    }
}

fn spec(draft: &JobDraft) -> JobSpec {
    let wish = |to: Target| Wish { source: "/m/night".into(), part: Some("denoiser".to_owned()), to };
    JobSpec {
        conversion: draft.precision.clone().map(|to| Conversion { wish: wish(to), result: None }),
        batch: 2,
        output: "/out".into(),
        priority: draft.priority.unwrap_or(0),
        compute: draft.compute_device.unwrap_or(DeviceId::Cpu),
        ..fixtures::spec("night", "")
    }
}

impl World {
    fn new() -> Self {
        let ledger = Ledger::in_memory().unwrap();
        let (core, first) = Core::new(policy(), ledger.recover().unwrap(), Timestamp(0));
        Self {
            ledger,
            core,
            now: 0,
            todo: first.into(),
            inbox: VecDeque::new(),
            engines: BTreeMap::new(),
            hidden: HashSet::new(),
            named: HashMap::new(),
            accepted: Vec::new(),
            refused: Vec::new(),
            ordered: HashSet::new(),
            converters: BTreeMap::new(),
            cache: HashSet::new(),
            exited: false,
            next_ask: 0,
            unanswered: HashSet::new(),
            subscribed: None,
            refreshed: Vec::new(),
        }
    }

    fn tell(&mut self, input: Input) {
        self.todo.extend(self.core.handle(input, Timestamp(self.now)));
    }

    fn ask(&mut self, request: Request) {
        self.next_ask += 1;
        self.tell(Input::Asked(Asker { session: SessionId(1), id: self.next_ask }, request));
    }

    fn job(&self, n: usize) -> Option<JobId> {
        self.accepted.get(n).copied()
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Submit { device: second, priority, wish } => {
                let precision = wish.map(|first| if first { Target::Int8 } else { Target::Nf4 });
                let draft = JobDraft { priority: Some(priority), compute_device: Some(device(second)), precision, ..JobDraft::default() };
                self.ask(Request::Submit(Box::new(draft)));
            }
            Event::Convert => drop(self.converter_goes_on()),
            Event::ConverterDies => {
                if let Some((id, _)) = self.converters.pop_first() {
                    let exit = Exit { how: "was killed by signal 9".to_owned(), log: Vec::new() };
                    self.inbox.push_back(Input::Conversion(id, ConversionHeard::Died(exit)));
                }
            }
            Event::CacheIsCleaned => self.cache.clear(),
            Event::Cancel(n) => self.ask_about(n, |job| Request::Cancel(vec![job])),
            Event::Retry(n) => self.ask_about(n, |job| Request::Retry(vec![job])),
            Event::Pause(n) => self.ask_about(n, |job| Request::Pause { job: Some(job) }),
            Event::Resume(n) => self.ask_about(n, |job| Request::Resume { job: Some(job) }),
            Event::PauseQueue(true) => self.ask(Request::Pause { job: None }),
            Event::PauseQueue(false) => self.ask(Request::Resume { job: None }),
            Event::Move(n, to) => self.ask_about(n, |job| Request::Move { job, to }),
            Event::Rebudget(n) => {
                self.ask_about(n, |job| Request::Rebudget { job, ask: OffloadAsk::default() });
                if self.job(n).is_some() {
                    self.unanswered.insert(self.next_ask);
                }
            }
            Event::Work(n) => {
                for _ in 0..n {
                    self.work();
                }
            }
            Event::Engine(second) => {
                self.engine_goes_on(device(second));
            }
            Event::EngineFails(second) => self.engine_fails(device(second)),
            Event::EngineDies(second) => self.engine_dies(device(second)),
            Event::DaemonDies => self.restart(),
            Event::DaemonStops => {
                self.tell(Input::Stop);
                self.work_until_exit();
                self.restart();
            }
            Event::Time(ms) => self.pass(i64::from(ms)),
        }
    }

    fn ask_about(&mut self, n: usize, request: impl FnOnce(JobId) -> Request) {
        if let Some(job) = self.job(n) {
            self.ask(request(job));
        }
    }

    fn pass(&mut self, ms: i64) {
        self.now += ms;
        if self.core.wake_at().is_some_and(|at| at.0 <= self.now) {
            self.tell(Input::Tick);
        }
    }

    /// Does one thing that was asked for, or tells one thing that happened.
    fn work(&mut self) -> bool {
        if let Some(output) = self.todo.pop_front() {
            self.carry_out(output);
            return true;
        }
        match self.inbox.pop_front() {
            Some(input) => self.tell(input),
            None => return false,
        }
        true
    }

    /// Works until this is what the ledger has to do next.
    fn work_until(&mut self, wanted: impl Fn(&Command) -> bool) {
        while !matches!(self.todo.front(), Some(Output::Ledger { command, .. }) if wanted(command)) {
            assert!(self.work(), "the ledger is never asked");
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Answer(asker, answer) => {
                self.unanswered.remove(&asker.id);
                match answer {
                    Ok(Reply::Accepted(job)) => self.accepted.push(job),
                    Ok(_) => {}
                    Err(refusal) => self.refused.push(refusal.message),
                }
            }
            Output::Prepare { ticket, draft, .. } => self.inbox.push_back(Input::Prepared(ticket, Ok(Box::new(spec(&draft))))),
            Output::Ledger { ticket, command, now } => {
                let answer = self.ledger.run_one(&command, now);
                self.inbox.push_back(Input::Answered(ticket, answer));
            }
            Output::Spawn { device, generation, .. } => {
                self.engines.insert(device, Engine { generation, ..Engine::default() });
                self.hear(device, Heard::Born(7));
            }
            Output::Order { device, order } => self.order(device, *order),
            Output::Kill { device, .. } => self.engine_dies(device),
            Output::Name { run, images } => {
                let mut paths = Vec::new();
                for image in images {
                    if self.hidden.remove(&image.target) {
                        *self.named.entry(image.path.clone()).or_default() += 1;
                    }
                    assert!(self.named.contains_key(&image.path), "{} is lost", image.target.display());
                    paths.push(image.path);
                }
                self.inbox.push_back(Input::Named(run, Ok(paths)));
            }
            Output::Discard(paths) => self.hidden.retain(|hidden| !paths.contains(hidden)),
            Output::LookForConversion { id, wish } => {
                let found = self.cache.contains(&wish).then(|| Box::new(converted(&wish)));
                self.inbox.push_back(Input::Conversion(id, ConversionHeard::Looked(Ok(found))));
            }
            Output::Convert { id, wish } => {
                assert!(self.converters.values().all(|(other, _)| *other != wish), "made twice at once");
                self.converters.insert(id, (wish, 0));
                assert!(self.converters.len() <= 1, "more at once than allowed");
            }
            Output::StopConversion(id) => drop(self.converters.remove(&id)),
            Output::Exit => self.exited = true,
            Output::Subscribe { snapshot, .. } => self.subscribed = Some(*snapshot),
            Output::Refresh { sessions, snapshot } => self.refreshed.push((sessions, *snapshot)),
            Output::Publish(_)
            | Output::Read(..)
            | Output::Watch(_)
            | Output::WatchBus(_)
            | Output::Engines(_)
            | Output::Locate(..)
            | Output::Count
            | Output::LookUp(..) => {}
        }
    }

    fn hear(&mut self, device: DeviceId, heard: Heard) {
        let generation = self.engines[&device].generation;
        self.inbox.push_back(Input::Engine { device, generation, heard });
    }

    fn order(&mut self, device: DeviceId, order: Order) {
        let Some(engine) = self.engines.get_mut(&device) else { return };
        match order {
            Order::Run(order) => {
                assert!(engine.run.is_none(), "an engine got two runs at once");
                if let Some(conversion) = &order.spec.conversion {
                    let files = &order.spec.set.component(Role::Denoiser).unwrap().files;
                    assert_eq!(conversion.result.as_ref(), files.first(), "it does not run what was converted");
                }
                assert!(self.ordered.insert(order.run), "run {} was ordered twice", order.run);
                (engine.run, engine.cancelled) = (Some((*order, 0)), false);
                engine.budgets.clear();
            }
            Order::Cancel(run) => engine.cancelled |= engine.run.as_ref().is_some_and(|(o, _)| o.run == run),
            Order::Pause(_) => engine.paused = true,
            Order::Resume(_) => engine.paused = false,
            Order::Rebudget { run, ask } => {
                if engine.run.as_ref().is_some_and(|(o, _)| o.run == run) {
                    engine.budgets.push_back(*ask);
                }
            }
            Order::Shutdown => self.engine_dies(device),
            Order::Configure(_)
            | Order::Ping(_)
            | Order::Calibrate(_)
            | Order::Load(_)
            | Order::Unload(_)
            | Order::Pin(_)
            | Order::Unpin(_) => {}
        }
    }

    /// A conversion is a step further, if there is one.
    fn converter_goes_on(&mut self) -> bool {
        let Some(mut first) = self.converters.first_entry() else { return false };
        let id = *first.key();
        let (_, step) = first.get_mut();
        *step += 1;
        let heard = if *step < 3 {
            ConversionHeard::Progress { done: Bytes(u64::from(*step)), bytes: Bytes(3) }
        } else {
            let (wish, _) = first.remove();
            self.cache.insert(wish.clone());
            ConversionHeard::Made(Ok(Box::new(converted(&wish))))
        };
        self.inbox.push_back(Input::Conversion(id, heard));
        true
    }

    /// The engine says its next word, if it has one.
    fn engine_goes_on(&mut self, device: DeviceId) -> bool {
        let Some(engine) = self.engines.get_mut(&device) else { return false };
        if !engine.ready {
            engine.ready = true;
            self.hear(device, Heard::Said(Report::Ready { about: String::new() }));
            return true;
        }
        let (paused, cancelled) = (engine.paused, engine.cancelled);
        let Some((order, at)) = &mut engine.run else { return false };
        let run = order.run;
        if let Some(ask) = engine.budgets.pop_front() {
            // One is kept, the next is not.
            let outcome = if *at % 2 == 0 {
                Rebudget::Refused(Refusal::bare(Kind::Refused, "there is no room"))
            } else {
                let plan = OffloadPlan { compute: device, homes: Vec::new() };
                Rebudget::Moved(Moved { plan, shares: Vec::new(), seconds: 0.1 })
            };
            self.hear(device, Heard::Said(Report::Rebudgeted(Box::new(Rebudgeted { run, ask, outcome }))));
            return true;
        }
        *at += 1;
        let report = match *at {
            1 => Report::Started(run),
            2 if paused => Report::Paused(run),
            3 if paused && !cancelled => {
                *at = 2;
                return false;
            }
            3 if cancelled => failed(run, Kind::Interrupted),
            3 => Report::Resumed(run),
            2 => Report::Step { run, step: 1, steps: 1, seconds: 0.1 },
            _ => {
                self.hidden.extend(order.targets.iter().cloned());
                let image =
                    |path: &PathBuf, k| ImageRecord { path: path.clone(), seed: order.spec.seed.of_image(k), width: 64, height: 64 };
                let images = order.targets.iter().zip(0..).map(|(p, k)| image(p, k)).collect();
                let (timing, placement) = (Timing::default(), Placement::default());
                Report::Finished(Box::new(Finished {
                    run,
                    images,
                    timing,
                    placement,
                    precision: String::new(),
                    warnings: Vec::new(),
                    learned: Vec::new(),
                    walk: None,
                }))
            }
        };
        if matches!(report, Report::Finished(_) | Report::Failed(_)) {
            engine.run = None;
        }
        self.hear(device, Heard::Said(report));
        true
    }

    fn engine_fails(&mut self, device: DeviceId) {
        let Some((order, _)) = self.engines.get_mut(&device).and_then(|e| e.run.take()) else { return };
        self.hear(device, Heard::Said(failed(order.run, Kind::Failed)));
    }

    fn engine_dies(&mut self, device: DeviceId) {
        if self.engines.contains_key(&device) {
            self.hear(device, Heard::Died(Exit { how: "was killed by signal 9".to_owned(), log: Vec::new() }));
            self.engines.remove(&device);
        }
    }

    /// The daemon dies: what was asked for and not done is never done, and its engines die with it.
    fn restart(&mut self) {
        self.todo.clear();
        self.inbox.clear();
        self.engines.clear();
        self.converters.clear();
        self.exited = false;
        self.unanswered.clear();
        let (core, first) = Core::new(policy(), self.ledger.recover().unwrap(), Timestamp(self.now));
        self.core = core;
        self.todo = first.into();
    }

    fn work_until_exit(&mut self) {
        for _ in 0..10_000 {
            if self.exited {
                return;
            }
            if !self.work() {
                self.pass(100);
            }
        }
        panic!("the daemon does not end");
    }

    /// Lets everything go on until nothing happens any more.
    fn leave_in_peace(&mut self) {
        self.happen(&Event::PauseQueue(false));
        let mut idle = 0;
        for _ in 0..1_000_000 {
            let mut busy = self.work();
            for device in DEVICES {
                busy |= self.todo.is_empty() && self.inbox.is_empty() && self.engine_goes_on(device);
            }
            busy |= self.todo.is_empty() && self.inbox.is_empty() && self.converter_goes_on();
            // What was held when it was accepted late is let go too.
            if !busy {
                for view in self.all_jobs() {
                    self.ask(Request::Resume { job: Some(view.job) });
                }
                while self.work() {}
                self.pass(1_000);
                idle += 1;
            }
            if idle > 60 {
                return;
            }
        }
        panic!("it never ends");
    }

    /// Everything that a client is told now.
    fn everything(&mut self) -> Status {
        self.next_ask += 1;
        let asker = Asker { session: SessionId(2), id: self.next_ask };
        self.tell(Input::Asked(asker, Request::Subscribe(Topics::default())));
        while self.work() {}
        self.subscribed.take().unwrap()
    }

    fn all_jobs(&mut self) -> Vec<JobView> {
        let list = Command::List { states: Vec::new(), after: None, limit: 10_000 };
        let Answer::Page { rows, .. } = self.ledger.run_one(&list, Timestamp(0)).unwrap() else { panic!("no page") };
        let views = Command::Views { jobs: rows.iter().map(|r| r.job).collect(), unfinished: 0, finished: 0, amiss: None };
        let Answer::Jobs { views, .. } = self.ledger.run_one(&views, Timestamp(0)).unwrap() else { panic!("no jobs") };
        views
    }

    fn check(&mut self) {
        let views = self.all_jobs();
        // A job whose submitter was not answered, because the daemon died, may be there all the same.
        let there: HashSet<JobId> = views.iter().map(|v| v.job).collect();
        assert!(self.accepted.iter().all(|job| there.contains(job)), "a job is lost");
        let mut expected = HashMap::new();
        for view in views {
            assert!(view.state.is_final(), "job {} stays {}: {:?}", view.job, view.state, self.core);
            assert_eq!(view.images.len(), if view.state == JobState::Done { 2 } else { 0 }, "job {}", view.job);
            expected.extend(view.images.into_iter().map(|i| (i.path, 1)));
        }
        assert_eq!(self.named, expected, "a picture is lost, or was made twice");
        assert!(self.hidden.is_empty(), "left behind: {:?}", self.hidden);
        assert!(self.converters.is_empty(), "nobody wants it: {:?}", self.converters);
        assert!(self.unanswered.is_empty(), "asked for a budget and never answered: {:?}", self.unanswered);
    }
}

/// What a conversion becomes.
fn converted(wish: &Wish) -> Converted {
    let output = PathBuf::from(format!("/m/{}", wish.to));
    let component =
        Component { role: Role::Denoiser, precision: DType::U8, bytes: Bytes(1), tensors: 1, files: vec![output.clone()], stored: None };
    let view = ConvertedView {
        source: wish.source.clone(),
        output,
        from: "fp16".to_owned(),
        to: wish.to.name(),
        status: ConvertStatus::Converted,
        reason: None,
        source_bytes: Bytes(2),
        output_bytes: Bytes(1),
        seconds: 1.0,
        tensors: Some(1),
        error: None,
    };
    Converted { view, component: Some(component) }
}

fn failed(run: RunId, kind: Kind) -> Report {
    Report::Failed(Box::new(FailedRun { run, kind, message: "so it was".to_owned(), hint: None, fatal: false }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_job_is_lost_and_none_is_done_twice(events in prop::collection::vec(event(), 0..120)) {
        let mut world = World::new();
        for event in events {
            world.happen(&event);
        }
        world.leave_in_peace();
        world.check();
    }
}

fn jobs(status: &Status) -> Vec<(i64, JobState)> {
    status.queue.jobs.iter().map(|j| (j.job.0, j.state)).collect()
}

#[test]
fn a_snapshot_contains_the_jobs_that_the_ledger_is_being_told_of() {
    let mut world = World::new();
    world.happen(&Event::PauseQueue(true));
    world.happen(&Event::Submit { device: false, priority: 0, wish: None });
    world.work_until(|command| matches!(command, Command::Append { .. }));
    assert_eq!(jobs(&world.everything()), [(1, JobState::Queued)]);
    world.ask(Request::Cancel(vec![JobId(1)]));
    while world.work() {}
    world.ask(Request::Retry(vec![JobId(1)]));
    world.work_until(|command| matches!(command, Command::Retry(_)));
    assert_eq!(jobs(&world.everything()), [(1, JobState::Queued)]);
}

#[test]
fn whoever_subscribes_while_jobs_are_moved_is_told_of_their_new_order() {
    let check = |job: Option<JobId>, before: &[i64], after: &[i64]| {
        let mut world = World::new();
        world.happen(&Event::PauseQueue(true));
        for _ in 0..2 {
            world.happen(&Event::Submit { device: false, priority: 0, wish: None });
        }
        while world.work() {}
        let asker = Asker { session: SessionId(2), id: 1 };
        world.tell(Input::Asked(asker, Request::Subscribe(Topics { job, ..Topics::default() })));
        world.work_until(|command| matches!(command, Command::Views { .. }));
        // The ledger answers, and the answer is on its way.
        world.work();
        world.ask(Request::Move { job: JobId(2), to: Move::First });
        while world.work() {}
        let order = |status: &Status| status.queue.jobs.iter().map(|j| j.job.0).collect::<Vec<_>>();
        assert_eq!(world.subscribed.as_ref().map(order), Some(before.to_vec()));
        let refreshed: Vec<_> = world.refreshed.iter().map(|(sessions, status)| (sessions.clone(), order(status))).collect();
        assert_eq!(refreshed, [(vec![SessionId(2)], after.to_vec())]);
    };
    check(None, &[1, 2], &[2, 1]);
    check(Some(JobId(2)), &[2], &[2]);
}

#[test]
fn jobs_that_need_the_same_share_it_and_others_pass_them() {
    let mut world = World::new();
    for wish in [Some(true), Some(true), None] {
        world.happen(&Event::Submit { device: false, priority: 0, wish });
    }
    while world.work() {}
    let reasons = |world: &mut World| -> Vec<(i64, Option<WaitReason>)> {
        let status = world.everything();
        let mut reasons: Vec<_> = status.queue.jobs.into_iter().map(|j| (j.job.0, j.reason)).collect();
        reasons.sort_by_key(|(job, _)| *job);
        reasons
    };
    let converting = Some(WaitReason::Converting);
    assert_eq!(reasons(&mut world), [(1, converting.clone()), (2, converting), (3, Some(WaitReason::Engine))]);
    assert_eq!(world.converters.len(), 1);
    // The third goes first, since it needs nothing.
    while world.engine_goes_on(DeviceId::Cpu) {
        while world.work() {}
    }
    assert_eq!(world.named.len(), 2);
    assert_eq!(world.everything().conversions.iter().map(|c| (c.running, c.jobs.len())).collect::<Vec<_>>(), [(true, 2)]);
    world.ask(Request::Cancel(vec![JobId(1)]));
    while world.work() {}
    assert_eq!(world.converters.len(), 1, "the other needs it still");
    world.ask(Request::Cancel(vec![JobId(2)]));
    while world.work() {}
    assert!(world.converters.is_empty(), "nobody needs it");
    world.leave_in_peace();
    world.check();
}

#[test]
fn what_fails_or_dies_again_and_again_fails_its_jobs_and_a_retry_tries_again() {
    let mut world = World::new();
    world.happen(&Event::Submit { device: false, priority: 0, wish: Some(true) });
    for _ in 0..3 {
        while world.work() {}
        assert_eq!(world.all_jobs()[0].state, JobState::Queued);
        world.happen(&Event::ConverterDies);
    }
    while world.work() {}
    let failure = world.all_jobs()[0].failure.clone().unwrap();
    assert!(failure.message.ends_with("died 3 times; the last time it was killed by signal 9"), "{failure:?}");
    world.ask(Request::Retry(vec![JobId(1)]));
    world.leave_in_peace();
    world.check();
    assert_eq!(world.all_jobs()[0].state, JobState::Done);
}

#[test]
fn an_engine_that_ends_itself_is_given_nothing_more_and_another_takes_its_place() {
    let mut world = World::new();
    for _ in 0..2 {
        world.happen(&Event::Submit { device: false, priority: 0, wish: None });
    }
    let orders = |world: &World| world.engines.get(&DeviceId::Cpu).and_then(|e| e.run.as_ref()).map(|(order, _)| order.job);
    while orders(&world).is_none() {
        while world.work() {}
        world.engine_goes_on(DeviceId::Cpu);
    }
    let (order, _) = world.engines.get_mut(&DeviceId::Cpu).unwrap().run.take().unwrap();
    let Report::Failed(report) = failed(order.run, Kind::Failed) else { unreachable!("it is what is made") };
    world.hear(DeviceId::Cpu, Heard::Said(Report::Failed(Box::new(FailedRun { fatal: true, ..*report }))));
    while world.work() {}
    let states = |world: &mut World| world.all_jobs().iter().map(|v| (v.state, v.attempts)).collect::<Vec<_>>();
    assert_eq!((orders(&world), states(&mut world)), (None, vec![(JobState::Queued, 0), (JobState::Failed, 1)]));
    world.hear(DeviceId::Cpu, Heard::Died(Exit { how: "exited with status 0".to_owned(), log: Vec::new() }));
    world.engines.remove(&DeviceId::Cpu);
    world.leave_in_peace();
    world.check();
    assert_eq!(states(&mut world), [(JobState::Done, 1), (JobState::Failed, 1)]);
}

#[test]
fn an_end_in_order_costs_no_attempt() {
    let mut world = World::new();
    world.happen(&Event::Submit { device: false, priority: 0, wish: None });
    for _ in 0..40 {
        for _ in 0..30 {
            world.work();
        }
        world.engine_goes_on(DeviceId::Cpu);
        world.happen(&Event::DaemonStops);
    }
    world.leave_in_peace();
    world.check();
    assert_eq!(world.named.len(), 2);
}

#[test]
fn a_job_that_kills_the_daemon_again_and_again_fails_in_the_end() {
    let mut world = World::new();
    world.happen(&Event::Submit { device: false, priority: 0, wish: None });
    for _ in 0..perilune::daemon::recovery::CRASHES + 2 {
        for _ in 0..40 {
            world.work();
        }
        world.engine_goes_on(DeviceId::Cpu);
        for _ in 0..40 {
            world.work();
        }
        world.engine_goes_on(DeviceId::Cpu);
        for _ in 0..40 {
            world.work();
        }
        world.happen(&Event::DaemonDies);
    }
    world.leave_in_peace();
    world.check();
    assert!(world.named.is_empty());
    world.pass(Duration::from_secs(1).as_millis() as i64);
}

#[test]
fn only_starts_that_have_failed_count_and_only_for_their_device() {
    let mut world = World::new();
    for second in [true, false] {
        world.happen(&Event::Submit { device: second, priority: 0, wish: None });
    }
    while world.work() {}
    // Nobody calls a start failed that takes a day.
    world.pass(86_400_000);
    while world.work() {}
    assert!(world.all_jobs().iter().all(|v| v.state == JobState::Queued));
    for tries in 1..=perilune::daemon::state::FAILED_STARTS {
        assert!(world.all_jobs().iter().all(|v| v.state == JobState::Queued), "after {tries} tries");
        world.engine_dies(DeviceId::Cpu);
        while world.work() {}
        world.pass(30_000);
        while world.work() {}
    }
    let states: Vec<(DeviceId, JobState)> = world.all_jobs().iter().map(|v| (v.spec.compute, v.state)).collect();
    assert_eq!(states, [(DeviceId::Cuda(0), JobState::Queued), (DeviceId::Cpu, JobState::Failed)]);
    assert!(!world.engines.contains_key(&DeviceId::Cpu), "nobody wants it any more");
    world.ask(Request::Retry(vec![JobId(2)]));
    world.leave_in_peace();
    assert!(world.all_jobs().iter().all(|v| v.state == JobState::Done));
}

#[test]
fn sensors_are_asked_only_when_somebody_looks() {
    let mut world = World::new();
    let mut watched = |input: Input| {
        let mut seen = Vec::new();
        world.todo.extend(world.core.handle(input, Timestamp(0)));
        while let Some(output) = world.todo.pop_front() {
            match output {
                Output::Watch(watched) => seen.push(format!("watch {watched}")),
                Output::Read(..) => seen.push("read".to_owned()),
                other => world.carry_out(other),
            }
            if world.todo.is_empty()
                && let Some(input) = world.inbox.pop_front()
            {
                world.todo.extend(world.core.handle(input, Timestamp(0)));
            }
        }
        seen
    };
    let asker = |session| Asker { session: SessionId(session), id: 1 };
    let subscribe = |session, topics| Input::Asked(asker(session), Request::Subscribe(topics));
    assert_eq!(watched(Input::Asked(asker(1), Request::Devices)), ["read"]);
    assert_eq!(watched(subscribe(1, Topics::default())), ["watch true"]);
    assert_eq!(watched(subscribe(2, Topics::default())), [""; 0]);
    assert_eq!(watched(Input::Left(SessionId(1))), [""; 0]);
    assert_eq!(watched(Input::Left(SessionId(2))), ["watch false"]);
}

#[test]
fn a_gpu_that_nobody_can_see_gets_no_job() {
    let mut world = World::new();
    let cpu = DeviceReading::unknown(DeviceId::Cpu, DeviceKind::Cpu, "sysinfo");
    let frame = Frame { devices: vec![cpu], ..Frame::empty(Timestamp(0)) };
    world.tell(Input::Readings(Arc::new(frame)));
    for second in [false, true] {
        world.happen(&Event::Submit { device: second, priority: 0, wish: None });
    }
    while world.work() {}
    assert_eq!((world.accepted.len(), world.refused.as_slice()), (1, &["there is no device cuda:0".to_owned()][..]));
}

/// The disks answer first, then the host, and a driver that wakes its GPUs up last.
#[test]
fn before_all_sources_have_answered_every_device_may_be_there() {
    let mut world = World::new();
    let disk = DeviceReading::unknown(DeviceId::Disk, DeviceKind::Disk, "statvfs");
    let late = Waiting { source: "nvml".to_owned(), for_s: 0.1 };
    let frame = Frame { devices: vec![disk], waiting: vec![late], ..Frame::empty(Timestamp(0)) };
    world.tell(Input::Readings(Arc::new(frame)));
    for second in [false, true] {
        world.happen(&Event::Submit { device: second, priority: 0, wish: None });
    }
    while world.work() {}
    assert_eq!((world.accepted.len(), world.refused.len()), (2, 0), "{:?}", world.refused);
}

/// A daemon is often started for its first job, before any driver has answered.
#[test]
fn the_first_job_waits_for_the_first_readings_and_then_goes_to_a_gpu_that_is_well() {
    let gpu = |n: u16, mig: bool, lost: bool| {
        let mut gpu = DeviceReading::unknown(DeviceId::Cuda(n), DeviceKind::Cuda, "nvml");
        gpu.mig = mig;
        if lost {
            gpu.health = Health::Lost { reason: "fell off the bus".to_owned(), for_s: 1.0 };
        }
        gpu
    };
    let check = |devices: Vec<DeviceReading>, expected: DeviceId| {
        let mut world = World::new();
        while world.work() {}
        world.ask(Request::Submit(Box::default()));
        let Some(Output::Read(ticket, _)) = world.todo.pop_front() else { panic!("the devices are not read") };
        assert!(world.todo.is_empty(), "{:?}", world.todo);
        let frame = Frame { devices, ..Frame::empty(Timestamp(0)) };
        world.tell(Input::Read(ticket, Arc::new(frame)));
        let Some(Output::Prepare { defaults, .. }) = world.todo.pop_front() else { panic!("the draft is not looked at") };
        assert_eq!(defaults.compute, expected);
    };
    check(vec![gpu(0, false, false), gpu(1, false, false)], DeviceId::Cuda(0));
    check(vec![gpu(0, false, true), gpu(1, false, false)], DeviceId::Cuda(1));
    check(vec![gpu(0, true, false)], DeviceId::Cpu);
    check(Vec::new(), DeviceId::Cpu);
}
