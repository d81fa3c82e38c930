//! Files that are damaged, hostile, or something else.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::Before;
use crate::support::daemon::Home;
use crate::support::hostile;
use crate::support::weights_file::{raw, tiny_checkpoint, tiny_unet, under, write, zeros};

/// Every command that opens a model file, given this one.
#[track_caller]
fn refused_everywhere(home: &Home, path: &Path, message: &str) {
    let text = path.to_str().unwrap();
    let message = format!("{text}{message}");
    for command in [
        &["models", "inspect", text][..],
        &["run", "-m", text],
        &["run", "-m", "night", "--vae", text],
        &["run", "-m", "night", "--clip", text],
    ] {
        home.run(command).refused(6, &message);
    }
}

/// `PERILUNE_WRITE_FIXTURES=1 cargo test hostile_files` writes them again.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads no settings")]
fn the_hostile_files_are_what_their_builders_make() {
    if std::env::var_os("PERILUNE_WRITE_FIXTURES").is_some() {
        fs::create_dir_all(hostile::folder()).unwrap();
        for file in hostile::all() {
            fs::write(file.path(), &file.bytes).unwrap();
        }
    }
    for file in hostile::all() {
        assert!(fs::read(file.path()).unwrap() == file.bytes, "{} is not what its builder makes", file.path().display());
        assert!(file.bytes.len() < 1024, "{} is no small file", file.name);
    }
    assert_eq!(fs::read_dir(hostile::folder()).unwrap().count(), hostile::all().len(), "a file without a builder");
}

#[test]
fn hostile_files_are_refused_by_every_command_that_opens_them() {
    let home = Home::with_daemon();
    let before = Before::of(&home);
    for file in hostile::all() {
        refused_everywhere(&home, &file.path(), &format!(": {}", file.message));
    }
    before.holds(&home);
}

#[test]
fn hostile_files_in_a_model_folder_are_listed_with_their_problems_and_harm_no_other() {
    let home = Home::with_daemon();
    for file in hostile::all() {
        write(home.path(), &format!("models/checkpoints/{}.safetensors", file.name), &file.bytes);
    }
    let listed = home.run(&["models", "list", "--json"]).json();
    let problems = listed["models"].as_array().unwrap().iter().filter(|m| m["problem"].is_string()).count();
    assert_eq!(problems, hostile::all().len());
    assert!(!home.run(&["models", "list"]).ok().contains('\u{1b}'));
    home.run(&["run", "-m", "overlapping"]).refused(6, &format!("{}/models/checkpoints/overlapping.", home.path().display()));
    home.run(&["run", "-m", "night", "--steps", "1"]).ok();
}

#[test]
fn a_truncated_model_says_how_much_is_missing() {
    let home = Home::with_daemon();
    let mut whole = zeros(&tiny_checkpoint(), "");
    whole.truncate(whole.len() - 2048);
    let path = write(home.path(), "cut.safetensors", &whole);
    let before = Before::of(&home);
    let done = home.run(&["run", "-m", path.to_str().unwrap()]);
    done.refused(6, &format!("{}: the tensors take ", path.display()));
    assert!(done.stderr.contains("it is truncated, 2.0 KiB are missing\nhint: download or copy the file again"), "{done:?}");
    before.holds(&home);
}

#[test]
fn a_model_of_a_type_that_nothing_computes_with_is_refused() {
    let home = Home::with_daemon();
    let bytes = zeros(&tiny_checkpoint(), "");
    let header = 8..8 + u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let text = std::str::from_utf8(&bytes[header.clone()]).unwrap().replace("\"F16\"", "\"I16\"");
    let path = write(home.path(), "integers.safetensors", &raw(&text, bytes.len() - header.end));
    let before = Before::of(&home);
    let done = home.run(&["run", "-m", path.to_str().unwrap()]);
    done.refused(6, &format!("{}: the ", path.display()));
    assert!(done.stderr.contains("is stored as I16, which this version cannot load\nhint: use an fp32"), "{done:?}");
    before.holds(&home);
}

#[test]
fn megabytes_of_words_are_told_in_a_short_line() {
    let home = Home::with_daemon();
    let words = "A".repeat(20 << 20);
    let header = |dtype: &str, shape: &str| raw(&format!(r#"{{"a":{{"dtype":{dtype},"shape":{shape},"data_offsets":[0,1]}}}}"#), 1);
    let quoted = format!("\"{words}\"");
    let before_files = [
        ("dtype.safetensors", header(&quoted, "[1]")),
        ("shape.safetensors", header("\"U8\"", &quoted)),
        ("m.safetensors.index.json", format!(r#"{{"weight_map":{{"a":"/{words}"}}}}"#).into_bytes()),
        ("model/model_index.json", quoted.clone().into_bytes()),
    ];
    let paths: Vec<PathBuf> = before_files.iter().map(|(name, bytes)| write(home.path(), name, bytes)).collect();
    let before = Before::of(&home);
    for path in &paths {
        let path = if path.ends_with("model_index.json") { path.parent().unwrap() } else { path };
        for command in [&["models", "inspect"][..], &["run", "-m"]] {
            let done = home.run(&[command, &[path.to_str().unwrap()]].concat());
            done.refused(6, path.to_str().unwrap());
            assert!(done.stderr.len() < 1000, "{} bytes were told of {}", done.stderr.len(), path.display());
        }
    }
    before.holds(&home);
}

#[test]
fn pickles_are_refused_by_any_name_and_nobody_needs_them_where_there_is_better() {
    let home = Home::with_daemon();
    for name in ["a.ckpt", "b.pt", "c.pth", "d.bin"] {
        write(home.path(), &format!("models/checkpoints/{name}"), b"PK\x03\x04archive/data.pkl");
    }
    let whole = zeros(&tiny_checkpoint(), "");
    write(home.path(), "models/checkpoints/both.ckpt", b"PK\x03\x04archive/data.pkl");
    write(home.path(), "models/checkpoints/both.safetensors", &whole);
    let before = Before::of(&home);
    for name in ["a.ckpt", "b.pt", "c.pth", "d.bin"] {
        let path = home.path().join("models/checkpoints").join(name);
        refused_everywhere(&home, &path, ": this is a pickle, which can run code when it is opened");
        let by_name = home.run(&["run", "-m", name.split('.').next().unwrap()]);
        by_name.refused(6, &format!("{}: this is a pickle", path.display()));
        assert!(by_name.stderr.contains("hint: convert it on a machine you trust: "), "{by_name:?}");
    }
    before.holds(&home);
    home.run(&["run", "-m", "both", "--steps", "1"]).ok();
}

#[test]
fn folders_that_are_no_models_are_refused() {
    let home = Home::with_daemon();
    let folder = |name: &str| home.path().join(name);
    fs::create_dir(folder("empty")).unwrap();
    write(home.path(), "weights-only/unet/diffusion_pytorch_model.safetensors", &zeros(&tiny_unet(), ""));
    fs::create_dir_all(folder("index-is-a-folder/model_index.json")).unwrap();
    write(home.path(), "no-json/model_index.json", b"{\"unet\": [");
    write(home.path(), "nothing-named/model_index.json", b"{\"scheduler\": [\"diffusers\", \"PNDMScheduler\"]}");
    let index = br#"{"unet": ["diffusers", "UNet2DConditionModel"]}"#;
    for name in ["part-missing", "pickled", "shard-missing", "shard-outside"] {
        write(home.path(), &format!("{name}/model_index.json"), index);
    }
    write(home.path(), "pickled/unet/diffusion_pytorch_model.bin", b"PK\x03\x04");
    let shards = |name: &str, file: &str| {
        let text = format!(r#"{{"weight_map":{{"a":"{file}"}}}}"#);
        write(home.path(), &format!("{name}/unet/diffusion_pytorch_model.safetensors.index.json"), text.as_bytes());
    };
    shards("shard-missing", "m-1.safetensors");
    shards("shard-outside", "../../secret.safetensors");
    let before = Before::of(&home);
    for (name, message) in [
        ("empty", ": the folder holds no model_index.json, so it is not a diffusers model"),
        ("weights-only", ": the folder holds no model_index.json, so it is not a diffusers model"),
        ("index-is-a-folder", ": the folder holds no model_index.json, so it is not a diffusers model"),
        ("no-json", "/model_index.json: not a valid model_index.json: "),
        ("nothing-named", "/model_index.json: not a valid model_index.json: it names no part that holds weights"),
        ("part-missing", "/unet: the model's index names this, but it is not there"),
        ("pickled", "/unet: no .safetensors file, only pickles (.bin), which can run code when opened"),
        ("shard-missing", "/unet/m-1.safetensors: the model's index names this, but it is not there"),
        ("shard-outside", "/unet/diffusion_pytorch_model.safetensors.index.json: the shard index names `../../secret.safetensors`"),
    ] {
        let path = folder(name).display().to_string();
        for command in [&["models", "inspect", &path][..], &["run", "-m", &path]] {
            home.run(command).refused(6, &format!("{path}{message}"));
        }
    }
    before.holds(&home);
}

/// A pipe would be waited on for ever, by the thread that looks at everybody's drafts.
#[test]
fn pipes_and_devices_are_no_files_and_nobody_waits_for_them() {
    let home = Home::with_daemon();
    let pipe = |name: &str| {
        let path = home.path().join(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from(0o600), 0).unwrap();
        path
    };
    let model = pipe("models/checkpoints/pipe.safetensors");
    let picture = pipe("pipe.png").display().to_string();
    let before = Before::of(&home);
    for path in [model, PathBuf::from("/dev/zero")] {
        refused_everywhere(&home, &path, ": this is no regular file");
    }
    home.run(&["run", "-m", "night", "--init-image", &picture]).refused(4, &format!("there is no picture {picture}"));
    let listed = home.run(&["models", "list", "--json"]).json();
    let entry = listed["models"].as_array().unwrap().iter().find(|m| m["name"] == "pipe").unwrap().clone();
    assert!(entry["problem"].as_str().unwrap().ends_with("this is no regular file"), "{entry}");
    before.holds(&home);
    home.run(&["run", "-m", "night", "--steps", "1"]).ok();
}

#[test]
fn a_model_of_a_family_that_does_not_run_is_named_and_refused() {
    let home = Home::with_daemon();
    // Matrices around attention, and nothing told of the picture as a whole: SD2.
    let squeezed = |(name, shape): (String, Vec<u64>)| {
        let is_projection = name.ends_with("proj_in.weight") || name.ends_with("proj_out.weight");
        (name, if is_projection { shape[..2].to_vec() } else { shape })
    };
    let tensors = tiny_unet().into_iter().map(squeezed).collect();
    // The name says otherwise; the shapes do not lie.
    let bytes = zeros(&under("model.diffusion_model.", tensors), "");
    let path = write(home.path(), "models/checkpoints/sd15-v1-5.safetensors", &bytes).display().to_string();
    let before = Before::of(&home);
    let expected = "`sd15-v1-5` is a model of the family SD2, which this version cannot run";
    home.run(&["run", "-m", "sd15-v1-5"]).refused(6, expected);
    home.run(&["run", "-m", &path]).refused(6, expected);
    home.run(&["run", "--profile", "sd15", "-m", "sd15-v1-5"]).refused(6, expected);
    let borrowed = format!("{path}: given with --vae but holds no vae");
    home.run(&["run", "-m", "night", "--vae", &path]).refused(6, &borrowed);
    assert_eq!(home.run(&["models", "inspect", &path, "--json"]).json()["family"], json!("sd2"), "looking at it is no mistake");
    before.holds(&home);
}

#[test]
fn a_model_whose_name_is_no_text_is_listed_and_cannot_be_named() {
    use std::os::unix::ffi::OsStrExt;

    let home = Home::with_daemon();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.safetensors");
    fs::write(home.path().join("models/checkpoints").join(name), zeros(&tiny_checkpoint(), "")).unwrap();
    let before = Before::of(&home);
    let listed = home.run(&["models", "list", "--json"]).json();
    let entry = listed["models"].as_array().unwrap().iter().find(|m| m["name"] == "caf\u{fffd}").unwrap().clone();
    assert_eq!(entry["problem"], json!("its name is not valid UTF-8; rename it"));
    assert!(home.run(&["models", "list"]).ok().contains("rename it"));
    // The daemon says the same over the wire.
    let perilune::wire::Reply::Models(models) = home.talk().call(perilune::wire::Request::Models) else { panic!("no models") };
    assert!(models.iter().any(|m| m.name == "caf\u{fffd}" && m.problem.is_some()), "{models:?}");
    let lossy = home.path().join("models/checkpoints/caf\u{fffd}.safetensors");
    home.run(&["run", "-m", "caf\u{fffd}"]).refused(4, &format!("{}: there is no such file or folder", lossy.display()));
    before.holds(&home);
}
