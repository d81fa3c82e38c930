//! One engine's process from start to end: greeting, orders, reports, heartbeat.
//!
//! ```text
//!  spawn -> hello both ways -> Born -> reports … -> end of the socket -> exit -> Died
//!                                  ^ ping every 2 s; without an answer for 15 s it is killed
//! ```

use std::io::ErrorKind;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::output_lines::Tail;
use super::spawn::{SpawnSpec, Spawned, spawn};
use crate::config::Supervision;
use crate::daemon::input::{Exit, Heard, Input};
use crate::daemon::run::Message;
use crate::units::DeviceId;
use crate::wire::frame::FrameError;
use crate::wire::hello::HelloFrame;
use crate::wire::{Hello, Limit, Order, Report, asynchronous};
use crate::workflow::{Kind, Refusal};

/// Until an engine must have greeted: its libraries are large, and the first start reads them from disk.
const GREETING: Duration = Duration::from_mins(1);
/// How often that is doubled after starts that failed: where a disk is so slow that a minute is too little, four may do.
const DOUBLED: u32 = 2;
/// From the end of an engine's socket until it must have ended itself.
const AFTERMATH: Duration = Duration::from_secs(2);

/// What a link needs to know.
#[derive(Debug, Clone)]
pub struct LinkSpec {
    /// Its device.
    pub device: DeviceId,
    /// What to start.
    pub spawn: SpawnSpec,
    /// As which process of its device.
    pub generation: u64,
    /// Starts before it that failed, in a row.
    pub failed_starts: u32,
    /// Patience with it.
    pub patience: Supervision,
}

/// The core's end of a link.
#[derive(Debug)]
pub struct Link {
    orders: mpsc::UnboundedSender<Order>,
    kill: watch::Sender<Option<String>>,
}

impl Link {
    /// Starts an engine; what is heard of it goes to `tell`.
    #[must_use]
    pub fn start(spec: LinkSpec, tell: mpsc::Sender<Message>) -> Self {
        let (orders, from_core) = mpsc::unbounded_channel();
        let (kill, killed) = watch::channel(None);
        let (device, generation) = (spec.device, spec.generation);
        // Started here and not in the task: the engine dies with the thread that starts it.
        let spawned = spawn(&spec.spawn);
        tokio::spawn(async move {
            let mouth = Mouth { device, generation, tell };
            let last = match spawned {
                Ok(spawned) => Running::of(spec, spawned, killed).await_end(from_core, &mouth).await,
                Err(error) => not_started(&spec.spawn, &error),
            };
            mouth.say(last).await;
        });
        Self { orders, kill }
    }

    /// Tells the engine something. One that is gone does not hear it; its exit is on the way.
    pub fn order(&self, order: Order) {
        drop(self.orders.send(order));
    }

    /// Kills the engine. `why` follows "the engine".
    pub fn kill(&self, why: String) {
        self.kill.send_replace(Some(why));
    }
}

/// Speaks to the core.
struct Mouth {
    device: DeviceId,
    generation: u64,
    tell: mpsc::Sender<Message>,
}

impl Mouth {
    async fn say(&self, heard: Heard) {
        let input = Input::Engine { device: self.device, generation: self.generation, heard };
        // When the daemon ends, nobody listens any more.
        drop(self.tell.send(Message::Input(input)).await);
    }
}

fn not_started(spec: &SpawnSpec, error: &std::io::Error) -> Heard {
    let program = spec.program.display();
    match error.kind() {
        ErrorKind::NotFound => Heard::Broken(Refusal::new(
            Kind::Failed,
            format!("there is no engine at {program}, so no job can run"),
            "install perilune-engine beside perilune (`cargo build --release`), or name it in PERILUNE_ENGINE",
        )),
        ErrorKind::PermissionDenied => Heard::Broken(Refusal::new(
            Kind::Failed,
            format!("{program} cannot be run: {error}"),
            "check its permissions, or name another engine in PERILUNE_ENGINE",
        )),
        _ => Heard::Died(Exit { how: format!("could not be started: {error}"), log: Vec::new() }),
    }
}

/// A process that was started.
struct Running {
    spec: LinkSpec,
    spawned: Spawned,
    killed: watch::Receiver<Option<String>>,
}

/// Why the conversation is over, in words that follow "the engine"; `None` where its exit says it all.
type Over = Result<Option<String>, Refusal>;

impl Running {
    fn of(spec: LinkSpec, spawned: Spawned, killed: watch::Receiver<Option<String>>) -> Self {
        Self { spec, spawned, killed }
    }

    async fn await_end(mut self, orders: mpsc::UnboundedReceiver<Order>, mouth: &Mouth) -> Heard {
        let over = self.converse(orders, mouth).await;
        let (mut exit, tail) = (self.spawned.exit, self.spawned.tail);
        // One that hung up ends by itself; all others are ended.
        if !matches!(over, Ok(None)) {
            self.spawned.process.kill();
        }
        let how = if let Ok(how) = timeout(AFTERMATH, &mut exit).await {
            how
        } else {
            self.spawned.process.kill();
            exit.await
        };
        let how = how.unwrap_or_else(|_| "is gone, and nobody knows how".to_owned());
        match over {
            Ok(why) => Heard::Died(exit_of(why.unwrap_or(how), &tail)),
            Err(refusal) => Heard::Broken(refusal),
        }
    }

    async fn converse(&mut self, orders: mpsc::UnboundedReceiver<Order>, mouth: &Mouth) -> Over {
        let socket = self.spawned.socket.try_clone().and_then(|socket| {
            socket.set_nonblocking(true)?;
            UnixStream::from_std(socket)
        });
        let (mut from, mut to) = match socket {
            Ok(socket) => socket.into_split(),
            Err(error) => return Ok(Some(format!("could not be spoken with: {error}"))),
        };
        let mut killed = self.killed.clone();
        let patience = greeting(self.spec.failed_starts);
        let greeted = tokio::select! {
            greeted = timeout(patience, greet(&mut from, &mut to)) => greeted,
            why = wait_for_kill(&mut killed) => return Ok(Some(why)),
        };
        match greeted {
            Ok(Ok(())) => {}
            Ok(Err(Some(over))) => return over,
            Ok(Err(None)) => return Ok(None),
            Err(_) => return Ok(Some(format!("did not greet within {} s and was killed", patience.as_secs()))),
        }
        mouth.say(Heard::Born(self.spawned.process.pid())).await;
        // Until it is ready it loads libraries, from a cold disk gigabytes of them, and cannot answer.
        let loading = patience.saturating_sub(self.spec.patience.silence);
        let (alive, last_heard) = watch::channel(Instant::now() + loading);
        tokio::select! {
            over = listen(&mut from, mouth, &alive) => over,
            over = speak(&mut to, orders, last_heard, self.spec.patience) => over,
            why = wait_for_kill(&mut killed) => Ok(Some(why)),
        }
    }
}

/// Returns how long an engine may take to greet, and to load its libraries, after so many starts that failed.
fn greeting(failed_starts: u32) -> Duration {
    GREETING * (1 << failed_starts.min(DOUBLED))
}

fn exit_of(how: String, tail: &Tail) -> Exit {
    Exit { how, log: tail.lines() }
}

async fn wait_for_kill(killed: &mut watch::Receiver<Option<String>>) -> String {
    match killed.wait_for(Option::is_some).await {
        Ok(why) => why.clone().unwrap_or_default(),
        // The core has let go of the link: the daemon ends.
        Err(_) => "was killed with the daemon".to_owned(),
    }
}

/// Both sides name their build. `None` where the engine hung up.
async fn greet(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> Result<(), Option<Over>> {
    asynchronous::write(to, &Hello::ours(), Limit::CONTROL).await.map_err(|_| None)?;
    let theirs: HelloFrame = match asynchronous::read(from, Limit::CONTROL).await {
        Ok(Some(theirs)) => theirs,
        Ok(None) => return Err(None),
        Err(error) => return Err(Some(Ok(nonsense(&error)))),
    };
    theirs.hello.check().map_err(|mismatch| {
        Some(Err(Refusal::new(
            Kind::Failed,
            format!("the engine cannot be used: {mismatch}"),
            "build perilune and perilune-engine together, then stop the daemon with `perilune stop`",
        )))
    })
}

fn nonsense(error: &FrameError) -> Option<String> {
    error.is_nonsense().then(|| format!("was killed for what it sent: {error}"))
}

async fn listen(from: &mut OwnedReadHalf, mouth: &Mouth, alive: &watch::Sender<Instant>) -> Over {
    loop {
        match asynchronous::read::<Report>(from, Limit::CONTROL).await {
            Ok(Some(report)) => {
                alive.send_replace(Instant::now());
                if !matches!(report, Report::Pong(_)) {
                    mouth.say(Heard::Said(report)).await;
                }
            }
            Ok(None) => return Ok(None),
            Err(error) => return Ok(nonsense(&error)),
        }
    }
}

async fn speak(
    to: &mut OwnedWriteHalf,
    mut orders: mpsc::UnboundedReceiver<Order>,
    last_heard: watch::Receiver<Instant>,
    patience: Supervision,
) -> Over {
    let mut pulse = interval(patience.heartbeat);
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked: u64 = 0;
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = pulse.tick() => {
                if last_heard.borrow().elapsed() > patience.silence {
                    return Ok(Some(format!("did not answer for {} s and was killed", patience.silence.as_secs_f64())));
                }
                asked += 1;
                Some(Order::Ping(asked))
            }
        };
        let Some(order) = order else { return Ok(Some("was killed with the daemon".to_owned())) };
        // An engine that takes nothing in is as silent as one that says nothing.
        match timeout(patience.silence, asynchronous::write(to, &order, Limit::CONTROL)).await {
            Ok(Ok(())) => {}
            // Its end of the socket is closed; what it still said is being listened to.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return Ok(Some(format!("took nothing in for {} s and was killed", patience.silence.as_secs_f64()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_start_gets_more_time_with_each_try() {
        assert_eq!([0, 1, 2, 3, 60].map(|n| greeting(n).as_secs()), [60, 120, 240, 240, 240]);
    }
}
