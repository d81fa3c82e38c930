//! The screens, and what opens above them. Each has a state of its own, an update and a view.

pub mod compose;
pub mod detail;
pub mod help;
pub mod log;
pub mod offload;
pub mod overview;
pub mod palette;
pub mod queue;

/// A screen. Their numbers are fixed; those that are missing come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Screen {
    /// Devices, sets, queue and events at a glance.
    Overview,
    /// Where weights live.
    Offload,
    /// Jobs.
    Queue,
    /// The form of a run.
    Compose,
    /// Lines of the log.
    Log,
}

impl Screen {
    /// Every screen, in the order of the tabs.
    pub const ALL: &[Self] = &[Self::Overview, Self::Offload, Self::Queue, Self::Compose, Self::Log];

    /// Returns the key that leads to it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Overview => 1,
            Self::Offload => 5,
            Self::Queue => 6,
            Self::Compose => 7,
            Self::Log => 8,
        }
    }

    /// Returns its name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Offload => "Offload",
            Self::Queue => "Queue",
            Self::Compose => "Run",
            Self::Log => "Log",
        }
    }
}
