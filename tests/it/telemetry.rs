//! The sources of readings against a stand-in for the NVIDIA library and a made-up sysfs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use perilune::devices::{DeviceReading, GpuProblem, Health};
use perilune::telemetry::{AmdProbe, Ask, NvidiaProbe, Probe, Sample};
use perilune::units::{Bytes, DeviceId, Timestamp};
use serde_json::{Value, json};

use crate::support::nvml_stub::{GPU_LOST, GPU_NOT_FOUND, NOT_SUPPORTED, NvmlStub, UNKNOWN};

/// Later than the start of every process of this machine, for processes are told apart by age.
const START: Timestamp = Timestamp(4_000_000_000_000);

/// A probe of a stub with a clock and a sysfs of its own.
struct Bench {
    stub: NvmlStub,
    sys: tempfile::TempDir,
    probe: NvidiaProbe,
    now: Timestamp,
    ask: Ask,
}

impl Bench {
    fn new() -> Self {
        let stub = NvmlStub::new();
        let sys = tempfile::tempdir().unwrap();
        let probe = NvidiaProbe::new(Some(stub.library()), sys.path().to_owned());
        Self { stub, sys, probe, now: START, ask: Ask::default() }
    }

    fn with(settings: &[(&str, i64)]) -> Self {
        let bench = Self::new();
        for (key, value) in settings {
            bench.stub.set(key, *value);
        }
        bench
    }

    fn read(&mut self) -> Sample {
        self.probe.read(self.now, &self.ask)
    }

    /// Reads again, `seconds` later.
    fn after(&mut self, seconds: u64) -> Sample {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.read()
    }

    /// Puts a GPU onto the bus.
    fn plug(&self, bus: u8, power: &str) {
        let folder = self.sys.path().join(format!("bus/pci/devices/0000:{bus:02x}:00.0"));
        file(&folder, "vendor", "0x10de");
        file(&folder, "class", "0x030000");
        file(&folder, "power/runtime_status", power);
    }
}

fn file(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{text}\n")).unwrap();
}

fn json(reading: &DeviceReading) -> Value {
    serde_json::to_value(reading).unwrap()
}

/// What a process of this machine that holds no GPU is taken for: in a container its id proves nothing.
fn stranger() -> &'static str {
    let first = fs::read_link("/proc/self/ns/pid").is_ok_and(|ns| ns == Path::new("pid:[4026531836]"));
    if first { "foreign" } else { "other pid ns" }
}

/// Every value that is absent is `null` in JSON and has a reason.
fn check_reasons(sample: &Sample) {
    for device in &sample.devices {
        let json = json(device);
        for name in device.absent() {
            assert!(name.split('.').fold(&json, |at, key| &at[key]).is_null());
            assert!(json["why"][name].is_string(), "{} of {} is absent without a reason", name, device.id);
        }
    }
}

#[test]
fn healthy_gpus_tell_everything() {
    let mut bench = Bench::new();
    let sample = bench.read();
    check_reasons(&sample);
    assert_eq!(sample.devices.len(), 2);
    let gpu = json(&sample.devices[0]);
    assert_eq!(
        gpu,
        json!({
            "id": "cuda:0", "kind": "cuda", "name": "Stub RTX 0", "uuid": "GPU-00000000-0000-0000-0000-000000000000",
            "pci": "0000:01:00.0", "capability": "8.9", "parent": null, "source": "nvml",
            "memory": {"total": 24_u64 << 30, "used": 1_u64 << 30, "free": (23_u64 << 30) - (300 << 20)}, "floor": null,
            "utilization": 0.42, "temperature_c": 61.0, "power_w": 312.5, "power_limit_w": 450.0, "fan": 0.44,
            "clocks": {"sm_mhz": 2520, "mem_mhz": 10501},
            "pcie": {"rx_bps": null, "tx_bps": null, "generation": 4, "width": 16},
            "extras": {
                "performance_state": 2, "throttle": ["power cap"], "sm_max_mhz": 3105, "mem_max_mhz": 10501, "slowdown_c": 90.0,
                "pcie_max_generation": 5, "pcie_max_width": 16, "ecc": {"enabled": true, "corrected": 7, "uncorrected": 0},
                "xid": null,
            },
            "processes": [], "held": [], "activations": null, "mig": false, "simulated": false,
            "health": {"state": "ok"}, "error": null,
            "why": {
                "pcie.rx_bps": "measured only while somebody looks at it",
                "pcie.tx_bps": "measured only while somebody looks at it",
                "extras.xid": "nobody listens for its faults yet",
            },
            "age_s": 0.0, "stale": false,
        })
    );
    assert_eq!((sample.host.driver.as_deref(), sample.host.cuda.as_deref()), (Some("580.95.05"), Some("13.0")));
    assert_eq!(sample.host.gpu_problem, None);
}

#[test]
fn cuda_numbers_follow_the_bus_not_the_library() {
    let mut bench = Bench::with(&[("0.bus", 0x41), ("1.bus", 0x02)]);
    let told: Vec<_> = bench.read().devices.iter().map(|d| (d.id.to_string(), d.name.clone().unwrap())).collect();
    assert_eq!(told, [("cuda:0".to_owned(), "Stub RTX 1".to_owned()), ("cuda:1".to_owned(), "Stub RTX 0".to_owned())]);
}

/// Reads once from a driver that does not start and returns what is told.
fn problem(bench: &mut Bench) -> GpuProblem {
    let sample = bench.read();
    assert!(sample.devices.is_empty());
    sample.host.gpu_problem.unwrap()
}

#[test]
fn a_driver_mismatch_names_the_versions_and_heals_without_a_restart() {
    let mut bench = Bench::with(&[("99.init", 18)]);
    bench.plug(1, "active");
    file(&bench.sys.path().join("module/nvidia"), "version", "580.95.05");
    let told = problem(&mut bench);
    assert!(told.cause.contains("580.95.05"), "{told:?}");
    assert!(told.hint.contains("reboot"), "{told:?}");

    bench.stub.unset("99.init");
    assert!(bench.after(29).devices.is_empty(), "the driver is not hammered");
    let sample = bench.after(1);
    assert_eq!((sample.devices.len(), sample.host.gpu_problem), (2, None));
}

#[test]
fn a_driver_that_is_not_loaded_is_named() {
    let mut bench = Bench::with(&[("99.init", 9)]);
    bench.plug(1, "active");
    let told = problem(&mut bench);
    assert_eq!(told.cause, "the NVIDIA driver is not loaded");
    assert!(told.hint.contains("modprobe"));
}

#[test]
fn a_driver_that_refuses_this_user_is_named() {
    let told = problem(&mut Bench::with(&[("99.init", 4)]));
    assert!(told.cause.contains("may not talk") && told.hint.contains("/dev/nvidiactl"), "{told:?}");
}

#[test]
fn a_missing_library_is_named_and_found_when_it_appears() {
    let bench = Bench::new();
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libnvidia-ml.so.1");
    let mut probe = NvidiaProbe::new(Some(library.clone()), bench.sys.path().to_owned());
    let told = probe.read(START, &Ask::default()).host.gpu_problem.unwrap();
    assert!(told.cause.contains(library.to_str().unwrap()) && told.hint.contains("PERILUNE_NVML"), "{told:?}");
    fs::copy(bench.stub.library(), &library).unwrap();
    let sample = probe.read(START.plus(Duration::from_secs(30)), &Ask::default());
    assert_eq!((sample.devices.len(), sample.host.gpu_problem), (2, None));
}

#[test]
fn a_driver_without_gpus_is_no_success() {
    let told = problem(&mut Bench::with(&[("99.count", 0)]));
    assert!(told.cause.contains("580.95.05") && told.cause.contains("finds no GPU"), "{told:?}");
}

#[test]
fn a_gpu_is_lost_mid_run_keeps_its_last_values_and_comes_back() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.set("0.err", GPU_LOST);
    bench.stub.set("0.handle", GPU_LOST);
    let sample = bench.after(1);
    let gone = json(&sample.devices[0]);
    assert_eq!(gone["health"], json!({"state": "lost", "reason": "it fell off the bus", "for_s": 1.0}));
    assert_eq!(gone["error"], "it fell off the bus");
    assert_eq!((&gone["memory"]["used"], &gone["temperature_c"], &gone["age_s"]), (&json!(1_u64 << 30), &json!(61.0), &json!(1.0)));
    assert_eq!(sample.devices[1].health, Health::Ok, "the other one is well");

    bench.stub.unset("0.err");
    bench.stub.unset("0.handle");
    bench.stub.set("0.temp", 35);
    let still = json(&bench.after(29).devices[0]);
    assert_eq!((&still["health"]["for_s"], &still["temperature_c"], &still["age_s"]), (&json!(30.0), &json!(61.0), &json!(30.0)));
    let back = json(&bench.after(1).devices[0]);
    assert_eq!((&back["health"], &back["temperature_c"]), (&json!({"state": "ok"}), &json!(35.0)));
    assert_eq!((&back["id"], &back["error"], &back["age_s"]), (&json!("cuda:0"), &Value::Null, &json!(0.0)));
}

#[test]
fn a_lost_gpu_that_the_driver_forgets_stays_lost() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.set("1.err", GPU_LOST);
    bench.after(1);
    bench.stub.set("99.count", 1);
    let gone = json(&bench.after(30).devices[1]);
    assert_eq!(gone["health"], json!({"state": "lost", "reason": "the driver does not list it any more", "for_s": 31.0}));
    assert_eq!(gone["temperature_c"], 61.0);
}

#[test]
fn a_driver_exchanged_under_us_is_opened_again() {
    let mut bench = Bench::new();
    let module = bench.sys.path().join("module/nvidia");
    file(&module, "version", "580.95.05");
    bench.read();
    bench.stub.note_calls();
    bench.after(30);
    assert_eq!(bench.stub.calls().iter().filter(|call| call.starts_with("99 ")).count(), 0);
    file(&module, "version", "580.99.05");
    let sample = bench.after(30);
    assert!(sample.devices.iter().all(|d| d.health == Health::Ok));
    assert_eq!(bench.stub.calls().iter().filter(|call| call.starts_with("99 ")).collect::<Vec<_>>(), ["99 shutdown", "99 init"]);
}

#[test]
fn code_28_means_lost_too() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.set("1.err", GPU_NOT_FOUND);
    let gone = json(&bench.after(1).devices[1]);
    assert_eq!(gone["health"]["state"], "lost");
    assert!(gone["error"].as_str().unwrap().contains("code 28"), "{gone}");
}

#[test]
fn unknown_errors_degrade_and_three_in_a_row_lose() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.set("0.err", UNKNOWN);
    for misses in 1..=2 {
        let gpu = json(&bench.after(1).devices[0]);
        assert_eq!(gpu["health"], json!({"state": "degraded", "misses": misses}));
        assert_eq!((&gpu["temperature_c"], &gpu["age_s"]), (&json!(61.0), &json!(f64::from(misses))));
    }
    assert_eq!(json(&bench.after(1).devices[0])["health"]["state"], "lost");
}

#[test]
fn one_metric_that_always_fails_loses_nothing() {
    let mut bench = Bench::with(&[("0.ret.fan", UNKNOWN)]);
    for _ in 0..5 {
        bench.after(1);
    }
    let gpu = json(&bench.after(1).devices[0]);
    assert_eq!(gpu["health"], json!({"state": "degraded", "misses": 6}));
    assert_eq!((&gpu["fan"], &gpu["temperature_c"]), (&Value::Null, &json!(61.0)));
}

#[test]
fn a_refused_metric_is_absent_with_its_reason_and_no_illness() {
    let mut bench = Bench::with(&[("0.ret.power", NOT_SUPPORTED), ("0.fans", 0), ("0.ret.memory", NOT_SUPPORTED), ("1.total_mib", 0)]);
    let sample = bench.read();
    check_reasons(&sample);
    let gpu = json(&sample.devices[0]);
    assert_eq!((&gpu["power_w"], &gpu["fan"], &gpu["memory"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(gpu["why"]["power_w"], "not supported by this device");
    assert_eq!(gpu["why"]["fan"], "has no fan");
    assert_eq!(gpu["health"], json!({"state": "ok"}));
    assert!(sample.devices[1].memory.is_none(), "a total of 0 is no memory");
    assert!(sample.devices[1].why["memory"].contains("shares the host's"));
}

#[test]
fn a_gpu_that_may_not_be_read_is_listed_and_not_counted_by_cuda() {
    let mut bench = Bench::with(&[("0.handle", 4)]);
    let sample = bench.read();
    check_reasons(&sample);
    let told: Vec<_> = sample.devices.iter().map(|d| (d.id.to_string(), d.error.clone())).collect();
    assert_eq!(told, [("cuda:0".to_owned(), None), ("cuda:1".to_owned(), Some("this user may not read it".to_owned()))]);
    assert_eq!(sample.devices[0].name.as_deref(), Some("Stub RTX 1"));
}

#[test]
fn a_driver_that_goes_away_is_opened_again() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.set("99.sys", 9);
    bench.stub.set("99.init", 9);
    let sample = bench.after(60);
    assert_eq!(json(&sample.devices[0])["health"]["state"], "lost");
    assert_eq!(sample.host.gpu_problem.unwrap().cause, "the NVIDIA driver is not loaded");
    bench.stub.unset("99.sys");
    bench.stub.unset("99.init");
    bench.stub.set("99.driver", 99);
    let sample = bench.after(30);
    assert_eq!((&sample.devices[0].health, sample.host.gpu_problem), (&Health::Ok, None));
    assert_eq!(sample.host.driver.as_deref(), Some("580.99.05"));
}

#[test]
fn when_every_gpu_is_lost_the_driver_is_opened_again() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.note_calls();
    for gpu in [0, 1] {
        bench.stub.set(&format!("{gpu}.err"), GPU_LOST);
    }
    bench.after(1);
    assert!(!bench.stub.calls().contains(&"99 init".to_owned()));
    bench.after(30);
    assert_eq!(bench.stub.calls().iter().filter(|call| *call == "99 init").count(), 1);
    for gpu in [0, 1] {
        bench.stub.unset(&format!("{gpu}.err"));
    }
    let sample = bench.after(30);
    assert!(sample.devices.iter().all(|d| d.health == Health::Ok), "{:?}", sample.devices);
    let ids: Vec<_> = sample.devices.iter().map(|d| d.id).collect();
    assert_eq!(ids, [DeviceId::Cuda(0), DeviceId::Cuda(1)]);
}

#[test]
fn a_split_gpu_shows_its_slices_and_says_what_it_cannot_measure() {
    let me = i64::from(std::process::id());
    let mut bench = Bench::with(&[
        ("0.migcap", 1),
        ("0.mig", 1),
        ("0.slice0", 1),
        ("0.slice2", 1),
        ("16.used_mib", 100),
        ("18.nproc", 1),
        ("18.pid0", me),
        ("1.migcap", 1),
    ]);
    let sample = bench.read();
    check_reasons(&sample);
    let told: Vec<_> = sample.devices.iter().map(|d| (d.id.to_string(), d.mig, d.parent)).collect();
    let parent = Some(DeviceId::Cuda(0));
    assert_eq!(
        told,
        [
            ("cuda:0".to_owned(), true, None),
            ("cuda:2".to_owned(), false, parent),
            ("cuda:3".to_owned(), false, parent),
            ("cuda:1".to_owned(), false, None)
        ]
    );
    let split = json(&sample.devices[0]);
    assert_eq!((&split["utilization"], &split["power_w"]), (&Value::Null, &json!(312.5)));
    assert!(split["why"]["utilization"].as_str().unwrap().contains("MIG"));
    assert!(split["why"]["processes"].is_string());
    let slice = json(&sample.devices[1]);
    assert_eq!(slice["uuid"], "MIG-00000000-0000-0000-0000-000000000016");
    assert_eq!(slice["memory"]["used"], 100 << 20);
    assert_eq!((&slice["power_w"], &slice["utilization"]), (&Value::Null, &Value::Null));
    assert_eq!(sample.devices[2].processes[0].owner, stranger());

    // A slice is taken down; the others keep their numbers.
    bench.stub.unset("0.slice0");
    let ids: Vec<_> = bench.after(1).devices.iter().map(|d| d.id.to_string()).collect();
    assert_eq!(ids, ["cuda:0", "cuda:3", "cuda:1"]);
}

#[test]
fn processes_are_ours_foreign_or_elsewhere() {
    let me = i64::from(std::process::id());
    let other = i64::from(std::os::unix::process::parent_id());
    let elsewhere = (1 << 22) - 1;
    let mut bench = Bench::with(&[
        ("0.nproc", 3),
        ("0.pid0", me),
        ("0.mib0", 2048),
        ("0.pid1", other),
        ("0.mib1", 100),
        ("0.pid2", elsewhere),
        ("0.mib2", -1),
        // The graphics list names one of them again, with more memory.
        ("0.ngfx", 1),
        ("0.gpid0", other),
        ("0.gmib0", 3000),
    ]);
    bench.ask.engines = BTreeSet::from([std::process::id()]);
    let sample = bench.read();
    let told: Vec<_> = sample.devices[0].processes.iter().map(|p| (i64::from(p.pid), p.bytes, p.owner.as_str())).collect();
    assert_eq!(
        told,
        [(other, Some(Bytes::mib(3000)), stranger()), (me, Some(Bytes::mib(2048)), "engine"), (elsewhere, None, "other pid ns")]
    );
    let named = &sample.devices[0].processes[0];
    assert_eq!((named.name.is_some(), named.user.is_some()), (stranger() == "foreign", stranger() == "foreign"));
    assert_eq!(
        json(&sample.devices[0])["processes"][2],
        json!({
            "pid": elsewhere, "name": null, "command": null, "container": null, "started": null, "start_ticks": null, "user": null,
            "bytes": null, "owner": "other pid ns",
        })
    );
}

#[test]
fn a_garbled_process_table_is_counted_not_shown() {
    for (key, value) in [("0.pid1", 0xffff_ffff), ("0.mib1", 90_000)] {
        let mut bench = Bench::with(&[("0.nproc", 2), (key, value)]);
        let gpu = json(&bench.read().devices[0]);
        assert_eq!(gpu["processes"], json!([]));
        assert!(gpu["why"]["processes"].as_str().unwrap().contains("(2 listed)"), "{gpu}");
        assert_eq!((&gpu["health"], &gpu["utilization"]), (&json!({"state": "ok"}), &json!(0.42)));
    }
}

#[test]
fn bus_traffic_is_measured_for_whom_somebody_looks_at_and_every_two_seconds() {
    let mut bench = Bench::new();
    bench.read();
    bench.stub.note_calls();
    bench.ask.bus = BTreeSet::from([DeviceId::Cuda(1)]);
    for _ in 0..4 {
        let pcie = json(&bench.after(1).devices[1])["pcie"].clone();
        assert_eq!(pcie, json!({"rx_bps": 9.0e9, "tx_bps": 2.0e9, "generation": 4, "width": 16}));
    }
    let measured: Vec<_> = bench.stub.calls().into_iter().filter(|call| call.ends_with("throughput")).collect();
    assert_eq!(measured, vec!["1 throughput"; 4], "two directions, twice in four seconds");
    bench.ask.bus.clear();
    assert_eq!(bench.after(1).devices[1].pcie.rx_bps, None, "old traffic is not shown as new");
}

#[test]
fn while_every_gpu_sleeps_the_driver_is_not_even_loaded() {
    let mut bench = Bench::with(&[("99.count", 1)]);
    bench.plug(1, "suspended");
    bench.stub.note_calls();
    let sample = bench.read();
    check_reasons(&sample);
    let gpu = json(&sample.devices[0]);
    assert_eq!((&gpu["id"], &gpu["pci"], &gpu["health"]), (&json!("cuda:0"), &json!("0000:01:00.0"), &json!({"state": "asleep"})));
    assert_eq!((&gpu["memory"], sample.host.gpu_problem), (&Value::Null, None));
    assert!(bench.stub.calls().is_empty(), "{:?}", bench.stub.calls());

    bench.plug(1, "active");
    let sample = bench.after(1);
    assert_eq!((sample.devices.len(), sample.devices[0].name.as_deref()), (1, Some("Stub RTX 0")));
    assert_eq!(sample.devices[0].health, Health::Ok);
}

#[test]
fn one_sleeping_gpu_is_not_woken_by_its_neighbour() {
    let mut bench = Bench::with(&[("0.bus", 1), ("1.bus", 2)]);
    bench.plug(1, "suspended");
    bench.plug(2, "active");
    bench.stub.note_calls();
    let sample = bench.read();
    let told: Vec<_> = sample.devices.iter().map(|d| (d.id.to_string(), d.name.clone(), d.health.clone())).collect();
    assert_eq!(told, [("cuda:0".to_owned(), None, Health::Asleep), ("cuda:1".to_owned(), Some("Stub RTX 1".to_owned()), Health::Ok)]);
    bench.after(1);
    assert!(bench.stub.calls().iter().all(|call| !call.starts_with("0 ")), "{:?}", bench.stub.calls());

    // It wakes, then the other falls asleep while it is known.
    bench.plug(1, "active");
    bench.plug(2, "suspended");
    let sample = bench.after(1);
    let told: Vec<_> = sample.devices.iter().map(|d| (d.id.to_string(), d.name.clone().unwrap(), d.health.clone())).collect();
    assert_eq!(
        told,
        [("cuda:0".to_owned(), "Stub RTX 0".to_owned(), Health::Ok), ("cuda:1".to_owned(), "Stub RTX 1".to_owned(), Health::Asleep)]
    );
}

/// A made-up AMD card.
fn amd_card(sys: &Path, card: &str, power: &str) -> PathBuf {
    let device = sys.join("class/drm").join(card).join("device");
    for (name, text) in [
        ("vendor", "0x1002"),
        ("device", "0x744c"),
        ("unique_id", "58a1b2c3d4e5f607"),
        ("uevent", "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:03:00.0"),
        ("power/runtime_status", power),
        ("mem_info_vram_total", "25753026560"),
        ("mem_info_vram_used", "1073741824"),
        ("gpu_busy_percent", "37"),
        ("pp_dpm_sclk", "0: 500Mhz\n1: 2371Mhz *\n2: 2965Mhz"),
        ("pp_dpm_mclk", "0: 96Mhz\n1: 1249Mhz *"),
        ("current_link_speed", "16.0 GT/s PCIe"),
        ("current_link_width", "16"),
        ("pcie_bw", "4000 100 256"),
        ("hwmon/hwmon5/temp1_input", "54000"),
        ("hwmon/hwmon5/power1_average", "213000000"),
        ("hwmon/hwmon5/power1_cap", "303000000"),
        ("hwmon/hwmon5/pwm1", "51"),
    ] {
        file(&device, name, text);
    }
    device
}

#[test]
fn an_amd_gpu_is_read_from_sysfs() {
    let sys = tempfile::tempdir().unwrap();
    amd_card(sys.path(), "card1", "active");
    fs::create_dir_all(sys.path().join("class/drm/card1-DP-1")).unwrap();
    file(&sys.path().join("class/drm/card0/device"), "vendor", "0x10de");
    let mut probe = AmdProbe::new(sys.path().to_owned());
    let sample = probe.read(START, &Ask::default());
    check_reasons(&sample);
    assert_eq!(sample.devices.len(), 1);
    let gpu = json(&sample.devices[0]);
    for (name, value) in [
        ("id", json!("amd:0")),
        ("kind", json!("amd")),
        ("name", json!("AMD GPU 0x744c")),
        ("uuid", json!("58a1b2c3d4e5f607")),
        ("pci", json!("0000:03:00.0")),
        ("source", json!("sysfs")),
        ("memory", json!({"total": 25_753_026_560_u64, "used": 1_u64 << 30, "free": 25_753_026_560_u64 - (1 << 30)})),
        ("utilization", json!(0.37)),
        ("temperature_c", json!(54.0)),
        ("power_w", json!(213.0)),
        ("power_limit_w", json!(303.0)),
        ("fan", json!(0.2)),
        ("clocks", json!({"sm_mhz": 2371, "mem_mhz": 1249})),
        ("pcie", json!({"rx_bps": null, "tx_bps": null, "generation": 4, "width": 16})),
    ] {
        assert_eq!(gpu[name], value, "{name}");
    }
    let ask = Ask { bus: BTreeSet::from([DeviceId::Amd(0)]), ..Ask::default() };
    let pcie = probe.read(START, &ask).devices[0].pcie;
    assert_eq!((pcie.rx_bps, pcie.tx_bps), (Some(1_024_000.0), Some(25_600.0)));
}

#[test]
fn an_amd_gpu_that_tells_little_has_reasons_for_the_rest() {
    let sys = tempfile::tempdir().unwrap();
    file(&sys.path().join("class/drm/card0/device"), "vendor", "0x1002");
    let sample = AmdProbe::new(sys.path().to_owned()).read(START, &Ask::default());
    assert_eq!(sample.devices[0].absent().len(), 22);
    check_reasons(&sample);
    assert!(AmdProbe::new(sys.path().join("nowhere")).read(START, &Ask::default()).devices.is_empty());
}

#[test]
fn a_sleeping_amd_gpu_is_left_alone() {
    let sys = tempfile::tempdir().unwrap();
    let device = amd_card(sys.path(), "card0", "suspended");
    let mut probe = AmdProbe::new(sys.path().to_owned());
    let asleep = json(&probe.read(START, &Ask::default()).devices[0]);
    assert_eq!((&asleep["health"], &asleep["memory"]), (&json!({"state": "asleep"}), &Value::Null));
    assert!(asleep["why"]["memory"].as_str().unwrap().contains("wake"));
    file(&device, "power/runtime_status", "active");
    assert_eq!(probe.read(START, &Ask::default()).devices[0].health, Health::Ok);
}
