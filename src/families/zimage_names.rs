//! Names of Z-Image's tensors, from either layout.
//!
//! Ours are those of Tongyi-MAI's `zimage/transformer.py` as its single files have them, prefix stripped, with the joined
//! `attention.qkv` apart: `attention.q`, `.k` and `.v`. The correspondence is that of diffusers'
//! `convert_z_image_transformer_checkpoint_to_diffusers`.

use super::FamilyError;
use super::apart::{Place, apart, looked_up};
use crate::weights::Catalog;

/// Returns the tensors of a Z-Image network, of either layout, under our names.
pub fn canonical(catalog: &Catalog) -> Result<Catalog, FamilyError> {
    apart(catalog, place)
}

const ATTENTION: &[(&str, &str)] =
    &[("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "out"), ("norm_q", "q_norm"), ("norm_k", "k_norm")];

fn place(layer: &str, rows: u64) -> Place {
    if let Some((at, part)) = layer.split_once(".attention.") {
        return match part {
            "qkv" => Place::thirds(&format!("{at}.attention"), rows),
            _ => looked_up(part, ATTENTION).map_or(Place::Same, |ours| Place::As(format!("{at}.attention.{ours}"))),
        };
    }
    // The one size of patches that there is: 2 × 2 cells of one picture.
    match layer.strip_prefix("all_final_layer.2-1.") {
        Some(part) => Place::As(format!("final_layer.{part}")),
        None if layer == "all_x_embedder.2-1" => Place::As("x_embedder".to_owned()),
        None => Place::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_layouts_meet() {
        let name = |theirs: &str| place(theirs, 9).told(theirs);
        for (theirs, ours) in [
            ("layers.3.attention.qkv", "layers.3.attention.q:3 layers.3.attention.k:3 layers.3.attention.v:3"),
            ("noise_refiner.1.attention.to_out.0", "noise_refiner.1.attention.out"),
            ("context_refiner.0.attention.norm_k", "context_refiner.0.attention.k_norm"),
            ("layers.0.attention.q_norm", "layers.0.attention.q_norm"),
            ("layers.0.adaLN_modulation.0", "layers.0.adaLN_modulation.0"),
            ("all_x_embedder.2-1", "x_embedder"),
            ("all_final_layer.2-1.adaLN_modulation.1", "final_layer.adaLN_modulation.1"),
            ("cap_embedder.1", "cap_embedder.1"),
        ] {
            assert_eq!(name(theirs), ours, "{theirs}");
        }
    }
}
