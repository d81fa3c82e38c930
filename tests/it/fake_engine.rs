//! An engine that only pretends: it speaks the protocol, writes small real pictures, and misbehaves on demand.
//!
//! What it does is said by a JSON file that its environment names in `PERILUNE_FAKE_ENGINE`, read anew
//! for each run, or beside it as `perilune-fake-engine.json`. Jobs can say it too: a prompt that is a
//! JSON object is the script of its run.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "it is made to fail")]
#![expect(clippy::disallowed_methods, reason = "a test double is told what to do through its environment")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "libraries print, so the double does")]

use std::collections::{HashSet, VecDeque};
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use perilune::families::Role;
use perilune::families::cost::Work;
use perilune::gallery;
use perilune::jobs::{ImageRecord, Phase, Placement, Timing};
use perilune::library::Network;
use perilune::placement::{Finding, OffloadAsk, OffloadPlan, Predicted, Sample, Share, Walk};
use perilune::units::{Bytes, RunId};
use perilune::wire::hello::HelloFrame;
use perilune::wire::status::PartView;
use perilune::wire::work::{CALIBRATION, CalibrateOrder, FailedRun, Finished, LoadedSet, Memory, Moved, Placed, Rebudget, Rebudgeted};
use perilune::wire::{Hello, Limit, Order, Report, RunOrder, blocking};
use perilune::workflow::{JobSpec, Kind, Refusal, SetId};
use serde::Deserialize;

/// How a calibration ends.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Calibration {
    Succeeds,
    Fails,
    Dies,
    Hangs,
}

/// How to behave.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a way to misbehave or not")]
struct Script {
    /// Milliseconds that each step takes.
    step_ms: u64,
    /// Fail after this many steps, with this kind and message.
    fail: Option<(u32, Kind, String)>,
    /// Kill itself with this signal after this many steps.
    die: Option<(u32, i32)>,
    /// Do so only in the first attempt at a job: a file with its number is left in this folder.
    die_once_in: Option<PathBuf>,
    /// Exit with this status instead of greeting.
    exit_at_start: Option<i32>,
    /// Greet as another build.
    wrong_hello: bool,
    /// Never say that it is ready.
    never_ready: bool,
    /// Milliseconds until it says that it is ready, during which it answers nothing.
    ready_after_ms: u64,
    /// After this many steps, do nothing more, and ignore cancellation.
    hang: Option<u32>,
    /// Answer no pings once a run has begun.
    deaf: bool,
    /// After this many steps, send bytes that are no frame.
    garbage: Option<u32>,
    /// After this many steps, announce a frame of 4 GiB.
    boast: Option<u32>,
    /// Write this many lines to standard error at the start of a run.
    chatter: u32,
    /// Ignore the order to end.
    stubborn: bool,
    /// Report one picture less than was asked for.
    forget_a_picture: bool,
    /// Move no weights, for this reason.
    immovable: Option<String>,
    /// Say this at the start of a run, at this level.
    notice: Option<(String, String)>,
    /// Add the run's number to this file when the pictures are written.
    tally: Option<PathBuf>,
    /// Have found out this about the machine.
    learned: Vec<Finding>,
    /// How a calibration ends.
    calibration: Calibration,
    /// Call itself so.
    about: Option<String>,
    /// Have computed so many seconds in each walk.
    walk_s: Option<f64>,
    /// Tell of the parts of sets, too; those of the same files are one copy.
    holds_parts: bool,
    /// Compute with those parts where they lie in the page cache.
    maps_parts: bool,
    /// Load no set, for this reason.
    unloadable: Option<String>,
    /// Hold so much of simulated GPUs.
    simulated: Vec<Share>,
    /// Have expected this of a step.
    predicted: Option<Predicted>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            step_ms: 1,
            fail: None,
            die: None,
            die_once_in: None,
            exit_at_start: None,
            wrong_hello: false,
            never_ready: false,
            ready_after_ms: 0,
            hang: None,
            deaf: false,
            garbage: None,
            boast: None,
            chatter: 0,
            stubborn: false,
            forget_a_picture: false,
            immovable: None,
            notice: None,
            tally: None,
            learned: Vec::new(),
            calibration: Calibration::Succeeds,
            about: None,
            holds_parts: false,
            maps_parts: false,
            unloadable: None,
            simulated: Vec::new(),
            walk_s: None,
            predicted: None,
        }
    }
}

impl Script {
    fn read() -> Self {
        let beside = std::env::current_exe().unwrap().with_file_name("perilune-fake-engine.json");
        let path = std::env::var_os("PERILUNE_FAKE_ENGINE").map_or(beside, PathBuf::from);
        std::fs::read(path).map_or_else(|_| Self::default(), |text| serde_json::from_slice(&text).expect("a script"))
    }

    fn of(order: &RunOrder) -> Self {
        if order.spec.prompt.starts_with('{') { serde_json::from_str(&order.spec.prompt).expect("a script") } else { Self::read() }
    }
}

/// What the reader has heard and the run must know.
#[derive(Default)]
struct Signals {
    cancelled: Mutex<HashSet<RunId>>,
    paused: Mutex<HashSet<RunId>>,
    budgets: Mutex<VecDeque<(RunId, OffloadAsk)>>,
    deaf: AtomicBool,
    /// Loaded sets, the one that was used last first.
    sets: Mutex<Vec<LoadedSet>>,
    /// Parts that were ever loaded; their places are the numbers of their copies.
    copies: Mutex<Vec<(Role, Vec<PathBuf>)>>,
}

impl Signals {
    /// Has a set loaded, and says what is there then.
    fn load(&self, spec: &JobSpec, script: &Script) -> Report {
        let parts = spec.set.components.iter().filter(|_| script.holds_parts).map(|part| PartView {
            role: part.role,
            copy: self.copy(part.role, &part.files),
            precision: "fp32".to_owned(),
            planned: part.bytes,
            bytes: part.bytes,
            cached: if script.maps_parts { part.bytes } else { Bytes::ZERO },
            device: spec.compute,
        });
        let set = LoadedSet {
            id: SetId::of_job(spec),
            name: spec.set.name.clone(),
            family: spec.set.family.name().to_owned(),
            parts: parts.collect(),
            placed: script.maps_parts.then(|| Box::new(placed(spec))),
        };
        let mut sets = self.sets.lock().unwrap();
        sets.retain(|other| other.id != set.id);
        sets.insert(0, set);
        memory(&sets, script)
    }

    fn copy(&self, role: Role, files: &[PathBuf]) -> u64 {
        let mut copies = self.copies.lock().unwrap();
        let known = copies.iter().position(|(of, at)| *of == role && at == files);
        let at = known.unwrap_or_else(|| {
            copies.push((role, files.to_vec()));
            copies.len() - 1
        });
        at as u64
    }

    fn unload(&self, set: &SetId) -> Report {
        let mut sets = self.sets.lock().unwrap();
        sets.retain(|other| other.id != *set);
        memory(&sets, &Script::read())
    }
}

/// All blocks of a network where it is computed.
fn placed(spec: &JobSpec) -> Placed {
    let files = spec.set.component(Role::Denoiser).unwrap().files.clone();
    let homes = vec![spec.compute; Network::read(&files).unwrap().table.blocks().len()];
    Placed {
        files,
        precision: spec.computes_in(),
        ask: spec.offload.clone(),
        plan: OffloadPlan { compute: spec.compute, homes },
        staging: None,
    }
}

fn memory(sets: &[LoadedSet], script: &Script) -> Report {
    Report::Memory(Memory { sets: sets.to_vec(), activations: Some(Bytes::mib(1)), simulated: script.simulated.clone() })
}

fn main() {
    gallery::survive_limits().unwrap();
    let script = Script::read();
    if let Some(status) = script.exit_at_start {
        eprintln!("cannot load libtorch, says the fake");
        std::process::exit(status);
    }
    let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
    let mut reader = socket.try_clone().unwrap();
    let (tell, reports) = channel();
    let mut hello = Hello::ours();
    if script.wrong_hello {
        "0.0.1+feed".clone_into(&mut hello.hello.build);
    }
    let mut writer = socket;
    blocking::write(&mut writer, &hello, Limit::CONTROL).unwrap();
    let Ok(Some(HelloFrame { .. })) = blocking::read(&mut reader, Limit::CONTROL) else { return };
    let raw = writer.try_clone().unwrap();
    thread::spawn(move || write(writer, &reports));
    let signals = Arc::new(Signals::default());
    let (give, runs) = channel();
    let heard = signals.clone();
    let report = tell.clone();
    thread::spawn(move || {
        listen(reader, &heard, &give, &report);
        // The daemon is gone, or wants us gone.
        std::process::exit(0);
    });
    for order in runs {
        run(&order, &tell, &signals, &raw);
    }
    thread::park();
}

fn write(mut to: UnixStream, reports: &Receiver<Report>) {
    for report in reports {
        if blocking::write(&mut to, &report, Limit::CONTROL).is_err() {
            std::process::exit(0);
        }
    }
}

fn listen(mut from: UnixStream, signals: &Signals, give: &Sender<RunOrder>, tell: &Sender<Report>) {
    while let Ok(Some(order)) = blocking::read::<Order>(&mut from, Limit::CONTROL) {
        match order {
            Order::Configure(configure) => {
                println!("fake engine for {}", configure.device);
                thread::sleep(Duration::from_millis(Script::read().ready_after_ms));
                let Script { never_ready, about, .. } = Script::read();
                if !never_ready {
                    tell.send(Report::Ready { about: about.unwrap_or_else(|| "fake engine".to_owned()) }).unwrap();
                }
            }
            Order::Run(order) => give.send(*order).unwrap(),
            Order::Calibrate(order) => calibrate(&order, tell),
            Order::Load(order) => {
                let script = Script::of(&order);
                let failed = |message: String| {
                    let hint = Some("ask the fake".to_owned());
                    Box::new(FailedRun { run: order.run, kind: Kind::Refused, message, hint, fatal: false })
                };
                let failure = script.unloadable.clone().map(failed);
                if failure.is_none() {
                    tell.send(signals.load(&order.spec, &script)).unwrap();
                }
                tell.send(Report::Loaded { run: order.run, failure }).unwrap();
            }
            Order::Unload(set) => {
                tell.send(signals.unload(&set)).unwrap();
                tell.send(Report::Unloaded { set, refusal: None }).unwrap();
            }
            Order::Pin(_) | Order::Unpin(_) => {}
            Order::Cancel(CALIBRATION) => tell.send(calibrated(Some("cancelled"))).unwrap(),
            Order::Cancel(run) => drop(signals.cancelled.lock().unwrap().insert(run)),
            Order::Pause(run) => drop(signals.paused.lock().unwrap().insert(run)),
            Order::Resume(run) => drop(signals.paused.lock().unwrap().remove(&run)),
            Order::Rebudget { run, ask } => signals.budgets.lock().unwrap().push_back((run, *ask)),
            Order::Ping(n) => {
                if !signals.deaf.load(Ordering::SeqCst) {
                    tell.send(Report::Pong(n)).unwrap();
                }
            }
            Order::Shutdown if Script::read().stubborn => {}
            Order::Shutdown => return,
        }
    }
}

fn run(order: &RunOrder, tell: &Sender<Report>, signals: &Signals, raw: &UnixStream) {
    let script = Script::of(order);
    let run = order.run;
    let say = |report| tell.send(report).unwrap();
    let fail = |kind, message: &str| {
        let message = message.to_owned();
        say(Report::Failed(Box::new(FailedRun { run, kind, message, hint: Some("ask the fake".to_owned()), fatal: false })));
    };
    for n in 0..script.chatter {
        eprintln!("line {n} of run {run}");
    }
    signals.deaf.store(script.deaf, Ordering::SeqCst);
    say(Report::Started(run));
    if let Some((level, text)) = script.notice.clone() {
        say(Report::Notice { run, level, text });
    }
    say(Report::Phase { run, phase: Phase::Loading });
    say(signals.load(&order.spec, &script));
    say(Report::Phase { run, phase: Phase::Sampling });
    for step in 0..=order.spec.steps {
        misbehave(&script, step, order, raw);
        if script.fail.as_ref().is_some_and(|(at, ..)| *at == step) {
            let (_, kind, message) = script.fail.clone().unwrap();
            return fail(kind, &message);
        }
        rebudget(&script, order, tell, signals);
        if signals.paused.lock().unwrap().contains(&run) {
            say(Report::Paused(run));
            while signals.paused.lock().unwrap().contains(&run) && !signals.cancelled.lock().unwrap().contains(&run) {
                rebudget(&script, order, tell, signals);
                thread::sleep(Duration::from_millis(1));
            }
            say(Report::Resumed(run));
        }
        if signals.cancelled.lock().unwrap().contains(&run) {
            return fail(Kind::Interrupted, "cancelled");
        }
        if step == order.spec.steps {
            break;
        }
        thread::sleep(Duration::from_millis(script.step_ms));
        say(Report::Step { run, step: step + 1, steps: order.spec.steps, seconds: script.step_ms as f64 / 1000.0 });
    }
    say(Report::Phase { run, phase: Phase::Saving });
    let mut images = Vec::new();
    for (target, k) in order.targets.iter().zip(0..) {
        if let Err(error) = gallery::write_temp(target, &picture()) {
            order.targets.iter().for_each(|t| gallery::discard(t));
            return fail(Kind::Failed, &error.to_string());
        }
        images.push(ImageRecord { path: target.clone(), seed: order.spec.seed.of_image(k), width: 8, height: 8 });
    }
    if script.forget_a_picture {
        images.pop();
    }
    if let Some(tally) = &script.tally {
        use std::io::Write;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(tally).unwrap();
        writeln!(file, "{} {run}", order.job).unwrap();
    }
    say(Report::Finished(Box::new(finished(&script, order, images))));
}

/// Says of each new budget that it is kept, or why not. Nothing is there that could move.
fn rebudget(script: &Script, order: &RunOrder, tell: &Sender<Report>, signals: &Signals) {
    while let Some((run, ask)) = signals.budgets.lock().unwrap().pop_front() {
        let compute = order.spec.compute;
        let outcome = match &script.immovable {
            Some(reason) => Rebudget::Refused(Refusal::new(Kind::Refused, reason, "ask the fake")),
            None => Rebudget::Moved(Moved {
                plan: OffloadPlan { compute, homes: Vec::new() },
                shares: vec![Share { device: compute, bytes: order.spec.set.bytes() }],
                seconds: 0.25,
            }),
        };
        tell.send(Report::Rebudgeted(Box::new(Rebudgeted { run, ask, outcome }))).unwrap();
    }
}

fn misbehave(script: &Script, step: u32, order: &RunOrder, raw: &UnixStream) {
    if script.die.is_some_and(|(at, _)| at == step) && first_time(script, order) {
        eprintln!("the fake dies at step {step}");
        let signal = rustix::process::Signal::from_named_raw(script.die.unwrap().1).unwrap();
        rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
        thread::park();
    }
    if script.garbage == Some(step) {
        use std::io::Write;
        let mut raw = raw;
        raw.write_all(b"\0\0\0\x05hello").unwrap();
    }
    if script.boast == Some(step) {
        use std::io::Write;
        let mut raw = raw;
        raw.write_all(&[0xff; 4]).unwrap();
    }
    if script.hang == Some(step) {
        thread::park();
    }
}

fn first_time(script: &Script, order: &RunOrder) -> bool {
    let Some(folder) = &script.die_once_in else { return true };
    std::fs::File::create_new(folder.join(format!("died-{}", order.job))).is_ok()
}

fn finished(script: &Script, order: &RunOrder, images: Vec<ImageRecord>) -> Finished {
    let share = Share { device: order.spec.compute, bytes: order.spec.set.bytes() };
    let placement = Placement { asked: vec![share], measured: vec![share], predicted: script.predicted.clone(), ..Placement::default() };
    let walk = walk(order);
    let step = script.walk_s.zip(walk).map(|(seconds, walk)| Finding::Step(Sample { walk, seconds, beyond: None }));
    let learned = script.learned.iter().copied().chain(step).collect();
    let timing = Timing { total: 0.5, sample: 0.25, per_step: vec![0.01], ..Timing::default() };
    Finished { run: order.run, images, timing, placement, precision: "fp32".to_owned(), warnings: Vec::new(), learned, walk }
}

/// Finds what the script says; with a network, the steps of it too.
fn calibrate(order: &CalibrateOrder, tell: &Sender<Report>) {
    let script = Script::read();
    for finding in &script.learned {
        tell.send(Report::Found(*finding)).unwrap();
    }
    match script.calibration {
        Calibration::Succeeds => {
            if let (Some(seconds), Ok(network)) = (script.walk_s, Network::read(&order.network)) {
                let walk = network.walk(Work::of("64x64".parse().unwrap(), 1, 1.0, 1));
                tell.send(Report::Found(Finding::Step(Sample { walk, seconds, beyond: None }))).unwrap();
            }
            tell.send(calibrated(None)).unwrap();
        }
        Calibration::Fails => tell.send(calibrated(Some("the fake cannot measure"))).unwrap(),
        Calibration::Dies => std::process::exit(3),
        Calibration::Hangs => {}
    }
}

fn calibrated(failure: Option<&str>) -> Report {
    let failed = |message: &str| FailedRun {
        run: CALIBRATION,
        kind: Kind::Failed,
        message: message.to_owned(),
        hint: Some("ask the fake".to_owned()),
        fatal: false,
    };
    Report::Calibrated(failure.map(failed).map(Box::new))
}

/// What the real engine would walk through.
fn walk(order: &RunOrder) -> Option<Walk> {
    let network = Network::read(&order.spec.set.component(Role::Denoiser)?.files).ok()?;
    Some(network.walk(order.spec.work()))
}

/// Eight by eight pixels of night.
fn picture() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(8, 8, image::Rgb([8, 8, 40])).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
