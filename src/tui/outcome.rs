//! What became of a run's weights, in words: for the page of a job, and for the commands that tell of one.

use crate::devices::Labelled;
use crate::jobs::progress::median;
use crate::jobs::{Placement, StreamedOver, Timing};
use crate::placement::Share;
use crate::tui::{alerts, wording};
use crate::units::{Bytes, DeviceId};

/// A name and what is told under it.
pub type Row = (&'static str, String);

/// Returns what was asked of each device and what was measured there, with the difference where there is one: to what was needed, for
/// parts that nothing used need not be there.
#[must_use]
pub fn kept(placement: &Placement) -> Vec<Row> {
    let told = |shares: &[Share], more: &dyn Fn(&Share) -> String| {
        let shares = shares.iter().map(|share| format!("{} on {}{}", share.bytes, Labelled(share.device), more(share)));
        shares.collect::<Vec<_>>().join(", ")
    };
    let needed = alerts::asked_of_needed(placement);
    let asked = |device: DeviceId| needed.iter().find(|s| s.device == device).map_or(Bytes::ZERO, |s| s.bytes);
    let difference = |share: &Share| match (share.bytes, asked(share.device)) {
        (measured, asked) if measured > asked => format!(" (+{})", measured - asked),
        (measured, asked) if measured < asked => format!(" (-{})", asked - measured),
        _ => String::new(),
    };
    if placement.asked.is_empty() && placement.measured.is_empty() {
        return Vec::new();
    }
    // A device that was to hold something and holds nothing is told of, too.
    let is_missing = |share: &&Share| share.bytes > Bytes::ZERO && placement.measured.iter().all(|m| m.device != share.device);
    let missing = needed.iter().filter(is_missing).map(|share| Share { bytes: Bytes::ZERO, ..*share });
    let measured: Vec<Share> = placement.measured.iter().copied().chain(missing).collect();
    vec![("asked", told(&placement.asked, &|_| String::new())), ("measured", told(&measured, &difference))]
}

/// Returns what came over which link, where it passed through, and how long computing waited for it; what a step was expected to
/// take, and took.
#[must_use]
pub fn pace(placement: &Placement, timing: Option<&Timing>) -> Vec<Row> {
    let mut rows = Vec::new();
    if placement.streamed_bytes_per_step > Bytes::ZERO {
        let links: Vec<String> = placement.streamed_over.iter().map(over).collect();
        let links = if links.is_empty() { String::new() } else { format!(": {}", links.join(", ")) };
        rows.push(("streamed", format!("{} per step{links}", placement.streamed_bytes_per_step)));
    }
    // Runs of earlier versions have not kept it.
    if placement.staging > Bytes::ZERO {
        rows.push(("staging", format!("{} that they pass through", placement.staging)));
        rows.push(("stalled", format!("{} per step, waiting for weights", wording::measured(placement.stalled_s_per_step))));
    }
    let measured = timing.and_then(|timing| median(&timing.per_step)).filter(|step| *step > 0.0);
    if let (Some(predicted), Some(measured)) = (&placement.predicted, measured) {
        let expected = predicted.step_s;
        let (step, off) = (wording::measured(measured), (measured / expected - 1.0) * 100.0);
        rows.push(if predicted.calibrated && off.is_finite() {
            ("step", format!("{} expected, {step} measured ({off:+.0} %)", wording::measured(expected)))
        } else {
            ("step", format!("{step} measured; nothing was expected, for nothing like it had been measured"))
        });
    }
    rows
}

/// The cached part of a file may have been in the map already: then nothing was seen coming.
fn over(link: &StreamedOver) -> String {
    let name = link.link.parse::<DeviceId>().map_or_else(|_| link.link.clone(), |device| Labelled(device).to_string());
    let busy = if link.busy_s_per_step > 0.0 { format!(" in {}", wording::measured(link.busy_s_per_step)) } else { String::new() };
    format!("{} from {name}{busy}", link.bytes_per_step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::PartPlacement;
    use crate::placement::{Part, Predicted};

    fn share(device: DeviceId, mib: u64) -> Share {
        Share { device, bytes: Bytes::mib(mib) }
    }

    fn a_run() -> Placement {
        Placement {
            asked: vec![share(DeviceId::Sim(0), 300), share(DeviceId::Cpu, 200), share(DeviceId::Disk, 100)],
            measured: vec![share(DeviceId::Sim(0), 310), share(DeviceId::Cpu, 200)],
            streamed_bytes_per_step: Bytes::mib(300),
            streamed_over: vec![
                StreamedOver { link: "cpu".to_owned(), bytes_per_step: Bytes::mib(200), busy_s_per_step: 0.02 },
                StreamedOver { link: "page cache".to_owned(), bytes_per_step: Bytes::mib(100), busy_s_per_step: 0.0 },
            ],
            staging: Bytes::mib(64),
            stalled_s_per_step: 0.5,
            predicted: Some(Predicted {
                step_s: 2.0,
                first_step_s: 2.0,
                compute_s: 1.0,
                lower_s: 1.0,
                upper_s: 3.0,
                streamed: Bytes::mib(300),
                links: Vec::new(),
                calibrated: true,
            }),
            parts: Vec::new(),
        }
    }

    fn lines(rows: &[Row]) -> Vec<String> {
        rows.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn asked_is_told_beside_measured() {
        assert_eq!(
            lines(&kept(&a_run())),
            [
                "asked: 300.0 MiB on sim:0 SIMULATED, 200.0 MiB on cpu, 100.0 MiB on disk",
                "measured: 310.0 MiB on sim:0 SIMULATED (+10.0 MiB), 200.0 MiB on cpu, 0 B on disk (-100.0 MiB)",
            ]
        );
        assert_eq!(kept(&Placement::default()), []);
        // A text encoder whose texts were kept is not there, and nothing is amiss.
        let (asked, measured) = (vec![share(DeviceId::Disk, 100)], vec![share(DeviceId::Disk, 0)]);
        let encoder = PartPlacement { part: Part::ClipL, asked, measured, streamed_bytes: Bytes::ZERO, staging: Bytes::ZERO };
        let told = lines(&kept(&Placement { parts: vec![encoder], ..a_run() }));
        assert_eq!(told[1], "measured: 310.0 MiB on sim:0 SIMULATED (+10.0 MiB), 200.0 MiB on cpu");
    }

    #[test]
    fn a_step_is_told_beside_what_was_expected_of_it() {
        let timing = Timing { per_step: vec![2.5, 2.5, 9.0], ..Timing::default() };
        let mut run = a_run();
        assert_eq!(
            lines(&pace(&run, Some(&timing))),
            [
                "streamed: 300.0 MiB per step: 200.0 MiB from cpu in 0.02 s, 100.0 MiB from page cache",
                "staging: 64.0 MiB that they pass through",
                "stalled: 0.50 s per step, waiting for weights",
                "step: 2.00 s expected, 2.50 s measured (+25 %)",
            ]
        );
        (run.streamed_bytes_per_step, run.staging) = (Bytes::ZERO, Bytes::ZERO);
        run.predicted.as_mut().unwrap().calibrated = false;
        let untold = "step: 2.50 s measured; nothing was expected, for nothing like it had been measured";
        assert_eq!(lines(&pace(&run, Some(&timing))), [untold]);
        assert_eq!(pace(&run, None), []);
    }
}
