//! What `CUDA_VISIBLE_DEVICES` says: which GPUs a program that uses CUDA may see, and in which order it would count them.
//!
//! Here it says which GPUs jobs may run on, and no more: an engine is started without it, so that `cuda:N` is the
//! same GPU to `nvidia-smi`, to the daemon and to libtorch. Its numbers are read as `nvidia-smi` counts.

use std::fmt;

/// The variable's name.
pub const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// What the variable says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    text: String,
    names: Vec<Name>,
}

/// A GPU, as the variable names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Number(u16),
    /// The beginning of its identifier.
    Uuid(String),
    /// A slice of a GPU, which only CUDA can find.
    Slice,
}

impl Visible {
    /// Reads the variable. As CUDA does, it stops at what is no name of a GPU.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let name = |word: &str| match word {
            slice if slice.starts_with("MIG-") => Some(Name::Slice),
            uuid if uuid.starts_with("GPU-") => Some(Name::Uuid(uuid.to_owned())),
            number => number.parse().ok().map(Name::Number),
        };
        Self { text: text.to_owned(), names: text.split(',').map_while(|word| name(word.trim())).collect() }
    }

    /// Returns whether it names slices of GPUs. Then engines keep it, for only CUDA knows what it means.
    #[must_use]
    pub fn is_about_slices(&self) -> bool {
        self.names.contains(&Name::Slice)
    }

    /// Returns whether a GPU is hidden. One whose identifier is not known is not, if it may be meant.
    #[must_use]
    pub fn hides(&self, number: u16, uuid: Option<&str>) -> bool {
        let is_meant = |name: &Name| match name {
            Name::Number(n) => *n == number,
            Name::Uuid(beginning) => uuid.is_none_or(|uuid| uuid.starts_with(beginning.as_str())),
            Name::Slice => true,
        };
        !self.names.iter().any(is_meant)
    }

    /// Returns whether a program that follows it would count these GPUs in another order than `nvidia-smi` does.
    #[must_use]
    pub fn reorders(&self, gpus: &[(u16, Option<&str>)]) -> bool {
        let seen = |name: &Name| match name {
            Name::Number(n) => Some(*n),
            Name::Uuid(beginning) => gpus.iter().find(|(_, uuid)| uuid.is_some_and(|u| u.starts_with(beginning.as_str()))).map(|(n, _)| *n),
            Name::Slice => None,
        };
        self.names.iter().filter_map(seen).zip(0..).any(|(number, place)| number != place)
    }
}

impl fmt::Display for Visible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE}={}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPUS: [(u16, Option<&str>); 3] = [(0, Some("GPU-aa11")), (1, Some("GPU-bb22")), (2, Some("GPU-ab33"))];

    #[test]
    fn says_what_is_hidden_and_what_would_be_counted_otherwise() {
        let check = |text: &str, hidden: &[u16], reorders: bool| {
            let visible = Visible::parse(text);
            let found: Vec<u16> = GPUS.iter().filter(|(n, uuid)| visible.hides(*n, *uuid)).map(|(n, _)| *n).collect();
            assert_eq!((found.as_slice(), visible.reorders(&GPUS)), (hidden, reorders), "{text}");
        };
        check("0,1,2", &[], false);
        check("0, 1", &[2], false);
        check("1", &[0, 2], true);
        check("2,1,0", &[], true);
        check("GPU-bb", &[0, 2], true);
        check("GPU-aa11,GPU-ab", &[1], true);
        check("", &[0, 1, 2], false);
        check("-1", &[0, 1, 2], false);
        check("0,-1,1", &[1, 2], false);
        check("none", &[0, 1, 2], false);
        check("MIG-1234", &[], false);
    }

    #[test]
    fn a_gpu_whose_identifier_is_unknown_may_be_the_one_that_is_meant() {
        assert!(!Visible::parse("GPU-aa").hides(0, None));
        assert!(Visible::parse("1").hides(0, None));
    }
}
