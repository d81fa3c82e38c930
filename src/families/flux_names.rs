//! Names of Flux.1's tensors, from either layout.
//!
//! Ours are those of black-forest-labs' `flux/model.py`, prefix stripped, with its joined matrices apart: `img_attn.qkv` is
//! `img_attn.q`, `.k` and `.v`, `linear1` of a single block is `q`, `k`, `v` and `mlp`, and the last modulation is
//! `final_layer.shift` and `final_layer.scale`. The correspondence is that of diffusers' `scripts/convert_flux_to_diffusers.py`.

use super::FamilyError;
use super::apart::{Place, apart, around, looked_up, numbered};
use crate::weights::Catalog;

/// Returns the tensors of a Flux network, of either layout, under our names.
pub fn canonical(catalog: &Catalog) -> Result<Catalog, FamilyError> {
    let width = catalog.dim("img_in.weight", 0).or_else(|| catalog.dim("x_embedder.weight", 0)).unwrap_or(0);
    let catalog = apart(catalog, |layer, rows| place(layer, rows, width))?;
    // diffusers' name of a norm's weight, which some original files have too.
    let scale = |name: &str| name.strip_suffix("_norm.weight").map(|norm| format!("{norm}_norm.scale"));
    Ok(catalog.renamed(|name| Some(scale(name).unwrap_or_else(|| name.to_owned()))))
}

const TOP: &[(&str, &str)] = &[
    ("x_embedder", "img_in"),
    ("context_embedder", "txt_in"),
    ("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
    ("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
    ("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
    ("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
    ("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
    ("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
    ("proj_out", "final_layer.linear"),
];

const DOUBLE: &[(&str, &str)] = &[
    ("norm1.linear", "img_mod.lin"),
    ("norm1_context.linear", "txt_mod.lin"),
    ("attn.to_q", "img_attn.q"),
    ("attn.to_k", "img_attn.k"),
    ("attn.to_v", "img_attn.v"),
    ("attn.add_q_proj", "txt_attn.q"),
    ("attn.add_k_proj", "txt_attn.k"),
    ("attn.add_v_proj", "txt_attn.v"),
    ("attn.norm_q", "img_attn.norm.query_norm"),
    ("attn.norm_k", "img_attn.norm.key_norm"),
    ("attn.norm_added_q", "txt_attn.norm.query_norm"),
    ("attn.norm_added_k", "txt_attn.norm.key_norm"),
    ("attn.to_out.0", "img_attn.proj"),
    ("attn.to_add_out", "txt_attn.proj"),
    ("ff.net.0.proj", "img_mlp.0"),
    ("ff.net.2", "img_mlp.2"),
    ("ff_context.net.0.proj", "txt_mlp.0"),
    ("ff_context.net.2", "txt_mlp.2"),
];

const SINGLE: &[(&str, &str)] = &[
    ("norm.linear", "modulation.lin"),
    ("attn.to_q", "q"),
    ("attn.to_k", "k"),
    ("attn.to_v", "v"),
    ("proj_mlp", "mlp"),
    ("attn.norm_q", "norm.query_norm"),
    ("attn.norm_k", "norm.key_norm"),
    ("proj_out", "linear2"),
];

fn place(layer: &str, rows: u64, width: u64) -> Place {
    if let Some((n, rest)) = layer.strip_prefix("double_blocks.").and_then(numbered) {
        return match rest.strip_suffix(".qkv") {
            Some(attention) => Place::thirds(&format!("double_blocks.{n}.{attention}"), rows),
            None => Place::Same,
        };
    }
    if let Some((n, "linear1")) = layer.strip_prefix("single_blocks.").and_then(numbered) {
        let mlp = rows.saturating_sub(width.saturating_mul(3));
        let parts = [("q", width), ("k", width), ("v", width), ("mlp", mlp)];
        return Place::Apart(parts.map(|(part, rows)| (format!("single_blocks.{n}.{part}"), rows)).to_vec());
    }
    if let Some((n, rest)) = layer.strip_prefix("transformer_blocks.").and_then(numbered) {
        return looked_up(rest, DOUBLE).map_or(Place::Same, |ours| Place::As(format!("double_blocks.{n}.{ours}")));
    }
    if let Some((n, rest)) = layer.strip_prefix("single_transformer_blocks.").and_then(numbered) {
        return looked_up(rest, SINGLE).map_or(Place::Same, |ours| Place::As(format!("single_blocks.{n}.{ours}")));
    }
    around(layer, TOP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_layouts_meet() {
        let name = |theirs: &str| place(theirs, 21, 3).told(theirs);
        for (theirs, ours) in [
            ("double_blocks.3.txt_attn.qkv", "double_blocks.3.txt_attn.q:7 double_blocks.3.txt_attn.k:7 double_blocks.3.txt_attn.v:7"),
            ("double_blocks.3.txt_attn.proj", "double_blocks.3.txt_attn.proj"),
            ("transformer_blocks.11.attn.add_k_proj", "double_blocks.11.txt_attn.k"),
            ("transformer_blocks.0.ff.net.0.proj", "double_blocks.0.img_mlp.0"),
            ("single_blocks.37.linear1", "single_blocks.37.q:3 single_blocks.37.k:3 single_blocks.37.v:3 single_blocks.37.mlp:12"),
            ("single_transformer_blocks.5.proj_out", "single_blocks.5.linear2"),
            ("single_transformer_blocks.5.attn.to_v", "single_blocks.5.v"),
            ("proj_out", "final_layer.linear"),
            ("norm_out.linear", "final_layer ScaleShift"),
            ("final_layer.adaLN_modulation.1", "final_layer ShiftScale"),
            ("img_in", "img_in"),
        ] {
            assert_eq!(name(theirs), ours, "{theirs}");
        }
    }
}
