//! `cuda:N` is the same GPU to NVIDIA's library, to the daemon and to the engine, whatever the environment says.

use std::fs;

use perilune::jobs::JobState;
use perilune::placement::{OffloadAsk, Part, VirtualVram};
use perilune::units::DeviceId;
use perilune::wire::plan::PlanAsk;
use perilune::wire::{Reply, Request};
use perilune::workflow::{JobDraft, Kind, Refusal};

use crate::support::builders::a_job;
use crate::support::daemon::Home;
use crate::support::nvml_stub::NvmlStub;
use crate::support::wait::until;

/// A home with two GPUs, `cuda:0` and `cuda:1`, and what its daemon's engine sees of CUDA's variables.
fn engine_s_variables(variables: &[(&'static str, &'static str)], on: Option<DeviceId>) -> (DeviceId, Vec<String>) {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    home.use_gpus(&gpus);
    for (name, value) in variables {
        home.set(name, value);
    }
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(JobDraft { compute_device: on, ..a_job() });
    let view = talk.wait_for(job, JobState::Done);
    let pid = until("the engine to be known", || talk.status().engines.iter().find_map(|e| e.pid));
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let all = environment.split(|byte| *byte == 0).map(|v| String::from_utf8_lossy(v).into_owned());
    let mut seen: Vec<String> = all.filter(|v| v.starts_with("CUDA_")).collect();
    seen.sort();
    (view.spec.compute, seen)
}

#[test]
fn an_engine_counts_gpus_as_nvidia_s_library_does() {
    let order = "CUDA_DEVICE_ORDER=PCI_BUS_ID".to_owned();
    let check = |variables: &[(&'static str, &'static str)], on: Option<u16>, device: u16, expected: &[&String]| {
        let (ran, seen) = engine_s_variables(variables, on.map(DeviceId::Cuda));
        assert_eq!((ran, seen.iter().collect::<Vec<_>>()), (DeviceId::Cuda(device), expected.to_vec()), "{variables:?}");
    };
    check(&[], None, 0, &[&order]);
    check(&[("CUDA_DEVICE_ORDER", "FASTEST_FIRST")], None, 0, &[&order]);
    check(&[("CUDA_VISIBLE_DEVICES", "1")], None, 1, &[&order]);
    check(&[("CUDA_VISIBLE_DEVICES", "1,0")], Some(1), 1, &[&order]);
    check(&[("CUDA_VISIBLE_DEVICES", "MIG-5")], Some(0), 0, &[&order, &"CUDA_VISIBLE_DEVICES=MIG-5".to_owned()]);
}

#[test]
fn a_gpu_that_the_operator_hides_gets_no_job() {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    home.use_gpus(&gpus);
    home.set("CUDA_VISIBLE_DEVICES", "GPU-00000000-0000-0000-0000-000000000001");
    home.start();
    let mut talk = home.talk();
    let job = talk.submit(a_job());
    assert_eq!(talk.show(job).spec.compute, DeviceId::Cuda(1), "the first that is not hidden");
    let hidden = JobDraft { compute_device: Some(DeviceId::Cuda(0)), ..a_job() };
    let refusal = talk.try_call(Request::Submit(Box::new(hidden))).unwrap_err();
    let expected = "cuda:0 is hidden by CUDA_VISIBLE_DEVICES=GPU-00000000-0000-0000-0000-000000000001 in the daemon's environment";
    assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::Refused, expected));
}

#[test]
fn a_gpu_that_the_operator_hides_takes_no_weights() {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    home.use_gpus(&gpus);
    home.set("CUDA_VISIBLE_DEVICES", "0,7");
    home.start();
    let mut talk = home.talk();
    let donor = |device| OffloadAsk { virtual_vram: VirtualVram::Auto, donors: vec![device], ..OffloadAsk::default() };
    let hidden = donor(DeviceId::Cuda(1));
    let listed = OffloadAsk { expert: Some("cuda:1,1KiB;cpu,*".parse().unwrap()), ..OffloadAsk::default() };
    let pinned = OffloadAsk { pins: "cuda:1,1".parse().unwrap(), ..OffloadAsk::default() };
    let drafts = [hidden.clone(), listed, pinned].map(|offload| JobDraft { offload, ..a_job() });
    let of_a_part = JobDraft { parts: [(Part::Vae, hidden)].into_iter().collect(), ..a_job() };
    let computes = JobDraft { compute_device: Some(DeviceId::Cuda(1)), ..a_job() };
    let refused = |refusal: Refusal, of: &JobDraft| {
        let expected = "cuda:1 is hidden by CUDA_VISIBLE_DEVICES=0,7 in the daemon's environment";
        assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::Refused, expected), "{of:?}");
    };
    for draft in drafts.into_iter().chain([of_a_part, computes]) {
        refused(talk.try_call(Request::Submit(Box::new(draft.clone()))).unwrap_err(), &draft);
        refused(talk.try_call(Request::Plan(Box::new(PlanAsk { draft: draft.clone(), sweep: None }))).unwrap_err(), &draft);
    }
    let away = JobDraft { offload: donor(DeviceId::Cuda(7)), ..a_job() };
    let refusal = talk.try_call(Request::Submit(Box::new(away))).unwrap_err();
    assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::NotFound, "there is no device cuda:7"));

    let job = talk.submit(JobDraft { held: true, offload: donor(DeviceId::Cpu), ..a_job() });
    let asked = donor(DeviceId::Cuda(1));
    refused(talk.try_call(Request::Rebudget { job, ask: asked }).unwrap_err(), &a_job());
    // Nor does a tuner hear of it, whatever is asked now.
    let ask = PlanAsk { draft: JobDraft { offload: donor(DeviceId::Cuda(1)), ..a_job() }, sweep: None };
    let Reply::Tune(told) = talk.call(Request::Tune(Box::new(ask))) else { panic!() };
    let rooms: Vec<DeviceId> = told.machine.rooms.iter().map(|room| room.device).collect();
    assert!(rooms.contains(&DeviceId::Cuda(0)) && !rooms.contains(&DeviceId::Cuda(1)), "{rooms:?}");
}

#[test]
fn doctor_says_what_the_variable_means_here() {
    let mut home = Home::empty();
    let gpus = NvmlStub::new();
    home.use_gpus(&gpus);
    let mut found = |value: Option<&'static str>| {
        if let Some(value) = value {
            home.set("CUDA_VISIBLE_DEVICES", value);
        }
        let report: serde_json::Value = serde_json::from_str(&home.run(&["doctor", "--json"]).stdout).unwrap();
        let check = report["checks"].as_array().unwrap().iter().find(|c| c["id"] == "visible-gpus").cloned();
        check.map(|c| format!("{} {}", c["state"].as_str().unwrap(), c["text"].as_str().unwrap()))
    };
    assert_eq!(found(None), None);
    assert_eq!(found(Some("0,1")), None, "it changes nothing");
    assert_eq!(
        found(Some("1")).as_deref(),
        Some("warn CUDA_VISIBLE_DEVICES=1 hides cuda:0; cuda:N still counts all GPUs as nvidia-smi does")
    );
    assert_eq!(
        found(Some("")).as_deref(),
        Some(
            "warn CUDA_VISIBLE_DEVICES= hides cuda:0, cuda:1, so jobs run on the processor; cuda:N still counts all GPUs as nvidia-smi does"
        )
    );
    assert_eq!(
        found(Some("1,0")).as_deref(),
        Some("ok CUDA_VISIBLE_DEVICES=1,0 hides no GPU; its order is not followed: cuda:N counts as nvidia-smi does")
    );
}
