//! AMD GPUs, read from sysfs. No library is needed, and nothing is computed on them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::devices::{Clocks, DeviceKind, DeviceReading, Health, Memory};
use crate::telemetry::pci::{is_asleep, word};
use crate::telemetry::{Ask, Probe, Sample};
use crate::units::{Bytes, DeviceId, Timestamp};

const AMD: &str = "0x1002";

/// Full speed of a fan in the units of `pwm1`.
const PWM_FULL: f64 = 255.0;

/// Bus traffic is not measured more often than this: the driver counts for a whole second each time.
const BUS_EVERY: Duration = Duration::from_secs(5);

type Traffic = (Timestamp, DeviceId, Option<(f64, f64)>);

/// Reads AMD GPUs.
pub struct AmdProbe {
    sys: PathBuf,
    traffic: Vec<Traffic>,
    any: bool,
}

impl AmdProbe {
    /// Returns a probe that reads sysfs at `sys`, `/sys` but for tests.
    #[must_use]
    pub fn new(sys: PathBuf) -> Self {
        Self { sys, traffic: Vec::new(), any: true }
    }

    fn traffic(&mut self, card: &Path, id: DeviceId, now: Timestamp) -> Option<(f64, f64)> {
        self.traffic.retain(|(at, ..)| now >= *at && now.since(*at) < BUS_EVERY);
        if let Some((.., known)) = self.traffic.iter().find(|(_, known, _)| *known == id) {
            return *known;
        }
        let measured = word(&card.join("pcie_bw")).and_then(|line| traffic(&line));
        self.traffic.push((now, id, measured));
        measured
    }
}

impl Probe for AmdProbe {
    fn name(&self) -> &'static str {
        "amdgpu"
    }

    fn read(&mut self, now: Timestamp, ask: &Ask) -> Sample {
        let mut devices = Vec::new();
        for (n, card) in cards(&self.sys).iter().enumerate() {
            let id = DeviceId::Amd(u16::try_from(n).unwrap_or(u16::MAX));
            let mut row = identity(id, card);
            if is_asleep(card) {
                row.health = Health::Asleep;
                row.explain_absent("asleep: asking would wake it");
            } else {
                read_card(card, &mut row);
                if ask.bus.contains(&id) {
                    let traffic = self.traffic(card, id, now);
                    row.pcie.rx_bps = traffic.map(|t| t.0);
                    row.pcie.tx_bps = traffic.map(|t| t.1);
                } else {
                    for name in ["pcie.rx_bps", "pcie.tx_bps"] {
                        row.why.insert(name.to_owned(), "measured only while somebody looks at it".to_owned());
                    }
                }
                row.explain_absent("the driver does not tell");
            }
            row.why.insert("processes".to_owned(), "not listed for AMD GPUs".to_owned());
            devices.push(row);
        }
        self.any = !devices.is_empty();
        Sample { devices, ..Sample::default() }
    }

    fn good_for(&self) -> Duration {
        // Most machines have none, and cards do not appear often.
        if self.any { Duration::ZERO } else { Duration::from_secs(30) }
    }
}

/// Lists the device folders of AMD cards, in order of their numbers.
fn cards(sys: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(sys.join("class/drm")) else { return Vec::new() };
    // Connectors stand beside the cards: `card0-DP-1`.
    let numbered = entries.flatten().filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
        Some((number, entry.path().join("device")))
    });
    let mut cards: Vec<(u32, PathBuf)> = numbered.filter(|(_, card)| word(&card.join("vendor")).as_deref() == Some(AMD)).collect();
    cards.sort();
    cards.into_iter().map(|(_, card)| card).collect()
}

/// Says who a card is; no question here wakes it.
fn identity(id: DeviceId, card: &Path) -> DeviceReading {
    let mut row = DeviceReading::unknown(id, DeviceKind::Amd, "sysfs");
    let by_number = || word(&card.join("device")).map(|number| format!("AMD GPU {number}"));
    row.name = word(&card.join("product_name")).or_else(by_number);
    row.uuid = word(&card.join("unique_id"));
    let uevent = fs::read_to_string(card.join("uevent")).unwrap_or_default();
    row.pci = uevent.lines().find_map(|line| line.strip_prefix("PCI_SLOT_NAME=")).map(str::to_owned);
    row
}

fn read_card(card: &Path, row: &mut DeviceReading) {
    let number = |name: &str| word(&card.join(name)).and_then(|text| text.parse::<u64>().ok());
    row.memory = match (number("mem_info_vram_total"), number("mem_info_vram_used")) {
        (Some(total), Some(used)) if total > 0 && used <= total => {
            Some(Memory { total: Bytes(total), used: Bytes(used), free: Bytes(total - used) })
        }
        _ => None,
    };
    row.utilization = number("gpu_busy_percent").filter(|percent| *percent <= 100).map(|percent| percent as f64 / 100.0);
    let clock = |name: &str| fs::read_to_string(card.join(name)).ok().and_then(|table| current_mhz(&table));
    row.clocks = Clocks { sm_mhz: clock("pp_dpm_sclk"), mem_mhz: clock("pp_dpm_mclk") };
    row.pcie.generation = word(&card.join("current_link_speed")).and_then(|speed| generation(&speed));
    row.pcie.width = number("current_link_width").and_then(|width| u32::try_from(width).ok()).filter(|width| *width > 0);

    let Some(hwmon) = hwmon(card) else { return };
    let sensor = |name: &str| word(&hwmon.join(name)).and_then(|text| text.parse::<f64>().ok());
    row.temperature_c = sensor("temp1_input").map(|milli| milli / 1e3);
    row.power_w = sensor("power1_average").or_else(|| sensor("power1_input")).map(|micro| micro / 1e6);
    row.power_limit_w = sensor("power1_cap").map(|micro| micro / 1e6);
    row.fan = sensor("pwm1").map(|pwm| (pwm / PWM_FULL).clamp(0.0, 1.0));
}

fn hwmon(card: &Path) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(card.join("hwmon")).ok()?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    folders.into_iter().next()
}

/// Reads `1: 2500Mhz *`: the line with the star is the present one.
fn current_mhz(table: &str) -> Option<u32> {
    let line = table.lines().find(|line| line.trim_end().ends_with('*'))?;
    let clock = line.split_once(':')?.1.trim_start();
    let digits = clock.bytes().take_while(u8::is_ascii_digit).count();
    clock[..digits].parse().ok()
}

/// Reads `16.0 GT/s PCIe`.
fn generation(speed: &str) -> Option<u32> {
    match speed.split(' ').next()? {
        "2.5" => Some(1),
        "5.0" | "5" => Some(2),
        "8.0" | "8" => Some(3),
        "16.0" | "16" => Some(4),
        "32.0" | "32" => Some(5),
        "64.0" | "64" => Some(6),
        _ => None,
    }
}

/// Reads packets received, packets sent, and bytes of the largest packet: an upper bound.
fn traffic(line: &str) -> Option<(f64, f64)> {
    let mut numbers = line.split_ascii_whitespace().map(|n| n.parse::<u64>().ok());
    let (received, sent, bytes) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some((received as f64 * bytes as f64, sent as f64 * bytes as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_driver_writes() {
        assert_eq!(current_mhz("0: 500Mhz \n1: 1200Mhz *\n2: 2500Mhz \n"), Some(1200));
        assert_eq!(current_mhz("0: 96Mhz *"), Some(96));
        assert_eq!(current_mhz("0: 500Mhz\n1: 1200Mhz\n"), None);
        assert_eq!(current_mhz("*\n"), None);
        assert_eq!(generation("16.0 GT/s PCIe"), Some(4));
        assert_eq!(generation("2.5 GT/s"), Some(1));
        assert_eq!(generation("Unknown"), None);
        assert_eq!(traffic("1000 20 256"), Some((256_000.0, 5_120.0)));
        assert_eq!(traffic("1000 20"), None);
        assert_eq!(traffic(""), None);
    }
}
