//! How the link to the daemon stands, how old what is known is, and how soon a change must be seen.

use crate::units::Timestamp;
use crate::workflow::Refusal;

/// The connection to the daemon.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Not yet.
    Connecting,
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Why, and what to do.
        reason: Refusal,
        /// Since when.
        since: Timestamp,
        /// When it will be tried again.
        retry_at: Timestamp,
    },
}

/// How old what is known is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Freshness {
    /// Nothing was heard yet.
    Unheard,
    /// It is new.
    Live,
    /// It is so many seconds old.
    Old(f64),
}

/// How soon a change must be on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Soon: something was heard.
    Data,
    /// Now: the operator did something.
    Input,
}
