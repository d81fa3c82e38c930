//! Recordings: what is written is what was heard, without prompts; what is no whole recording is refused; and the screens are
//! those of back then.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use perilune::jobs::{Phase, Progress};
use perilune::recording::{CutOff, Keep, Recorder, Recording, RecordingError, What};
use perilune::units::{JobId, Timestamp};
use perilune::wire::{Change, Status};
use perilune::workflow::{Kind, Refusal};
use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};

use super::support::daemon::Home;
use super::support::fixtures;
use super::support::terminal::Terminal;
use super::support::wait::until_true;

const START: Timestamp = fixtures::NOW;

fn at(seconds: i64) -> Timestamp {
    Timestamp(START.0 + seconds * 1000)
}

fn status(seconds: i64) -> Status {
    Status { time: at(seconds), ..fixtures::busy() }
}

fn step(step: u32) -> What {
    let progress = Progress { phase: Phase::Sampling, step, steps: 28, step_s: Some(1.5) };
    What::Changed(Box::new(Change::Progress { job: JobId(41), progress }))
}

/// Two minutes of a box: a snapshot each minute, a step every ten seconds.
fn record(path: &Path, keep: Keep) {
    let mut recorder = Recorder::create(path, "local", START, keep).unwrap();
    recorder.put(START, What::Up).unwrap();
    for minute in 0..2 {
        recorder.put_all(at(minute * 60), status(minute * 60)).unwrap();
        for ten in 1..6 {
            recorder.put(at(minute * 60 + ten * 10), step(u32::try_from(minute * 6 + ten).unwrap())).unwrap();
        }
    }
    let line = fixtures::log_line(0, "info", "daemon", "job 42: a red fox in snow, seen from above");
    recorder.put(at(115), What::Changed(Box::new(Change::Log(line)))).unwrap();
    recorder.finish(at(120)).unwrap();
}

fn recorded(keep: Keep) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("box.rec");
    record(&path, keep);
    (folder, path)
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

fn steps(recording: &Recording, from: i64) -> Vec<u32> {
    let moments = recording.play_from(at(from)).unwrap();
    moments
        .filter_map(|m| match m.what {
            What::Changed(change) => match *change {
                Change::Progress { progress, .. } => Some(progress.step),
                _ => None,
            },
            What::Up | What::Down { .. } | What::End => None,
        })
        .collect()
}

#[test]
fn what_was_heard_is_played_from_any_minute() {
    let (_folder, path) = recorded(Keep::Prompts);
    let recording = Recording::open(&path, CutOff::Refused).unwrap();
    assert_eq!((recording.begun, recording.ended, recording.header.prompts), (START, at(120), true));
    assert_eq!(steps(&recording, 0), [1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
    assert_eq!(steps(&recording, 59), steps(&recording, 0));
    assert_eq!(steps(&recording, 60), [7, 8, 9, 10, 11]);
    assert_eq!(steps(&recording, 1000), [7, 8, 9, 10, 11]);
    assert_eq!(steps(&recording, -5), steps(&recording, 0));
    let first = recording.play_from(START).unwrap().next().unwrap();
    assert_eq!(first.what, What::Changed(Box::new(Change::Snapshot(Box::new(status(0))))));
}

#[test]
fn no_prompt_is_kept_unless_it_is_asked_for() {
    let (_folder, path) = recorded(Keep::NoPrompts);
    let without = text(&path);
    for prompt in ["red fox", "lighthouse", "harbour", "night, stars"] {
        assert!(!without.contains(prompt), "{prompt}");
    }
    assert!(without.contains("job 42: (prompt)"), "a line that repeats a prompt stays, without it");
    let (_folder, path) = recorded(Keep::Prompts);
    assert!(text(&path).contains("a red fox in snow, seen from above"));
    assert_eq!(steps(&Recording::open(&path, CutOff::Refused).unwrap(), 60).len(), 5);
}

#[test]
fn what_is_cut_off_foreign_or_damaged_is_told_apart() {
    let (folder, path) = recorded(Keep::NoPrompts);
    let whole = fs::read(&path).unwrap();
    let check = |bytes: &[u8], expected: fn(&RecordingError) -> bool| {
        let file = folder.path().join("other.rec");
        fs::write(&file, bytes).unwrap();
        let error = Recording::open(&file, CutOff::Refused).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert_eq!(Refusal::from(error).kind, Kind::BadFile);
    };
    for kept in 0..whole.len() {
        check(&whole[..kept], |e| matches!(e, RecordingError::CutOff { .. } | RecordingError::Foreign { .. }));
    }
    check(&whole[..whole.len() - 1], |e| matches!(e, RecordingError::CutOff { last: Some(_), .. }));
    check(b"", |e| matches!(e, RecordingError::Foreign { .. }));
    check(b"steps: 4\n", |e| matches!(e, RecordingError::Foreign { .. }));
    check(&[&whole[..], b"and more than the head of a member"].concat(), |e| matches!(e, RecordingError::Damaged { .. }));
    check(&[&whole[..], &whole[..]].concat(), |e| matches!(e, RecordingError::Damaged { .. }));
    for at in (0..whole.len()).step_by(37) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        let file = folder.path().join("flipped.rec");
        fs::write(&file, &flipped).unwrap();
        // Some bytes of gzip's header mean nothing; all others are found.
        drop(Recording::open(&file, CutOff::Refused));
    }
    // What is there can be played all the same.
    let file = folder.path().join("part.rec");
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(steps(&Recording::open(&file, CutOff::Played).unwrap(), 0).len(), 10);
    let exists = Recorder::create(&path, "local", START, Keep::NoPrompts).unwrap_err();
    assert!(matches!(exists, RecordingError::Exists { .. }) && fs::read(&path).unwrap() == whole);
}

#[test]
fn the_program_records_and_refuses() {
    let home = Home::with_daemon();
    let file = home.path().join("box.rec");
    let mut command = home.command(&["record", file.to_str().unwrap(), "--no-spawn", "--json"]);
    let mut child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    until_true("something to be recorded", || fs::metadata(&file).is_ok_and(|m| m.len() > 500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert!(child.wait().unwrap().success(), "Ctrl-C ends it whole");
    let recording = Recording::open(&file, CutOff::Refused).unwrap();
    assert!(recording.play_from(recording.begun).unwrap().any(|m| matches!(m.what, What::Changed(c) if matches!(*c, Change::Snapshot(_)))));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "a recording is its owner's");
    // Line by line, as fast as can be.
    let told = home.run(&["replay", "box.rec", "--plain", "--speed", "1024"]).ok();
    assert!(told.contains("daemon up") && told.contains(" cpu "), "{told}");
    home.run(&["record", "box.rec"]).refused(5, "box.rec is there already");
    home.run(&["replay", "nothing.rec"]).refused(4, "nothing.rec: reading it failed");
    home.run(&["replay", "config.yaml"]).refused(6, "config.yaml is no recording of perilune");
    let whole = fs::read(&file).unwrap();
    fs::write(home.path().join("cut.rec"), &whole[..whole.len() / 2]).unwrap();
    home.run(&["replay", "cut.rec"]).refused(6, "cut.rec is cut off");
}

fn replay(path: &Path, arguments: &[&str]) -> Terminal {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(["replay", path.to_str().unwrap()]);
    command.args(arguments);
    command.env("PERILUNE_HOME", path.parent().unwrap());
    command.env("TERM", "xterm-256color");
    command.env("LANG", "C.UTF-8");
    Terminal::of(command, 140, 40)
}

#[test]
fn a_recording_is_played_on_the_same_screens() {
    let (_folder, path) = recorded(Keep::NoPrompts);
    let mut terminal = replay(&path, &[]);
    terminal.wait_for("REPLAY 0:00:0");
    terminal.wait_for("cuda:0 RTX 4090");
    // The time is that of back then.
    let clock = START.time_of_day();
    terminal.wait_for(&clock[..5]);
    // By now the terminal has been asked all that it is asked.
    terminal.wait_for("REPLAY 0:00:01");
    terminal.press(" ");
    terminal.wait_for("of 0:02:00 paused");
    terminal.press("}");
    terminal.wait_for("REPLAY 0:01:0");
    terminal.press("\u{1b}[C");
    terminal.wait_for("REPLAY 0:01:1");
    terminal.press("\u{1b}[D");
    terminal.wait_for("REPLAY 0:01:0");
    terminal.press("6");
    terminal.wait_for("Job 41");
    assert!(!terminal.text().contains("lighthouse"));
    // Nothing can be changed: there is nobody to ask.
    terminal.press("p");
    terminal.wait_for("this is a recording");
    terminal.press("++++++++ ");
    terminal.wait_for("x256");
    terminal.wait_for("REPLAY 0:02:00");
    terminal.press("q");
    terminal.wait_for_end();
    terminal.check_restored();
    assert!(!path.parent().unwrap().join("run").exists(), "no daemon is needed");
}

#[test]
fn a_recording_may_begin_later_and_faster() {
    let (_folder, path) = recorded(Keep::NoPrompts);
    let mut terminal = replay(&path, &["--from", "100", "--speed", "4"]);
    terminal.wait_for("x4");
    terminal.wait_for("REPLAY 0:02:00");
    terminal.press("q");
    terminal.wait_for_end();
}
