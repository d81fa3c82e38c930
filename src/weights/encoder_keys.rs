//! Renames tensors of text encoders to ours, which are those of transformers.
//!
//! `OpenCLIP` joins query, key and value of an attention in one matrix (`open_clip/transformer.py`, torch's
//! `nn.MultiheadAttention`); they are cut apart. The correspondence is that of ComfyUI's `comfy/utils.py`,
//! `clip_text_transformers_convert`.

use super::{Catalog, TensorEntry};

/// A joined matrix whose storage has no bytes of their own for some of its rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{tensor}` cannot be cut between its rows")]
pub struct Uncut {
    /// The tensor, as the file calls it.
    pub tensor: String,
}

/// Returns a CLIP text encoder under the names of transformers: those of `OpenCLIP` renamed, and with the `text_model.` that
/// transformers 5.6 and old merges leave out. Other names pass unchanged.
///
/// `text_projection`, a bare parameter of extents `[in, out]`, keeps its name; `text_projection.weight` is `[out, in]`.
pub fn clip_text(catalog: &Catalog) -> Result<Catalog, Uncut> {
    let is_open_clip = catalog.has_prefix(RESBLOCKS);
    let mut entries = Vec::with_capacity(catalog.len());
    for entry in catalog.iter() {
        match entry.name.strip_prefix(RESBLOCKS).and_then(|rest| rest.split_once('.')) {
            Some((layer, part)) => open_clip_layer(entry, layer, part, &mut entries)?,
            None => entries.push(TensorEntry { name: clip_name(&entry.name, is_open_clip), ..entry.clone() }),
        }
    }
    Ok(Catalog::new(entries, catalog.metadata().clone()))
}

const RESBLOCKS: &str = "transformer.resblocks.";

const OPEN_CLIP_TOP: &[(&str, &str)] = &[
    ("positional_embedding", "text_model.embeddings.position_embedding.weight"),
    ("token_embedding.weight", "text_model.embeddings.token_embedding.weight"),
    ("ln_final.weight", "text_model.final_layer_norm.weight"),
    ("ln_final.bias", "text_model.final_layer_norm.bias"),
];

const OPEN_CLIP_LAYER: &[(&str, &str)] = &[
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("attn.out_proj.", "self_attn.out_proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
];

fn clip_name(name: &str, is_open_clip: bool) -> String {
    let renamed = OPEN_CLIP_TOP.iter().find(|(theirs, _)| is_open_clip && name == *theirs);
    let is_bare = ["embeddings.", "encoder.", "final_layer_norm."].iter().any(|p| name.starts_with(p));
    match renamed {
        Some((_, ours)) => (*ours).to_owned(),
        None if is_bare => format!("text_model.{name}"),
        None => name.to_owned(),
    }
}

fn open_clip_layer(entry: &TensorEntry, layer: &str, part: &str, entries: &mut Vec<TensorEntry>) -> Result<(), Uncut> {
    let layer = format!("text_model.encoder.layers.{layer}");
    if let Some(kind) = part.strip_prefix("attn.in_proj_") {
        let rows = entry.shape.dim(0).unwrap_or(0);
        let third = rows / 3;
        for (name, rows) in [("q", 0..third), ("k", third..2 * third), ("v", 2 * third..rows)] {
            let cut = entry.rows(format!("{layer}.self_attn.{name}_proj.{kind}"), rows);
            entries.push(cut.ok_or_else(|| Uncut { tensor: entry.name.clone() })?);
        }
        return Ok(());
    }
    let renamed = OPEN_CLIP_LAYER.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", part.strip_prefix(theirs)?)));
    entries.push(TensorEntry { name: format!("{layer}.{}", renamed.as_deref().unwrap_or(part)), ..entry.clone() });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::weights::{Code, Coded, DType, Shape};

    fn entry(name: &str, extents: &[u64]) -> TensorEntry {
        let shape = Shape(extents.to_vec());
        let end = 100 + 4 * shape.elements().unwrap();
        TensorEntry { name: name.to_owned(), dtype: DType::F32, shape, file: 0, start: 100, end, coded: None }
    }

    fn named(entries: Vec<TensorEntry>) -> Catalog {
        clip_text(&Catalog::new(entries, BTreeMap::new())).unwrap()
    }

    #[test]
    fn names_of_open_clip_follow_the_published_table() {
        let catalog = named(vec![
            entry("positional_embedding", &[77, 2]),
            entry("token_embedding.weight", &[9, 2]),
            entry("ln_final.bias", &[2]),
            entry("text_projection", &[2, 2]),
            entry("transformer.resblocks.11.ln_2.weight", &[2]),
            entry("transformer.resblocks.0.mlp.c_fc.bias", &[8]),
            entry("transformer.resblocks.0.mlp.c_proj.weight", &[2, 8]),
            entry("transformer.resblocks.0.attn.out_proj.weight", &[2, 2]),
            entry("transformer.resblocks.0.attn.in_proj_weight", &[6, 2]),
            entry("transformer.resblocks.0.attn.in_proj_bias", &[6]),
        ]);
        let layer = "text_model.encoder.layers.0";
        for name in [
            "text_model.embeddings.position_embedding.weight",
            "text_model.embeddings.token_embedding.weight",
            "text_model.final_layer_norm.bias",
            "text_projection",
            "text_model.encoder.layers.11.layer_norm2.weight",
            &format!("{layer}.mlp.fc1.bias"),
            &format!("{layer}.mlp.fc2.weight"),
            &format!("{layer}.self_attn.out_proj.weight"),
        ] {
            assert!(catalog.has(name), "{name}");
        }
        let range = |name: &str| catalog.get(&format!("{layer}.self_attn.{name}")).map(|e| (e.start, e.end, e.shape.0.clone())).unwrap();
        assert_eq!(range("q_proj.weight"), (100, 116, vec![2, 2]));
        assert_eq!(range("k_proj.weight"), (116, 132, vec![2, 2]));
        assert_eq!(range("v_proj.bias"), (116, 124, vec![2]));
    }

    #[test]
    fn the_prefix_that_some_leave_out_is_put_back() {
        let names =
            ["embeddings.token_embedding.weight", "encoder.layers.0.mlp.fc1.bias", "final_layer_norm.bias", "text_projection.weight"];
        let catalog = named(names.iter().map(|n| entry(n, &[2])).collect());
        let found: Vec<&str> = catalog.iter().map(|e| e.name.as_str()).collect();
        let (bare, own) = names.split_at(3);
        assert_eq!(found, bare.iter().map(|n| format!("text_model.{n}")).chain(own.iter().map(|n| (*n).to_owned())).collect::<Vec<_>>());
    }

    #[test]
    fn what_cannot_be_cut_is_named() {
        let mut joined = entry("transformer.resblocks.0.attn.in_proj_weight", &[9, 16]);
        (joined.dtype, joined.coded) = (DType::Q8_0, Coded::alone(Code::Blocks));
        let error = clip_text(&Catalog::new([joined.clone()], BTreeMap::new())).unwrap_err();
        assert_eq!(error.tensor, joined.name);
    }
}
