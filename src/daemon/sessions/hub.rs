//! Who listens to what, and how to reach whom.

use std::collections::HashMap;
use std::sync::Arc;

use super::Mailbox;
use crate::daemon::input::Asker;
use crate::units::{JobId, SessionId};
use crate::wire::control::Topics;
use crate::wire::{Change, Reply, ServerFrame, Status};
use crate::workflow::{Kind, Refusal};

/// All clients.
#[derive(Debug, Default)]
pub struct Hub {
    clients: HashMap<SessionId, Client>,
}

#[derive(Debug)]
struct Client {
    mailbox: Arc<Mailbox>,
    topics: Option<Topics>,
}

impl Hub {
    /// A client has come.
    pub fn enter(&mut self, session: SessionId, mailbox: Arc<Mailbox>) {
        self.clients.insert(session, Client { mailbox, topics: None });
    }

    /// A client has gone.
    pub fn leave(&mut self, session: SessionId) {
        self.clients.remove(&session);
    }

    /// Answers a client, unless it is gone.
    pub fn answer(&self, asker: Asker, result: Result<Reply, Refusal>) {
        if let Some(client) = self.clients.get(&asker.session) {
            client.mailbox.answer(match result {
                Ok(reply) => ServerFrame::Reply { id: asker.id, reply },
                Err(error) => ServerFrame::Error { id: Some(asker.id), error },
            });
        }
    }

    /// Has a client hear of changes from now on.
    pub fn subscribe(&mut self, asker: Asker, topics: Topics, snapshot: Box<Status>) {
        self.answer(asker, Ok(Reply::Done));
        if let Some(client) = self.clients.get_mut(&asker.session) {
            client.topics = Some(topics);
            client.mailbox.tell(Arc::new(Change::Snapshot(snapshot)));
        }
    }

    /// Sends everything anew.
    pub fn refresh(&self, sessions: &[SessionId], snapshot: Box<Status>) {
        let change = Arc::new(Change::Snapshot(snapshot));
        for client in sessions.iter().filter_map(|s| self.clients.get(s)).filter(|c| c.topics.is_some()) {
            client.mailbox.tell(change.clone());
        }
    }

    /// Tells everybody who wants to hear of it.
    pub fn publish(&self, change: Change) {
        let change = Arc::new(change);
        for client in self.clients.values().filter(|c| c.topics.as_ref().is_some_and(|t| wants(t, &change))) {
            client.mailbox.tell(change.clone());
        }
    }

    /// Tells all who listen that the operator has stopped the daemon: that is no loss after which a client would start another.
    pub fn farewell(&self) {
        let hint = "`perilune serve` starts one, and so does the next command; jobs that wait are kept";
        let error = Refusal::new(Kind::Interrupted, "the daemon was stopped", hint);
        for client in self.clients.values().filter(|c| c.topics.is_some()) {
            client.mailbox.answer(ServerFrame::Error { id: None, error: error.clone() });
        }
    }

    /// Lets all clients have what they are owed, and nothing more.
    pub fn close(&self) {
        self.clients.values().for_each(|c| c.mailbox.close());
    }
}

fn wants(topics: &Topics, change: &Change) -> bool {
    let this = |job: JobId| topics.job.is_none_or(|wanted| wanted == job);
    match change {
        Change::Job(view) => this(view.job),
        Change::Gone(jobs) => topics.job.is_none_or(|wanted| jobs.contains(&wanted)),
        Change::Progress { job, .. } => this(*job),
        Change::Preview(preview) => topics.previews && this(preview.job),
        Change::Notice(notice) => topics.job.is_none_or(|wanted| notice.job.is_none_or(|about| about == wanted)),
        Change::Log(_) => topics.log,
        Change::Engines(_) | Change::Snapshot(_) => true,
        Change::Devices { .. } | Change::Queue { .. } | Change::Sets(_) | Change::Conversions(_) => topics.job.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::sessions::mailbox::Next;
    use crate::units::Timestamp;
    use crate::wire::status::CacheView;
    use crate::wire::{DaemonView, LogLine, Notice, QueueView};

    fn status() -> Box<Status> {
        Box::new(Status {
            version: String::new(),
            time: Timestamp(0),
            daemon: DaemonView { pid: 1, uptime_s: 0.0 },
            devices: Vec::new(),
            host: crate::devices::HostReading::default(),
            sets: Vec::new(),
            engines: Vec::new(),
            cache: CacheView::default(),
            conversions: Vec::new(),
            queue: QueueView::default(),
            notices: Vec::new(),
        })
    }

    fn drain(mailbox: &Mailbox) -> Vec<String> {
        let name = |frame: ServerFrame| match frame {
            ServerFrame::Reply { reply, .. } => format!("{reply:?}"),
            ServerFrame::Error { error, .. } => error.message,
            ServerFrame::Event(event) => {
                let change = format!("{:?}", event.change);
                format!("{} {}", event.seq, change.split_once('(').map_or(change.as_str(), |(name, _)| name))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut all = Vec::new();
            loop {
                match mailbox.next().await {
                    Next::Send(frame) => all.push(name(*frame)),
                    Next::Closed => return all,
                    Next::Overflowed => panic!("overflowed after {all:?}"),
                }
            }
        })
    }

    #[test]
    fn a_snapshot_takes_the_place_of_what_it_says_too_and_of_nothing_else() {
        let (mut hub, mailbox, session) = (Hub::default(), Arc::new(Mailbox::default()), SessionId(1));
        hub.enter(session, mailbox.clone());
        hub.subscribe(Asker { session, id: 7 }, Topics { log: true, ..Topics::default() }, status());
        let line = LogLine { seq: 1, time: Timestamp(0), level: "warn".to_owned(), source: "cpu".to_owned(), text: "hot".to_owned() };
        hub.publish(Change::Log(line));
        hub.publish(Change::Notice(Notice { time: Timestamp(0), level: "fail".to_owned(), text: "job 3 failed".to_owned(), job: None }));
        hub.publish(Change::Gone(vec![JobId(3)]));
        hub.refresh(&[session], status());
        hub.close();
        assert_eq!(drain(&mailbox), ["Done", "1 Log", "2 Notice", "3 Snapshot"]);
    }
}
