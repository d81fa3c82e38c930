//! What follows when something that takes time is done.

use super::input::Asker;
use crate::jobs::JobState;
use crate::units::{DeviceId, JobId, RunId};
use crate::wire::PlanAsk;
use crate::wire::control::{CalibrateAsk, CalibrationView, Topics};

/// What follows when something that takes time is done.
#[derive(Debug, Clone, PartialEq)]
pub enum Pending {
    /// Nothing.
    Nothing,
    /// The devices were read: look at the drafts that wait for it.
    FirstReadings,
    /// The devices were read: look at what is loaded ahead.
    ReadingsAhead,
    /// What is loaded ahead was looked at: have the set of this place in the profile loaded.
    LookAhead(usize),
    /// A draft was looked at: append it.
    Draft {
        /// Who wants it.
        asker: Asker,
        /// Whether it waits for its operator.
        held: bool,
    },
    /// A job was appended: take it into the queue and say its number.
    Append(Asker),
    /// Jobs were changed: tell everybody, and whoever asked for it.
    Change(Option<(Asker, Vec<JobId>)>),
    /// What the operator set is kept: say so.
    Setting(Asker),
    /// Jobs may be tried again if their state allows it.
    RetryCheck(Asker),
    /// Jobs are to be tried again: take them into the queue. They were in these states.
    Retry(Asker, Vec<(JobId, JobState)>),
    /// Something was wanted of a job that is not in the queue: say why it cannot be.
    Explain(Asker, &'static str),
    /// Jobs were forgotten.
    Clear(Asker),
    /// A page of a list.
    Page(Asker),
    /// One job.
    Show(Asker),
    /// The devices were read: tell of them.
    Devices(Asker),
    /// The devices were read: work out a plan.
    Plan(Asker, Box<PlanAsk>),
    /// The devices were read: look at what is to be calibrated.
    Calibrate(Asker, CalibrateAsk),
    /// What is to be calibrated was looked at: have it done.
    Calibration {
        /// Who wants it.
        asker: Asker,
        /// Whether a model's steps are measured too.
        with_network: bool,
    },
    /// What is to be loaded was looked at: have it done.
    LoadSet(Asker),
    /// What a calibration has found is on disk: tell of it.
    Calibrated(Asker, Box<CalibrationView>),
    /// The devices were read: tell what plans are worked out from.
    Tune(Asker, Box<PlanAsk>),
    /// The devices were read: tell of everything.
    StatusReadings(Asker),
    /// Everything, once.
    Status(Asker),
    /// Everything, and then what changes.
    Subscribe(Asker, Topics),
    /// Everything anew for those who then listen to it, or to this job.
    Refresh(Option<JobId>),
    /// An attempt has a number: give it to the engine.
    Assign {
        /// The job.
        job: JobId,
        /// The engine's device.
        device: DeviceId,
        /// The engine's process.
        generation: u64,
    },
    /// A result is on record: give the pictures their names.
    Record(RunId),
}

impl Pending {
    /// Returns whether nothing is lost if nobody waits for it.
    #[must_use]
    pub fn is_a_question(&self) -> bool {
        match self {
            Self::Draft { .. }
            | Self::RetryCheck(_)
            | Self::Explain(..)
            | Self::Page(_)
            | Self::Show(_)
            | Self::Devices(_)
            | Self::Plan(..)
            | Self::Calibrate(..)
            | Self::Calibration { .. }
            | Self::LoadSet(_)
            | Self::ReadingsAhead
            | Self::LookAhead(_)
            | Self::Tune(..)
            | Self::StatusReadings(_)
            | Self::Status(_)
            | Self::Subscribe(..)
            | Self::Refresh(_) => true,
            Self::Nothing
            | Self::FirstReadings
            | Self::Append(_)
            | Self::Change(_)
            | Self::Setting(_)
            | Self::Retry(..)
            | Self::Clear(_)
            | Self::Assign { .. }
            | Self::Calibrated(..)
            | Self::Record(_) => false,
        }
    }

    /// Returns what a client will listen to that waits for its first snapshot.
    #[must_use]
    pub fn subscription(&self) -> Option<&Topics> {
        if let Self::Subscribe(_, topics) = self { Some(topics) } else { None }
    }

    /// Returns who waits for it, and no longer lets them wait.
    pub fn take_asker(&mut self) -> Option<Asker> {
        match self {
            Self::Change(asker) => asker.take().map(|(asker, _)| asker),
            Self::Draft { asker, .. }
            | Self::Append(asker)
            | Self::Setting(asker)
            | Self::RetryCheck(asker)
            | Self::Retry(asker, _)
            | Self::Explain(asker, _)
            | Self::Clear(asker)
            | Self::Page(asker)
            | Self::Show(asker)
            | Self::Devices(asker)
            | Self::Plan(asker, _)
            | Self::Calibrate(asker, _)
            | Self::Calibration { asker, .. }
            | Self::LoadSet(asker)
            | Self::Calibrated(asker, _)
            | Self::Tune(asker, _)
            | Self::StatusReadings(asker)
            | Self::Status(asker)
            | Self::Subscribe(asker, _) => Some(*asker),
            Self::Nothing
            | Self::FirstReadings
            | Self::ReadingsAhead
            | Self::LookAhead(_)
            | Self::Refresh(_)
            | Self::Assign { .. }
            | Self::Record(_) => None,
        }
    }
}
