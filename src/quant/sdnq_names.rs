//! Which weights SDNQ quantises, by their names and shapes (`sdnq/utils.py`, `sdnq/common.py`).

use super::sdnq_config::{Config, LEAST_NUMBERS, LEAST_ROW};
use crate::weights::Shape;

/// Returns whether the reference quantises a linear layer's weight with this name and shape.
#[must_use]
pub fn converts(name: &str, shape: &Shape, config: &Config) -> bool {
    let large =
        shape.rank() == 2 && shape.dim(1).is_some_and(|row| row >= LEAST_ROW) && shape.elements().is_some_and(|n| n >= LEAST_NUMBERS);
    large && first_match(name, config.modules_to_not_convert.iter().map(String::as_str)).is_none()
}

/// Returns what the reference leaves alone in a model of this class, by diffusers' names (`sdnq/common.py`, `module_skip_keys_dict`).
#[must_use]
pub fn left_alone(class: &str) -> &'static [&'static str] {
    match class {
        "FluxTransformer2DModel" => &[
            "single_transformer_blocks.0.norm.linear.weight",
            "time_text_embed",
            "time_embed",
            "context_embedder",
            "x_embedder",
            ".proj_out",
            "norm_out",
        ],
        "Flux2Transformer2DModel" => &[
            "double_stream_modulation_img",
            "double_stream_modulation_txt",
            "single_stream_modulation",
            "time_guidance_embed",
            "context_embedder",
            "x_embedder",
            ".proj_out",
            "norm_out",
        ],
        "ChromaTransformer2DModel" => {
            &["distilled_guidance_layer", "time_text_embed", "context_embedder", "x_embedder", ".proj_out", "norm_out"]
        }
        "QwenImageTransformer2DModel" => {
            &["transformer_blocks.0.img_mod.1.weight", "time_text_embed", "txt_in", "img_in", "proj_out", "norm_out"]
        }
        "WanTransformer3DModel" => &["scale_shift_table", "patch_embedding", "condition_embedder", "proj_out", "norm_out"],
        "Lumina2Transformer2DModel" => &["layers.0.norm1.linear.weight", "time_caption_embed", "x_embedder", "norm_out"],
        "ZImageTransformer2DModel" => {
            &["layers.0.adaLN_modulation.0.weight", "t_embedder", "cap_embedder", "siglip_embedder", "all_x_embedder", "all_final_layer"]
        }
        "CosmosTransformer3DModel" => {
            &["transformer_blocks.0.norm*", "patch_embed", "time_embed", "norm_out", "proj_out", "crossattn_proj"]
        }
        _ => &[
            ".time_embed",
            ".context_embedder",
            ".condition_embedder",
            ".x_embedder",
            ".t_embedder",
            ".y_embedder",
            ".proj_in",
            ".emb_in",
            ".txt_in",
            ".img_in",
            ".vid_in",
            ".proj_out",
            ".norm_out",
            ".emb_out",
            ".txt_out",
            ".img_out",
            ".vid_out",
            ".final_layer",
            "multi_modal_projector",
            "time_text_embed",
            "patch_embedding",
            "patch_embed",
            "patch_emb",
            "lm_head",
            "wte",
        ],
    }
}

/// Returns the first entry that names this weight: the whole name, a part of it between dots, a beginning behind a dot, or a pattern.
pub fn first_match<'a>(name: &str, entries: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    entries.into_iter().find(|entry| match entry.strip_prefix('.') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *entry || name.split('.').any(|part| part == *entry) || (entry.contains('*') && begins(name, entry)),
    })
}

/// Returns whether a name begins as the pattern says, in which `*` stands for anything and a dot without one for one character.
fn begins(name: &str, pattern: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return true };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' {
        return name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| begins(&name[at..], rest));
    }
    let Some(character) = name.chars().next() else { return false };
    let same = first == character || (first == '.' && !rest.starts_with('*'));
    same && begins(&name[character.len_utf8()..], rest)
}

#[cfg(test)]
mod tests {
    use super::super::sdnq_type::WeightsType;
    use super::*;

    #[test]
    fn names_match_as_in_the_reference() {
        let matches = |name: &str, entry: &str| first_match(name, [entry]).is_some();
        let name = "transformer_blocks.0.attn.to_q.weight";
        assert!(matches(name, name) && matches(name, "attn") && matches(name, "0"), "the whole, or one part");
        assert!(!matches(name, "transformer") && !matches(name, "attn.to_q"));
        assert!(matches("proj_out.weight", ".proj_out") && !matches("blocks.0.proj_out.weight", ".proj_out"), "a dot is for the beginning");
        assert!(matches("transformer_blocks.0.norm1.linear.weight", "transformer_blocks.0.norm*"));
        assert!(matches("transformer_blocks.0.norm1.linear.weight", "transformer_blocks.*.norm1"));
        assert!(!matches("transformer_blocks.0.attn.weight", "transformer_blocks.0.norm*"));
        assert!(matches("axb.weight", "a.b*") && !matches("a.c.weight", "a.b*"));
    }

    #[test]
    fn small_weights_and_named_ones_are_left_alone() {
        let config = Config {
            modules_to_not_convert: left_alone("FluxTransformer2DModel").iter().map(|s| (*s).to_owned()).collect(),
            ..Config::of(WeightsType::INT8)
        };
        let converted = |name: &str, shape: Shape| converts(name, &shape, &config);
        assert!(converted("transformer_blocks.0.attn.to_q.weight", Shape::from([128, 128])));
        assert!(!converted("x_embedder.weight", Shape::from([128, 128])));
        assert!(!converted("transformer_blocks.0.norm1.bias", Shape::from([16384])));
        assert!(!converted("a.weight", Shape::from([1024, 16])) && !converted("a.weight", Shape::from([127, 128])));
        assert!(!converted("a.weight", Shape::from([128, 128, 3, 3])));
        assert!(left_alone("T5EncoderModel").contains(&"lm_head"));
    }
}
