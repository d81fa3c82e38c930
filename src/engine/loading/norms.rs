//! A look at the few weights that everything goes through.

use super::Vault;
use crate::engine::EngineError;
use crate::families::{FamilyError, Role};
use crate::kernels;
use crate::library::header;
use crate::weights::{BlockTable, Code, Precision, TensorEntry};

/// Fails where a norm or a bias holds a value that is no number: it would spread to all of a text or picture. There are few of them.
pub(super) fn check(role: Role, table: &BlockTable, vault: &Vault) -> Result<(), EngineError> {
    let params = table.blocks().iter().flat_map(|block| &block.params);
    for param in params.filter(|p| p.entry.shape.rank() == 1 && is_read_alone(&p.entry)) {
        let Some(file) = vault.files().get(param.entry.file) else { continue };
        let mut bytes = vec![0; param.entry.bytes().get() as usize];
        file.read(param.entry.start, &mut bytes)?;
        let mut values = vec![0.0; param.entry.elements() as usize];
        let is_read = kernels::widen(param.entry.dtype, &bytes, &mut values).is_ok();
        if is_read && !values.iter().all(|v| v.is_finite()) {
            let path = file.path().to_owned();
            let tensor = header::name_at(&path, param.entry.start).unwrap_or_else(|| param.name.clone());
            return Err(EngineError::Family { path, source: FamilyError::NotFinite { role, tensor } });
        }
    }
    Ok(())
}

/// Returns whether the numbers of a tensor are those of its own bytes, and may be none: plain ones, and 8-bit floats without a scale.
fn is_read_alone(entry: &TensorEntry) -> bool {
    match entry.coded.as_deref() {
        None => Precision::of(entry.dtype).is_some(),
        Some(coded) => coded.code == Code::Float8 && coded.beside.is_empty(),
    }
}
