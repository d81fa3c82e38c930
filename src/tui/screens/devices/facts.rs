//! What is read of a device, as short facts: a name and a value, or why there is none.

use std::time::Duration;

use ratatui::text::Line;

use crate::devices::{Blame, DeviceKind, DeviceReading, Health, HostReading, Xid};
use crate::theme::Role;
use crate::tui::action::{Action, TuneVerb};
use crate::tui::layer::Layer;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::screens::Screen;
use crate::tui::screens::overview::devices::{is_below_floor, shares};
use crate::tui::widgets::bar;
use crate::tui::widgets::line;
use crate::tui::wording::{self, ABSENT};
use crate::units::Timestamp;

/// Columns of the names.
const NAMES: usize = 9;
/// How long a program's fault is news.
const NEWS: Duration = Duration::from_hours(1);

/// A name and its value.
#[derive(Debug)]
pub struct Fact {
    name: &'static str,
    value: Line<'static>,
}

impl Fact {
    /// Returns it in so many columns.
    #[must_use]
    pub fn line(self, paint: &Paint, columns: usize) -> Line<'static> {
        let name = line::text(paint, Role::Label, format!("{:<NAMES$}", self.name));
        line::fit(line::join([name, self.value], 1), columns, paint.glyphs)
    }
}

/// Writes facts about one device.
struct Facts<'a> {
    reading: &'a DeviceReading,
    paint: &'a Paint,
    now: Timestamp,
    all: Vec<Fact>,
}

impl Facts<'_> {
    fn add(&mut self, name: &'static str, role: Role, text: impl AsRef<str>) {
        let value = line::text(self.paint, role, text);
        self.all.push(Fact { name, value });
    }

    /// Adds a value, or why it is absent; `key` is its name in JSON.
    fn known(&mut self, name: &'static str, key: &str, value: Option<(Role, String)>) {
        let reason = || self.reading.why.get(key).map(|r| format!("  {r}")).unwrap_or_default();
        let (role, text) = value.unwrap_or_else(|| (Role::Dim, format!("{ABSENT}{}", reason())));
        self.add(name, role, text);
    }
}

/// Returns what is wrong with a device as a whole, if something is.
#[must_use]
pub fn trouble(reading: &DeviceReading, now: Timestamp, paint: &Paint) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if reading.simulated {
        lines.push(line::text(paint, Role::Warn, "SIMULATED: everything about this device is modelled"));
    }
    match &reading.health {
        Health::Ok => {}
        Health::Degraded { misses } => lines.push(line::text(paint, Role::Warn, format!("{misses} readings in a row failed in part"))),
        Health::Lost { reason, for_s } => {
            let text = format!("{} LOST {} ago: {reason}; values are the last known", paint.mark(Role::Crit), wording::span(*for_s));
            lines.push(line::text(paint, Role::Crit, text));
        }
        Health::Asleep => lines.push(line::text(paint, Role::Dim, "asleep (runtime PM); asking it for more would wake it")),
    }
    // A fault has a line of its own, for what it means is worth reading; a program's only as long as it is news.
    let fault = reading.extras.xid.as_ref().and_then(|faults| faults.last.as_ref());
    if let Some(xid) = fault.filter(|xid| xid.blame() == Blame::Gpu || now.since(xid.time) < NEWS) {
        let (role, ago) = (grave(xid), wording::span(now.since(xid.time).as_secs_f64()));
        lines.push(line::text(paint, role, format!("{} Xid {}, {ago} ago: {}", paint.mark(role), xid.code, xid.meaning)));
    }
    let is_lost = matches!(reading.health, Health::Lost { .. });
    if let Some(error) = reading.error.as_ref().filter(|_| !is_lost) {
        lines.push(line::text(paint, Role::Crit, format!("{} cannot be read: {error}", paint.mark(Role::Crit))));
    }
    if reading.stale {
        lines.push(line::text(paint, Role::Warn, format!("values are {} old", wording::span(reading.age_s))));
    }
    lines
}

/// Returns where a device is and where its values come from, in a few words.
#[must_use]
pub fn source(reading: &DeviceReading) -> String {
    let pci = reading.pci.as_ref().map(|p| format!("{p}, ")).unwrap_or_default();
    format!("{pci}{}, {} old", reading.source, wording::span(reading.age_s))
}

/// Returns the memory in one line: what holds it, and how much.
#[must_use]
pub fn memory(model: &Model, reading: &DeviceReading, paint: &Paint, columns: usize) -> Line<'static> {
    let name = line::text(paint, Role::Label, format!("{:<NAMES$}", "memory"));
    let Some(memory) = reading.memory else {
        let reason = reading.why.get("memory").map(|r| format!("  {r}")).unwrap_or_default();
        let text = line::join([name, line::text(paint, Role::Dim, format!("{ABSENT}{reason}"))], 1);
        return line::fit(text, columns, paint.glyphs);
    };
    let role = Paint::grade(paint.thresholds().mem, memory.used.ratio_of(memory.total));
    let mark = paint.mark_of_value(role);
    let parts = shares(model, reading, memory);
    let sums = [(parts.weights, "weights"), (parts.donated, "donated"), (parts.activation, "activations"), (parts.other, "others")];
    let told = sums.into_iter().filter(|(bytes, _)| bytes.get() > 0).map(|(bytes, word)| format!("{word} {}", wording::gib(bytes)));
    let told = if columns >= 76 { told.collect::<Vec<_>>().join(", ") } else { String::new() };
    let used = line::text(paint, role, format!("{mark}{} GiB", wording::used_of(memory)));
    let room = columns.saturating_sub(NAMES + 3 + line::width(&used) + wording::width(&told) + 1);
    let bar = bar::memory(paint, parts, room.min(60) as u16);
    let text = line::join([name, bar, used, line::text(paint, Role::Dim, told)], 1);
    line::fit(text, columns, paint.glyphs)
}

/// Returns the facts about a device.
#[must_use]
pub fn all(model: &Model, reading: &DeviceReading, paint: &Paint) -> Vec<Fact> {
    let mut facts = Facts { reading, paint, now: model.now, all: Vec::new() };
    match reading.kind {
        DeviceKind::Cuda | DeviceKind::Amd | DeviceKind::Sim => of_gpu(&mut facts, reading),
        DeviceKind::Cpu => of_host(&mut facts, &model.known.host),
        DeviceKind::Disk => of_disks(&mut facts, model, reading.name.as_deref()),
    }
    if let Some(floor) = reading.floor {
        let (role, text) = if is_below_floor(model, reading) {
            (Role::Warn, format!("{} less is free than {floor}", paint.mark(Role::Warn)))
        } else {
            (Role::Text, format!("{floor} stay free"))
        };
        facts.add("floor", role, text);
    }
    if let Some(engine) = model.known.engine(reading.id) {
        let pid = engine.pid.map(|p| format!(", pid {p}")).unwrap_or_default();
        let exit = engine.last_exit.as_ref().map(|e| format!(", last exit: {e}")).unwrap_or_default();
        let role = if exit.is_empty() { Role::Text } else { Role::Warn };
        facts.add("engine", role, format!("{:?}{pid}{exit}", engine.state).to_lowercase());
    }
    for held in &reading.held {
        facts.add("holds", Role::MemWeights, format!("{} {} {} {}", held.set, held.component, held.precision, held.bytes));
    }
    if let Some(uuid) = &reading.uuid {
        facts.add("uuid", Role::Dim, uuid);
    }
    facts.all
}

fn of_gpu(facts: &mut Facts<'_>, reading: &DeviceReading) {
    let (extras, thresholds) = (&reading.extras, facts.paint.thresholds());
    let text = |text: String| (Role::Text, text);
    let of = |value: Option<u32>| value.map(|v| format!(" of {v}")).unwrap_or_default();
    let busy = reading.utilization.map(|u| load(facts.paint, u));
    facts.known("busy", "utilization", busy);
    let limit = reading.power_limit_w.map(|w| format!(" of {w:.0}")).unwrap_or_default();
    facts.known("power", "power_w", reading.power_w.map(|w| text(format!("{w:.0}{limit} W"))));
    let slows = extras.slowdown_c.map(|t| format!(", slows down at {t:.0}")).unwrap_or_default();
    let mark = |role| facts.paint.mark_of_value(role);
    let temperature = reading.temperature_c.map(|t| {
        let role = Paint::grade(thresholds.temp, t);
        (role, format!("{}{t:.0} C{slows}", mark(role)))
    });
    facts.known("temp", "temperature_c", temperature);
    facts.known("fan", "fan", reading.fan.map(|f| text(wording::percent(f))));
    facts.known("cores", "clocks.sm_mhz", reading.clocks.sm_mhz.map(|v| text(format!("{v}{} MHz", of(extras.sm_max_mhz)))));
    facts.known("mem clock", "clocks.mem_mhz", reading.clocks.mem_mhz.map(|v| text(format!("{v}{} MHz", of(extras.mem_max_mhz)))));
    facts.known("state", "extras.performance_state", extras.performance_state.map(|p| text(format!("P{p}"))));
    facts.known("held back", "extras.throttle", extras.throttle.as_ref().map(|reasons| throttle(reasons)));
    let lanes = |generation: Option<u32>, width: Option<u32>| Some(format!("gen {} x{}", generation?, width?));
    let most = lanes(extras.pcie_max_generation, extras.pcie_max_width).map(|m| format!(" of {m}")).unwrap_or_default();
    facts.known("PCIe", "pcie.generation", lanes(reading.pcie.generation, reading.pcie.width).map(|now| text(format!("{now}{most}"))));
    let rate = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), wording::speed);
    let traffic = reading.pcie.rx_bps.or(reading.pcie.tx_bps);
    let traffic = traffic.map(|_| text(format!("{} / {}", rate(reading.pcie.rx_bps), rate(reading.pcie.tx_bps))));
    facts.known("in / out", "pcie.rx_bps", traffic);
    let count = |n: Option<u64>| n.map_or_else(|| ABSENT.to_owned(), |n| n.to_string());
    let ecc = extras.ecc.map(|ecc| match (ecc.enabled, ecc.uncorrected) {
        (false, _) => (Role::Dim, "off".to_owned()),
        (true, Some(1..)) => (Role::Crit, format!("{} {} UNCORRECTED", facts.paint.mark(Role::Crit), count(ecc.uncorrected))),
        (true, _) => text(format!("{} corrected, {} uncorrected", count(ecc.corrected), count(ecc.uncorrected))),
    });
    facts.known("ECC", "extras.ecc", ecc);
    let now = facts.now;
    let ago = |time: Timestamp| wording::span(now.since(time).as_secs_f64());
    let xid = extras.xid.as_ref().map(|faults| match &faults.last {
        None => text(format!("none in {}", ago(faults.since))),
        Some(xid) => (grave(xid), format!("{}, {} ago", xid.code, ago(xid.time))),
    });
    facts.known("Xid", "extras.xid", xid);
    match (reading.mig, reading.parent) {
        (true, _) => facts.add("MIG", Role::Text, "split into slices, each a device of its own"),
        (false, Some(parent)) => facts.add("MIG", Role::Text, format!("a slice of {parent}")),
        (false, None) => {}
    }
    if let Some(capability) = reading.capability {
        facts.add("compute", Role::Dim, capability.to_string());
    }
}

/// How busy a device is.
fn load(paint: &Paint, share: f64) -> (Role, String) {
    let role = paint.load(share);
    (role, format!("{}{}", paint.mark_of_value(role), wording::percent(share)))
}

/// How grave a fault is.
fn grave(xid: &Xid) -> Role {
    match xid.blame() {
        Blame::Program => Role::Warn,
        Blame::Gpu => Role::Crit,
    }
}

/// What keeps clocks down. Having nothing to do is no trouble.
fn throttle(reasons: &[String]) -> (Role, String) {
    let trouble: Vec<&str> = reasons.iter().map(String::as_str).filter(|r| *r != "idle").collect();
    match (&trouble[..], reasons) {
        ([], []) => (Role::Text, "by nothing".to_owned()),
        ([], _) => (Role::Dim, "it has nothing to do".to_owned()),
        (trouble, _) => (Role::Warn, format!("by {}", trouble.join(", "))),
    }
}

fn of_host(facts: &mut Facts<'_>, host: &HostReading) {
    let text = |text: String| (Role::Text, text);
    let busy = host.cpu_utilization.map(|u| load(facts.paint, u));
    facts.known("busy", "utilization", busy);
    facts.known("cores", "", host.cpus.map(|n| text(n.to_string())));
    facts.known("load", "", host.load.map(|[one, five, fifteen]| text(format!("{one:.1} {five:.1} {fifteen:.1} over 1, 5, 15 min"))));
    let swap = host.swap.map(|swap| match swap.total.get() {
        0 => (Role::Dim, "none".to_owned()),
        _ => text(format!("{} GiB", wording::used_of(swap))),
    });
    facts.known("swap", "", swap);
}

/// The disk that models lie on is the one that plans reckon with, and the one that can be measured.
fn of_disks(facts: &mut Facts<'_>, model: &Model, of_models: Option<&str>) {
    for disk in &model.known.host.disks {
        let space = format!("{}: {} of {} GiB free", disk.mount, wording::gib(disk.free), wording::gib(disk.total));
        let rate = |value: Option<f64>| value.map_or_else(|| ABSENT.to_owned(), wording::speed);
        let traffic = match &disk.why {
            Some(reason) => format!("traffic {ABSENT}  {reason}"),
            None => format!("reads {}, writes {}", rate(disk.read_bps), rate(disk.write_bps)),
        };
        facts.add("disk", Role::Text, format!("{space}, {traffic}"));
        let measured = disk.measured.map(|measured| {
            let ago = wording::span(facts.now.since(measured.time).as_secs_f64());
            (Role::Text, format!("reads {}, {ago} ago", wording::speed(measured.read_bps)))
        });
        if of_models == Some(disk.mount.as_str()) {
            let keys = &model.options.keys;
            let tuner = keys.said(Layer::Everywhere, Action::GoTo(Screen::Offload));
            let probe = keys.said(Layer::Offload, Action::Tune(TuneVerb::Probe));
            let unknown = || (Role::Dim, format!("{ABSENT}  {tuner} {probe} measures how fast it reads"));
            let (role, text) = measured.unwrap_or_else(unknown);
            facts.add("measured", role, text);
        }
    }
}
