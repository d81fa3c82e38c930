//! GPUs in every state, as the program itself shows them: `devices --json`, and the dashboard in a terminal.
//! The NVIDIA library is the stub, reached by the real binding; daemon and client are the real ones.

use portable_pty::CommandBuilder;
use serde_json::{Value, json};

use crate::support::daemon::Home;
use crate::support::nvml_stub::{GPU_LOST, NOT_SUPPORTED, NvmlStub};
use crate::support::terminal::Terminal;
use crate::support::wait::until;

/// A home with a daemon that sees a stub in this state.
struct Machine {
    home: Home,
    stub: NvmlStub,
}

impl Machine {
    fn with(state: &[(&str, i64)]) -> Self {
        let stub = NvmlStub::new();
        for (key, value) in state {
            stub.set(key, *value);
        }
        let mut home = Home::empty();
        home.use_gpus(&stub);
        home.start();
        Self { home, stub }
    }

    fn devices(&self) -> Value {
        self.home.run(&["devices", "--json"]).json()
    }

    /// The rows of GPUs, once this is true of them.
    fn gpus_once(&self, what: &str, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        until(what, || {
            let all = self.devices()["devices"].as_array().unwrap().clone();
            let gpus: Vec<Value> = all.into_iter().filter(|d| d["kind"] == "cuda").collect();
            holds(&gpus).then_some(gpus)
        })
    }

    fn dashboard(&self) -> Terminal {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_perilune"));
        command.env_clear();
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("PATH", "/usr/bin:/bin"), ("USER", "ana")] {
            command.env(name, value);
        }
        command.env("PERILUNE_HOME", self.home.path());
        Terminal::of(command, 120, 40)
    }

    /// The dashboard shows all of these.
    fn check_screen(&self, texts: &[&str]) {
        let mut terminal = self.dashboard();
        for text in texts {
            terminal.wait_for(text);
        }
        terminal.press("q");
        terminal.wait_for_end();
        terminal.check_restored();
    }
}

#[test]
fn healthy_gpus() {
    let machine = Machine::with(&[]);
    let gpus = machine.gpus_once("two GPUs", |gpus| gpus.len() == 2);
    assert_eq!((&gpus[0]["id"], &gpus[0]["name"], &gpus[0]["power_w"]), (&json!("cuda:0"), &json!("Stub RTX 0"), &json!(312.5)));
    assert_eq!(gpus[0]["memory"]["total"], 24_u64 << 30);
    machine.check_screen(&["cuda:0 Stub RTX 0", "cuda:1", "24.0", "312W", "61C"]);
}

#[test]
fn a_driver_of_another_version_than_its_library() {
    let machine = Machine::with(&[("99.init", 18)]);
    let devices = machine.devices();
    let problem = &devices["host"]["gpu_problem"];
    assert!(problem["cause"].as_str().unwrap().contains("version") && problem["hint"].is_string(), "{problem}");
    assert!(devices["devices"].as_array().unwrap().iter().all(|d| d["kind"] != "cuda"), "{devices}");
    machine.check_screen(&["no NVIDIA devices", "version"]);
}

#[test]
fn a_gpu_that_falls_off_the_bus() {
    let machine = Machine::with(&[]);
    machine.gpus_once("two GPUs", |gpus| gpus.len() == 2);
    let mut terminal = machine.dashboard();
    terminal.wait_for("cuda:1 Stub");
    machine.stub.set("1.err", GPU_LOST);
    machine.stub.set("1.handle", GPU_LOST);
    terminal.wait_for("LOST");
    let gpus = machine.gpus_once("one to be lost", |gpus| gpus.iter().any(|g| g["health"]["state"] == "lost"));
    assert_eq!(gpus.iter().map(|g| &g["health"]["state"]).collect::<Vec<_>>(), ["ok", "lost"], "the other one goes on");
    assert_eq!(gpus[1]["id"], "cuda:1");
    machine.stub.unset("1.err");
    machine.stub.unset("1.handle");
    terminal.press("q");
    terminal.wait_for_end();
}

#[test]
fn a_fault_is_told_by_its_number_whether_anybody_looks_or_not() {
    let machine = Machine::with(&[("1.ret.events", NOT_SUPPORTED)]);
    let listened = |gpus: &[Value]| gpus.len() == 2 && gpus[0]["extras"]["xid"]["count"] == 0;
    let gpus = machine.gpus_once("faults to be listened for", listened);
    assert_eq!((&gpus[1]["extras"]["xid"], &gpus[1]["why"]["extras.xid"]), (&Value::Null, &json!("not supported by this device")));
    machine.stub.set("0.xid", 79);
    machine.stub.set("0.xids", 1);
    let told = "Xid 79: it has fallen off the bus";
    until("the log to tell of it", || machine.home.run(&["status", "--json"]).json()["notices"].to_string().contains(told).then_some(()));
    let gpus = machine.gpus_once("the fault to be shown", |gpus| gpus[0]["extras"]["xid"]["count"] == 1);
    let last = &gpus[0]["extras"]["xid"]["last"];
    assert_eq!((&last["code"], &last["meaning"]), (&json!(79), &json!("it has fallen off the bus")));
    let notices = machine.home.run(&["status", "--json"]).json()["notices"].as_array().unwrap().clone();
    let levels: Vec<_> = notices.iter().filter(|n| n["text"] == format!("cuda:0 {told}")).map(|n| n["level"].clone()).collect();
    assert_eq!(levels, ["crit"], "once");
    machine.check_screen(&["CRIT cuda:0 Xid 79"]);
}

#[test]
fn a_metric_that_is_refused_is_absent_and_never_zero() {
    let machine = Machine::with(&[("0.ret.power", NOT_SUPPORTED), ("0.ret.util", NOT_SUPPORTED)]);
    let gpus = machine.gpus_once("two GPUs", |gpus| gpus.len() == 2);
    assert_eq!((&gpus[0]["power_w"], &gpus[0]["utilization"]), (&Value::Null, &Value::Null), "{}", gpus[0]["why"]);
    assert!(gpus[0]["why"]["power_w"].is_string());
    assert_eq!(gpus[1]["power_w"], 312.5);
    let mut terminal = machine.dashboard();
    terminal.wait_for("cuda:0 Stub RTX 0");
    terminal.wait_until("a refused power is no number", |t| {
        let text = t.text();
        let row = text.lines().find(|l| l.contains("cuda:0")).unwrap_or_default();
        !row.contains("312W") && text.contains("312W")
    });
    terminal.press("q");
    terminal.wait_for_end();
}

#[test]
fn a_gpu_that_is_split_into_slices() {
    let machine = Machine::with(&[("1.migcap", 1), ("1.mig", 1), ("1.slice0", 1), ("1.slice2", 1)]);
    let gpus = machine.gpus_once("slices", |gpus| gpus.len() >= 3);
    assert!(gpus.iter().any(|g| g["uuid"].as_str().is_some_and(|u| u.starts_with("MIG-"))), "{gpus:?}");
    assert!(gpus.iter().filter(|g| !g["parent"].is_null()).count() == 2, "{gpus:?}");
    machine.check_screen(&["cuda:0 Stub RTX 0", "MIG"]);
}

#[test]
fn a_call_that_never_comes_back_costs_age_and_no_wait() {
    let machine = Machine::with(&[]);
    machine.gpus_once("two GPUs", |gpus| gpus.len() == 2);
    let mut terminal = machine.dashboard();
    terminal.wait_for("cuda:0 Stub RTX 0");
    machine.stub.set("0.stall", 1);
    let gpus = machine.gpus_once("the readings to be stale", |gpus| gpus.iter().all(|g| g["stale"] == true));
    assert_eq!(gpus[0]["memory"]["total"], 24_u64 << 30, "the last values stay");
    // The dashboard still obeys, and the host is still read.
    terminal.press("6");
    terminal.wait_for("[6 Queue]");
    terminal.press("1");
    terminal.wait_for("stale");
    machine.stub.unset("0.stall");
    machine.gpus_once("fresh readings", |gpus| gpus.iter().all(|g| g["stale"] == false));
    terminal.press("q");
    terminal.wait_for_end();
}
