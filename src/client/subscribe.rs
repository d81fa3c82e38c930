//! The link of a long-lived client: it connects, listens, and comes back after a loss.
//!
//! ```text
//!  connect -> subscribe -> Up -> snapshot -> events …
//!     ^  '-- fails ---> Down      | a number is missing: subscribe again
//!     '--- pause 0.5 … 10 s <-----' the daemon hung up, or is silent: Down
//! ```
//!
//! A daemon that died is started again, where that is allowed; one that somebody has stopped is not, until somebody starts one.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::connect::{Connection, connect, lost};
use super::gate::{Gate, Place};
use super::news::{Handle, News};
use crate::wire::control::{Asked, Topics};
use crate::wire::{Change, Limit, Reply, Request, ServerFrame, asynchronous};
use crate::workflow::{Kind, Refusal};

/// The first pause before another try; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Without a word for this long, the daemon is asked whether it lives; without an answer for as long again, it is lost.
const SILENCE: Duration = Duration::from_secs(10);
/// How long what a daemon had said before it hung up may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// News that may wait for their owner; the daemon waits, and leaves out what is overtaken, when there are more.
const NEWS: usize = 256;
/// Our own requests have numbers that owners, who count from small ones, do not use.
const OWN: u64 = 1 << 63;

/// Starts a link; it ends when its owner lets go of the handle. Needs a running tokio runtime.
#[must_use]
pub fn follow(gate: Gate, topics: Topics) -> Handle {
    let (ask, asked) = mpsc::unbounded_channel();
    let (tell, news) = mpsc::channel(NEWS);
    tokio::spawn(Link { gate, topics, asked, tell }.live());
    Handle { ask, news }
}

struct Link {
    gate: Gate,
    topics: Topics,
    asked: mpsc::UnboundedReceiver<(u64, Request)>,
    tell: mpsc::Sender<News>,
}

/// The owner has let go.
struct Released;

impl Link {
    async fn live(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut stopped: Option<Refusal> = None;
        loop {
            let gate = Gate { spawn: self.gate.spawn && stopped.is_none(), ..self.gate.clone() };
            let reason = match connect(&gate).await {
                Ok(connection) => match self.converse(connection, &mut pause).await {
                    Ok(reason) => {
                        let is_stopped = reason.kind == Kind::Interrupted;
                        let reason = if is_stopped { Refusal { kind: Kind::NoDaemon, ..reason } } else { reason };
                        stopped = is_stopped.then(|| reason.clone());
                        reason
                    }
                    Err(Released) => return,
                },
                // It is still the same that is to be told. Of another box it is not known why it does not answer.
                Err(reason) => {
                    let is_silent = matches!(gate.place, Place::Local) && reason.kind == Kind::NoDaemon;
                    stopped.clone().filter(|_| is_silent).unwrap_or(reason)
                }
            };
            let wait = with_jitter(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            let down = News::Down { reason: reason.clone(), retry_in_s: wait.as_secs_f64() };
            if self.tell.send(down).await.is_err() || self.refuse_until(Instant::now() + wait, &reason).await.is_err() {
                return;
            }
        }
    }

    /// Talks until the connection is lost; returns why it was.
    async fn converse(&mut self, connection: Connection, pause: &mut Duration) -> Result<Refusal, Released> {
        let Connection { from, to, carrier } = connection;
        let (bodies, mut heard) = mpsc::channel(16);
        // Reading is not to be cut off in the middle of a frame, so it has a task of its own.
        let reader = tokio::spawn(read(from, bodies));
        let mut talk = Talk { to, waiting: HashSet::new(), seq: None, own: OWN };
        let result = self.talk(&mut talk, &mut heard, pause).await;
        reader.abort();
        let reason = result?;
        for id in talk.waiting {
            self.news(News::Answered { id, result: Err(reason.clone()) }).await?;
        }
        drop(carrier);
        Ok(reason)
    }

    async fn talk(
        &mut self,
        talk: &mut Talk,
        heard: &mut mpsc::Receiver<Result<ServerFrame, Refusal>>,
        pause: &mut Duration,
    ) -> Result<Refusal, Released> {
        if let Err(reason) = talk.send_own(Request::Subscribe(self.topics.clone())).await {
            return Ok(reason);
        }
        let mut asked_for_life = false;
        loop {
            tokio::select! {
                frame = timeout(SILENCE, heard.recv()) => match frame {
                    Ok(Some(Ok(frame))) => {
                        asked_for_life = false;
                        if let Some(reason) = self.take(talk, frame, pause).await? {
                            return Ok(reason);
                        }
                    }
                    Ok(Some(Err(reason))) => return Ok(reason),
                    Ok(None) => return Ok(Refusal::bare(Kind::NoDaemon, "the connection to the daemon was lost")),
                    Err(_) if asked_for_life => {
                        return Ok(Refusal::new(Kind::NoDaemon, "the daemon is silent", "it may hang; `perilune stop` ends it"));
                    }
                    Err(_) => {
                        asked_for_life = true;
                        if let Err(reason) = talk.send_own(Request::Log { limit: 0 }).await {
                            return Ok(reason);
                        }
                    }
                },
                request = self.asked.recv() => {
                    let Some((id, request)) = request else { return Err(Released) };
                    talk.waiting.insert(id);
                    if let Err(reason) = talk.send(id, request).await {
                        return Ok(self.last_words(talk, heard, pause).await?.unwrap_or(reason));
                    }
                }
            }
        }
    }

    /// Takes in what the daemon had said before nothing could be sent to it any more; returns why it hung up, where it told.
    async fn last_words(
        &mut self,
        talk: &mut Talk,
        heard: &mut mpsc::Receiver<Result<ServerFrame, Refusal>>,
        pause: &mut Duration,
    ) -> Result<Option<Refusal>, Released> {
        while let Ok(Some(Ok(frame))) = timeout(LAST_WORDS, heard.recv()).await {
            if let Some(reason) = self.take(talk, frame, pause).await? {
                return Ok(Some(reason));
            }
        }
        Ok(None)
    }

    /// Takes in a frame; returns why the connection is to be given up, if it is.
    async fn take(&mut self, talk: &mut Talk, frame: ServerFrame, pause: &mut Duration) -> Result<Option<Refusal>, Released> {
        match frame {
            ServerFrame::Event(event) => {
                let is_snapshot = matches!(event.change, Change::Snapshot(_));
                let expected = talk.seq.map(|seq| seq + 1);
                talk.seq = Some(event.seq);
                if expected.is_some_and(|expected| expected != event.seq) && !is_snapshot {
                    // Something was missed: ask for the whole again.
                    return Ok(talk.send_own(Request::Subscribe(self.topics.clone())).await.err());
                }
                self.news(News::Heard(event)).await?;
            }
            ServerFrame::Reply { id, reply: Reply::Done } if id == OWN => {
                *pause = FIRST_PAUSE;
                self.news(News::Up { place: self.gate.place.to_string() }).await?;
            }
            ServerFrame::Reply { id, reply } => {
                if talk.waiting.remove(&id) {
                    self.news(News::Answered { id, result: Ok(reply) }).await?;
                }
            }
            ServerFrame::Error { id: Some(id), error } if id < OWN => {
                talk.waiting.remove(&id);
                self.news(News::Answered { id, result: Err(error) }).await?;
            }
            ServerFrame::Error { error, .. } => return Ok(Some(error)),
        }
        Ok(None)
    }

    /// Waits; requests that come in the meantime cannot be answered.
    async fn refuse_until(&mut self, until: Instant, reason: &Refusal) -> Result<(), Released> {
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(()),
                request = self.asked.recv() => {
                    let Some((id, _)) = request else { return Err(Released) };
                    self.news(News::Answered { id, result: Err(reason.clone()) }).await?;
                }
            }
        }
    }

    async fn news(&self, news: News) -> Result<(), Released> {
        self.tell.send(news).await.map_err(|_| Released)
    }
}

/// One conversation.
struct Talk {
    to: Box<dyn tokio::io::AsyncWrite + Send + Unpin>,
    waiting: HashSet<u64>,
    seq: Option<u64>,
    own: u64,
}

impl Talk {
    async fn send(&mut self, id: u64, request: Request) -> Result<(), Refusal> {
        let sent = asynchronous::write(&mut self.to, &Asked { id, request }, Limit::CONTROL).await;
        sent.map_err(|e| Refusal::bare(Kind::NoDaemon, format!("the connection to the daemon was lost: {e}")))
    }

    async fn send_own(&mut self, request: Request) -> Result<(), Refusal> {
        let id = self.own;
        self.own += 1;
        self.send(id, request).await
    }
}

async fn read(from: Box<dyn tokio::io::AsyncRead + Send + Unpin>, bodies: mpsc::Sender<Result<ServerFrame, Refusal>>) {
    let mut connection = Connection { from, to: Box::new(tokio::io::sink()), carrier: None };
    loop {
        let frame = match asynchronous::read(&mut connection.from, Limit::CONTROL).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(lost(&connection, None)),
            Err(error) => Err(lost(&connection, Some(&error))),
        };
        let over = frame.is_err();
        if bodies.send(frame).await.is_err() || over {
            return;
        }
    }
}

/// Spreads the returns of many clients, so that they do not all come at once.
fn with_jitter(pause: Duration) -> Duration {
    let share = RandomState::new().hash_one(Instant::now()) % 256;
    pause.mul_f64(0.75 + share as f64 / 512.0)
}
