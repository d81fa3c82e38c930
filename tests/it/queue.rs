//! The queue of a real daemon: jobs come, wait, move, run and end.

use image::ImageEncoder;
use perilune::jobs::{JobState, Move};
use perilune::units::{DeviceId, JobId};
use perilune::wire::Request;
use perilune::workflow::{JobDraft, Kind};
use serde_json::json;

use crate::support::builders::{a_job, endless, ids, scripted};
use crate::support::daemon::{Home, finish};
use crate::support::nvml_stub::NvmlStub;
use crate::support::wait::until_true;

#[test]
fn a_job_is_done_and_its_pictures_have_names() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { batch: Some(2), ..a_job() });
    let view = talk.wait_for(job, JobState::Done);
    assert_eq!(home.pictures(), ["000001-night-7.png", "000001-night-8.png"]);
    assert_eq!(view.images[1].path, home.output().join("000001-night-8.png"));
    assert_eq!((view.attempts, view.precision.as_deref(), view.failure), (1, Some("fp32"), None));
    assert!(view.timing.is_some_and(|t| t.per_step == [0.01]));
    let status = talk.status();
    assert_eq!((status.queue.succeeded, status.queue.jobs.len(), status.sets.len()), (1, 1, 1));
}

#[test]
fn jobs_run_by_priority_and_then_as_they_came() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.changed(Request::Pause { job: None });
    for priority in [0, 5, 0, -3, 5] {
        // Long enough that no two end in the same millisecond.
        talk.submit(JobDraft { priority: Some(priority), ..scripted(&json!({"step_ms": 5})) });
    }
    assert_eq!(talk.listed(), ["2 queued", "5 queued", "1 queued", "3 queued", "4 queued"]);
    talk.changed(Request::Move { job: JobId(3), to: Move::Up });
    talk.changed(Request::Move { job: JobId(4), to: Move::Before(JobId(5)) });
    assert_eq!(talk.listed(), ["2 queued", "4 queued", "5 queued", "3 queued", "1 queued"]);
    talk.changed(Request::Resume { job: None });
    talk.wait_for(JobId(1), JobState::Done);
    assert_eq!(talk.listed(), ["1 done", "3 done", "5 done", "4 done", "2 done"], "the newest first");
}

#[test]
fn waiting_jobs_are_cancelled_at_once_and_running_ones_by_their_engine() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let running = talk.submit(endless());
    talk.wait_for(running, JobState::Running);
    let waiting = talk.submit(a_job());
    assert_eq!(talk.show(waiting).reason.map(|r| r.to_string()).as_deref(), Some("after 1"));
    assert_eq!(talk.changed(Request::Cancel(ids([1, 2]))), [2, 1]);
    assert_eq!(talk.show(waiting).state, JobState::Cancelled);
    talk.wait_for(running, JobState::Cancelled);
    assert_eq!(home.pictures(), [""; 0]);

    let refusal = talk.try_call(Request::Cancel(ids([1]))).unwrap_err();
    assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::Refused, "job 1 is cancelled already"));
    assert_eq!(talk.try_call(Request::Cancel(ids([99]))).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn what_waits_is_saved_as_commands_that_submit_it_again() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.call(Request::Pause { job: None });
    talk.submit(perilune::workflow::JobDraft { prompt: "a hill, it's night".to_owned(), ..a_job() });
    talk.submit(perilune::workflow::JobDraft { held: true, ..a_job() });
    let file = home.path().join("night.sh");
    let told = home.run(&["queue", "save", file.to_str().unwrap(), "--json"]).json();
    assert_eq!((&told["jobs"], &told["path"]), (&json!(2), &json!(file)));
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    assert_eq!((lines.len(), lines[0]), (3, format!("export PERILUNE_HOME={}", home.path().display()).as_str()), "{text}");
    let lines = &lines[1..];
    assert!(
        lines[0].starts_with("perilune run -m night ") && lines[0].contains(r"'a hill, it'\''s night'") && lines[0].ends_with(" --detach")
    );
    assert!(lines[1].ends_with(" --held --detach"), "{text}");
    home.run(&["queue", "save", file.to_str().unwrap()]).refused(5, &format!("{} cannot be written: ", file.display()));
    // A shell has every write fail, as a full disk would.
    let on_a_full_disk = |words: &[&str]| {
        let mut sh = home.command_of("sh");
        sh.args(["-c", r#"trap "" XFSZ; ulimit -f 0; exec "$@""#, "sh", env!("CARGO_BIN_EXE_perilune")]).args(words);
        finish(sh)
    };
    let (other, recording) = (home.path().join("other.sh"), home.path().join("lune.rec"));
    let full = on_a_full_disk(&["queue", "save", other.to_str().unwrap()]);
    full.refused(1, &format!("{} cannot be written: ", other.display()));
    let full = on_a_full_disk(&["record", recording.to_str().unwrap()]);
    full.refused(1, &format!("{}: ", recording.display()));
    assert!(!other.exists() && !recording.exists(), "nothing is in the way of another try");
    assert_eq!(talk.listed(), ["1 queued", "2 held"]);
}

#[test]
fn a_job_is_withdrawn_only_as_long_as_it_waits() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let running = talk.submit(endless());
    talk.wait_for(running, JobState::Running);
    let waiting = talk.submit(a_job());
    assert_eq!(talk.changed(Request::Withdraw(waiting)), [2]);
    assert_eq!(talk.show(waiting).state, JobState::Cancelled);
    assert_eq!(talk.changed(Request::Withdraw(running)), [0; 0]);
    assert_eq!(talk.show(running).state, JobState::Running);
    talk.changed(Request::Cancel(vec![running]));
    talk.wait_for(running, JobState::Cancelled);
}

#[test]
fn failed_and_cancelled_jobs_are_tried_again_and_done_ones_are_not() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(scripted(&json!({"fail": [1, "refused", "it needs 9 GiB and 8 are free"]})));
    let view = talk.wait_for(job, JobState::Failed);
    let failure = view.failure.unwrap();
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Refused, "it needs 9 GiB and 8 are free"));
    assert_eq!(failure.hint.as_deref(), Some("ask the fake"));
    assert_eq!(talk.changed(Request::Retry(vec![job])), [1]);
    talk.wait_for(job, JobState::Failed);
    assert_eq!(talk.show(job).attempts, 2);

    let done = talk.submit(a_job());
    talk.wait_for(done, JobState::Done);
    let refusal = talk.try_call(Request::Retry(vec![done])).unwrap_err();
    assert_eq!(refusal.message, "job 2 is done and cannot be retried");
    assert_eq!(talk.status().queue.failed, 1);
}

#[test]
fn jobs_are_held_released_paused_and_resumed() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let held = talk.submit(JobDraft { held: true, ..a_job() });
    assert_eq!(talk.show(held).state, JobState::Held);
    let running = talk.submit(endless());
    talk.wait_for(running, JobState::Running);
    talk.changed(Request::Pause { job: Some(running) });
    talk.wait_for(running, JobState::Paused);
    talk.changed(Request::Resume { job: Some(running) });
    talk.wait_for(running, JobState::Running);
    talk.changed(Request::Cancel(vec![running]));
    talk.changed(Request::Resume { job: Some(held) });
    talk.wait_for(held, JobState::Done);
}

#[test]
fn finished_jobs_are_forgotten_and_their_pictures_stay() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    talk.wait_for(job, JobState::Done);
    let refusal = talk.try_call(Request::Clear { states: vec![JobState::Queued] }).unwrap_err();
    assert_eq!(refusal.kind, Kind::Usage);
    assert_eq!(talk.call(Request::Clear { states: Vec::new() }), perilune::wire::Reply::Cleared(1));
    assert_eq!(talk.try_call(Request::Show(job)).unwrap_err().kind, Kind::NotFound);
    assert_eq!((talk.status().queue.succeeded, home.pictures().len()), (0, 1));
    assert_eq!(talk.submit(a_job()), JobId(2), "a number is never used twice");
}

#[test]
fn a_submission_that_cannot_run_is_refused_and_leaves_nothing() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let mut check = |draft: JobDraft, kind: Kind, message: &str| {
        let refusal = talk.try_call(Request::Submit(Box::new(draft))).unwrap_err();
        assert!(refusal.message.starts_with(message) && refusal.hint.is_some(), "{refusal:?}");
        assert_eq!(refusal.kind, kind);
    };
    check(JobDraft { steps: Some(0), ..a_job() }, Kind::Usage, "--steps 0 is out of range");
    check(JobDraft { model: "day".to_owned(), ..a_job() }, Kind::NotFound, "there is no model `day` in ");
    check(JobDraft { output: Some("/proc/none".into()), ..a_job() }, Kind::Failed, "/proc/none cannot be written to: ");
    assert_eq!((talk.listed().len(), home.output().exists()), (0, false));
}

#[test]
fn long_lists_come_in_pages() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    for _ in 0..3 {
        let job = talk.submit(a_job());
        talk.wait_for(job, JobState::Done);
    }
    talk.changed(Request::Pause { job: None });
    for _ in 0..4 {
        talk.submit(a_job());
    }
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let perilune::wire::Reply::Rows { rows, next, paused } = talk.call(Request::List { states: Vec::new(), after, limit: 2 }) else {
            panic!("no rows")
        };
        assert!(paused && rows.len() <= 2);
        seen.extend(rows.into_iter().map(|r| r.job.0));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [4, 5, 6, 7, 3, 2, 1]);
}

#[test]
fn each_device_has_an_engine_of_its_own() {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    home.use_gpus(&gpus);
    home.start();
    let mut talk = home.talk();
    let on = |n: u16| JobDraft { compute_device: Some(DeviceId::Cuda(n)), ..endless() };
    let (first, second) = (talk.submit(on(0)), talk.submit(on(1)));
    talk.wait_for(first, JobState::Running);
    talk.wait_for(second, JobState::Running);
    assert_eq!((talk.status().engines.len(), talk.status().queue.running), (2, 2));
}

#[test]
fn an_idle_engine_ends_and_comes_back_when_it_is_wanted() {
    let mut home = Home::empty();
    home.config("engine_idle_s: 0.05");
    home.start();
    let mut talk = home.talk();
    for _ in 0..2 {
        let job = talk.submit(a_job());
        talk.wait_for(job, JobState::Done);
        until_true("the engine to end", || talk.status().engines.iter().all(|e| e.pid.is_none()));
    }
    assert_eq!(talk.status().notices, [], "that is no death");
}

#[test]
fn a_photograph_on_its_side_gives_an_upright_picture() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let path = home.path().join("phone.jpg");
    let mut file = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut file);
    // As a phone that is held upright stores it: 32 across, 16 down, to be turned by 90 degrees.
    encoder.set_exif_metadata(b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec()).unwrap();
    encoder.write_image(&[7; 32 * 16 * 3], 32, 16, image::ExtendedColorType::Rgb8).unwrap();
    std::fs::write(&path, file).unwrap();
    let job = talk.submit(JobDraft { size: None, init_image: Some(path), ..a_job() });
    assert_eq!(talk.show(job).spec.size.to_string(), "16x32");
}

#[test]
fn paths_that_lead_nowhere_are_refused() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let mut refused = |draft: JobDraft| talk.try_call(Request::Submit(Box::new(draft))).unwrap_err().message;
    assert_eq!(refused(JobDraft { output: Some("here".into()), ..a_job() }), "--output here is relative");
    assert_eq!(refused(JobDraft { init_image: Some("a.png".into()), ..a_job() }), "--init-image a.png is relative");
    assert_eq!(refused(JobDraft { init_image: Some("/a.png".into()), ..a_job() }), "there is no picture /a.png");
}
