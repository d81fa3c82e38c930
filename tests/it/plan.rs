//! Plans of models: what a run would do, asked of a real daemon.

use perilune::jobs::JobState;
use perilune::placement::{OffloadAsk, Origin, Similar, propose};
use perilune::units::{Bytes, DeviceId};
use perilune::wire::plan::{Ground, PlanAsk, PlanView};
use perilune::wire::{Reply, Request};
use perilune::workflow::{JobDraft, Kind};
use serde_json::{Value, json};

use crate::support::builders::a_job;
use crate::support::daemon::{Home, finish};
use crate::support::talk::Talk;
use crate::support::weights_file::{tiny_unet, under, write, zeros};

fn streaming(virtual_vram: &str) -> JobDraft {
    let offload = OffloadAsk { virtual_vram: virtual_vram.parse().unwrap(), ..OffloadAsk::default() };
    JobDraft { offload, compute_device: Some(DeviceId::Cpu), ..a_job() }
}

#[track_caller]
fn plan(talk: &mut Talk, draft: JobDraft) -> PlanView {
    match talk.call(Request::Plan(Box::new(PlanAsk { draft, sweep: None }))) {
        Reply::Plan(view) => *view,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tuner_works_out_the_same_plan_by_itself() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    // What is asked now does not matter, even where it cannot be had.
    let ask = PlanAsk { draft: streaming("999TiB"), sweep: None };
    let Reply::Tune(told) = talk.call(Request::Tune(Box::new(ask))) else { panic!() };
    assert!(told.active.is_none() && told.held.is_empty() && told.blocks.len() == told.network.units.len());
    for amount in ["0", "100KiB", "200KiB", "999GiB"] {
        let draft = streaming(amount);
        let here = propose(&draft.offload, told.compute, &told.network, &told.machine).unwrap();
        let there = plan(&mut talk, draft);
        let homes: Vec<DeviceId> = there.blocks.iter().map(|b| b.device).collect();
        assert_eq!((here.plan.homes, here.staging), (homes, there.staging), "{amount}");
        assert!((here.predicted.step_s - there.predicted.step_s).abs() < 1e-12, "{amount}");
    }
    let nothing = PlanAsk { draft: JobDraft { model: "day".to_owned(), ..a_job() }, sweep: None };
    assert_eq!(talk.try_call(Request::Tune(Box::new(nothing))).unwrap_err().kind, Kind::NotFound);
}

/// What a fake run finds out, and what it expected.
fn finds(walk_s: f64, calibrated: bool) -> Value {
    json!({
        "walk_s": walk_s,
        "learned": [{"speed": ["page_cache", {"flops": 0.0, "bytes_per_second": 1e9, "measured": true}]}],
        "predicted": {
            "step_s": 0.012, "first_step_s": 0.012, "compute_s": 0.012, "lower_s": 0.012, "upper_s": 0.012,
            "streamed": 0, "links": [], "calibrated": calibrated,
        },
    })
}

#[test]
fn every_block_has_a_place_and_the_sums_are_exact() {
    let home = Home::with_daemon();
    let mut talk = home.talk();
    let all_here = plan(&mut talk, streaming("0"));
    assert!(all_here.blocks.iter().all(|b| b.device == DeviceId::Cpu) && all_here.staging == Bytes::ZERO, "{all_here:?}");
    let half = Bytes(all_here.weights.get() / 2);
    let view = plan(&mut talk, streaming(&format!("{}b", half.get())));
    assert_eq!((view.weights, view.stored), (all_here.weights, Bytes(all_here.weights.get() / 2)), "fp16 is computed in fp32");
    assert_eq!(view.blocks.iter().map(|b| b.bytes).sum::<Bytes>(), view.weights);
    let [cpu, disk] = view.devices.as_slice() else { panic!("{:?}", view.devices) };
    assert_eq!((cpu.id, disk.id, cpu.bytes + disk.bytes), (DeviceId::Cpu, DeviceId::Disk, view.weights));
    assert!(disk.bytes >= half && (cpu.share + disk.share - 1.0).abs() < 1e-9, "{view:?}");
    assert_eq!((disk.free_after, cpu.free_after.is_some()), (None, true), "nothing is written to the disk");
    assert_eq!(view.streamed_bytes_per_step, disk.held);
    assert!(view.predicted.lower_s <= view.predicted.step_s && view.predicted.step_s <= view.predicted.upper_s);
    // Heun looks twice in a step, and so do two passes of guidance that are run apart.
    let draft = JobDraft { sampler: "heun".parse().ok(), passes: "apart".parse().ok(), ..streaming(&format!("{}b", half.get())) };
    let four = plan(&mut talk, draft);
    let held = four.devices.iter().find(|d| d.id == DeviceId::Disk).unwrap().held;
    assert_eq!(four.streamed_bytes_per_step.get(), 4 * held.get());
    assert_eq!(talk.listed(), [""; 0], "a plan is no job");
}

#[test]
fn what_a_plan_looks_like_to_programs() {
    let home = Home::with_daemon();
    let arguments = ["plan", "night", "--compute-device", "cpu", "--size", "64x64", "--virtual-vram", "200KiB", "--sweep", "3", "--json"];
    let mut value = home.run(&arguments).json();
    for device in value["devices"].as_array_mut().unwrap() {
        for name in ["total", "free_after"].iter().filter(|name| !device[**name].is_null()).collect::<Vec<_>>() {
            device[*name] = json!("[redacted]");
        }
    }
    insta::with_settings!({snapshot_path => "../snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("plan", serde_json::to_string_pretty(&value).unwrap());
    });
}

#[test]
fn a_plan_in_words() {
    let home = Home::with_daemon();
    let done = home.run(&["plan", "night", "--compute-device", "cpu", "--size", "64x64", "--virtual-vram", "200KiB", "--sweep", "5"]);
    assert!(
        done.stderr.contains("warning: the speed of cpu and disk is assumed, not measured: a run measures it, or `perilune calibrate`"),
        "{done:?}"
    );
    insta::with_settings!({
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        filters => vec![(r"(?m)^(cpu +[0-9.]+ KiB +[0-9.]+ %) .*$", "$1  [free]")],
    }, {
        insta::assert_snapshot!("plan_text", done.ok());
    });
}

#[test]
fn parts_that_are_asked_for_are_planned_each_by_itself() {
    let home = Home::with_daemon();
    let flags =
        ["--compute-device", "cpu", "--size", "64x64", "--virtual-vram", "clip=1GiB", "--expert-mode-allocations", "vae=cpu,50%;disk,*"];
    let view = home.run(&[&["plan", "night", "--json"], &flags[..]].concat()).json();
    let parts = view["parts"].as_array().unwrap();
    assert_eq!(parts.iter().map(|p| p["role"].as_str().unwrap()).collect::<Vec<_>>(), ["clip_l", "vae"]);
    assert_eq!((&parts[0]["allocation"], &parts[1]["allocation"]), (&json!("#cpu;1GiB;disk"), &json!("cpu,50%;disk,*#cpu")));
    for part in parts {
        let bytes = |rows: &str| part[rows].as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).sum::<u64>();
        assert_eq!((bytes("blocks"), bytes("devices")), (part["weights"].as_u64().unwrap(), part["weights"].as_u64().unwrap()), "{part}");
        let disk = part["devices"].as_array().unwrap().iter().find(|d| d["id"] == "disk").unwrap();
        assert!(disk["held"].as_u64() > Some(0) && disk["held"] == part["streamed_bytes_per_use"], "{part}");
    }
    let layers =
        |part: &Value| part["layers"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let encoder = ["Embedding", "LayerNorm", "Linear"];
    assert_eq!(
        (layers(&parts[0]), layers(&parts[1])),
        (encoder.map(String::from).to_vec(), vec!["Conv2d".to_owned(), "GroupNorm".to_owned()])
    );
    assert!(view["devices"].as_array().unwrap().len() == 1, "nothing was asked of the diffusion network: {view}");
    let text = home.run(&[&["plan", "night"], &flags[..]].concat()).ok();
    assert!(text.contains("clip_l · #cpu;1GiB;disk · ") && text.contains("vae · cpu,50%;disk,*#cpu · "), "{text}");
    let tables = home.run(&[&["plan", "night", "--tables"], &flags[..]].concat()).ok();
    assert_eq!(tables.matches("Final Allocation String").count(), 3, "{tables}");
    home.run(&["plan", "night", "--compute-device", "cpu", "--virtual-vram", "t5=1GiB"])
        .refused(2, "weights of t5 are to live elsewhere, but `night` has no such part");
    home.run(&["queue", "rebudget", "1", "--virtual-vram", "vae=1MiB"]).refused(2, "weights of vae cannot move between two steps");
}

#[test]
fn pins_are_printed_back_beside_what_was_asked() {
    let home = Home::with_daemon();
    let flags = ["--compute-device", "cpu", "--pin-blocks", "disk,2+1", "--pin-blocks", "vae=disk,1"];
    let view = home.run(&[&["plan", "night", "--json"], &flags[..]].concat()).json();
    assert_eq!((&view["allocation"], &view["pins"]), (&json!("#cpu"), &json!("disk,1-2")));
    assert_eq!((&view["parts"][0]["allocation"], &view["parts"][0]["pins"]), (&json!("#cpu"), &json!("disk,1")));
    // What is printed makes the same plan again.
    let again = ["--expert-mode-allocations", "#cpu", "--pin-blocks", view["pins"].as_str().unwrap(), "--pin-blocks", "vae=disk,1"];
    assert_eq!(home.run(&[&["plan", "night", "--json"], &again[..]].concat()).json()["blocks"], view["blocks"]);
    let text = home.run(&[&["plan", "night"], &flags[..]].concat()).ok();
    assert!(text.contains(" · #cpu · pinned disk,1-2 · ") && text.contains("vae · #cpu · pinned disk,1 · "), "{text}");
    assert_eq!(home.run(&["plan", "night", "--json"]).json()["pins"], json!(""), "nothing is pinned");
}

#[test]
fn the_tables_of_the_original_under_our_plan() {
    let home = Home::with_daemon();
    let done = home.run(&["plan", "night", "--compute-device", "cpu", "--virtual-vram", "200KiB", "--tables"]);
    insta::with_settings!({
        snapshot_path => "../snapshots",
        prepend_module_to_snapshot => false,
        // The memory of the machine that runs the tests.
        filters => vec![
            (r"(?m)^(cpu +recip) .* (\+.*)$", "$1  [memory] $2"),
            (r"(?m)^(cpu) +[0-9.]+ +[0-9.]+% +(0\.00 +[0-9.]+%)$", "$1  [memory] $2"),
        ],
    }, {
        insta::assert_snapshot!("plan_tables", done.ok());
    });
}

#[test]
fn each_mistake_has_its_exit_code() {
    let home = Home::with_daemon();
    write(home.path(), "models/checkpoints/cut.safetensors", b"\x10\0\0");
    write(home.path(), "models/unet/bare.safetensors", &zeros(&under("model.diffusion_model.", tiny_unet()), ""));
    let check = |arguments: &[&str], code: i32, message: &str| home.run(&[&["plan"], arguments].concat()).refused(code, message);
    check(&["day"], 4, "there is no model `day` in ");
    check(&["cut"], 6, &format!("{}/models/checkpoints/cut.safetensors: ", home.path().display()));
    check(&["bare"], 4, "`bare` brings no clip_l and vae, which SD1.5 needs");
    check(&["night", "--compute-device", "cuda:0"], 4, "there is no device cuda:0 here");
    check(&["night", "--compute-device", "cuda:0", "--virtual-vram", "1GiB"], 4, "there is no device cuda:0 here");
    check(
        &["night", "--compute-device", "cpu", "--virtual-vram", "1GiB", "--donor-device", "cuda:0"],
        5,
        "weights cannot be streamed to cpu from cuda:0",
    );
    check(&["night", "--expert-mode-allocations", "cpu,1kb;disk,1kb"], 5, "");
    check(
        &["night", "--virtual-vram", "1GiB", "--donor-device", "cpu", "--compute-device", "cpu"],
        2,
        "cpu computes, so it cannot be a donor",
    );
    check(&["night", "--cfg", "NaN"], 2, "--cfg NaN is out of range");
    check(&["night", "--sweep", "1"], 2, "--sweep 1 is out of range");
    check(&["night", "--compat", "distorch2"], 2, "--compat is about blocks in a file");
    check(&["night", "--tables", "--json"], 2, "--tables are text");
    check(&["night", "--blocks", "x.json"], 2, "");
    let mut talk = home.talk();
    let ask = PlanAsk { draft: JobDraft { model: "day".to_owned(), ..a_job() }, sweep: None };
    assert_eq!(talk.try_call(Request::Plan(Box::new(ask))).unwrap_err().kind, Kind::NotFound);
    let alone = Home::empty();
    alone.run(&["plan", "night"]).refused(3, "no daemon runs");
}

#[test]
fn where_nothing_is_asked_the_processor_begins_however_little_is_free() {
    let home = Home::empty();
    std::fs::create_dir(home.path().join("profiles")).unwrap();
    std::fs::write(home.path().join("profiles/full.yaml"), "floors: {cpu: 1TiB}\n").unwrap();
    finish(home.command(&["status", "--profile", "full"])).ok();
    let plan = ["plan", "night", "--compute-device", "cpu", "--json"];
    let view = home.run(&plan).json();
    let told: Vec<&str> = view["warnings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(told.iter().any(|line| line.contains("stay on cpu, which has room for 0 B: a run begins")), "{told:?}");
    assert!(view["blocks"].as_array().unwrap().iter().all(|block| block["device"] == "cpu"));
    home.run(&[&plan[..], &["--virtual-vram", "100KiB"]].concat()).refused(5, "");
}

#[test]
fn what_runs_have_shown_is_remembered() {
    let mut home = Home::with_daemon();
    let mut talk = home.talk();
    let before = plan(&mut talk, streaming("200KiB"));
    assert!(!before.predicted.calibrated && before.predicted.history.is_none());
    home.script(&finds(0.012, false));
    let job = talk.submit(streaming("200KiB"));
    talk.wait_for(job, JobState::Done);
    let first = plan(&mut talk, streaming("200KiB"));
    assert!((first.predicted.compute_s - 0.012).abs() < 1e-9, "{first:?}");
    assert!(first.predicted.calibrated && first.warnings.iter().all(|w| !w.contains("assumed")), "{first:?}");
    assert_eq!(first.predicted.history, None, "no forecast rested on a measurement yet");
    home.script(&finds(0.006, true));
    let job = talk.submit(streaming("200KiB"));
    talk.wait_for(job, JobState::Done);
    let second = plan(&mut talk, streaming("200KiB"));
    assert!((second.predicted.compute_s * 2.0 - first.predicted.compute_s).abs() < 1e-9, "{second:?}");
    let history = second.predicted.history.unwrap();
    assert!(history.runs == 1 && (history.median_error - 0.2).abs() < 1e-9 && history.of == Similar::Size, "{history:?}");
    let far = plan(&mut talk, JobDraft { size: "512x512".parse().ok(), ..streaming("200KiB") });
    assert_eq!(far.predicted.history.unwrap().of, Similar::Network);
    assert!(!far.predicted.calibrated && far.warnings.iter().any(|w| w.contains("at this size")), "{:?}", far.warnings);
    let [computing, disk] = second.predicted.rests_on.as_slice() else { panic!("{:?}", second.predicted.rests_on) };
    assert_eq!((computing.on, disk.what.as_str(), disk.on), (Ground::Steps, "page cache", Ground::Link));
    assert!(computing.age_s.unwrap() < 60.0 && disk.origin == Some(Origin::Run), "{computing:?}");
    let other = plan(&mut talk, JobDraft { precision: "bf16".parse().ok(), ..streaming("200KiB") });
    assert!(!other.predicted.calibrated, "another precision has its own speed");
    drop(talk);
    home.kill();
    home.start();
    let later = plan(&mut home.talk(), streaming("200KiB")).predicted;
    assert_eq!((later.step_s, later.history), (second.predicted.step_s, second.predicted.history), "also by the next daemon");
}
