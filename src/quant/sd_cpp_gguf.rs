//! Whole checkpoints and CLIP's encoders in GGUF files, under their own names and with no shape but their own, as
//! stable-diffusion.cpp writes and reads them.
//!
//! Source: stable-diffusion.cpp, `src/model_loader.cpp` (`tensor_should_be_converted`). It knows one type for a file; mixes choose
//! among tensors as ComfyUI-GGUF's tools do. Norms, which it quantises too, stay as they are here.

use super::comfy_gguf::{Architecture, Chosen, Given, fitting, is_floating, is_table, mixed, sixteen};
use super::precision::Mix;

/// Parts of names of what stays in 16 bits: what brings numbers in and out, and CLIP's tables.
const KEPT: &[&str] = &[
    "img_in.",
    "txt_in.",
    "time_in.",
    "vector_in.",
    "guidance_in.",
    "final_layer.",
    "x_embedder.",
    "t_embedder.",
    "y_embedder.",
    "pos_embed",
    "context_embedder.",
    "time_embed.",
    "label_emb.",
    "embedding",
];

/// Autoencoders show every step of their numbers.
const AUTOENCODERS: &[&str] = &["first_stage_model.", "vae."];

/// What the diffusion network's names begin with.
const NETWORK: &str = "model.diffusion_model.";

/// Returns what becomes of these tensors, in the order given. `architecture` is that of the diffusion network among them.
#[must_use]
pub fn plan(given: &[Given], mix: Mix, architecture: Option<Architecture>) -> Vec<Chosen> {
    let mut values_seen = 0;
    let chosen = |(source, tensor): (usize, &Given)| {
        let through = sixteen(tensor, &[]);
        let dtype =
            if is_candidate(tensor, architecture) { fitting(mixed(mix, &tensor.name, &mut values_seen), &tensor.shape) } else { through };
        Chosen { source, name: tensor.name.clone(), dtype, shape: tensor.shape.clone(), through }
    };
    given.iter().enumerate().map(chosen).collect()
}

fn is_candidate(tensor: &Given, architecture: Option<Architecture>) -> bool {
    let name = tensor.name.as_str();
    // OpenCLIP's joined matrices are parameters, and no layers' weights.
    let is_weight = name.ends_with(".weight") || name.ends_with(".in_proj_weight");
    let is_kept = is_table(name) || KEPT.iter().any(|part| name.contains(part)) || AUTOENCODERS.iter().any(|part| name.starts_with(part));
    let is_listed = name.strip_prefix(NETWORK).is_some_and(|own| architecture.is_some_and(|architecture| architecture.keeps(own)));
    is_weight && tensor.shape.rank() == 2 && is_floating(tensor.dtype) && !is_kept && !is_listed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{DType, Shape};

    fn dtype(name: &str, shape: &[u64], dtype: DType) -> DType {
        let given = Given { name: name.to_owned(), dtype, shape: Shape(shape.to_vec()) };
        plan(&[given], Mix::Q4_K_M, Architecture::named("sdxl"))[0].dtype
    }

    #[test]
    fn matrices_of_network_and_encoders_are_quantised_and_nothing_else() {
        let matrix = |name: &str| dtype(name, &[512, 512], DType::F16);
        let block = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0";
        assert_eq!(matrix(&format!("{block}.attn1.to_q.weight")), DType::Q4_K);
        assert_eq!(matrix(&format!("{block}.attn1.to_v.weight")), DType::Q6_K);
        let clip = "conditioner.embedders.1.model.transformer.resblocks.0";
        assert_eq!(
            (matrix(&format!("{clip}.attn.in_proj_weight")), matrix(&format!("{clip}.mlp.c_fc.weight"))),
            (DType::Q4_K, DType::Q4_K)
        );
        let t5 = "text_encoders.t5xxl.transformer";
        assert_eq!(matrix(&format!("{t5}.shared.weight")), DType::Q4_K, "a table of tokens that is not called one");
        assert_eq!(matrix(&format!("{t5}.encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight")), DType::F16);
        for name in [
            "first_stage_model.decoder.mid.attn_1.q.weight",
            "model.diffusion_model.label_emb.0.0.weight",
            "model.diffusion_model.time_embed.0.weight",
            "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
            "conditioner.embedders.1.model.text_projection",
            "conditioner.embedders.1.model.positional_embedding",
        ] {
            assert_eq!(matrix(name), DType::F16, "{name}");
        }
        assert_eq!(dtype(&format!("{block}.attn1.to_q.weight"), &[512, 320], DType::F16), DType::F16, "no whole blocks");
        assert_eq!(dtype("model.diffusion_model.input_blocks.1.0.in_layers.2.weight", &[512, 512, 3, 3], DType::F32), DType::F16);
        assert_eq!(dtype("model.diffusion_model.out.0.weight", &[512], DType::F32), DType::F32);
    }
}
