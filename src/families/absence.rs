//! Says what a file is that was given for a part which it does not hold.

use super::{FamilyError, Role};
use crate::weights::Catalog;

/// What names prove, the first that fits: ends of names first, then whole names.
const ENDS: &[(&str, &str)] = &[
    (".lora_up.weight", "a LoRA"),
    (".lora_down.weight", "a LoRA"),
    (".lora_A.weight", "a LoRA"),
    (".lora_B.weight", "a LoRA"),
    (".lora_A.default.weight", "a LoRA"),
    (".lora.up.weight", "a LoRA"),
    (".lora.down.weight", "a LoRA"),
    ("_lora.up.weight", "a LoRA"),
    ("_lora.down.weight", "a LoRA"),
    (".lora_linear_layer.up.weight", "a LoRA"),
    (".lora_linear_layer.down.weight", "a LoRA"),
    (".processor.qkv_lora1.up.weight", "a LoRA"),
    (".oft_blocks", "an OFT"),
    (".hada_w1_a", "a LoHa"),
    (".lokr_w1", "a LoKr, a kind of LoRA"),
    (".lokr_w1_a", "a LoKr, a kind of LoRA"),
    (".lokr_w2_a", "a LoKr, a kind of LoRA"),
    // Names of LyCORIS: `lycoris/modules/glora.py` and `ia3.py`; the second of IA3 is that of PEFT.
    (".a1.weight", "a GLoRA, a kind of LoRA"),
    (".on_input", "an IA3, a kind of LoRA"),
    (".ia3_l", "an IA3, a kind of LoRA"),
    // By these two ComfyUI tells its style models apart, `load_style_model` in `comfy/sd.py`.
    ("redux_down.weight", "a style adapter (Flux Redux)"),
    ("style_embedding", "a style adapter (T2I-Adapter)"),
    ("zero_convs.0.0.weight", "a ControlNet"),
    ("controlnet_cond_embedding.conv_in.weight", "a ControlNet"),
];

/// What the operator can do about a file that goes beside a model.
pub const LEAVE_OUT: &str = "leave it out; this version runs models as they are, without LoRAs, ControlNets and style adapters";

const NAMES: &[(&str, &str)] = &[
    ("emb_params", "an embedding of textual inversion"),
    ("encoder.block.0.layer.0.SelfAttention.q.weight", "a T5 encoder"),
    ("enc.blk.0.attn_q.weight", "a T5 encoder"),
    ("text_model.encoder.layers.0.mlp.fc1.weight", "a text encoder of CLIP"),
    ("encoder.layers.0.mlp.fc1.weight", "a text encoder of CLIP"),
    ("transformer.resblocks.0.ln_1.weight", "a text encoder of OpenCLIP"),
    ("vision_model.embeddings.patch_embedding.weight", "a picture encoder"),
    ("model.layers.0.self_attn.q_proj.weight", "a language model"),
    ("layers.0.self_attn.q_proj.weight", "a language model"),
    ("model.language_model.layers.0.self_attn.q_proj.weight", "a language model"),
    ("blk.0.attn_q.weight", "a language model"),
    ("decoder.conv_in.weight", "an autoencoder"),
];

/// Returns the error of a file that lacks a part, with what it is instead where its names tell.
#[must_use]
pub fn absent(role: Role, catalog: &Catalog) -> FamilyError {
    match instead(catalog) {
        Some((found, tensor)) => FamilyError::OtherPart { role, found, tensor: tensor.to_owned() },
        None => FamilyError::Missing { role, tensor: proof(role).to_owned() },
    }
}

/// Returns what a file is that is not what it was given as, and the tensor that shows it, where its names tell.
pub(super) fn instead(catalog: &Catalog) -> Option<(&'static str, &str)> {
    beside(catalog).or_else(|| NAMES.iter().find(|(name, _)| catalog.has(name)).map(|(name, found)| (*found, *name)))
}

/// Returns what a file is that goes beside a model, and is none and no part of one, and the tensor that shows it.
#[must_use]
pub fn beside(catalog: &Catalog) -> Option<(&'static str, &str)> {
    catalog.iter().find_map(|e| Some((ENDS.iter().find(|(end, _)| e.name.ends_with(end))?.1, e.name.as_str())))
}

/// Returns whether such a file is none of a model's parts.
pub(super) fn goes_beside(found: &str) -> bool {
    ENDS.iter().any(|(_, what)| *what == found)
}

/// The tensor by which a part is recognised.
fn proof(role: Role) -> &'static str {
    match role {
        Role::Denoiser => "input_blocks.0.0.weight",
        Role::ClipL | Role::ClipG => "text_model.encoder.layers.0.mlp.fc1.weight",
        Role::T5 => "encoder.block.0.layer.0.SelfAttention.q.weight",
        Role::Qwen => "model.layers.0.self_attn.q_proj.weight",
        Role::Vae => "decoder.conv_in.weight",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::weights::{DType, Shape, TensorEntry};

    fn holding(name: &str) -> Catalog {
        let entry =
            TensorEntry { name: name.to_owned(), dtype: DType::F32, shape: Shape::from([2]), file: 0, start: 0, end: 8, coded: None };
        Catalog::new([entry], BTreeMap::new())
    }

    fn told(role: Role, name: &str) -> String {
        absent(role, &holding(name)).to_string()
    }

    #[test]
    fn what_a_file_is_instead_is_named_with_its_proof() {
        let name = "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_up.weight";
        assert_eq!(told(Role::ClipL, name), format!("this is a LoRA, as `{name}` shows, and not the clip_l that it was given as"));
        for (name, what) in [
            ("unet.up_blocks.0.attentions.0.attn1.to_q.lora.down.weight", "a LoRA"),
            ("unet.down_blocks.0.attn1.processor.to_q_lora.up.weight", "a LoRA"),
            ("lora_unet_x.lokr_w1_a", "a LoKr, a kind of LoRA"),
            ("lora_unet_down_blocks_0_attentions_0_proj_in.a1.weight", "a GLoRA, a kind of LoRA"),
            ("lora_te1_text_model_encoder_layers_0_self_attn_k_proj.on_input", "an IA3, a kind of LoRA"),
            ("base_model.model.down_blocks.0.attentions.0.proj_in.ia3_l", "an IA3, a kind of LoRA"),
            ("redux_down.weight", "a style adapter (Flux Redux)"),
            ("style_embedding", "a style adapter (T2I-Adapter)"),
        ] {
            assert_eq!(told(Role::ClipL, name), format!("this is {what}, as `{name}` shows, and not the clip_l that it was given as"));
        }
        let t5 = "encoder.block.0.layer.0.SelfAttention.q.weight";
        assert!(told(Role::ClipG, t5).starts_with("this is a T5 encoder, as"));
        assert_eq!(instead(&holding("zero_convs.0.0.weight")), Some(("a ControlNet", "zero_convs.0.0.weight")));
        assert_eq!(told(Role::T5, "x"), format!("the t5 lacks the tensor `{t5}`"));
    }
}
