//! Texts that have a grammar of their own, as flags have them: what it says of one that cannot be read, and where that stands.
//!
//! The reader of YAML passes on words alone. So a document that it refuses is looked through once more, for these texts.

use std::fmt;
use std::str::FromStr;

use serde_yaml::Value;

use super::{as_donors, as_gigabytes, position};
use crate::placement::{AllocationError, Expert, Pins};

/// A text that cannot be read, or that goes with no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misread {
    /// The keys that lead to it.
    keys: Vec<String>,
    /// What is wrong with it, with the column within it.
    pub problem: String,
    /// What to do about it.
    pub hint: String,
}

impl Misread {
    /// Returns what is wrong with the value to which these keys lead.
    pub(super) fn new(keys: &[&str], problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { keys: keys.iter().map(|key| (*key).to_owned()).collect(), problem: problem.into(), hint: hint.into() }
    }

    /// Returns the first of these texts in a document that cannot be read. The profile in it stands under these keys.
    #[must_use]
    pub fn find(document: &str, under: &[&str]) -> Option<Self> {
        // What is no YAML at all is told of by its reader.
        let document: Value = serde_yaml::from_str(document).ok()?;
        let profile = under.iter().try_fold(&document, |value, key| value.get(key))?;
        let parts = profile.get("parts").and_then(Value::as_mapping);
        let named = parts.into_iter().flatten().filter_map(|(name, said)| Some((vec!["parts", name.as_str()?], said)));
        [(Vec::new(), profile)].into_iter().chain(named).find_map(|(before, said)| {
            let (key, error) = misread(said)?;
            let keys: Vec<&str> = under.iter().copied().chain(before).chain([key]).collect();
            Some(Self::new(&keys, error.to_string(), error.hint))
        })
    }

    /// Returns the same in a document that has the profile under this key.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        self.keys.insert(0, key.to_owned());
        self
    }

    /// Returns line and column of its value in the document, from 1.
    #[must_use]
    pub fn place(&self, document: &str) -> (usize, usize) {
        position::of_value(&self.keys.iter().map(String::as_str).collect::<Vec<_>>(), document).unwrap_or((1, 1))
    }
}

impl fmt::Display for Misread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.keys.join("."), self.problem)
    }
}

/// Returns which of the four texts about a part cannot be read, and why.
fn misread(said: &Value) -> Option<(&'static str, AllocationError)> {
    fn typed<T: FromStr<Err = AllocationError>>(value: &Value) -> Option<AllocationError> {
        value.as_str().and_then(|text| text.parse::<T>().err())
    }
    let wrong = |key: &'static str, of: fn(&Value) -> Option<AllocationError>| Some((key, said.get(key).and_then(of)?));
    wrong("virtual_vram_gb", |value| as_gigabytes::typed(value)?.err())
        .or_else(|| wrong("donor_device", |value| as_donors::typed(value)?.err()))
        .or_else(|| wrong("expert_mode_allocations", typed::<Expert>))
        .or_else(|| wrong("pin_blocks", typed::<Pins>))
}
