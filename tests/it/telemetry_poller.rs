//! The poller: whole frames, no reader ever waits for a source, nothing is read for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use perilune::devices::{DeviceKind, DeviceReading, GpuProblem, HostReading};
use perilune::telemetry::{Ask, Frame, Poller, Probe, Sample, Sources};
use perilune::units::{Clock, DeviceId, ManualClock, SystemClock, Timestamp};

use crate::support::nvml_stub::NvmlStub;
use crate::support::wait::{PATIENCE, within};

/// A source that answers at once, or only when it is let.
struct Scripted {
    name: &'static str,
    id: DeviceId,
    reads: Arc<AtomicUsize>,
    /// Readings that were begun, of all sources.
    begun: Arc<AtomicUsize>,
    asks: Arc<Mutex<Vec<Ask>>>,
    /// Where present, each reading waits for a word.
    gate: Option<Receiver<()>>,
}

impl Probe for Scripted {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&mut self, _now: Timestamp, ask: &Ask) -> Sample {
        self.begun.fetch_add(1, Ordering::SeqCst);
        if let Some(gate) = &self.gate {
            // A closed gate means that the test is over.
            gate.recv().unwrap_or_default();
        }
        self.asks.lock().unwrap().push(ask.clone());
        let reads = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let mut row = DeviceReading::unknown(self.id, DeviceKind::Cuda, self.name);
        row.temperature_c = Some(reads as f64);
        Sample { devices: vec![row], host: HostReading::default() }
    }

    fn silence(&self) -> Option<GpuProblem> {
        Some(GpuProblem { cause: format!("{} is silent", self.name), hint: "wait".to_owned(), is_absent: false })
    }
}

/// A poller of scripted sources on a clock that stands still, and what its sink was given.
struct Bench {
    /// First, so that it opens before the poller ends.
    gate: Sender<()>,
    poller: Poller,
    clock: Arc<ManualClock>,
    reads: BTreeMap<&'static str, Arc<AtomicUsize>>,
    begun: Arc<AtomicUsize>,
    asks: Arc<Mutex<Vec<Ask>>>,
    frames: Arc<Mutex<Vec<Arc<Frame>>>>,
}

impl Bench {
    /// One prompt source, `host`, and one, `nvml`, that answers only when let.
    fn new(interval: Duration) -> Self {
        let (gate, closed) = channel();
        let asks = Arc::default();
        let begun = Arc::default();
        let mut reads = BTreeMap::new();
        let mut probe = |name, id, gate| {
            let count: Arc<AtomicUsize> = Arc::default();
            reads.insert(name, Arc::clone(&count));
            Box::new(Scripted { name, id, reads: count, begun: Arc::clone(&begun), asks: Arc::clone(&asks), gate }) as Box<dyn Probe>
        };
        let probes = vec![probe("nvml", DeviceId::Cuda(0), Some(closed)), probe("host", DeviceId::Cpu, None)];
        let clock = Arc::new(ManualClock::at(Timestamp(1_000_000)));
        let frames: Arc<Mutex<Vec<Arc<Frame>>>> = Arc::default();
        let sink = Arc::clone(&frames);
        let poller =
            Poller::start(probes, interval, Arc::clone(&clock) as Arc<dyn Clock>, move |frame| sink.lock().unwrap().push(frame)).unwrap();
        Self { gate, poller, clock, reads, begun, asks, frames }
    }

    fn reads(&self, name: &str) -> usize {
        self.reads[name].load(Ordering::SeqCst)
    }

    fn let_nvml_answer(&self) {
        self.gate.send(()).unwrap();
    }

    fn frame(&self, cond: impl Fn(&Frame) -> bool) -> Arc<Frame> {
        assert!(within(PATIENCE, || cond(&self.poller.latest())), "never came: {:?}", self.poller.latest());
        self.poller.latest()
    }
}

fn ids(frame: &Frame) -> Vec<String> {
    frame.devices.iter().map(|d| d.id.to_string()).collect()
}

fn waiting(frame: &Frame) -> Vec<&str> {
    frame.waiting.iter().map(|w| w.source.as_str()).collect()
}

#[test]
fn the_first_frame_has_the_host_and_says_what_is_missing() {
    let bench = Bench::new(Duration::from_hours(1));
    let frame = bench.frame(|f| !f.devices.is_empty());
    assert_eq!((ids(&frame), waiting(&frame)), (vec!["cpu".to_owned()], vec!["nvml"]));
    bench.let_nvml_answer();
    let frame = bench.frame(|f| f.devices.len() == 2);
    assert_eq!((ids(&frame), waiting(&frame)), (vec!["cuda:0".to_owned(), "cpu".to_owned()], vec![]));
    let rows = || bench.frames.lock().unwrap().iter().map(|f| f.devices.len()).collect::<Vec<_>>();
    assert!(within(PATIENCE, || rows().len() == 2));
    assert_eq!(rows(), [1, 2], "the sink got both, and no empty one");
}

#[test]
fn a_source_that_hangs_costs_age_and_nobody_waits_for_it() {
    let bench = Bench::new(Duration::from_millis(250));
    bench.let_nvml_answer();
    bench.frame(|f| f.devices.len() == 2);
    bench.poller.watch(true);
    assert!(within(PATIENCE, || bench.reads("host") >= 3), "the other source goes on");

    bench.clock.advance(Duration::from_secs(2));
    let frame = bench.frame(|f| f.devices[0].age_s >= 2.0);
    assert!(!frame.devices[0].stale);
    bench.clock.advance(Duration::from_secs(2));
    let frame = bench.frame(|f| f.devices[0].stale);
    assert!(frame.devices[0].temperature_c == Some(1.0), "the last value is kept");
    assert_eq!(frame.host.gpu_problem.as_ref().map(|p| p.cause.as_str()), Some("nvml is silent"));
    assert!(frame.waiting[0].for_s > 3.0 && frame.waiting[0].source == "nvml");
    assert!(within(PATIENCE, || bench.frames.lock().unwrap().iter().any(|f| f.devices[0].stale)), "the sink does not hear of it");

    bench.let_nvml_answer();
    let frame = bench.frame(|f| f.devices[0].temperature_c == Some(2.0));
    assert_eq!(frame.host.gpu_problem, None);
}

#[test]
fn nothing_is_read_for_nobody_but_whoever_insists_gets_a_fresh_reading() {
    let bench = Bench::new(Duration::from_millis(250));
    bench.let_nvml_answer();
    bench.frame(|f| f.devices.len() == 2);
    bench.clock.advance(Duration::from_mins(1));
    let idle = bench.poller.latest();
    assert!(idle.devices.iter().all(|d| d.stale && d.age_s >= 60.0), "old values say how old they are");

    bench.let_nvml_answer();
    let fresh = bench.poller.read_now(PATIENCE);
    assert_eq!((bench.reads("nvml"), bench.reads("host")), (2, 2), "read once at the start and once now");
    assert!(fresh.devices.iter().all(|d| !d.stale && d.age_s == 0.0 && d.temperature_c == Some(2.0)), "{fresh:?}");

    bench.poller.watch(true);
    assert!(within(PATIENCE, || bench.reads("host") >= 5));
}

#[test]
fn a_fresh_reading_does_not_wait_past_its_deadline() {
    let bench = Bench::new(Duration::from_hours(1));
    bench.frame(|f| f.devices.len() == 1);
    let begun = Instant::now();
    let frame = bench.poller.read_now(Duration::from_millis(50));
    assert!(begun.elapsed() >= Duration::from_millis(50) && begun.elapsed() < PATIENCE);
    assert_eq!(ids(&frame), ["cpu"]);
    assert!(waiting(&frame).contains(&"nvml"));
}

#[test]
fn a_tick_makes_one_frame() {
    let bench = Bench::new(Duration::from_millis(250));
    // The gated source is let go on for as long as this test can last.
    for _ in 0..10_000 {
        bench.let_nvml_answer();
    }
    bench.poller.watch(true);
    // On a busy machine an answer may come late and make a frame of its own, so three frames in a row are looked for.
    let readings =
        || bench.frames.lock().unwrap().iter().map(|f| f.devices.iter().map(|d| d.temperature_c).collect()).collect::<Vec<Vec<_>>>();
    let next = |row: &Vec<Option<f64>>| row.iter().map(|reads| reads.map(|reads| reads + 1.0)).collect::<Vec<_>>();
    let whole = |three: &[Vec<Option<f64>>]| three[0].len() == 2 && three[1] == next(&three[0]) && three[2] == next(&three[1]);
    assert!(within(PATIENCE, || readings().windows(3).any(whole)), "{:?}", readings());
}

#[test]
fn sources_are_told_what_readers_want() {
    let bench = Bench::new(Duration::from_hours(1));
    bench.frame(|f| !f.devices.is_empty());
    bench.poller.set_engines(BTreeSet::from([42]));
    bench.poller.watch_bus(BTreeSet::from([DeviceId::Cuda(1)]));
    bench.let_nvml_answer();
    bench.let_nvml_answer();
    let frame = bench.poller.read_now(PATIENCE);
    assert_eq!(waiting(&frame), Vec::<&str>::new());
    let last = bench.asks.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, Ask { engines: BTreeSet::from([42]), bus: BTreeSet::from([DeviceId::Cuda(1)]) });
}

#[test]
fn it_ends_clean_and_leaves_behind_only_what_hangs() {
    let bench = Bench::new(Duration::from_millis(250));
    bench.let_nvml_answer();
    bench.frame(|f| f.devices.len() == 2);
    assert_eq!(bench.poller.stop(), Vec::<&str>::new());

    let hanging = Bench::new(Duration::from_millis(250));
    assert!(within(PATIENCE, || hanging.begun.load(Ordering::SeqCst) == 2));
    assert_eq!(hanging.poller.stop(), ["nvml"]);
}

/// The whole way: the real sources, the real binding, a library that hangs in the middle of a query.
#[test]
fn readers_are_answered_while_the_driver_hangs() {
    let stub = NvmlStub::new();
    let sys = tempfile::tempdir().unwrap();
    let sources =
        Sources { nvml: Some(stub.library()), sys: sys.path().to_owned(), disks: vec![PathBuf::from("/")], simulated: Vec::new() };
    let poller = Poller::start(sources.probes(), Duration::from_millis(250), Arc::new(SystemClock), |_| {}).unwrap();
    poller.watch(true);
    let gpu = |frame: &Frame| frame.devices.iter().find(|d| d.id == DeviceId::Cuda(0)).cloned();
    assert!(within(PATIENCE, || gpu(&poller.latest()).is_some()));
    assert_eq!(ids(&poller.read_now(PATIENCE)), ["cuda:0", "cuda:1", "cpu", "disk"]);

    stub.set("0.stall", 1);
    let host = |frame: &Frame| frame.devices.iter().find(|d| d.id == DeviceId::Cpu).cloned();
    let hung = |frame: &Frame| gpu(frame).unwrap().age_s > 0.6 && waiting(frame).contains(&"nvml") && host(frame).unwrap().age_s < 0.3;
    assert!(within(PATIENCE, || hung(&poller.latest())), "the reading does not age, or the host is not read any more");
    for _ in 0..1000 {
        let begun = Instant::now();
        assert!(gpu(&poller.latest()).is_some());
        assert!(begun.elapsed() < Duration::from_secs(2), "a reader waited for the driver");
    }

    stub.unset("0.stall");
    assert!(within(PATIENCE, || gpu(&poller.latest()).unwrap().age_s < 0.3), "the reading is not renewed");
    assert_eq!(poller.stop(), Vec::<&str>::new());
}
