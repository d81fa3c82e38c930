//! An allocation string as shares of each device's memory, to which every mode of the original comes down.
//!
//! A share keeps four decimals: on a large device that is many megabytes, and may be one block less.

use std::collections::BTreeMap;
use std::fmt;

use super::error::CompatError;
use super::numbers;
use super::question::Question;

/// Shares of devices' memory, in the order in which the devices were first named.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fractions {
    order: Vec<String>,
    shares: BTreeMap<String, f64>,
}

impl Fractions {
    /// Returns the share of a device, 0 where none was given.
    #[must_use]
    pub fn of(&self, device: &str) -> f64 {
        self.shares.get(device).copied().unwrap_or(0.0)
    }

    /// Returns devices and shares in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.order.iter().map(|device| (device.as_str(), self.of(device)))
    }

    /// Gives a device this share, whatever it had.
    pub(super) fn set(&mut self, device: &str, share: f64) {
        if self.shares.insert(device.to_owned(), share).is_none() {
            self.order.push(device.to_owned());
        }
    }

    /// Turns bytes into shares of four decimals.
    pub(super) fn of_bytes(self, question: &Question<'_>) -> Result<Self, CompatError> {
        self.map(|device, bytes| {
            let total = question.total(device)?;
            if total == 0.0 {
                return Err(CompatError::NoMemory { device: device.to_owned() });
            }
            Ok(numbers::four_decimals(bytes / total))
        })
    }

    fn map(mut self, change: impl Fn(&str, f64) -> Result<f64, CompatError>) -> Result<Self, CompatError> {
        for device in &self.order {
            if let Some(share) = self.shares.get_mut(device) {
                *share = change(device, *share)?;
            }
        }
        Ok(self)
    }
}

/// As the original prints it: `cuda:0,0.2812;cpu,0.0469`.
impl fmt::Display for Fractions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.iter().map(|(device, share)| format!("{device},{share:.4}")).collect();
        f.write_str(&parts.join(";"))
    }
}

/// Devices and values as written; a part without a comma is passed over, and nothing is trimmed.
fn entries(expert: &str) -> impl Iterator<Item = (&str, &str)> {
    expert.split(';').filter_map(|entry| entry.split_once(','))
}

/// Reads the expert part. Letters decide about its mode wherever they stand, so `mps` makes every number bytes.
pub(super) fn of_expert(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    if expert.contains(['g', 'G', 'm', 'M', 'k', 'K', 'b', 'B']) {
        in_bytes(question, expert)
    } else if expert.contains('%') {
        in_ratios(question, expert)
    } else {
        of_memory(question, expert)
    }
}

fn in_bytes(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    let mut given = Fractions::default();
    let mut rest = question.model().get() as f64;
    let mut wildcard = "cpu";
    for (device, value) in entries(expert) {
        if value.contains('*') {
            wildcard = device;
            continue;
        }
        let bytes = numbers::amount(value)?.min(rest);
        if rest > 0.0 {
            given.set(device, bytes);
            rest -= bytes;
        }
    }
    if rest > 0.0 {
        let before = given.of(wildcard);
        given.set(wildcard, before + rest);
    }
    given.of_bytes(question)
}

fn in_ratios(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    let mut ratios = Fractions::default();
    for (device, value) in entries(expert) {
        ratios.set(device, numbers::float(&value.replace('%', ""))?);
    }
    let sum: f64 = ratios.iter().map(|(_, ratio)| ratio).sum();
    if sum == 0.0 {
        return Err(CompatError::NoShares);
    }
    let model = question.model().get() as f64;
    ratios.map(|_, ratio| Ok(model * (ratio / sum)))?.of_bytes(question)
}

/// Reads shares of the devices' memory.
pub(super) fn of_memory(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    let mut shares = Fractions::default();
    for (device, value) in entries(expert) {
        shares.set(device, numbers::four_decimals(numbers::float(value)?));
    }
    shares.map(|device, share| question.total(device).map(|_| share))
}

/// The three fields of virtual VRAM.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Virtual<'a> {
    /// The device that is to be relieved.
    pub(super) recipient: &'a str,
    /// By how many bytes.
    pub(super) bytes: f64,
    /// Who takes them, in order.
    pub(super) donors: Vec<&'a str>,
}

/// Reads `compute;gigabytes;donors`.
pub(super) fn virtual_vram(text: &str) -> Result<Virtual<'_>, CompatError> {
    let fields: Vec<&str> = text.split(';').collect();
    let &[recipient, gigabytes, donors] = fields.as_slice() else {
        return Err(CompatError::Fields { text: text.to_owned(), found: fields.len() });
    };
    Ok(Virtual { recipient, bytes: numbers::float(gigabytes)? * numbers::GIB, donors: donors.split(',').collect() })
}
