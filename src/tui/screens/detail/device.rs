//! Everything about a device: identity, values, who holds its memory, and why a value is absent.

use ratatui::text::Line;

use super::view::entry;
use crate::devices::{DeviceReading, Health};
use crate::theme::Role;
use crate::tui::model::Model;
use crate::tui::paint::Paint;
use crate::tui::widgets::line;
use crate::tui::wording::{self, ABSENT};

/// Returns everything about a device.
#[must_use]
pub fn lines(model: &Model, reading: &DeviceReading, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut add = |name: &str, role: Role, value: String| lines.extend(entry(paint, name, role, &value, columns));
    add("name", Role::Text, reading.name.clone().unwrap_or_else(|| ABSENT.to_owned()));
    if reading.simulated {
        add("simulated", Role::Warn, "SIMULATED: everything about this device is modelled".to_owned());
    }
    match &reading.health {
        Health::Ok => {}
        Health::Degraded { misses } => add("health", Role::Warn, format!("{misses} readings in a row failed")),
        Health::Lost { reason, for_s } => {
            add("health", Role::Crit, format!("LOST {} ago: {reason}; values are the last known", wording::span(*for_s)));
        }
        Health::Asleep => add("health", Role::Dim, "asleep (runtime PM)".to_owned()),
    }
    if let Some(error) = &reading.error {
        add("error", Role::Crit, error.clone());
    }
    let identity = [("uuid", &reading.uuid), ("pci", &reading.pci)];
    for (name, value) in identity {
        if let Some(value) = value {
            add(name, Role::Text, value.clone());
        }
    }
    add("source", Role::Dim, format!("{}, {} old", reading.source, wording::span(reading.age_s)));
    if let Some(memory) = reading.memory {
        add("memory", Role::Text, format!("{} of {} used, {} free", memory.used, memory.total, memory.free));
    }
    for held in &reading.held {
        add("weights", Role::MemWeights, format!("{} {} {} {}", held.bytes, held.set, held.component, held.precision));
    }
    if let Some(bytes) = reading.activations {
        add("activations", Role::MemActivation, bytes.to_string());
    }
    add("link", Role::Text, link(reading));
    add("clocks", Role::Text, clocks(reading));
    if let Some(engine) = model.known.engine(reading.id) {
        let pid = engine.pid.map(|p| format!(", pid {p}")).unwrap_or_default();
        let about = engine.about.as_ref().map(|a| format!(", {a}")).unwrap_or_default();
        add("engine", Role::Text, format!("{:?}{pid}{about}", engine.state).to_lowercase());
        if let Some(exit) = &engine.last_exit {
            add("last exit", Role::Warn, exit.clone());
        }
    }
    let processes = processes(reading, paint, columns);
    if !processes.is_empty() {
        lines.push(Line::default());
        lines.extend(processes);
    }
    if !reading.why.is_empty() {
        lines.push(Line::default());
        for (name, reason) in &reading.why {
            lines.extend(entry(paint, &called(name), Role::Dim, reason, columns));
        }
    }
    lines
}

/// Returns what people call a value, by its name in JSON.
fn called(name: &str) -> String {
    let words = match name {
        "temperature_c" => "temperature",
        "power_w" => "power",
        "power_limit_w" => "power limit",
        "clocks.sm_mhz" => "core clock",
        "clocks.mem_mhz" => "mem clock",
        "pcie.rx_bps" => "PCIe in",
        "pcie.tx_bps" => "PCIe out",
        "pcie.generation" => "PCIe gen",
        "pcie.width" => "PCIe lanes",
        "extras.performance_state" => "state",
        "extras.throttle" => "held back",
        "extras.sm_max_mhz" => "core max",
        "extras.mem_max_mhz" => "mem max",
        "extras.slowdown_c" => "slows at",
        "extras.pcie_max_generation" => "PCIe most",
        "extras.pcie_max_width" => "lanes most",
        "extras.ecc" => "ECC",
        "extras.xid" => "Xid",
        other => return other.replace(['.', '_'], " "),
    };
    words.to_owned()
}

fn link(reading: &DeviceReading) -> String {
    let pcie = &reading.pcie;
    match (pcie.generation, pcie.width) {
        (Some(generation), Some(width)) => format!("PCIe gen {generation} x{width} now"),
        _ => ABSENT.to_owned(),
    }
}

fn clocks(reading: &DeviceReading) -> String {
    let mhz = |value: Option<u32>| value.map_or_else(|| ABSENT.to_owned(), |v| format!("{v} MHz"));
    let fan = reading.fan.map(|f| format!(", fan {}", wording::percent(f))).unwrap_or_default();
    let limit = reading.power_limit_w.map(|w| format!(", power limit {w:.0} W")).unwrap_or_default();
    format!("cores {}, memory {}{fan}{limit}", mhz(reading.clocks.sm_mhz), mhz(reading.clocks.mem_mhz))
}

fn processes(reading: &DeviceReading, paint: &Paint, columns: usize) -> Vec<Line<'static>> {
    if reading.processes.is_empty() {
        return Vec::new();
    }
    let mut lines =
        vec![line::text(paint, Role::Label, format!("{:<12}{:>10}  {:<8} {:<14} {}", "process", "memory", "user", "owner", "command"))];
    lines.extend(reading.processes.iter().map(|p| {
        let bytes = p.bytes.map_or_else(|| ABSENT.to_owned(), |b| b.to_string());
        let user = p.user.as_deref().unwrap_or("?");
        let name = p.name.as_deref().unwrap_or("?");
        let pid = p.pid;
        let row = line::text(paint, Role::Text, format!("{pid:<12}{bytes:>10}  {user:<8} {:<14} {name}", p.owner));
        line::fit(row, columns, paint.glyphs)
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::DeviceKind;
    use crate::units::DeviceId;

    #[test]
    fn every_value_that_may_be_absent_has_a_name_in_words() {
        for name in DeviceReading::unknown(DeviceId::Cuda(0), DeviceKind::Cuda, "test").absent() {
            let called = called(name);
            assert!(!called.contains(['.', '_']) && !called.contains("extras") && called.len() < 12, "{name} is called {called}");
        }
        assert_eq!(called("extras.something_new"), "extras something new");
    }
}
