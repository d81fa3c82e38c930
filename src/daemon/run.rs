//! Boots the daemon, and does for the core what the core may not do itself.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{sleep, timeout};

use super::advising;
use super::ahead::Ahead;
use super::converters::{self, Converters};
use super::core::{Core, Policy};
use super::engines::spawn::SpawnSpec;
use super::engines::{Link, LinkSpec};
use super::input::{Asker, Input, Ticket};
use super::lifecycle::{Claim, claim};
use super::lookup::{Lookup, roots};
use super::output::{LookUp, Output};
use super::planning;
use super::readings::{Sensors, Start};
use super::records::Records;
use super::sessions::{Hub, Mailbox, listener};
use super::signals;
use crate::config::{Settings, Supervision};
use crate::conversion::stock;
use crate::gallery;
use crate::ledger::{Ledger, LedgerError, Planned};
use crate::library::{self, Roots};
use crate::logging::{Line, Ring};
use crate::units::{Clock, DeviceId, RunId, Seed, SessionId, SystemClock};
use crate::wire::work::KeptTexts;
use crate::wire::{ConvertAsk, LogLine, Reply};
use crate::workflow::{Defaults, Kind, Refusal};

/// The log's last lines; one process has one log.
pub static LOG: Ring = Ring::new();

/// What travels to the core's task.
#[derive(Debug)]
pub enum Message {
    /// Something happened.
    Input(Input),
    /// A client has come.
    Entered(SessionId, Arc<Mailbox>),
    /// A client has gone.
    Left(SessionId),
}

/// What a daemon is started with.
pub struct Options {
    /// Every setting.
    pub settings: Settings,
    /// Starts what reads devices.
    pub sensors: Start,
    /// Called when clients can come.
    pub ready: Box<dyn FnOnce()>,
}

/// Messages that may wait for the core; senders wait when there are more.
const INBOX: usize = 4096;
/// Messages taken in before others get a turn. In one of theirs, writers may send 128 frames, which is what tokio allows; so they send
/// faster than we tell.
const AT_ONCE: usize = 64;
/// How long clients have to take what they are owed at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// Runs the daemon until it is told to end.
pub fn serve(options: Options) -> Result<(), Refusal> {
    let claim = claim(&options.settings.paths)?;
    if let Some(long) = &options.settings.paths.too_long {
        tracing::warn!("{} is too long for a socket; it lies in {} instead", long.display(), options.settings.paths.runtime.display());
    }
    let ledger = Ledger::open(&options.settings.paths.ledger()).map_err(|e| Refusal::from(&e))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| system(&e))?;
    let served = runtime.block_on(boot(options, claim, ledger));
    // A model folder on a disk that hangs must not keep the program from ending.
    runtime.shutdown_timeout(Duration::from_millis(100));
    served
}

fn system(error: &std::io::Error) -> Refusal {
    Refusal::new(Kind::Failed, format!("the system refused: {error}"), "check the limits on processes and open files")
}

async fn boot(options: Options, claim: Claim, ledger: Ledger) -> Result<(), Refusal> {
    let Options { settings, sensors, ready } = options;
    let (tell, inbox) = mpsc::channel(INBOX);
    let recovered = ledger.recover().map_err(|e: LedgerError| Refusal::from(&e))?;
    let (core, first) = Core::new(policy(&settings), recovered, SystemClock.now());
    let roots = roots(&settings)?;
    let frames = tell.clone();
    // At the end nobody listens any more.
    let sink = Box::new(move |frame| drop(frames.blocking_send(Message::Input(Input::Readings(frame)))));
    let hands = Hands {
        hub: Hub::default(),
        records: Records::start(ledger, tell.clone()).map_err(|e| system(&e))?,
        lookup: Lookup::start(roots.clone(), tell.clone()).map_err(|e| system(&e))?,
        links: HashMap::new(),
        conversions: Converters::new(roots.clone(), &settings, tell.clone()),
        engine: settings.engine.value.clone(),
        engine_environment: settings.engine_environment.clone(),
        patience: settings.supervision,
        sensors: sensors(sink).map_err(|e| system(&e))?,
        roots,
        noted: settings.paths.conversions(),
        tell: tell.clone(),
    };
    follow_log(tell.clone());
    let Claim { listener, door, held } = claim;
    let socket = UnixListener::from_std(listener).map_err(|e| system(&e))?;
    let (close, closing) = watch::channel(false);
    let listening = tokio::spawn(listener::listen(socket, door, tell.clone(), closing));
    watch_signals(tell)?;
    tracing::info!("daemon {} serves {}", std::process::id(), settings.paths.socket().display());
    ready();
    let mut turn = Turn { core, hands };
    turn.work(first, inbox).await;
    if turn.core.is_stopped() {
        turn.hands.hub.farewell();
    }
    turn.hands.hub.close();
    close.send_replace(true);
    // Clients that do not take what they are owed go without.
    drop(timeout(FAREWELL, listening).await);
    turn.hands.links.clear();
    turn.hands.conversions.clear();
    let mut records = turn.hands.records;
    // Everything that was recorded is on disk before the lock is given up.
    drop(spawn_blocking(move || records.finish()).await);
    tracing::info!("ended");
    drop(held);
    Ok(())
}

fn policy(settings: &Settings) -> Policy {
    let (run, preset) = (&settings.run, settings.preset());
    Policy {
        defaults: Defaults {
            steps: run.steps,
            cfg: run.cfg,
            sampler: run.sampler,
            schedule: run.schedule,
            size: run.size,
            output: settings.output.value.clone(),
            compute: DeviceId::Cpu,
            seed: Seed(0),
        },
        compute: settings.compute_device.value,
        visible: settings.visible.clone(),
        patience: settings.supervision,
        simulated: settings.simulated(),
        tally: settings.paths.tally(),
        texts: KeptTexts { folder: settings.paths.embeddings(), limit: settings.embeddings_cache.value },
        engine_threads: settings.engine_threads.value,
        engine_idle_s: settings.engine_idle_s.value,
        conversions_at_once: settings.conversions_at_once.value as usize,
        engine_log: settings.log.value.clone(),
        floors: preset.floors.clone(),
        ahead: Ahead::of(&preset),
        pid: std::process::id(),
    }
}

fn follow_log(tell: mpsc::Sender<Message>) {
    LOG.listen(move |seq, line| {
        // A log that overwhelms the core is better read from its file.
        drop(tell.try_send(Message::Input(Input::Logged(log_line(seq, line)))));
    });
}

/// The first signal ends in order, the second at once.
fn watch_signals(tell: mpsc::Sender<Message>) -> Result<(), Refusal> {
    let listen = |kind| signal(kind).map_err(|e| system(&e));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut hang_up = listen(SignalKind::hangup())?;
    // A file that must not grow is an error to be handled like a full disk, and no reason to die; listening is enough.
    drop(listen(SignalKind::from_raw(Signal::XFSZ.as_raw()))?);
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
            let input = if std::mem::replace(&mut asked, true) { Input::Kill } else { Input::Stop };
            if tell.send(Message::Input(input)).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The core and what works for it, taking turns.
struct Turn {
    core: Core,
    hands: Hands,
}

impl Turn {
    /// Takes in what happens until the core wants to exit.
    async fn work(&mut self, first: Vec<Output>, mut inbox: mpsc::Receiver<Message>) {
        if self.hands.carry_out(first) {
            return;
        }
        let mut messages = Vec::with_capacity(AT_ONCE);
        loop {
            let due = self.core.wake_at().map(|at| at.since(SystemClock.now()));
            tokio::select! {
                // The inbox has a sender of our own, so it never closes.
                _ = inbox.recv_many(&mut messages, AT_ONCE) => {}
                () = sleep(due.unwrap_or_default()), if due.is_some() => messages.push(Message::Input(Input::Tick)),
            }
            for message in messages.drain(..) {
                if self.take(message) {
                    return;
                }
            }
            // An inbox that is never empty would keep us at it: what clients are told would only pile up.
            yield_now().await;
        }
    }

    /// Takes in one message; returns whether it is time to exit.
    fn take(&mut self, message: Message) -> bool {
        let input = match message {
            Message::Entered(session, mailbox) => {
                self.hands.hub.enter(session, mailbox);
                return false;
            }
            Message::Left(session) => {
                self.hands.hub.leave(session);
                Input::Left(session)
            }
            Message::Input(input) => input,
        };
        let outputs = self.core.handle(input, SystemClock.now());
        self.hands.carry_out(outputs)
    }
}

/// Everything that works for the core.
struct Hands {
    hub: Hub,
    records: Records,
    lookup: Lookup,
    links: HashMap<DeviceId, Link>,
    conversions: Converters,
    engine: PathBuf,
    engine_environment: Vec<(&'static str, Option<&'static str>)>,
    patience: Supervision,
    roots: Roots,
    /// Where it is noted what was converted outside of the model folders.
    noted: PathBuf,
    sensors: Arc<dyn Sensors>,
    tell: mpsc::Sender<Message>,
}

impl Hands {
    /// Does what is asked for, in order; returns whether it is time to exit.
    fn carry_out(&mut self, outputs: Vec<Output>) -> bool {
        let mut exit = false;
        for output in outputs {
            match output {
                Output::Answer(asker, result) => self.hub.answer(asker, result),
                Output::Subscribe { asker, topics, snapshot } => self.hub.subscribe(asker, topics, snapshot),
                Output::Refresh { sessions, snapshot } => self.hub.refresh(&sessions, snapshot),
                Output::Publish(change) => self.hub.publish(*change),
                Output::Prepare { ticket, draft, defaults } => self.lookup.ask(ticket, draft, defaults),
                Output::LookUp(asker, LookUp::Log(limit)) => self.hub.answer(asker, Ok(log(limit))),
                Output::LookUp(asker, what) => self.look_up(asker, what),
                Output::Read(ticket, within) => self.read(ticket, within),
                Output::Watch(watched) => self.sensors.watch(watched),
                Output::WatchBus(devices) => self.sensors.watch_bus(devices),
                Output::Engines(engines) => self.sensors.set_engines(&engines),
                Output::Ledger { ticket, command, now } => self.records.ask(ticket, command, now),
                Output::Spawn { device, generation, failed_starts } => self.spawn(device, generation, failed_starts),
                Output::Order { device, order } => self.with_link(device, |link| link.order(*order)),
                Output::Kill { device, why } => self.with_link(device, |link| link.kill(why)),
                Output::Name { run, images } => self.name(run, images),
                Output::Discard(paths) => drop(spawn_blocking(move || paths.iter().for_each(|p| gallery::discard(p)))),
                Output::Locate(asker, ask) => self.locate(asker, ask),
                Output::LookForConversion { id, wish } => self.conversions.look(id, wish),
                Output::Convert { id, wish } => self.conversions.make(id, wish),
                Output::StopConversion(id) => self.conversions.stop(id),
                Output::Count => self.conversions.count(),
                Output::Exit => exit = true,
            }
        }
        exit
    }

    fn with_link(&self, device: DeviceId, tell: impl FnOnce(&Link)) {
        if let Some(link) = self.links.get(&device) {
            tell(link);
        }
    }

    fn spawn(&mut self, device: DeviceId, generation: u64, failed_starts: u32) {
        let (program, environment) = (self.engine.clone(), self.engine_environment.clone());
        let spawn = SpawnSpec { program, arguments: &[], source: device.to_string(), environment };
        let spec = LinkSpec { device, spawn, generation, failed_starts, patience: self.patience };
        self.links.insert(device, Link::start(spec, self.tell.clone()));
    }

    fn name(&self, run: RunId, images: Vec<Planned>) {
        let tell = self.tell.clone();
        drop(spawn_blocking(move || {
            let named = images.iter().map(|i| gallery::publish(&i.target, i.inode, &i.path)).collect::<Result<_, _>>();
            let result = named.map_err(|e| Refusal::from(&e));
            // At the end nobody listens any more; the next daemon finds the pictures.
            drop(tell.blocking_send(Message::Input(Input::Named(run, result))));
        }));
    }

    fn read(&self, ticket: Ticket, within: Duration) {
        let (tell, sensors) = (self.tell.clone(), self.sensors.clone());
        drop(spawn_blocking(move || {
            let frame = sensors.read_now(within);
            drop(tell.blocking_send(Message::Input(Input::Read(ticket, frame))));
        }));
    }

    fn locate(&self, asker: Asker, ask: ConvertAsk) {
        let (tell, roots) = (self.tell.clone(), self.roots.clone());
        drop(spawn_blocking(move || {
            let wish = converters::locate(&ask, &roots);
            drop(tell.blocking_send(Message::Input(Input::Located(asker, wish))));
        }));
    }

    fn look_up(&self, asker: Asker, what: LookUp) {
        let (tell, roots, noted) = (self.tell.clone(), self.roots.clone(), self.noted.clone());
        drop(spawn_blocking(move || {
            let result = match what {
                LookUp::Models => Ok(Reply::Models(library::scan(&roots, true))),
                LookUp::Inspect(name) => library::inventory::inspect(&name, &roots)
                    .map(|(path, description)| Reply::Description { path: path.display().to_string(), description: Box::new(description) }),
                LookUp::Log(limit) => Ok(log(limit)),
                LookUp::Advise(model, devices) => library::inventory::inspect_opened(&model, &roots).map(|(path, description, sources)| {
                    let candidates: Vec<_> = devices.iter().filter_map(advising::candidate).collect();
                    Reply::Advice(advising::suggest(&path, &sources, &description, &candidates))
                }),
                LookUp::Plan(question) => planning::answer(*question, &roots).map(|view| Reply::Plan(Box::new(view))),
                LookUp::Cache => stock::list(&roots, &noted).map(Reply::Cached).map_err(Refusal::from),
                LookUp::Clean(ask) => Ok(Reply::Cleaned(stock::clean(&roots, &ask, SystemClock.now()))),
                LookUp::Verify(path) => Ok(Reply::Verified(stock::verify(&path))),
                LookUp::Keep { path, kept } => stock::keep(&path, kept).map(|()| Reply::Done),
                LookUp::Signal(ask) => signals::send(&ask).map(|()| Reply::Done),
                LookUp::Tune(question) => planning::facts(*question, &roots).map(|view| Reply::Tune(Box::new(view))),
            };
            drop(tell.blocking_send(Message::Input(Input::LookedUp(asker, result))));
        }));
    }
}

fn log(limit: u32) -> Reply {
    Reply::Log(LOG.last(limit as usize).iter().map(|(seq, line)| log_line(*seq, line)).collect())
}

fn log_line(seq: u64, line: &Line) -> LogLine {
    LogLine { seq, time: line.time, level: line.level.to_owned(), source: line.source.clone(), text: line.text.clone() }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config::{Environment, Flags};
    use crate::daemon::sessions::mailbox::Next;
    use crate::daemon::snapshot;
    use crate::telemetry::Frame;
    use crate::wire::control::Topics;

    struct Blind;

    impl Sensors for Blind {
        fn read_now(&self, _within: Duration) -> Arc<Frame> {
            Arc::new(Frame::empty(SystemClock.now()))
        }

        fn watch(&self, _watched: bool) {}

        fn watch_bus(&self, _devices: BTreeSet<DeviceId>) {}

        fn set_engines(&self, _engines: &BTreeMap<u32, DeviceId>) {}
    }

    fn hands(settings: &Settings, ledger: Ledger, tell: mpsc::Sender<Message>) -> Hands {
        let roots = roots(settings).unwrap();
        Hands {
            hub: Hub::default(),
            records: Records::start(ledger, tell.clone()).unwrap(),
            lookup: Lookup::start(roots.clone(), tell.clone()).unwrap(),
            links: HashMap::new(),
            conversions: Converters::new(roots.clone(), settings, tell.clone()),
            engine: settings.engine.value.clone(),
            engine_environment: Vec::new(),
            patience: settings.supervision,
            sensors: Arc::new(Blind),
            roots,
            noted: settings.paths.conversions(),
            tell,
        }
    }

    #[test]
    fn a_client_that_keeps_up_is_not_let_go_for_a_burst_of_log_lines() {
        const LINES: u64 = 2_000;
        let home = tempfile::tempdir().unwrap();
        let flags = Flags { home: Some(home.path().to_owned()), ..Flags::default() };
        let settings = Settings::load(&flags, &Environment::made_of(&[], "/nowhere")).unwrap();
        let ledger = Ledger::in_memory().unwrap();
        let (core, first) = Core::new(policy(&settings), ledger.recover().unwrap(), SystemClock.now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let heard = runtime.block_on(async {
            let (tell, inbox) = mpsc::channel(INBOX);
            let (session, mailbox) = (SessionId(1), Arc::new(Mailbox::default()));
            let mut turn = Turn { core, hands: hands(&settings, ledger, tell.clone()) };
            turn.hands.hub.enter(session, mailbox.clone());
            let status = Box::new(snapshot::status(&turn.core, Vec::new()));
            turn.hands.hub.subscribe(Asker { session, id: 1 }, Topics { log: true, ..Topics::default() }, status);
            let client = tokio::spawn(async move {
                let mut heard = 0;
                while let Next::Send(_) = mailbox.next().await {
                    heard += 1;
                }
                (heard, mailbox.next().await)
            });
            let line = Line { time: SystemClock.now(), level: "info", source: "cpu".to_owned(), text: "a step".to_owned() };
            for seq in 1..=LINES {
                tell.try_send(Message::Input(Input::Logged(log_line(seq, &line)))).unwrap();
            }
            tell.try_send(Message::Input(Input::Kill)).unwrap();
            turn.work(first, inbox).await;
            turn.hands.hub.close();
            client.await.unwrap()
        });
        assert_eq!(heard, (2 + LINES, Next::Closed), "the answer, the snapshot, and every line");
    }
}
