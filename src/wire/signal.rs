//! A signal for a process that holds memory of a device.

use serde::{Deserialize, Serialize};

/// A signal for a process. Its number alone would be another process's when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalAsk {
    /// Its number.
    pub pid: u32,
    /// The kernel's clock when it started, as it was read.
    pub start_ticks: u64,
    /// What it is told.
    pub signal: ProcessSignal,
}

/// What a process can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProcessSignal {
    /// To interrupt what it does, as ctrl-c does.
    Interrupt,
    /// To end.
    Terminate,
    /// Nothing: the system ends it at once.
    Kill,
    /// To stop until it is continued.
    Stop,
    /// To go on.
    Continue,
}

impl ProcessSignal {
    /// Every one, the mildest first.
    pub const ALL: &[Self] = &[Self::Terminate, Self::Interrupt, Self::Kill, Self::Stop, Self::Continue];

    /// Returns its name, as `kill` knows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}
