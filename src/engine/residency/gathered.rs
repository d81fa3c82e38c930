//! Tables of which rows are looked up: they lie in no block and never move. Only the rows that a text asks for are read, past
//! the map of their file, and expanded where they are stored in fewer bits.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::Residency;
use crate::engine::EngineError;
use crate::engine::device::kind;
use crate::engine::loading::vault::stored;
use crate::engine::nn::expand::expand;
use crate::families::FamilyError;
use crate::weights::TensorEntry;

impl Residency {
    /// Looks up rows of a table: `ids [B, L] i64` to `[B, L, C]` on the compute device, in the type that it computes with.
    pub fn gather(&self, table: &str, ids: &Tensor) -> Result<Tensor, EngineError> {
        let missing = || FamilyError::Missing { role: self.role, tensor: table.to_owned() };
        let entry = self.table.gathered(table).ok_or_else(|| self.wrong(missing()))?;
        let extents = ids.size();
        let ids: Vec<i64> = Vec::try_from(ids.to_device(Device::Cpu).flatten(0, -1)).map_err(|e| self.untorched(&e))?;
        let rows = entry.shape.dim(0).unwrap_or(0);
        // Each row is read once, in the order of the file.
        let mut places: BTreeMap<u64, i64> = BTreeMap::new();
        for id in &ids {
            let row = u64::try_from(*id).ok().filter(|row| *row < rows);
            let row = row.ok_or_else(|| self.wrong(FamilyError::NoSuchToken { role: self.role, id: *id, rows }))?;
            places.insert(row, 0);
        }
        for (place, at) in places.values_mut().enumerate() {
            *at = place as i64;
        }
        let wanted: Vec<u64> = places.keys().copied().collect();
        let found = self.rows(entry, &wanted)?;
        self.check_unwritten()?;
        let places: Vec<i64> = ids.iter().map(|id| places.get(&id.unsigned_abs()).copied().unwrap_or(0)).collect();
        let gathered = found.index_select(0, &Tensor::from_slice(&places));
        Ok(gathered.view([extents, vec![-1]].concat().as_slice()).to_device(self.compute.device))
    }

    /// Returns these rows, `[n, C]` on the processor.
    fn rows(&self, entry: &TensorEntry, rows: &[u64]) -> Result<Tensor, EngineError> {
        let computed = kind(self.precision);
        let cut: Option<Vec<TensorEntry>> = rows.iter().map(|row| entry.rows(entry.name.as_str(), *row..row + 1)).collect();
        let Some(cut) = cut else {
            // Some storages have no bytes of their own for a row; all of them are expanded, for this moment.
            let all = self.read(entry, computed)?;
            let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
            return Ok(all.index_select(0, &Tensor::from_slice(&rows)));
        };
        let rows = cut.iter().map(|row| self.read(row, computed)).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(&rows, 0))
    }

    /// Reads a weight whole, `[rows, C]` in this type.
    fn read(&self, entry: &TensorEntry, computed: Kind) -> Result<Tensor, EngineError> {
        let Some(coded) = &entry.coded else {
            let bytes = self.bytes(entry)?;
            let kind = stored(entry).map_err(|e| self.untorched(&e))?;
            let tensor = Tensor::f_from_data_size(&bytes, &entry.shape.as_i64(), kind).map_err(|e| self.untorched(&e))?;
            return Ok(tensor.to_kind(computed));
        };
        let parts = std::iter::once(entry).chain(&coded.beside);
        let parts = parts.map(|part| Ok(Tensor::from_slice(&self.bytes(part)?))).collect::<Result<Vec<_>, EngineError>>()?;
        expand(entry, coded, &parts, computed).map_err(|error| EngineError::Torch { place: entry.name.clone(), reason: error.to_string() })
    }

    fn bytes(&self, entry: &TensorEntry) -> Result<Vec<u8>, EngineError> {
        let mut bytes = vec![0; entry.bytes().get() as usize];
        let missing = || FamilyError::Missing { role: self.role, tensor: entry.name.clone() };
        let file = self.vault.files().get(entry.file).ok_or_else(|| self.wrong(missing()))?;
        file.read(entry.start, &mut bytes)?;
        Ok(bytes)
    }

    fn wrong(&self, source: FamilyError) -> EngineError {
        let path = self.vault.files().first().map(|f| f.path().to_owned()).unwrap_or_default();
        EngineError::Family { path, source }
    }

    fn untorched(&self, error: &tch::TchError) -> EngineError {
        EngineError::torch(error, self.compute.id, "looking up tokens")
    }
}
