//! Faults that a GPU's driver tells of: each is told to operators once.

use super::core::Core;
use crate::devices::{Blame, Xid};
use crate::units::DeviceId;

/// New readings are there: tells of the faults that are new among them.
pub(super) fn tell(core: &mut Core) {
    let last = |device: &crate::devices::DeviceReading| Some((device.id, device.extras.xid.as_ref()?.last.clone()?));
    let new: Vec<(DeviceId, Xid)> = core.frame.devices.iter().filter_map(last).collect();
    for (device, xid) in new {
        if core.told_faults.insert(device, xid.time) == Some(xid.time) {
            continue;
        }
        let level = match xid.blame() {
            Blame::Program => "warn",
            Blame::Gpu => "crit",
        };
        core.notice(level, format!("{device} {xid}"), None);
    }
}
