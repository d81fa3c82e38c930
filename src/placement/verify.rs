//! What was asked of each device beside what was measured there.

use super::plan::Share;
use crate::units::{Bytes, DeviceId};

/// A donor that holds less of what was planned for it has not been given its part.
const LEAST_PERCENT: u64 = 90;
/// What a device may hold beyond its plan: the allocator's rounding of many blocks.
const SLACK: Bytes = Bytes::mib(64);
/// The same, in percent of the plan.
const SLACK_PERCENT: u64 = 1;

/// Returns a line for each device on which a plan was not kept: a donor that was given too little, any device that holds
/// too much.
#[must_use]
pub fn broken(compute: DeviceId, asked: &[Share], measured: &[Share]) -> Vec<String> {
    let on = |shares: &[Share], device| shares.iter().filter(|s| s.device == device).map(|s| s.bytes).sum::<Bytes>();
    let mut devices: Vec<DeviceId> = asked.iter().chain(measured).map(|s| s.device).collect();
    devices.sort_unstable();
    devices.dedup();
    let line = |device: DeviceId| {
        let (asked, measured) = (on(asked, device), on(measured, device));
        if is_kept(compute, device, asked, measured) {
            None
        } else if measured > asked {
            Some(format!("{device} holds {measured} of weights, {asked} were planned"))
        } else {
            Some(format!("the donor {device} holds {measured} of {asked} planned"))
        }
    };
    devices.into_iter().filter_map(line).collect()
}

/// Returns whether a device holds what was planned for it.
#[must_use]
pub fn is_kept(compute: DeviceId, device: DeviceId, asked: Bytes, measured: Bytes) -> bool {
    let slack = SLACK.max(Bytes(asked.get() / 100 * SLACK_PERCENT));
    let is_short = device != compute && measured.get() < asked.get() / 100 * LEAST_PERCENT;
    measured <= asked + slack && !is_short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_not_kept_is_named() {
        let gpu = DeviceId::Cuda(0);
        let shares = |here: u64, there: u64| {
            vec![Share { device: gpu, bytes: Bytes::mib(here) }, Share { device: DeviceId::Cpu, bytes: Bytes::mib(there) }]
        };
        let check = |measured: (u64, u64), expected: &[&str]| {
            assert_eq!(broken(gpu, &shares(1000, 2000), &shares(measured.0, measured.1)), expected, "{measured:?}");
        };
        check((1000, 2000), &[]);
        check((1064, 1801), &[]);
        check((1000, 1500), &["the donor cpu holds 1.5 GiB of 2.0 GiB planned"]);
        check((1100, 2000), &["cuda:0 holds 1.1 GiB of weights, 1000.0 MiB were planned"]);
        check((500, 2000), &[]);
        assert_eq!(broken(gpu, &[], &shares(0, 100)), ["cpu holds 100.0 MiB of weights, 0 B were planned"]);
    }
}
