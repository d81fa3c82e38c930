//! A real engine process with this test as its daemon.

use std::fs;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use perilune::devices::SimulatedGpu;
use perilune::families::{Component, Habits, describe};
use perilune::imagery::KeptLatent;
use perilune::imagery::latent::kept;
use perilune::library::{Roots, open, vocabulary};
use perilune::placement::{Floors, OffloadAsk, PartAsks};
use perilune::sampling::{Prediction, Sampler, Schedule};
use perilune::units::{Bytes, DeviceId, JobId, RunId, Seed, Size};
use perilune::wire::hello::HelloFrame;
use perilune::wire::work::{Configure, FailedRun, Finished, KeptTexts};
use perilune::wire::{Hello, Limit, Order, Report, RunOrder, blocking};
use perilune::workflow::{JobSpec, ModelSet, Passes, Tiling};
use perilune::{prompt, workflow};

pub(crate) struct Engine {
    pub(crate) child: Child,
    socket: UnixStream,
    reader: BufReader<UnixStream>,
    runs: i64,
}

/// How a run ended, and everything that was said before.
pub(crate) struct Ended {
    pub(crate) reports: Vec<Report>,
    pub(crate) result: Result<Finished, FailedRun>,
}

impl Engine {
    pub(crate) fn start() -> Self {
        Self::on(DeviceId::Cpu, &[])
    }

    /// An engine of a device; the simulated ones are these.
    pub(crate) fn on(device: DeviceId, simulated: &[SimulatedGpu]) -> Self {
        Self::beside(device, simulated, None)
    }

    /// An engine that computes with so many threads, however many the others have.
    pub(crate) fn of_threads(threads: u32) -> Self {
        Self::spawn(DeviceId::Cpu, Some(threads), &[], None, KeptTexts::none())
    }

    /// One of several engines, which count in a folder what they take of simulated GPUs.
    pub(crate) fn beside(device: DeviceId, simulated: &[SimulatedGpu], tally: Option<PathBuf>) -> Self {
        Self::spawn(device, None, simulated, tally, KeptTexts::none())
    }

    /// One that keeps what text encoders make of texts in a folder.
    pub(crate) fn keeping(folder: &Path) -> Self {
        Self::spawn(DeviceId::Cpu, None, &[], None, KeptTexts { folder: folder.to_owned(), limit: Bytes::gib(1) })
    }

    fn spawn(device: DeviceId, threads: Option<u32>, simulated: &[SimulatedGpu], tally: Option<PathBuf>, texts: KeptTexts) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(Duration::from_mins(4))).unwrap();
        #[expect(clippy::disallowed_methods, reason = "this test stands in for the daemon")]
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_perilune-engine"))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .envs(perilune::config::settings::ENGINE_ENVIRONMENT.iter().copied())
            .spawn()
            .unwrap();
        let reader = BufReader::new(ours.try_clone().unwrap());
        let mut engine = Self { child, socket: ours, reader, runs: 0 };
        let greeting: HelloFrame = blocking::read(&mut engine.reader, Limit::CONTROL).unwrap().unwrap();
        greeting.hello.check().unwrap();
        blocking::write(&mut engine.socket, &Hello::ours(), Limit::CONTROL).unwrap();
        let configure =
            Configure { device, threads, log: "info".to_owned(), simulated: simulated.to_vec(), tally, texts, floors: Floors::default() };
        engine.tell(&Order::Configure(configure));
        assert!(matches!(engine.hear(), Report::Ready { .. }));
        engine
    }

    pub(crate) fn tell(&mut self, order: &Order) {
        blocking::write(&mut self.socket, order, Limit::CONTROL).unwrap();
    }

    pub(crate) fn hear(&mut self) -> Report {
        blocking::read(&mut self.reader, Limit::CONTROL).unwrap().expect("the engine ended")
    }

    pub(crate) fn begin(&mut self, spec: &JobSpec, folder: &Path) -> RunId {
        self.runs += 1;
        let run = RunId(self.runs);
        let targets = (0..spec.batch).map(|k| folder.join(format!("{run}-{k}.png"))).collect();
        self.tell(&Order::Run(Box::new(RunOrder { run, job: JobId(1), spec: spec.clone(), targets, known: Vec::new() })));
        run
    }

    /// Hears a run to its end; `each` may answer to a report with an order.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&Report) -> Option<Order>) -> Ended {
        let mut reports = Vec::new();
        loop {
            let report = self.hear();
            if let Some(order) = each(&report) {
                self.tell(&order);
            }
            match report {
                Report::Finished(finished) => return Ended { reports, result: Ok(*finished) },
                Report::Failed(failed) => return Ended { reports, result: Err(*failed) },
                other => reports.push(other),
            }
        }
    }

    pub(crate) fn run(&mut self, spec: &JobSpec, folder: &Path) -> Ended {
        self.begin(spec, folder);
        self.finish(|_| None)
    }

    /// Ends the connection, as a daemon that was killed does.
    pub(crate) fn hang_up(&mut self) {
        self.socket.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// Runs a job that must succeed and returns the bytes of its pictures' pixels.
    pub(crate) fn paint(&mut self, spec: &JobSpec) -> Vec<Vec<u8>> {
        self.files(spec).iter().map(|file| pixels(file)).collect()
    }

    /// The same, and the latent that the first picture was decoded from.
    pub(crate) fn paint_and_keep(&mut self, spec: &JobSpec) -> (Vec<u8>, KeptLatent) {
        let files = self.files(&JobSpec { keep_latents: true, ..spec.clone() });
        (pixels(&files[0]), kept(&files[0]).unwrap().unwrap())
    }

    fn files(&mut self, spec: &JobSpec) -> Vec<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let finished = self.run(spec, folder.path()).result.unwrap();
        finished.images.iter().map(|i| fs::read(&i.path).unwrap()).collect()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn pixels(file: &[u8]) -> Vec<u8> {
    image::load_from_memory(file).unwrap().into_rgb8().into_raw()
}

pub(crate) fn model(path: &Path) -> ModelSet {
    let description = describe(&open(path, None).unwrap()).unwrap();
    let words = |c: &Component| Some((c.role, vocabulary::find(vocabulary::kind_of(c.role)?, &c.files, &Roots::default()).unwrap().0));
    ModelSet {
        vocabularies: description.components.iter().filter_map(words).collect(),
        name: "tiny".to_owned(),
        family: description.family.unwrap(),
        variant: description.variant.unwrap(),
        components: description.components,
    }
}

/// 12 steps of 64 × 96 pixels, as `scripts/parity/sd15.py` lets diffusers paint them.
pub(crate) fn job(path: &Path) -> JobSpec {
    let set = model(path);
    let habits = Habits::of(set.family, &set.variant);
    JobSpec {
        set,
        named: workflow::Named::default(),
        prompt: "a full moon over the sea, oil on canvas".to_owned(),
        negative: "blurry, low quality".to_owned(),
        dialect: prompt::Dialect::default(),
        weighting: prompt::Weighting::default(),
        steps: 12,
        cfg: 7.0,
        guidance: habits.guidance,
        cfg_rescale: 0.0,
        shift: None,
        sampler: Sampler::Euler,
        schedule: if habits.prediction == Prediction::Flow { habits.schedule } else { Schedule::Normal },
        prediction: habits.prediction,
        seed: Seed(1234),
        size: Size::new(64, 96).unwrap(),
        batch: 1,
        precision: None,
        conversion: None,
        init: None,
        tiling: Tiling::Auto,
        passes: Passes::Together,
        keep_latents: false,
        output: PathBuf::new(),
        priority: 0,
        compute: DeviceId::Cpu,
        offload: OffloadAsk::default(),
        parts: PartAsks::default(),
        owner: String::new(),
        notes: Vec::new(),
    }
}

pub(crate) fn kind_of(ended: &Ended) -> Option<workflow::Kind> {
    ended.result.as_ref().err().map(|f| f.kind)
}
