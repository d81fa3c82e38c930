//! Requests and their answers, one after another; for commands.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::timeout;

use super::connect::{Connection, connect, lost};
use super::gate::Gate;
use crate::wire::asynchronous::{self, FrameReader};
use crate::wire::control::Asked;
use crate::wire::{Event, Limit, Reply, Request, ServerFrame, frame};
use crate::workflow::{Kind, Refusal};

/// Until an answer must be there. Reading the headers of a large library takes the longest.
const PATIENCE: Duration = Duration::from_mins(2);

/// A conversation with the daemon. Whoever stops waiting for an answer or an event can go on with something else.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    reader: FrameReader,
    next_id: u64,
    /// Events that came while an answer was waited for.
    events: VecDeque<Event>,
}

/// What came first of an answer and of what is listened to.
#[derive(Debug)]
pub enum Heard {
    /// The answer.
    Answer(Box<Result<Reply, Refusal>>),
    /// Something that happened.
    Event(Box<Event>),
}

impl Client {
    /// Connects to the daemon.
    pub async fn connect(gate: &Gate) -> Result<Self, Refusal> {
        connect(gate).await.map(Self::over)
    }

    fn over(connection: Connection) -> Self {
        Self { connection, reader: FrameReader::default(), next_id: 1, events: VecDeque::new() }
    }

    /// Asks, and waits for the answer.
    pub async fn call(&mut self, request: Request) -> Result<Reply, Refusal> {
        let id = self.ask(request).await?;
        self.answer(id).await
    }

    /// Asks, and returns the number under which the answer will come.
    pub async fn ask(&mut self, request: Request) -> Result<u64, Refusal> {
        let id = self.next_id;
        self.next_id += 1;
        let sent = asynchronous::write(&mut self.connection.to, &Asked { id, request }, Limit::CONTROL).await;
        sent.map(|()| id).map_err(|e| lost(&self.connection, Some(&e)))
    }

    /// Waits for the answer of this number.
    pub async fn answer(&mut self, id: u64) -> Result<Reply, Refusal> {
        let Ok(answer) = timeout(PATIENCE, self.answer_whenever(id)).await else {
            let message = format!("the daemon did not answer within {} s", PATIENCE.as_secs());
            return Err(Refusal::new(Kind::NoDaemon, message, "it may hang; `perilune stop` ends it"));
        };
        answer
    }

    /// Waits for the answer of this number, however long that takes.
    pub async fn answer_whenever(&mut self, id: u64) -> Result<Reply, Refusal> {
        loop {
            match self.frame().await? {
                ServerFrame::Reply { id: of, reply } if of == id => return Ok(reply),
                ServerFrame::Error { id: of, error } if of.is_none_or(|of| of == id) => return Err(error),
                ServerFrame::Event(event) => self.events.push_back(*event),
                // The answer to something that is no longer waited for.
                ServerFrame::Reply { .. } | ServerFrame::Error { .. } => {}
            }
        }
    }

    /// Waits for the answer of this number, or for an event before it.
    pub async fn answer_or_event(&mut self, id: u64) -> Result<Heard, Refusal> {
        if let Some(event) = self.events.pop_front() {
            return Ok(Heard::Event(Box::new(event)));
        }
        loop {
            match self.frame().await? {
                ServerFrame::Reply { id: of, reply } if of == id => return Ok(Heard::Answer(Box::new(Ok(reply)))),
                ServerFrame::Error { id: of, error } if of.is_none_or(|of| of == id) => return Ok(Heard::Answer(Box::new(Err(error)))),
                ServerFrame::Event(event) => return Ok(Heard::Event(event)),
                // The answer to something that is no longer waited for.
                ServerFrame::Reply { .. } | ServerFrame::Error { .. } => {}
            }
        }
    }

    /// Waits for the body of the answer that comes next, unread: for answers that are large.
    pub async fn next_body(&mut self) -> Result<Vec<u8>, Refusal> {
        match self.reader.read_body(&mut self.connection.from, Limit::CONTROL).await {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(lost(&self.connection, None)),
            Err(error) => Err(lost(&self.connection, Some(&error))),
        }
    }

    /// Waits for an event, however long that takes.
    pub async fn event(&mut self) -> Result<Event, Refusal> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        loop {
            match self.frame().await? {
                ServerFrame::Event(event) => return Ok(*event),
                ServerFrame::Error { id: None, error } => return Err(error),
                // The answer to something that is no longer waited for.
                ServerFrame::Reply { .. } | ServerFrame::Error { .. } => {}
            }
        }
    }

    /// Waits until the daemon has hung up.
    pub async fn hung_up(&mut self) {
        while let Ok(Some(_)) = self.reader.read_body(&mut self.connection.from, Limit::CONTROL).await {}
    }

    async fn frame(&mut self) -> Result<ServerFrame, Refusal> {
        let body = self.next_body().await?;
        match frame::decode(&body).map_err(|error| lost(&self.connection, Some(&error)))? {
            // Who stopped the daemon has not stopped what is done here: to us it is gone.
            ServerFrame::Error { id: None, error } if error.kind == Kind::Interrupted => Err(Refusal { kind: Kind::NoDaemon, ..error }),
            frame => Ok(frame),
        }
    }
}

/// Returns the refusal for an answer of another kind than was asked for.
#[must_use]
pub fn unexpected(reply: &Reply) -> Refusal {
    let shown: String = format!("{reply:?}").chars().take(60).collect();
    Refusal::new(Kind::Failed, format!("the daemon answered something else: {shown}"), "restart the daemon: perilune stop")
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::units::JobId;
    use crate::wire::Change;

    /// As Ctrl-C does that comes while a large snapshot arrives.
    #[test]
    fn a_frame_that_is_not_waited_for_to_its_end_is_not_lost() {
        let event = Event { seq: 1, change: Change::Gone(vec![JobId(7)]) };
        let bytes = frame::encode(&ServerFrame::Event(Box::new(event.clone())), Limit::CONTROL).unwrap();
        let reply = ServerFrame::Reply { id: 1, reply: Reply::Changed(vec![JobId(7)]) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for cut in 0..bytes.len() {
            runtime.block_on(async {
                let (mut daemon, from) = tokio::io::duplex(4096);
                let connection = Connection { from: Box::new(from), to: Box::new(tokio::io::sink()), carrier: None };
                let mut client = Client::over(connection);
                daemon.write_all(&bytes[..cut]).await.unwrap();
                tokio::select! {
                    biased;
                    event = client.event() => panic!("{event:?} is not there yet"),
                    () = std::future::ready(()) => {}
                }
                daemon.write_all(&bytes[cut..]).await.unwrap();
                asynchronous::write(&mut daemon, &reply, Limit::CONTROL).await.unwrap();
                drop(daemon);
                assert_eq!(client.call(Request::Cancel(vec![JobId(7)])).await, Ok(Reply::Changed(vec![JobId(7)])), "cut at {cut}");
                assert_eq!(client.event().await, Ok(event.clone()), "cut at {cut}");
            });
        }
    }
}
