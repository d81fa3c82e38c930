//! What can go wrong with a run, and how libtorch's words become ours.

use std::any::Any;
use std::path::PathBuf;

use tch::TchError;

use super::simulated::TakeError;
use crate::families::{FamilyError, Role};
use crate::library::LibraryError;
use crate::placement::ProposalError;
use crate::placement::pool::Full;
use crate::units::{Bytes, DeviceId};
use crate::workflow::{Kind, Refusal};

/// Why a run ended without images.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operator took it back.
    #[error("cancelled")]
    Cancelled,
    /// The device has not enough memory.
    #[error("out of memory on {device} in {place}{}", asked.map(|a| format!(": {a} more were needed")).unwrap_or_default())]
    OutOfMemory {
        /// The device.
        device: DeviceId,
        /// The block, or what else was being done.
        place: String,
        /// What was asked for last.
        asked: Option<Bytes>,
    },
    /// The device has not enough memory, and giving weights back was of no use.
    #[error("{error}{}; {ledger}", repeats.map(|n| format!(", after {n} repeats of the step")).unwrap_or_default())]
    Exhausted {
        /// What happened last.
        error: Box<EngineError>,
        /// How often the step was repeated, if it was.
        repeats: Option<u32>,
        /// Who holds what of the device.
        ledger: String,
    },
    /// The device has not enough memory, and sets that no run uses stay there, since they are pinned.
    #[error("{error}; pinned there, and held by no run, are {held} of {}", sets.join(", "))]
    Kept {
        /// What happened.
        error: Box<EngineError>,
        /// What they take of the device.
        held: Bytes,
        /// What they are called.
        sets: Vec<String>,
    },
    /// A result is not a number.
    #[error("{place} gave values that are not numbers, in step {step}")]
    NotFinite {
        /// The first block whose output is not finite.
        place: String,
        /// The step.
        step: usize,
    },
    /// A file is wrong.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The tensors are no model.
    #[error("{}: {source}", path.display())]
    Family {
        /// The first of the files.
        path: PathBuf,
        /// What is wrong.
        source: FamilyError,
    },
    /// Weights were written to while they were computed with.
    #[error("{} was written to while a run computed with it", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Weights cannot live where they were asked to.
    #[error("{error}")]
    Placing {
        /// Why.
        error: Box<ProposalError>,
        /// The smallest virtual VRAM with which they can, where there is one.
        least: Option<Bytes>,
    },
    /// Memory whose budget is hard has no room for weights.
    #[error("{place}: {full}")]
    Budget {
        /// The block.
        place: String,
        /// What was needed, and what is free.
        full: Full,
    },
    /// It cannot be told what is left of simulated memory.
    #[error(transparent)]
    Simulated(#[from] TakeError),
    /// Nothing carries weights from there to there.
    #[error("weights cannot be streamed from {from} to {to}")]
    NoWay {
        /// The donor.
        from: DeviceId,
        /// The device that computes.
        to: DeviceId,
    },
    /// The device cannot be used.
    #[error("{device} cannot be used: {reason}")]
    NoDevice {
        /// The device.
        device: DeviceId,
        /// Why.
        reason: String,
    },
    /// A finished picture cannot be written.
    #[error(transparent)]
    Save(Refusal),
    /// libtorch refused a computation.
    #[error("libtorch failed in {place}: {reason}")]
    Torch {
        /// The block, or what else was being done.
        place: String,
        /// Its words, first line.
        reason: String,
    },
}

impl EngineError {
    /// Returns the error for something that unwound or that libtorch refused while doing `place`.
    #[must_use]
    pub fn from_torch_text(text: &str, device: DeviceId, place: &str) -> Self {
        let place = place.to_owned();
        if let Some(asked) = out_of_memory(text) {
            return Self::OutOfMemory { device, place, asked };
        }
        // Of what unwound, the words stand in quotation marks and their lines are told apart by two characters.
        let bare = text.trim_start_matches("called `Result::unwrap()` on an `Err` value: ");
        let bare = bare.strip_prefix("Torch(\"").map_or(bare, |words| words.split("\\n").next().unwrap_or(words).trim_end_matches("\")"));
        let line = bare.lines().find(|l| !l.trim().is_empty()).unwrap_or("no reason given");
        Self::Torch { place, reason: line.to_owned() }
    }

    /// Returns the error of a part that is asked for something which nobody gave it; no file is at fault.
    #[must_use]
    pub fn missing(role: Role, what: &str) -> Self {
        Self::Family { path: PathBuf::new(), source: FamilyError::Missing { role, tensor: what.to_owned() } }
    }

    /// Returns the error of a part that is not loaded.
    #[must_use]
    pub fn not_loaded(role: Role) -> Self {
        Self::missing(role, "every tensor")
    }

    /// Returns the error that libtorch gave while doing `place`.
    #[must_use]
    pub fn torch(error: &TchError, device: DeviceId, place: &str) -> Self {
        Self::from_torch_text(&error.to_string(), device, place)
    }

    /// Returns the device whose memory was too little, where that is what went wrong.
    #[must_use]
    pub fn short_of(&self, compute: DeviceId) -> Option<DeviceId> {
        match self {
            Self::OutOfMemory { device, .. } => Some(*device),
            Self::Budget { full, .. } => Some(full.device),
            Self::Exhausted { error, .. } => error.short_of(compute),
            Self::Placing { .. } => Some(compute),
            Self::Kept { .. }
            | Self::Cancelled
            | Self::NotFinite { .. }
            | Self::Changed { .. }
            | Self::NoWay { .. }
            | Self::Simulated(_)
            | Self::Library(_)
            | Self::Family { .. }
            | Self::Save(_)
            | Self::Torch { .. }
            | Self::NoDevice { .. } => None,
        }
    }

    /// Returns whether the engine can run another job after this.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        match self {
            // A CUDA context that failed once fails for ever; the supervisor starts a new engine.
            Self::Torch { .. } | Self::NoDevice { .. } => true,
            Self::Cancelled
            | Self::OutOfMemory { .. }
            | Self::Exhausted { .. }
            | Self::Kept { .. }
            | Self::NotFinite { .. }
            | Self::Changed { .. }
            | Self::Placing { .. }
            | Self::NoWay { .. }
            | Self::Budget { .. }
            | Self::Simulated(_)
            | Self::Library(_)
            | Self::Family { .. }
            | Self::Save(_) => false,
        }
    }
}

impl From<&EngineError> for Refusal {
    fn from(error: &EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::Cancelled => Self::bare(Kind::Interrupted, message),
            EngineError::OutOfMemory { .. } | EngineError::Exhausted { .. } => Self::new(
                Kind::Failed,
                message,
                "make the picture or the batch smaller, compute in fp16 or bf16, or free memory on the device; the engine goes on",
            ),
            EngineError::Kept { sets, .. } => {
                let names = sets.first().cloned().unwrap_or_default();
                Self::new(Kind::Refused, message, format!("`perilune sets unpin {names}` lets it leave; or let more leave the device"))
            }
            EngineError::NotFinite { .. } => {
                Self::new(Kind::Failed, message, "compute in fp32 or bf16: fp16 overflows in some models; or the weights are damaged")
            }
            EngineError::Library(source) => Self::new(source.kind(), message, source.hint()),
            EngineError::Family { source, .. } => Self::new(Kind::BadFile, message, source.hint()),
            EngineError::Changed { .. } => {
                Self::new(Kind::Failed, message, "give a new version its place by renaming it, then `perilune queue retry` this job")
            }
            EngineError::Placing { error, least } => Self::of_placing(error, *least),
            EngineError::Budget { .. } => Self::new(
                Kind::Refused,
                message,
                "let more leave the device, or let virtual VRAM be `auto`; a larger one is a matter of the daemon's profile",
            ),
            EngineError::Simulated(_) => Self::new(Kind::Failed, message, "see that the folder can be written to, and restart the daemon"),
            EngineError::NoWay { to: DeviceId::Cpu, .. } => Self::new(
                Kind::Refused,
                message,
                "the processor takes weights from `disk`: what is in memory it computes with where it lies",
            ),
            EngineError::NoWay { .. } => Self::new(Kind::Refused, message, "name other donors with --donor-device"),
            EngineError::NoDevice { .. } => {
                Self::new(Kind::Failed, message, "`perilune doctor` says what is missing; `perilune devices` lists what there is")
            }
            EngineError::Save(refusal) => refusal.clone(),
            EngineError::Torch { .. } => {
                Self::new(Kind::Failed, message, "`perilune queue show` has the engine's log; the engine is started again for the next job")
            }
        }
    }
}

/// Returns whether libtorch had too little memory.
#[must_use]
pub fn is_out_of_memory(error: &TchError) -> bool {
    out_of_memory(&error.to_string()).is_some()
}

/// Returns what was asked for, where libtorch's words mean that memory ran out.
#[expect(clippy::option_option, reason = "out of memory or not, and then the amount or not")]
fn out_of_memory(text: &str) -> Option<Option<Bytes>> {
    // c10/core/impl/alloc_cpu.cpp: "DefaultCPUAllocator: can't allocate memory: you tried to allocate 123 bytes."
    // c10/cuda/CUDACachingAllocator.cpp: "CUDA out of memory. Tried to allocate 2.00 GiB."
    let tail = |mark: &str| text.find(mark).map(|at| &text[at + mark.len()..]);
    if text.contains("can't allocate memory") || text.contains("not enough memory") {
        let number = tail("tried to allocate ").and_then(|t| t.split_whitespace().next()?.parse().ok());
        return Some(number.map(Bytes));
    }
    if text.contains("out of memory") {
        let amount = tail("Tried to allocate ").map(|t| t.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
        return Some(amount.and_then(|a| a.trim_end_matches('.').parse().ok()));
    }
    None
}

/// Returns the words that a panic left behind.
#[must_use]
pub fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned().or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_errors_are_recognised_with_their_size() {
        let check = |text: &str, expected: &str| {
            let error = EngineError::from_torch_text(text, DeviceId::Cpu, "block 3 (`output_blocks.0.0`)");
            assert_eq!(error.to_string(), expected);
            assert!(!error.is_fatal());
        };
        check(
            "Internal torch error: [enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 1073741824 bytes. Error code 12 (Cannot allocate memory)\n",
            "out of memory on cpu in block 3 (`output_blocks.0.0`): 1.0 GiB more were needed",
        );
        check(
            "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 20.50 MiB. GPU 0 has a total capacity of 23.69 GiB",
            "out of memory on cpu in block 3 (`output_blocks.0.0`): 20.5 MiB more were needed",
        );
    }

    #[test]
    fn other_errors_keep_their_first_line_and_end_the_engine() {
        let error =
            EngineError::from_torch_text("Internal torch error: shapes differ\nException raised from x\n", DeviceId::Cpu, "decoding");
        assert_eq!(error.to_string(), "libtorch failed in decoding: Internal torch error: shapes differ");
        assert!(error.is_fatal());
        for words in ["shapes differ\nframe #0\n", "shapes differ"] {
            let unwound = format!("called `Result::unwrap()` on an `Err` value: {:?}", tch::TchError::Torch(words.to_owned()));
            let error = EngineError::from_torch_text(&unwound, DeviceId::Cpu, "decoding");
            assert_eq!(error.to_string(), "libtorch failed in decoding: shapes differ");
        }
    }
}
