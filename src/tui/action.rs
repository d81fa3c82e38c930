//! What an operator can ask for. A key, a palette entry and a command of the same name mean the same.

use super::player::Play;
use super::screens::Screen;

/// What an operator can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Leave; jobs go on.
    Quit,
    /// Stop this program for the shell's job control.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Read the devices now.
    Refresh,
    /// Go to a screen.
    GoTo(Screen),
    /// Go somewhere on the screen.
    Move(Motion),
    /// Open what is selected.
    Open,
    /// One level up.
    Back,
    /// Type a filter or a search.
    Filter,
    /// Open the command palette.
    Palette,
    /// Open the help of this screen.
    Help,
    /// Open the alerts.
    Alerts,
    /// Hide an alert.
    Hide,
    /// Stop the display, or show the present again.
    Freeze,
    /// Have the mouse select, or leave it to the terminal.
    Mouse,
    /// Complete what is typed.
    Complete,
    /// Copy the selected value.
    CopyValue,
    /// Copy the command that does the same.
    CopyCommand,
    /// Mark the selected row for the next verb.
    Mark,
    /// Mark every row that is shown.
    MarkAll,
    /// Do something with jobs.
    Job(JobVerb),
    /// Tune where weights live.
    Tune(TuneVerb),
    /// Do something with conversions that are there, or are to be.
    Cache(CacheVerb),
    /// Do something with model sets that are loaded, or are to be.
    Set(SetVerb),
    /// Look at devices in another way, or at what holds their memory.
    Device(DeviceVerb),
    /// Submit the form.
    SubmitJob,
    /// Submit the form as a held job.
    SubmitHeld,
    /// Set a field back to its default.
    ClearField,
    /// Bring back what was taken out of a field.
    RestoreField,
    /// Empty the form.
    ClearForm,
    /// Take a profile into the form.
    TakeProfile,
    /// Save the form as a profile.
    SaveProfile,
    /// Look at the log in another way.
    Log(LogVerb),
    /// Play a recording otherwise.
    Play(Play),
    /// Show the next box.
    NextHost,
    /// Say yes.
    Accept,
    /// Say no.
    Decline,
}

/// A way to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Motion {
    /// One row up.
    Up,
    /// One row down.
    Down,
    /// To the left, or the choice before.
    Left,
    /// To the right, or the next choice.
    Right,
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Half a page up.
    PageUp,
    /// Half a page down.
    PageDown,
    /// The next panel or field.
    NextPane,
    /// The panel or field before.
    PreviousPane,
}

/// Something to be done with jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobVerb {
    /// Take jobs back.
    Cancel,
    /// Take every waiting job back.
    CancelWaiting,
    /// Save the jobs that wait to a file.
    Save,
    /// Forget finished jobs.
    ClearFinished,
    /// Start no more jobs after the current ones, or go on.
    PauseQueue,
    /// Stop the running job at the next step border, or let it go on.
    PauseJob,
    /// Keep a waiting job back, or release it.
    Hold,
    /// Try finished jobs again.
    Retry,
    /// Take a job's settings into the form.
    Duplicate,
    /// Take a waiting job into the form, to be replaced on submitting.
    Edit,
    /// Open the tuner with a job's settings.
    Offload,
    /// Move a waiting job one place back.
    MoveDown,
    /// Move a waiting job one place forward.
    MoveUp,
    /// Keep conversions from going on, or let them.
    PauseConversions,
    /// Give up the conversion that the job at hand waits for, or the first.
    CancelConversion,
}

/// Something to be done in the tuner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TuneVerb {
    /// Type the wish.
    Edit,
    /// Write it in the next way.
    NextWay,
    /// Take a donor in, or out.
    Toggle,
    /// Let more leave the device that computes.
    MoreLeaves,
    /// Let less leave it.
    LessLeaves,
    /// Open the presets.
    Presets,
    /// Have a block live on a certain device.
    Pin,
    /// Let it live anywhere again.
    Unpin,
    /// Let every block live anywhere again.
    UnpinAll,
    /// Go to a block by its number.
    GoToBlock,
    /// Go back to the wish before.
    Undo,
    /// Put the wish into the Run form.
    Apply,
    /// Let a job that runs or waits have it now.
    ApplyNow,
    /// Try it with a short job.
    Trial,
    /// Save it as a profile.
    Save,
    /// Copy which blocks move.
    CopyDiff,
    /// Say how much is to stay free where it is computed.
    Floor,
    /// Measure the box.
    Probe,
}

/// Something to be done with conversions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheVerb {
    /// Choose a model and what it is converted to.
    Convert,
    /// Read files and compare them with what was written.
    Verify,
    /// Choose a rule, and see what would go by it.
    Clean,
    /// Remove the file, or the marked ones.
    Remove,
    /// Keep the file, or the marked ones, whatever rule cleans, or let them go again.
    Keep,
    /// Order the rows by something else.
    Sort,
    /// Turn the order of the rows around.
    Reverse,
}

/// Something to be done with model sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SetVerb {
    /// Choose a model and load it.
    Load,
    /// Have the set at hand leave.
    Unload,
    /// Have it stay whoever asks for its memory, or let it leave again.
    Pin,
    /// Choose how long it stays that no job uses.
    Keep,
}

/// Something to be done with the device at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceVerb {
    /// Show a longer time, or the shortest again.
    Span,
    /// Choose a signal for the process at hand.
    Signal,
}

/// A way to look at the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogVerb {
    /// Follow its end, or stop following.
    Follow,
    /// Show more levels.
    MoreLevels,
    /// Show fewer levels.
    FewerLevels,
    /// To the next line that was searched for.
    NextMatch,
    /// To the line before that was searched for.
    PreviousMatch,
}

impl Motion {
    /// Returns the row that this leads to from `at` among `rows`, of which `page` are seen.
    #[must_use]
    pub fn row(self, at: usize, rows: usize, page: usize) -> usize {
        let half = (page / 2).max(1);
        let to = match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at + 1,
            Self::First => 0,
            Self::Last => rows,
            Self::PageUp => at.saturating_sub(half),
            Self::PageDown => at + half,
            Self::Left | Self::Right | Self::NextPane | Self::PreviousPane => at,
        };
        to.min(rows.saturating_sub(1))
    }
}

impl Action {
    /// Returns whether it takes away what cannot be brought back, and so must ask first. What only opens a list takes nothing
    /// away yet.
    #[must_use]
    pub fn is_destructive(self) -> bool {
        match self {
            Self::Job(verb) => match verb {
                JobVerb::Cancel | JobVerb::CancelWaiting | JobVerb::ClearFinished | JobVerb::CancelConversion => true,
                JobVerb::PauseQueue
                | JobVerb::PauseConversions
                | JobVerb::PauseJob
                | JobVerb::Hold
                | JobVerb::Retry
                | JobVerb::Duplicate
                | JobVerb::Edit
                | JobVerb::Offload
                | JobVerb::Save
                | JobVerb::MoveDown
                | JobVerb::MoveUp => false,
            },
            Self::Cache(CacheVerb::Remove) | Self::Set(SetVerb::Unload) | Self::ClearForm => true,
            Self::Quit
            | Self::Suspend
            | Self::Redraw
            | Self::Refresh
            | Self::GoTo(_)
            | Self::Move(_)
            | Self::Open
            | Self::Back
            | Self::Filter
            | Self::Palette
            | Self::Help
            | Self::Alerts
            | Self::Hide
            | Self::Freeze
            | Self::Mouse
            | Self::Complete
            | Self::CopyValue
            | Self::CopyCommand
            | Self::Mark
            | Self::MarkAll
            | Self::SubmitJob
            | Self::SubmitHeld
            | Self::ClearField
            | Self::RestoreField
            | Self::TakeProfile
            | Self::SaveProfile
            | Self::Tune(_)
            | Self::Cache(
                CacheVerb::Convert | CacheVerb::Verify | CacheVerb::Clean | CacheVerb::Keep | CacheVerb::Sort | CacheVerb::Reverse,
            )
            | Self::Set(SetVerb::Load | SetVerb::Pin | SetVerb::Keep)
            | Self::Device(DeviceVerb::Span | DeviceVerb::Signal)
            | Self::Log(_)
            | Self::Play(_)
            | Self::NextHost
            | Self::Accept
            | Self::Decline => false,
        }
    }

    /// Returns whether it asks something of the daemon, and so needs one.
    #[must_use]
    pub fn needs_daemon(self) -> bool {
        match self {
            Self::Job(verb) => !matches!(verb, JobVerb::Duplicate | JobVerb::Edit | JobVerb::Offload | JobVerb::Save),
            Self::Tune(verb) => matches!(verb, TuneVerb::Trial | TuneVerb::ApplyNow | TuneVerb::Probe),
            Self::Cache(verb) => !matches!(verb, CacheVerb::Sort | CacheVerb::Reverse),
            Self::Device(verb) => verb == DeviceVerb::Signal,
            other => matches!(other, Self::Set(_) | Self::Refresh | Self::SubmitJob | Self::SubmitHeld),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn motions_stay_among_the_rows() {
        let all = [Motion::Up, Motion::Down, Motion::First, Motion::Last, Motion::PageUp, Motion::PageDown, Motion::Left];
        assert_eq!(all.map(|m| m.row(5, 20, 10)), [4, 6, 0, 19, 0, 10, 5]);
        assert_eq!(all.map(|m| m.row(0, 0, 0)), [0; 7]);
        assert_eq!(Motion::Down.row(19, 20, 10), 19);
    }
}
