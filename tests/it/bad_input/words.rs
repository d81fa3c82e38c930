//! Words that mean nothing: arguments, variables, numbers and settings.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;

use image::ImageEncoder;
use perilune::units::JobId;

use super::Before;
use crate::support::daemon::{Home, finish};
use crate::support::weights_file::{tiny_checkpoint, write, zeros};

#[test]
fn arguments_that_are_not_text_are_refused_wherever_they_stand() {
    let home = Home::empty();
    let before = home.tree();
    let raw = OsStr::from_bytes(b"caf\xe9");
    for words in [
        &[][..],
        &["--home"],
        &["--host"],
        &["--models"],
        &["--profile"],
        &["run", "-m"],
        &["run", "-m", "night", "-p"],
        &["run", "-m", "night", "-o"],
        &["run", "-m", "night", "--init-image"],
        &["run", "-m", "night", "--size"],
        &["models", "inspect"],
        &["queue", "show"],
    ] {
        let mut arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
        arguments.push(raw.to_owned());
        let done = finish(home.command(&arguments));
        done.refused(2, &format!("argument {}, `caf\u{fffd}`, is not valid UTF-8", arguments.len()));
    }
    assert_eq!(home.tree(), before, "no daemon was started");
}

#[test]
fn variables_that_are_not_text_are_refused_by_name() {
    let home = Home::empty();
    let before = home.tree();
    for name in ["HOME", "PERILUNE_HOME", "PERILUNE_MODELS", "PERILUNE_PROFILE", "PERILUNE_ENGINE", "XDG_RUNTIME_DIR"] {
        for words in [&["status"][..], &["config", "--json"], &["serve"], &["run", "-m", "night"]] {
            let mut command = home.command(words);
            command.env(name, OsStr::from_bytes(b"/tmp/caf\xe9"));
            finish(command).refused(2, &format!("the variable {name}, `/tmp/caf\u{fffd}`, is not valid UTF-8"));
        }
    }
    assert_eq!(home.tree(), before);
}

#[test]
fn in_a_folder_whose_name_is_no_text_only_whole_paths_lead_anywhere() {
    let home = Home::with_daemon();
    let folder = home.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("here.safetensors"), zeros(&tiny_checkpoint(), "")).unwrap();
    let before = Before::of(&home);
    let there = |words: &[&str]| {
        let mut command = home.command(words);
        command.current_dir(&folder);
        finish(command)
    };
    there(&["run", "-m", "here.safetensors"]).refused(4, "there is no model `here.safetensors` in ");
    there(&["models", "inspect", "here.safetensors"]).refused(4, "there is no model `here.safetensors` in ");
    there(&["run", "-m", "night", "-o", "pictures"]).refused(2, "--output pictures is relative");
    before.holds(&home);
    let elsewhere = home.path().join("pictures").display().to_string();
    there(&["run", "-m", "night", "--steps", "1", "-o", &elsewhere]).ok();
}

#[test]
fn numbers_that_make_no_picture_are_refused() {
    let home = Home::with_daemon();
    let before = Before::of(&home);
    let long = "a".repeat(16_385);
    for (flag, value, message) in [
        ("--size", "500x500", "invalid value '500x500' for '--size <WxH>': 500x500 is not divisible by 8; the nearest size is 504x504"),
        ("--size", "512x511", "invalid value '512x511' for '--size <WxH>': 512x511 is not divisible by 8; the nearest size is 512x512"),
        ("--size", "1x8", "invalid value '1x8' for '--size <WxH>': 1x8 is out of range; each side is 8 to 16384 pixels"),
        ("--size", "0x0", "invalid value '0x0' for '--size <WxH>': 0x0 is out of range"),
        ("--size", "16392x8", "invalid value '16392x8' for '--size <WxH>': 16392x8 is out of range"),
        ("--size", "4294967304x8", "invalid value '4294967304x8' for '--size <WxH>': `4294967304x8` is not a size"),
        ("--size", "-8x8", "invalid value '-8x8' for '--size <WxH>': `-8x8` is not a size"),
        ("--size", "512", "invalid value '512' for '--size <WxH>': `512` is not a size; write WIDTHxHEIGHT in pixels"),
        ("--steps", "0", "--steps 0 is out of range"),
        ("--steps", "1001", "--steps 1001 is out of range"),
        ("--steps", "-1", "invalid value '-1' for '--steps <N>'"),
        ("--steps", "4294967296", "invalid value '4294967296' for '--steps <N>'"),
        ("--steps", "many", "invalid value 'many' for '--steps <N>'"),
        ("--batch", "0", "--batch 0 is out of range"),
        ("--batch", "65", "--batch 65 is out of range"),
        ("--cfg", "NaN", "--cfg NaN is out of range"),
        ("--cfg", "inf", "--cfg inf is out of range"),
        ("--cfg", "-1", "--cfg -1 is out of range"),
        ("--denoise", "0.5", "--denoise needs a picture to start from"),
        ("--seed", "-1", "invalid value '-1' for '--seed <N>'"),
        ("--seed", "18446744073709551616", "invalid value '18446744073709551616' for '--seed <N>'"),
        ("--compute-device", "gpu", "invalid value 'gpu' for '--compute-device <DEVICE>': `gpu` is not a device"),
        ("--compute-device", "disk", "disk cannot compute"),
        ("--prompt", &long, "--prompt is 16385 bytes long"),
        ("--negative", &long, "--negative is 16385 bytes long"),
    ] {
        home.run(&["run", "-m", "night", &format!("{flag}={value}")]).refused(2, message);
        if value.parse::<i64>().is_ok() {
            home.run(&["run", "-m", "night", flag, value]).refused(2, message);
        }
    }
    for (flag, message) in [
        ("--virtual-vram", "invalid value '-1' for '--virtual-vram <[PART=]BYTES>'"),
        ("--guidance", "--guidance -1 is out of range"),
        ("--denoise", "--denoise"),
    ] {
        home.run(&["run", "-m", "night", flag, "-1"]).refused(2, message);
    }
    before.holds(&home);
    let done = home.run(&["run", "-m", "night", "-p", "-dash", "-n", "--steps", "--steps", "1", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let spec = home.talk().show(JobId(1)).spec;
    assert_eq!((spec.prompt.as_str(), spec.negative.as_str()), ("-dash", "--steps"), "a text may begin as it likes");
}

#[test]
fn what_would_be_passed_over_is_refused() {
    let home = Home::with_daemon();
    let file = write(home.path(), "models/file", b"");
    let file = file.display().to_string();
    home.run(&["models", "list", "--models", "/nowhere"]).refused(4, "--models /nowhere: No such file or directory");
    home.run(&["models", "list", "--models", &file]).refused(4, &format!("--models {file}: this is no folder"));
    home.run(&["--plain", "--json"]).refused(2, "the argument '--plain' cannot be used with '--json'");
    let mut dot = Vec::new();
    image::codecs::png::PngEncoder::new(&mut dot).write_image(&[0; 3], 1, 1, image::ExtendedColorType::Rgb8).unwrap();
    let dot = write(home.path(), "dot.png", &dot).display().to_string();
    home.run(&["run", "-m", "night", "--init-image", &dot])
        .refused(6, &format!("{dot} is 1x1; a picture to start from has sides of 8 to "));
}

#[test]
fn numbers_of_a_profile_or_of_the_settings_are_looked_at_too() {
    let home = Home::with_daemon();
    let before = Before::of(&home);
    for (yaml, message) in [
        ("steps: 0", "--steps 0 is out of range"),
        ("cfg: .nan", "--cfg NaN is out of range"),
        ("size: 500x500", "{}: 500x500 is not divisible by 8; the nearest size is 504x504"),
        ("size: [512, 512]", "{}: "),
        ("steps: -4", "{}: "),
        ("sampler: fastest", "{}: sampler: unknown variant `fastest`"),
        ("stepps: 4", "{}: unknown field `stepps`"),
        ("steps: &a [*a]", "{}: "),
        ("\tsteps: 4", "{}: "),
    ] {
        let path = write(home.path(), "profiles/mine.yaml", yaml.as_bytes());
        let done = home.run(&["run", "--profile", "mine", "-m", "night"]);
        done.refused(2, &message.replace("{}", &path.display().to_string()));
        fs::remove_file(path).unwrap();
    }
    fs::remove_dir(home.path().join("profiles")).unwrap();
    for (yaml, said) in [("run: {steps: 0}", "--steps 0 is out of range"), ("run: {size: 500x500}", "500x500 is not divisible by 8")] {
        home.config(yaml);
        let done = home.run(&["run", "-m", "night"]);
        done.refused(2, "");
        assert!(done.stderr.contains(said), "{done:?}");
    }
    before.holds(&home);
}
