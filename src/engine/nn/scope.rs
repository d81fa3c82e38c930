//! A place in a block table's names, from which layers find their weights.

use crate::families::{FamilyError, Role};
use crate::units::BlockIndex;
use crate::weights::BlockTable;
use crate::weights::block_table::Slot;

/// Where a weight is found once its block is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightRef(pub Slot);

/// A prefix of names.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    table: &'a BlockTable,
    role: Role,
    path: String,
}

impl<'a> Scope<'a> {
    /// Returns the scope of all names.
    #[must_use]
    pub fn root(table: &'a BlockTable, role: Role) -> Self {
        Self { table, role, path: String::new() }
    }

    /// Returns the scope below `part`.
    #[must_use]
    pub fn at(&self, part: &str) -> Self {
        let path = if self.path.is_empty() { part.to_owned() } else { format!("{}.{part}", self.path) };
        Self { path, ..self.clone() }
    }

    /// Returns the weight called `name` here.
    pub fn weight(&self, name: &str) -> Result<WeightRef, FamilyError> {
        let tensor = self.at(name).path;
        match self.table.slot(&tensor) {
            Some(slot) => Ok(WeightRef(slot)),
            None => Err(FamilyError::Missing { role: self.role, tensor }),
        }
    }

    /// Returns whether there is a weight called `name` here.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.table.slot(&self.at(name).path).is_some()
    }

    /// Returns the block that holds every weight below here.
    pub fn block(&self) -> Result<BlockIndex, FamilyError> {
        let prefix = format!("{}.", self.path);
        self.table.home(&prefix).ok_or(FamilyError::Missing { role: self.role, tensor: self.path.clone() })
    }
}
