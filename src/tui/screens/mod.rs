//! The screens, and what opens above them. Each has a state of its own, an update and a view.

pub mod alerts;
pub mod cache;
pub mod compose;
pub mod detail;
pub mod devices;
pub mod gallery;
pub mod help;
pub mod log;
pub mod offload;
pub mod overview;
pub mod palette;
pub mod queue;
pub mod sets;

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Screen {
    /// Devices, sets, queue and events at a glance.
    Overview,
    /// All that is known of one device.
    Devices,
    /// What engines hold.
    Sets,
    /// What was converted.
    Cache,
    /// Where weights live.
    Offload,
    /// Jobs.
    Queue,
    /// The form of a run.
    Compose,
    /// Lines of the log.
    Log,
    /// Finished pictures.
    Gallery,
}

impl Screen {
    /// Every screen, in the order of the tabs.
    pub const ALL: &[Self] =
        &[Self::Overview, Self::Devices, Self::Sets, Self::Cache, Self::Offload, Self::Queue, Self::Compose, Self::Log, Self::Gallery];

    /// Returns its name.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Devices => "Devices",
            Self::Sets => "Sets",
            Self::Cache => "Cache",
            Self::Offload => "Offload",
            Self::Queue => "Queue",
            Self::Compose => "Run",
            Self::Log => "Log",
            Self::Gallery => "Gallery",
        }
    }

    /// Returns its name where there is little room.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Overview => "Over",
            Self::Devices => "Dev",
            Self::Offload => "Offl",
            Self::Gallery => "Gal",
            other @ (Self::Sets | Self::Cache | Self::Queue | Self::Compose | Self::Log) => other.title(),
        }
    }
}
