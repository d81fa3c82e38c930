//! What the details are about.

use std::path::PathBuf;

use crate::units::{DeviceId, JobId};
use crate::wire::{LogLine, Notice};
use crate::workflow::SetId;

/// What the details are about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A job.
    Job(JobId),
    /// A device.
    Device(DeviceId),
    /// A loaded model set, by its number and the device that computes with it.
    Set(SetId, DeviceId),
    /// A conversion that is there.
    Cached(PathBuf),
    /// A notice.
    Notice(Notice),
    /// A line of the log.
    Line(LogLine),
}

/// Open details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What they are about.
    pub subject: Subject,
    /// The first row that is shown.
    pub scroll: usize,
}
