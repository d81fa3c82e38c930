//! A client wants to hear of changes: it gets everything first.

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::pending::Pending;
use crate::daemon::snapshot;
use crate::wire::control::Topics;

/// Has the snapshot put together; the client listens from the moment it is.
pub(super) fn subscribe(core: &mut Core, asker: Asker, topics: Topics) {
    core.ask_ledger(snapshot::question(core, &topics), Pending::Subscribe(asker, topics));
}
