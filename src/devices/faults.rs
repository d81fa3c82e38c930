//! Faults that a GPU's driver tells of by number: Xids, as NVIDIA calls them.

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

/// What a driver has told of a GPU's faults since somebody listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Since when somebody listens.
    pub since: Timestamp,
    /// How many were told.
    pub count: u64,
    /// The last of them.
    pub last: Option<Xid>,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Xid {
    /// Its number.
    pub code: u64,
    /// What that means, in a few words.
    pub meaning: String,
    /// When it was heard of.
    pub time: Timestamp,
}

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// A program's: it ends, and the GPU goes on.
    Program,
    /// The GPU's, its memory's or its driver's: jobs will fail.
    Gpu,
}

/// Numbers that operators meet, each with what it means. NVIDIA's catalogue of Xids has the others.
const KNOWN: &[(u64, Blame, &str)] = &[
    (13, Blame::Program, "a program made the graphics engine fail"),
    (31, Blame::Program, "a program touched memory that is not its own"),
    (32, Blame::Gpu, "a corrupted command stream reached it"),
    (43, Blame::Program, "a program's work was stopped after a fault"),
    (45, Blame::Program, "work was removed because its program ended"),
    (48, Blame::Gpu, "its memory has an error that cannot be corrected"),
    (61, Blame::Gpu, "its own controller stopped"),
    (62, Blame::Gpu, "its own controller halted"),
    (63, Blame::Gpu, "a bad row of its memory is replaced at the next reset"),
    (64, Blame::Gpu, "a bad row of its memory could not be replaced"),
    (74, Blame::Gpu, "an NVLink failed"),
    (79, Blame::Gpu, "it has fallen off the bus"),
    (92, Blame::Gpu, "its memory corrects errors far too often"),
    (94, Blame::Gpu, "an error of its memory ended the program that had it"),
    (95, Blame::Gpu, "an error of its memory may have spoiled every program"),
    (109, Blame::Gpu, "switching between programs took too long"),
    (119, Blame::Gpu, "its system processor does not answer the driver"),
    (120, Blame::Gpu, "its system processor failed"),
    (140, Blame::Gpu, "its memory has an error that was not recovered"),
];

impl Xid {
    /// Returns the fault of this number.
    #[must_use]
    pub fn new(code: u64, time: Timestamp) -> Self {
        let meaning = KNOWN.iter().find(|(known, ..)| *known == code).map_or("see NVIDIA's catalogue of Xids", |(.., words)| words);
        Self { code, meaning: meaning.to_owned(), time }
    }

    /// Returns whose fault it is; one that is not known counts as the GPU's.
    #[must_use]
    pub fn blame(&self) -> Blame {
        KNOWN.iter().find(|(known, ..)| *known == self.code).map_or(Blame::Gpu, |(_, blame, _)| *blame)
    }
}

impl std::fmt::Display for Xid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Xid {}: {}", self.code, self.meaning)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_words_and_the_unknown_counts_as_grave() {
        let told = |code| Xid::new(code, Timestamp(0));
        assert_eq!(told(79).to_string(), "Xid 79: it has fallen off the bus");
        assert_eq!((told(13).blame(), told(79).blame(), told(4711).blame()), (Blame::Program, Blame::Gpu, Blame::Gpu));
        assert_eq!(told(4711).to_string(), "Xid 4711: see NVIDIA's catalogue of Xids");
    }
}
