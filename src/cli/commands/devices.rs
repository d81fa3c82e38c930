//! `perilune devices`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::output::table;
use crate::cli::report;
use crate::client::call::unexpected;
use crate::devices::{DeviceReading, Health};
use crate::tui::wording;
use crate::wire::{Reply, Request};
use crate::workflow::Refusal;

/// Shows devices only.
pub(super) fn devices(context: &Context) -> Result<(), Refusal> {
    let (devices, host) = context.with_daemon(|mut daemon| async move {
        match daemon.call(Request::Devices).await? {
            Reply::Devices { devices, host } => Ok((devices, host)),
            reply => Err(unexpected(&reply)),
        }
    })?;
    if let Some(text) = missing(context, &devices) {
        report::note(&text);
    }
    context.output.show(&json!({"devices": devices, "host": host}), || {
        let problem = host.gpu_problem.as_ref().map_or_else(String::new, |p| format!("\n{}; {}\n", p.cause, p.hint));
        device_table(&devices) + &problem
    });
    Ok(())
}

/// Says what simulated GPUs of the profile that is asked for are not the running daemon's, and how they become so.
fn missing(context: &Context, devices: &[DeviceReading]) -> Option<String> {
    let simulated = context.settings.preset().simulated.len();
    let there = devices.iter().filter(|d| d.simulated).count();
    let profile = context.settings.profile.value.as_ref().filter(|_| there < simulated)?;
    let gpus = wording::count((simulated - there) as u64, "simulated GPU");
    Some(format!(
        "warning: profile {profile} has {gpus} more than this daemon, which was started without it: \
         `perilune stop`, and start it with `--profile {profile}`"
    ))
}

/// Returns the devices as a table. What cannot be read is a dash.
pub(super) fn device_table(devices: &[DeviceReading]) -> String {
    let dash = || "-".to_owned();
    let rows = devices.iter().map(|d| {
        let name = d.name.clone().unwrap_or_else(dash);
        let simulated = if d.simulated { " SIMULATED" } else { "" };
        vec![
            d.id.to_string(),
            format!("{name}{simulated}"),
            d.memory.map_or_else(dash, |m| format!("{} / {}", m.used, m.total)),
            d.utilization.map_or_else(dash, |u| format!("{:.0} %", u * 100.0)),
            d.temperature_c.map_or_else(dash, |t| format!("{t:.0} °C")),
            d.power_w.map_or_else(dash, |p| format!("{p:.0} W")),
            condition(d),
        ]
    });
    table(&["device", "name", "memory", "busy", "temperature", "power", "condition"], rows)
}

fn condition(device: &DeviceReading) -> String {
    match (&device.health, &device.error) {
        (_, Some(error)) => error.clone(),
        (Health::Ok, None) => match device.extras.xid.as_ref().and_then(|faults| faults.last.as_ref()) {
            Some(xid) => format!("ok; last fault: {xid}"),
            None => "ok".to_owned(),
        },
        (Health::Degraded { misses }, None) => format!("{misses} readings missed"),
        (Health::Lost { reason, for_s }, None) => format!("LOST for {for_s:.0} s: {reason}"),
        (Health::Asleep, None) => "asleep".to_owned(),
    }
}
