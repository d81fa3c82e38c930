//! Waiting for something to become true, never for time to pass.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a loaded machine; a test that passes never waits so long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Waits until `cond` holds and says whether it did before `within` was over.
pub(crate) fn until(within: Duration, mut cond: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if cond() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
