//! A value and where it was said.

use std::fmt;

use serde::{Serialize, Serializer};

/// Who said a value, the weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody; it is built in.
    Default,
    /// `config.yaml`.
    File,
    /// The profile in use.
    Profile(String),
    /// A variable of the environment.
    Environment(&'static str),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad("default"),
            Self::File => f.pad("file"),
            Self::Profile(name) => f.pad(&format!("profile {name}")),
            Self::Environment(name) | Self::Flag(name) => f.pad(name),
        }
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A value and where it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// What.
    pub value: T,
    /// By whom.
    pub origin: Origin,
}

impl<T> Told<T> {
    /// Returns what is built in, for others to say otherwise.
    #[must_use]
    pub fn default(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    /// Puts another value in its place, where one was said.
    #[must_use]
    pub fn or_told(self, value: Option<T>, origin: Origin) -> Self {
        match value {
            Some(value) => Self { value, origin },
            None => self,
        }
    }
}

impl<T> Told<Option<T>> {
    /// Puts another value in its place, where one was said; for settings that may stay unsaid.
    #[must_use]
    pub fn or_some(self, value: Option<T>, origin: Origin) -> Self {
        if value.is_some() { Self { value, origin } } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_to_speak_wins_and_is_remembered() {
        let told = Told::default(1).or_told(Some(2), Origin::File).or_told(None, Origin::Flag("--n"));
        assert_eq!(told, Told { value: 2, origin: Origin::File });
        let told = told.or_told(Some(3), Origin::Environment("PERILUNE_N"));
        assert_eq!((told.value, told.origin.to_string().as_str()), (3, "PERILUNE_N"));
    }
}
