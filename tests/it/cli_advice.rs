//! `perilune models inspect`: the precisions that it suggests for this box.

use std::time::{Duration, Instant};

use perilune::units::DeviceId;
use perilune::wire::{Reply, Request};
use perilune::workflow::Kind;
use serde_json::Value;

use crate::support::daemon::Home;
use crate::support::nvml_stub::NvmlStub;
use crate::support::wait::until;

/// The precisions that are suggested for a device, in order.
fn suggested(advice: &Value, device: &str) -> Vec<String> {
    let rows = advice.as_array().unwrap().iter().filter(|row| row["device"] == device);
    rows.map(|row| row["to"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_daemon_the_processor_is_advised_about_and_none_is_started() {
    let home = Home::empty();
    let shown = home.run(&["models", "inspect", "moonlet", "--json"]).json();
    assert_eq!(suggested(&shown["advice"], "cpu")[..2], ["bf16", "fp16"]);
    assert!(shown["advice"].as_array().unwrap().iter().all(|row| row["device"] == "cpu"));
    assert!(!home.socket().exists());
    let text = home.run(&["models", "inspect", "moonlet"]).ok();
    assert!(text.contains("as it is stored: nothing is lost"), "{text}");
}

#[test]
fn each_gpu_of_a_running_daemon_gets_what_it_knows() {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    gpus.set("1.cc", 86);
    home.use_gpus(&gpus);
    home.start();
    let patience = Instant::now() + Duration::from_secs(30);
    let advice = loop {
        let advice = home.run(&["models", "inspect", "moonlet", "--json"]).json()["advice"].take();
        if !suggested(&advice, "cuda:1").is_empty() || Instant::now() > patience {
            break advice;
        }
    };
    assert_eq!(suggested(&advice, "cuda:0")[..2], ["fp16", "fp8_e4m3fn_scaled"]);
    assert_eq!(suggested(&advice, "cuda:1")[..3], ["fp16", "Q8_0", "fp8_e5m2"]);
    for row in advice.as_array().unwrap() {
        assert!(row["bytes"].as_u64().unwrap() < row["needed"].as_u64().unwrap() && row["fits"] == true, "{row}");
        assert!(row["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{row}");
    }
}

#[test]
fn what_has_no_network_gets_no_advice() {
    let home = Home::empty();
    let path = crate::support::weights_file::write(
        home.path(),
        "vae.safetensors",
        &crate::support::weights_file::zeros(&crate::support::weights_file::tiny_vae(), ""),
    );
    assert_eq!(home.run(&["models", "inspect", &path.display().to_string(), "--json"]).json()["advice"], serde_json::json!([]));
}

#[test]
fn a_client_is_advised_as_the_command_is() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let advice = until("readings of a device", || match talk.call(Request::Advise("moonlet".to_owned())) {
        Reply::Advice(advice) => Some(advice).filter(|a| !a.is_empty()),
        other => panic!("{other:?}"),
    });
    let of_cpu: Vec<&str> = advice.iter().filter(|s| s.device == DeviceId::Cpu).map(|s| s.to.as_str()).collect();
    let shown = home.run(&["models", "inspect", "moonlet", "--json"]).json();
    assert_eq!(of_cpu, suggested(&shown["advice"], "cpu"));
    assert_eq!(talk.try_call(Request::Advise("nothing".to_owned())).unwrap_err().kind, Kind::NotFound);
}
