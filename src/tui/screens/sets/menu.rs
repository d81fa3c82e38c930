//! What opens above the list: how long a set stays, and which model is loaded.

use super::Target;
use crate::tui::screens::compose::pick::Pick;

/// What is open above the list.
#[derive(Debug, Clone)]
pub enum Menu {
    /// How long a set stays that no job uses.
    Keep(Keep),
    /// Which model is loaded.
    Load(Pick),
}

/// The open list of times.
#[derive(Debug, Clone)]
pub struct Keep {
    /// Which set stays.
    pub target: Target,
    /// The selected time.
    pub cursor: usize,
}

impl Keep {
    /// Returns the selected time.
    #[must_use]
    pub fn stay(&self) -> Stay {
        Stay::ALL[self.cursor.min(Stay::ALL.len() - 1)]
    }
}

/// How long a set stays that no job uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Ten minutes.
    Minutes,
    /// An hour.
    Hour,
    /// Eight hours.
    Shift,
    /// A day.
    Day,
    /// As long as nobody asks for its memory.
    Ever,
}

impl Stay {
    /// Every choice.
    pub const ALL: &[Self] = &[Self::Minutes, Self::Hour, Self::Shift, Self::Day, Self::Ever];

    /// Returns it as the command line has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Minutes => "10m",
            Self::Hour => "1h",
            Self::Shift => "8h",
            Self::Day => "24h",
            Self::Ever => "ever",
        }
    }

    /// Returns it in seconds; none for no end.
    #[must_use]
    pub fn seconds(self) -> Option<f64> {
        match self {
            Self::Minutes => Some(600.0),
            Self::Hour => Some(3_600.0),
            Self::Shift => Some(28_800.0),
            Self::Day => Some(86_400.0),
            Self::Ever => None,
        }
    }

    /// Returns what it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Minutes => "it leaves ten minutes after its last job",
            Self::Hour => "it leaves an hour after its last job",
            Self::Shift => "it leaves eight hours after its last job",
            Self::Day => "it leaves a day after its last job",
            Self::Ever => "it stays as long as nobody asks for its memory",
        }
    }

    /// Returns the place of the choice that is in force.
    #[must_use]
    pub fn place(keep_s: Option<f64>) -> usize {
        Self::ALL.iter().position(|stay| stay.seconds() == keep_s).unwrap_or(0)
    }
}
