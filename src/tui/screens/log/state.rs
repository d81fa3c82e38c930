//! Which lines of the log are shown, and where the operator is among them.

use std::collections::VecDeque;

use crate::tui::widgets::search::Search;
use crate::wire::LogLine;

/// How important a line is, the least first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a bug.
    Trace,
    /// For those who look closely.
    Debug,
    /// What happens.
    #[default]
    Info,
    /// What needs a look.
    Warn,
    /// What went wrong.
    Error,
}

impl Level {
    /// Every level, the least important first.
    pub const ALL: &[Self] = &[Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// Returns the level of a line. What calls itself something else is shown as information.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::ALL.iter().copied().find(|l| l.name() == name).unwrap_or_default()
    }

    /// Returns its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    /// Returns the level so many places further, the last where there is none.
    #[must_use]
    pub fn step(self, by: isize) -> Self {
        let last = Self::ALL.len() - 1;
        let at = (self as usize).saturating_add_signed(by).min(last);
        Self::ALL[at]
    }
}

/// Which lines are shown.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The selected line, counted from the first that was ever heard; `None` follows the end.
    pub at: Option<u64>,
    /// The least important lines to show.
    pub level: Level,
    /// What is looked for.
    pub search: Search,
}

impl State {
    /// Returns the lines that are shown, each with its number. `dropped` lines are gone already.
    #[must_use]
    pub fn shown<'a>(&self, lines: &'a VecDeque<LogLine>, dropped: u64) -> Vec<(u64, &'a LogLine)> {
        (dropped..).zip(lines).filter(|(_, line)| Level::of(&line.level) >= self.level).collect()
    }

    /// Returns the row of the selected line among those shown.
    #[must_use]
    pub fn cursor(&self, shown: &[(u64, &LogLine)]) -> Option<usize> {
        let last = shown.len().checked_sub(1)?;
        let Some(at) = self.at else { return Some(last) };
        Some(shown.partition_point(|(n, _)| *n < at).min(last))
    }
}
