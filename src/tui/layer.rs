//! The places where keys have a meaning.

/// A place where keys have a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// A question is asked.
    Confirm,
    /// The command palette.
    Palette,
    /// The help.
    Help,
    /// A filter or search is typed.
    Filter,
    /// A choice of the form is open.
    Pick,
    /// A field of the form is typed into.
    Edit,
    /// Something is typed in the tuner.
    Wish,
    /// The presets of the tuner are open.
    Presets,
    /// The alerts.
    Alerts,
    /// Details of something.
    Detail,
    /// A job is selected, or could be.
    Jobs,
    /// The screens.
    Overview,
    /// One device.
    Devices,
    /// Signals for a process.
    Signals,
    /// What engines hold.
    Sets,
    /// How long a set stays.
    Stays,
    /// What was converted.
    Cache,
    /// Rules by which conversions go.
    Rules,
    /// Finished pictures.
    Gallery,
    /// Where weights live.
    Offload,
    /// The queue.
    Queue,
    /// The form of a run.
    Compose,
    /// The log.
    Log,
    /// A recording is played.
    Replay,
    /// Several boxes are shown.
    Hosts,
    /// Every screen and every list.
    Everywhere,
    /// Even where a question is asked.
    Always,
}

impl Layer {
    /// Every layer, in the order of the documentation.
    pub const ALL: &[Self] = &[
        Self::Everywhere,
        Self::Overview,
        Self::Devices,
        Self::Signals,
        Self::Sets,
        Self::Stays,
        Self::Cache,
        Self::Rules,
        Self::Offload,
        Self::Wish,
        Self::Presets,
        Self::Queue,
        Self::Jobs,
        Self::Compose,
        Self::Edit,
        Self::Pick,
        Self::Log,
        Self::Gallery,
        Self::Detail,
        Self::Alerts,
        Self::Filter,
        Self::Help,
        Self::Palette,
        Self::Confirm,
        Self::Replay,
        Self::Hosts,
        Self::Always,
    ];

    /// Returns the name that `keys.yaml` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Palette => "palette",
            Self::Help => "help",
            Self::Filter => "filter",
            Self::Pick => "pick",
            Self::Edit => "edit",
            Self::Wish => "wish",
            Self::Presets => "presets",
            Self::Alerts => "alerts",
            Self::Detail => "detail",
            Self::Jobs => "jobs",
            Self::Overview => "overview",
            Self::Devices => "devices",
            Self::Signals => "signals",
            Self::Sets => "sets",
            Self::Stays => "stays",
            Self::Cache => "cache",
            Self::Rules => "rules",
            Self::Gallery => "gallery",
            Self::Offload => "offload",
            Self::Queue => "queue",
            Self::Compose => "run",
            Self::Log => "log",
            Self::Replay => "recording",
            Self::Hosts => "boxes",
            Self::Everywhere => "everywhere",
            Self::Always => "always",
        }
    }

    /// Returns its heading in help and documentation.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Confirm => "A question",
            Self::Palette => "Command palette",
            Self::Help => "Help",
            Self::Filter => "While filtering",
            Self::Pick => "A list of choices",
            Self::Edit => "While typing in the form",
            Self::Wish => "While typing in the tuner",
            Self::Presets => "Presets of the tuner",
            Self::Alerts => "Alerts",
            Self::Detail => "Details",
            Self::Jobs => "Jobs",
            Self::Overview => "Overview",
            Self::Devices => "Devices",
            Self::Signals => "Signals for a process",
            Self::Sets => "Sets",
            Self::Stays => "How long a set stays",
            Self::Cache => "Cache",
            Self::Rules => "Rules of cleaning",
            Self::Gallery => "Gallery",
            Self::Offload => "Offload",
            Self::Queue => "Queue",
            Self::Compose => "Run",
            Self::Log => "Log",
            Self::Replay => "Recordings",
            Self::Hosts => "Several boxes",
            Self::Everywhere => "Everywhere",
            Self::Always => "Always",
        }
    }

    /// Returns whether letters are typed here.
    #[must_use]
    pub fn takes_text(self) -> bool {
        matches!(self, Self::Palette | Self::Filter | Self::Pick | Self::Edit | Self::Wish)
    }
}
