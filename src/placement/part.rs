//! Which part of a model an ask is about: the diffusion network where none is named.
//!
//! ```text
//! 4GiB                  of the diffusion network
//! clip=200MiB           of each text encoder
//! t5=auto               of this one
//! vae=cpu,50MiB;disk,*  of the autoencoder
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ask::{self, OffloadAsk};
use super::error::{AllocationError, Problem};
use super::span::Span;
use crate::units::DeviceId;

/// A part of a model, as an ask names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The diffusion network.
    Denoiser,
    /// Each text encoder that is not named itself.
    Clip,
    /// CLIP-L's text half.
    ClipL,
    /// `OpenCLIP` bigG's text half.
    ClipG,
    /// The encoder of T5-XXL.
    T5,
    /// The language model that encodes Z-Image's prompts.
    Qwen,
    /// The autoencoder.
    Vae,
}

impl Part {
    /// Every part, in the order of a run.
    pub const ALL: &[Self] = &[Self::Denoiser, Self::Clip, Self::ClipL, Self::ClipG, Self::T5, Self::Qwen, Self::Vae];

    /// Returns the name with which it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Denoiser => "denoiser",
            Self::Clip => "clip",
            Self::ClipL => "clip_l",
            Self::ClipG => "clip_g",
            Self::T5 => "t5",
            Self::Qwen => "qwen",
            Self::Vae => "vae",
        }
    }

    /// Returns whether it encodes text.
    #[must_use]
    pub fn is_encoder(self) -> bool {
        match self {
            Self::Clip | Self::ClipL | Self::ClipG | Self::T5 | Self::Qwen => true,
            Self::Denoiser | Self::Vae => false,
        }
    }

    fn read(span: Span<'_>) -> Result<Self, AllocationError> {
        let called = |part: &&Self| part.name().eq_ignore_ascii_case(span.text);
        Self::ALL.iter().find(called).copied().ok_or_else(|| span.error(Problem::UnknownPart { text: span.text.to_owned() }))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value that is about a part: `vae=200MiB`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfPart<T> {
    /// The part.
    pub part: Part,
    /// What is said of it.
    pub value: T,
}

impl<T: FromStr<Err = AllocationError>> FromStr for OfPart<T> {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        Self::read(Span::whole(text))
    }
}

impl<T: FromStr<Err = AllocationError>> OfPart<T> {
    /// Reads a value that may stand in a longer text.
    fn read(span: Span<'_>) -> Result<Self, AllocationError> {
        // No amount and no device has an equals sign.
        let (part, written) = match span.split_once('=') {
            Some((name, written)) => (Part::read(name)?, written),
            None => (Part::Denoiser, span),
        };
        let moved = |error: AllocationError| AllocationError { column: error.column + written.column - 1, ..error };
        Ok(Self { part, value: written.text.parse().map_err(moved)? })
    }

    /// Reads values that `|` stands between, each part's once; no text is no value.
    pub fn read_all(text: &str) -> Result<Vec<Self>, AllocationError> {
        let whole = Span::whole(text);
        let mut values: Vec<Self> = Vec::new();
        if whole.text.is_empty() {
            return Ok(values);
        }
        for written in whole.split('|') {
            let value = Self::read(written)?;
            if values.iter().any(|before| before.part == value.part) {
                return Err(written.error(Problem::PartTwice { part: value.part }));
            }
            values.push(value);
        }
        Ok(values)
    }
}

impl<T: fmt::Display> fmt::Display for OfPart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Denoiser => write!(f, "{}", self.value),
            part => write!(f, "{part}={}", self.value),
        }
    }
}

/// Devices that may take weights: `cpu,disk`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Donors(pub Vec<DeviceId>);

impl FromStr for Donors {
    type Err = AllocationError;

    fn from_str(text: &str) -> Result<Self, AllocationError> {
        ask::devices(Span::whole(text)).map(Self)
    }
}

impl fmt::Display for Donors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

/// What is asked to be offloaded of several parts. Of a part that is listed with an ask of nothing it is said that nothing leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartAsks(BTreeMap<Part, OffloadAsk>);

impl PartAsks {
    /// Returns whether nothing is said of any part.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns what is asked of a part: what is said of itself, else of all text encoders where it is one.
    #[must_use]
    pub fn of(&self, part: Part) -> OffloadAsk {
        let of_all = || self.0.get(&Part::Clip).filter(|_| part.is_encoder());
        self.0.get(&part).or_else(of_all).cloned().unwrap_or_default()
    }

    /// Returns what is said of a part itself.
    #[must_use]
    pub fn said(&self, part: Part) -> Option<&OffloadAsk> {
        self.0.get(&part)
    }

    /// Says something of a part, be it that nothing leaves.
    pub fn edit(&mut self, part: Part, change: impl FnOnce(&mut OffloadAsk)) {
        change(self.0.entry(part).or_default());
    }

    /// Takes something back that was said of a part; where it was all, nothing is said of it any more.
    pub fn unsay(&mut self, part: Part, change: impl FnOnce(&mut OffloadAsk)) {
        let Some(ask) = self.0.get_mut(&part) else { return };
        let before = ask.clone();
        change(ask);
        if *ask != before && *ask == OffloadAsk::default() {
            self.0.remove(&part);
        }
    }

    /// Takes out what is said of a part.
    pub fn take(&mut self, part: Part) -> OffloadAsk {
        self.0.remove(&part).unwrap_or_default()
    }

    /// Returns every part of which something is said.
    pub fn iter(&self) -> impl Iterator<Item = (Part, &OffloadAsk)> {
        self.0.iter().map(|(part, ask)| (*part, ask))
    }
}

impl FromIterator<(Part, OffloadAsk)> for PartAsks {
    fn from_iter<I: IntoIterator<Item = (Part, OffloadAsk)>>(asks: I) -> Self {
        Self(asks.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::placement::{Allocation, Pins, VirtualVram};

    #[test]
    fn a_part_is_named_before_what_is_said_of_it() {
        let canonical = |text: &str| text.parse::<OfPart<Allocation>>().unwrap().to_string();
        assert_eq!(canonical("cpu , 1 GiB ; disk, *"), "cpu,1GiB;disk,*");
        assert_eq!(canonical(" CLIP = cpu,0.5gb;disk,*"), "clip=cpu,512MiB;disk,*");
        assert_eq!(canonical("denoiser=auto"), "auto");
        let vram: OfPart<VirtualVram> = "t5=200mb".parse().unwrap();
        assert_eq!((vram.part, vram.to_string().as_str()), (Part::T5, "t5=200MiB"));
        assert_eq!("vae=disk, cpu".parse::<OfPart<Donors>>().unwrap().to_string(), "vae=disk,cpu");
        assert_eq!("clip_l=disk,3-4".parse::<OfPart<Pins>>().unwrap().part, Part::ClipL);
    }

    #[test]
    fn what_cannot_be_meant_is_pointed_at() {
        let check = |text: &str, message: &str| {
            let error = text.parse::<OfPart<Allocation>>().unwrap_err();
            assert_eq!(error.to_string(), message, "{text}");
            assert!(!error.hint.is_empty());
        };
        check("text=cpu,*", "column 1: `text` is no part of a model");
        check("=cpu,*", "column 1: `` is no part of a model");
        check("vae=", "column 5: nothing stands here");
        check("vae=cpu,1GiB;tape,*", "column 14: `tape` is not a device that holds weights");
        check("  vae = cpu,1foo", "column 14: `foo` is not a unit");
        let donors = |text: &str| text.parse::<OfPart<Donors>>().unwrap_err().to_string();
        assert_eq!(donors("vae=disk,disk"), "column 10: `disk` is named twice");
        assert_eq!(donors("clip="), "column 6: nothing stands here");
        let hint = |text: &str| text.parse::<OfPart<Donors>>().unwrap_err().hint;
        assert_eq!(hint("cpu,"), "write devices with commas between them, such as `cpu,disk`");
    }

    #[test]
    fn values_of_several_parts_stand_in_one_text() {
        let read = |text: &str| {
            let values = OfPart::<VirtualVram>::read_all(text).map_err(|e| e.to_string())?;
            Ok::<_, String>(values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "))
        };
        assert_eq!(read("4gb|vae=auto | clip = 1mb"), Ok("4GiB | vae=auto | clip=1MiB".to_owned()));
        assert_eq!(read("  "), Ok(String::new()));
        assert_eq!(read("4gb | vae=1x"), Err("column 12: `x` is not a unit".to_owned()));
        assert_eq!(read("vae=1mb | vae=2mb"), Err("column 11: something is said of vae twice".to_owned()));
    }

    #[test]
    fn what_is_said_of_text_encoders_is_said_of_each_that_is_not_named() {
        let half = |bytes: &str| OffloadAsk { virtual_vram: bytes.parse().unwrap(), ..OffloadAsk::default() };
        let mut asks: PartAsks = [(Part::Clip, half("1MiB")), (Part::T5, half("2MiB")), (Part::ClipG, half("0"))].into_iter().collect();
        assert_eq!((asks.of(Part::ClipL), asks.of(Part::T5), asks.of(Part::Vae)), (half("1MiB"), half("2MiB"), half("0")));
        assert_eq!(asks.of(Part::ClipG), half("0"), "that nothing of it leaves is said of it, too");
        asks.edit(Part::T5, |ask| *ask = OffloadAsk::default());
        assert_eq!(asks.of(Part::T5), half("0"));
        asks.edit(Part::T5, |ask| ask.virtual_vram = VirtualVram::Auto);
        asks.unsay(Part::T5, |ask| ask.virtual_vram = VirtualVram::None);
        assert_eq!((asks.of(Part::T5), asks.said(Part::T5)), (half("1MiB"), None));
        asks.unsay(Part::ClipG, |ask| ask.donors = Vec::new());
        assert_eq!(asks.iter().map(|(part, _)| part).collect::<Vec<_>>(), [Part::Clip, Part::ClipG]);
    }

    #[test]
    fn asks_are_a_table_by_the_names_of_parts() {
        let text = r#"{"clip_l":{"virtual_vram":"1MiB","donors":["disk"],"expert":null}}"#;
        let asks: PartAsks = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&asks).unwrap(), text);
        for part in Part::ALL {
            assert_eq!(serde_json::to_value(part).unwrap(), part.name());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(clip|vae|=|\\||cpu|disk|,|;|\\*|[0-9]{1,2}|mb|auto| ){0,10}") {
            if let Ok(values) = OfPart::<Allocation>::read_all(&text) {
                let written = values.iter().map(ToString::to_string).collect::<Vec<_>>().join("|");
                prop_assert_eq!(OfPart::read_all(&written), Ok(values));
            }
        }
    }
}
