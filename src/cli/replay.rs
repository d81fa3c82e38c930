//! A link to a recording instead of a daemon: it tells what was heard, when it is due, and changes nothing.

use std::time::Instant;

use tokio::sync::{mpsc, watch};

use crate::client::{Handle, News};
use crate::recording::{Moment, Moments, Recording, What};
use crate::tui::player::{Head, Play, Player};
use crate::units::Timestamp;
use crate::wire::{Event, Reply, Request};
use crate::workflow::{Kind, Refusal};

/// News that may wait for their owner.
const NEWS: usize = 256;

/// What becomes of the link at the end of the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtEnd {
    /// It waits for keys.
    Waits,
    /// It ends.
    Ends,
}

/// Starts to play; it ends when its owner lets go of the handle. Needs a running tokio runtime.
pub fn play(recording: Recording, speed: f64, from: Timestamp, at_end: AtEnd) -> Result<(Handle, Player), Refusal> {
    let (ask, asked) = mpsc::unbounded_channel();
    let (tell, news) = mpsc::channel(NEWS);
    let (orders, ordered) = mpsc::unbounded_channel();
    let now = Instant::now();
    let head = Head { at: from.clamp(recording.begun, recording.ended), ..Head::new(recording.begun, recording.ended, speed, now) };
    let (shown, watched) = watch::channel(head);
    let moments = recording.play_from(head.at)?;
    tokio::spawn(Tape { recording, moments, next: None, seq: 0, head, shown, asked, ordered, tell, at_end }.run());
    Ok((Handle { ask, news }, Player { orders, head: watched }))
}

/// The owner has let go, or the recording is over and nobody waits.
struct Over;

struct Tape {
    recording: Recording,
    moments: Moments,
    next: Option<Moment>,
    seq: u64,
    head: Head,
    shown: watch::Sender<Head>,
    asked: mpsc::UnboundedReceiver<(u64, Request)>,
    ordered: mpsc::UnboundedReceiver<Play>,
    tell: mpsc::Sender<News>,
    at_end: AtEnd,
}

impl Tape {
    async fn run(mut self) {
        // Either its owner has let go or there is nothing more to tell.
        let _over = self.work().await;
    }

    async fn work(&mut self) -> Result<(), Over> {
        self.news(News::Up { place: self.recording.header.place.clone() }).await?;
        self.next = self.moments.next();
        self.catch_up().await?;
        loop {
            let due = self.next.as_ref().and_then(|m| self.head.due(m.at));
            let ended = self.next.is_none() && self.at_end == AtEnd::Ends;
            if ended {
                return Ok(());
            }
            tokio::select! {
                // Without keys it plays on.
                Some(play) = self.ordered.recv() => self.order(play).await?,
                request = self.asked.recv() => {
                    let Some((id, request)) = request else { return Err(Over) };
                    self.answer(id, &request).await?;
                }
                () = sleep_until(due) => self.tell_next().await?,
            }
        }
    }

    async fn order(&mut self, play: Play) -> Result<(), Over> {
        let before = self.head.moment(Instant::now());
        self.head = self.head.after(play, Instant::now());
        self.shown.send_replace(self.head);
        let is_back = self.head.at < before;
        // What lies ahead of the next snapshot need not be told.
        if is_back || self.recording.snapshot_before(self.head.at) > before {
            // A recording that could be looked through can be read again; if it is gone, what is shown stays.
            match self.recording.play_from(self.head.at) {
                Ok(moments) => self.moments = moments,
                Err(error) => tracing::warn!("{error}"),
            }
            // A snapshot is of a daemon that answered.
            self.news(News::Up { place: self.recording.header.place.clone() }).await?;
            self.next = self.moments.next();
        }
        self.catch_up().await
    }

    /// Tells at once what lies between the snapshot before the head and the head.
    async fn catch_up(&mut self) -> Result<(), Over> {
        while self.next.as_ref().is_some_and(|m| m.at <= self.head.at) {
            self.tell_next().await?;
        }
        Ok(())
    }

    async fn tell_next(&mut self) -> Result<(), Over> {
        let Some(moment) = self.next.take() else { return Ok(()) };
        self.next = self.moments.next();
        match moment.what {
            What::Up => self.news(News::Up { place: self.recording.header.place.clone() }).await,
            What::Down { reason, retry_in_s } => self.news(News::Down { reason, retry_in_s }).await,
            What::Changed(change) => {
                self.seq += 1;
                self.news(News::Heard(Box::new(Event { seq: self.seq, change: *change }))).await
            }
            What::End => Ok(()),
        }
    }

    async fn answer(&mut self, id: u64, request: &Request) -> Result<(), Over> {
        let result = match request {
            // The log is told line by line, as it was heard.
            Request::Log { .. } => Ok(Reply::Log(Vec::new())),
            Request::Models => Ok(Reply::Models(Vec::new())),
            // What a bus carried was measured then, or was not.
            Request::Watch(_) => Ok(Reply::Done),
            // A snapshot comes every minute.
            Request::Status => return Ok(()),
            _ => Err(Refusal::new(Kind::Refused, "this is a recording: nothing can be asked or changed", "`perilune` shows what is now")),
        };
        self.news(News::Answered { id, result }).await
    }

    async fn news(&self, news: News) -> Result<(), Over> {
        self.tell.send(news).await.map_err(|_| Over)
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
