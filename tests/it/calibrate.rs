//! Calibrations: asked of a real daemon, measured by an engine that pretends.

use perilune::units::DeviceId;
use perilune::wire::control::CalibrateAsk;
use perilune::wire::{EngineState, Request};
use perilune::workflow::Kind;
use serde_json::{Value, json};

use crate::support::builders::a_job;
use crate::support::daemon::Home;
use crate::support::nvml_stub::NvmlStub;
use crate::support::wait::{until, until_true};

const CALIBRATE: [&str; 5] = ["calibrate", "night", "--compute-device", "cpu", "--json"];

fn finds(how: &str) -> Value {
    let speed = |flops: f64| json!({"flops": flops, "bytes_per_second": 3e9, "measured": true});
    json!({
        "calibration": how,
        "walk_s": 0.25,
        "learned": [{"speed": [{"device": "disk"}, speed(0.0)]}, {"speed": ["page_cache", speed(0.0)]}, {"speed": [{"kind": "attention"}, speed(1e11)]}],
    })
}

fn planned(home: &Home) -> Value {
    home.run(&["plan", "night", "--compute-device", "cpu", "--size", "64x64", "--cfg", "1", "--virtual-vram", "200KiB", "--json"]).json()
}

#[test]
fn what_a_calibration_finds_counts_at_once_and_for_the_next_daemon() {
    let mut home = Home::with_daemon();
    home.script(&finds("succeeds"));
    let lines: Vec<Value> = home.run(&CALIBRATE).ok().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let what: Vec<&str> = lines.iter().map(|l| l["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["disk", "page cache", "attention", "step"]);
    assert_eq!(
        (&lines[0]["bytes_per_second"], &lines[2]["flops_per_second"], &lines[3]["seconds"]),
        (&json!(3e9), &json!(1e11), &json!(0.25))
    );
    assert_eq!((&lines[3]["engine"], &lines[3]["precision"]), (&json!("fake engine"), &json!("fp32")));
    let plan = planned(&home);
    let predicted = &plan["predicted"];
    assert_eq!((&predicted["compute_s"], &predicted["calibrated"]), (&json!(0.25), &json!(true)));
    let rests_on = predicted["rests_on"].as_array().unwrap();
    assert!(rests_on.iter().all(|term| term["origin"] == json!("calibration") && term["age_s"].is_number()), "{rests_on:?}");
    assert_eq!((&rests_on[0]["on"], &rests_on[1]["what"]), (&json!("steps"), &json!("page cache")));
    let text = home.run(&["plan", "night", "--compute-device", "cpu", "--size", "64x64", "--cfg", "1"]).ok();
    assert!(text.contains("computing rests on") && text.contains("by a calibration") && text.contains(" ago"), "{text}");
    home.kill();
    home.start();
    assert_eq!(planned(&home)["predicted"]["compute_s"], json!(0.25));
    let table = home.run(&["calibrate", "--compute-device", "cpu"]);
    assert!(table.stderr.contains("measuring"), "{table:?}");
    assert!(table.ok().contains("100.00 GFLOP/s  weights at 3.00 GB/s"));
}

#[test]
fn once_measured_what_passes_through_is_no_memory_on_top_of_what_was_asked_for() {
    let home = Home::with_daemon();
    home.script(&finds("succeeds"));
    // Its file is fp16: only what is computed with as it is stored takes no other memory beside.
    let taken = |precision: &str| {
        let asked = ["--compute-device", "cpu", "--size", "64x64", "--cfg", "1", "--virtual-vram", "200KiB", "--precision", precision];
        let plan = home.run(&[&["plan", "night", "--json"], &asked[..]].concat()).json();
        let bytes = |value: &Value| value.as_u64().unwrap();
        (bytes(&plan["devices"][0]["held"]) + bytes(&plan["staging"]), bytes(&plan["weights"]) - (200 << 10))
    };
    let (guessed, asked) = taken("fp16");
    assert!(guessed > asked, "{guessed} of {asked}");
    for precision in ["fp16", "fp32"] {
        home.run(&[&CALIBRATE[..], &["--precision", precision]].concat()).ok();
    }
    let (measured, asked) = taken("fp16");
    assert!(measured <= asked, "{measured} of {asked}");
    let (expanded, asked) = taken("fp32");
    assert!(expanded > asked, "{expanded} of {asked}");
}

#[test]
fn what_was_measured_with_another_driver_does_not_count() {
    let (stub, mut home) = (NvmlStub::new(), Home::empty());
    home.use_gpus(&stub);
    home.start();
    let mut script = finds("succeeds");
    script["about"] = json!("libtorch 2.11.0 with CUDA 13.0, Stub RTX 0, driver 580.95.05, device 0 of 2");
    home.script(&script);
    home.run(&["calibrate", "night", "--compute-device", "cuda:0", "--json"]).ok();
    let is_calibrated = |home: &Home| {
        let plan = ["plan", "night", "--compute-device", "cuda:0", "--size", "64x64", "--cfg", "1", "--json"];
        home.run(&plan).json()["predicted"]["calibrated"].as_bool().unwrap()
    };
    assert!(is_calibrated(&home), "its engine lives");
    let again = |home: &mut Home, driver: i64| {
        home.kill();
        stub.set("99.driver", driver);
        home.start();
        is_calibrated(home)
    };
    assert_eq!((again(&mut home, 95), again(&mut home, 82), again(&mut home, 95)), (true, false, true), "no engine lives");
}

#[test]
fn a_calibration_that_does_not_end_well_leaves_nothing() {
    let home = Home::with_daemon();
    home.script(&finds("fails"));
    home.run(&CALIBRATE).refused(1, "the fake cannot measure");
    home.script(&finds("dies"));
    home.run(&CALIBRATE).refused(1, "the engine of cpu exited with status 3");
    assert_eq!(planned(&home)["predicted"]["calibrated"], json!(false));
    home.run(&["calibrate", "day", "--json"]).refused(4, "there is no model `day` in ");
    home.run(&["calibrate", "--compute-device", "cuda:7", "--json"]).refused(4, "there is no device cuda:7");
    home.run(&["calibrate", "--precision", "fp7"]).refused(2, "");
}

#[test]
fn a_client_that_leaves_has_its_calibration_stopped() {
    let home = Home::with_daemon();
    home.script(&finds("hangs"));
    let ask = || Request::Calibrate(CalibrateAsk { model: None, compute_device: Some(DeviceId::Cpu), precision: None });
    let mut first = home.talk();
    first.ask(ask());
    let mut second = home.talk();
    until_true("the engine to measure", || second.status().engines.iter().any(|e| e.state == EngineState::Busy));
    let refused = second.try_call(ask()).unwrap_err();
    assert!(refused.kind == Kind::Refused && refused.message.contains("is being calibrated already"), "{refused:?}");
    drop(first);
    home.script(&finds("succeeds"));
    // The engine has let go of it, and measures for the next who asks.
    until("the next one to be done", || second.try_call(ask()).ok());
    home.script(&json!({"step_ms": 100_000}));
    let job = second.submit(a_job());
    until("the job to run", || second.try_call(ask()).err().filter(|e| e.message.contains(&format!("job {job} is running"))));
}
