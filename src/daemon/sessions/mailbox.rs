//! What waits to be sent to one client.
//!
//! Answers always wait their turn. Events are bounded: where only the latest counts, it takes the
//! place of the one before; where each counts, a client that lets too many pile up is let go, and
//! asks for the whole again when it comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::units::JobId;
use crate::wire::{Change, Event, ServerFrame};

/// Events that may wait.
const EVENTS: usize = 1024;

/// Something to send.
#[derive(Debug)]
enum Item {
    Frame(Box<ServerFrame>),
    Change(Arc<Change>),
}

/// What only its latest counts of.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Progress(JobId),
    Preview(JobId),
    Devices,
    Queue,
    Sets,
    Engines,
    Conversions,
}

fn kind(change: &Change) -> Option<Kind> {
    match change {
        Change::Progress { job, .. } => Some(Kind::Progress(*job)),
        Change::Preview(preview) => Some(Kind::Preview(preview.job)),
        Change::Devices { .. } => Some(Kind::Devices),
        Change::Queue { .. } => Some(Kind::Queue),
        Change::Sets(_) => Some(Kind::Sets),
        Change::Engines(_) => Some(Kind::Engines),
        Change::Conversions(_) => Some(Kind::Conversions),
        Change::Snapshot(_) | Change::Job(_) | Change::Gone(_) | Change::Notice(_) | Change::Log(_) => None,
    }
}

/// Returns whether a snapshot says this too. A notice is told when it comes, the log line by line.
fn is_in_snapshots(change: &Change) -> bool {
    match change {
        Change::Snapshot(_)
        | Change::Job(_)
        | Change::Gone(_)
        | Change::Progress { .. }
        | Change::Devices { .. }
        | Change::Queue { .. }
        | Change::Sets(_)
        | Change::Engines(_)
        | Change::Conversions(_) => true,
        Change::Preview(_) | Change::Notice(_) | Change::Log(_) => false,
    }
}

#[derive(Debug, Default)]
struct Content {
    items: VecDeque<Item>,
    events: usize,
    seq: u64,
    closed: bool,
    overflowed: bool,
}

/// What waits to be sent to one client.
#[derive(Debug, Default)]
pub struct Mailbox {
    content: Mutex<Content>,
    arrived: Notify,
}

/// What comes out of a mailbox.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Send this.
    Send(Box<ServerFrame>),
    /// All was sent, and no more will come.
    Closed,
    /// Too much had piled up.
    Overflowed,
}

impl Mailbox {
    fn locked(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an answer.
    pub fn answer(&self, frame: ServerFrame) {
        self.locked().items.push_back(Item::Frame(Box::new(frame)));
        self.arrived.notify_one();
    }

    /// Adds an event. A snapshot takes the place of all events before it that it says too.
    pub fn tell(&self, change: Arc<Change>) {
        let mut content = self.locked();
        let before = content.items.len();
        if matches!(*change, Change::Snapshot(_)) {
            content.items.retain(|item| !matches!(item, Item::Change(c) if is_in_snapshots(c)));
        } else if let Some(kind_of_this) = kind(&change) {
            content.items.retain(|item| !matches!(item, Item::Change(c) if kind(c).as_ref() == Some(&kind_of_this)));
        }
        content.events -= before - content.items.len();
        if content.events >= EVENTS {
            content.overflowed = true;
        } else {
            content.items.push_back(Item::Change(change));
            content.events += 1;
        }
        drop(content);
        self.arrived.notify_one();
    }

    /// Lets what is there be sent, and nothing after it.
    pub fn close(&self) {
        self.locked().closed = true;
        self.arrived.notify_one();
    }

    /// Waits for something to send.
    pub async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.arrived.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut content = self.locked();
        if content.overflowed {
            return Some(Next::Overflowed);
        }
        match content.items.pop_front() {
            Some(Item::Frame(frame)) => Some(Next::Send(frame)),
            Some(Item::Change(change)) => {
                content.events -= 1;
                content.seq += 1;
                let event = Event { seq: content.seq, change: Arc::unwrap_or_clone(change) };
                Some(Next::Send(Box::new(ServerFrame::Event(Box::new(event)))))
            }
            None => content.closed.then_some(Next::Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Progress;
    use crate::wire::Reply;

    fn progress(job: i64, step: u32) -> Arc<Change> {
        Arc::new(Change::Progress { job: JobId(job), progress: Progress { step, ..Progress::starting(9) } })
    }

    fn drain(mailbox: &Mailbox) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(next) = mailbox.take() {
            match next {
                Next::Send(frame) => match *frame {
                    ServerFrame::Event(event) => match event.change {
                        Change::Progress { job, progress } => all.push(format!("{}: {job} at {}", event.seq, progress.step)),
                        other => all.push(format!("{}: {other:?}", event.seq)),
                    },
                    other => all.push(format!("{other:?}")),
                },
                Next::Closed => return all,
                Next::Overflowed => {
                    all.push("overflowed".to_owned());
                    return all;
                }
            }
        }
        all
    }

    #[test]
    fn the_latest_progress_takes_the_place_of_the_one_before() {
        let mailbox = Mailbox::default();
        for step in 0..5000 {
            mailbox.tell(progress(1, step));
            mailbox.tell(progress(2, step));
        }
        assert_eq!(drain(&mailbox), ["1: 1 at 4999", "2: 2 at 4999"], "numbers have no gap");
    }

    #[test]
    fn who_lets_too_much_pile_up_is_let_go() {
        let mailbox = Mailbox::default();
        for _ in 0..=EVENTS {
            mailbox.tell(Arc::new(Change::Gone(vec![JobId(1)])));
        }
        assert_eq!(drain(&mailbox), ["overflowed"]);
    }

    #[test]
    fn answers_are_never_dropped_and_come_before_the_end() {
        let mailbox = Mailbox::default();
        for id in 0..3000 {
            mailbox.answer(ServerFrame::Reply { id, reply: Reply::Done });
        }
        mailbox.close();
        assert_eq!(drain(&mailbox).len(), 3000);
    }
}
