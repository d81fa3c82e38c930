//! Reaches the daemon, and makes sure that it is the right one.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::gate::{Gate, Place};
use super::{autostart, holder, ssh};
use crate::config::{private_folder, socket_note};
use crate::wire::frame;
use crate::wire::hello::{HelloFrame, Mismatch};
use crate::wire::{FrameError, Hello, Limit, ServerFrame, asynchronous};
use crate::workflow::{Kind, Refusal};

/// Until a daemon must have greeted; on another machine ssh asks for a password in the meantime.
const GREETING: Duration = Duration::from_secs(10);
const GREETING_OF_HOST: Duration = Duration::from_mins(2);

/// The two directions of a conversation with a daemon that has greeted.
pub struct Connection {
    /// What it says.
    pub from: Box<dyn AsyncRead + Send + Unpin>,
    /// What we say.
    pub to: Box<dyn AsyncWrite + Send + Unpin>,
    /// The program that carries it, for other machines.
    pub carrier: Option<ssh::Carrier>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("carrier", &self.carrier).finish_non_exhaustive()
    }
}

/// How often a connection is tried that ends before the greeting: a daemon may have been ending just then.
const TRIES: u32 = 3;

/// Connects to the daemon, which is started where that is allowed, and exchanges greetings.
pub async fn connect(gate: &Gate) -> Result<Connection, Refusal> {
    for _ in 1..TRIES {
        match connect_once(gate).await {
            Err(Unmet::Lost(_)) if matches!(gate.place, Place::Local) => {}
            met => return met.map_err(Unmet::into),
        }
    }
    connect_once(gate).await.map_err(Unmet::into)
}

/// Why there is no connection.
enum Unmet {
    /// It ended before the greeting.
    Lost(Refusal),
    /// Anything else.
    Refused(Refusal),
}

impl From<Unmet> for Refusal {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Lost(refusal) | Unmet::Refused(refusal) => refusal,
        }
    }
}

async fn connect_once(gate: &Gate) -> Result<Connection, Unmet> {
    let (mut connection, patience) = match &gate.place {
        Place::Local => {
            let (from, to) = connect_raw(gate).await.map_err(Unmet::Refused)?.into_split();
            (Connection { from: Box::new(from), to: Box::new(to), carrier: None }, GREETING)
        }
        Place::Host(host) => (ssh::connect(gate, host).map_err(Unmet::Refused)?, GREETING_OF_HOST),
    };
    match timeout(patience, greet(&mut connection)).await {
        Ok(result) => result?,
        Err(_) => return Err(Unmet::Refused(silent(&gate.place, patience))),
    }
    Ok(connection)
}

/// What is wrong where there is no daemon, here or on another box.
pub const NOBODY: &str = "no daemon runs";

/// Connects to the socket of this machine's daemon, which is started where that is allowed.
pub async fn connect_raw(gate: &Gate) -> Result<UnixStream, Refusal> {
    match knock(gate).await? {
        Some(socket) => Ok(socket),
        None if gate.spawn => autostart::start(gate).await,
        None => Err(match holder::daemon_pid(&gate.paths) {
            Some(pid) => unreachable(gate, pid),
            None => Refusal::new(Kind::NoDaemon, NOBODY, "start one with `perilune serve`, or leave out --no-spawn"),
        }),
    }
}

/// What is wrong where a daemon runs that nobody can come to.
pub(super) fn unreachable(gate: &Gate, pid: Pid) -> Refusal {
    let path = socket_note::read(&gate.paths).unwrap_or_else(|| gate.paths.socket());
    let message = format!("a daemon runs, pid {}, but does not listen on {}", pid.as_raw_pid(), path.display());
    Refusal::new(Kind::NoDaemon, message, "try again in a second; if it stays so, `perilune stop` ends it, and jobs wait for the next one")
}

/// Connects to the daemon if one listens, in the usual place or in the one it has noted.
pub(super) async fn knock(gate: &Gate) -> Result<Option<UnixStream>, Refusal> {
    let usual = gate.paths.socket();
    if let Some(socket) = knock_at(&usual).await? {
        return Ok(Some(socket));
    }
    match socket_note::read(&gate.paths).filter(|noted| *noted != usual) {
        Some(noted) => knock_at(&noted).await,
        None => Ok(None),
    }
}

/// Connects to this socket if somebody listens there.
async fn knock_at(path: &Path) -> Result<Option<UnixStream>, Refusal> {
    if let Some(folder) = path.parent() {
        private_folder::check(folder).map_err(|e| e.refusal(Kind::NoDaemon))?;
    }
    let socket = match UnixStream::connect(path).await {
        Ok(socket) => socket,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => {
            let hint = "check the socket's permissions; `perilune doctor` looks at it";
            return Err(Refusal::new(Kind::NoDaemon, format!("{} cannot be connected to: {e}", path.display()), hint));
        }
    };
    let owner = socket.peer_cred().map(|peer| peer.uid());
    if owner.as_ref().is_ok_and(|uid| *uid == rustix::process::getuid().as_raw()) {
        return Ok(Some(socket));
    }
    let who = owner.map_or_else(|_| "somebody else".to_owned(), |uid| format!("user {uid}"));
    let hint = "set PERILUNE_HOME to a folder of your own";
    Err(Refusal::new(Kind::NoDaemon, format!("the daemon at {} belongs to {who}", path.display()), hint))
}

async fn greet(connection: &mut Connection) -> Result<(), Unmet> {
    // A daemon that has hung up may still have said why.
    let sent = asynchronous::write(&mut connection.to, &Hello::ours(), Limit::CONTROL).await;
    let body = asynchronous::read_body(&mut connection.from, Limit::CONTROL).await;
    let body = match (body, sent) {
        (Ok(Some(body)), _) => body,
        (Ok(None), _) => return Err(Unmet::Lost(lost(connection, None))),
        (Err(error), _) => return Err(Unmet::Lost(lost(connection, Some(&error)))),
    };
    if let Ok(HelloFrame { hello }) = frame::decode(&body) {
        let refuse = |e: Mismatch| Refusal::new(Kind::NoDaemon, e.to_string(), "restart the daemon: perilune stop");
        return hello.check().map_err(|e| Unmet::Refused(refuse(e)));
    }
    Err(Unmet::Refused(match frame::decode(&body) {
        Ok(ServerFrame::Error { error, .. }) => error,
        Ok(ServerFrame::Reply { .. } | ServerFrame::Event(_)) | Err(_) => {
            Refusal::new(Kind::NoDaemon, "what answers is no daemon of perilune", "`perilune doctor` looks at the socket")
        }
    }))
}

/// Returns the refusal for a connection that ended.
pub(super) fn lost(connection: &Connection, error: Option<&FrameError>) -> Refusal {
    let carrier = connection.carrier.as_ref().and_then(ssh::Carrier::last_words);
    let why = match (carrier, error) {
        (Some(words), _) => format!(": {words}"),
        (None, Some(error)) => format!(": {error}"),
        (None, None) => String::new(),
    };
    Refusal::new(Kind::NoDaemon, format!("the connection to the daemon was lost{why}"), "jobs go on; ask again, `perilune status`")
}

fn silent(place: &Place, patience: Duration) -> Refusal {
    let message = format!("the daemon ({place}) did not greet within {} s", patience.as_secs());
    Refusal::new(Kind::NoDaemon, message, "it may hang; `perilune stop` ends it")
}
