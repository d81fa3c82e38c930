//! `cache list`, `stats`, `check`, `verify`, `clean` and `purge`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use portable_pty::CommandBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{about, beside, halves, layers, lines, moon, one, output};
use crate::support::daemon::{Done, Home};
use crate::support::terminal::Terminal;
use crate::support::wait::until_true;
use crate::support::weights_file::write;

/// A home with two sources and three conversions: of `a` to bf16, then nf4; of `b` to bf16.
fn with_three() -> (Home, [PathBuf; 2], [PathBuf; 3]) {
    let home = Home::empty();
    let sources = [("a", 1), ("b", 2)]
        .map(|(name, seed)| write(home.path(), &format!("models/diffusion_models/{name}.safetensors"), &halves(&layers(64), seed)));
    let made = [(0, "bf16"), (0, "nf4"), (1, "bf16")].map(|(source, to)| output(&one(&home, &sources[source], to)));
    (home, sources, made)
}

fn cache(home: &Home, words: &[&str]) -> Done {
    home.run(&[&["cache"], words].concat())
}

fn listed(home: &Home, words: &[&str]) -> Vec<Value> {
    cache(home, &[&["list", "--json"], words].concat()).json()["conversions"].as_array().unwrap().clone()
}

/// The state of each conversion that is listed.
fn states(home: &Home) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let name = |value: &Value| Path::new(value.as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    listed(home, &[]).iter().map(|item| (name(&item["path"]), text(&item["state"]))).collect()
}

/// Changes when a conversion was made and last used, in days of January 2020.
fn made_on(target: &Path, day: u32) {
    let path = beside(target, "json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["made"] = json!(format!("2020-01-{day:02}T00:00:00.000Z"));
    manifest["used"] = manifest["made"].clone();
    fs::write(path, manifest.to_string()).unwrap();
}

#[test]
fn lists_are_by_precision_and_source_and_say_how_each_stands() {
    let (home, sources, made) = with_three();
    let all = listed(&home, &[]);
    assert_eq!(all.iter().map(|i| i["path"].clone()).collect::<Vec<_>>(), [json!(made[0]), json!(made[1]), json!(made[2])]);
    assert_eq!(
        (&all[1]["from"], &all[1]["to"], &all[1]["state"], &all[1]["source"]),
        (&json!("fp16"), &json!("nf4"), &json!("valid"), &json!(sources[0]))
    );
    assert_eq!(all[1]["bytes"], json!(fs::metadata(&made[1]).unwrap().len()));
    assert_eq!(listed(&home, &["--to", "bf16"]).len(), 2);
    assert_eq!(listed(&home, &["--source", "a"]).len(), 2);
    assert_eq!(listed(&home, &["--source", "b", "--to", "nf4"]).len(), 0);
    fs::write(&sources[0], halves(&layers(64), 3)).unwrap();
    fs::remove_file(&sources[1]).unwrap();
    fs::File::options().write(true).open(&made[1]).unwrap().set_len(100).unwrap();
    let of = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    assert_eq!(
        states(&home),
        [of("a_bf16.safetensors", "stale"), of("a_nf4.safetensors", "damaged"), of("b_bf16.safetensors", "orphaned")]
    );
    let text = cache(&home, &["list"]).ok();
    assert!(text.starts_with("file") && text.contains("source gone") && text.contains("stale"), "{text}");
}

#[test]
fn stats_count_files_bytes_and_uses() {
    let (home, sources, made) = with_three();
    one(&home, &sources[0], "nf4");
    let stats = cache(&home, &["stats", "--json"]).json();
    let bytes = |path: &PathBuf| fs::metadata(path).unwrap().len();
    assert_eq!((&stats["count"], &stats["bytes"]), (&json!(3), &json!(made.iter().map(bytes).sum::<u64>())));
    assert_eq!(
        stats["by_precision"],
        json!({"bf16": {"count": 2, "bytes": bytes(&made[0]) * 2}, "nf4": {"count": 1, "bytes": bytes(&made[1])}})
    );
    assert_eq!((&stats["hits"], &stats["hit_rate"], &stats["unfinished"]), (&json!(1), &json!(0.25), &json!(0)));
    assert!(cache(&home, &["stats"]).ok().ends_with("1 uses instead of another conversion, 25 % of all\n"));
    let empty = Home::empty();
    assert_eq!(cache(&empty, &["stats", "--json"]).json()["hit_rate"], Value::Null);
    assert_eq!(cache(&empty, &["list"]).ok(), "no conversions\n");
}

#[test]
fn check_foretells_to_the_byte_and_makes_nothing() {
    let (home, sources, made) = with_three();
    let before = home.tree();
    let told = cache(&home, &["check", "a", "--to", "bf16,fp16,int8,Q8_0,sdnq_int8", "--json"]);
    assert_eq!(home.tree(), before);
    // A network of nobody's family becomes no GGUF file.
    told.refused(5, &sources[0].display().to_string());
    let told = cache(&home, &["check", "a", "--to", "bf16,fp16,int8,sdnq_int8", "--json"]).json();
    assert_eq!(home.tree(), before);
    let of = |key: &str| told["conversions"].as_array().unwrap().iter().map(|c| c[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("exists"), [json!(true), json!(true), json!(false), json!(false)]);
    assert_eq!(of("output")[..2], [json!(made[0]), json!(sources[0])]);
    for (place, to) in [(2, "int8"), (3, "sdnq_int8")] {
        let line = one(&home, &sources[0], to);
        assert_eq!((&line["output"], &line["output_bytes"]), (&of("output")[place], &of("bytes")[place]), "{to}");
    }
}

#[test]
fn a_flipped_bit_is_found_remembered_and_made_good() {
    let (home, sources, made) = with_three();
    assert_eq!(cache(&home, &["verify"]).ok().matches(": intact\n").count(), 3);
    let file = fs::File::options().read(true).write(true).open(&made[1]).unwrap();
    let length = file.metadata().unwrap().len();
    for at in [9, length / 2, length - 1] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let done = cache(&home, &["verify", "--json"]);
        let told = lines(&done.stdout);
        assert_eq!((done.code, told.iter().filter(|l| l["intact"] == json!(true)).count()), (6, 2), "{done:?}");
        assert!(done.stderr.starts_with(&format!("error: {}: bytes ", made[1].display())), "{done:?}");
        assert_eq!(states(&home)[1].1, "damaged");
        file.write_all_at(&byte, at).unwrap();
        cache(&home, &["verify", &made[1].display().to_string()]).ok();
        assert_eq!(states(&home)[1].1, "valid", "it is as it was");
    }
    file.write_all_at(&[0x55; 8], length / 2).unwrap();
    assert_eq!(cache(&home, &["verify"]).code, 6);
    let line = one(&home, &sources[0], "nf4");
    assert_eq!((&line["status"], &line["reason"]), (&json!("converted"), &json!("made again: it is not what was written")));
    cache(&home, &["verify"]).ok();
    cache(&home, &["verify", &sources[0].display().to_string()]).refused(4, &format!("{}: this is no conversion", sources[0].display()));
    fs::remove_file(beside(&made[0], "sums")).unwrap();
    assert!(cache(&home, &["verify"]).stderr.contains("the sums of its bytes are missing"));
}

#[test]
fn clean_keeps_the_newest_of_each_source() {
    let (home, _, made) = with_three();
    made_on(&made[0], 3);
    made_on(&made[1], 2);
    let told = cache(&home, &["clean", "--keep", "1"]);
    assert!(told.stderr.ends_with(" would be freed; add --yes to do it\n") && made[1].exists(), "nobody is asked, nothing goes: {told:?}");
    let told = lines(&cache(&home, &["clean", "--keep", "1", "--dry-run", "--json"]).ok());
    assert_eq!((told.len(), &told[0]["path"], &told[0]["removed"]), (1, &json!(made[1]), &json!(false)));
    assert!(made[1].exists());
    let told = lines(&cache(&home, &["clean", "--keep", "1", "--yes", "--json"]).ok());
    assert_eq!((told.len(), &told[0]["path"], &told[0]["removed"]), (1, &json!(made[1]), &json!(true)));
    assert!(made[0].exists() && !made[1].exists() && made[2].exists());
    assert_eq!(about(&made[0]).len(), 4, "what is about it goes with it");
    let told = cache(&home, &["clean", "--keep", "0", "--yes"]);
    assert_eq!((about(&made[0]).len(), told.code), (0, 0));
}

#[test]
fn what_is_kept_stays_whatever_rule_cleans() {
    let (home, _, made) = with_three();
    let name = made[0].file_stem().unwrap().to_str().unwrap();
    let told = cache(&home, &["keep", name, "--json"]).json();
    assert_eq!((&told["path"], &told["kept"]), (&json!(made[0]), &json!(true)));
    cache(&home, &["keep", "nobody"]).refused(4, "nobody: this is no conversion that was made here");
    let listed = cache(&home, &["list", "--json"]).json();
    let kept: Vec<bool> =
        listed["conversions"].as_array().unwrap().iter().map(|c| c["kept"] == true && c["path"] == json!(made[0])).collect();
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 1, "{listed}");
    for words in [&["clean", "--keep", "0"][..], &["clean", "--to-free", "1TiB"], &["clean", &made[0].display().to_string()], &["purge"]] {
        let done = cache(&home, &[words, &["--yes"]].concat());
        assert!(done.code == 0 && done.stderr.contains("is kept and stays"), "{words:?}: {}", done.stderr);
        assert!(made[0].exists(), "{words:?}");
    }
    assert!(!made[1].exists() && !made[2].exists());
    cache(&home, &["unkeep", &made[0].display().to_string()]).ok();
    cache(&home, &["clean", "--keep", "0", "--yes"]).ok();
    assert_eq!((made[0].exists(), about(&made[0]).len()), (false, 0));
}

#[test]
fn clean_takes_what_was_not_used_for_long() {
    let (home, sources, made) = with_three();
    made_on(&made[0], 3);
    assert_eq!(lines(&cache(&home, &["clean", "--older-than", "36500d", "--yes", "--json"]).ok()).len(), 0);
    let told = lines(&cache(&home, &["clean", "--older-than", "30d", "--dry-run", "--json"]).ok());
    assert_eq!((told.len(), &told[0]["reason"]), (1, &json!("last used 2020-01-03T00:00:00Z")));
    one(&home, &sources[0], "bf16");
    assert_eq!(lines(&cache(&home, &["clean", "--older-than", "30d", "--yes", "--json"]).ok()).len(), 0, "it was used since");
    cache(&home, &["clean", "--older-than", "soon"])
        .refused(2, "invalid value 'soon' for '--older-than <AGE>': an age is a number and a unit");
    cache(&home, &["clean"]).refused(2, "the following required arguments were not provided: ");
}

#[test]
fn clean_frees_as_much_as_is_asked_and_not_much_more() {
    let (home, _, made) = with_three();
    let bytes = fs::metadata(&made[0]).unwrap().len();
    let told = lines(&cache(&home, &["clean", "--to-free", "1", "--yes", "--json"]).ok());
    assert_eq!(told.len(), 1, "{told:?}");
    let left: Vec<&PathBuf> = made.iter().filter(|path| path.exists()).collect();
    assert_eq!(left.len(), 2);
    cache(&home, &["clean", "--to-free", &(bytes * 100).to_string(), "--yes"]).ok();
    assert!(made.iter().all(|path| !path.exists()));
}

#[test]
fn clean_takes_what_is_of_no_use_and_with_a_part_not_the_file_it_would_replace() {
    let (home, sources, made) = with_three();
    // A conversion that was cut off while an older one of the same name is there.
    fs::write(beside(&made[2], "part"), b"half").unwrap();
    fs::write(beside(&made[2], "journal"), b"").unwrap();
    fs::write(&sources[0], halves(&layers(64), 3)).unwrap();
    let of = |name: &str, state: &str| (name.to_owned(), state.to_owned());
    let wanted = [
        of("a_bf16.safetensors", "stale"),
        of("a_nf4.safetensors", "stale"),
        of("b_bf16.safetensors", "unfinished"),
        of("b_bf16.safetensors", "valid"),
    ];
    assert_eq!(states(&home), wanted);
    assert_eq!(lines(&cache(&home, &["clean", "--useless", "--yes", "--json"]).ok()).len(), 3);
    assert_eq!(states(&home), wanted[3..]);
    assert_eq!(one(&home, &sources[1], "bf16")["status"], "cached");
    assert_eq!(about(&made[2]), ["json", "sums", "uses"].map(|kind| format!("b_bf16.safetensors.{kind}")));
}

/// A program that has the file open, and one that has it mapped, as engines have.
#[test]
fn what_somebody_uses_stays() {
    let (home, _, made) = with_three();
    #[expect(clippy::disallowed_methods, reason = "somebody else's program reads the file")]
    let mut cat = std::process::Command::new("sh")
        .arg("-c")
        .arg("exec 3<\"$0\"; echo open; read x")
        .arg(&made[0])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = [0; 5];
    std::io::Read::read_exact(cat.stdout.as_mut().unwrap(), &mut told).unwrap();
    let done = cache(&home, &["clean", "--keep", "0", "--yes"]);
    assert!(done.stderr.contains(&format!("{} is in use and stays", made[0].display())), "{done:?}");
    assert!(made[0].exists() && !made[1].exists() && !made[2].exists());
    cache(&home, &["purge", "--yes"]).ok();
    assert!(made[0].exists());
    drop(cat.stdin.take());
    cat.wait().unwrap();
    cache(&home, &["purge", "--yes"]).ok();
    assert!(!made[0].exists());
}

#[test]
fn what_is_being_made_stays() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let target = home.path().join("models/diffusion_models/gguf/moon_Q2_K.gguf");
    let mut command = home.command(&["convert", &source.display().to_string(), "--to", "Q2_K", "--json"]);
    let child: Child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let signal = |signal| kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
    until_true("the part", || beside(&target, "part").exists());
    signal(Signal::STOP);
    for words in [&["clean", "--useless", "--yes"][..], &["clean", "--keep", "0", "--to-free", "1TiB", "--yes"], &["purge", "--yes"]] {
        let done = cache(&home, words);
        assert!(done.code == 0 && done.stderr.contains(" is in use and stays\n0 files, 0 B freed\n"), "{done:?}");
    }
    signal(Signal::CONT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(lines(&String::from_utf8(output.stdout).unwrap())[0]["status"], "converted");
    cache(&home, &["verify"]).ok();
}

fn on_a_terminal(home: &Home, words: &[&str]) -> Terminal {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
    command.args(words);
    command.env_clear();
    command.env("PERILUNE_HOME", home.path());
    command.env("HOME", home.path());
    command.env("TERM", "xterm");
    command.cwd(home.path());
    Terminal::of(command, 120, 40)
}

#[test]
fn clean_only_shows_until_told_otherwise() {
    let (home, _, made) = with_three();
    let mut terminal = on_a_terminal(&home, &["cache", "clean", "--keep", "0"]);
    terminal.wait_for("3 files, ");
    terminal.wait_for("would be freed; add --yes to do it");
    terminal.wait_for_end();
    assert!(made.iter().all(|path| path.exists()));
    let mut terminal = on_a_terminal(&home, &["cache", "clean", "--keep", "0", "--yes"]);
    terminal.wait_for("freed");
    terminal.wait_for_end();
    assert!(made.iter().all(|path| !path.exists()));
}

#[test]
fn purge_asks() {
    let (home, _, made) = with_three();
    cache(&home, &["purge"]).refused(2, "nobody can be asked here");
    for (answer, is_gone) in [("\r", false), ("n\r", false), ("y\r", true)] {
        let mut terminal = on_a_terminal(&home, &["cache", "purge"]);
        terminal.wait_for("remove all 3 conversions, ");
        terminal.press(answer);
        terminal.wait_for(if is_gone { "freed" } else { "nothing was removed" });
        terminal.wait_for_end();
        assert_eq!(made.iter().all(|path| !path.exists()), is_gone, "{answer:?}");
    }
    let done = cache(&home, &["purge"]);
    assert_eq!((done.code, done.stderr.as_str()), (0, "0 files, 0 B freed\n"), "nothing to ask about");
}

#[test]
fn a_full_check_reads_every_number_and_compares_with_the_source() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let to = "fp32,bf16,fp8,fp8_e5m2,fp8_scaled,nf4,int8,Q4_0,Q8_0,Q4_K_M,sdnq_int8,sdnq_uint4";
    let made = lines(&home.run(&["convert", &source.display().to_string(), "--to", to, "--json"]).ok());
    let told = lines(&cache(&home, &["verify", "--full", "--json"]).ok());
    assert_eq!(told.len(), made.len());
    for line in &told {
        let about = made.iter().find(|m| m["output"] == line["path"]).unwrap();
        let full = &line["full"];
        let (found, said) = (full["rel_l2"].as_f64().unwrap(), about["error"]["rel_l2_mean"].as_f64().unwrap());
        assert!((found - said).abs() <= 1e-9 + said * 1e-6, "{}: {found} {said}", about["to"]);
        assert!(full["tensors"].as_u64().unwrap() > 100 && full["values"].as_u64().unwrap() > 2_000_000, "{full}");
        let worst = |list: &Value| list.as_array().unwrap().iter().map(|w| w["tensor"].clone()).collect::<Vec<_>>();
        assert_eq!(worst(&full["worst"]), worst(&about["error"]["worst"]), "{}", about["to"]);
    }
    fs::remove_file(&source).unwrap();
    let text = cache(&home, &["verify", "--full"]).ok();
    assert_eq!(text.matches("; its source is not there to compare with").count(), told.len(), "{text}");
}

/// Bytes that are what was written, and wrong: a fault of a disk under the file and its sums, or of a program.
#[test]
fn a_full_check_finds_what_sums_do_not() {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/a.safetensors", &halves(&layers(128), 1));
    let made = output(&one(&home, &source, "int8"));
    let bytes = fs::read(&made).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let about: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = |name: &str| 8 + header + about[name]["data_offsets"][0].as_u64().unwrap() as usize;
    let with = |at: usize, value: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + value.len()].copy_from_slice(value);
        fs::write(&made, &bytes).unwrap();
        // Sums and manifest that agree with it.
        let sums = format!("0 {} {}\n", bytes.len(), blake3::hash(&bytes).to_hex());
        fs::write(beside(&made, "sums"), &sums).unwrap();
        let mut manifest: Value = serde_json::from_slice(&fs::read(beside(&made, "json")).unwrap()).unwrap();
        manifest["content"] = json!(blake3::hash(sums.as_bytes()).to_hex().to_string());
        fs::write(beside(&made, "json"), manifest.to_string()).unwrap();
        cache(&home, &["verify"]).ok();
        let done = cache(&home, &["verify", "--full", "--json"]);
        assert_eq!(done.code, 6, "{done:?}");
        let line = lines(&done.stdout).remove(0);
        assert_eq!(line["intact"], json!(false));
        line["reason"].as_str().unwrap().to_owned()
    };
    let scale = start("blocks.3.lin.SCB");
    let reason = with(scale, &f32::NAN.to_le_bytes());
    assert!(reason.contains("128 values are no numbers (NaN), and its source had 0") && reason.contains("1 scales are"), "{reason}");
    let reason = with(scale, &f32::INFINITY.to_le_bytes());
    assert!(reason.contains("values are infinite, and 0 were beyond its range"), "{reason}");
    let reason = with(scale, &(-1.0_f32).to_le_bytes());
    assert!(reason.starts_with("1 scales are no numbers that weights can be multiplied with; its relative error is "), "{reason}");
    let reason = with(start("blocks.3.lin.weight"), &[0x55; 4096]);
    assert!(reason.starts_with("its relative error is "), "{reason}");
}

#[test]
fn what_was_made_elsewhere_is_listed_as_such_and_never_removed() {
    let (home, sources, made) = with_three();
    let folder = home.path().join("elsewhere");
    let line = lines(&home.run(&["convert", &sources[0].display().to_string(), "--to", "fp8", "-o", "elsewhere", "--json"]).ok()).remove(0);
    let outside = output(&line);
    assert_eq!(outside.parent().unwrap(), folder);
    let all = listed(&home, &[]);
    let of = |path: &Path| all.iter().find(|i| i["path"] == json!(path)).unwrap();
    assert_eq!((all.len(), &of(&outside)["outside"], &of(&outside)["to"]), (4, &json!(true), &json!("fp8_e4m3fn")));
    assert_eq!((&of(&outside)["state"], &of(&made[0])["outside"]), (&json!("valid"), &json!(false)));
    assert_eq!(listed(&home, &["--to", "fp8", "--source", "a"]).len(), 1);
    assert!(cache(&home, &["list"]).ok().contains(" valid, outside "));
    for words in [&["clean", "--keep", "0", "--useless", "--to-free", "1TiB", "--yes"][..], &["purge", "--yes"]] {
        cache(&home, words).ok();
        assert!(outside.exists() && !made[0].exists());
    }
    assert_eq!(listed(&home, &[]).len(), 1);
    // It goes by another's hand, or stays where a disk is away.
    fs::rename(&folder, home.path().join("away")).unwrap();
    assert_eq!(listed(&home, &[]).len(), 0);
    fs::rename(home.path().join("away"), &folder).unwrap();
    assert_eq!(listed(&home, &[]).len(), 1);
    fs::remove_file(&outside).unwrap();
    assert_eq!(listed(&home, &[]).len(), 0);
}
