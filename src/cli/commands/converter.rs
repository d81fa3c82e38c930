//! `perilune converter`, which the daemon starts: converts what the socket that is its standard input says, and tells it there.
//!
//! It reads no settings: all it needs is in the order, but for the keys to the back-up, which are in its environment. It ends when the socket does.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::cli::context::access;
use crate::config::{Environment, StoreKeys};
use crate::conversion::Watch;
use crate::daemon::converters::{obey, progress};
use crate::units::Bytes;
use crate::wire::{ConvertOrder, ConvertReport, Limit, blocking};
use crate::workflow::{Kind, Refusal};

/// How far it steps back behind everybody else. Linux takes the claim on disks from it, too.
const NICE: i32 = 10;

/// Converts, and tells what came of it.
pub(in crate::cli) fn converter(environment: &Environment) -> Result<u8, Refusal> {
    let refused = |e: io::Error| Refusal::bare(Kind::Failed, format!("standard input is no socket: {e}"));
    if let Err(errno) = rustix::process::nice(NICE) {
        tracing::debug!("priority stays as it is: {errno}");
    }
    let mut from = io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from).map_err(refused)?;
    let to = Mutex::new(from.try_clone().map_err(refused)?);
    let read = |e: crate::wire::FrameError| Refusal::bare(Kind::Usage, format!("the order cannot be read: {e}"));
    let order: Option<ConvertOrder> = blocking::read(&mut from, Limit::CONTROL).map_err(read)?;
    let Some(order) = order else { return Ok(0) };
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    let waits = thread::Builder::new().name("daemon".to_owned()).spawn(move || {
        // Nothing more is said; the end of the socket is the end of the daemon.
        while let Ok(Some(serde_json::Value::Null)) = blocking::read(&mut from, Limit::CONTROL) {}
        ended.store(true, Ordering::Relaxed);
    });
    waits.map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")))?;
    let say = |report: &ConvertReport| {
        let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
        if blocking::write(&mut *to, report, Limit::CONTROL).is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = order.threads.and_then(|n| usize::try_from(n).ok()).unwrap_or(processors);
    let tell = |done: Bytes, all: Bytes| say(&progress(done, all));
    let report = obey(&order, access(StoreKeys::of(environment)), Watch { stop: &stop, tell: &tell, threads }, &say);
    say(&report);
    Ok(0)
}
