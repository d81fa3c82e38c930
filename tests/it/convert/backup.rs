//! Copies of conversions in a folder: what is kept, what is not taken for kept, and what comes back.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{about, beside, halves, layers, lines, one, output, run, whole};
use crate::support::daemon::Home;
use crate::support::weights_file::write;

/// A home whose back-ups go to a folder in it, with a source and its conversion to nf4.
fn with_backup() -> (Home, PathBuf, PathBuf) {
    let home = Home::empty();
    home.config("backup: kept");
    let source = write(home.path(), "models/diffusion_models/a.safetensors", &halves(&layers(96), 1));
    let made = output(&one(&home, &source, "nf4"));
    (home, source, made)
}

fn backup(home: &Home, words: &[&str]) -> Vec<Value> {
    lines(&home.run(&[&["cache", "backup", "--json"], words].concat()).ok())
}

/// The files in the back-up, hidden ones too, without its own path.
fn kept(home: &Home) -> Vec<String> {
    let folder = home.path().join("kept");
    let files = home.tree().into_iter().filter(|path| path.is_file());
    files.filter_map(|path| Some(path.strip_prefix(&folder).ok()?.display().to_string())).collect()
}

fn weights(home: &Home) -> PathBuf {
    let names = kept(home);
    home.path().join("kept").join(names.iter().find(|name| name.ends_with("a_nf4.safetensors")).unwrap())
}

#[test]
fn what_is_kept_comes_back_to_the_byte_instead_of_being_made_again() {
    let (home, source, made) = with_backup();
    let before = whole(&made);
    let line = backup(&home, &[]).remove(0);
    let folder = home.path().join("kept");
    assert_eq!((&line["path"], &line["status"], &line["store"]), (&json!(made), &json!("saved"), &json!(folder)));
    assert_eq!(fs::read(weights(&home)).unwrap(), fs::read(&made).unwrap());
    assert_eq!(kept(&home).len(), 3, "the file, its sums, and what it is: {:?}", kept(&home));
    assert_eq!(backup(&home, &[])[0]["status"], "there");
    home.run(&["cache", "purge", "--yes"]).ok();
    assert!(!made.exists() && about(&made).is_empty());
    // The same bytes elsewhere are the same source.
    let copy = write(home.path(), "models/diffusion_models/b.safetensors", &fs::read(&source).unwrap());
    fs::remove_file(&source).unwrap();
    let line = one(&home, &copy, "nf4");
    assert_eq!((&line["status"], &line["reason"]), (&json!("restored"), &json!("from the back-up")));
    let back = output(&line);
    assert_eq!(back.file_name().unwrap(), "b_nf4.safetensors");
    let after = whole(&back);
    assert_eq!((after.0, after.2), (before.0, before.2));
    assert_eq!(one(&home, &copy, "nf4")["status"], "cached");
    home.run(&["cache", "verify"]).ok();
    assert_eq!(one(&home, &copy, "bf16")["status"], "converted", "what is not kept is made");
}

#[test]
fn a_copy_that_was_cut_off_goes_on_and_one_that_is_wrong_is_not_kept() {
    let (home, _, made) = with_backup();
    backup(&home, &[]);
    let (path, bytes) = (weights(&home), fs::read(&made).unwrap());
    let hidden = path.with_file_name(".a_nf4.safetensors.part");
    let cut_off = |half: &[u8]| {
        fs::remove_dir_all(home.path().join("kept")).unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&hidden, half).unwrap();
    };
    cut_off(&bytes[..bytes.len() / 2]);
    let told = home.run(&["cache", "restore", "--dry-run"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, ""), "half a copy is none: {told:?}");
    assert_eq!(backup(&home, &[])[0]["status"], "saved");
    assert!(!hidden.exists() && fs::read(&path).unwrap() == bytes);
    cut_off(&vec![0x55; bytes.len() / 2]);
    let done = home.run(&["cache", "backup"]);
    assert_eq!(done.code, 6, "{done:?}");
    assert!(done.stderr.contains("are not those that were sent"), "{done:?}");
    assert_eq!(kept(&home), [] as [String; 0], "what is wrong goes");
    assert_eq!(backup(&home, &[])[0]["status"], "saved");
}

#[test]
fn a_back_up_that_is_no_help_costs_a_word() {
    let (home, source, made) = with_backup();
    backup(&home, &[]);
    let file = fs::File::options().read(true).write(true).open(weights(&home)).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    file.write_all_at(&[0x55; 8], middle).unwrap();
    let before = whole(&made);
    home.run(&["cache", "purge", "--yes"]).ok();
    let done = run(&home, &source, &["--to", "nf4"]);
    assert!(done.stderr.starts_with("the back-up was of no help: ") && done.stderr.contains("are not those that were saved"), "{done:?}");
    assert_eq!(lines(&done.ok())[0]["status"], "converted");
    assert_eq!(whole(&made), before);
    // A file where the folder should be: as good as a disk that is gone.
    fs::remove_dir_all(home.path().join("kept")).unwrap();
    fs::write(home.path().join("kept"), "").unwrap();
    home.run(&["cache", "purge", "--yes"]).ok();
    let done = run(&home, &source, &["--to", "nf4", "--backup"]);
    assert!(done.stderr.contains("; `perilune cache backup` tries again\n"), "{done:?}");
    assert_eq!(lines(&done.ok())[0]["status"], "converted");
    let done = home.run(&["cache", "backup"]);
    assert!(done.code == 1 && done.stderr.starts_with("error: "), "{done:?}");
}

#[test]
fn everything_comes_back_after_a_disk_was_lost() {
    let (home, source, made) = with_backup();
    let other = output(&one(&home, &source, "fp8"));
    let before = [whole(&made), whole(&other)];
    assert_eq!(backup(&home, &[&made.display().to_string()]).len(), 1);
    assert_eq!(lines(&run(&home, &source, &["--to", "fp8", "--backup"]).ok())[0]["status"], "cached");
    fs::remove_dir_all(home.path().join("models")).unwrap();
    let restore = |words: &[&str]| lines(&home.run(&[&["cache", "restore", "--json"], words].concat()).ok());
    let of = |lines: &[Value]| {
        let mut all: Vec<(PathBuf, String)> =
            lines.iter().map(|l| (l["path"].as_str().unwrap().into(), l["status"].as_str().unwrap().to_owned())).collect();
        all.sort();
        all
    };
    let both = |first: &str, second: &str| vec![(other.clone(), first.to_owned()), (made.clone(), second.to_owned())];
    assert_eq!(of(&restore(&["--dry-run"])), both("missing", "missing"));
    assert!(!made.exists());
    // A part of it came before a cut.
    let bytes = fs::read(weights(&home)).unwrap();
    fs::create_dir_all(beside(&made, "part").parent().unwrap()).unwrap();
    fs::write(beside(&made, "part"), [&bytes[..bytes.len() / 2], &vec![0; bytes.len() - bytes.len() / 2]].concat()).unwrap();
    assert_eq!(of(&restore(&["a_nf4.safetensors"])), both("", "restored")[1..]);
    fs::write(&other, "theirs").unwrap();
    assert_eq!(of(&restore(&[])), both("taken", "there"));
    assert_eq!(fs::read(&other).unwrap(), b"theirs");
    fs::remove_file(&other).unwrap();
    assert_eq!(of(&restore(&[])), both("restored", "there"));
    assert_eq!([whole(&made), whole(&other)], before);
    home.run(&["cache", "restore", "nothing.gguf"])
        .refused(4, &format!("{}: there is no `nothing.gguf`", home.path().join("kept").display()));
}

#[test]
fn where_back_ups_go_must_be_said() {
    let home = Home::empty();
    for words in [&["cache", "backup"][..], &["cache", "restore"], &["convert", "moonlet", "--to", "bf16", "--backup"]] {
        home.run(words).refused(2, "nobody said where back-ups go");
    }
    home.config("backup: ftp://moon/x");
    home.run(&["cache", "restore"]).refused(2, "`ftp://moon/x` is no place for back-ups: ");
    home.config("backup: s3://moon/x");
    home.run(&["cache", "restore"]).refused(2, "s3://moon: there are no keys for it");
    let mut home = home;
    home.set("PERILUNE_BACKUP", "elsewhere");
    let rows = home.run(&["config", "--json"]).json();
    assert!(rows.to_string().contains(&Path::new(home.path()).join("elsewhere").display().to_string()), "{rows}");
}
