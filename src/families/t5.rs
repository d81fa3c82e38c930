//! The encoder of T5 1.1, as its shapes describe it.
//!
//! Source of the layout: transformers `models/t5/modeling_t5.py`, `T5EncoderModel` with a gated feed-forward layer.

use super::denoiser::check_depth;
use super::unet::Expected;
use super::{FamilyError, Role, needed};
use crate::weights::{Catalog, Shape, Unit};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct T5Config {
    /// Entries of the token table.
    pub vocabulary: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Number of layers, each of an attention and a feed-forward part.
    pub layers: u64,
    /// Number of attention heads.
    pub heads: u64,
    /// Width of a head; all together need not be as wide as the hidden state.
    pub head_width: u64,
    /// Classes of distances between two tokens.
    pub buckets: u64,
}

/// Width and blocks of T5-XXL, the one that diffusion networks were trained with.
const XXL: (u64, u64) = (4096, 24);

/// The table of tokens.
pub const TOKENS: &str = "shared.weight";
const BIAS: &str = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight";

impl T5Config {
    /// Reads the configuration of an encoder under the names of transformers.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        refuse(catalog)?;
        let role = Role::T5;
        let dim = |name: &str, axis| needed(catalog, role, name, axis);
        let heads = dim(BIAS, 1)?;
        let all_heads = dim("encoder.block.0.layer.0.SelfAttention.q.weight", 0)?;
        if heads == 0 || !all_heads.is_multiple_of(heads) {
            return Err(FamilyError::OddEncoder { role, what: "number of heads", value: heads });
        }
        let buckets = dim(BIAS, 0)?;
        if buckets < 4 || !buckets.is_multiple_of(4) {
            return Err(FamilyError::OddEncoder { role, what: "number of classes of distances", value: buckets });
        }
        let (width, layers) = (dim(TOKENS, 1)?, catalog.count("encoder.block."));
        if width == XXL.0 {
            check_depth(role, "encoder.block", layers, XXL.1, "layer.0.SelfAttention.q.weight")?;
        }
        Ok(Self {
            vocabulary: dim(TOKENS, 0)?,
            width,
            inner_width: dim("encoder.block.0.layer.1.DenseReluDense.wi_0.weight", 0)?,
            layers,
            heads,
            head_width: all_heads / heads,
            buckets,
        })
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let (width, all_heads) = (self.width, self.heads * self.head_width);
        list.push(TOKENS.to_owned(), [self.vocabulary, width]);
        list.push(BIAS.to_owned(), [self.buckets, self.heads]);
        for n in 0..self.layers {
            let [attention, forward] = parts(n);
            for part in ["q", "k", "v"] {
                list.matrix(&format!("{attention}.SelfAttention.{part}"), width, all_heads);
            }
            list.matrix(&format!("{attention}.SelfAttention.o"), all_heads, width);
            list.matrix(&format!("{forward}.DenseReluDense.wi_0"), width, self.inner_width);
            list.matrix(&format!("{forward}.DenseReluDense.wi_1"), width, self.inner_width);
            list.matrix(&format!("{forward}.DenseReluDense.wo"), self.inner_width, width);
            for part in [attention, forward] {
                list.push(format!("{part}.layer_norm.weight"), [width]);
            }
        }
        list.push("encoder.final_layer_norm.weight".to_owned(), [width]);
        list.0
    }

    /// Returns what its blocks are made of, in order of execution: the two parts of each layer.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        (0..self.layers).flat_map(parts).map(Unit::all_of).collect()
    }
}

/// Returns the names of the two parts of a layer.
#[must_use]
pub fn parts(layer: u64) -> [String; 2] {
    [0, 1].map(|part| format!("encoder.block.{layer}.layer.{part}"))
}

/// Fails for relatives that would pass for it.
fn refuse(catalog: &Catalog) -> Result<(), FamilyError> {
    let holds = |name: &str| catalog.has(name);
    if holds("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight") {
        return Err(FamilyError::Unsupported { name: "UMT5" });
    }
    if holds("encoder.block.0.layer.1.DenseReluDense.wi.weight") {
        return Err(FamilyError::Unsupported { name: "T5 1.0" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::families::outline;
    use crate::weights::{DType, TensorEntry};

    fn encoder() -> Vec<(String, Shape)> {
        let config = T5Config { vocabulary: 100, width: 96, inner_width: 128, layers: 2, heads: 3, head_width: 24, buckets: 32 };
        config.expected()
    }

    fn catalog(tensors: Vec<(String, Shape)>) -> Catalog {
        let entry = |(name, shape): (String, Shape)| {
            let end = 2 * shape.elements().unwrap();
            TensorEntry { name, dtype: DType::F16, shape, file: 0, start: 0, end, coded: None }
        };
        Catalog::new(tensors.into_iter().map(entry), BTreeMap::new())
    }

    #[test]
    fn the_last_block_of_xxl_that_is_missing_is_named() {
        let read = |layers| {
            let xxl = T5Config { vocabulary: 100, width: 4096, inner_width: 128, layers, heads: 64, head_width: 64, buckets: 32 };
            T5Config::read(&catalog(xxl.expected())).map(|config| config.layers)
        };
        assert_eq!((read(24), read(2)), (Ok(24), Ok(2)));
        assert!(matches!(read(23), Err(FamilyError::Missing { tensor, .. }) if tensor.starts_with("encoder.block.23.layer.0.")));
    }

    #[test]
    fn shapes_say_everything_and_the_table_is_in_no_block() {
        let catalog = catalog(encoder());
        let config = T5Config::read(&catalog).unwrap();
        assert_eq!((config.layers, config.heads, config.head_width, config.inner_width), (2, 3, 24, 128));
        let table = outline(Role::T5, &catalog).unwrap();
        let names: Vec<&str> = table.blocks().iter().map(|b| b.name.as_str()).collect();
        let parts: Vec<String> = (0..2).flat_map(parts).collect();
        assert_eq!(names, ["head"].into_iter().chain(parts.iter().map(String::as_str)).collect::<Vec<_>>());
        assert_eq!(table.gathered(TOKENS).map(|e| e.shape.0.clone()), Some(vec![100, 96]));
        assert!(table.slot(TOKENS).is_none());
    }

    #[test]
    fn relatives_are_refused_by_name() {
        for (tensor, name) in [
            ("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight", "UMT5"),
            ("encoder.block.0.layer.1.DenseReluDense.wi.weight", "T5 1.0"),
        ] {
            let mut tensors = encoder();
            tensors.push((tensor.to_owned(), [32, 3].into()));
            assert_eq!(T5Config::read(&catalog(tensors)), Err(FamilyError::Unsupported { name }));
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let mut tensors = encoder();
        tensors.retain(|(name, _)| name != "encoder.block.1.layer.1.DenseReluDense.wo.weight");
        let error = outline(Role::T5, &catalog(tensors)).unwrap_err();
        assert!(error.to_string().contains("encoder.block.1.layer.1.DenseReluDense.wo.weight"), "{error}");
    }
}
