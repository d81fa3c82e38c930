//! What actions are called in `keys.yaml`.

use super::action::{Action, CacheVerb, DeviceVerb, JobVerb, LogVerb, Motion, SetVerb, TuneVerb};
use super::player::Play;
use super::screens::Screen;

impl Action {
    /// Returns the name that `keys.yaml` uses. Each action has one of its own.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quit => "quit",
            Self::Suspend => "suspend",
            Self::Redraw => "redraw",
            Self::Refresh => "refresh",
            Self::GoTo(screen) => of_screen(screen),
            Self::Move(motion) => of_motion(motion),
            Self::Open => "open",
            Self::Back => "back",
            Self::Filter => "filter",
            Self::Palette => "palette",
            Self::Help => "help",
            Self::Alerts => "alerts",
            Self::Hide => "hide",
            Self::Freeze => "freeze",
            Self::Mouse => "mouse",
            Self::Complete => "complete",
            Self::CopyValue => "copy",
            Self::CopyCommand => "copy-command",
            Self::Mark => "mark",
            Self::MarkAll => "mark-all",
            Self::Job(verb) => of_jobs(verb),
            Self::Tune(verb) => of_tuner(verb),
            Self::Cache(verb) => of_cache(verb),
            Self::Set(verb) => of_sets(verb),
            Self::Device(DeviceVerb::Span) => "time",
            Self::Device(DeviceVerb::Signal) => "signal",
            Self::SubmitJob => "submit",
            Self::SubmitHeld => "submit-held",
            Self::ClearField => "clear-field",
            Self::RestoreField => "restore-field",
            Self::ClearForm => "clear-form",
            Self::TakeProfile => "take-profile",
            Self::SaveProfile => "save-form",
            Self::Log(verb) => of_log(verb),
            Self::Play(play) => of_recording(play),
            Self::NextHost => "next-box",
            Self::Accept => "accept",
            Self::Decline => "decline",
        }
    }
}

fn of_screen(screen: Screen) -> &'static str {
    match screen {
        Screen::Overview => "overview",
        Screen::Devices => "devices",
        Screen::Sets => "sets",
        Screen::Cache => "cache",
        Screen::Offload => "offload",
        Screen::Queue => "queue",
        Screen::Compose => "run",
        Screen::Log => "log",
        Screen::Gallery => "gallery",
    }
}

fn of_motion(motion: Motion) -> &'static str {
    match motion {
        Motion::Up => "up",
        Motion::Down => "down",
        Motion::Left => "left",
        Motion::Right => "right",
        Motion::First => "first",
        Motion::Last => "last",
        Motion::PageUp => "page-up",
        Motion::PageDown => "page-down",
        Motion::NextPane => "next-panel",
        Motion::PreviousPane => "previous-panel",
    }
}

fn of_jobs(verb: JobVerb) -> &'static str {
    match verb {
        JobVerb::Cancel => "cancel-job",
        JobVerb::CancelWaiting => "cancel-waiting",
        JobVerb::ClearFinished => "clear-finished",
        JobVerb::PauseQueue => "pause-queue",
        JobVerb::PauseJob => "pause-job",
        JobVerb::Hold => "hold-job",
        JobVerb::Retry => "retry-job",
        JobVerb::Duplicate => "duplicate-job",
        JobVerb::Edit => "edit-job",
        JobVerb::Offload => "offload-job",
        JobVerb::MoveDown => "move-job-down",
        JobVerb::MoveUp => "move-job-up",
        JobVerb::PauseConversions => "pause-conversions",
        JobVerb::CancelConversion => "cancel-conversion",
        JobVerb::Save => "save-jobs",
    }
}

fn of_tuner(verb: TuneVerb) -> &'static str {
    match verb {
        TuneVerb::Edit => "edit-wish",
        TuneVerb::NextWay => "next-way",
        TuneVerb::Toggle => "toggle-donor",
        TuneVerb::MoreLeaves => "free-more",
        TuneVerb::LessLeaves => "free-less",
        TuneVerb::Presets => "presets",
        TuneVerb::Pin => "pin-block",
        TuneVerb::Unpin => "unpin-block",
        TuneVerb::UnpinAll => "unpin-all-blocks",
        TuneVerb::GoToBlock => "go-to-block",
        TuneVerb::Undo => "undo",
        TuneVerb::Apply => "apply",
        TuneVerb::ApplyNow => "apply-now",
        TuneVerb::Trial => "trial",
        TuneVerb::Save => "save-profile",
        TuneVerb::CopyDiff => "copy-diff",
        TuneVerb::Floor => "floor",
        TuneVerb::Probe => "probe",
    }
}

fn of_cache(verb: CacheVerb) -> &'static str {
    match verb {
        CacheVerb::Convert => "convert",
        CacheVerb::Verify => "verify-file",
        CacheVerb::Clean => "clean-cache",
        CacheVerb::Remove => "remove-file",
        CacheVerb::Keep => "keep-file",
        CacheVerb::Sort => "sort",
        CacheVerb::Reverse => "reverse",
    }
}

fn of_sets(verb: SetVerb) -> &'static str {
    match verb {
        SetVerb::Load => "load-set",
        SetVerb::Unload => "unload-set",
        SetVerb::Pin => "pin-set",
        SetVerb::Keep => "keep-set",
    }
}

fn of_log(verb: LogVerb) -> &'static str {
    match verb {
        LogVerb::Follow => "follow",
        LogVerb::MoreLevels => "more-levels",
        LogVerb::FewerLevels => "fewer-levels",
        LogVerb::NextMatch => "next-match",
        LogVerb::PreviousMatch => "previous-match",
    }
}

fn of_recording(play: Play) -> &'static str {
    match play {
        Play::Toggle => "play-or-pause",
        Play::Back => "ten-seconds-back",
        Play::Ahead => "ten-seconds-ahead",
        Play::FarBack => "minute-back",
        Play::FarAhead => "minute-ahead",
        Play::Faster => "faster",
        Play::Slower => "slower",
    }
}
