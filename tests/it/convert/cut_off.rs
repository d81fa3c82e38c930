//! Killed at any moment, interrupted, two at once, and sources that change meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::blocks::both_layouts;
use super::{about, beside, halves, layers, lines, manifest, moon, one, output, whole};
use crate::support::daemon::{Done, Home};
use crate::support::wait::{until, until_true};
use crate::support::weights_file::write;

/// Slow enough to be caught at it: blocks whose scales are searched for.
const SLOW: &str = "Q2_K";

fn begin(home: &Home, source: &Path, to: &str) -> Child {
    let mut command = home.command(&["convert", &source.display().to_string(), "--to", to, "--json", "--threads", "2"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Chunks that the journal says are done.
fn journalled(target: &Path) -> usize {
    fs::read_to_string(beside(target, "journal")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

fn slow_target(home: &Home) -> PathBuf {
    home.path().join(format!("models/diffusion_models/gguf/moon_{SLOW}.gguf"))
}

/// A home with a source, and what its conversion must come to.
fn uninterrupted() -> (Home, PathBuf, (blake3::Hash, Value, String), Duration) {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let begun = Instant::now();
    let made = output(&one(&home, &source, SLOW));
    let (wanted, took) = (whole(&made), begun.elapsed());
    fs::remove_dir_all(made.parent().unwrap()).unwrap();
    (home, source, wanted, took)
}

/// Whether a process has this file open; by then it listens to signals, too.
fn has_open(pid: u32, path: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|e| fs::read_link(e.path()).ok()).any(|open| open == path)
}

#[track_caller]
fn is_clean(target: &Path) {
    let name = target.file_name().unwrap().to_str().unwrap();
    let mut names = about(target);
    // One that was killed when all was done has left a conversion to be used.
    names.retain(|name| name.rsplit('.').next() != Some("uses"));
    assert_eq!(names, [format!("{name}.json"), format!("{name}.sums")], "nothing else is left");
}

#[test]
fn killed_after_some_of_it_was_kept_it_goes_on_from_there_to_the_same_bytes() {
    let (home, source, wanted, _) = uninterrupted();
    let target = slow_target(&home);
    let mut child = begin(&home, &source, SLOW);
    let kept = until("chunks to be kept", || (journalled(&target) > 0).then(|| journalled(&target)));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!target.exists(), "a file with its name is whole");
    let line = one(&home, &source, SLOW);
    let reason = line["reason"].as_str().unwrap_or_default();
    let from: usize = reason.strip_prefix("went on from ").and_then(|r| r.split(' ').next()?.parse().ok()).unwrap_or_default();
    assert!(from >= kept && reason.ends_with(" of 400 chunks"), "{kept} were kept: {line}");
    assert_eq!(whole(&target), wanted);
    is_clean(&target);
}

/// What is joined of several tensors is written by several, each to its place.
#[test]
fn killed_within_a_joined_tensor_it_goes_on_to_the_same_bytes() {
    let home = Home::empty();
    let (source, own) = both_layouts(&home, 512);
    let target = home.path().join(format!("models/diffusion_models/gguf/night_{SLOW}.gguf"));
    one(&home, &source, SLOW);
    let wanted = whole(&target);
    fs::remove_dir_all(target.parent().unwrap()).unwrap();
    let mut child = begin(&home, &source, SLOW);
    until("chunks to be kept", || (journalled(&target) > 0).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!target.exists(), "a file with its name is whole");
    let line = one(&home, &source, SLOW);
    assert!(line["reason"].as_str().is_some_and(|reason| reason.starts_with("went on from ")), "{line}");
    assert_eq!(whole(&target), wanted);
    is_clean(&target);
    // Behind the headers, which name their sources, it is the network of its makers.
    let data = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        let start = perilune::formats::gguf::parse(&bytes, bytes.len() as u64).unwrap().data_start as usize;
        blake3::hash(&bytes[start..])
    };
    assert_eq!(data(&target), data(&output(&one(&home, &own, SLOW))));
}

/// The moments are drawn from all of the time that a conversion takes, with the same seed each time.
#[test]
fn killed_at_any_moment_again_and_again_it_ends_with_the_same_bytes() {
    let (home, source, wanted, took) = uninterrupted();
    let target = slow_target(&home);
    for seed in 0..4_u32 {
        let mut last = 0;
        for round in 0..3_u32 {
            let moment = took.mul_f64(f64::from((seed * 7 + round * 5) % 12) / 12.0);
            let mut child = begin(&home, &source, SLOW);
            let begun = Instant::now();
            until_true("the moment", || begun.elapsed() >= moment || child.try_wait().unwrap().is_some());
            child.kill().unwrap();
            child.wait().unwrap();
            if target.exists() {
                assert_eq!(whole(&target).0, wanted.0, "a file with its name is whole");
            } else {
                assert!(journalled(&target) >= last, "what was kept stays kept");
                last = journalled(&target);
            }
        }
        one(&home, &source, SLOW);
        assert_eq!(whole(&target), wanted, "seed {seed}");
        is_clean(&target);
        home.run(&["cache", "verify"]).ok();
        fs::remove_dir_all(target.parent().unwrap()).unwrap();
    }
}

#[test]
fn interrupted_it_says_so_and_goes_on_with_the_next_call() {
    let (home, source, wanted, _) = uninterrupted();
    let target = slow_target(&home);
    for signal in [Signal::INT, Signal::TERM] {
        let before = journalled(&target);
        let child = begin(&home, &source, SLOW);
        until_true("it to work", || has_open(child.id(), &source));
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        let done = ended(child);
        done.refused(130, "stopped; what is done is kept, and the next call goes on from there");
        assert!(!target.exists() && journalled(&target) >= before);
    }
    one(&home, &source, SLOW);
    assert_eq!(whole(&target), wanted);
    is_clean(&target);
}

#[test]
fn of_two_at_once_one_works_and_the_other_waits_for_it() {
    let (home, source, wanted, _) = uninterrupted();
    let target = slow_target(&home);
    let first = begin(&home, &source, SLOW);
    until_true("the first to begin", || beside(&target, "part").exists());
    let second = begin(&home, &source, SLOW);
    let both = [ended(first), ended(second)];
    assert_eq!(both[1].stderr, format!("waiting: another process makes {}\n", target.display()));
    let status = both.map(|done| lines(&done.ok())[0]["status"].clone());
    assert_eq!(status, [json!("converted"), json!("cached")]);
    assert_eq!(whole(&target), wanted);
    is_clean(&target);
}

#[test]
fn whoever_waits_can_be_interrupted_and_takes_over_from_one_that_was_killed() {
    let (home, source, wanted, _) = uninterrupted();
    let target = slow_target(&home);
    let mut first = begin(&home, &source, SLOW);
    until_true("the first to begin", || beside(&target, "part").exists());
    let second = begin(&home, &source, SLOW);
    let third = begin(&home, &source, SLOW);
    until_true("the second to wait", || has_open(second.id(), &source));
    kill_process(Pid::from_raw(second.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    assert_eq!(ended(second).code, 130);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(lines(&ended(third).ok())[0]["status"], "converted");
    assert_eq!(whole(&target), wanted);
}

/// Two sources of one name in two folders, at once: the second finds the name taken when its turn comes.
#[test]
fn two_sources_of_one_name_at_once_become_two_files() {
    let home = Home::empty();
    let first = moon(&home, "a/moon");
    let second = write(
        home.path(),
        "models/checkpoints/b/moon.safetensors",
        &halves(&[("model.diffusion_model.x.weight".to_owned(), vec![256, 256])], 3),
    );
    let one = begin(&home, &first, "bf16");
    let two = begin(&home, &second, "bf16");
    let made = [ended(one), ended(two)].map(|done| output(&lines(&done.ok())[0]));
    assert_ne!(made[0], made[1]);
    let sources = made.map(|path| manifest(&path)["origins"][0]["path"].clone());
    assert_eq!(sources, [json!(first), json!(second)]);
}

#[test]
fn a_source_that_changes_or_shrinks_meanwhile_makes_no_file() {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &halves(&layers(512), 1));
    let target = home.path().join("models/diffusion_models/converted/net_nf4.safetensors");
    let length = fs::metadata(&source).unwrap().len();
    let pause = |child: &Child, signal| kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    for shorter in [false, true] {
        fs::write(&source, halves(&layers(512), 1)).unwrap();
        let child = begin(&home, &source, "nf4");
        until_true("the part", || has_open(child.id(), &beside(&target, "part")) || target.exists());
        pause(&child, Signal::STOP);
        assert!(!target.exists(), "it was caught at it");
        let file = fs::File::options().write(true).open(&source).unwrap();
        if shorter {
            file.set_len(length / 20).unwrap();
        } else {
            std::os::unix::fs::FileExt::write_all_at(&file, &[1; 64], length - 64).unwrap();
        }
        pause(&child, Signal::CONT);
        let done = ended(child);
        let told: Vec<&str> = done.stderr.lines().collect();
        let (words, code) =
            if shorter { ("it has become shorter since it was opened", 1) } else { ("it was changed while it was converted", 1) };
        assert!(done.code == code && told[0].contains(words), "{done:?}");
        assert!(!target.exists());
    }
    fs::write(&source, halves(&layers(512), 2)).unwrap();
    let line = one(&home, &source, "nf4");
    assert_eq!((&line["status"], &line["reason"]), (&json!("converted"), &Value::Null), "nothing of another source is used");
    home.run(&["cache", "verify"]).ok();
}
