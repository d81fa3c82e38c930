//! The command line, as people and scripts use it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;

use perilune::jobs::JobState;
use perilune::units::JobId;
use serde_json::{Value, json};

use crate::support::builders::{a_job, endless, scripted};
use crate::support::daemon::{Done, Home, finish};
use crate::support::wait::{until, until_true};
use crate::support::weights_file::{tiny_unet, under, write, zeros};

/// What a job of the fake engine needs on the command line.
const RUN: [&str; 9] = ["run", "-m", "night", "-p", "a moon", "--steps", "2", "--seed", "7"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&RUN[..], more].concat()
}

#[track_caller]
fn refused(done: &Done, code: i32, message: &str) {
    done.refused(code, message);
}

/// Takes out of JSON what is another in each run.
fn redact(value: &mut Value, home: &Home) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match name.as_str() {
                    "pid" | "uptime_s" | "time" | "created" | "started" | "finished" | "queued" | "age_s" | "last_used" | "id"
                        if !value.is_null() && !value.is_object() =>
                    {
                        *value = json!("[redacted]");
                    }
                    "devices" | "host" => *value = json!("[readings]"),
                    _ => redact(value, home),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|v| redact(v, home)),
        Value::String(text) => *text = text.replace(&home.path().display().to_string(), "[home]"),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn snapshot(name: &str, mut value: Value, home: &Home) {
    redact(&mut value, home);
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!(name, serde_json::to_string_pretty(&value).unwrap());
    });
}

#[test]
fn the_reference_is_complete() {
    let home = Home::empty();
    let mut text = String::new();
    let mut pages = vec![Vec::<String>::new()];
    while let Some(page) = pages.pop() {
        let mut arguments = page.clone();
        arguments.push("--help".to_owned());
        let mut command = home.command(&arguments);
        command.env("COLUMNS", "100");
        let help = finish(command).ok();
        text += &["## perilune ", &page.join(" "), "\n\n", &help, "\n"].concat();
        let commands = help.lines().skip_while(|l| *l != "Commands:").skip(1).take_while(|l| !l.is_empty());
        let below = commands.filter_map(|l| l.strip_prefix("  ").filter(|l| !l.starts_with(' '))?.split(' ').next());
        pages.extend(below.map(|name| [page.clone(), vec![name.to_owned()]].concat()).collect::<Vec<_>>().into_iter().rev());
    }
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("reference", text);
    });
}

#[test]
fn each_mistake_has_its_exit_code_and_one_clear_line() {
    let home = Home::with_daemon();
    write(home.path(), "models/checkpoints/cut.safetensors", b"\x10\0\0");
    write(home.path(), "models/unet/bare.safetensors", &zeros(&under("model.diffusion_model.", tiny_unet()), ""));
    let check = |arguments: &[&str], code: i32, message: &str| refused(&home.run(arguments), code, message);
    check(&with(&["--size", "500x500"]), 2, "invalid value '500x500' for '--size <WxH>': 500x500 is not divisible by 8");
    check(&["run", "-m", "night", "--steps", "0"], 2, "--steps 0 is out of range");
    check(&["run"], 2, "the following required arguments were not provided: --model <PATH|NAME>");
    check(&["explode"], 2, "unrecognized subcommand 'explode'");
    check(&["queue", "clear", "--state", "queued"], 2, "queued jobs are not finished, so they cannot be cleared");
    check(&["--profile", "slow", "config"], 4, "there is no profile `slow`");
    check(&["queue", "show", "99"], 4, "there is no job 99");
    check(&["run", "-m", "day"], 4, "there is no model `day` in ");
    check(&["models", "inspect", "day"], 4, "there is no model `day` in ");
    check(&["run", "-m", "bare"], 4, "`bare` brings no clip_l and vae, which SD1.5 needs");
    check(&["run", "-m", "cut"], 6, &format!("{}/models/checkpoints/cut.safetensors: ", home.path().display()));
    check(&with(&["-o", "/proc/none"]), 1, "/proc/none cannot be written to: ");
    check(&["serve"], 1, "a daemon already runs, pid ");
    assert_eq!(home.talk().listed(), [""; 0], "nothing is left behind");
}

#[test]
fn arguments_that_are_not_text_are_refused_in_one_line() {
    let home = Home::empty();
    let raw = std::ffi::OsStr::from_bytes(b"caf\xe9.safetensors");
    let done = home.run(&[std::ffi::OsStr::new("models"), "inspect".as_ref(), raw]);
    refused(&done, 2, "argument 3, `caf\u{fffd}.safetensors`, is not valid UTF-8");
}

#[test]
fn without_a_daemon_commands_say_so_and_those_that_need_none_work() {
    let home = Home::empty();
    for arguments in [&["status"][..], &["queue", "list"], &RUN, &["devices"], &["stop"]] {
        refused(&home.run(arguments), 3, "no daemon runs");
    }
    for arguments in [&["config"][..], &["models", "list"], &["models", "inspect", "night"], &["--version"]] {
        home.run(arguments).ok();
    }
    assert!(!home.path().join("run").exists() && !home.path().join("state").exists(), "nothing is left behind");
}

#[test]
fn a_socket_folder_that_is_not_private_is_refused() {
    let home = Home::empty();
    let folder = home.path().join("run");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let open = format!("{} is open to others: its mode is 777", folder.display());
    refused(&home.run(&["status"]), 3, &open);
    refused(&home.run(&["serve"]), 1, &open);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    // Only root can give a folder away; others cannot get into this situation by themselves.
    if std::os::unix::fs::chown(&folder, Some(12_345), None).is_ok() {
        let theirs = format!("{} belongs to user 12345, not to you", folder.display());
        refused(&home.run(&["status"]), 3, &theirs);
        refused(&home.run(&["serve"]), 1, &theirs);
    }
}

#[test]
fn a_standard_error_that_cannot_be_written_to_changes_no_exit_code() {
    let home = Home::with_daemon();
    for (arguments, code) in [(with(&[]), 0), (vec!["run", "-m", "nobody", "-p", "x"], 4), (vec!["queue", "move"], 2)] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = home.command(&arguments).stdin(Stdio::null()).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?}");
    }
}

#[test]
fn a_run_waits_and_prints_the_paths_of_its_pictures() {
    let home = Home::with_daemon();
    let done = home.run(&with(&["--batch", "2"]));
    let expected = ["000001-night-7.png", "000001-night-8.png"].map(|n| format!("{}\n", home.output().join(n).display()));
    assert_eq!(done.ok(), expected.concat());
    let done = home.run(&with(&["-o", "elsewhere"]));
    assert_eq!(done.ok(), format!("{}\n", home.path().join("elsewhere/000002-night-7.png").display()));
}

#[test]
fn a_run_in_json_tells_its_progress_and_then_the_whole() {
    let home = Home::with_daemon();
    let text = home.run(&with(&["--json"])).ok();
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (last, before) = lines.split_last().unwrap();
    assert!(before.iter().all(|l| l["job"] == 1 && (l["state"].is_string() || l["phase"].is_string())), "{text}");
    snapshot("run", last.clone(), &home);
}

#[test]
fn a_run_that_fails_ends_with_the_code_of_its_failure() {
    let home = Home::with_daemon();
    let fail = |kind: &str| json!({"fail": [0, kind, "it was not to be"]}).to_string();
    for (kind, code) in [("failed", 1), ("refused", 5), ("bad_file", 6)] {
        let done = home.run(&["run", "-m", "night", "-p", &fail(kind)]);
        let error: Vec<&str> = done.stderr.lines().filter(|l| l.starts_with("error: ") || l.starts_with("hint: ")).collect();
        assert_eq!((done.code, error), (code, vec!["error: it was not to be", "hint: ask the fake"]));
    }
    let done = home.run(&["run", "--json", "-m", "night", "-p", &fail("refused")]);
    let last: Value = serde_json::from_str(done.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["state"], &last["failure"]["kind"]), (&json!("failed"), &json!("refused")));
}

#[test]
fn a_detached_run_prints_its_number() {
    let home = Home::with_daemon();
    assert_eq!(home.run(&with(&["--detach"])).ok(), "1\n");
    assert_eq!(home.run(&with(&["--held", "--json"])).json(), json!({"job": 2, "state": "held"}));
    let mut talk = home.talk();
    talk.wait_for(JobId(1), JobState::Done);
    assert_eq!(talk.show(JobId(2)).state, JobState::Held);
    assert_eq!(talk.show(JobId(2)).spec.owner, "ana");
}

#[test]
fn an_interrupted_run_is_cancelled() {
    let home = Home::with_daemon();
    let prompt = json!({"step_ms": 50}).to_string();
    let mut command = home.command(&["run", "--no-spawn", "-m", "night", "-p", &prompt, "--steps", "1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = home.talk();
    until_true("the job to run", || talk.status().queue.running == 1);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok).collect::<Vec<_>>();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(stderr.contains(&"error: job 1 was cancelled".to_owned()), "{stderr:?}");
    talk.wait_for(JobId(1), JobState::Cancelled);
}

#[test]
fn an_interrupted_run_ends_with_its_result_for_programs_too() {
    let home = Home::with_daemon();
    let prompt = json!({"step_ms": 50}).to_string();
    let mut command = home.command(&["run", "--no-spawn", "-m", "night", "-p", &prompt, "--steps", "1000", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = home.talk();
    until_true("the job to run", || talk.status().queue.running == 1);
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let last: Value = serde_json::from_slice(output.stdout.trim_ascii_end().rsplit(|b| *b == b'\n').next().unwrap()).unwrap();
    assert_eq!((&last["job"], &last["state"], &last["images"]), (&json!(1), &json!("cancelled"), &json!([])));
    assert_eq!(output.status.code(), Some(130));
}

#[test]
fn a_run_whose_daemon_dies_says_so() {
    let mut home = Home::with_daemon();
    let mut command = home.command(&["run", "--no-spawn", "-m", "night", "-p", &json!({"step_ms": 50}).to_string(), "--steps", "1000"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = home.talk();
    until_true("the job to run", || talk.status().queue.running == 1);
    home.kill();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("error: the connection to the daemon was lost"));
}

#[test]
fn the_queue_is_listed_and_changed() {
    let home = Home::with_daemon();
    home.run(&["queue", "pause"]).ok();
    for _ in 0..3 {
        home.run(&with(&["--detach"])).ok();
    }
    assert_eq!(home.run(&["queue", "move", "3", "first"]).ok(), "job 3 moved; it is the first of its priority, 0\n");
    let again = home.run(&["queue", "move", "3", "up"]);
    assert_eq!(again.ok(), "job 3 stays where it is: it is the first of its priority, 0\n");
    assert_eq!(home.run(&["queue", "cancel", "1", "2", "--json"]).json(), json!({"changed": [1, 2], "already": []}));
    let listed = home.run(&["queue", "list"]);
    assert_eq!(listed.stderr, "the queue is paused; `perilune queue resume` lets it go on\n");
    let listed = listed.ok();
    let rows: Vec<Vec<&str>> = listed.lines().map(|l| l.split_whitespace().take(2).collect()).collect();
    assert_eq!(rows, [["job", "state"], ["3", "queued"], ["2", "cancelled"], ["1", "cancelled"]]);
    let json = home.run(&["queue", "list", "--state", "queued", "--json"]).json();
    assert_eq!((&json["paused"], json["jobs"].as_array().map(Vec::len), &json["jobs"][0]["job"]), (&json!(true), Some(1), &json!(3)));
    let done = home.run(&["queue", "cancel", "3", "1"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "job 3 cancelled\njob 1 was cancelled already\n"));
    assert_eq!(home.run(&["queue", "retry", "3"]).ok(), "job 3 queued again\n");
    home.run(&["queue", "resume"]).ok();
    home.talk().wait_for(JobId(3), JobState::Done);
    assert_eq!(home.run(&["queue", "clear", "--state", "cancelled"]).ok(), "2 jobs forgotten\n");
    assert!(home.run(&["queue", "show", "3"]).ok().contains("000003-night-7.png"));
}

#[test]
fn cancelling_what_is_cancelled_or_has_ended_says_so() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let hung = talk.submit(scripted(&json!({"hang": 0})));
    talk.wait_for(hung, JobState::Running);
    let cancel = |jobs: &[&str]| {
        let done = home.run(&[&["queue", "cancel"], jobs].concat());
        (done.code, done.stdout, done.stderr.lines().next().unwrap_or_default().to_owned())
    };
    let said = |code, out: &str, error: &str| (code, out.to_owned(), error.to_owned());
    assert_eq!(cancel(&["1"]), said(0, "job 1 cancelled\n", ""));
    assert_eq!(cancel(&["1"]), said(0, "job 1 was cancelled already\n", ""), "its engine has not stopped yet");
    home.run(&["queue", "pause"]).ok();
    let waiting = talk.submit(a_job());
    assert_eq!(cancel(&["2", "2"]), said(0, "job 2 cancelled\n", ""), "{waiting}");
    assert_eq!(cancel(&["2", "1"]), said(0, "jobs 2, 1 were cancelled already\n", ""));
    assert_eq!(cancel(&["99"]), said(4, "", "error: there is no job 99"));
    kill_engine(&mut talk);
    talk.wait_for(hung, JobState::Cancelled);
    home.run(&["queue", "resume"]).ok();
    let done = talk.submit(a_job());
    talk.wait_for(done, JobState::Done);
    assert_eq!(cancel(&["3"]), said(5, "", "error: job 3 is done, too late to cancel"));
    let last = talk.submit(endless());
    talk.wait_for(last, JobState::Running);
    let expected =
        said(5, "job 4 cancelled\njob 2 was cancelled already\n", "error: job 3 is done, too late to cancel; there is no job 99");
    assert_eq!(cancel(&["4", "3", "99", "2"]), expected);
}

#[test]
fn a_run_on_a_paused_queue_says_how_it_goes_on() {
    let home = Home::with_daemon();
    home.run(&["queue", "pause"]).ok();
    let mut child = home.command(&with(&["--no-spawn"])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "the queue is paused; `perilune queue resume` lets it go on"));
    home.run(&["queue", "resume"]).ok();
    assert_eq!(lines.filter(|line| line.contains("is paused")).count(), 0, "once");
    assert!(child.wait().unwrap().success());
}

fn kill_engine(talk: &mut crate::support::talk::Talk) {
    let pid = talk.status().engines.first().and_then(|e| e.pid).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_list_of_no_jobs_is_refused() {
    let home = Home::with_daemon();
    refused(&home.run(&["queue", "list", "--limit", "0"]), 2, "invalid value '0' for '--limit <N>'");
    for _ in 0..2 {
        home.run(&with(&["--detach"])).ok();
    }
    assert_eq!(home.run(&["queue", "list", "--limit", "1", "--json"]).json()["jobs"].as_array().map(Vec::len), Some(1));
}

#[test]
fn the_shapes_that_others_read() {
    let home = Home::with_daemon();
    home.run(&RUN).ok();
    let mut talk = home.talk();
    until_true("the engine to be free", || talk.status().engines.iter().any(|e| e.state == perilune::wire::EngineState::Ready));
    let mut status = home.run(&["status", "--json"]).json();
    // This box's disk and memory decide what is among them.
    assert!(status.as_object_mut().unwrap().remove("alerts").is_some_and(|alerts| alerts.is_array()));
    snapshot("status", status, &home);
    snapshot("queue_show", home.run(&["queue", "show", "1", "--json"]).json(), &home);
    let mut inspected = home.run(&["models", "inspect", "night", "--json"]).json();
    // The memory of this box decides about the rest.
    let advice = inspected.as_object_mut().unwrap().remove("advice").unwrap();
    let first = &advice[0];
    assert!(first["device"].is_string() && first["to"].is_string() && first["bytes"].is_u64() && first["fits"].is_boolean(), "{first}");
    assert!(first["reason"].as_str().is_some_and(|r| !r.is_empty()), "{first}");
    snapshot("models_inspect", inspected, &home);
    snapshot("models_list", home.run(&["models", "list", "--json"]).json(), &home);
    let devices = home.run(&["devices", "--json"]).json();
    assert!(devices["devices"].is_array() && devices["host"].is_object());
    let doctor = home.run(&["doctor", "--json"]).json();
    let ids: Vec<&str> =
        doctor["checks"].as_array().unwrap().iter().filter_map(|c| c["id"].as_str()).filter(|id| *id != "linger").collect();
    let expected = [
        "engine",
        "gpu-driver",
        "socket",
        "daemon",
        "state",
        "cache",
        "embeddings",
        "output",
        "models",
        "tokenizer",
        "tokenizer-t5",
        "tokenizer-qwen",
        "terminal",
    ];
    assert_eq!((ids, &doctor["ok"]), (expected.to_vec(), &json!(true)));
}

#[test]
fn settings_are_shown_with_their_origins() {
    let home = Home::empty();
    home.config("models: [~/here]\nrun: {steps: 30}\n");
    let config = home.run(&["config", "--profile", "fast", "--json"]).json();
    let setting = |name: &str| (config["settings"][name]["value"].clone(), config["settings"][name]["origin"].clone());
    assert_eq!(setting("models"), (json!([home.path().join("here")]), json!("file")));
    assert_eq!(setting("run.steps"), (json!(10), json!("profile fast")));
    assert_eq!(setting("engine").1, json!("PERILUNE_ENGINE"));
    assert_eq!(config["paths"]["socket"], json!(home.socket()));
    home.config("modles: [x]\n");
    refused(&home.run(&["models", "list"]), 2, &format!("{}/config.yaml: unknown field `modles`", home.path().display()));
}

#[test]
fn a_doctor_s_findings_say_how_to_mend_them() {
    let mut home = Home::empty();
    home.use_engine(home.path().join("nothing"));
    let done = home.run(&["doctor", "--json"]);
    assert_eq!(done.code, 1);
    let report: Value = serde_json::from_str(&done.stdout).unwrap();
    for check in report["checks"].as_array().unwrap().iter().filter(|c| c["state"] != "ok") {
        assert!(check["hint"].as_str().is_some_and(|h| !h.is_empty()), "{check}");
    }
    home.script(&json!({"exit_at_start": 3}));
    home.use_engine(env!("CARGO_BIN_EXE_perilune-fake-engine"));
    let text = home.run(&["doctor"]).stdout;
    assert!(text.contains("is not ready on cpu: it exited with status 3; it wrote: cannot load libtorch, says the fake"), "{text}");
}

/// The daemon that is up has folders of its own, and has never heard of these.
#[test]
fn folders_named_on_the_command_line_are_looked_through() {
    let home = Home::with_daemon();
    let elsewhere = home.path().join("elsewhere");
    let from = home.path().join("models/checkpoints/night.safetensors");
    fs::create_dir_all(elsewhere.join("checkpoints")).unwrap();
    fs::copy(from, elsewhere.join("checkpoints/dusk.safetensors")).unwrap();
    let run = ["run", "-m", "dusk", "-p", "a moon"];
    assert_eq!(home.run(&run).code, 4);
    assert_eq!(home.run(&[&run[..], &["--models", elsewhere.to_str().unwrap()]].concat()).code, 0);
    assert_eq!(home.run(&[&run[..], &["--models", "elsewhere"]].concat()).code, 0, "seen from where the command is");
}

fn daemons_started(home: &Home) -> usize {
    let log = fs::read_to_string(home.path().join("state/logs/daemon.log")).unwrap_or_default();
    log.lines().filter(|l| l.contains(" serves ")).count()
}

#[test]
fn clients_that_start_at_once_end_with_one_daemon() {
    let home = Home::empty();
    let clients: Vec<_> = (0..4).map(|_| home.command(&["status", "--json"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let pids: Vec<Value> = clients
        .into_iter()
        .map(|c| {
            let output = c.wait_with_output().unwrap();
            assert!(output.status.success());
            serde_json::from_slice::<Value>(&output.stdout).unwrap()["daemon"]["pid"].clone()
        })
        .collect();
    assert!(pids.windows(2).all(|w| w[0] == w[1]), "{pids:?}");
    assert_eq!(daemons_started(&home), 1);
    assert_eq!(home.run(&["stop"]).ok(), "the daemon has ended\n");
    let again = home.run(&["stop"]);
    refused(&again, 3, "no daemon runs");
    assert!(again.stderr.contains("there is nothing to stop") && !again.stderr.contains("--no-spawn"), "{}", again.stderr);
}

#[test]
fn what_keeps_a_daemon_from_starting_is_told_to_the_client() {
    let home = Home::empty();
    write(home.path(), "state/ledger.sqlite", b"this is no database, but it is long enough to be looked at as one by SQLite itself");
    refused(&finish(home.command(&["status"])), 3, "no daemon could be started: the ledger ");
    refused(&home.run(&["serve"]), 1, "the ledger ");
}

#[test]
fn a_daemon_that_hangs_is_ended_by_its_number() {
    let mut home = Home::with_daemon();
    // The socket is gone, so nobody can ask it; the lock still says who it is.
    fs::remove_file(home.socket()).unwrap();
    assert_eq!(home.run(&["stop"]).ok(), "the daemon has ended\n");
    assert!(home.daemon().wait().unwrap().success());
}

fn script(home: &Home, name: &str, text: &str) -> String {
    let path = write(home.path(), name, format!("#!/bin/sh\n{text}\n").as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn another_machine_is_reached_through_ssh() {
    let home = Home::empty();
    let program = env!("CARGO_BIN_EXE_perilune");
    let ssh = script(
        &home,
        "ssh",
        &format!(r#"[ "$1 $2" = "-T ana@box" ] || exit 9; shift 2; [ "$1" = perilune ] || exit 9; shift; exec {program} "$@""#),
    );
    let on_box = |arguments: &[&str]| {
        let mut command = home.command(&[&["--host", "ana@box"], arguments].concat());
        command.env("PERILUNE_SSH", &ssh);
        finish(command)
    };
    refused(&on_box(&["status", "--no-spawn"]), 3, "no daemon runs");
    let done = on_box(&["run", "-m", "night", "-p", "a moon", "--seed", "7", "--steps", "2"]);
    assert_eq!(done.ok(), format!("{}\n", home.output().join("000001-night-7.png").display()));
    refused(&on_box(&with(&["-o", "here"])), 2, "--output here is relative, but the job runs on ana@box");
    assert_eq!(on_box(&["models", "inspect", "night", "--json"]).json()["family"], "sd15");
    on_box(&["stop"]).ok();
    let mut failing = home.command(&["--host", "ana@box", "status"]);
    failing.env("PERILUNE_SSH", script(&home, "no-ssh", "echo 'ssh: connect to host box: No route to host' >&2; exit 255"));
    refused(&finish(failing), 3, "the connection to the daemon was lost: ssh: connect to host box: No route to host");
    refused(&home.run(&["--host=-oProxyCommand=x", "status"]), 2, "`-oProxyCommand=x` is no host");
}

/// A terminal sends Ctrl-C to all of its foreground programs, ssh too.
#[test]
fn ctrl_c_cancels_the_job_and_spares_the_ssh_that_says_so() {
    let home = Home::with_daemon();
    let ssh = script(&home, "ssh", &format!(r#"shift 3; exec {} "$@""#, env!("CARGO_BIN_EXE_perilune")));
    let slow = json!({"step_ms": 50}).to_string();
    let mut command = home.command(&["--host", "ana@box", "--no-spawn", "run", "-m", "night", "-p", &slow, "--steps", "1000"]);
    command.env("PERILUNE_SSH", &ssh).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let mut talk = home.talk();
    until_true("the job to run", || talk.status().queue.running == 1);
    rustix::process::kill_process_group(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    talk.wait_for(JobId(1), JobState::Cancelled);
}

#[test]
fn output_that_nobody_reads_is_no_error() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    talk.submit(endless());
    for _ in 0..500 {
        talk.submit(a_job());
    }
    let mut child = home.command(&["queue", "list", "--no-spawn"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
    let all = home.run(&["queue", "list"]).ok();
    assert_eq!(all.lines().count(), 502);
    assert_eq!(home.run(&["queue", "list", "-l", "7"]).ok().lines().count(), 8);
}

#[test]
fn a_watch_goes_on_until_it_is_ended() {
    let home = Home::with_daemon();
    let mut child = home.command(&["status", "--watch", "--json", "--no-spawn"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let status: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert!(status["queue"]["queued"].is_number());
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_long_home_keeps_its_socket_elsewhere_and_says_so() {
    let home = Home::empty();
    let long = home.path().join("x".repeat(110));
    fs::create_dir(&long).unwrap();
    let here = |arguments: &[&str]| finish(home.command(&[&["--home", long.to_str().unwrap()], arguments].concat()));
    let socket = here(&["config", "--json"]).json()["paths"]["socket"].as_str().unwrap().to_owned();
    assert!(socket.starts_with("/tmp/perilune-"), "{socket}");
    here(&["status"]).ok();
    assert!(Path::new(&socket).exists());
    assert!(here(&["doctor"]).stdout.contains("is too long for a socket"));
    here(&["stop"]).ok();
    fs::remove_dir_all(Path::new(&socket).parent().unwrap()).unwrap();
}

#[test]
fn a_bridge_carries_bytes_and_ends_with_its_client() {
    let home = Home::with_daemon();
    let mut command = home.command(&["bridge", "--no-spawn"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    perilune::wire::blocking::write(&mut stdin, &perilune::wire::Hello::ours(), perilune::wire::Limit::CONTROL).unwrap();
    stdin.flush().unwrap();
    drop(stdin);
    let output = until("the bridge to end", || child.try_wait().unwrap());
    assert!(output.success());
}
