//! A client that says what a test wants to be said.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use perilune::jobs::{JobState, JobView};
use perilune::units::JobId;
use perilune::wire::control::{Asked, Topics};
use perilune::wire::hello::HelloFrame;
use perilune::wire::{Change, Event, FrameError, Hello, Limit, Reply, Request, ServerFrame, Status, blocking};
use perilune::workflow::{JobDraft, Refusal};

use super::wait::{PATIENCE, until};

/// A connection to a daemon that has greeted.
pub(crate) struct Talk {
    pub(crate) socket: UnixStream,
    next_id: u64,
    events: Vec<Event>,
}

impl Talk {
    /// Connects and greets, if somebody listens.
    pub(crate) fn with(path: &Path) -> Option<Self> {
        let mut socket = UnixStream::connect(path).ok()?;
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        blocking::write(&mut socket, &Hello::ours(), Limit::CONTROL).ok()?;
        let HelloFrame { hello } = blocking::read(&mut socket, Limit::CONTROL).ok()??;
        hello.check().unwrap();
        Some(Self { socket, next_id: 1, events: Vec::new() })
    }

    #[track_caller]
    pub(crate) fn frame(&mut self) -> ServerFrame {
        self.frame_awaiting("a frame")
    }

    #[track_caller]
    fn frame_awaiting(&mut self, what: &str) -> ServerFrame {
        match blocking::read(&mut self.socket, Limit::CONTROL) {
            Ok(Some(frame)) => frame,
            Ok(None) => panic!("the daemon hung up before {what}"),
            Err(FrameError::Io(e)) if e.kind() == ErrorKind::WouldBlock => panic!("waited too long for {what}"),
            Err(error) => panic!("{error} while waiting for {what}"),
        }
    }

    pub(crate) fn ask(&mut self, request: Request) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        blocking::write(&mut self.socket, &Asked { id, request }, Limit::CONTROL).unwrap();
        id
    }

    pub(crate) fn try_call(&mut self, request: Request) -> Result<Reply, Refusal> {
        let asked = self.ask(request);
        loop {
            match self.frame() {
                ServerFrame::Reply { id, reply } if id == asked => return Ok(reply),
                ServerFrame::Error { id: Some(id), error } if id == asked => return Err(error),
                ServerFrame::Event(event) => self.events.push(*event),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the refusal of something that was asked before.
    #[track_caller]
    pub(crate) fn refused(&mut self, asked: u64) -> Refusal {
        loop {
            match self.frame() {
                ServerFrame::Error { id: Some(id), error } if id == asked => return error,
                ServerFrame::Event(event) => self.events.push(*event),
                other => panic!("{other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn call(&mut self, request: Request) -> Reply {
        self.try_call(request).unwrap()
    }

    #[track_caller]
    pub(crate) fn submit(&mut self, draft: JobDraft) -> JobId {
        match self.call(Request::Submit(Box::new(draft))) {
            Reply::Accepted(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn status(&mut self) -> Status {
        match self.call(Request::Status) {
            Reply::Status(status) => *status,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn show(&mut self, job: JobId) -> JobView {
        match self.call(Request::Show(job)) {
            Reply::Job(view) => *view,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn changed(&mut self, request: Request) -> Vec<i64> {
        match self.call(request) {
            Reply::Changed(jobs) => jobs.into_iter().map(|j| j.0).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The jobs of a list: number and state.
    pub(crate) fn listed(&mut self) -> Vec<String> {
        match self.call(Request::List { states: Vec::new(), after: None, limit: 1000 }) {
            Reply::Rows { rows, .. } => rows.into_iter().map(|r| format!("{} {}", r.job, r.state)).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the job is in this state.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, job: JobId, state: JobState) -> JobView {
        let mut last = None;
        until(&format!("job {job} to be {state}"), || {
            let view = self.show(job);
            assert!(!view.state.is_final() || view.state == state, "job {job} is {}: {:?}", view.state, view.failure);
            last = Some(view.clone());
            (view.state == state).then_some(view)
        })
    }

    pub(crate) fn subscribe(&mut self, topics: Topics) {
        assert_eq!(self.call(Request::Subscribe(topics)), Reply::Done);
    }

    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        self.event_awaiting("an event")
    }

    #[track_caller]
    fn event_awaiting(&mut self, what: &str) -> Event {
        if self.events.is_empty() {
            match self.frame_awaiting(what) {
                ServerFrame::Event(event) => return *event,
                other => panic!("{other:?}"),
            }
        }
        self.events.remove(0)
    }

    /// Waits for a change that is what a test wants.
    #[track_caller]
    pub(crate) fn hear<T>(&mut self, what: &str, mut wanted: impl FnMut(Change) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited too long for {what}");
            self.socket.set_read_timeout(Some(left)).unwrap();
            if let Some(heard) = wanted(self.event_awaiting(what).change) {
                self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
                return heard;
            }
        }
    }

    /// Whether the daemon has hung up.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        self.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        match blocking::read::<ServerFrame>(&mut self.socket, Limit::CONTROL) {
            Ok(frame) => frame.is_none(),
            // What was sent and not read makes an end a reset.
            Err(FrameError::Io(e)) => e.kind() == ErrorKind::ConnectionReset,
            Err(_) => false,
        }
    }
}
