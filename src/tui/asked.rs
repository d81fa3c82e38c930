//! Requests that wait for their answer, and what to do when it comes.

use std::path::PathBuf;

use super::screens::sets::deeds::Deed;
use crate::units::JobId;
use crate::wire::CleanAsk;
use crate::workflow::JobDraft;

/// What a request was for.
#[derive(Debug, Clone, PartialEq)]
pub enum Purpose {
    /// To learn everything again, because the order of jobs is doubtful.
    Status,
    /// To have the traffic of this device's bus measured.
    Watch,
    /// To read the devices now.
    Devices,
    /// To fill the choices of the form.
    Models,
    /// To fill the log.
    Log,
    /// To show a job that was not known.
    Show(JobId),
    /// To learn what plans of a job are worked out from.
    Tune(Box<JobDraft>),
    /// To learn which precisions of this model suit the box.
    Advice(String),
    /// To learn what this draft would take.
    Estimate(Box<JobDraft>),
    /// To try where weights live.
    Trial,
    /// To measure the box.
    Probe,
    /// To list the conversions that there are.
    Cache,
    /// To convert; what, in words.
    Convert(String),
    /// To see what would go by this.
    CleanShown(CleanAsk),
    /// To have it go.
    Clean,
    /// To read a conversion.
    Verify(PathBuf),
    /// To keep a conversion, or let it go again.
    Keep(PathBuf, bool),
    /// To do something with a set.
    Set {
        /// What it is called.
        name: String,
        /// What.
        deed: Deed,
    },
    /// To send a signal; which, and to whom, in words.
    Signal(String),
    /// To find finished jobs.
    Finished,
    /// To show a finished job's pictures.
    Pictures(JobId),
    /// To submit the form.
    Submit(Box<Submission>),
    /// To take a waiting job back that a new one takes the place of.
    Replace {
        /// The one that waited.
        old: JobId,
        /// The new one.
        new: JobId,
    },
    /// To take waiting jobs back, page by page.
    CancelWaiting,
    /// To forget finished jobs.
    Clear,
    /// To do something to conversions.
    Conversions(ConversionDeed),
    /// To do something to jobs; none for the queue as a whole.
    Verb {
        /// What to say when it is done, as in `job 41 …`; nothing where the rows show it.
        done: Option<&'static str>,
        /// To which.
        jobs: Vec<JobId>,
    },
}

impl Purpose {
    /// Returns whether it changes something, and does not only look.
    #[must_use]
    pub fn acts(&self) -> bool {
        match self {
            Self::Trial
            | Self::Probe
            | Self::Convert(_)
            | Self::Clean
            | Self::Keep(..)
            | Self::Set { .. }
            | Self::Signal(_)
            | Self::Submit(_)
            | Self::Replace { .. }
            | Self::CancelWaiting
            | Self::Clear
            | Self::Conversions(_)
            | Self::Verb { .. } => true,
            Self::Status
            | Self::Watch
            | Self::Devices
            | Self::Models
            | Self::Log
            | Self::Show(_)
            | Self::Tune(_)
            | Self::Advice(_)
            | Self::Estimate(_)
            | Self::Cache
            | Self::CleanShown(_)
            | Self::Verify(_)
            | Self::Finished
            | Self::Pictures(_) => false,
        }
    }
}

/// What is done to conversions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConversionDeed {
    /// None goes on.
    Pause,
    /// They go on.
    Resume,
    /// One is given up.
    Cancel,
}

/// A submitted form.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What was submitted.
    pub draft: JobDraft,
    /// The waiting job that it takes the place of.
    pub replaces: Option<JobId>,
}

/// Requests that wait for their answer.
#[derive(Debug, Default)]
pub struct Asked {
    last: u64,
    open: Vec<(u64, Purpose)>,
}

impl Asked {
    /// Notes a request; returns its number.
    pub fn note(&mut self, purpose: Purpose) -> u64 {
        self.last += 1;
        self.open.push((self.last, purpose));
        self.last
    }

    /// Returns what the request of that number was for, and forgets it.
    pub fn take(&mut self, id: u64) -> Option<Purpose> {
        let at = self.open.iter().position(|(n, _)| *n == id)?;
        Some(self.open.remove(at).1)
    }

    /// Returns what the request of that number is for, if it waits.
    #[must_use]
    pub fn of(&self, id: u64) -> Option<&Purpose> {
        self.open.iter().find(|(n, _)| *n == id).map(|(_, purpose)| purpose)
    }

    /// Returns whether such a request waits.
    #[must_use]
    pub fn waits_for(&self, what: impl Fn(&Purpose) -> bool) -> bool {
        self.open.iter().any(|(_, purpose)| what(purpose))
    }

    /// Returns every request that will never be answered, and forgets them.
    pub fn abandon(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.open).into_iter().map(|(_, purpose)| purpose).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_finds_its_request_once() {
        let mut asked = Asked::default();
        let (first, second) = (asked.note(Purpose::Log), asked.note(Purpose::Models));
        assert_ne!(first, second);
        assert_eq!(asked.take(second), Some(Purpose::Models));
        assert_eq!(asked.take(second), None);
        assert!(asked.waits_for(|p| *p == Purpose::Log));
        assert_eq!(asked.abandon(), [Purpose::Log]);
    }
}
