//! The line mode: one line per change, and nothing that moves a cursor.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use perilune::cli::plain::Plain;
use perilune::client::News;
use perilune::devices::{DeviceReading, Health, HostReading};
use perilune::jobs::{JobState, JobView, Phase, Progress};
use perilune::units::{DeviceId, JobId, SaidThresholds, Thresholds, Timestamp};
use perilune::wire::{Change, ConversionView, Event, SetView};
use perilune::workflow::{Kind, Refusal};
use rustix::process::{Pid, Signal, kill_process};

use super::support::daemon::Home;
use super::support::fixtures;

struct Ear(Plain);

impl Ear {
    fn hear(&mut self, change: Change) -> Vec<String> {
        self.news(News::Heard(Box::new(Event { seq: 1, change })))
    }

    fn news(&mut self, news: News) -> Vec<String> {
        self.news_at(0, news)
    }

    /// Hears readings of this one device so many seconds later.
    fn device_at(&mut self, second: i64, reading: DeviceReading) -> Vec<String> {
        let change = Change::Devices { devices: vec![reading], host: Box::new(fixtures::host()) };
        self.news_at(second, News::Heard(Box::new(Event { seq: 1, change })))
    }

    fn news_at(&mut self, second: i64, news: News) -> Vec<String> {
        let lines = self.0.hear(news, Timestamp(fixtures::NOW.0 + second * 1000));
        for line in &lines {
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line:?} is one line");
        }
        // Without the time.
        lines.into_iter().map(|l| l.trim_end().split_once(' ').unwrap().1.to_owned()).collect()
    }
}

fn told() -> (Ear, Vec<String>) {
    let mut ear = Ear(Plain::new(None, Thresholds::DEFAULT));
    let mut lines = ear.news(News::Up { place: "local".to_owned() });
    lines.extend(ear.hear(Change::Snapshot(Box::new(fixtures::busy()))));
    (ear, lines)
}

#[test]
fn a_box_is_told_once_and_then_what_changes() {
    let (mut ear, lines) = told();
    let all = lines.join("\n");
    for expected in [
        "daemon up",
        "cuda:0 NVIDIA GeForce RTX 4090 23.7 of 24.0 GiB, 93 % busy, 81 C",
        "set qwen-night on cuda:0:",
        "queue: 1 running, 2 waiting, 1 held, 38 done, 1 failed, 0 cancelled",
        "job 41 running",
        "job 42 queued: flux-dev",
        "ALERT cuda:0 memory: 23.7/24.0 GiB, threshold 97%; move weights elsewhere in the tuner, or unload sets",
        "ALERT cuda:0 temp: 81 C, threshold 80 C; ",
    ] {
        assert!(all.contains(expected), "{expected}\n{all}");
    }
    assert!(!all.contains("job 39"), "what was over before is history: {all}");
    assert_eq!(ear.hear(Change::Snapshot(Box::new(fixtures::busy()))), Vec::<String>::new(), "nothing has changed");
}

#[test]
fn what_changes_all_the_time_is_told_when_it_has_changed_much() {
    let (mut ear, _) = told();
    let warmer = |by: f64| DeviceReading { temperature_c: Some(81.0 + by), utilization: Some(0.5), ..fixtures::busy_gpu() };
    let mut devices = |reading| ear.hear(Change::Devices { devices: vec![reading], host: Box::new(fixtures::host()) });
    assert_eq!(devices(warmer(2.0)), Vec::<String>::new());
    let hot = devices(warmer(11.0));
    assert_eq!(hot.len(), 2);
    assert!(hot[1].starts_with("ALERT cuda:0 temp: 92 C, threshold 90 C; look at its fans"), "{hot:?}");
    let lost = DeviceReading { health: Health::Lost { reason: "fell off the bus".to_owned(), for_s: 1.0 }, ..warmer(11.0) };
    assert_eq!(devices(lost), ["cuda:0 NVIDIA GeForce RTX 4090 LOST: fell off the bus"]);
    let mut steps = |step| {
        ear.hear(Change::Progress { job: JobId(41), progress: Progress { phase: Phase::Sampling, step, steps: 28, step_s: Some(1.5) } })
    };
    let lines: Vec<String> = (14..=28).flat_map(&mut steps).collect();
    assert_eq!(lines, ["job 41: step 21 of 28, 1.50 s a step", "job 41: step 28 of 28, 1.50 s a step"]);
}

#[test]
fn a_driver_that_hangs_later_is_told() {
    let (mut ear, _) = told();
    let host = HostReading { gpu_problem: Some(fixtures::gpu_problem()), ..fixtures::host() };
    let lines = ear.hear(Change::Devices { devices: vec![fixtures::busy_gpu()], host: Box::new(host) });
    assert!(lines.iter().any(|line| line.starts_with("ALERT NVIDIA: ")), "{lines:?}");
}

/// A value that sways about its threshold is one alert, and what is told by itself is not told as an alert, too.
#[test]
fn an_alert_is_told_when_it_comes_when_it_gets_worse_and_when_it_is_over() {
    let mut ear = Ear(Plain::new(None, Thresholds::DEFAULT.with(SaidThresholds { temp: Some([70.0, 75.0]), ..SaidThresholds::default() })));
    let card = |degrees| DeviceReading { temperature_c: Some(degrees), ..fixtures::gpu(0, "NVIDIA GeForce RTX 4090", 1.0, 24.0) };
    let mut alerts = |second, reading| {
        let lines = ear.device_at(second, reading);
        lines.into_iter().filter(|l| l.starts_with("ALERT")).map(|l| l.split_once(';').map_or(l.clone(), |(l, _)| l.to_owned())).collect()
    };
    let none: [String; 0] = [];
    let mut check = |second, degrees, expected: &[&str]| {
        let told: Vec<String> = alerts(second, card(degrees));
        assert_eq!(told, expected, "{degrees} after {second} s");
    };
    check(0, 60.0, &[]);
    check(1, 72.0, &["ALERT cuda:0 temp: 72 C, threshold 70 C"]);
    check(2, 69.0, &[]);
    check(3, 73.0, &[]);
    check(4, 76.0, &["ALERT cuda:0 temp: 76 C, threshold 75 C"]);
    check(5, 72.0, &[]);
    check(6, 60.0, &[]);
    check(65, 60.0, &[]);
    check(66, 60.0, &["ALERT over: cuda:0 temp"]);
    check(67, 60.0, &[]);
    check(68, 71.0, &["ALERT cuda:0 temp: 71 C, threshold 70 C"]);
    let lost = DeviceReading { health: Health::Lost { reason: "fell off the bus".to_owned(), for_s: 1.0 }, ..card(71.0) };
    let told: Vec<String> = alerts(69, lost);
    assert_eq!(told, none);
}

/// A plan that was not kept is told when its job ends before our ears, and not when it ended before.
#[test]
fn a_plan_that_was_not_kept_is_told_of_jobs_that_end_now() {
    let mut ear = Ear(Plain::new(None, Thresholds::DEFAULT));
    ear.hear(Change::Snapshot(Box::new(fixtures::empty())));
    let lines = ear.hear(Change::Job(Box::new(fixtures::done_job())));
    assert!(lines[0].starts_with("job 39 done") && lines[1].starts_with("ALERT job 39 plan: "), "{lines:?}");
    assert_eq!(ear.hear(Change::Gone(vec![JobId(39)])), Vec::<String>::new());
}

#[test]
fn jobs_conversions_and_the_daemon_are_told() {
    let (mut ear, _) = told();
    let failed = JobView { state: JobState::Failed, ..JobView { job: JobId(42), ..fixtures::failed_job() } };
    let line = ear.hear(Change::Job(Box::new(failed)));
    assert!(line[0].starts_with("job 42 failed: "), "{line:?}");
    let conversion = |running| vec![ConversionView { running, ..fixtures::conversion() }];
    assert_eq!(ear.hear(Change::Conversions(conversion(false))), ["conversion 1: dream to nf4 waits"]);
    assert_eq!(ear.hear(Change::Conversions(conversion(true))), ["conversion 1: dream to nf4 0 %"]);
    assert_eq!(ear.hear(Change::Conversions(Vec::new())), ["conversion 1: over"]);
    assert!(ear.hear(Change::Sets(Vec::new())).iter().all(|l| l.ends_with("unloaded")));
    let simulated = ear.hear(Change::Sets(vec![SetView { device: DeviceId::Sim(0), ..fixtures::set("dream") }]));
    assert!(simulated[0].contains(" on sim:0 SIMULATED: "), "{simulated:?}");
    let down = || News::Down { reason: Refusal::bare(Kind::NoDaemon, "gone"), retry_in_s: 2.0 };
    assert_eq!(ear.news(down()), ["daemon DOWN: gone; next try in 2 s"]);
    assert_eq!(ear.news(down()), Vec::<String>::new());
    let mut several = Ear(Plain::new(Some("ana@box"), Thresholds::DEFAULT));
    assert_eq!(several.news(down()), ["ana@box: daemon DOWN: gone; next try in 2 s"]);
}

#[test]
fn the_program_prints_lines_and_no_escapes() {
    let home = Home::with_daemon();
    for term in ["dumb", "xterm-256color"] {
        let mut command = home.command(&["--plain", "--no-spawn"]);
        let mut child = command.env("TERM", term).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = Vec::new();
        // The first readings may come after the queue.
        while !["queue: 0 running", " cpu "].iter().all(|part| heard.iter().any(|l: &String| l.contains(part))) {
            heard.push(lines.next().unwrap().unwrap());
        }
        assert!(heard[0].ends_with("daemon up") && heard.iter().any(|l| l.contains(" cpu ")), "{heard:?}");
        assert!(heard.iter().all(|l| !l.contains('\u{1b}') && l.as_bytes()[2] == b':'), "{heard:?}");
        // Not INT, which whoever starts the tests in the background may have had ignored.
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(!child.wait().unwrap().success());
    }
    let words = home.run::<&str>(&[]);
    words.refused(2, "the dashboard needs a terminal");
    assert!(words.stderr.contains("perilune --plain"));
}
