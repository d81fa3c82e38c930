//! Looks at every number of a conversion, and compares it with its source where that is still there.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::ConversionError;
use super::expand::Expander;
use super::report::NAMED;
use super::source::{self, Part};
use super::whole::Whole;
use crate::cache::{Manifest, Worst};
use crate::kernels::{self, Deviation};
use crate::library::{self, MappedFile};
use crate::quant::precision::Target;
use crate::weights::{Code, TensorEntry};

/// How much larger than it was said to be an error may be found: sums of doubles are added in another order.
const SLACK: f64 = 1e-6;

/// What was found in a conversion.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rechecked {
    /// Weights that were looked at.
    pub tensors: usize,
    /// Their numbers.
    pub values: u64,
    /// Those that are none.
    pub not_a_number: u64,
    /// Those without end.
    pub infinite: u64,
    /// Scales that nothing can be multiplied with: no numbers, without end, or below zero where they are magnitudes.
    pub bad_scales: u64,
    /// The comparison with the source; nothing where that is gone, was changed, or cannot be read.
    pub compared: Option<Compared>,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// What storing the source's weights so has cost, found by reading both.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// Weights that both have, and that are not stored the same way.
    pub tensors: usize,
    /// The relative error of all of them together.
    pub rel_l2: f64,
    /// The tensors that lost most.
    pub worst: Vec<Worst>,
}

/// What is found in a part of a weight.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    not_a_number: u64,
    infinite: u64,
    bad_scales: u64,
    deviation: Option<Deviation>,
}

/// Reads every weight of a conversion as numbers.
pub fn recheck(path: &Path, manifest: &Manifest) -> Result<Rechecked, ConversionError> {
    let (entries, files) = opened(path)?;
    let source = of_source(manifest);
    let wholes: BTreeMap<&str, &Whole> = source.iter().flat_map(|(_, wholes)| wholes).map(|whole| (whole.name.as_str(), whole)).collect();
    let parts: Vec<(usize, Range<u64>)> = entries
        .iter()
        .enumerate()
        .flat_map(|(n, entry)| Expander { entry, files: &files }.chunks().into_iter().map(move |elements| (n, elements)))
        .collect();
    let look = |(before, after): &mut (Vec<f32>, Vec<f32>), (n, elements): &(usize, Range<u64>)| {
        let entry = &entries[*n];
        let expander = Expander { entry, files: &files };
        expander.read(elements, after)?;
        let mut found = Found {
            not_a_number: after.iter().filter(|v| v.is_nan()).count() as u64,
            infinite: after.iter().filter(|v| v.is_infinite()).count() as u64,
            ..Found::default()
        };
        if elements.start == 0 {
            let is_bad = |scale: &f32| !scale.is_finite() || (*scale < 0.0 && are_magnitudes(entry));
            found.bad_scales = expander.scales()?.iter().filter(|s| is_bad(s)).count() as u64;
        }
        let whole = wholes.get(entry.name.as_str()).filter(|whole| whole.shape().elements() == entry.shape.elements());
        if let (Some(whole), Some((source, _))) = (whole.filter(|whole| !is_the_same(entry, whole)), &source) {
            whole.read(source, elements, before)?;
            found.deviation = Some(kernels::compare(before, after));
        }
        Ok((*n, found))
    };
    let found: Vec<(usize, Found)> = parts.par_iter().map_init(Default::default, look).collect::<Result<_, ConversionError>>()?;
    let mut rechecked = summed(&entries, &found, source.is_some());
    rechecked.problems = problems(&rechecked, manifest);
    Ok(rechecked)
}

fn summed(entries: &[TensorEntry], found: &[(usize, Found)], is_compared: bool) -> Rechecked {
    let mut all = Rechecked { tensors: entries.len(), values: entries.iter().map(TensorEntry::elements).sum(), ..Rechecked::default() };
    let mut by_tensor: BTreeMap<usize, Deviation> = BTreeMap::new();
    for (n, part) in found {
        all.not_a_number += part.not_a_number;
        all.infinite += part.infinite;
        all.bad_scales += part.bad_scales;
        if let Some(deviation) = part.deviation {
            *by_tensor.entry(*n).or_default() += deviation;
        }
    }
    if is_compared {
        let mut together = Deviation::default();
        for deviation in by_tensor.values() {
            together += *deviation;
        }
        let lost = by_tensor.iter().filter(|(_, d)| d.error > 0.0);
        let mut worst: Vec<Worst> = lost.map(|(n, d)| Worst { tensor: entries[*n].name.clone(), rel_l2: d.relative() }).collect();
        worst.sort_by(|a, b| b.rel_l2.total_cmp(&a.rel_l2).then_with(|| a.tensor.cmp(&b.tensor)));
        worst.truncate(NAMED);
        all.compared = Some(Compared { tensors: by_tensor.len(), rel_l2: together.relative(), worst });
    }
    all
}

/// Returns what is wrong: more than the conversion has said itself when it was made.
fn problems(found: &Rechecked, manifest: &Manifest) -> Vec<String> {
    let mut problems = Vec::new();
    let known = &manifest.error;
    if found.not_a_number > known.not_a_number {
        problems.push(format!("{} values are no numbers (NaN), and its source had {}", found.not_a_number, known.not_a_number));
    }
    if found.infinite > known.clipped {
        problems.push(format!("{} values are infinite, and {} were beyond its range when it was made", found.infinite, known.clipped));
    }
    if found.bad_scales > 0 {
        problems.push(format!("{} scales are no numbers that weights can be multiplied with", found.bad_scales));
    }
    if let Some(compared) = &found.compared
        && compared.rel_l2 > known.rel_l2_mean * (1.0 + SLACK) + SLACK
    {
        problems.push(format!("its relative error is {:.6}, and was {:.6} when it was made", compared.rel_l2, known.rel_l2_mean));
    }
    problems
}

/// Returns whether scales of this weight are lengths: SDNQ's and ggml's may turn the sign.
fn are_magnitudes(entry: &TensorEntry) -> bool {
    match entry.coded.as_deref().map(|coded| &coded.code) {
        Some(Code::Float8 | Code::FourBit { .. } | Code::Rows8) => true,
        None | Some(Code::Part | Code::Blocks | Code::Sdnq(_)) => false,
    }
}

/// Returns whether bytes were only copied: such tensors are in no sum of a conversion's error.
fn is_the_same(entry: &TensorEntry, whole: &Whole) -> bool {
    let is_plain = entry.coded.as_deref().is_none_or(|coded| coded.beside.is_empty());
    is_plain && whole.parts.iter().all(|part| part.scale.is_none() && entry.dtype == part.dtype)
}

fn opened(path: &Path) -> Result<(Vec<TensorEntry>, Vec<MappedFile>), ConversionError> {
    let sources = library::open(path, None)?;
    let entries = sources.iter().flat_map(|source| source.catalog.iter().cloned()).collect();
    Ok((entries, vec![MappedFile::open(path)?]))
}

/// Opens what a conversion was made of, if it is as it was.
fn of_source(manifest: &Manifest) -> Option<(Vec<MappedFile>, Vec<Whole>)> {
    let is_as_it_was = !manifest.origins.is_empty() && manifest.origins.iter().all(|origin| origin.is_as_it_was() == Some(true));
    let mut recipe = manifest.recipe.split('/');
    let (target, part) = (Target::named(recipe.next()?)?, recipe.next()?.parse::<Part>().ok()?);
    let first = manifest.origins.first().filter(|_| is_as_it_was)?.path.as_path();
    // Several files are the shards of a folder.
    let path = if manifest.origins.len() == 1 { first } else { first.parent()? };
    // A network of no known family is one because nobody said that it is something else.
    let opened = source::open(path, Some(part)).or_else(|_| source::open(path, None)).ok();
    let opened = opened
        .and_then(|opened| opened.for_target(&target).ok())
        .filter(|opened| opened.part == part && opened.catalog.bytes() == manifest.source_bytes);
    opened.and_then(|opened| {
        let wholes = opened.wholes().ok()?;
        Some((opened.files, wholes))
    })
}
