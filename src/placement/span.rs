//! A piece of a text that knows where it stands, for errors that point at it.

use super::error::{AllocationError, Problem};
use crate::units::DeviceId;

/// What is kept for weights on other machines.
const REMOTE: &str = "remote";

/// A trimmed piece of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    /// The piece.
    pub(super) text: &'a str,
    /// Where it begins, in characters from 1.
    pub(super) column: usize,
}

impl<'a> Span<'a> {
    pub(super) fn whole(text: &'a str) -> Self {
        Self { text, column: 1 }.trimmed()
    }

    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        if text.is_empty() {
            return Self { text, ..self };
        }
        let column = self.column + self.text.chars().count() - text.chars().count();
        Self { text: text.trim_end(), column }
    }

    /// The piece from this byte on.
    pub(super) fn from(self, at: usize) -> Self {
        let (before, text) = self.text.split_at(at);
        Self { text, column: self.column + before.chars().count() }.trimmed()
    }

    /// What stands before and behind the first of these.
    pub(super) fn split_once(self, separator: char) -> Option<(Self, Self)> {
        let (before, _) = self.text.split_once(separator)?;
        Some((Self { text: before, ..self }.trimmed(), self.from(before.len() + separator.len_utf8())))
    }

    /// What stands between these.
    pub(super) fn split(self, separator: char) -> Vec<Self> {
        let mut pieces = Vec::new();
        let mut rest = self;
        while let Some((piece, behind)) = rest.split_once(separator) {
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        pieces
    }

    pub(super) fn error(self, problem: Problem) -> AllocationError {
        AllocationError { column: self.column, hint: problem.hint(), problem }
    }

    /// Reads a device that can hold weights.
    pub(super) fn device(self) -> Result<DeviceId, AllocationError> {
        if self.text.is_empty() {
            return Err(self.error(Problem::Empty));
        }
        let lower = self.text.to_ascii_lowercase();
        let kind = lower.split(':').next().unwrap_or(&lower);
        if kind == REMOTE || lower.starts_with("disk:") {
            return Err(self.error(Problem::Reserved { text: self.text.to_owned() }));
        }
        let unknown = || self.error(Problem::UnknownDevice { text: self.text.to_owned() });
        match self.text.parse().map_err(|_| unknown())? {
            DeviceId::Amd(_) => Err(unknown()),
            device @ (DeviceId::Cuda(_) | DeviceId::Sim(_) | DeviceId::Cpu | DeviceId::Disk) => Ok(device),
        }
    }
}
