//! Lets clients in, if they are this user's.

use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::session;
use crate::daemon::door::Door;
use crate::daemon::run::Message;
use crate::units::SessionId;

/// Clients that may be there at once.
const CLIENTS: usize = 256;

/// How often it is looked whether the socket is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Lets clients in until `closing` is; then waits for those who are there to get what they are owed.
pub async fn listen(
    mut listener: UnixListener,
    mut door: Door,
    tell: mpsc::Sender<Message>,
    mut closing: tokio::sync::watch::Receiver<bool>,
) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut sessions = JoinSet::new();
    let mut next = SessionId(1);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
            _ = looks.tick() => {
                match door.mend().map(UnixListener::from_std) {
                    Some(Ok(anew)) => listener = anew,
                    Some(Err(error)) => tracing::error!("no client can come in: {error}"),
                    None => {}
                }
                continue;
            }
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match accepted {
            Ok((socket, _)) if is_ours(&socket) && sessions.len() < CLIENTS => {
                sessions.spawn(session::serve(socket, next, tell.clone()));
                next = SessionId(next.0 + 1);
            }
            Ok((socket, _)) => {
                tracing::warn!("a client was turned away: it is another user's, or there are {CLIENTS} already");
                drop(socket);
            }
            Err(error) => {
                // Out of file descriptors, most likely; some will be free again.
                tracing::warn!("no client can be let in: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

fn is_ours(socket: &UnixStream) -> bool {
    socket.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::getuid().as_raw())
}
