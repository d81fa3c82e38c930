//! The engine's process: orders in, reports out.
//!
//! ```text
//!            +-- reader thread: Hello, Configure; then Run → compute, Cancel/Pause/Resume → flag, Ping → Pong
//!  socket ---|
//!            +-- writer thread: reports, in order
//!                 ^
//!                 '-- compute thread (this one): runs jobs, owns every tensor
//! ```
//!
//! When the socket ends the daemon is gone, and the engine ends at once, whatever it computes:
//! a run that nobody records must not go on.

use std::io::{self, BufReader};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::EngineError;
use super::cancel::CancelFlag;
use super::device::Compute;
use super::error::panic_text;
use super::reporter::Reporter;
use super::runner::Runner;
use super::wishes::Wishes;
use crate::cache::Embeddings;
use crate::gallery;
use crate::units::RunId;
use crate::wire::hello::{HelloFrame, Mismatch};
use crate::wire::work::{CALIBRATION, CalibrateOrder, Configure};
use crate::wire::{FrameError, Hello, Limit, Order, Report, RunOrder, blocking};

/// Why an engine could not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Standard input is not the socket that a daemon hands over.
    #[error("an engine is started by `perilune serve`, not by hand: {0}")]
    NoSocket(#[source] io::Error),
    /// The daemon said nothing, or nonsense.
    #[error("the daemon could not be understood: {0}")]
    Frame(#[from] FrameError),
    /// The daemon was built from other sources.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The first order was not what the engine is for.
    #[error("the daemon did not say what this engine is for")]
    NotConfigured,
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] EngineError),
}

/// What the reader thread passes on.
enum Work {
    Run(Box<RunOrder>, CancelFlag),
    Calibrate(Box<CalibrateOrder>, CancelFlag),
    Load(Box<RunOrder>, CancelFlag),
    /// Sets are to leave: the wishes say which.
    Tend,
    Stop,
}

/// Writes a panic's first line to the log. libtorch's errors carry a page of frames, and walking our own
/// stack takes memory that may just have run out.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let text = panic_text(info.payload());
        let line: String = text.lines().next().unwrap_or_default().chars().take(300).collect();
        tracing::error!("unwinding: {line}");
    }));
}

/// Serves the daemon at the other end of standard input until it says stop or goes away.
pub fn serve(configured: impl FnOnce(&Configure)) -> Result<(), ServeError> {
    let socket = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(ServeError::NoSocket)?;
    socket.peer_addr().map_err(ServeError::NoSocket)?;
    let mut writer = socket.try_clone().map_err(ServeError::NoSocket)?;
    let mut reader = BufReader::new(socket);

    quiet_panics();
    if let Err(error) = gallery::survive_limits() {
        tracing::warn!("a limit on the size of files would end this engine: {error}");
    }
    blocking::write(&mut writer, &Hello::ours(), Limit::CONTROL)?;
    let greeting: HelloFrame = blocking::read(&mut reader, Limit::CONTROL)?.ok_or(FrameError::Cut)?;
    greeting.hello.check()?;
    let Some(Order::Configure(configure)) = blocking::read(&mut reader, Limit::CONTROL)? else {
        return Err(ServeError::NotConfigured);
    };
    configured(&configure);
    let compute = Compute::of(&configure)?;

    let (reports, outgoing) = mpsc::channel();
    let (work, incoming) = mpsc::channel();
    let reporter = Reporter::new(reports);
    reporter.report(Report::Ready { about: compute.about.clone() });
    let writing = thread::spawn(move || write_reports(&mut writer, &outgoing));
    let current = CurrentRun::default();
    let texts = Embeddings::new(&configure.texts.folder, configure.texts.limit);
    let mut runner = Runner::new(compute, reporter.clone()).keeping(texts);
    let answers = Arc::new(Mutex::new(Some(reporter)));
    let mut listener = Listener { current: current.clone(), wishes: runner.wishes(), answers: answers.clone(), work };
    thread::spawn(move || listener.listen(&mut reader));

    work_until_stopped(&mut runner, &incoming, &current);
    drop(runner);
    // The listener may go on, but answers no more. With it the last sender is gone: the writer ends after the last report.
    answers.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(writing.join());
    Ok(())
}

fn work_until_stopped(runner: &mut Runner, incoming: &Receiver<Work>, current: &CurrentRun) {
    while let Ok(work) = incoming.recv() {
        let (run, alive) = match work {
            Work::Run(order, cancel) => (order.run, runner.run(&order, &cancel)),
            Work::Calibrate(order, cancel) => (CALIBRATION, runner.calibrate(&order, &cancel)),
            Work::Load(order, cancel) => (order.run, runner.load_set(&order, &cancel)),
            Work::Tend => {
                runner.tend_at_rest();
                continue;
            }
            Work::Stop => break,
        };
        current.clear(run);
        if !alive {
            break;
        }
    }
}

/// The run that computes now, and its flags.
#[derive(Debug, Clone, Default)]
struct CurrentRun(Arc<Mutex<Option<(RunId, CancelFlag)>>>);

impl CurrentRun {
    fn set(&self, run: RunId, flags: CancelFlag) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((run, flags));
    }

    /// Forgets `run`. The next one may have come already, and stays.
    fn clear(&self, run: RunId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(current, _)| *current == run);
    }

    /// Reaches the flags of `run`, if that is the one; others have ended already.
    fn reach(&self, run: RunId, change: impl FnOnce(&CancelFlag)) {
        if let Some((current, flag)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && *current == run
        {
            change(flag);
        }
    }

    fn stop_any(&self) {
        if let Some((_, flag)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            flag.cancel();
        }
    }
}

struct Listener {
    current: CurrentRun,
    wishes: Wishes,
    /// Where answers go, until the engine ends.
    answers: Arc<Mutex<Option<Reporter>>>,
    work: Sender<Work>,
}

impl Listener {
    fn listen(&mut self, reader: &mut BufReader<UnixStream>) {
        loop {
            match blocking::read(reader, Limit::CONTROL) {
                Ok(Some(Order::Shutdown)) => {
                    self.current.stop_any();
                    self.pass_on(Work::Stop);
                    return;
                }
                Ok(Some(order)) => self.obey(order),
                Ok(None) | Err(_) => end_now(),
            }
        }
    }

    fn obey(&self, order: Order) {
        match order {
            Order::Run(order) => {
                let cancel = CancelFlag::default();
                self.current.set(order.run, cancel.clone());
                self.pass_on(Work::Run(order, cancel));
            }
            Order::Calibrate(order) => {
                let cancel = CancelFlag::default();
                self.current.set(CALIBRATION, cancel.clone());
                self.pass_on(Work::Calibrate(order, cancel));
            }
            Order::Load(order) => {
                let cancel = CancelFlag::default();
                self.current.set(order.run, cancel.clone());
                self.pass_on(Work::Load(order, cancel));
            }
            Order::Unload(set) => {
                self.wishes.unload(set);
                self.pass_on(Work::Tend);
            }
            Order::Pin(set) => self.wishes.pin(set),
            Order::Unpin(set) => self.wishes.unpin(&set),
            Order::Cancel(run) => self.current.reach(run, CancelFlag::cancel),
            Order::Pause(run) => self.current.reach(run, CancelFlag::pause),
            Order::Resume(run) => self.current.reach(run, CancelFlag::resume),
            Order::Rebudget { run, ask } => self.current.reach(run, |flag| flag.rebudget(*ask)),
            Order::Ping(n) => {
                if let Some(reporter) = &*self.answers.lock().unwrap_or_else(PoisonError::into_inner) {
                    reporter.report(Report::Pong(n));
                }
            }
            // Both only come at their own time; at another they change nothing.
            Order::Configure(_) | Order::Shutdown => {}
        }
    }

    fn pass_on(&self, work: Work) {
        // Fails only when the compute thread has ended, and then the process is about to.
        drop(self.work.send(work));
    }
}

fn write_reports(writer: &mut UnixStream, outgoing: &Receiver<Report>) {
    for report in outgoing {
        if let Err(error) = blocking::write(writer, &report, Limit::CONTROL) {
            tracing::error!("a report could not be sent: {error}");
            return;
        }
    }
}

/// Ends the process without waiting for kernels, exit handlers or the GPU: all of its memory goes back.
fn end_now() -> ! {
    let _arrives_or_the_next_line_does = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort();
}
