//! The ledger's thread: runs commands in their order and answers after they are on disk.
//!
//! What waits at the same time is committed together, so that many submissions cost one flush. A fact
//! that cannot be written, because the disk is full, is kept and tried again; what follows it waits
//! behind it, while questions are answered from what is there.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::input::{Input, Ticket};
use super::run::Message;
use crate::gallery;
use crate::ledger::{Command, Ledger, LedgerError};
use crate::units::Timestamp;
use crate::workflow::Refusal;

/// The most commands that are committed together.
const TOGETHER: usize = 256;
/// How long nothing must happen before the ledger is tidied up.
const IDLE: Duration = Duration::from_secs(2);
/// Changes after which it is tidied up although somebody waits: some tens of megabytes of log.
const MANY: u32 = 10_000;
/// Pause before facts that could not be written are tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Something for the ledger to do.
#[derive(Debug)]
struct Task {
    ticket: Ticket,
    command: Command,
    now: Timestamp,
}

/// The ledger's thread.
#[derive(Debug)]
pub struct Records {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl Records {
    /// Starts the thread. Answers go to `tell`.
    pub fn start(ledger: Ledger, tell: mpsc::Sender<Message>) -> std::io::Result<Self> {
        let (tasks, from) = channel();
        let keeper = Keeper { ledger, tell, backlog: VecDeque::new(), tried: Instant::now(), written: 0, wrote: Instant::now() };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(move || keeper.work(&from))?;
        Ok(Self { tasks: Some(tasks), thread: Some(thread) })
    }

    /// Has the ledger do something.
    pub fn ask(&self, ticket: Ticket, command: Command, now: Timestamp) {
        // The thread outlives every sender but this one.
        if let Some(tasks) = &self.tasks
            && tasks.send(Task { ticket, command, now }).is_err()
        {
            tracing::error!("the ledger's thread is gone");
        }
    }

    /// Waits until everything that was asked for is done. Nobody listens to the answers any more.
    pub fn finish(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's thread has panicked");
        }
    }
}

struct Keeper {
    ledger: Ledger,
    tell: mpsc::Sender<Message>,
    /// Facts that are not on disk yet, oldest first.
    backlog: VecDeque<Task>,
    /// When the oldest of them was last tried.
    tried: Instant,
    /// Changes since the ledger was last tidied up, and when the last one was.
    written: u32,
    wrote: Instant,
}

impl Keeper {
    fn work(mut self, tasks: &Receiver<Task>) {
        loop {
            let patience = if self.backlog.is_empty() { IDLE } else { AGAIN };
            match tasks.recv_timeout(patience) {
                Ok(first) => {
                    let more = tasks.try_iter().take(TOGETHER - 1);
                    let batch: Vec<Task> = std::iter::once(first).chain(more).collect();
                    self.take(batch);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also when questions keep coming.
            if !self.backlog.is_empty() && self.tried.elapsed() >= AGAIN {
                self.try_again();
            }
            if self.is_time_to_tidy_up() {
                self.tidy_up();
            }
        }
        self.try_again();
        if let Some(lost) = self.backlog.front() {
            tracing::error!("{} changes could not be written, the first is {:?}", self.backlog.len(), lost.command);
        }
        self.tidy_up();
    }

    fn take(&mut self, mut batch: Vec<Task>) {
        let only_questions = batch.iter().all(|task| task.command.is_read());
        for task in batch.iter_mut().filter(|task| !task.command.is_read()) {
            note_inodes(&mut task.command);
            self.written += 1;
            self.wrote = Instant::now();
        }
        if self.backlog.is_empty() && !only_questions {
            let commands = batch.iter().map(|t| (&t.command, t.now));
            if let Ok(answers) = self.ledger.run(commands) {
                for (task, answer) in batch.into_iter().zip(answers) {
                    self.answer(task.ticket, Ok(answer));
                }
                return;
            }
        }
        // Something among them cannot be done; each for itself, then.
        for task in batch {
            self.take_one(task);
        }
    }

    fn take_one(&mut self, task: Task) {
        if task.command.is_a_fact() && !self.backlog.is_empty() {
            self.keep(task, &LedgerError::Full);
            return;
        }
        match self.ledger.run_one(&task.command, task.now) {
            Err(error) if task.command.is_a_fact() && !error.is_about_the_question() => self.keep(task, &error),
            result => self.answer(task.ticket, result),
        }
    }

    fn keep(&mut self, task: Task, error: &LedgerError) {
        let refusal = Refusal::from(error);
        if self.backlog.is_empty() {
            self.tried = Instant::now();
            self.send(Input::Trouble(Some(refusal.message.clone())));
        }
        // Whoever is only told what is wrong would ask again.
        let message = format!("{}; what was asked for holds, and is written when that is possible again", refusal.message);
        let hint = "make room on the disk, and do not ask again; `perilune queue list` shows what is written".to_owned();
        self.send(Input::Delayed(task.ticket, Refusal { message, hint: Some(hint), ..refusal }));
        self.backlog.push_back(task);
    }

    fn try_again(&mut self) {
        self.tried = Instant::now();
        while let Some(task) = self.backlog.front() {
            match self.ledger.run_one(&task.command, task.now) {
                Err(error) if !error.is_about_the_question() => return,
                result => {
                    let ticket = task.ticket;
                    self.backlog.pop_front();
                    self.answer(ticket, result);
                    if self.backlog.is_empty() {
                        self.send(Input::Trouble(None));
                    }
                }
            }
        }
    }

    fn answer(&self, ticket: Ticket, result: Result<crate::ledger::Answer, LedgerError>) {
        self.send(Input::Answered(ticket, result));
    }

    fn send(&self, input: Input) {
        // At the end nobody listens any more.
        drop(self.tell.blocking_send(Message::Input(input)));
    }

    /// When nobody has changed anything for a while, or so much that the write-ahead log grows long.
    fn is_time_to_tidy_up(&self) -> bool {
        self.written > MANY || (self.written > 0 && self.wrote.elapsed() >= IDLE)
    }

    fn tidy_up(&mut self) {
        if std::mem::take(&mut self.written) > 0
            && let Err(error) = self.ledger.tidy_up()
        {
            tracing::warn!("{error}");
        }
    }
}

/// The names of pictures change between here and a restart; their inodes do not.
fn note_inodes(command: &mut Command) {
    if let Command::Finish { images, .. } = command {
        for image in images.iter_mut().filter(|i| i.inode.is_none()) {
            image.inode = gallery::inode(&image.target);
        }
    }
}
