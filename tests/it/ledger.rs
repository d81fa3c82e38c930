//! The database: what it promises, and what it makes of files of other times and other programs.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::jobs::{Failure, JobState, JobView, Placement, Timing};
use perilune::ledger::{Answer, Command, Interruption, Ledger, LedgerError, Outcome, Planned};
use perilune::placement::{Basis, Finding, Forecast, Learned, Origin, Sample, Speed, Subject, Walk};
use perilune::units::{Bytes, DeviceId, JobId, RunId, Seed, Size, Timestamp};
use perilune::weights::Precision;
use perilune::wire::{Cursor, Notice};
use perilune::workflow::{JobSpec, Kind};
use rusqlite::Connection;

use crate::support::builders::ids;
use crate::support::fixtures;

fn spec(prompt: &str) -> JobSpec {
    JobSpec {
        steps: 20,
        seed: Seed(u64::MAX),
        size: Size::new(512, 768).unwrap(),
        output: "/out".into(),
        priority: 3,
        compute: DeviceId::Cpu,
        ..fixtures::spec("night", prompt)
    }
}

fn append(ledger: &mut Ledger, prompt: &str) -> JobId {
    let command = Command::Append { spec: Box::new(spec(prompt)), held: false };
    let Answer::Jobs { entries, .. } = ledger.run_one(&command, Timestamp(1_000)).unwrap() else { panic!("no job") };
    entries[0].job
}

fn start(ledger: &mut Ledger, job: JobId) -> RunId {
    let assign = Command::Assign { job, device: DeviceId::Cpu, pid: Some(7) };
    let Answer::Assigned { run, .. } = ledger.run_one(&assign, Timestamp(2_000)).unwrap() else { panic!("no run") };
    ledger.run_one(&Command::Start { run, job }, Timestamp(3_000)).unwrap();
    run
}

fn finish(run: RunId, job: JobId) -> Command {
    let image = Planned {
        target: format!("/out/.perilune-{run}-0.part").into(),
        inode: Some(u64::MAX),
        path: "/out/night.png".into(),
        seed: Seed(u64::MAX),
        width: 512,
        height: 768,
    };
    let timing = Timing { total: 1.5, per_step: vec![0.5, 0.25], ..Timing::default() };
    let outcome = Outcome { timing, placement: Placement::default(), precision: "fp32".to_owned(), warnings: vec!["slow".to_owned()] };
    Command::Finish { run, job, outcome: Box::new(outcome), images: vec![image] }
}

fn view(ledger: &mut Ledger, job: JobId) -> JobView {
    let command = Command::Views { jobs: vec![job], unfinished: 0, finished: 0, amiss: None };
    let Answer::Jobs { mut views, .. } = ledger.run_one(&command, Timestamp(0)).unwrap() else { panic!("no views") };
    views.pop().unwrap()
}

fn fixture(version: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/ledger/v{version}.sqlite"))
}

fn basis() -> Basis {
    Basis { compute: DeviceId::Cpu, precision: Precision::Fp32, engine: "libtorch".to_owned() }
}

const WALK: Walk = Walk { weights: 860_000_000, flops: 1.6e12 };

/// What a run shows: how fast the disk is, how long a walk took, and half a second that a step of another length was
/// foretold as.
fn lesson(bytes_per_second: f64, measured_s: f64) -> Command {
    let speed = Speed { flops: 0.0, bytes_per_second, measured: true };
    let walk = Some(WALK);
    let forecast = Forecast { basis: basis(), model: "night".to_owned(), walk, predicted_s: 0.5, measured_s, calibrated: true };
    let learned = |finding| Learned { basis: basis(), finding, found: Timestamp(4_000), origin: Origin::Run };
    let step = Finding::Step(Sample { walk: WALK, seconds: measured_s, beyond: Some(Bytes::mib(700)) });
    Command::Learn {
        learned: vec![learned(Finding::Speed(Subject::Device(DeviceId::Disk), speed)), learned(step)],
        forecast: Some(forecast),
    }
}

/// Fills a ledger with all that it can hold. `tests/fixtures/ledger/v3.sqlite` is what this made when that version came out;
/// the first version had no speeds, and the second one figure for computing, which is forgotten.
fn fill(path: &Path) {
    let mut ledger = Ledger::open(path).unwrap();
    let jobs: Vec<JobId> = ["done", "failed", "naming", "cut off", "waiting", "held"].iter().map(|p| append(&mut ledger, p)).collect();
    let at = Timestamp(4_000);
    let run = start(&mut ledger, jobs[0]);
    ledger.run_one(&finish(run, jobs[0]), at).unwrap();
    ledger.run_one(&Command::Publish { run, job: jobs[0], paths: vec!["/out/night-2.png".into()] }, at).unwrap();
    let run = start(&mut ledger, jobs[1]);
    let failure = Failure { kind: Kind::Refused, message: "too large".to_owned(), hint: None, log: vec!["out of memory".to_owned()] };
    ledger.run_one(&Command::Fail { job: jobs[1], run: Some(run), failure: Box::new(failure) }, at).unwrap();
    let run = start(&mut ledger, jobs[2]);
    ledger.run_one(&finish(run, jobs[2]), at).unwrap();
    let run = start(&mut ledger, jobs[3]);
    ledger
        .run_one(&Command::Interrupt { run, job: jobs[3], why: Interruption::EngineDied("exited with status 1".to_owned()) }, at)
        .unwrap();
    start(&mut ledger, jobs[3]);
    ledger.run_one(&Command::Set { job: jobs[5], state: JobState::Held }, at).unwrap();
    ledger.run_one(&Command::PauseQueue(true), at).unwrap();
    let notice = Notice { time: at, level: "warn".to_owned(), text: "beware".to_owned(), job: Some(jobs[3]) };
    ledger.run_one(&Command::Note(notice), at).unwrap();
    ledger.run_one(&lesson(1e9, 0.5), at).unwrap();
    ledger.tidy_up().unwrap();
}

#[test]
fn what_is_not_named_is_chosen_when_the_ledger_is_asked() {
    let mut ledger = Ledger::in_memory().unwrap();
    for prompt in ["a", "b", "c", "d"] {
        append(&mut ledger, prompt);
    }
    ledger.run_one(&Command::Cancel { jobs: vec![JobId(4)], run: None }, Timestamp(5_000)).unwrap();
    let mut check = |named: &[i64], unfinished, finished, expected: &[i64]| {
        let command = Command::Views { jobs: ids(named.iter().copied()), unfinished, finished, amiss: None };
        let Answer::Jobs { entries, views } = ledger.run_one(&command, Timestamp(0)).unwrap() else { panic!("no views") };
        assert_eq!(views.iter().map(|v| v.job.0).collect::<Vec<_>>(), expected);
        assert!(entries.iter().map(|e| e.job.0).eq(expected.iter().copied()));
    };
    check(&[], 2, 0, &[1, 2]);
    check(&[2], 1, 9, &[2, 1, 4]);
    check(&[4, 1], 9, 9, &[4, 1, 2, 3]);
}

#[test]
fn databases_of_every_version_are_read_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let today = folder.path().join("today.sqlite");
    fill(&today);
    reads_back(&today, 2);
    for (version, learned) in [(1, 0), (2, 0), (3, 2)] {
        let path = folder.path().join(format!("v{version}.sqlite"));
        fs::copy(fixture(version), &path).unwrap();
        reads_back(&path, learned);
    }
}

fn reads_back(path: &Path, learned: usize) {
    let mut ledger = Ledger::open(path).unwrap();
    let recovered = ledger.recover().unwrap();
    let waiting: Vec<(i64, JobState, u32)> = recovered.entries.iter().map(|e| (e.job.0, e.state, e.deaths)).collect();
    assert_eq!(
        waiting,
        [(3, JobState::Running, 0), (4, JobState::Running, 1), (5, JobState::Queued, 0), (6, JobState::Held, 0)],
        "{recovered:?}"
    );
    assert_eq!((recovered.unnamed.len(), recovered.unnamed[0].run, recovered.unnamed[0].images[0].inode), (1, RunId(3), Some(u64::MAX)));
    assert_eq!((recovered.unfinished.len(), recovered.unfinished[0].run, recovered.unfinished[0].begun), (1, RunId(5), true));
    assert_eq!((recovered.paused, recovered.finished.get(&JobState::Done)), (true, Some(&1)));
    assert_eq!(recovered.notices.last().unwrap().text, "beware");

    assert_eq!(recovered.experience.known(&basis()).len(), learned);
    assert_eq!(recovered.experience.history(&basis(), &WALK).map(|h| h.runs), (learned > 0).then_some(1));

    let done = view(&mut ledger, JobId(1));
    assert_eq!((done.spec.clone(), done.images[0].path.as_path()), (spec("done"), Path::new("/out/night-2.png")));
    assert_eq!(
        (done.images[0].seed, done.timing.unwrap().per_step, done.warnings),
        (Seed(u64::MAX), vec![0.5, 0.25], vec!["slow".to_owned()])
    );
    let failure = view(&mut ledger, JobId(2)).failure.unwrap();
    assert_eq!((failure.kind, failure.log), (Kind::Refused, vec!["out of memory".to_owned()]));
    assert_eq!(append(&mut ledger, "new"), JobId(7));
}

#[test]
fn what_is_no_ledger_of_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, make: &dyn Fn(&Path), expected: &str| {
        let path = folder.path().join(name);
        make(&path);
        let before = fs::read(&path).unwrap();
        let error = Ledger::open(&path).unwrap_err();
        assert_eq!(error.to_string().replace(&path.display().to_string(), "FILE"), expected);
        assert_eq!(fs::read(&path).unwrap(), before, "{name} was changed");
    };
    check("noise", &|p| fs::write(p, [b'x'; 4096]).unwrap(), "the ledger FILE cannot be opened: file is not a database");
    check("foreign", &|p| Connection::open(p).unwrap().execute_batch("CREATE TABLE a (b)").unwrap(), "FILE is not a ledger of perilune");
    let newer = |p: &Path| {
        drop(Ledger::open(p).unwrap());
        Connection::open(p).unwrap().pragma_update(None, "user_version", 99).unwrap();
    };
    check("newer", &newer, "the ledger FILE has version 99; this program knows versions up to 5");
}

#[test]
fn speeds_are_the_newest_and_forecasts_are_bounded() {
    let mut ledger = Ledger::in_memory().unwrap();
    for n in 0..250 {
        ledger.run_one(&lesson(f64::from(n), 0.5), Timestamp(n.into())).unwrap();
    }
    let known = ledger.recover().unwrap().experience;
    let learned = known.known(&basis());
    let newest = Finding::Speed(Subject::Device(DeviceId::Disk), Speed { flops: 0.0, bytes_per_second: 249.0, measured: true });
    assert!(learned.len() == 2 && learned.iter().any(|l| l.finding == newest), "{learned:?}");
    let history = known.history(&basis(), &WALK).unwrap();
    assert!(history.runs == 200 && history.median_error < 1e-9, "{history:?}");
}

#[test]
fn a_run_ends_once() {
    let mut ledger = Ledger::in_memory().unwrap();
    let job = append(&mut ledger, "a");
    let run = start(&mut ledger, job);
    let at = Timestamp(4_000);
    let again = Command::Assign { job, device: DeviceId::Cpu, pid: None };
    assert!(matches!(ledger.run_one(&again, at), Err(LedgerError::NoJob(_))), "it runs already");
    ledger.run_one(&finish(run, job), at).unwrap();
    for command in [
        finish(run, job),
        Command::Interrupt { run, job, why: Interruption::DaemonDied },
        Command::Cancel { jobs: vec![job], run: Some(run) },
        Command::Start { run, job },
    ] {
        assert!(matches!(ledger.run_one(&command, at), Err(LedgerError::NoRun(_))), "{command:?}");
    }
    let publish = Command::Publish { run, job, paths: vec!["/out/a.png".into()] };
    ledger.run_one(&publish, at).unwrap();
    assert!(matches!(ledger.run_one(&publish, at), Err(LedgerError::NoRun(_))));
    assert!(matches!(ledger.run_one(&again, at), Err(LedgerError::NoJob(_))), "it is done");
}

#[test]
fn commands_that_are_run_together_happen_all_or_not_at_all() {
    let mut ledger = Ledger::in_memory().unwrap();
    let good = Command::Append { spec: Box::new(spec("a")), held: false };
    let bad = Command::Set { job: JobId(99), state: JobState::Held };
    let at = Timestamp(0);
    assert!(ledger.run([(&good, at), (&bad, at)]).is_err());
    assert!(ledger.recover().unwrap().entries.is_empty());
    assert_eq!(ledger.run([(&good, at), (&good, at)]).unwrap().len(), 2);
}

#[test]
fn prompts_cannot_play_with_the_terminal_in_lists() {
    let mut ledger = Ledger::in_memory().unwrap();
    append(&mut ledger, &format!("a\n\x1b[31mmoon{}", "!".repeat(200)));
    let list = Command::List { states: Vec::new(), after: None, limit: 1 };
    let Answer::Page { rows, next } = ledger.run_one(&list, Timestamp(0)).unwrap() else { panic!("no page") };
    assert!(rows[0].prompt.starts_with("a  [31mmoon!!") && rows[0].prompt.chars().count() == 96, "{}", rows[0].prompt);
    assert_eq!(next, None);
    for cursor in ["", "w.1", "f.1.2.3", "w.a.b.c", "x.1.2"] {
        let list = Command::List { states: Vec::new(), after: Some(Cursor(cursor.to_owned())), limit: 1 };
        assert!(matches!(ledger.run_one(&list, Timestamp(0)), Err(LedgerError::Cursor(_))), "{cursor}");
    }
}
