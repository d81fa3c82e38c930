//! What tells one model set from another: its parts and what they are computed in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::spec::{JobSpec, ModelSet};
use crate::weights::Precision;

/// The short name of a model set that stays the same as long as its files do. Two jobs of one set have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SetId(pub String);

/// Hexadecimal digits of a set's short name. Two of a thousand sets then have the same with a chance of one in 8000.
const DIGITS: usize = 8;

impl SetId {
    /// Returns the short name of these parts, computed in this.
    #[must_use]
    pub fn of(set: &ModelSet, precision: Precision) -> Self {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        add(precision.name().as_bytes());
        add(set.variant.as_bytes());
        let mut parts: Vec<_> = set.components.iter().collect();
        parts.sort_by_key(|part| part.role);
        for part in parts {
            add(part.role.name().as_bytes());
            part.files.iter().for_each(|file| add(file.as_os_str().as_encoded_bytes()));
        }
        Self(hasher.finalize().to_hex()[..DIGITS].to_owned())
    }

    /// Returns the short name of the set that a job uses.
    #[must_use]
    pub fn of_job(spec: &JobSpec) -> Self {
        Self::of(&spec.set, spec.computes_in())
    }
}

impl fmt::Display for SetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
