//! Folders, disks, sockets and other daemons that are not as they should be.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread;

use perilune::jobs::JobState;
use perilune::units::JobId;
use perilune::wire::{Hello, Limit, Request, blocking};
use perilune::workflow::JobDraft;
use rustix::process::{Pid, Resource, Rlimit, geteuid, prlimit};
use rustix::thread::set_thread_uid;
use serde_json::json;

use super::Before;
use crate::support::builders::{a_job, endless, scripted};
use crate::support::daemon::{Done, Home, finish};
use crate::support::talk::Talk;
use crate::support::wait::{PATIENCE, until, until_true};
use crate::support::weights_file::write;

/// Somebody who is not us; no such user needs to exist.
const STRANGER: u32 = 12_345;

fn piped(home: &Home, words: &[&str]) -> Child {
    home.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A run that was refused while it was waited for: what it told on the way is left out.
#[track_caller]
fn failed(done: Done, message: &str) {
    let told = done.stderr.lines().filter(|l| l.starts_with("error: ") || l.starts_with("hint: ")).map(|l| format!("{l}\n"));
    Done { stderr: told.collect(), ..done }.refused(1, message);
}

#[test]
fn folders_that_cannot_be_written_to_are_refused_before_anything_runs() {
    let home = Home::with_daemon();
    let file = write(home.path(), "a-file", b"theirs");
    let before = Before::of(&home);
    for folder in [file.clone(), file.join("below"), file.join("far/below"), "/proc/none".into(), "/dev/null".into(), "/dev/null/x".into()]
    {
        let folder = folder.display().to_string();
        home.run(&["run", "-m", "night", "-o", &folder]).refused(1, &format!("{folder} cannot be written to: "));
    }
    before.holds(&home);
    assert_eq!(fs::read(file).unwrap(), b"theirs");
}

#[test]
fn a_folder_that_went_away_fails_the_job_and_a_retry_does_it_all() {
    let home = Home::with_daemon();
    home.run(&["queue", "pause"]).ok();
    let run = piped(&home, &["run", "--no-spawn", "-m", "night", "--steps", "1", "--batch", "2"]);
    until_true("the job to be taken", || home.talk().status().queue.queued == 1);
    fs::write(home.output(), "a file in the folder's place").unwrap();
    home.run(&["queue", "resume"]).ok();
    failed(ended(run), &format!("{} cannot be written to: ", home.output().display()));
    assert_eq!(fs::read_to_string(home.output()).unwrap(), "a file in the folder's place");
    fs::remove_file(home.output()).unwrap();
    home.run(&["queue", "retry", "1"]).ok();
    assert_eq!(home.talk().wait_for(JobId(1), JobState::Done).images.len(), 2);
    assert_eq!(home.pictures().len(), 2);
}

/// Whoever knows the ledger's tag could put a link in the way of the second picture: it leads nowhere, and the first
/// picture goes, too.
#[test]
fn a_batch_that_cannot_be_saved_whole_leaves_nothing_and_a_retry_does_it_all() {
    let home = Home::with_daemon();
    fs::create_dir(home.output()).unwrap();
    let ledger = rusqlite::Connection::open(home.path().join("state/ledger.sqlite")).unwrap();
    let tag: String = ledger.query_row("SELECT value FROM settings WHERE name = 'tag'", [], |row| row.get(0)).unwrap();
    drop(ledger);
    let precious = home.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, home.output().join(format!(".perilune-{tag}-1-1.part"))).unwrap();
    let done = home.run(&["run", "-m", "night", "--steps", "1", "--batch", "2"]);
    failed(done, &format!("{} cannot be written to: File exists", home.output().display()));
    until_true("nothing to be left", || home.pictures().is_empty());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert_eq!(home.talk().show(JobId(1)).images, []);
    home.run(&["queue", "retry", "1"]).ok();
    assert_eq!(home.talk().wait_for(JobId(1), JobState::Done).images.len(), 2);
    assert_eq!(home.pictures().len(), 2);
}

/// A file that may not grow is the nearest to a small disk that needs no privileges; by default it kills who writes.
#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_kills_no_engine() {
    let home = Home::with_daemon();
    home.run(&["run", "-m", "night", "--steps", "1"]).ok();
    let engine = home.talk().status().engines[0].pid.unwrap();
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Pid::from_raw(engine.cast_signed()), Resource::Fsize, limit).unwrap();
    };
    limit(Some(20));
    failed(home.run(&["run", "-m", "night", "--steps", "1"]), "the disk is full: ");
    until_true("nothing to be left", || home.pictures().len() == 1);
    limit(None);
    home.run(&["queue", "retry", "2"]).ok();
    let view = home.talk().wait_for(JobId(2), JobState::Done);
    assert_eq!((view.attempts, home.talk().status().engines[0].pid), (2, Some(engine)), "one failed, one succeeded, none died");
}

#[test]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { steps: Some(50), ..scripted(&json!({"step_ms": 10})) });
    talk.wait_for(job, JobState::Running);
    let pid = home.daemon().id();
    let lock = fs::read_to_string(home.path().join("state/daemon.lock")).unwrap();
    for _ in 0..3 {
        home.run(&["serve"]).refused(1, &format!("a daemon already runs, pid {pid}"));
    }
    assert_eq!(fs::read_to_string(home.path().join("state/daemon.lock")).unwrap(), lock);
    assert_eq!(talk.wait_for(job, JobState::Done).attempts, 1);
    assert_eq!(home.talk().status().daemon.pid, pid);
}

#[test]
fn of_daemons_that_start_at_once_one_serves_and_the_others_say_who() {
    let home = Home::empty();
    let mut daemons: Vec<Child> = (0..4).map(|_| piped(&home, &["serve"])).collect();
    let serving = home.talk().status().daemon.pid;
    let at = daemons.iter().position(|d| d.id() == serving).unwrap();
    let winner = daemons.remove(at);
    for other in daemons {
        // Who comes while the winner has not written its number yet is not told it.
        let done = ended(other);
        assert_eq!(done.code, 1, "{done:?}");
        done.refused(1, "a daemon already runs");
    }
    assert_eq!(home.talk().status().daemon.pid, serving);
    home.run(&["stop"]).ok();
    assert_eq!(ended(winner).code, 0);
}

#[test]
fn two_daemons_with_one_socket_and_two_ledgers_do_not_mix() {
    let home = Home::empty();
    let serve = |name: &str| {
        let mut command = home.command(&["serve"]);
        command.env_remove("PERILUNE_HOME").env("XDG_RUNTIME_DIR", home.path());
        command.env("HOME", home.path().join(name)).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let socket = home.path().join("perilune/daemon.sock");
    let mut first = serve("one").stderr(Stdio::null()).spawn().unwrap();
    let mut talk = until("the daemon to answer", || Talk::with(&socket));
    finish(serve("two")).refused(1, &format!("another daemon listens on {}", socket.display()));
    assert_eq!(talk.status().daemon.pid, first.id());
    Talk::with(&socket).unwrap().status();
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_socket_folder_of_somebody_else_is_not_used() {
    let home = Home::empty();
    if geteuid().is_root() {
        let folder = home.path().join("run");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
        chown(&folder, Some(STRANGER), None).unwrap();
        let before = home.tree();
        let theirs = format!("{} belongs to user {STRANGER}, not to you", folder.display());
        home.run(&["status"]).refused(3, &theirs);
        home.run(&["run", "-m", "night"]).refused(3, &theirs);
        home.run(&["serve"]).refused(1, &theirs);
        let logs = |path: &PathBuf| path.starts_with(home.path().join("state"));
        assert_eq!(home.tree().into_iter().filter(|p| !logs(p)).collect::<BTreeSet<_>>(), before, "nothing but a line in the log");
    } else {
        // `/run` is root's on every Linux, and `/` is a home like any other.
        home.run(&["--home", "/", "status"]).refused(3, "/run belongs to user 0, not to you");
        home.run(&["--home", "/", "serve"]).refused(1, "/run belongs to user 0, not to you");
    }
}

/// Strangers can only be played by root, who may become anybody; for all others the folder above is the wall.
#[test]
fn strangers_neither_serve_nor_are_served() {
    if !geteuid().is_root() {
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let home = Home::with_daemon();
        assert_eq!((mode(home.socket().parent().unwrap()), mode(&home.socket())), (0o700, 0o600));
        return;
    }
    let stranger = rustix::process::Uid::from_raw(STRANGER);
    let as_stranger = |work: &(dyn Fn() + Sync)| {
        thread::scope(|scope| {
            scope.spawn(|| {
                set_thread_uid(stranger).unwrap();
                work();
            });
        });
    };
    let open = |home: &Home, mode: u32| {
        fs::create_dir_all(home.path().join("run")).unwrap();
        for path in [home.path(), &home.path().join("run")] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
    };

    // Somebody else listens where our daemon should.
    let home = Home::empty();
    open(&home, 0o777);
    let listener = std::sync::Mutex::new(None);
    as_stranger(&|| *listener.lock().unwrap() = Some(UnixListener::bind(home.socket()).unwrap()));
    open(&home, 0o700);
    let theirs = format!("the daemon at {} belongs to user {STRANGER}", home.socket().display());
    for words in [&["status"][..], &["run", "-m", "night"], &["queue", "list"]] {
        home.run(words).refused(3, &theirs);
    }
    drop(listener);

    // Somebody else knocks, though folder and socket were opened by hand.
    let home = Home::with_daemon();
    let before = Before::of(&home);
    open(&home, 0o755);
    fs::set_permissions(home.socket(), fs::Permissions::from_mode(0o666)).unwrap();
    as_stranger(&|| {
        let mut socket = UnixStream::connect(home.socket()).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0, "not even a greeting");
    });
    open(&home, 0o700);
    before.holds(&home);
}

fn most_memory_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_frame_of_four_gib_takes_no_memory_and_no_conversation_but_its_own() {
    let mut home = Home::with_daemon();
    let pid = home.daemon().id();
    let mut other = home.talk();
    let job = other.submit(endless());
    other.wait_for(job, JobState::Running);
    let before = most_memory_kib(pid);
    for greeted in [false, true] {
        for _ in 0..8 {
            let mut socket = if greeted { home.talk().socket } else { UnixStream::connect(home.socket()).unwrap() };
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
            socket.write_all(&[0xff; 4]).unwrap();
            // What would fill it, for as long as somebody takes it.
            while socket.write_all(&[b' '; 4096]).is_ok() {}
        }
    }
    assert!(most_memory_kib(pid) < before + (32 << 10), "{before} KiB, then {}", most_memory_kib(pid));
    assert_eq!(other.show(job).state, JobState::Running);
}

#[test]
fn an_answer_of_four_gib_is_one_line_to_the_client() {
    let home = Home::empty();
    fs::create_dir(home.path().join("run")).unwrap();
    fs::set_permissions(home.path().join("run"), fs::Permissions::from_mode(0o700)).unwrap();
    let listener = UnixListener::bind(home.socket()).unwrap();
    let client = piped(&home, &["status", "--no-spawn"]);
    let boasting = thread::spawn(move || {
        // A connection that ends before the greeting is tried three times.
        for _ in 0..3 {
            let mut socket = listener.accept().unwrap().0;
            socket.write_all(&[0xff; 4]).unwrap();
            drop(blocking::read::<serde_json::Value>(&mut socket, Limit::CONTROL));
        }
    });
    ended(client)
        .refused(3, "the connection to the daemon was lost: a frame of 4294967295 bytes was announced; at most 16777216 are accepted");
    boasting.join().unwrap();
}

#[test]
fn an_engine_that_announces_four_gib_is_killed_and_no_other_job_suffers() {
    let home = Home::with_daemon();
    let prompt = json!({"boast": 0, "hang": 0}).to_string();
    failed(
        home.run(&["run", "-m", "night", "--steps", "2", "-p", &prompt]),
        "the engine died 2 times while it ran this job; the last time it was killed for what it sent: a frame of 4294967295 bytes was announced",
    );
    home.run(&["run", "-m", "night", "--steps", "1"]).ok();
    assert_eq!(home.pictures().len(), 1);
}

/// An answer that fits into no frame is said to be too long; the conversation goes on.
#[test]
fn a_question_as_long_as_a_frame_gets_an_answer() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    // Quoted once more in the answer, each of these takes two bytes instead of one.
    let asked = json!({"id": 9, "request": {"show": "\u{7f}\"".repeat(5 << 20)}});
    blocking::write(&mut talk.socket, &asked, Limit::CONTROL).unwrap();
    let perilune::wire::ServerFrame::Error { id: Some(9), error } = talk.frame() else { panic!("no refusal") };
    assert!(error.message.len() < 1000, "{} bytes were told", error.message.len());
    assert_eq!(talk.call(Request::Pause { job: None }), perilune::wire::Reply::Changed(Vec::new()));
    let mut greeting = UnixStream::connect(home.socket()).unwrap();
    blocking::write(&mut greeting, &Hello::ours(), Limit::CONTROL).unwrap();
    assert_eq!(home.talk().submit(a_job()), JobId(1));
}

/// A daemon that is ended with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_daemon_is_found_from_sessions_with_another_runtime_folder_and_after_its_own_was_wiped() {
    let home = Home::empty();
    let session = |runtime: Option<&str>, words: &[&str]| {
        let mut command = home.command(words);
        command.env_remove("PERILUNE_HOME");
        if let Some(runtime) = runtime {
            fs::create_dir_all(home.path().join(runtime)).unwrap();
            command.env("XDG_RUNTIME_DIR", home.path().join(runtime));
        }
        command
    };
    let pid = |runtime: Option<&str>| {
        let status = finish(session(runtime, &["status", "--json", "--no-spawn"]));
        serde_json::from_str::<serde_json::Value>(&status.stdout).ok().map(|status| status["daemon"]["pid"].clone())
    };
    let mut serve = session(Some("login"), &["serve"]);
    let serving = Serving(serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let ours = Some(json!(serving.0.id()));
    until_true("the daemon to answer", || pid(Some("login")) == ours);
    assert_eq!([pid(Some("cron")), pid(None)], [ours.clone(), ours.clone()]);
    let doctor = finish(session(None, &["doctor", "--json"])).stdout;
    assert!(doctor.contains("answers") && doctor.contains("login/perilune/daemon.sock"), "{doctor}");

    // As at the last logout.
    fs::remove_dir_all(home.path().join("login")).unwrap();
    let told = finish(session(Some("cron"), &["status", "--no-spawn"]));
    if told.code != 0 {
        told.refused(3, &format!("a daemon runs, pid {}, but does not listen on ", serving.0.id()));
    }
    finish(session(Some("cron"), &["status"])).ok();
    assert_eq!([pid(Some("login")), pid(None)], [ours.clone(), ours]);
    assert_eq!(finish(session(Some("cron"), &["stop"])).ok(), "the daemon has ended\n");
}
