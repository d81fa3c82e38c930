//! A refusal: what is wrong, what to do, and the exit code it leads to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::placement::{BudgetError, ProposalError};
use crate::units::Bytes;

/// The kind of a refusal; each has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The work was tried and failed.
    Failed,
    /// The question itself is wrong.
    Usage,
    /// There is no daemon, or the connection was lost.
    NoDaemon,
    /// What was named does not exist.
    NotFound,
    /// It exists but does not fit the budgets, or the state forbids it.
    Refused,
    /// A file is damaged, hostile, or of a kind we do not open.
    BadFile,
    /// Stopped by the operator.
    Interrupted,
}

impl Kind {
    /// Returns the exit code.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoDaemon => 3,
            Self::NotFound => 4,
            Self::Refused => 5,
            Self::BadFile => 6,
            Self::Interrupted => 130,
        }
    }
}

/// An error as an operator sees it: one line that says what and where, and a hint that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind it is.
    pub kind: Kind,
    /// What is wrong, and with what.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// Returns a refusal with a hint.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: Some(hint.into()) }
    }

    /// Returns a refusal for which there is nothing to advise.
    #[must_use]
    pub fn bare(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }
}

impl From<&ProposalError> for Refusal {
    fn from(error: &ProposalError) -> Self {
        let kind = match error {
            ProposalError::Budget(BudgetError::Ask(_)) => Kind::Usage,
            ProposalError::Budget(BudgetError::Absent { .. }) => Kind::NotFound,
            ProposalError::Budget(BudgetError::Compute { .. } | BudgetError::Donors { .. })
            | ProposalError::Shortage(_)
            | ProposalError::Crowded { .. } => Kind::Refused,
        };
        Self::new(kind, error.to_string(), error.hint())
    }
}

impl Refusal {
    /// Returns the refusal of weights that cannot live where they were asked to, where so much virtual VRAM would do.
    #[must_use]
    pub fn of_placing(error: &ProposalError, least: Option<Bytes>) -> Self {
        let refusal = Self::from(error);
        match least.filter(|least| refusal.kind == Kind::Refused && *least > Bytes::ZERO) {
            Some(least) => Self { hint: Some(format!("--virtual-vram {}b is the least that fits now", least.get())), ..refusal },
            None => refusal,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
