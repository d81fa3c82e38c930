//! What is used again, and whose a file is.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use super::{about, beside, convert, halves, layers, manifest, one, output, tensors, whole};
use crate::support::daemon::Home;
use crate::support::weights_file::write;

const TO: &str = "fp8_e4m3fn";

/// A home with `models/diffusion_models/a/net.safetensors`.
fn with_net() -> (Home, std::path::PathBuf) {
    let home = Home::empty();
    let source = write(home.path(), "models/diffusion_models/a/net.safetensors", &halves(&layers(64), 1));
    (home, source)
}

#[test]
fn the_second_call_uses_what_the_first_made_and_counts_it() {
    let (home, source) = with_net();
    let made = one(&home, &source, TO);
    let before = whole(&output(&made));
    for hits in 1..=3 {
        let line = one(&home, &source, TO);
        assert_eq!((&line["status"], &line["output"]), (&json!("cached"), &made["output"]));
        let kept = fs::read_to_string(beside(&output(&made), "uses")).unwrap();
        assert_eq!(kept.split(' ').next().unwrap().parse(), Ok(hits));
        let listed = home.run(&["cache", "list", "--json"]).json();
        assert_eq!(listed["conversions"][0]["hits"], json!(hits));
    }
    assert_eq!(whole(&output(&made)), before);
    let kinds = ["json", "sums", "uses"].map(|kind| format!("net_fp8_e4m3fn.safetensors.{kind}"));
    assert_eq!(about(&output(&made)), kinds);
}

#[test]
fn a_changed_source_is_converted_again_in_the_same_place() {
    let (home, source) = with_net();
    let first = one(&home, &source, TO);
    let old = whole(&output(&first));
    fs::write(&source, halves(&layers(64), 2)).unwrap();
    let second = one(&home, &source, TO);
    assert_eq!((&second["status"], &second["reason"]), (&json!("converted"), &json!("made again: its source was changed since")));
    assert_eq!(second["output"], first["output"]);
    assert_ne!(whole(&output(&second)).0, old.0);
    assert_eq!(one(&home, &source, TO)["status"], "cached");
    // Back again, by a copy: other bytes than those that were converted last.
    fs::write(&source, halves(&layers(64), 1)).unwrap();
    assert_eq!(one(&home, &source, TO)["status"], "converted");
    assert_eq!(whole(&output(&first)).0, old.0);
}

#[test]
fn a_touched_source_is_the_same_by_its_bytes() {
    let (home, source) = with_net();
    one(&home, &source, TO);
    fs::write(&source, halves(&layers(64), 1)).unwrap();
    assert_eq!(one(&home, &source, TO)["status"], "cached");
}

#[test]
fn a_renamed_moved_or_copied_source_still_hits() {
    let (home, source) = with_net();
    let made = one(&home, &source, TO);
    let renamed = source.with_file_name("other.safetensors");
    fs::rename(&source, &renamed).unwrap();
    let line = one(&home, &renamed, TO);
    assert_eq!((&line["status"], &line["output"]), (&json!("cached"), &made["output"]));
    assert_eq!(manifest(&output(&made))["origins"][0]["path"], json!(renamed), "it is known where it is now");
    let moved = home.path().join("models/diffusion_models/b/third.safetensors");
    fs::create_dir(moved.parent().unwrap()).unwrap();
    fs::rename(&renamed, &moved).unwrap();
    assert_eq!(one(&home, &moved, TO)["status"], "cached");
    let copied = home.path().join("models/diffusion_models/copy.safetensors");
    fs::copy(&moved, &copied).unwrap();
    assert_eq!(one(&home, &copied, TO)["output"], made["output"]);
    let linked = home.path().join("models/diffusion_models/linked.safetensors");
    symlink(&copied, &linked).unwrap();
    assert_eq!(one(&home, &linked, TO)["output"], made["output"]);
    assert_eq!(about(&output(&made)).len(), 3, "there is one conversion, and its uses are counted");
}

#[test]
fn sources_of_one_name_do_not_collide() {
    let (home, first) = with_net();
    let second = write(home.path(), "models/diffusion_models/b/net.safetensors", &halves(&layers(64), 2));
    let third = write(home.path(), "models/diffusion_models/c/b/net.safetensors", &halves(&layers(64), 3));
    let made: Vec<_> = [&first, &second, &third].map(|source| output(&one(&home, source, TO))).into();
    let names: Vec<_> = made.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["net_fp8_e4m3fn.safetensors", "b-net_fp8_e4m3fn.safetensors", "net-2_fp8_e4m3fn.safetensors"]);
    for (source, path) in [&first, &second, &third].into_iter().zip(&made) {
        let line = one(&home, source, TO);
        assert_eq!((&line["status"], &line["output"]), (&json!("cached"), &json!(path)));
    }
    let contents: Vec<_> = made.iter().map(|path| tensors(path)["blocks.0.lin.weight"].2.clone()).collect();
    assert!(contents[0] != contents[1] && contents[1] != contents[2] && contents[0] != contents[2]);
}

#[test]
fn a_file_of_somebody_else_is_never_touched() {
    let (home, source) = with_net();
    let folder = home.path().join("models/diffusion_models/converted");
    let theirs = write(&folder, "net_fp8_e4m3fn.safetensors", &halves(&layers(64), 9));
    symlink("/nowhere", folder.join("a-net_fp8_e4m3fn.safetensors")).unwrap();
    fs::create_dir(folder.join("net-2_fp8_e4m3fn.safetensors")).unwrap();
    let made = output(&one(&home, &source, TO));
    assert_eq!(made, folder.join("net-3_fp8_e4m3fn.safetensors"));
    assert_eq!(fs::read(theirs).unwrap(), halves(&layers(64), 9));
    assert_eq!(one(&home, &source, TO)["status"], "cached");
}

#[test]
fn a_result_without_its_manifest_is_known_by_its_own_words_and_made_again() {
    let (home, source) = with_net();
    let made = output(&one(&home, &source, TO));
    let before = whole(&made);
    fs::remove_file(beside(&made, "json")).unwrap();
    let line = one(&home, &source, TO);
    assert_eq!((&line["reason"], &line["output"]), (&json!("made again: its manifest was lost"), &json!(made)));
    assert_eq!(whole(&made), before);
    fs::write(beside(&made, "json"), "{\"version\":1,\"program\":\"torn").unwrap();
    assert_eq!(one(&home, &source, TO)["reason"], json!("made again: its manifest was lost"));
    assert_eq!(whole(&made), before);
}

#[test]
fn a_result_that_was_cut_replaced_or_removed_is_not_used() {
    let (home, source) = with_net();
    let made = output(&one(&home, &source, TO));
    let before = whole(&made);
    let length = fs::metadata(&made).unwrap().len();
    fs::File::options().write(true).open(&made).unwrap().set_len(length - 1).unwrap();
    assert_eq!(one(&home, &source, TO)["reason"], "made again: it is not what was written");
    fs::write(&made, vec![0; length as usize]).unwrap();
    assert_eq!(one(&home, &source, TO)["reason"], "made again: it is not what was written");
    fs::remove_file(&made).unwrap();
    assert_eq!(one(&home, &source, TO)["status"], "converted");
    assert_eq!(whole(&made), before);
}

#[test]
fn another_part_and_another_precision_are_other_files() {
    let home = Home::empty();
    let source = super::moon(&home, "moon");
    let network = output(&one(&home, &source, "bf16"));
    let vae = output(&convert(&home, &source, &["--to", "bf16", "--part", "vae"])[0]);
    let all = output(&convert(&home, &source, &["--to", "bf16", "--part", "whole"])[0]);
    let models = home.path().join("models");
    assert_eq!(network, models.join("diffusion_models/converted/moon_bf16.safetensors"));
    assert_eq!(vae, models.join("vae/converted/moon_vae_bf16.safetensors"));
    assert_eq!(all, models.join("checkpoints/converted/moon_whole_bf16.safetensors"));
    assert_eq!(output(&one(&home, &source, "Q8_0")), models.join("diffusion_models/gguf/moon_Q8_0.gguf"));
}

#[test]
fn all_of_a_folder_is_converted_and_results_are_no_sources() {
    let home = Home::empty();
    fs::remove_file(home.path().join("models/checkpoints/night.safetensors")).unwrap();
    for (name, seed) in [("one", 1), ("two", 2)] {
        write(home.path(), &format!("models/diffusion_models/{name}.safetensors"), &halves(&layers(32), seed));
    }
    let all = |to: &str| super::lines(&home.run(&["convert", "--all", "diffusion_models", "--to", to, "--json"]).ok());
    assert_eq!(all("bf16").len(), 2);
    let again = all("bf16");
    assert_eq!(again.iter().map(|l| l["status"].as_str().unwrap()).collect::<Vec<_>>(), ["cached"; 2]);
    assert_eq!(all("fp32").len(), 2, "what was made is no source");
}
