//! What the original is asked, and what it answers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::distorch1;
use super::distorch2;
use super::error::CompatError;
use super::fractions::Fractions;
use crate::units::Bytes;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// The second DisTorch, for safetensors, as of version 2.6.3.
    Distorch2,
    /// The first DisTorch, for GGUF.
    Distorch1,
}

/// A text that names no rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` names no rules; use distorch2 or distorch-v1")]
pub struct RulesError {
    /// What was typed.
    pub text: String,
}

impl Rules {
    /// Returns their name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Distorch2 => "distorch2",
            Self::Distorch1 => "distorch-v1",
        }
    }

    /// Answers by these rules.
    pub fn place(self, question: &Question<'_>) -> Result<Answer, CompatError> {
        match self {
            Self::Distorch2 => distorch2::place(question),
            Self::Distorch1 => distorch1::place(question),
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Rules {
    type Err = RulesError;

    fn from_str(text: &str) -> Result<Self, RulesError> {
        let all = [Self::Distorch2, Self::Distorch1];
        all.into_iter().find(|r| r.name() == text).ok_or_else(|| RulesError { text: text.to_owned() })
    }
}

/// A module with weights of its own, the original's unit of placement.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leaf {
    /// Its name.
    pub name: String,
    /// Its weight and bias.
    pub bytes: Bytes,
    /// Whether it knows the word bias, even as "none".
    pub has_bias_attr: bool,
    /// What it is, such as `Linear`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
}

/// All the memory of each device, by its name.
pub type Totals = BTreeMap<String, Bytes>;

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The network that denoises.
    Network,
    /// A text encoder, whose embeddings stay where it computes.
    TextEncoder,
}

/// A model, a machine and a string.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The model's modules, in the order in which they were registered.
    pub leaves: &'a [Leaf],
    /// The machine.
    pub totals: &'a Totals,
    /// `<expert>#<compute>[;<gigabytes>;<donors>]`.
    pub allocation: &'a str,
    /// What the model is for.
    pub role: Role,
}

impl<'a> Question<'a> {
    /// Returns the size of the model.
    #[must_use]
    pub fn model(&self) -> Bytes {
        self.leaves.iter().map(|l| l.bytes).sum()
    }

    /// Returns the expert part and what follows the first `#`.
    #[must_use]
    pub fn parts(&self) -> (&'a str, Option<&'a str>) {
        self.allocation.split_once('#').map_or((self.allocation, None), |(expert, rest)| (expert, Some(rest)))
    }

    /// Returns the device that computes; the original takes the first GPU where the string says nothing.
    #[must_use]
    pub fn compute(&self) -> &'a str {
        let said = self.parts().1.filter(|rest| !rest.is_empty());
        said.map_or("cuda:0", |rest| rest.split(';').next().unwrap_or(rest))
    }

    /// Returns all the memory of a device.
    pub fn total(&self, device: &str) -> Result<f64, CompatError> {
        let total = self.totals.get(device).ok_or_else(|| CompatError::UnknownDevice { device: device.to_owned() })?;
        Ok(total.get() as f64)
    }
}

/// Why a module is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It fitted the device's quota.
    Fits,
    /// An embedding of a text encoder.
    Head,
    /// Too small, or of a kind that is never moved.
    Tiny,
    /// It fitted nowhere.
    Orphan,
}

/// Where a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The device.
    pub device: String,
    /// Why there.
    pub reason: Reason,
}

/// What a device holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// How much.
    pub bytes: Bytes,
    /// Which modules, in their order.
    pub blocks: Vec<String>,
}

/// Where the original puts everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The device that computes.
    pub compute: String,
    /// What it makes of the string: shares of the devices' memory.
    pub fractions: Fractions,
    /// The home of each module, in their order.
    pub homes: Vec<Home>,
}

impl Answer {
    /// Returns what each device holds; devices that hold nothing are left out.
    #[must_use]
    pub fn held(&self, leaves: &[Leaf]) -> BTreeMap<String, Held> {
        let mut all: BTreeMap<String, Held> = BTreeMap::new();
        for (home, leaf) in self.homes.iter().zip(leaves) {
            let held = all.entry(home.device.clone()).or_default();
            held.bytes += leaf.bytes;
            held.blocks.push(leaf.name.clone());
        }
        all
    }
}
