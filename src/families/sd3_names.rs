//! Names of SD3's tensors, from either layout.
//!
//! Ours are those of Stability's `mmditx.py`, prefix stripped, with its joined matrices apart: `attn.qkv` is `attn.q`, `.k` and
//! `.v`; the last modulations, of the picture and of the last block's text, are `shift` and `scale`. The correspondence is that
//! of diffusers' `scripts/convert_sd3_to_diffusers.py`.

use super::FamilyError;
use super::apart::{Halves, Place, apart, around, looked_up, numbered};
use crate::weights::{Catalog, TensorEntry};

/// Returns the tensors of an SD3 network, of either layout, under our names.
pub fn canonical(catalog: &Catalog) -> Result<Catalog, FamilyError> {
    let last = catalog.count("joint_blocks.").max(catalog.count("transformer_blocks.")).checked_sub(1);
    let catalog = apart(catalog, |layer, rows| place(layer, rows, last))?;
    let positions = catalog.get("pos_embed").or_else(|| catalog.get("pos_embed.pos_embed")).map(|table| {
        let mut shape = table.shape.clone();
        // Some programs leave the extent of one away.
        if shape.rank() == 2 {
            shape.0.insert(0, 1);
        }
        TensorEntry { name: "pos_embed".to_owned(), shape, ..table.clone() }
    });
    Ok(Catalog::new(catalog.iter().cloned().chain(positions).collect::<Vec<_>>(), catalog.metadata().clone()))
}

const TOP: &[(&str, &str)] = &[
    ("pos_embed.proj", "x_embedder.proj"),
    ("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
    ("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
    ("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
    ("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
    ("proj_out", "final_layer.linear"),
];

const BLOCK: &[(&str, &str)] = &[
    ("norm1.linear", "x_block.adaLN_modulation.1"),
    ("norm1_context.linear", "context_block.adaLN_modulation.1"),
    ("attn.to_q", "x_block.attn.q"),
    ("attn.to_k", "x_block.attn.k"),
    ("attn.to_v", "x_block.attn.v"),
    ("attn.add_q_proj", "context_block.attn.q"),
    ("attn.add_k_proj", "context_block.attn.k"),
    ("attn.add_v_proj", "context_block.attn.v"),
    ("attn.norm_q", "x_block.attn.ln_q"),
    ("attn.norm_k", "x_block.attn.ln_k"),
    ("attn.norm_added_q", "context_block.attn.ln_q"),
    ("attn.norm_added_k", "context_block.attn.ln_k"),
    ("attn.to_out.0", "x_block.attn.proj"),
    ("attn.to_add_out", "context_block.attn.proj"),
    ("attn2.to_q", "x_block.attn2.q"),
    ("attn2.to_k", "x_block.attn2.k"),
    ("attn2.to_v", "x_block.attn2.v"),
    ("attn2.norm_q", "x_block.attn2.ln_q"),
    ("attn2.norm_k", "x_block.attn2.ln_k"),
    ("attn2.to_out.0", "x_block.attn2.proj"),
    ("ff.net.0.proj", "x_block.mlp.fc1"),
    ("ff.net.2", "x_block.mlp.fc2"),
    ("ff_context.net.0.proj", "context_block.mlp.fc1"),
    ("ff_context.net.2", "context_block.mlp.fc2"),
];

fn place(layer: &str, rows: u64, last: Option<u64>) -> Place {
    let last_text = |n, order| Place::Halves(format!("joint_blocks.{n}.context_block"), order);
    if let Some((n, rest)) = layer.strip_prefix("joint_blocks.").and_then(numbered) {
        return match rest.strip_suffix(".qkv") {
            Some(attention) => Place::thirds(&format!("joint_blocks.{n}.{attention}"), rows),
            None if rest == "context_block.adaLN_modulation.1" && Some(n) == last => last_text(n, Halves::ShiftScale),
            None => Place::Same,
        };
    }
    if let Some((n, rest)) = layer.strip_prefix("transformer_blocks.").and_then(numbered) {
        return match looked_up(rest, BLOCK) {
            Some("context_block.adaLN_modulation.1") if Some(n) == last => last_text(n, Halves::ScaleShift),
            Some(ours) => Place::As(format!("joint_blocks.{n}.{ours}")),
            None => Place::Same,
        };
    }
    around(layer, TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_layouts_meet() {
        let name = |theirs: &str| place(theirs, 9, Some(2)).told(theirs);
        for (theirs, ours) in [
            (
                "joint_blocks.2.x_block.attn2.qkv",
                "joint_blocks.2.x_block.attn2.q:3 joint_blocks.2.x_block.attn2.k:3 joint_blocks.2.x_block.attn2.v:3",
            ),
            ("joint_blocks.1.context_block.adaLN_modulation.1", "joint_blocks.1.context_block.adaLN_modulation.1"),
            ("joint_blocks.2.context_block.adaLN_modulation.1", "joint_blocks.2.context_block ShiftScale"),
            ("joint_blocks.2.x_block.adaLN_modulation.1", "joint_blocks.2.x_block.adaLN_modulation.1"),
            ("transformer_blocks.2.norm1_context.linear", "joint_blocks.2.context_block ScaleShift"),
            ("transformer_blocks.0.norm1_context.linear", "joint_blocks.0.context_block.adaLN_modulation.1"),
            ("transformer_blocks.0.attn2.to_out.0", "joint_blocks.0.x_block.attn2.proj"),
            ("pos_embed.proj", "x_embedder.proj"),
            ("norm_out.linear", "final_layer ScaleShift"),
            ("context_embedder", "context_embedder"),
        ] {
            assert_eq!(name(theirs), ours, "{theirs}");
        }
    }
}
