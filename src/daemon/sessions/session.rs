//! One client: greeted, listened to, answered.
//!
//! ```text
//!  hello both ways -> requests … answers and events … -> either side hangs up
//!      | other build: told, and hung up         | not JSON, or too long: told, and hung up
//! ```

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Mailbox;
use super::mailbox::Next;
use crate::daemon::input::{Asker, Input};
use crate::daemon::run::Message;
use crate::units::SessionId;
use crate::wire::frame::{self, FrameError};
use crate::wire::hello::HelloFrame;
use crate::wire::{Hello, Limit, Request, ServerFrame, asynchronous};
use crate::workflow::{Kind, Refusal};

/// Until a client must have greeted.
const GREETING: Duration = Duration::from_secs(10);
/// How long a client may leave us waiting for room to write.
const STALLED: Duration = Duration::from_secs(30);
/// Requests that may wait for their answers; further ones are read when some have been sent.
const REQUESTS: usize = 256;
/// Letters of an error that a client is told.
const ERROR_SHOWN: usize = 400;

/// As many answers as can be owed, less the one for the request that never came.
const REQUESTS_OWED: u32 = REQUESTS as u32 - 1;
/// How long a client that asks no more is owed answers.
const OWED: Duration = Duration::from_secs(30);

/// A request whose inside is looked at only when its number is known, so that the answer can name it.
#[derive(Deserialize)]
struct Envelope {
    id: u64,
    request: serde_json::Value,
}

/// Serves one client until it goes.
pub async fn serve(socket: UnixStream, session: SessionId, tell: mpsc::Sender<Message>) {
    let (mut from, mut to) = socket.into_split();
    if !greet(&mut from, &mut to).await {
        return;
    }
    let mailbox = Arc::new(Mailbox::default());
    if tell.send(Message::Entered(session, mailbox.clone())).await.is_err() {
        return;
    }
    let room = Arc::new(Semaphore::new(REQUESTS));
    let mut writer = tokio::spawn(write(to, mailbox.clone(), room.clone()));
    tokio::select! {
        () = read(&mut from, session, &tell, &mailbox, &room) => {
            // What was asked before the client hung up, or was told why, is still answered; the last reading is no request.
            tokio::select! {
                _ = timeout(OWED, room.acquire_many(REQUESTS_OWED)) => {}
                _ = &mut writer => {}
            }
            mailbox.close();
            if !writer.is_finished() {
                drop((&mut writer).await);
            }
        }
        _ = &mut writer => {}
    }
    writer.abort();
    // When the daemon ends, nobody listens any more.
    drop(tell.send(Message::Left(session)).await);
}

/// Both sides name their build. Returns whether they are the same.
async fn greet(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> bool {
    if asynchronous::write(to, &Hello::ours(), Limit::CONTROL).await.is_err() {
        return false;
    }
    let theirs = timeout(GREETING, asynchronous::read::<HelloFrame>(from, Limit::CONTROL)).await;
    let refusal = match theirs {
        Ok(Ok(Some(theirs))) => match theirs.hello.check() {
            Ok(()) => return true,
            Err(mismatch) => Refusal::new(Kind::NoDaemon, mismatch.to_string(), "restart the daemon: perilune stop"),
        },
        Ok(Err(error)) if error.is_nonsense() => nonsense(&error),
        Ok(Ok(None) | Err(_)) | Err(_) => return false,
    };
    let frame = ServerFrame::Error { id: None, error: refusal };
    // The client may have hung up already; then it does not want to know.
    drop(asynchronous::write(to, &frame, Limit::CONTROL).await);
    false
}

/// Returns an error's words without the megabytes that it may quote: the answer must fit into a frame, too.
fn beginning(error: &impl Display) -> String {
    error.to_string().chars().take(ERROR_SHOWN).collect()
}

fn nonsense(error: &FrameError) -> Refusal {
    Refusal::new(Kind::Usage, beginning(error), "speak perilune's protocol: a length of four bytes, then JSON")
}

async fn read(from: &mut OwnedReadHalf, session: SessionId, tell: &mpsc::Sender<Message>, mailbox: &Mailbox, room: &Semaphore) {
    loop {
        // Given back by the writer with each answer.
        let Ok(permit) = room.acquire().await else { return };
        permit.forget();
        let body = match asynchronous::read_body(from, Limit::CONTROL).await {
            Ok(Some(body)) => body,
            Ok(None) => return,
            Err(error) => {
                if error.is_nonsense() {
                    mailbox.answer(ServerFrame::Error { id: None, error: nonsense(&error) });
                }
                return;
            }
        };
        match understand(&body) {
            Ok((id, request)) => {
                if tell.send(Message::Input(Input::Asked(Asker { session, id }, request))).await.is_err() {
                    return;
                }
            }
            Err((id, error)) => {
                mailbox.answer(ServerFrame::Error { id, error });
                // Without a number nobody knows what comes next.
                if id.is_none() {
                    return;
                }
            }
        }
    }
}

fn understand(body: &[u8]) -> Result<(u64, Request), (Option<u64>, Refusal)> {
    let envelope: Envelope = frame::decode(body).map_err(|error| (None, nonsense(&error)))?;
    let request = serde_json::from_value(envelope.request).map_err(|error| {
        let hint = "client and daemon are of the same build, so this client is not perilune";
        (Some(envelope.id), Refusal::new(Kind::Usage, format!("not a request: {}", beginning(&error)), hint))
    })?;
    Ok((envelope.id, request))
}

async fn write(mut to: OwnedWriteHalf, mailbox: Arc<Mailbox>, room: Arc<Semaphore>) {
    loop {
        let frame = match mailbox.next().await {
            Next::Send(frame) => frame,
            Next::Closed => return,
            Next::Overflowed => {
                tracing::warn!("a client does not keep up and is let go");
                return;
            }
        };
        let answers = matches!(*frame, ServerFrame::Reply { .. } | ServerFrame::Error { .. });
        match timeout(STALLED, asynchronous::write(&mut to, &*frame, Limit::CONTROL)).await {
            Ok(Ok(())) => {}
            Ok(Err(FrameError::TooLong { claimed, .. })) => {
                tracing::error!("an answer of {claimed} bytes is too long to be sent");
                match too_long(&frame) {
                    Some(instead) if asynchronous::write(&mut to, &instead, Limit::CONTROL).await.is_ok() => {}
                    Some(_) | None => return,
                }
            }
            Ok(Err(_)) => return,
            Err(_) => {
                tracing::warn!("a client reads nothing and is let go");
                return;
            }
        }
        if answers {
            room.add_permits(1);
        }
    }
}

/// Returns what is said in place of an answer that no frame holds. Without an event the client must begin anew.
fn too_long(frame: &ServerFrame) -> Option<ServerFrame> {
    let id = match frame {
        ServerFrame::Reply { id, .. } => Some(*id),
        ServerFrame::Error { id, .. } => *id,
        ServerFrame::Event(_) => return None,
    };
    let error = Refusal::new(Kind::Failed, "the answer is too long to be sent", "ask for less, such as `queue list --limit 20`");
    Some(ServerFrame::Error { id, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::JobId;

    #[test]
    fn what_can_be_named_in_the_answer_is() {
        assert_eq!(understand(br#"{"id":7,"request":{"show":41}}"#).unwrap(), (7, Request::Show(JobId(41))));
        let id = |body: &[u8]| understand(body).unwrap_err().0;
        assert_eq!(id(br#"{"id":7,"request":"explode"}"#), Some(7));
        assert_eq!(id(br#"{"id":7,"request":{"show":"x"}}"#), Some(7));
        assert_eq!(id(br#"{"id":"x","request":"status"}"#), None);
        assert_eq!(id(b"hello"), None);
    }
}
