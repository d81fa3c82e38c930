//! Profiles that ship: each loads, and each that needs no GPU plans the model that is always there. And what checks files.

use std::fs;

use perilune::profile::{EMBEDDED, Preset};
use perilune::units::DeviceId;
use serde_json::Value;

use super::support::daemon::{Home, finish};
use super::support::wait::until;

/// Starts a daemon with a profile and plans with it, as an operator would.
fn plan(name: &str) -> Value {
    let home = Home::empty();
    let planned = finish(home.command(&["plan", "moonlet", "--json", "--profile", name]));
    home.run(&["stop"]).ok();
    planned.json()
}

#[test]
fn the_profiles_of_boxes_are_there() {
    for name in ["cpu", "one-24gb", "two-unequal", "eight-h100", "simulated-dual"] {
        assert!(EMBEDDED.iter().any(|(n, _)| *n == name), "{name}");
        let preset = Preset::embedded(name).unwrap().unwrap();
        assert!(preset.compute_device.is_some() && EMBEDDED.iter().all(|(_, text)| !text.contains('\t')), "{name}");
    }
}

#[test]
fn profiles_without_a_real_gpu_plan_moonlet() {
    let mut planned = 0;
    for (name, _) in EMBEDDED {
        let preset = Preset::embedded(name).unwrap().unwrap();
        let needs_gpu = matches!(preset.compute_device, Some(DeviceId::Cuda(_)));
        if needs_gpu {
            continue;
        }
        let view = plan(name);
        let blocks = view["blocks"].as_array().unwrap();
        assert!(!blocks.is_empty(), "{name}: {view}");
        if *name == "simulated-dual" {
            assert!(blocks.iter().any(|b| b["device"] == "sim:1"), "the second card takes some: {view}");
        }
        planned += 1;
    }
    assert!(planned >= 5, "{planned}");
}

#[test]
fn what_a_profile_says_of_the_box_reaches_its_daemon() {
    let home = Home::empty();
    let settings = home.run(&["config", "--json", "--profile", "cpu"]).json();
    assert_eq!(
        (&settings["settings"]["engine_idle_s"]["value"], &settings["settings"]["disk_floor"]["origin"]),
        (&900.0.into(), &"profile cpu".into())
    );
    home.config("run: {daemon: {engine_threads: 2}}");
    home.run(&["models", "list"]).refused(2, &format!("{}: run.daemon", home.path().join("config.yaml").display()));
}

#[test]
fn what_is_to_stay_free_is_no_room_for_plans() {
    let home = Home::empty();
    fs::create_dir(home.path().join("profiles")).unwrap();
    let card = "simulated:\n- {name: card, memory: 1GiB, from_cpu_gb_s: 20, from_disk_gb_s: 2, from_sim_gb_s: 20}\n";
    let text = format!("compute_device: sim:0\nvirtual_vram_gb: auto\ndonor_device: [disk]\nfloors: {{gpus: 1014MiB}}\n{card}");
    fs::write(home.path().join("profiles/box.yaml"), text).unwrap();
    let plan = finish(home.command(&["plan", "moonlet", "--json", "--profile", "box"])).json();
    home.run(&["stop"]).ok();
    let devices = plan["devices"].as_array().unwrap();
    assert_eq!((&devices[0]["id"], &devices[1]["id"]), (&"sim:0".into(), &"disk".into()), "{plan}");
    assert!(devices[0]["free_after"].as_u64().unwrap() >= 1014 << 20, "{plan}");
    let settings = home.run(&["config", "--json", "--profile", "box"]).json();
    assert_eq!(settings["settings"]["run.floors"]["origin"], "profile box");
}

#[test]
fn a_command_that_starts_a_daemon_gives_it_floors_and_sets() {
    let home = Home::empty();
    fs::create_dir(home.path().join("profiles")).unwrap();
    fs::write(home.path().join("profiles/floors.yaml"), "floors: {cpu: 12MiB}\n").unwrap();
    fs::write(home.path().join("profiles/sets.yaml"), "sets: [{model: nobody}]\n").unwrap();
    let devices = finish(home.command(&["devices", "--json", "--profile", "floors"])).json();
    let floors: Vec<&Value> = devices["devices"].as_array().unwrap().iter().filter(|d| d["id"] == "cpu").map(|d| &d["floor"]).collect();
    home.run(&["stop"]).ok();
    assert_eq!(floors, [12 << 20]);
    finish(home.command(&["status", "--profile", "sets"])).ok();
    until("the set that is missing to be told", || {
        let status = home.run(&["status", "--json"]).json();
        status["notices"].to_string().contains("set `nobody` of the profile is not loaded").then_some(())
    });
    home.run(&["stop"]).ok();
}

#[test]
fn validate_tells_every_mistake_with_its_place() {
    let home = Home::empty();
    assert_eq!(home.run(&["config", "path"]).ok().trim(), home.path().join("config.yaml").to_str().unwrap());
    let fine = home.run(&["config", "validate"]).ok();
    assert_eq!(fine, format!("{}: settings are fine\n", home.path().join("config.yaml").display()));
    for folder in ["profiles", "themes"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    home.config("log: info\nmodles: [/b]\n");
    fs::write(home.path().join("profiles/night.yaml"), "schema: 1\nsteps: 20\nsampler: fastest\n").unwrap();
    fs::write(home.path().join("profiles/day.yaml"), "steps: 20\n").unwrap();
    fs::write(home.path().join("themes/mine.yaml"), "schema: 1\nname: mine\nroles:\n  warn: mauve\n").unwrap();
    fs::write(home.path().join("extra_model_paths.yaml"), "comfy:\n  base_path: ~/c\n  vae: [a, b]\n").unwrap();
    let told = home.run(&["config", "validate", "--json"]);
    assert_eq!(told.code, 2);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    let places: Vec<_> = told["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let file = f["file"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            (file, f["kind"].as_str().unwrap().to_owned(), f["line"].as_u64(), f["column"].as_u64().is_some())
        })
        .collect();
    let expected = [
        ("config.yaml", "settings", Some(2), true),
        ("extra_model_paths.yaml", "list of model folders", Some(3), true),
        ("day.yaml", "profile", None, false),
        ("night.yaml", "profile", Some(3), true),
        ("mine.yaml", "theme", Some(4), true),
    ];
    assert_eq!(places, expected.map(|(file, kind, line, column)| (file.to_owned(), kind.to_owned(), line, column)));
    let text = home.run(&["config", "validate", "night", "eight-h100"]);
    assert_eq!(text.code, 2);
    assert!(text.stdout.contains("night.yaml:3:10: ") && text.stdout.contains("eight-h100.yaml: profile is fine"), "{text:?}");
    home.run(&["config", "validate", "nobody"]).refused(4, "there is no file, profile or theme `nobody`");
}

#[test]
fn names_that_nothing_has_are_told_before_a_command_looks_for_them() {
    let home = Home::empty();
    let file = home.path().join("config.yaml").display().to_string();
    let check = |text: &str, told: &str| {
        home.config(text);
        let run = home.run(&["config", "validate"]);
        assert!(run.code == 2 && run.stdout.starts_with(&format!("{file}:{told}")), "{run:?}");
    };
    check("mouse: true\nprofile: nosuch\n", "2:10: profile: there is no profile `nosuch`; there are ");
    check("theme: nosuch\n", "1:8: theme: there is no theme `nosuch`; there are auto, ");
    check("preview: x\n", "1:10: preview: ");
    check("log: loud\n", "1:6: log: `loud` is not a level of log lines; use error, ");
    check("output: \"\"\n", "1:9: output: no folder is named; name one, or leave it out\n");
    check("engine_threads: 0\n", "1:1: engine_threads is 0, but must be at least 1");
}

#[test]
fn a_daemon_is_stopped_and_looked_at_whatever_stands_in_the_file() {
    let mut home = Home::with_daemon();
    let file = home.path().join("config.yaml").display().to_string();
    for text in ["modles: [/b]\n", "profile: nosuch\n", "models: [", "engine_threads: 0\n"] {
        home.config(text);
        assert_eq!(home.run(&["status"]).code, if text.starts_with("profile") { 4 } else { 2 }, "{text}");
        for words in [&["config"][..], &["config", "path"]] {
            let done = home.run(words);
            assert!(done.stderr.starts_with("warning: the settings are used as if there were no file: "), "{done:?}");
            assert!(done.stdout.contains(&file) && (words.len() == 1) == (done.code != 0), "{done:?}");
        }
        let doctor = home.run(&["doctor"]);
        assert!(doctor.code == 1 && doctor.stdout.contains("answers") && doctor.stdout.contains("settings"), "{doctor:?}");
    }
    assert_eq!(home.run(&["stop"]).ok(), "the daemon has ended\n");
    assert!(home.daemon().wait().unwrap().success());
}

#[test]
fn what_every_command_would_refuse_is_told_before() {
    let home = Home::empty();
    fs::create_dir(home.path().join("profiles")).unwrap();
    let write = |text: &str| fs::write(home.path().join("profiles/t.yaml"), text).unwrap();
    let check = |text: &str, told: &str| {
        write(text);
        let run = home.run(&["config", "validate", "t"]);
        assert_eq!((run.code, run.stdout.rsplit_once("/t.yaml").unwrap().1), (2, told));
    };
    let both = "virtual VRAM and an expert allocation cannot both decide what goes where; leave out one of the two";
    let both = format!("{both}; ComfyUI-MultiGPU listens to the expert allocation\n");
    check("virtual_vram_gb: 0.004\nexpert_mode_allocations: 'cpu,50%;disk,*'\n", &format!(":2:26: {both}"));
    check(
        "parts:\n  vae: {donor_device: [disk, disk], virtual_vram_gb: 1}\n",
        ":2:23: vae: the donor disk is named twice; name each donor once\n",
    );
    check("steps: 0\n", ":1:8: steps 0 is out of range; use 1 to 1000; 20 is usual\n");
    let unit = "use B, KiB, MiB, GiB, TiB, or % of the model; KB and K are KiB here, and so on";
    check("expert_mode_allocations: 'cpu,2XB'\n", &format!(":1:26: expert_mode_allocations: column 6: `XB` is not a unit; {unit}\n"));
    // A command says the same, and points at nothing else.
    let refused = home.run(&["plan", "moonlet", "--profile", "t"]);
    assert!(refused.stderr.ends_with(&format!("/t.yaml: expert_mode_allocations: column 6: `XB` is not a unit\nhint: {unit}\n")));
    home.config("run:\n  virtual_vram_gb: 2XB\n");
    let refused = home.run(&["config"]);
    let bytes = "column 2: `XB` is not a unit\nhint: use B, KiB, MiB, GiB or TiB; KB and K are KiB here, and so on\n";
    assert!(refused.stderr.ends_with(&format!("/config.yaml: run.virtual_vram_gb: {bytes}")), "{refused:?}");
    let told = home.run(&["config", "validate", "--json"]);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!((&told["files"][0]["line"], &told["files"][0]["column"]), (&2.into(), &20.into()), "{told}");
    write("virtual_vram_gb: 0.004\nsteps: 20\n");
    assert!(home.run(&["config", "validate", "t"]).ok().ends_with("profile is fine\n"));
}

#[test]
fn a_profile_takes_the_string_that_the_flag_takes() {
    let home = Home::empty();
    fs::create_dir(home.path().join("profiles")).unwrap();
    fs::write(home.path().join("profiles/t.yaml"), "expert_mode_allocations: '#cpu;0.004;disk'\n").unwrap();
    let by_profile = finish(home.command(&["plan", "moonlet", "--json", "--profile", "t"])).json();
    let by_flag = finish(home.command(&["plan", "moonlet", "--json", "--expert-mode-allocations", "#cpu;0.004;disk"])).json();
    home.run(&["stop"]).ok();
    assert_eq!(by_profile["allocation"], "#cpu;4294967B;disk");
    assert_eq!((&by_profile["allocation"], &by_profile["blocks"]), (&by_flag["allocation"], &by_flag["blocks"]));
}
