//! `perilune devices`.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::output::table;
use crate::client::call::unexpected;
use crate::devices::{DeviceReading, Health};
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
    context.output.show(&json!({"devices": devices, "host": host}), || {
        let problem = host.gpu_problem.as_ref().map_or_else(String::new, |p| format!("\n{}; {}\n", p.cause, p.hint));
        device_table(&devices) + &problem
    });
    Ok(())
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
