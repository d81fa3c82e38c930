//! Renames tensors of text encoders to ours, which are those of transformers.
//!
//! `OpenCLIP` joins query, key and value of an attention in one matrix (`open_clip/transformer.py`, torch's
//! `nn.MultiheadAttention`); they are cut apart. The correspondence is that of ComfyUI's `comfy/utils.py`,
//! `clip_text_transformers_convert`. GGUF files have the names of llama.cpp.

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

/// The metadata under which the base of a language model's rotations is kept, where a `config.json` beside it says it.
pub const ROPE_THETA: &str = "config.rope_theta";
/// The metadata that marks the language part of a model that sees.
pub const QWEN_VL: &str = "perilune.vision_language";

/// llama.cpp's names for the parts of T5's encoder (`gguf-py/gguf/tensor_mapping.py`).
const T5_PARTS: &[(&str, &str)] = &[
    ("attn_q.", "layer.0.SelfAttention.q."),
    ("attn_k.", "layer.0.SelfAttention.k."),
    ("attn_v.", "layer.0.SelfAttention.v."),
    ("attn_o.", "layer.0.SelfAttention.o."),
    ("attn_rel_b.", "layer.0.SelfAttention.relative_attention_bias."),
    ("attn_norm.", "layer.0.layer_norm."),
    ("ffn_gate.", "layer.1.DenseReluDense.wi_0."),
    ("ffn_up.", "layer.1.DenseReluDense.wi_1."),
    ("ffn_down.", "layer.1.DenseReluDense.wo."),
    ("ffn_norm.", "layer.1.layer_norm."),
];

/// Returns T5's encoder under the names of transformers: llama.cpp's renamed, and the table under its first name where a file
/// holds it under its second alone. Other names pass unchanged.
#[must_use]
pub fn t5(catalog: &Catalog) -> Catalog {
    let has_shared = catalog.has("shared.weight");
    catalog.renamed(|name| {
        let ours = match name {
            "token_embd.weight" => Some("shared.weight".to_owned()),
            "encoder.embed_tokens.weight" if !has_shared => Some("shared.weight".to_owned()),
            "enc.output_norm.weight" => Some("encoder.final_layer_norm.weight".to_owned()),
            _ => block(name, "enc.blk.", "encoder.block.", T5_PARTS),
        };
        Some(ours.unwrap_or_else(|| name.to_owned()))
    })
}

/// llama.cpp's names for the parts of a language model of Llama's kind (`gguf-py/gguf/tensor_mapping.py`).
const LLAMA_PARTS: &[(&str, &str)] = &[
    ("attn_q_norm.", "self_attn.q_norm."),
    ("attn_k_norm.", "self_attn.k_norm."),
    ("attn_q.", "self_attn.q_proj."),
    ("attn_k.", "self_attn.k_proj."),
    ("attn_v.", "self_attn.v_proj."),
    ("attn_output.", "self_attn.o_proj."),
    ("attn_norm.", "input_layernorm."),
    ("ffn_gate_inp.", "mlp.gate."),
    ("ffn_gate.", "mlp.gate_proj."),
    ("ffn_up.", "mlp.up_proj."),
    ("ffn_down.", "mlp.down_proj."),
    ("ffn_norm.", "post_attention_layernorm."),
    ("post_ffw_norm.", "post_feedforward_layernorm."),
];

/// Prefixes under which files keep a language model's own tensors; the first two are parts of models that see.
const LANGUAGE: &[&str] = &["model.language_model.", "language_model.model.", "model."];

/// Returns a language model of Llama's kind under the names of transformers: llama.cpp's renamed, the prefixes of models that
/// see taken away, and the `model.` that transformers 5.6 leaves out put back.
#[must_use]
pub fn language_model(catalog: &Catalog) -> Catalog {
    let prefix = LANGUAGE.iter().copied().find(|p| catalog.has_prefix(&format!("{p}layers.")));
    let renamed = catalog.renamed(|name| {
        let rest = prefix.and_then(|p| name.strip_prefix(p)).unwrap_or(name);
        let ours = match rest {
            "token_embd.weight" => Some("model.embed_tokens.weight".to_owned()),
            "output_norm.weight" => Some("model.norm.weight".to_owned()),
            _ if ["layers.", "embed_tokens.", "norm."].iter().any(|p| rest.starts_with(p)) => Some(format!("model.{rest}")),
            _ => block(rest, "blk.", "model.layers.", LLAMA_PARTS),
        };
        Some(ours.unwrap_or_else(|| name.to_owned()))
    });
    let sees = prefix.is_some_and(|p| p.contains("language_model"));
    if sees { renamed.with_note(QWEN_VL, "") } else { renamed }
}

/// Returns T5's encoder, under the names of transformers, as llama.cpp names it. What it has no name for is left out: a decoder, and
/// the table of tokens under its second name.
#[must_use]
pub fn t5_for_llama_cpp(catalog: &Catalog) -> Catalog {
    catalog.renamed(|name| match name {
        "shared.weight" => Some("token_embd.weight".to_owned()),
        "encoder.final_layer_norm.weight" => Some("enc.output_norm.weight".to_owned()),
        _ => block(name, "encoder.block.", "enc.blk.", &turned(T5_PARTS)),
    })
}

/// Returns a language model of Llama's kind, under the names of transformers, as llama.cpp names it. What it has no name for is left
/// out, such as the eyes of a model that sees.
#[must_use]
pub fn language_model_for_llama_cpp(catalog: &Catalog) -> Catalog {
    catalog.renamed(|name| match name {
        "model.embed_tokens.weight" => Some("token_embd.weight".to_owned()),
        "model.norm.weight" => Some("output_norm.weight".to_owned()),
        "lm_head.weight" | "output.weight" => Some("output.weight".to_owned()),
        _ => block(name, "model.layers.", "blk.", &turned(LLAMA_PARTS)),
    })
}

/// Returns a table from the other side.
fn turned<'a>(parts: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    parts.iter().map(|(from, to)| (*to, *from)).collect()
}

/// Renames `enc.blk.3.attn_q.weight`.
fn block(name: &str, from: &str, to: &str, parts: &[(&str, &str)]) -> Option<String> {
    let (number, part) = name.strip_prefix(from)?.split_once('.')?;
    let ours = parts.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", part.strip_prefix(theirs)?)))?;
    Some(format!("{to}{number}.{ours}"))
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

    fn all_named(named: impl Fn(&Catalog) -> Catalog, pairs: &[(&str, &str)]) {
        let catalog = named(&Catalog::new(pairs.iter().map(|(theirs, _)| entry(theirs, &[2])), BTreeMap::new()));
        for (theirs, ours) in pairs {
            assert!(catalog.has(ours), "{theirs} is not {ours}");
        }
        assert_eq!(catalog.len(), pairs.len());
    }

    #[test]
    fn names_of_llama_cpp_follow_its_table() {
        all_named(
            t5,
            &[
                ("token_embd.weight", "shared.weight"),
                ("enc.output_norm.weight", "encoder.final_layer_norm.weight"),
                ("enc.blk.0.attn_rel_b.weight", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"),
                ("enc.blk.23.attn_q.weight", "encoder.block.23.layer.0.SelfAttention.q.weight"),
                ("enc.blk.1.attn_o.weight", "encoder.block.1.layer.0.SelfAttention.o.weight"),
                ("enc.blk.1.attn_norm.weight", "encoder.block.1.layer.0.layer_norm.weight"),
                ("enc.blk.1.ffn_gate.weight", "encoder.block.1.layer.1.DenseReluDense.wi_0.weight"),
                ("enc.blk.1.ffn_down.weight", "encoder.block.1.layer.1.DenseReluDense.wo.weight"),
                ("enc.blk.1.ffn_norm.weight", "encoder.block.1.layer.1.layer_norm.weight"),
            ],
        );
        all_named(
            language_model,
            &[
                ("token_embd.weight", "model.embed_tokens.weight"),
                ("output_norm.weight", "model.norm.weight"),
                ("blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"),
                ("blk.35.attn_k.weight", "model.layers.35.self_attn.k_proj.weight"),
                ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"),
                ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"),
                ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight"),
                ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"),
            ],
        );
    }

    #[test]
    fn names_of_llama_cpp_are_found_again() {
        let there_and_back = |names: &[&str], there: fn(&Catalog) -> Catalog, back: fn(&Catalog) -> Catalog| {
            let theirs = there(&Catalog::new(names.iter().map(|name| entry(name, &[2])), BTreeMap::new()));
            assert_eq!(theirs.len(), names.len(), "{theirs:?}");
            let again = back(&theirs);
            assert!(names.iter().all(|name| again.has(name)), "{again:?}");
        };
        let t5_names: Vec<String> = T5_PARTS.iter().map(|(_, ours)| format!("encoder.block.3.{ours}weight")).collect();
        let t5_names: Vec<&str> = t5_names.iter().map(String::as_str).chain(["shared.weight", "encoder.final_layer_norm.weight"]).collect();
        there_and_back(&t5_names, t5_for_llama_cpp, t5);
        let qwen: Vec<String> = LLAMA_PARTS.iter().map(|(_, ours)| format!("model.layers.3.{ours}weight")).collect();
        let qwen: Vec<&str> = qwen.iter().map(String::as_str).chain(["model.embed_tokens.weight", "model.norm.weight"]).collect();
        there_and_back(&qwen, language_model_for_llama_cpp, language_model);
        let odd = Catalog::new(["decoder.block.0.x", "encoder.embed_tokens.weight"].map(|name| entry(name, &[2])), BTreeMap::new());
        assert!(t5_for_llama_cpp(&odd).is_empty());
    }

    #[test]
    fn tables_and_prefixes_have_one_name() {
        all_named(t5, &[("encoder.embed_tokens.weight", "shared.weight"), ("decoder.block.0.x", "decoder.block.0.x")]);
        all_named(t5, &[("encoder.embed_tokens.weight", "encoder.embed_tokens.weight"), ("shared.weight", "shared.weight")]);
        all_named(
            language_model,
            &[("layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"), ("lm_head.weight", "lm_head.weight")],
        );
        let seeing = [
            ("model.language_model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
            ("model.language_model.embed_tokens.weight", "model.embed_tokens.weight"),
            ("model.visual.blocks.0.x", "model.visual.blocks.0.x"),
        ];
        all_named(language_model, &seeing);
        let catalog = language_model(&Catalog::new([entry(seeing[0].0, &[2])], BTreeMap::new()));
        assert!(catalog.metadata().contains_key(QWEN_VL));
    }
}
