//! Joins what lies apart, as the makers' own files have it: the way back of [`apart`](super::apart).
//!
//! Nothing is copied: a joined tensor is a list of those whose rows lie one after another in it.

use std::collections::BTreeMap;

use super::{FamilyError, Role};
use crate::weights::{Catalog, Shape};

/// A tensor as the makers of a network name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its name there.
    pub name: String,
    /// The names, here, of the tensors whose rows it holds, one after another.
    pub parts: Vec<String>,
}

/// Returns the tensors of a transformer under our names as its makers have them, in the order of their names.
pub fn together(catalog: &Catalog) -> Result<Vec<Joined>, FamilyError> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in catalog.iter() {
        let (name, parts) = home(&entry.name).unwrap_or_else(|| (entry.name.clone(), vec![entry.name.clone()]));
        all.insert(name, parts);
    }
    let all: Vec<Joined> = all.into_iter().map(|(name, parts)| Joined { name, parts }).collect();
    all.iter().filter(|joined| joined.parts.len() > 1).try_for_each(|joined| check(catalog, joined))?;
    Ok(all)
}

/// What an attention is joined of.
const ATTENTION: &[&str] = &["q", "k", "v"];
/// What the first product of a single block of Flux is joined of.
const FIRST: &[&str] = &["q", "k", "v", "mlp"];
/// What the last modulation is joined of.
const MODULATION: &[&str] = &["shift", "scale"];

/// Returns the tensor that this one is joined in, and all that are.
fn home(name: &str) -> Option<(String, Vec<String>)> {
    let (layer, end) = name.rsplit_once('.')?;
    let (at, last) = layer.rsplit_once('.')?;
    let (whole, parts) = match last {
        "q" | "k" | "v" | "mlp" if is_single(at) => ("linear1", FIRST),
        "q" | "k" | "v" => ("qkv", ATTENTION),
        "shift" | "scale" => ("adaLN_modulation.1", MODULATION),
        _ => return None,
    };
    Some((format!("{at}.{whole}.{end}"), parts.iter().map(|part| format!("{at}.{part}.{end}")).collect()))
}

/// Returns whether a place is a single block of Flux.
fn is_single(at: &str) -> bool {
    at.strip_prefix("single_blocks.").is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Fails where a part is missing, or has rows of another width.
fn check(catalog: &Catalog, joined: &Joined) -> Result<(), FamilyError> {
    let role = Role::Denoiser;
    let mut first: Option<&Shape> = None;
    for name in &joined.parts {
        let part = catalog.get(name).ok_or_else(|| FamilyError::Missing { role, tensor: name.clone() })?;
        let row = |shape: &Shape| shape.0.get(1..).unwrap_or_default().to_vec();
        let expected = first.get_or_insert(&part.shape);
        if row(expected) != row(&part.shape) || part.shape.rank() == 0 {
            let expected = Shape([part.shape.0.get(..1).unwrap_or_default(), &row(expected)].concat());
            return Err(FamilyError::WrongShape { role, tensor: name.clone(), found: part.shape.clone(), expected });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::made_up::catalog;
    use super::*;

    fn named(tensors: &[(&str, &[u64])]) -> Result<Vec<(String, String)>, FamilyError> {
        let tensors: Vec<(String, Shape)> = tensors.iter().map(|(name, shape)| ((*name).to_owned(), Shape(shape.to_vec()))).collect();
        Ok(together(&catalog(&tensors))?.into_iter().map(|joined| (joined.name, joined.parts.join(" "))).collect())
    }

    #[test]
    fn what_lay_apart_is_joined_in_its_order() {
        let tensors: &[(&str, &[u64])] = &[
            ("double_blocks.0.img_attn.k.weight", &[4, 2]),
            ("double_blocks.0.img_attn.norm.key_norm.scale", &[2]),
            ("double_blocks.0.img_attn.q.weight", &[4, 2]),
            ("double_blocks.0.img_attn.v.weight", &[4, 2]),
            ("final_layer.scale.bias", &[3]),
            ("final_layer.shift.bias", &[3]),
            ("single_blocks.1.k.bias", &[4]),
            ("single_blocks.1.mlp.bias", &[16]),
            ("single_blocks.1.q.bias", &[4]),
            ("single_blocks.1.v.bias", &[4]),
            ("x_pad_token", &[1, 2]),
        ];
        let wanted = [
            ("double_blocks.0.img_attn.norm.key_norm.scale", "double_blocks.0.img_attn.norm.key_norm.scale"),
            (
                "double_blocks.0.img_attn.qkv.weight",
                "double_blocks.0.img_attn.q.weight double_blocks.0.img_attn.k.weight double_blocks.0.img_attn.v.weight",
            ),
            ("final_layer.adaLN_modulation.1.bias", "final_layer.shift.bias final_layer.scale.bias"),
            (
                "single_blocks.1.linear1.bias",
                "single_blocks.1.q.bias single_blocks.1.k.bias single_blocks.1.v.bias single_blocks.1.mlp.bias",
            ),
            ("x_pad_token", "x_pad_token"),
        ];
        assert_eq!(named(tensors).unwrap(), wanted.map(|(name, parts)| (name.to_owned(), parts.to_owned())));
    }

    #[test]
    fn a_part_that_is_missing_or_of_another_width_is_named() {
        let lacking = named(&[("a.q.weight", &[4, 2]), ("a.v.weight", &[4, 2])]).unwrap_err();
        assert_eq!(lacking.to_string(), "the denoiser lacks the tensor `a.k.weight`");
        let odd = named(&[("a.q.weight", &[4, 2]), ("a.k.weight", &[4, 3]), ("a.v.weight", &[4, 2])]).unwrap_err();
        assert_eq!(odd.to_string(), "the denoiser's tensor `a.k.weight` has shape [4, 3]; the rest of the file implies [4, 2]");
    }
}
