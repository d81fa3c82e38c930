//! Disks, folders and files that are not as they should be.

use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};

use super::{beside, halves, layers, lines, moon, one, output, run, whole};
use crate::support::daemon::Home;
use crate::support::hostile;
use crate::support::wait::until;
use crate::support::weights_file::write;
use rustix::process::{Resource, Rlimit, prlimit};

/// A source of four TiB that takes no room: its numbers are all zero, and its disk holds holes.
fn gigantic(home: &Home) -> PathBuf {
    let side = 1_u64 << 20;
    let json = format!("{{\"lin.weight\":{{\"dtype\":\"F16\",\"shape\":[{side},{side}],\"data_offsets\":[0,{}]}}}}", side * side * 2);
    let path = write(home.path(), "models/diffusion_models/gigantic.safetensors", b"");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&(json.len() as u64).to_le_bytes()).unwrap();
    file.write_all(json.as_bytes()).unwrap();
    let end = file.stream_position().unwrap() + side * side * 2;
    file.set_len(end).unwrap();
    path
}

fn free(path: &Path) -> u64 {
    let disk = rustix::fs::statvfs(path).unwrap();
    disk.f_bavail * disk.f_frsize
}

#[test]
fn a_disk_that_is_too_small_is_said_before_anything_is_written() {
    let home = Home::empty();
    home.config("# disk_floor: as it is where nobody says anything\n");
    let source = gigantic(&home);
    let before = free(home.path());
    let done = home.run(&["convert", &source.display().to_string(), "--to", "fp32"]);
    let target = home.path().join("models/diffusion_models/converted/gigantic_fp32.safetensors");
    done.refused(5, &format!("{}: no room for it: ", target.display()));
    assert!(
        done.stderr.contains("TiB missing (4.0 TiB needed, ") && done.stderr.contains("2.0 GiB of it kept free for others)"),
        "{done:?}"
    );
    assert!(!target.exists() && super::about(&target).is_empty(), "nothing is left");
    assert!(before.saturating_sub(free(home.path())) < 4 << 30, "the disk was not filled to find out");
}

#[test]
fn below_the_floor_older_conversions_leave_or_nothing_happens() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let [first, second] = ["fp32", "bf16"].map(|to| output(&one(&home, &source, to)));
    // More than there is, and no conversions that could give it.
    home.config("disk_floor: 900TiB");
    let done = run(&home, &source, &["--to", "nf4"]);
    assert_eq!(lines(&done.stdout)[0]["status"], "failed");
    assert!(done.code == 5 && done.stderr.contains("900.0 TiB of it kept free for others"), "{done:?}");
    assert!(first.exists() && second.exists(), "what would not do does not leave");
    // A floor a little above what is free: the larger one, as soon made again, is enough.
    // Others use this disk at the same time, so that it may take several tries.
    until("a conversion that had to make room", || {
        home.config(&format!("disk_floor: {}", free(home.path()) - (1 << 20)));
        let done = home.run(&["convert", &source.display().to_string(), "--to", "nf4"]);
        let gone = [&first, &second].into_iter().filter(|path| !path.exists()).count();
        assert_eq!(done.stderr.matches("removed to make room: ").count(), gone, "{done:?}");
        if done.code == 0 {
            fs::remove_file(home.path().join("models/diffusion_models/converted/moon_nf4.safetensors")).unwrap();
        } else {
            assert!(done.code == 5 && gone == 0, "{done:?}");
        }
        (done.code == 0 && gone > 0).then_some(())
    });
    assert!(source.exists(), "a source is no conversion");
}

/// A file that may not grow is the nearest to a small disk that needs no privileges; by default it kills who writes.
#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_no_death() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let wanted = whole(&output(&one(&home, &source, "bf16")));
    home.run(&["cache", "purge", "--yes"]).ok();
    let mut command = home.command(&["convert", &source.display().to_string(), "--to", "bf16"]);
    #[expect(unsafe_code, reason = "a limit is set between fork and exec")]
    // SAFETY: prlimit is a single system call.
    unsafe {
        std::os::unix::process::CommandExt::pre_exec(&mut command, || {
            prlimit(None, Resource::Fsize, Rlimit { current: Some(1 << 20), maximum: None }).map(drop).map_err(Into::into)
        });
    }
    let done = crate::support::daemon::finish(command);
    let part = home.path().join("models/diffusion_models/converted/.perilune/moon_bf16.safetensors.part");
    done.refused(1, &format!("{}: ", part.display()));
    assert!(done.stderr.contains("File too large"), "{done:?}");
    assert_eq!(whole(&output(&one(&home, &source, "bf16"))), wanted);
}

#[test]
fn folders_that_cannot_be_written_to_are_refused() {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &halves(&layers(32), 1)).display().to_string();
    let file = write(home.path(), "a-file", b"theirs");
    let before = home.tree();
    for folder in [file.clone(), file.join("below"), "/proc/none".into(), "/dev/null".into(), "/sys/kernel".into()] {
        let done = home.run(&["convert", &source, "--to", "bf16", "-o", &folder.display().to_string()]);
        done.refused(1, &format!("{}/.perilune: making the folder failed: ", folder.display()));
        assert!(done.stderr.contains("--output"), "{done:?}");
    }
    assert_eq!((home.tree(), fs::read(file).unwrap()), (before, b"theirs".to_vec()));
}

#[test]
fn a_folder_of_ones_own_is_made_and_used() {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &halves(&layers(32), 1));
    let to = |folder: &str| super::convert(&home, &source, &["--to", "bf16", "-o", folder]).remove(0);
    let made = to("far/away");
    assert_eq!(output(&made), home.path().join("far/away/net_bf16.safetensors"), "seen from where the command runs");
    assert_eq!(to("far/away")["status"], "cached");
    home.run(&["cache", "verify", "far/away/net_bf16.safetensors"]).ok();
}

#[test]
fn hostile_and_broken_files_are_refused_and_leave_nothing() {
    let home = Home::empty();
    let before = home.tree();
    for file in hostile::all() {
        let path = file.path().display().to_string();
        let done = home.run(&["convert", &path, "--to", "nf4,Q4_K_M"]);
        assert_eq!(done.code, 6, "{}: {done:?}", file.name);
        assert_eq!(done.stderr.matches("error: ").count(), 2, "{}: {done:?}", file.name);
        assert!(done.stderr.starts_with(&format!("error: {path}: {}", file.message)), "{}: {done:?}", file.name);
    }
    assert_eq!(home.tree(), before);
}

#[test]
fn pickles_are_never_opened_and_the_hint_says_what_to_do() {
    let home = Home::empty();
    for name in ["old.ckpt", "old.pt", "old.pth", "old.bin"] {
        let path = write(home.path(), name, b"\x80\x02}q\x00.").display().to_string();
        let done = home.run(&["convert", &path, "--to", "fp16"]);
        done.refused(6, &format!("{path}: "));
        assert!(done.stderr.contains("pickle"), "{done:?}");
    }
}

/// Whatever a manifest, a journal or a part holds, the result is the same.
#[test]
fn rubbish_in_the_folder_about_conversions_does_no_harm() {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &halves(&layers(64), 1));
    let target = output(&one(&home, &source, "nf4"));
    let wanted = whole(&target);
    let rubbish = |kind: &str, bytes: &[u8]| fs::write(beside(&target, kind), bytes).unwrap();
    for bytes in [&b""[..], b"\xff\xfe", b"{}", b"[1,2", b"{\"version\":9}", &[0; 4096]] {
        fs::remove_file(&target).unwrap();
        for kind in ["json", "sums", "uses", "part", "journal", "lock"] {
            rubbish(kind, bytes);
        }
        assert_eq!(one(&home, &source, "nf4")["status"], "converted");
        assert_eq!(whole(&target), wanted);
        assert_eq!(super::about(&target).len(), 2);
    }
    // Things that are no files.
    fs::create_dir(target.with_file_name(".perilune/x.json")).unwrap();
    fs::create_dir(target.with_file_name(".perilune/y.part")).unwrap();
    assert_eq!(home.run(&["cache", "list", "--json"]).json()["conversions"].as_array().unwrap().len(), 1);
}
