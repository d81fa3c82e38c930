//! Simulated GPUs: a profile defines them, the daemon has them, and everything about them says so.

use perilune::placement::Share;
use perilune::units::{Bytes, DeviceId};
use perilune::wire::{PlanAsk, Reply, Request};
use perilune::workflow::JobDraft;
use serde_json::{Value, json};

use crate::support::builders::a_job;
use crate::support::daemon::{Home, finish};
use crate::support::wait::until;
use crate::support::weights_file::write;

const PROFILE: &str = "
simulated:
  - {name: tiny card, memory: 1600KiB, from_cpu_gb_s: 12, from_disk_gb_s: 2, from_sim_gb_s: 24, latency_us: 20}
  - {name: other card, memory: 64MiB, from_cpu_gb_s: 12, from_disk_gb_s: 2, from_sim_gb_s: 24}
";

fn home() -> Home {
    let mut home = Home::empty();
    write(home.path(), "profiles/cards.yaml", PROFILE.as_bytes());
    home.set("PERILUNE_PROFILE", "cards");
    home
}

fn with_daemon() -> Home {
    let mut home = home();
    home.start();
    home
}

/// The row of a device in `devices --json`.
fn device(home: &Home, id: &str) -> Value {
    let all = home.run(&["devices", "--json"]).json();
    all["devices"].as_array().unwrap().iter().find(|d| d["id"] == id).cloned().unwrap_or_default()
}

#[test]
fn the_daemon_that_has_the_profile_has_the_devices() {
    let home = with_daemon();
    let row = device(&home, "sim:0");
    let expected = json!([true, "sim", "tiny card", "simulated", {"total": 1600 << 10, "used": 0, "free": 1600 << 10}]);
    assert_eq!(json!([row["simulated"], row["kind"], row["name"], row["source"], row["memory"]]), expected);
    assert_eq!((&row["temperature_c"], &device(&home, "sim:2")), (&Value::Null, &Value::Null));
    for command in [&["devices"] as &[&str], &["status"]] {
        let table = home.run(command).ok();
        let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("sim:")).collect();
        assert!(rows.len() == 2 && rows.iter().all(|row| row.contains("SIMULATED")), "{table}");
    }
    let settings = home.run(&["config", "--json"]).ok();
    assert!(settings.contains("tiny card"), "{settings}");
}

#[test]
fn a_daemon_that_a_command_starts_gets_the_profile() {
    let mut home = home();
    home.set("PERILUNE_PROFILE", "");
    let started = finish(home.command(&["devices", "--json", "--profile", "cards"])).json();
    let stopped = home.run(&["stop"]);
    assert!(started.to_string().contains("other card"), "{started}");
    stopped.ok();
}

#[test]
fn plans_keep_their_budgets_and_say_what_they_are_about() {
    let home = with_daemon();
    let plan = |more: &[&str]| home.run(&[&["plan", "night", "--compute-device", "sim:0", "--size", "64x64"], more].concat());
    let view = plan(&["--virtual-vram", "auto", "--donor-device", "sim:1,disk", "--json"]).json();
    let on = |id: &str| view["devices"].as_array().unwrap().iter().find(|d| d["id"] == id).cloned().unwrap_or_default();
    let (here, there) = (on("sim:0"), on("sim:1"));
    assert_eq!((&here["total"], &there["total"]), (&json!(1600 << 10), &json!(64 << 20)));
    let taken = here["held"].as_u64().unwrap() + view["staging"].as_u64().unwrap();
    assert!(taken < 1600 << 10 && there["bytes"].as_u64() > Some(0), "{view}");
    // The link's speed is the profile's, so 24 GB a second and no latency of that card.
    let link = &view["predicted"]["links"][0];
    let (seconds, bytes) = (link["transfer_s"].as_f64().unwrap(), link["streamed"].as_u64().unwrap() as f64);
    assert!(seconds > bytes / 24e9 && seconds < bytes / 24e9 + 20e-6 * view["blocks"].as_array().unwrap().len() as f64 + 1e-9, "{link}");
    assert!(view["warnings"].to_string().contains("SIMULATED"));
    let table = plan(&["--virtual-vram", "auto"]).ok();
    assert!(table.lines().filter(|l| l.contains("sim:0")).all(|l| l.contains("SIMULATED") || l.contains('\u{b7}')), "{table}");
    plan(&["--virtual-vram", "0"]).refused(5, "");
    let usage = home.run(&["plan", "night", "--compute-device", "cpu", "--virtual-vram", "1MiB", "--donor-device", "sim:1"]);
    usage.refused(2, "sim:1 is simulated, so it cannot hold weights for cpu");
}

#[test]
fn what_engines_hold_is_shown_and_ends_with_them() {
    let mut home = with_daemon();
    let held = json!([{"device": "sim:0", "bytes": 1_000_000}, {"device": "sim:1", "bytes": 5000}]);
    home.script(&json!({"simulated": held}));
    let run = ["run", "-m", "night", "-p", "a moon", "--steps", "1", "--compute-device", "sim:0", "--json"];
    home.run(&run).ok();
    let memory = |id: &str| device(&home, id)["memory"]["used"].as_u64();
    assert_eq!((memory("sim:0"), memory("sim:1")), (Some(1_000_000), Some(5000)));
    // Who tunes a model hears of all of it, staging memory as well as weights.
    let draft = JobDraft { compute_device: Some(DeviceId::Sim(0)), ..a_job() };
    let Reply::Tune(told) = home.talk().call(Request::Tune(Box::new(PlanAsk { draft, sweep: None }))) else { panic!() };
    assert_eq!(told.held, [Share { device: DeviceId::Sim(0), bytes: Bytes(1_000_000) }]);
    let pid = home.run(&["status", "--json"]).json()["engines"][0]["pid"].as_i64().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap(), rustix::process::Signal::KILL).unwrap();
    until("its memory to be free again", || (memory("sim:0") == Some(0)).then_some(()));
    home.kill();
}

#[test]
fn a_device_that_no_profile_has_is_not_found() {
    let home = with_daemon();
    let run = |device: &str| home.run(&["run", "-m", "night", "-p", "a moon", "--compute-device", device]);
    let missing = run("sim:7");
    assert!(missing.stderr.contains("the profile that the daemon was started with"), "{missing:?}");
    missing.refused(4, "there is no device sim:7");
    let plan = home.run(&["plan", "night", "--compute-device", "sim:7"]);
    assert!(plan.stderr.contains("the profile that the daemon was started with"), "{plan:?}");
    plan.refused(4, "there is no device sim:7");
}

#[test]
fn a_profile_whose_gpus_the_daemon_has_not_is_told_of() {
    let home = Home::with_daemon();
    let devices = home.run(&["devices", "--profile", "simulated"]);
    let told = "warning: profile simulated has 2 simulated GPUs more than this daemon, which was started without it: \
                `perilune stop`, and start it with `--profile simulated`\n";
    assert_eq!((devices.code, devices.stderr.as_str()), (0, told));
    assert_eq!(home.run(&["devices"]).stderr, "");
    let plan = home.run(&["plan", "night", "--profile", "simulated", "--compute-device", "sim:0"]);
    assert!(plan.stderr.contains("`perilune stop`, and start it with `--profile`"), "{plan:?}");
    plan.refused(4, "there is no device sim:0");
}

const SMALL: &str = "
simulated:
  - {name: small card, memory: 900KiB, from_cpu_gb_s: 12, from_disk_gb_s: 2, from_sim_gb_s: 24}
  - {name: tiny card, memory: 200KiB, from_cpu_gb_s: 12, from_disk_gb_s: 2, from_sim_gb_s: 24}
  - {name: large card, memory: 64MiB, from_cpu_gb_s: 12, from_disk_gb_s: 2, from_sim_gb_s: 24}
";

fn small() -> Home {
    let mut home = Home::empty();
    write(home.path(), "profiles/small.yaml", SMALL.as_bytes());
    home.set("PERILUNE_PROFILE", "small");
    home.start();
    home
}

#[test]
fn a_donor_is_filled_with_what_is_stored_and_what_it_cannot_take_is_told() {
    let home = small();
    let plan = |list: &str, more: &[&str]| {
        home.run(&[&["plan", "night", "--compute-device", "sim:2", "--expert-mode-allocations", list], more].concat())
    };
    let view = plan("sim:1,400KiB;sim:2,*", &["--json"]).json();
    let donor = view["devices"].as_array().unwrap().iter().find(|d| d["id"] == "sim:1").cloned().unwrap();
    // fp16 is computed in fp32, so what fills the card is twice as much where it is computed with.
    let (held, bytes) = (donor["held"].as_u64().unwrap(), donor["bytes"].as_u64().unwrap());
    assert!(held > 150 << 10 && held <= 194 << 10 && bytes == 2 * held, "{donor}");
    assert_eq!(donor["free_after"], json!((200 << 10) - held), "{donor}");
    let told = "warning: 400.0 KiB were asked of sim:1, which has room for 194.0 KiB: what is over goes to sim:2; ask less of sim:1";
    let done = plan("sim:1,400KiB;sim:2,*", &[]);
    assert!(done.stderr.contains(told), "{done:?}");
    let done = plan("vae=sim:1,400KiB;sim:2,*", &[]);
    assert!(done.stderr.contains("warning: vae: 400.0 KiB were asked of sim:1"), "{done:?}");
    let done = plan("sim:1,150KiB;sim:2,*", &[]);
    assert!(!done.stderr.contains("were asked of"), "{done:?}");
}

#[test]
fn what_does_not_fit_is_to_blame_and_not_what_lies_beside_it() {
    let home = small();
    let plan = |amounts: &[&str]| {
        let flags = amounts.iter().flat_map(|amount| ["--virtual-vram", amount]);
        home.run(&["plan", "night", "--compute-device", "sim:0"].into_iter().chain(flags).collect::<Vec<_>>())
    };
    let done = plan(&["1KiB", "clip=1GiB", "vae=1GiB"]);
    assert!(done.stderr.contains("of weights stay on sim:0") && !done.stderr.contains("clip_l: "), "{done:?}");
    done.refused(5, "");
}
