//! The poller's threads and what they share.
//!
//! ```text
//!   conductor ── asks, once per tick or when a reader insists ──> sources, a thread each
//!       ^                                                            │
//!       └──────────────── an answer, whenever it comes ──────────────┘
//! ```
//!
//! In a round the conductor waits a moment for the sources that are usually prompt, so that a tick makes
//! one frame; a late answer makes a frame of its own. It waits for no source that was late before, and
//! nobody holds the lock while asking, putting away or handing on.

use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::telemetry::frame::{Frame, Part, STALE_AFTER, compose};
use crate::telemetry::listener::{Hearsay, Put};
use crate::telemetry::{Ask, Probe};
use crate::units::{Clock, Timestamp};

/// Longest wait for a round's answers, for readings that are due together.
const GRACE: Duration = Duration::from_millis(200);

/// One source, seen from outside its thread.
pub(super) struct Slot {
    part: Part,
    /// The last round it was asked in, and the last it has answered.
    asked: u64,
    answered: u64,
    /// Whether its last answer came in time.
    prompt: bool,
    good_for: Duration,
}

/// What the threads share. The lock is held for moments only.
pub(super) struct State {
    slots: Vec<Slot>,
    round: u64,
    pub(super) ask: Arc<Ask>,
    pub(super) watched: bool,
    pub(super) stopping: bool,
    /// How many readers have insisted, how many of them a round was begun for, and which round that was.
    insisted: u64,
    served: u64,
    served_round: u64,
    /// Whether an answer came that no frame shows yet.
    news: bool,
    frame: Arc<Frame>,
    /// What drivers have told by themselves.
    hearsay: Hearsay,
    /// Names of the threads that still run.
    pub(super) running: Vec<&'static str>,
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Sources wait here to be asked, the conductor for a reason to do something, readers for answers.
    pub(super) turn: Condvar,
    pub(super) desk: Condvar,
    pub(super) fresh: Condvar,
    clock: Arc<dyn Clock>,
    interval: Duration,
    grace: Duration,
}

/// The conductor's name among the threads.
pub(super) const CONDUCTOR: &str = "conductor";

impl Shared {
    pub(super) fn new(probes: &[Box<dyn Probe>], interval: Duration, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        // Everything is asked once, also when nobody watches, so that the first look finds something.
        let slots: Vec<Slot> = probes
            .iter()
            .map(|probe| Slot {
                part: Part { name: probe.name(), last: None, asked: Some(now), fresh_for: STALE_AFTER, silence: probe.silence() },
                asked: 1,
                answered: 0,
                prompt: false,
                good_for: probe.good_for(),
            })
            .collect();
        let frame = Arc::new(compose(slots.iter().map(|s| &s.part), now));
        let state = State {
            slots,
            round: 1,
            ask: Arc::default(),
            watched: false,
            stopping: false,
            insisted: 0,
            served: 0,
            served_round: 0,
            news: false,
            frame,
            hearsay: Hearsay::default(),
            running: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            turn: Condvar::new(),
            desk: Condvar::new(),
            fresh: Condvar::new(),
            clock,
            interval,
            grace: GRACE.min(interval / 2),
        }
    }

    /// A thread that panicked leaves the state as whole as any other; it is only plain values.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last frame, its ages made right.
    pub(super) fn latest(&self) -> Arc<Frame> {
        let state = self.lock();
        let now = self.clock.now();
        if now.since(state.frame.taken) < Duration::from_secs(1) { Arc::clone(&state.frame) } else { Arc::new(state.compose(now)) }
    }

    /// Has every source asked anew and returns what is there when all have answered, or when time is up.
    pub(super) fn read_now(&self, within: Duration) -> Arc<Frame> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        state.insisted += 1;
        let mine = state.insisted;
        self.desk.notify_one();
        while !state.stopping && !state.has_answered(mine) {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state = wait(&self.fresh, state, left);
        }
        Arc::new(state.compose(self.clock.now()))
    }

    /// Takes in what a listener has heard, and then waits so long, or until the end; that is a reason to break.
    pub(super) fn rest(&self, time: Duration, put: &mut Put<'_>) -> ControlFlow<()> {
        let deadline = Instant::now() + time;
        let mut state = self.lock();
        let before = state.hearsay.clone();
        put(&mut state.hearsay, self.clock.now());
        if state.hearsay != before {
            state.news = true;
            self.desk.notify_one();
        }
        while !state.stopping {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return ControlFlow::Continue(());
            };
            state = wait(&self.turn, state, left);
        }
        ControlFlow::Break(())
    }

    /// Waits until every thread has ended, or until time is up, and returns those that have not.
    pub(super) fn wait_for_end(&self, within: Duration) -> Vec<&'static str> {
        let deadline = Instant::now() + within;
        let mut state = self.lock();
        while !state.running.is_empty() {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state = wait(&self.fresh, state, left);
        }
        state.running.clone()
    }
}

impl State {
    fn compose(&self, now: Timestamp) -> Frame {
        let mut frame = compose(self.slots.iter().map(|slot| &slot.part), now);
        self.hearsay.dress(&mut frame.devices);
        frame
    }

    /// Asks the sources whose reading is used up; where a reader insists, all of them.
    fn begin_round(&mut self, now: Timestamp, insisted: bool) {
        self.round += 1;
        for slot in &mut self.slots {
            let used_up = slot.part.last.as_ref().is_none_or(|(taken, _)| now < *taken || now.since(*taken) >= slot.good_for);
            // A tick does not ask again what is still being read, or a slow source would never rest.
            let busy = slot.asked > slot.answered;
            if insisted || (used_up && !busy) {
                slot.asked = self.round;
                slot.part.asked = slot.part.asked.or(Some(now));
            }
        }
    }

    /// Returns whether the round that was begun for a reader is over.
    fn has_answered(&self, reader: u64) -> bool {
        self.served >= reader && self.slots.iter().all(|slot| slot.answered >= self.served_round)
    }

    fn awaits_prompt_answers(&self) -> bool {
        self.slots.iter().any(|slot| slot.prompt && slot.asked == self.round && slot.answered < self.round)
    }
}

/// Announces a thread's end, also when it ends in a panic.
pub(super) struct Running<'a> {
    shared: &'a Shared,
    name: &'static str,
}

impl<'a> Running<'a> {
    pub(super) fn new(shared: &'a Shared, name: &'static str) -> Self {
        Self { shared, name }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(at) = state.running.iter().position(|name| *name == self.name) {
            state.running.swap_remove(at);
        }
        self.shared.fresh.notify_all();
    }
}

/// The life of a source's thread.
pub(super) fn serve(shared: &Shared, place: usize, mut probe: Box<dyn Probe>) {
    let mut state = shared.lock();
    loop {
        while !state.stopping && state.slots[place].answered >= state.slots[place].asked {
            state = shared.turn.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopping {
            return;
        }
        let round = state.slots[place].asked;
        let ask = Arc::clone(&state.ask);
        drop(state);

        let now = shared.clock.now();
        let begun = Instant::now();
        let sample = Arc::new(probe.read(now, &ask));
        let took = begun.elapsed();

        state = shared.lock();
        let slot = &mut state.slots[place];
        slot.answered = round;
        slot.prompt = took <= shared.grace;
        slot.good_for = probe.good_for();
        slot.part.fresh_for = STALE_AFTER.max(2 * shared.interval.max(slot.good_for));
        slot.part.last = Some((now, sample));
        slot.part.asked = (slot.asked > round).then(|| shared.clock.now());
        state.news = true;
        shared.desk.notify_one();
        shared.fresh.notify_all();
    }
}

/// The life of the conductor's thread.
pub(super) fn conduct(shared: &Shared, sink: impl Fn(Arc<Frame>)) {
    let mut tick = Instant::now() + shared.interval;
    let mut state = shared.lock();
    loop {
        let insisted = state.insisted > state.served;
        let left = tick.saturating_duration_since(Instant::now());
        if state.stopping {
            return;
        } else if insisted || (state.watched && left.is_zero()) {
            tick = Instant::now() + shared.interval;
            state.begin_round(shared.clock.now(), insisted);
            if insisted {
                state.served = state.insisted;
                state.served_round = state.round;
            }
            shared.turn.notify_all();
            state = gather(shared, state);
        } else if state.news {
            // A source answered late, or for the first time.
        } else if state.watched {
            state = wait(&shared.desk, state, left);
            continue;
        } else {
            state = shared.desk.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        state = publish(shared, state, &sink);
    }
}

/// Waits for the prompt sources' answers.
fn gather<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let deadline = Instant::now() + shared.grace;
    while !state.stopping && state.awaits_prompt_answers() {
        let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            let round = state.round;
            for slot in &mut state.slots {
                slot.prompt &= slot.asked < round || slot.answered >= round;
            }
            break;
        };
        state = wait(&shared.desk, state, left);
    }
    state
}

fn publish<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>, sink: &impl Fn(Arc<Frame>)) -> MutexGuard<'a, State> {
    state.news = false;
    if state.slots.iter().all(|slot| slot.part.last.is_none()) {
        return state;
    }
    let frame = Arc::new(state.compose(shared.clock.now()));
    state.frame = Arc::clone(&frame);
    drop(state);
    sink(frame);
    shared.lock()
}

fn wait<'a>(on: &Condvar, state: MutexGuard<'a, State>, at_most: Duration) -> MutexGuard<'a, State> {
    on.wait_timeout(state, at_most).unwrap_or_else(PoisonError::into_inner).0
}
