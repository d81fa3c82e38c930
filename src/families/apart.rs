//! Takes joined matrices apart, and gives tensors their names here.
//!
//! Files of the original layouts store queries, keys and values of an attention as one matrix, diffusers' as three; two of
//! diffusers' matrices have their halves in the other order. Here every product has a matrix of its own, so that both layouts
//! lead to the same tensors under the same names. Nothing is copied: a part is a range of the stored bytes.

use super::{FamilyError, Role};
use crate::weights::{Catalog, Code, Shape, TensorEntry};

/// A layer of a file, and what it is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// It has the same name.
    Same,
    /// It has this name.
    As(String),
    /// Its rows are those of these layers, one after another: their names and how many rows each has.
    Apart(Vec<(String, u64)>),
    /// Its two halves are shift and scale of a modulation that lies at this place.
    Halves(String, Halves),
}

impl Place {
    /// Rows of three layers of one size, called `q`, `k` and `v` at this place.
    pub(super) fn thirds(at: &str, rows: u64) -> Self {
        Self::Apart(["q", "k", "v"].map(|part| (format!("{at}.{part}"), rows / 3)).to_vec())
    }
}

/// The order in which a modulation's halves are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halves {
    /// As two matrices.
    Apart,
    /// Shift first, as in the original layouts.
    ShiftScale,
    /// Scale first, as diffusers has them.
    ScaleShift,
}

impl Halves {
    /// The name that the whole has where it cannot be cut.
    const fn name(self) -> &'static str {
        match self {
            Self::Apart => "shift",
            Self::ShiftScale => "shift_scale",
            Self::ScaleShift => "scale_shift",
        }
    }

    /// Returns how the modulation at this place is stored.
    pub(super) fn read(catalog: &Catalog, at: &str) -> Self {
        let whole = [Self::ShiftScale, Self::ScaleShift].into_iter().find(|halves| catalog.has(&format!("{at}.{}.weight", halves.name())));
        whole.unwrap_or(Self::Apart)
    }

    /// Returns the layers of a modulation at this place, and how many times its width each has.
    pub(super) fn layers(self, at: &str) -> Vec<(String, u64)> {
        match self {
            Self::Apart => vec![(format!("{at}.shift"), 1), (format!("{at}.scale"), 1)],
            Self::ShiftScale | Self::ScaleShift => vec![(format!("{at}.{}", self.name()), 2)],
        }
    }
}

/// Returns the tensors under the names of `place`, which is given a layer's name and its rows.
pub(super) fn apart(catalog: &Catalog, place: impl Fn(&str, u64) -> Place) -> Result<Catalog, FamilyError> {
    let mut entries = Vec::with_capacity(catalog.len());
    for entry in catalog.iter() {
        let Some((layer, end)) = entry.name.rsplit_once('.') else {
            entries.push(entry.clone());
            continue;
        };
        let rows = entry.shape.dim(0).unwrap_or(0);
        match place(layer, rows) {
            Place::Same => entries.push(entry.clone()),
            Place::As(name) => entries.push(TensorEntry { name: format!("{name}.{end}"), ..entry.clone() }),
            Place::Apart(parts) => entries.extend(cut(entry, end, &parts)?),
            Place::Halves(at, order) => {
                // Only a storage whose rows cannot be told apart is left whole; then its bias is, too.
                let weight = catalog.get(&format!("{layer}.weight")).unwrap_or(entry);
                let half = rows / 2;
                let (shift, scale) = (format!("{at}.shift"), format!("{at}.scale"));
                let parts = match order {
                    Halves::ScaleShift => [(scale, half), (shift, half)],
                    Halves::Apart | Halves::ShiftScale => [(shift, half), (scale, half)],
                };
                let (middle, all) = (weight.shape.dim(0).unwrap_or(0) / 2, weight.shape.dim(0).unwrap_or(0));
                if weight.rows("", 0..middle).is_some() && weight.rows("", middle..all).is_some() {
                    entries.extend(cut(entry, end, &parts)?);
                } else {
                    entries.push(TensorEntry { name: format!("{at}.{}.{end}", order.name()), ..entry.clone() });
                }
            }
        }
    }
    Ok(Catalog::new(entries, catalog.metadata().clone()))
}

fn cut(entry: &TensorEntry, end: &str, parts: &[(String, u64)]) -> Result<Vec<TensorEntry>, FamilyError> {
    let rows = entry.shape.dim(0).unwrap_or(0);
    let sum = parts.iter().fold(0u64, |sum, (_, rows)| sum.saturating_add(*rows));
    if sum != rows || parts.iter().any(|(_, rows)| *rows == 0) {
        let mut expected: Shape = entry.shape.clone();
        // The next size that can be cut.
        expected.0.iter_mut().take(1).for_each(|extent| *extent = sum.max(parts.len() as u64));
        let found = entry.shape.clone();
        return Err(FamilyError::WrongShape { role: Role::Denoiser, tensor: entry.name.clone(), found, expected });
    }
    let mut start = 0;
    let mut entries = Vec::with_capacity(parts.len());
    for (name, rows) in parts {
        let part = entry.rows(format!("{name}.{end}"), start..start + rows);
        entries.push(part.ok_or_else(|| FamilyError::Joined {
            role: Role::Denoiser,
            tensor: entry.name.clone(),
            parts: parts.len(),
            storage: storage(entry),
        })?);
        start += rows;
    }
    Ok(entries)
}

/// Returns what people call the way in which a weight is stored.
fn storage(entry: &TensorEntry) -> String {
    match entry.coded.as_ref().map(|coded| &coded.code) {
        Some(Code::Sdnq(sdnq)) => format!("SDNQ {}", sdnq.kind),
        Some(Code::FourBit { fp4: false, .. }) => "nf4".to_owned(),
        Some(Code::FourBit { fp4: true, .. }) => "fp4".to_owned(),
        Some(Code::Rows8) => "int8".to_owned(),
        Some(Code::Part | Code::Float8 | Code::Blocks) | None => entry.dtype.to_string(),
    }
}

/// Splits `12.attn.qkv` into the number and the rest.
pub(super) fn numbered(rest: &str) -> Option<(u64, &str)> {
    let (number, rest) = rest.split_once('.')?;
    Some((number.parse().ok()?, rest))
}

/// Returns the place of a layer that is in no block, by a table of whole names, or of the last modulation of either layout.
pub(super) fn around(layer: &str, table: &[(&str, &str)]) -> Place {
    match layer {
        "final_layer.adaLN_modulation.1" => Place::Halves("final_layer".to_owned(), Halves::ShiftScale),
        "norm_out.linear" => Place::Halves("final_layer".to_owned(), Halves::ScaleShift),
        _ => looked_up(layer, table).map_or(Place::Same, |ours| Place::As(ours.to_owned())),
    }
}

/// Returns what a name is in a table of whole names.
pub(super) fn looked_up<'a>(name: &str, table: &[(&str, &'a str)]) -> Option<&'a str> {
    table.iter().find(|(theirs, _)| *theirs == name).map(|(_, ours)| *ours)
}

#[cfg(test)]
impl Place {
    /// Says what a layer becomes, in one line.
    pub(super) fn told(self, theirs: &str) -> String {
        match self {
            Self::Same => theirs.to_owned(),
            Self::As(ours) => ours,
            Self::Apart(parts) => parts.iter().map(|(name, rows)| format!("{name}:{rows}")).collect::<Vec<_>>().join(" "),
            Self::Halves(at, order) => format!("{at} {order:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::weights::coded::{Era, Sdnq};
    use crate::weights::{Coded, DType};

    fn entry(name: &str, shape: &[u64]) -> TensorEntry {
        let shape = Shape(shape.to_vec());
        let end = shape.elements().unwrap() * 4;
        TensorEntry { name: name.to_owned(), dtype: DType::F32, shape, file: 0, start: 0, end, coded: None }
    }

    fn sdnq(mut entry: TensorEntry) -> TensorEntry {
        let (kind, era) = ("uint4".to_owned(), Era::Subnormals);
        let code = Code::Sdnq(Sdnq { kind, era, codebook: false, has_zero_point: false, low_rank: None, rotated: None });
        entry.coded = Coded::alone(code);
        entry
    }

    fn placed(entries: Vec<TensorEntry>, place: impl Fn(&str, u64) -> Place) -> Result<Vec<(String, u64, u64)>, FamilyError> {
        let catalog = apart(&Catalog::new(entries, BTreeMap::new()), place)?;
        Ok(catalog.iter().map(|e| (e.name.clone(), e.start, e.end)).collect())
    }

    #[test]
    fn thirds_lie_one_after_another() {
        let placed = placed(vec![entry("a.qkv.weight", &[6, 2]), entry("a.qkv.bias", &[6])], |_, rows| Place::thirds("b", rows)).unwrap();
        let expected = [("b.k.bias", 8, 16), ("b.k.weight", 16, 32), ("b.q.bias", 0, 8), ("b.q.weight", 0, 16)];
        assert_eq!(placed[..4], expected.map(|(name, start, end)| (name.to_owned(), start, end)));
    }

    #[test]
    fn what_cannot_be_cut_is_named() {
        let error = placed(vec![entry("a.qkv.weight", &[7, 2])], |_, rows| Place::thirds("b", rows)).unwrap_err();
        assert!(error.to_string().contains("`a.qkv.weight` has shape [7, 2]; the rest of the file implies [6, 2]"), "{error}");
        let error = placed(vec![sdnq(entry("a.qkv.weight", &[6, 2]))], |_, rows| Place::thirds("b", rows)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the denoiser's tensor `a.qkv.weight` holds 3 matrices joined, which cannot be told apart as they are stored (SDNQ uint4)"
        );
        assert!(error.hint().contains("diffusers"), "{}", error.hint());
    }

    #[test]
    fn halves_in_either_order_have_the_same_names() {
        let place = |halves| move |_: &str, _| Place::Halves("f".to_owned(), halves);
        let whole = || vec![entry("n.weight", &[4, 1]), entry("n.bias", &[4])];
        let first = |name: &str, halves| placed(whole(), place(halves)).unwrap().into_iter().find(|(n, ..)| n == name).unwrap().1;
        assert_eq!((first("f.shift.weight", Halves::ShiftScale), first("f.scale.bias", Halves::ShiftScale)), (0, 8));
        assert_eq!((first("f.shift.weight", Halves::ScaleShift), first("f.scale.bias", Halves::ScaleShift)), (8, 0));
        let stored = vec![sdnq(entry("n.weight", &[4, 1])), entry("n.bias", &[4])];
        let names: Vec<String> = placed(stored, place(Halves::ScaleShift)).unwrap().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["f.scale_shift.bias", "f.scale_shift.weight"]);
    }
}
