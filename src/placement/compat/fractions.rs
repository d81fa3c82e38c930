//! An allocation string as shares of each device's memory, to which every mode of the original comes down.
//!
//! What is worked out of bytes keeps four decimals: on a large device that is many megabytes, and may be one block less.
//! A share that is written as such is taken as it stands.

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

    /// Leaves out devices without memory.
    fn with_memory(self, question: &Question<'_>) -> Result<Self, CompatError> {
        let mut kept = Self::default();
        for (device, value) in self.iter() {
            if question.total(device)? > 0.0 {
                kept.set(device, value);
            }
        }
        Ok(kept)
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

/// As the original prints what it worked out: `cuda:0,0.2812;cpu,0.0469`. More digits that were written are told.
impl fmt::Display for Fractions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |share: f64| {
            let short = format!("{share:.4}");
            if short.parse() == Ok(share) { short } else { share.to_string() }
        };
        let parts: Vec<String> = self.iter().map(|(device, share)| format!("{device},{}", told(share))).collect();
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
        // Nothing is no entry: it neither takes an earlier one's place nor needs a device that there is.
        if bytes > 0.0 {
            given.set(device, bytes);
            rest -= bytes;
        }
    }
    if rest > 0.0 {
        let before = given.of(wildcard);
        given.set(wildcard, before + rest);
    }
    given.with_memory(question)?.of_bytes(question)
}

fn in_ratios(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    let mut ratios = Fractions::default();
    for (device, value) in entries(expert) {
        ratios.set(device, numbers::float(&value.replace('%', ""))?);
    }
    // It looks for the last entry where there is none, to say what it found.
    if ratios.order.is_empty() {
        return Err(CompatError::NoEntries);
    }
    let sum: f64 = ratios.iter().map(|(_, ratio)| ratio).sum();
    if sum == 0.0 {
        return Err(CompatError::NoShares);
    }
    let model = question.model().get() as f64;
    let is_nonsense = ratios.iter().any(|(_, ratio)| (ratio / sum).is_nan());
    let given = ratios.map(|_, ratio| Ok(model * (ratio / sum)))?.with_memory(question)?;
    // It prints whole percents of them.
    if is_nonsense { Err(CompatError::NotANumber { text: f64::NAN.to_string() }) } else { given.of_bytes(question) }
}

/// Reads shares of the devices' memory, as they are written: nothing rounds them.
pub(super) fn of_memory(question: &Question<'_>, expert: &str) -> Result<Fractions, CompatError> {
    let mut shares = Fractions::default();
    for (device, value) in entries(expert) {
        let share = numbers::float(value)?;
        question.total(device)?;
        shares.set(device, share);
    }
    Ok(shares)
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
