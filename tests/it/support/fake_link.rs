//! A link to a daemon that is not there: it tells of a busy box once a second and answers what it is asked.

use std::time::Duration;

use perilune::client::{Handle, News};
use perilune::devices::DeviceReading;
use perilune::jobs::{JobState, Phase, Progress};
use perilune::units::{Bytes, Clock, JobId, SystemClock};
use perilune::wire::{Change, Event, Reply, Request};
use tokio::sync::mpsc;

use super::fixtures;

/// Starts the link. It ends with its handle.
pub(crate) fn start() -> Handle {
    let (ask, mut asked) = mpsc::unbounded_channel();
    let (news, heard) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut box_ = Box::new(FakeBox { seq: 0, second: 0 });
        let mut status = fixtures::busy();
        status.time = SystemClock.now();
        if news.send(News::Up { place: "local".to_owned() }).await.is_err() {
            return;
        }
        if box_.tell(&news, Change::Snapshot(Box::new(status))).await.is_err() {
            return;
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            let told = tokio::select! {
                _ = ticks.tick() => box_.tick(&news).await,
                request = asked.recv() => match request {
                    Some((id, request)) => news.send(News::Answered { id, result: Ok(answer(request)) }).await.map_err(|_| ()),
                    None => Err(()),
                },
            };
            if told.is_err() {
                return;
            }
        }
    });
    Handle { ask, news: heard }
}

fn answer(request: Request) -> Reply {
    match request {
        Request::Models => Reply::Models(fixtures::models()),
        Request::Log { .. } => Reply::Log(fixtures::log()),
        Request::Cache => Reply::Cached(fixtures::cached()),
        Request::List { .. } => Reply::Rows { paused: false, rows: Vec::new(), next: None },
        Request::Submit(_) => Reply::Accepted(JobId(45)),
        Request::Status => Reply::Status(Box::new(fixtures::busy())),
        Request::Cancel(jobs) | Request::Retry(jobs) => Reply::Changed(jobs),
        Request::Pause { job } | Request::Resume { job } => Reply::Changed(job.into_iter().collect()),
        Request::Move { job, .. } => Reply::Changed(vec![job]),
        _ => Reply::Done,
    }
}

struct FakeBox {
    seq: u64,
    second: u32,
}

impl FakeBox {
    async fn tell(&mut self, news: &mpsc::Sender<News>, change: Change) -> Result<(), ()> {
        self.seq += 1;
        news.send(News::Heard(Box::new(Event { seq: self.seq, change }))).await.map_err(|_| ())
    }

    /// One second of two cards: one computes, one idles.
    async fn tick(&mut self, news: &mpsc::Sender<News>) -> Result<(), ()> {
        self.second += 1;
        let wave = f64::from(self.second) * 0.7;
        let busy = DeviceReading {
            utilization: Some(0.9 + 0.09 * wave.sin()),
            temperature_c: Some((74.0 + 4.0 * wave.cos()).round()),
            power_w: Some((400.0 + 20.0 * wave.sin()).round()),
            ..fixtures::busy_gpu()
        };
        let busy = DeviceReading {
            memory: busy.memory.map(|m| perilune::devices::Memory { used: m.used - Bytes::mib(u64::from(self.second % 7) * 200), ..m }),
            ..busy
        };
        let idle = fixtures::gpu(1, "NVIDIA GeForce RTX 3090", 1.4, 24.0);
        let change = Change::Devices { devices: vec![busy, idle, fixtures::cpu()], host: Box::new(fixtures::host()) };
        self.tell(news, change).await?;
        let step = self.second / 2 % 29;
        let progress = Progress { phase: Phase::Sampling, step, steps: 28, step_s: Some(2.0) };
        let job = perilune::jobs::JobView { state: JobState::Running, progress: Some(progress), ..fixtures::running_job() };
        self.tell(news, Change::Progress { job: job.job, progress }).await?;
        self.tell(news, Change::Preview(fixtures::preview(step))).await
    }
}
