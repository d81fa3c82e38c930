//! Engines and daemons die, hang and lie; jobs do not get lost over it.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use perilune::jobs::JobState;
use perilune::units::JobId;
use perilune::wire::{Change, EngineState, Request, control::Topics};
use perilune::workflow::{JobDraft, Kind};
use serde_json::json;

use crate::support::builders::{a_job, endless, scripted};
use crate::support::daemon::Home;
use crate::support::talk::Talk;
use crate::support::wait::{until, until_true};

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    // It may be gone already.
    drop(rustix::process::kill_process(pid, rustix::process::Signal::KILL).map_err(|e| e.to_string()));
}

fn engine_pid(talk: &mut Talk) -> Option<u32> {
    talk.status().engines.first().and_then(|e| e.pid)
}

#[test]
fn a_job_whose_engine_is_killed_is_tried_once_more() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let once = json!({"die": [1, 9], "die_once_in": home.path(), "chatter": 3});
    let job = talk.submit(JobDraft { steps: Some(3), ..scripted(&once) });
    let view = talk.wait_for(job, JobState::Done);
    assert_eq!((view.attempts, home.pictures()), (2, vec!["000001-night-7.png".to_owned()]));
    let status = talk.status();
    let notice = &status.notices.last().unwrap().text;
    assert_eq!(notice, "job 1 is tried once more: the engine was killed by signal 9 (SIGKILL)");
}

#[test]
fn a_job_that_kills_its_engine_twice_fails_with_the_exit_and_the_last_lines() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(3), ..scripted(&json!({"die": [2, 6], "chatter": 250})) });
    let after = talk.submit(a_job());
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    let expected = "the engine died 2 times while it ran this job; the last time it was killed by signal 6 (SIGABRT)";
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Failed, expected));
    assert_eq!((failure.log.len(), failure.log.last().map(String::as_str)), (200, Some("the fake dies at step 2")));
    talk.wait_for(after, JobState::Done);
    assert_eq!(home.pictures(), ["000002-night-7.png"], "nothing of the failed one is left");
    let log = fs::read_to_string(home.path().join("state/logs/daemon.log")).unwrap();
    assert!(log.contains(" info  cpu: line 249 of run 1"), "the engine's words are in the log");
}

#[test]
fn an_engine_that_does_not_answer_is_killed() {
    let mut home = Home::empty();
    home.config("supervision: {heartbeat_s: 0.02, silence_s: 0.3, backoff_s: 0.01}");
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(2), ..scripted(&json!({"deaf": true, "hang": 1})) });
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    assert!(failure.message.ends_with("the last time it did not answer for 0.3 s and was killed"), "{}", failure.message);
}

#[test]
fn an_engine_that_ignores_a_cancellation_is_killed() {
    let mut home = Home::empty();
    home.config("supervision: {grace_s: 0.1, backoff_s: 0.01}");
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(2), ..scripted(&json!({"hang": 1})) });
    talk.wait_for(job, JobState::Running);
    assert_eq!(talk.changed(Request::Cancel(vec![job])), [1]);
    let view = talk.wait_for(job, JobState::Cancelled);
    assert_eq!((view.attempts, view.failure), (1, None));
    let next = talk.submit(a_job());
    talk.wait_for(next, JobState::Done);
}

#[test]
fn an_engine_that_talks_nonsense_is_killed() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(scripted(&json!({"garbage": 0, "hang": 0, "step_ms": 0})));
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    assert!(failure.message.contains("it was killed for what it sent: a frame is not what was expected"), "{}", failure.message);
}

#[test]
fn a_picture_too_few_is_a_failure() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { batch: Some(2), ..scripted(&json!({"forget_a_picture": true})) });
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    assert_eq!(failure.message, "the engine wrote 1 of 2 pictures");
    until_true("the pictures to be removed", || home.pictures().is_empty());
}

#[test]
fn without_an_engine_jobs_wait_for_a_while_and_fail_with_the_way_to_get_one() {
    let mut home = Home::empty();
    home.config("supervision: {backoff_s: 0.05}");
    let path = home.path().join("engine");
    home.use_engine(&path);
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    let engine = until("the engine to be missed", || talk.status().engines.into_iter().find(|e| e.state == EngineState::Broken));
    assert!(engine.last_exit.unwrap().starts_with(&format!("there is no engine at {}, so no job can run; ", path.display())));
    assert_eq!(talk.show(job).reason.map(|r| r.to_string()).as_deref(), Some("engine"));
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    let expected = format!("the engine of cpu did not start in 6 tries: there is no engine at {}, so no job can run", path.display());
    assert_eq!((failure.kind, failure.message), (Kind::Failed, expected));
    let hint = failure.hint.unwrap();
    assert!(hint.contains("PERILUNE_ENGINE; `perilune doctor`") && hint.ends_with("`perilune queue retry 1`"), "{hint}");
    assert_eq!(talk.status().notices.iter().filter(|n| n.level == "crit").count(), 1);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_perilune-fake-engine"), &path).unwrap();
    assert_eq!(talk.changed(Request::Retry(vec![job])), [1]);
    assert_eq!(talk.wait_for(job, JobState::Done).attempts, 1);
}

#[test]
fn an_engine_of_another_build_is_not_used() {
    let mut home = Home::empty();
    home.config("supervision: {backoff_s: 0.05}");
    home.start();
    home.script(&json!({"wrong_hello": true}));
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    let engine = until("the engine to be refused", || talk.status().engines.into_iter().find(|e| e.state == EngineState::Broken));
    assert!(engine.last_exit.unwrap().starts_with("the engine cannot be used: the other side is build 0.0.1+feed"));
    let failure = talk.wait_for(job, JobState::Failed).failure.unwrap();
    assert!(failure.message.starts_with("the engine of cpu did not start in 6 tries: the engine cannot be used: "), "{failure:?}");
}

#[test]
fn an_engine_that_cannot_start_is_tried_again_and_again() {
    let mut home = Home::empty();
    home.config("supervision: {backoff_s: 0.5}");
    home.script(&json!({"exit_at_start": 127}));
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    let exit = until("the engine to have died", || talk.status().engines.first().and_then(|e| e.last_exit.clone()));
    assert_eq!(exit, "exited with status 127 before it was ready: cannot load libtorch, says the fake");
    assert_eq!(talk.show(job).attempts, 0, "the job is not to blame");
    let told: Vec<String> = talk.status().notices.into_iter().map(|n| format!("{} {}", n.level, n.text)).collect();
    assert_eq!(told, [format!("crit the engine of cpu {exit}")], "once, however often it is tried");
    home.script(&json!({}));
    talk.wait_for(job, JobState::Done);
}

#[test]
fn jobs_of_an_engine_that_never_starts_fail_with_its_last_words_and_can_be_retried() {
    let mut home = Home::empty();
    home.config("supervision: {backoff_s: 0.01, backoff_max_s: 3600}");
    home.script(&json!({"exit_at_start": 127}));
    home.start();
    let mut talk = home.talk();
    let (first, second) = (talk.submit(a_job()), talk.submit(a_job()));
    let held = talk.submit(JobDraft { held: true, ..a_job() });
    for job in [first, second] {
        let view = talk.wait_for(job, JobState::Failed);
        let failure = view.failure.unwrap();
        let expected = "the engine of cpu did not start in 6 tries; the last time it exited with status 127 before it was ready";
        assert_eq!((failure.message.as_str(), view.attempts), (expected, 0));
        assert_eq!(failure.log, ["cannot load libtorch, says the fake"]);
        let hint = format!("`perilune doctor` says what is missing; when it is mended, `perilune queue retry {job}`");
        assert_eq!(failure.hint, Some(hint));
    }
    assert_eq!((talk.show(held).state, talk.status().queue.failed), (JobState::Held, 2));
    let told: Vec<String> = talk.status().notices.into_iter().map(|n| n.text).collect();
    assert_eq!((told.len(), told[1].starts_with("2 jobs failed: the engine of cpu did not start")), (2, true), "{told:?}");
    // However often it is retried in vain, it fails again and does not wait for ever.
    talk.changed(Request::Retry(vec![first]));
    talk.wait_for(first, JobState::Failed);
    home.script(&json!({}));
    talk.changed(Request::Retry(vec![first, second]));
    talk.wait_for(first, JobState::Done);
    talk.wait_for(second, JobState::Done);
    talk.changed(Request::Resume { job: Some(held) });
    talk.wait_for(held, JobState::Done);
}

#[test]
fn a_start_that_is_slow_is_waited_for() {
    let mut home = Home::empty();
    home.config("supervision: {heartbeat_s: 0.05, silence_s: 1, backoff_s: 0.01}");
    home.script(&json!({"ready_after_ms": 2000}));
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    assert_eq!(talk.wait_for(job, JobState::Done).attempts, 1);
    assert_eq!(talk.status().notices, []);
}

#[test]
fn a_killed_daemon_s_jobs_are_done_by_the_next_one() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let running = talk.submit(JobDraft { steps: Some(100), ..scripted(&json!({"step_ms": 20})) });
    let waiting = talk.submit(a_job());
    let cancelled = talk.submit(a_job());
    let held = talk.submit(JobDraft { held: true, ..a_job() });
    talk.wait_for(running, JobState::Running);
    talk.changed(Request::Cancel(vec![cancelled]));
    let pid = engine_pid(&mut talk).unwrap();
    home.kill();
    until_true("the engine to die with its daemon", || !std::path::Path::new(&format!("/proc/{pid}/stat")).exists() || is_zombie(pid));
    home.start();
    let mut talk = home.talk();
    assert_eq!(talk.wait_for(running, JobState::Done).attempts, 2);
    talk.wait_for(waiting, JobState::Done);
    assert_eq!((talk.show(cancelled).state, talk.show(held).state), (JobState::Cancelled, JobState::Held));
    assert_eq!(home.pictures(), ["000001-night-7.png", "000002-night-7.png"]);
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn a_cancellation_survives_the_daemon() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(2), ..scripted(&json!({"hang": 1})) });
    talk.wait_for(job, JobState::Running);
    talk.changed(Request::Cancel(vec![job]));
    home.kill();
    home.start();
    home.talk().wait_for(job, JobState::Cancelled);
}

#[test]
fn an_orderly_end_interrupts_what_runs_and_the_next_daemon_goes_on() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(100), ..scripted(&json!({"step_ms": 20})) });
    talk.wait_for(job, JobState::Running);
    assert_eq!(home.run(&["stop"]).ok(), "the daemon has ended\n");
    assert!(home.daemon().wait().unwrap().success());
    assert!(!home.socket().exists());
    home.start();
    assert_eq!(home.talk().wait_for(job, JobState::Done).attempts, 2);
}

#[test]
fn a_signal_ends_in_order_and_a_second_one_at_once() {
    let mut home = Home::empty();
    home.config("supervision: {grace_s: 60}");
    home.script(&json!({"stubborn": true, "hang": 0}));
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    talk.wait_for(job, JobState::Running);
    let pid = rustix::process::Pid::from_child(home.daemon());
    let signal = || rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let start = Instant::now();
    signal();
    until_true("the daemon to refuse jobs", || {
        talk.try_call(Request::Submit(Box::new(a_job()))).is_err_and(|r| r.message == "the daemon is ending")
    });
    signal();
    assert!(home.daemon().wait().unwrap().success());
    assert!(start.elapsed() < Duration::from_secs(50), "the engine was waited for");
    home.script(&json!({}));
    home.start();
    home.talk().wait_for(job, JobState::Done);
}

#[test]
fn no_picture_of_somebody_else_is_overwritten() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    fs::create_dir(home.output()).unwrap();
    fs::write(home.output().join("000001-night-7.png"), "theirs").unwrap();
    let job = talk.submit(a_job());
    let view = talk.wait_for(job, JobState::Done);
    assert!(view.images[0].path.ends_with("000001-night-7-2.png"));
    assert_eq!(fs::read_to_string(home.output().join("000001-night-7.png")).unwrap(), "theirs");
}

#[test]
fn a_ledger_that_cannot_be_written_keeps_what_happened_until_it_can() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let running = talk.submit(JobDraft { steps: Some(10), ..scripted(&json!({"step_ms": 20})) });
    talk.wait_for(running, JobState::Running);
    // Files of the daemon may not grow any more: SQLite sees a full disk.
    limit_file_size(home.daemon().id(), Some(1));
    let refusal = until("a submission to be refused", || talk.try_call(Request::Submit(Box::new(a_job()))).err());
    assert_eq!(refusal.kind, Kind::Failed, "{refusal:?}");
    let trouble = until("the operator to be told", || talk.status().notices.into_iter().find(|n| n.level == "crit"));
    assert!(trouble.text.contains("no job is started until it can be written to again"), "{}", trouble.text);
    limit_file_size(home.daemon().id(), None);
    talk.wait_for(running, JobState::Done);
    until_true("jobs to be taken again", || talk.try_call(Request::Submit(Box::new(a_job()))).is_ok());
    assert_eq!(home.pictures().first().map(String::as_str), Some("000001-night-7.png"));
}

#[test]
fn what_is_asked_for_while_the_ledger_cannot_be_written_holds_and_that_is_told() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    talk.call(Request::Pause { job: None });
    let job = talk.submit(a_job());
    limit_file_size(home.daemon().id(), Some(1));
    let refusal = talk.try_call(Request::Cancel(vec![job])).unwrap_err();
    let holds = "; what was asked for holds, and is written when that is possible again";
    assert!(refusal.kind == Kind::Failed && refusal.message.ends_with(holds), "{refusal:?}");
    let again = talk.try_call(Request::Cancel(vec![job])).unwrap_err();
    assert!(again.message.starts_with("job 1 was queued and has ended; the ledger cannot be written to"), "{again:?}");
    limit_file_size(home.daemon().id(), None);
    talk.wait_for(job, JobState::Cancelled);
}

fn limit_file_size(pid: u32, bytes: Option<u64>) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let limit = rustix::process::Rlimit { current: bytes, maximum: None };
    rustix::process::prlimit(Some(pid), rustix::process::Resource::Fsize, limit).unwrap();
}

#[test]
fn what_the_operator_has_paused_is_held_by_the_next_daemon() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(endless());
    talk.wait_for(job, JobState::Running);
    talk.changed(Request::Pause { job: Some(job) });
    talk.wait_for(job, JobState::Paused);
    home.kill();
    home.start();
    assert_eq!(home.talk().wait_for(job, JobState::Held).attempts, 1);
}

#[test]
fn state_is_for_its_owner_only() {
    let home = Home::with_daemon();
    let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("run"), mode("run/daemon.sock"), mode("state")), (0o700, 0o600, 0o700));
}

#[test]
fn listeners_hear_of_a_job_s_whole_life() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.subscribe(Topics::default());
    let first = talk.event();
    assert_eq!(first.seq, 1);
    assert!(matches!(first.change, Change::Snapshot(_)));
    let job = talk.submit(JobDraft { steps: Some(3), ..scripted(&json!({"step_ms": 5})) });
    let mut seen = Vec::new();
    let mut seq = 1;
    loop {
        let event = talk.event();
        seq += 1;
        assert_eq!(event.seq, seq, "no number is missing");
        if let Change::Job(view) = event.change {
            seen.push(view.state);
            if view.state.is_final() {
                assert_eq!((view.job, view.images.len()), (job, 1));
                break;
            }
        }
    }
    seen.dedup();
    assert_eq!(seen, [JobState::Queued, JobState::Running, JobState::Done]);
}

/// The promise itself: whoever dies, whenever, no job is lost and none is done twice. `scripts/bench-kill` asks for more deaths.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads no settings")]
fn many_deaths_of_engine_or_daemon_lose_nothing() {
    let count = std::env::var("PERILUNE_TEST_DEATHS").ok().map_or(20, |text| text.parse().unwrap());
    println!("{}", deaths(count));
}

fn deaths(count: u32) -> String {
    let mut home = Home::empty();
    let tally = home.path().join("tally");
    home.script(&json!({"step_ms": 4, "tally": tally}));
    home.start();
    let mut submitted: Vec<JobId> = Vec::new();
    // Moments spread evenly over the life of a job, by the golden ratio; the same in each run of the test.
    let moments = (1..=count).map(|n| (f64::from(n) * 0.618_034).fract());
    for (n, moment) in moments.enumerate() {
        let mut talk = home.talk();
        for _ in 0..2 {
            submitted.push(talk.submit(JobDraft { steps: Some(5), ..a_job() }));
        }
        std::thread::sleep(Duration::from_secs_f64(moment * 0.12));
        if n % 2 == 0 {
            home.kill();
            home.start();
        } else if let Some(pid) = engine_pid(&mut talk) {
            kill(pid);
        }
    }
    let mut talk = home.talk();
    let mut ends: HashMap<JobState, u32> = HashMap::new();
    for job in &submitted {
        let view = until(&format!("job {job} to end"), || Some(talk.show(*job)).filter(|v| v.state.is_final()));
        if let Some(failure) = &view.failure {
            assert!(failure.message.starts_with("the engine died 2 times"), "job {job}: {}", failure.message);
        }
        assert_eq!(view.images.len(), usize::from(view.state == JobState::Done), "job {job} is {}", view.state);
        assert!(view.images.iter().all(|i| i.path.exists()), "a picture of job {job} is lost");
        *ends.entry(view.state).or_default() += 1;
    }
    let done = ends.get(&JobState::Done).copied().unwrap_or(0);
    until_true("hidden pictures to be gone", || home.pictures().iter().all(|name| !name.starts_with('.')));
    // One picture each, and no second one under another name.
    assert_eq!(home.pictures().len() as u32, done);
    assert_eq!(talk.status().queue.succeeded, u64::from(done));
    format!("{count} deaths, {} jobs: {ends:?}", submitted.len())
}
