//! `expert_mode_allocations`: how much goes where, as users of DisTorch write it.
//!
//! ```text
//! cuda:0,2.5GiB;cpu,*        bytes, and a device that takes the rest
//! cuda:0,40%;cpu,60%         shares of the model
//! cuda:0,0.5;cpu,0.1         fractions of each device's memory
//! auto                       whatever fits
//! ```
//!
//! It looks like the original's language and has none of its surprises (those are in [`compat`](super::compat)):
//! blanks do not matter, a unit is what it says, and what cannot be meant is an error that points at it. Units
//! are binary, however written, for `2gb` has always been two gibibytes here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decimal::Decimal;
use super::error::{AllocationError, Problem};
use super::span::Span;
use crate::units::DeviceId;
use crate::units::bytes::{Bytes, BytesError};

/// The word for whatever fits.
pub const AUTO: &str = "auto";

/// How much goes where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allocation {
    /// What the compute device has no room for, leaves.
    Auto,
    /// Device by device.
    Listed(Listed),
}

/// Devices with amounts of one kind; each device stands once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    parts: Parts,
    rest: Option<DeviceId>,
}

/// Amounts of one kind, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// The most bytes that each device holds.
    Bytes(Vec<(DeviceId, Bytes)>),
    /// Each device's percents of the model: of its whole where a device takes the rest, else of their sum.
    Percents(Vec<(DeviceId, Decimal)>),
    /// The most that each device holds, as a fraction of all its memory.
    Fractions(Vec<(DeviceId, Decimal)>),
}

impl Listed {
    /// Returns the amounts.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Returns the device that takes what the others do not.
    #[must_use]
    pub fn rest(&self) -> Option<DeviceId> {
        self.rest
    }

    /// Returns every device, the one that takes the rest last.
    #[must_use]
    pub fn devices(&self) -> Vec<DeviceId> {
        self.parts.devices().into_iter().chain(self.rest).collect()
    }
}

impl Parts {
    fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Percents(_) => "a percentage",
            Self::Fractions(_) => "a fraction",
        }
    }

    fn devices(&self) -> Vec<DeviceId> {
        match self {
            Self::Bytes(parts) => parts.iter().map(|(device, _)| *device).collect(),
            Self::Percents(parts) | Self::Fractions(parts) => parts.iter().map(|(device, _)| *device).collect(),
        }
    }
}

/// One value.
#[derive(Debug, Clone, Copy)]
enum Value {
    Bytes(Bytes),
    Percent(Decimal),
    Fraction(Decimal),
}

impl Value {
    fn kind(self) -> &'static str {
        match self {
            Self::Bytes(_) => "bytes",
            Self::Percent(_) => "a percentage",
            Self::Fraction(_) => "a fraction",
        }
    }
}

impl FromStr for Allocation {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        read(Span::whole(text))
    }
}

/// Reads an allocation that may stand in a longer text.
pub(super) fn read(span: Span<'_>) -> Result<Allocation, AllocationError> {
    if span.text.eq_ignore_ascii_case(AUTO) {
        return Ok(Allocation::Auto);
    }
    let mut listed = Listed { parts: Parts::Bytes(Vec::new()), rest: None };
    for entry in span.split(';') {
        add(&mut listed, entry)?;
    }
    if let Parts::Percents(parts) = &listed.parts {
        let sum: u128 = parts.iter().map(|(_, p)| u128::from(p.get())).sum();
        if listed.rest.is_some() && sum > u128::from(Decimal::HUNDRED.get()) {
            return Err(span.error(Problem::OverHundred));
        }
        if listed.rest.is_none() && sum == 0 {
            return Err(span.error(Problem::NoShares));
        }
    }
    Ok(Allocation::Listed(listed))
}

fn add(listed: &mut Listed, entry: Span<'_>) -> Result<(), AllocationError> {
    let Some((name, written)) = entry.split_once(',') else {
        let device = entry.text.to_owned();
        return Err(entry.error(if device.is_empty() { Problem::Empty } else { Problem::NoValue { device } }));
    };
    let device = name.device()?;
    if listed.devices().contains(&device) {
        return Err(name.error(Problem::Duplicate { device }));
    }
    if written.text.is_empty() {
        return Err(written.error(Problem::NoValue { device: name.text.to_owned() }));
    }
    if written.text.contains('*') {
        return take_rest(listed, device, written);
    }
    let value = value(written)?;
    if listed.parts.devices().is_empty() {
        listed.parts = match value {
            Value::Bytes(_) => Parts::Bytes(Vec::new()),
            Value::Percent(_) => Parts::Percents(Vec::new()),
            Value::Fraction(_) => Parts::Fractions(Vec::new()),
        };
    }
    match (&mut listed.parts, value) {
        (Parts::Bytes(parts), Value::Bytes(bytes)) => parts.push((device, bytes)),
        (Parts::Percents(parts), Value::Percent(share)) | (Parts::Fractions(parts), Value::Fraction(share)) => parts.push((device, share)),
        (parts, Value::Bytes(_) | Value::Percent(_) | Value::Fraction(_)) => {
            return Err(written.error(Problem::MixedUnits { first: parts.kind(), found: value.kind() }));
        }
    }
    Ok(())
}

fn take_rest(listed: &mut Listed, device: DeviceId, written: Span<'_>) -> Result<(), AllocationError> {
    if written.text != "*" {
        return Err(written.error(Problem::BesideRest { text: written.text.to_owned() }));
    }
    if let Some(device) = listed.rest {
        return Err(written.error(Problem::SeveralRests { device }));
    }
    listed.rest = Some(device);
    Ok(())
}

fn value(written: Span<'_>) -> Result<Value, AllocationError> {
    let (number, unit) = number_and_unit(written)?;
    let decimal = || Decimal::read(number).ok_or_else(|| not_a_number(written, number));
    match unit.text {
        "" => {
            let share = decimal()?;
            if share > Decimal::ONE { Err(written.error(Problem::OverOne { share })) } else { Ok(Value::Fraction(share)) }
        }
        "%" => decimal().map(Value::Percent),
        _ => in_unit(written, number, unit).map(Value::Bytes),
    }
}

fn number_and_unit(written: Span<'_>) -> Result<(&str, Span<'_>), AllocationError> {
    let end = written.text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(written.text.len());
    let number = &written.text[..end];
    if number.contains(|c: char| c.is_ascii_digit()) {
        Ok((number, written.from(end)))
    } else {
        Err(written.error(Problem::NotANumber { text: written.text.to_owned() }))
    }
}

fn not_a_number(written: Span<'_>, number: &str) -> AllocationError {
    let text = written.text.to_owned();
    let many_points = number.matches('.').count() > 1;
    written.error(if many_points { Problem::NotANumber { text } } else { Problem::TooLarge { text } })
}

fn in_unit(written: Span<'_>, number: &str, unit: Span<'_>) -> Result<Bytes, AllocationError> {
    let binary = match unit.text.to_ascii_lowercase().as_str() {
        "b" => "B",
        "k" | "ki" | "kb" | "kib" => "KiB",
        "m" | "mi" | "mb" | "mib" => "MiB",
        "g" | "gi" | "gb" | "gib" => "GiB",
        "t" | "ti" | "tb" | "tib" => "TiB",
        _ => return Err(unit.error(Problem::UnknownUnit { unit: unit.text.to_owned() })),
    };
    let text = || written.text.to_owned();
    format!("{number}{binary}").parse().map_err(|error| match error {
        BytesError::NoNumber { .. } => written.error(Problem::NotANumber { text: text() }),
        BytesError::UnknownUnit { unit: name } => unit.error(Problem::UnknownUnit { unit: name }),
        BytesError::TooLarge { .. } => written.error(Problem::TooLarge { text: text() }),
    })
}

/// What a number without a unit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bare {
    /// It is refused, unless it is 0.
    Refused,
    /// Gibibytes, as the original's slider has it.
    Gibibytes,
}

/// Reads an amount of bytes.
pub(super) fn amount(written: Span<'_>, bare: Bare) -> Result<Bytes, AllocationError> {
    let (number, unit) = number_and_unit(written)?;
    match (unit.text, bare) {
        ("", Bare::Gibibytes) => in_unit(written, number, Span { text: "GiB", ..unit }),
        ("", Bare::Refused) if Decimal::read(number) == Some(Decimal::ZERO) => Ok(Bytes::ZERO),
        ("", Bare::Refused) => Err(written.error(Problem::NoUnit { text: written.text.to_owned() })),
        _ => in_unit(written, number, unit),
    }
}

/// Returns an amount as text that reads back to the same byte: `2560MiB`.
#[must_use]
pub fn exact(bytes: Bytes) -> String {
    let n = bytes.get();
    let units = [("TiB", 1u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = units.into_iter().find(|(_, unit)| n >= *unit && n.is_multiple_of(*unit));
    fits.map_or_else(|| format!("{n}B"), |(name, unit)| format!("{}{name}", n / unit))
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = match self {
            Self::Auto => return f.pad(AUTO),
            Self::Listed(listed) => listed,
        };
        let mut entries: Vec<String> = match &listed.parts {
            Parts::Bytes(parts) => parts.iter().map(|(device, bytes)| format!("{device},{}", exact(*bytes))).collect(),
            Parts::Percents(parts) => parts.iter().map(|(device, share)| format!("{device},{share}%")).collect(),
            Parts::Fractions(parts) => parts.iter().map(|(device, share)| format!("{device},{share}")).collect(),
        };
        entries.extend(listed.rest.map(|device| format!("{device},*")));
        f.pad(&entries.join(";"))
    }
}

impl Serialize for Allocation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Allocation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    fn check(text: &str, canonical: &str) {
        assert_eq!(text.parse::<Allocation>().map(|a| a.to_string()), Ok(canonical.to_owned()), "{text}");
    }

    #[test]
    fn what_people_write_has_one_canonical_form() {
        check("cuda:0,2.5gb;cpu,*", "cuda:0,2560MiB;cpu,*");
        check(" cpu , * ; CUDA:0 , 1 TB ", "cuda:0,1TiB;cpu,*");
        check("cuda:0,500mb;cuda:1,3.0g;cpu,5GiB", "cuda:0,500MiB;cuda:1,3GiB;cpu,5GiB");
        check("cuda,1024b;sim:2,1025 B", "cuda:0,1KiB;sim:2,1025B");
        check("cuda:0,4Gi;cuda:1,512 mi;cpu,8KI;disk,1Ti", "cuda:0,4GiB;cuda:1,512MiB;cpu,8KiB;disk,1TiB");
        check("cuda:0,.5gb;disk,*", "cuda:0,512MiB;disk,*");
        check("cuda:0,8%;cuda:1,8 %;cpu,4.50%", "cuda:0,8%;cuda:1,8%;cpu,4.5%");
        check("cuda:0,50%;cpu,*", "cuda:0,50%;cpu,*");
        check("cuda:0,0.50;cpu,.1", "cuda:0,0.5;cpu,0.1");
        check("cuda:0,1;cpu,*", "cuda:0,1;cpu,*");
        check("cpu,*", "cpu,*");
        check(" Auto ", "auto");
        check("cuda:0,0b;cpu,*", "cuda:0,0B;cpu,*");
    }

    #[track_caller]
    fn refused(text: &str, column: usize, message: &str) {
        let error = text.parse::<Allocation>().unwrap_err();
        assert_eq!((error.column, error.problem.to_string().as_str()), (column, message), "{text}");
        assert!(!error.hint.is_empty());
        assert_eq!(error.to_string(), format!("column {column}: {message}"));
    }

    #[test]
    fn what_cannot_be_meant_is_pointed_at() {
        refused("", 1, "nothing stands here");
        refused("cuda:0,2gb;;cpu,*", 12, "nothing stands here");
        refused("cuda:0,2gb; ", 11 + 1, "nothing stands here");
        refused("cuda:0", 1, "`cuda:0` has no value");
        refused("cpu,*; cuda:0 , ", 16, "`cuda:0` has no value");
        refused(",2gb", 1, "nothing stands here");
        refused("cuda:0,2gb; mps,1gb", 13, "`mps` is not a device that holds weights");
        refused("amd:0,1gb", 1, "`amd:0` is not a device that holds weights");
        refused("cpu,1gb;remote,*", 9, "`remote` cannot hold weights yet");
        refused("remote:box,*", 1, "`remote:box` cannot hold weights yet");
        refused("disk:/tmp,*", 1, "`disk:/tmp` cannot hold weights yet");
        refused("cuda:0,2gb;cuda:0,1gb;cpu,*", 12, "`cuda:0` is named twice");
        refused("cpu,*;cpu,1gb", 7, "`cpu` is named twice");
        refused("cuda:0,1e3mb;cpu,*", 9, "`e3mb` is not a unit");
        refused("cuda:0,1 xb", 10, "`xb` is not a unit");
        refused("cuda:0,1bi", 9, "`bi` is not a unit");
        refused("cuda:0,-1gb", 8, "`-1gb` is not an amount");
        refused("cuda:0,four", 8, "`four` is not an amount");
        refused("cuda:0,1.2.3gb", 8, "`1.2.3gb` is not an amount");
        refused("cuda:0,1.2.3", 8, "`1.2.3` is not an amount");
        refused("cuda:0,99999999999tb", 8, "`99999999999tb` is larger than any memory");
        refused("cuda:0,99999999999999%", 8, "`99999999999999%` is larger than any memory");
        refused("cuda:0,2gb;cpu,50%", 16, "this is a percentage, but what stands before it is bytes");
        refused("cuda:0,0.5;cpu,2gb", 16, "this is bytes, but what stands before it is a fraction");
        refused("cuda:1,*;cuda:2,*", 17, "the rest goes to `cuda:1` already");
        refused("cpu,5gb*", 5, "`5gb*` is an amount and the rest at once");
        refused("cuda:0,2000000000", 8, "2000000000 of a device is more than all of it");
        refused("cuda:0,80%;cpu,30%;disk,*", 1, "the shares add up to more than 100%, so that there is no rest");
        refused("cuda:0,0%;cpu,0%", 1, "the shares add up to 0%");
        refused("größe,1gb;x", 1, "`größe` is not a device that holds weights");
        refused("cpu,1größe;x", 6, "`größe` is not a unit");
    }

    fn devices() -> impl Strategy<Value = Vec<DeviceId>> {
        let all = vec![DeviceId::Cpu, DeviceId::Disk, DeviceId::Cuda(0), DeviceId::Cuda(10), DeviceId::Sim(1)];
        subsequence(all, 1..=5).prop_shuffle()
    }

    fn allocations() -> impl Strategy<Value = Allocation> {
        let rest = prop_oneof![Just(true), Just(false)];
        (devices(), rest, 0..3u8, prop::collection::vec((any::<u64>(), 0..60u32), 5)).prop_map(|(mut devices, rest, kind, numbers)| {
            let rest = if rest || devices.is_empty() { devices.pop() } else { None };
            let numbers: Vec<u64> = numbers.into_iter().map(|(n, shift)| n >> shift).collect();
            let shares =
                |most: u64| devices.iter().copied().zip(numbers.iter().map(|n| Decimal::billionths(1 + n % most))).collect::<Vec<_>>();
            let parts = match kind {
                _ if devices.is_empty() => Parts::Bytes(Vec::new()),
                0 => Parts::Bytes(devices.iter().copied().zip(numbers.iter().copied().map(Bytes)).collect()),
                1 => Parts::Percents(shares(20_000_000_000)),
                _ => Parts::Fractions(shares(1_000_000_000)),
            };
            Allocation::Listed(Listed { parts, rest })
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(allocation in allocations()) {
            let text = allocation.to_string();
            prop_assert_eq!(text.parse::<Allocation>(), Ok(allocation.clone()));
            let json = serde_json::to_string(&allocation).unwrap();
            prop_assert_eq!(serde_json::from_str::<Allocation>(&json).unwrap(), allocation);
        }

        #[test]
        fn any_text_is_read_or_refused_at_a_column_within_it(
            text in "((cpu|cuda:[01]|disk|ü|remote| ),([0-9]{0,3}(gb|%|\\.5| k|\\*|t|)|.{0,3}) ?;?){0,4}",
        ) {
            match text.parse::<Allocation>() {
                Ok(allocation) => prop_assert_eq!(allocation.to_string().parse(), Ok(allocation)),
                Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column)),
            }
        }
    }
}
