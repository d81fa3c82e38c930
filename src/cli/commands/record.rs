//! `perilune record FILE`: writes down what a subscriber hears, until interrupted.

use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::context::Context;
use crate::cli::report;
use crate::cli::watching::RecordArgs;
use crate::client::{Handle, News, follow};
use crate::recording::{Keep, Recorder, What};
use crate::units::{Clock, SystemClock};
use crate::wire::control::Topics;
use crate::wire::{Change, Reply, Request};
use crate::workflow::{Kind, Refusal};

/// Between two snapshots, where jumps of a replay lead to.
const KEYS: Duration = Duration::from_mins(1);
/// Between two moments at which all that was heard reaches the file.
const FLUSH: Duration = Duration::from_secs(5);

/// Records until a signal comes, or the time is over.
pub(super) fn record(context: &Context, args: &RecordArgs) -> Result<(), Refusal> {
    let keep = if args.prompts { Keep::Prompts } else { Keep::NoPrompts };
    let place = context.place.to_string();
    // Pictures tell what prompts would.
    let topics = Topics { job: None, previews: args.prompts, log: true };
    let gate = context.gate();
    let recorder = Recorder::create(&args.file, &place, SystemClock.now(), keep)?;
    report::note(&format!("recording {place} to {}; Ctrl-C ends it", args.file.display()));
    let until = args.seconds.map(|s| Instant::now() + Duration::from_secs_f64(s));
    let moments = context.wait_for(async { Session { recorder, link: follow(gate, topics) }.run(until).await })?;
    context.output.show(&json!({"file": args.file, "moments": moments}), || format!("{}: {moments} moments\n", args.file.display()));
    Ok(())
}

struct Session {
    recorder: Recorder,
    link: Handle,
}

impl Session {
    /// Returns how many moments were recorded.
    async fn run(mut self, until: Option<Instant>) -> Result<u64, Refusal> {
        let listen = |kind| signal(kind).map_err(|e| Refusal::bare(Kind::Failed, format!("the system refused: {e}")));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        let mut hang_up = listen(SignalKind::hangup())?;
        let [mut keys, mut flush] = [KEYS, FLUSH].map(interval);
        keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, and the subscription begins with a snapshot.
        keys.tick().await;
        let mut questions = 0;
        loop {
            tokio::select! {
                biased;
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
                _ = hang_up.recv() => break,
                () = at(until) => break,
                news = self.link.news.recv() => match news {
                    Some(news) => self.write(news)?,
                    None => break,
                },
                _ = keys.tick() => {
                    questions += 1;
                    // A link that has ended says so with its news.
                    drop(self.link.ask.send((questions, Request::Status)));
                }
                _ = flush.tick() => self.recorder.flush()?,
            }
        }
        let moments = self.recorder.moments();
        self.recorder.finish(SystemClock.now())?;
        Ok(moments)
    }

    fn write(&mut self, news: News) -> Result<(), Refusal> {
        let now = SystemClock.now();
        match news {
            News::Up { .. } => self.recorder.put(now, What::Up)?,
            News::Down { reason, retry_in_s } => self.recorder.put(now, What::Down { reason, retry_in_s })?,
            News::Heard(event) => match event.change {
                Change::Snapshot(status) => self.recorder.put_all(now, *status)?,
                change => self.recorder.put(now, What::Changed(Box::new(change)))?,
            },
            News::Answered { result: Ok(Reply::Status(status)), .. } => self.recorder.put_all(now, *status)?,
            // While the daemon is away there is no snapshot; the news of that are recorded.
            News::Answered { .. } => {}
        }
        Ok(())
    }
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
