//! `perilune bridge`: the daemon's protocol over standard input and output, for ssh.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use crate::cli::context::Context;
use crate::client::connect_raw;
use crate::wire::frame;
use crate::wire::{Limit, ServerFrame};
use crate::workflow::{Kind, Refusal};

/// Carries bytes both ways until one side ends. What they mean is none of its business.
pub(super) fn bridge(context: &Context) -> Result<(), Refusal> {
    let gate = context.gate();
    let connected = context.wait_for(async {
        let socket = connect_raw(&gate).await?.into_std().map_err(|e| broken(&e))?;
        socket.set_nonblocking(false).map_err(|e| broken(&e))?;
        Ok(socket)
    });
    match connected {
        Ok(socket) => carry(&socket).map_err(|e| broken(&e)),
        Err(error) => {
            // The other side waits for a greeting, and is told instead why none comes.
            if let Ok(bytes) = frame::encode(&ServerFrame::Error { id: None, error: error.clone() }, Limit::CONTROL) {
                drop(io::stdout().write_all(&bytes).and_then(|()| io::stdout().flush()));
            }
            Err(error)
        }
    }
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::new(Kind::NoDaemon, format!("the connection to the daemon broke: {error}"), "ask again, `perilune status`")
}

fn carry(socket: &UnixStream) -> io::Result<()> {
    // Standard output as a file: every byte goes out at once.
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut to = socket.try_clone()?;
    let from_client = std::thread::Builder::new().name("from client".to_owned()).spawn(move || {
        let copied = copy(&mut input, &mut to);
        // The daemon answers what it was asked, and then hangs up.
        drop(to.shutdown(Shutdown::Write));
        copied
    })?;
    let mut from = socket.try_clone()?;
    // Done when the daemon hangs up; what the client still says nobody hears.
    copy(&mut from, &mut output)?;
    drop(from_client);
    Ok(())
}

/// Copies until there is no more. The standard library's copy would `splice`, and Linux locks a pipe for
/// as long as a splice into it waits for its socket: then the client cannot even look whether it is empty.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&chunk[..n])?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
