//! Jobs whose diffusion network is converted before they run, by a real daemon and its converter.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use std::sync::atomic::AtomicBool;

use perilune::conversion::turn::Turn;
use perilune::jobs::{JobState, Phase, WaitReason};
use perilune::quant::precision::Target;
use perilune::wire::control::Topics;
use perilune::wire::{Change, ConvertAsk, ConvertStatus, Reply, Request};
use perilune::workflow::JobDraft;

use crate::support::builders::{MODEL, a_job};
use crate::support::daemon::{Done, Home, finish};
use crate::support::talk::Talk;
use crate::support::wait::until_true;

/// A command, on another machine that is this one.
fn there(home: &Home, arguments: &[&str]) -> Done {
    let ssh = home.path().join("ssh");
    fs::write(&ssh, format!("#!/bin/sh\nshift 3; exec {} \"$@\"\n", env!("CARGO_BIN_EXE_perilune"))).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = home.command(&[&["--host", "ana@box"], arguments].concat());
    command.env("PERILUNE_SSH", &ssh);
    finish(command)
}

fn converted(precision: &str) -> JobDraft {
    JobDraft { precision: Some(precision.parse().unwrap()), ..a_job() }
}

fn result(home: &Home, name: &str) -> PathBuf {
    home.path().join("models/diffusion_models").join(name)
}

/// Keeps everybody else from making a file.
fn hold(path: &Path) -> Turn {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    Turn::take(path, &AtomicBool::new(false), || panic!("somebody has it already")).unwrap()
}

/// The processes that convert for this daemon.
fn converters(daemon: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_string_lossy().parse::<u32>().ok());
    let is_ours = |pid: &u32| {
        let read = |what: &str| fs::read_to_string(format!("/proc/{pid}/{what}")).unwrap_or_default();
        read("cmdline").contains("converter") && read("status").contains(&format!("PPid:\t{daemon}\n"))
    };
    processes.filter(is_ours).collect()
}

fn wait_until_converting(talk: &mut Talk, running: usize) {
    until_true("a conversion to run", || talk.status().conversions.iter().filter(|c| c.running).count() == running);
}

#[test]
fn a_job_is_run_as_what_it_was_converted_to_and_the_next_finds_that() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let job = talk.submit(converted("Q8_0"));
    let view = talk.wait_for(job, JobState::Done);
    let made = result(&home, &format!("gguf/{MODEL}_Q8_0.gguf"));
    let files = |view: &perilune::jobs::JobView| view.spec.set.components.iter().map(|c| c.files[0].clone()).collect::<Vec<_>>();
    let checkpoint = home.path().join(format!("models/checkpoints/{MODEL}.safetensors"));
    assert_eq!(files(&view), [made.clone(), checkpoint.clone(), checkpoint], "the encoder and the autoencoder are the source's");
    let written = fs::metadata(&made).unwrap().modified().unwrap();
    assert_eq!(view.spec.conversion.unwrap().result, Some(made.clone()));

    let again = talk.submit(converted("Q8_0"));
    let view = talk.show(again);
    assert_eq!(view.spec.conversion.as_ref().unwrap().result.as_ref(), Some(&made), "it was there when the job was accepted");
    assert_ne!(view.reason, Some(WaitReason::Converting));
    talk.wait_for(again, JobState::Done);
    assert_eq!(fs::metadata(&made).unwrap().modified().unwrap(), written);
    until_true("it to be counted", || talk.status().cache.count == 1);
    let cache = talk.status().cache;
    assert_eq!((cache.bytes.get(), cache.by_precision.len()), (fs::metadata(&made).unwrap().len(), 1));
}

#[test]
fn others_pass_a_job_that_waits_for_its_conversion_and_those_who_need_the_same_share_it() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let held = hold(&result(&home, &format!("converted/{MODEL}_int8.safetensors")));
    let (first, second) = (talk.submit(converted("int8")), talk.submit(converted("int8")));
    let plain = talk.submit(a_job());
    talk.wait_for(plain, JobState::Done);
    wait_until_converting(&mut talk, 1);
    let conversions = talk.status().conversions;
    assert_eq!(conversions.iter().map(|c| (c.to.clone(), c.jobs.clone())).collect::<Vec<_>>(), [(Target::Int8, vec![first, second])]);
    for job in [first, second] {
        let view = talk.show(job);
        assert_eq!((view.state, view.reason), (JobState::Queued, Some(WaitReason::Converting)));
        assert_eq!(view.progress.map(|p| p.phase), Some(Phase::Converting));
    }
    drop(held);
    talk.wait_for(first, JobState::Done);
    talk.wait_for(second, JobState::Done);
    assert!(talk.status().conversions.is_empty());
}

#[test]
fn a_conversion_that_nobody_needs_any_more_is_stopped() {
    let mut home = Home::with_daemon();
    let daemon = home.daemon().id();
    let mut talk = home.talk();
    let _held = hold(&result(&home, &format!("converted/{MODEL}_nf4.safetensors")));
    let (first, second) = (talk.submit(converted("nf4")), talk.submit(converted("nf4")));
    until_true("a converter to work", || converters(daemon).len() == 1);
    talk.changed(Request::Cancel(vec![first]));
    assert_eq!(converters(daemon).len(), 1, "the other job needs it");
    // A job that its operator holds needs nothing.
    talk.changed(Request::Pause { job: Some(second) });
    until_true("the converter to end", || converters(daemon).is_empty());
    talk.changed(Request::Resume { job: Some(second) });
    until_true("another converter to work", || converters(daemon).len() == 1);
    talk.changed(Request::Cancel(vec![second]));
    until_true("that to end", || converters(daemon).is_empty());
    assert!(talk.status().conversions.is_empty());
}

#[test]
fn what_cannot_be_converted_is_refused_and_what_fails_fails_its_jobs() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let target = result(&home, &format!("converted/{MODEL}_fp8_e5m2.safetensors"));
    let held = hold(&target);
    let job = talk.submit(converted("fp8_e5m2"));
    wait_until_converting(&mut talk, 1);
    let checkpoint = home.path().join(format!("models/checkpoints/{MODEL}.safetensors"));
    until_true("the converter to wait for its turn", || {
        fs::read_to_string(home.path().join("state/logs/daemon.log")).is_ok_and(|log| log.contains("waiting: another process makes"))
    });
    // The tensors stay what they are, but who knows.
    fs::File::options().append(true).open(&checkpoint).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(held);
    let view = talk.wait_for(job, JobState::Failed);
    let failure = view.failure.unwrap();
    assert!(failure.message.ends_with("it was changed while it was converted"), "{failure:?}");
    assert!(failure.hint.is_some_and(|hint| hint.contains("convert it again")));
    talk.changed(Request::Retry(vec![job]));
    talk.wait_for(job, JobState::Done);

    let made = result(&home, &format!("converted/{MODEL}_nf4.safetensors"));
    let nf4 = talk.submit(converted("nf4"));
    talk.wait_for(nf4, JobState::Done);
    let twice =
        JobDraft { model: made.display().to_string(), clip: vec![MODEL.to_owned()], vae: Some(MODEL.to_owned()), ..converted("Q8_0") };
    let refusal = talk.try_call(Request::Submit(Box::new(twice))).unwrap_err();
    assert!(refusal.message.contains("is stored as nf4, which is not taken apart again"), "{refusal}");
}

#[test]
fn a_daemon_that_is_killed_takes_its_converter_along_and_the_next_goes_on() {
    let mut home = Home::with_daemon();
    let daemon = home.daemon().id();
    let held = hold(&result(&home, &format!("gguf/{MODEL}_Q4_0.gguf")));
    let mut talk = home.talk();
    let job = talk.submit(converted("Q4_0"));
    until_true("a converter to work", || converters(daemon).len() == 1);
    let converter = converters(daemon)[0];
    home.kill();
    until_true("the converter to end", || fs::read_to_string(format!("/proc/{converter}/stat")).map_or(true, |s| s.contains(") Z")));
    home.start();
    let mut talk = home.talk();
    wait_until_converting(&mut talk, 1);
    assert_eq!(talk.show(job).reason, Some(WaitReason::Converting));
    drop(held);
    talk.wait_for(job, JobState::Done);
}

#[test]
fn a_client_has_something_converted_and_hears_of_it() {
    let home = Home::with_daemon();
    let ask = |to: Target| Request::Convert(ConvertAsk { source: MODEL.to_owned(), part: None, to });
    let mut talk = home.talk();
    let Reply::Converted(view) = talk.call(ask(Target::Bf16)) else { panic!("not converted") };
    assert_eq!((view.status, view.to.as_str()), (ConvertStatus::Converted, "bf16"));
    assert_eq!(view.output, result(&home, &format!("converted/{MODEL}_bf16.safetensors")));
    let Reply::Converted(view) = talk.call(ask(Target::Bf16)) else { panic!("not converted") };
    assert_eq!(view.status, ConvertStatus::Cached);

    let held = hold(&result(&home, &format!("converted/{MODEL}_int8.safetensors")));
    let mut other = home.talk();
    other.subscribe(Topics::default());
    talk.ask(ask(Target::Int8));
    other.hear("the conversion to run", |change| match change {
        Change::Conversions(all) => all.iter().any(|c| c.running && c.to == Target::Int8).then_some(()),
        _ => None,
    });
    // Who leaves has it stopped.
    drop(talk);
    other.hear("the conversion to be over", |change| matches!(change, Change::Conversions(all) if all.is_empty()).then_some(()));
    drop(held);
    assert!(!result(&home, &format!("converted/{MODEL}_int8.safetensors")).exists());
}

#[test]
fn a_plan_foretells_what_the_conversion_will_be() {
    let mut home = Home::empty();
    home.start();
    let plan = |precision: &str| home.run(&["plan", MODEL, "--precision", precision, "--json"]).json();
    for precision in ["Q8_0", "nf4", "fp8", "fp8_scaled", "sdnq_uint4"] {
        let before = plan(precision);
        let warned = before["warnings"].as_array().unwrap().iter().any(|w| w.as_str().unwrap().contains("is converted to"));
        assert!(warned, "{before}");
        assert!(before["stored"].as_u64() <= plan("fp32")["stored"].as_u64(), "{precision}");
        home.run(&["convert", MODEL, "--to", precision]).ok();
        let after = plan(precision);
        for key in ["stored", "weights", "blocks"] {
            assert_eq!(before[key], after[key], "{precision}: {key}");
        }
        assert!(!after["warnings"].to_string().contains("is converted to"));
    }
}

#[test]
fn a_run_is_told_that_it_waits_for_a_conversion() {
    let home = Home::with_daemon();
    let done = home.run(&["run", "-m", MODEL, "-p", "a moon", "--steps", "1", "--size", "64x64", "--precision", "Q8_0"]);
    assert!(done.stderr.contains("converting"), "{done:?}");
    assert!(done.ok().ends_with(".png\n"));
    let shown = home.run(&["queue", "show", "1"]).ok();
    assert!(shown.contains(&format!("stored as  Q8_0, {}", result(&home, &format!("gguf/{MODEL}_Q8_0.gguf")).display())), "{shown}");
    let done = home.run(&["run", "-m", MODEL, "-p", "a moon", "--steps", "1", "--size", "64x64", "--precision", "Q8_0"]);
    assert!(!done.stderr.contains("converting"), "{done:?}");
}

#[test]
fn another_machine_converts_what_lies_there() {
    let home = Home::with_daemon();
    let done = there(&home, &["convert", MODEL, "--to", "Q8_0,bf16", "--json"]);
    let lines: Vec<serde_json::Value> = done.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines.iter().map(|l| (l["status"].as_str().unwrap(), l["to"].as_str().unwrap())).collect();
    assert_eq!(told, [("converted", "Q8_0"), ("converted", "bf16")]);
    assert_eq!(lines[0]["output"], result(&home, &format!("gguf/{MODEL}_Q8_0.gguf")).to_str().unwrap());
    let again = there(&home, &["convert", "--all", "checkpoints", "--to", "Q8_0", "--json"]).json();
    assert_eq!((&again["status"], &again["to"]), (&"cached".into(), &"Q8_0".into()));
    let missing = there(&home, &["convert", "nothing", "--to", "Q8_0"]);
    assert_eq!((missing.code, missing.stderr.starts_with("error: there is no model")), (4, true), "{missing:?}");
    let here = there(&home, &["convert", MODEL, "--to", "Q8_0", "-o", "/tmp"]);
    assert_eq!((here.code, here.stderr.starts_with("error: ")), (2, true), "{here:?}");
}

#[test]
fn conversions_are_paused_go_on_and_are_cancelled() {
    let mut home = Home::with_daemon();
    let daemon = home.daemon().id();
    let mut talk = home.talk();
    let held = [format!("converted/{MODEL}_nf4.safetensors"), format!("gguf/{MODEL}_Q4_0.gguf")].map(|name| hold(&result(&home, &name)));
    let job = talk.submit(converted("nf4"));
    until_true("a converter to work", || converters(daemon).len() == 1);
    let listed = home.run(&["conversions", "list", "--json"]).json();
    let first = &listed["conversions"][0];
    assert_eq!(
        (&first["to"], &first["running"], &first["paused"], &first["jobs"]),
        (&"nf4".into(), &true.into(), &false.into(), &serde_json::json!([job]))
    );
    let told = home.run(&["conversions", "pause"]).ok();
    assert!(told.contains(" paused ") && told.starts_with("id "), "{told}");
    until_true("the converter to end", || converters(daemon).is_empty());
    let other = talk.submit(converted("Q4_0"));
    until_true("the other to be taken up", || talk.status().conversions.len() == 2);
    assert!(talk.status().conversions.iter().all(|c| c.paused && !c.running));
    assert_eq!(talk.show(job).reason, Some(WaitReason::Converting));
    // The next daemon keeps to it.
    home.kill();
    home.start();
    let daemon = home.daemon().id();
    let mut talk = home.talk();
    until_true("the next daemon to take them up", || talk.status().conversions.len() == 2);
    assert!(talk.status().conversions.iter().all(|c| c.paused && !c.running));
    home.run(&["conversions", "resume"]).ok();
    until_true("a converter to work", || converters(daemon).len() == 1);
    // One by itself lets the other pass.
    let id = |talk: &mut Talk, to: &Target| talk.status().conversions.iter().find(|c| c.to == *to).unwrap().id.to_string();
    let nf4 = id(&mut talk, &Target::Nf4);
    home.run(&["conversions", "pause", &nf4]).ok();
    until_true("the other to be made", || talk.status().conversions.iter().any(|c| c.running && c.to != Target::Nf4));
    let q4 = talk.status().conversions.iter().find(|c| c.to != Target::Nf4).unwrap().id.to_string();
    home.run(&["conversions", "cancel", &q4]).ok();
    let failure = talk.wait_for(other, JobState::Failed).failure.unwrap();
    assert!(failure.message.ends_with("to Q4_0 was cancelled"), "{failure:?}");
    home.run(&["conversions", "cancel", &q4]).refused(4, &format!("there is no conversion {q4} on its way"));
    drop(held);
    home.run(&["conversions", "resume", &nf4]).ok();
    talk.wait_for(job, JobState::Done);
    assert_eq!(home.run(&["conversions", "list"]).ok(), "nothing is being converted\n");
}

/// Who asked, and not a job, is told that it was cancelled.
#[test]
fn a_client_is_told_that_its_conversion_was_cancelled() {
    let home = Home::with_daemon();
    let _held = hold(&result(&home, &format!("converted/{MODEL}_int8.safetensors")));
    let (mut asks, mut cancels) = (home.talk(), home.talk());
    let id = asks.ask(Request::Convert(ConvertAsk { source: MODEL.to_owned(), part: None, to: Target::Int8 }));
    wait_until_converting(&mut cancels, 1);
    let conversion = cancels.status().conversions[0].id;
    cancels.call(Request::CancelConversion(conversion));
    let refusal = asks.refused(id);
    assert!(refusal.message.ends_with("to int8 was cancelled"), "{refusal}");
    assert!(cancels.status().conversions.is_empty());
}
