//! The tables of ComfyUI-GGUF's tools: how architectures are told apart, and which of their tensors keep their numbers.
//!
//! Source: city96's ComfyUI-GGUF, `tools/convert.py` and `tools/lcpp.patch`.

/// An architecture that ComfyUI-GGUF's tools convert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is its own name")]
pub enum Architecture {
    Flux,
    Sd3,
    Aura,
    HiDream,
    Cosmos,
    Ltxv,
    HyVid,
    Wan,
    Sdxl,
    Sd1,
    Lumina2,
}

/// What the tools know of an architecture.
pub(super) struct Facts {
    pub(super) architecture: Architecture,
    /// Its name in a header's `general.architecture`.
    pub(super) name: &'static str,
    /// Any of these lists, all of its tensors present, proves it.
    pub(super) proofs: &'static [&'static [&'static str]],
    /// A tensor that is there in another program's layout only.
    pub(super) banned: Option<&'static str>,
    /// Parts of names of tensors that are not quantised; what begins with `=` is a whole name.
    pub(super) kept: &'static [&'static str],
    /// Parts of names of tensors that stay in full precision where they come in it.
    pub(super) exact: &'static [&'static str],
    /// Whether rows that are no whole blocks are made so by another shape.
    pub(super) reshaped: bool,
}

/// The first whose proof is there is it.
pub(super) const FACTS: &[Facts] = &[
    Facts {
        architecture: Architecture::Flux,
        name: "flux",
        proofs: &[&["double_blocks.0.img_attn.proj.weight"]],
        banned: Some("transformer_blocks.0.attn.norm_added_k.weight"),
        kept: FLUX_KEPT,
        exact: &[],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Sd3,
        name: "sd3",
        proofs: &[&["joint_blocks.0.x_block.attn.qkv.weight"]],
        banned: Some("transformer_blocks.0.attn.add_q_proj.weight"),
        kept: &[
            "final_layer.",
            "time_text_embed.",
            "context_embedder.",
            "t_embedder.",
            "y_embedder.",
            "x_embedder.",
            "=proj_out.weight",
            "=pos_embed",
        ],
        exact: &[],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Aura,
        name: "aura",
        proofs: &[&["double_layers.3.modX.1.weight"]],
        banned: Some("joint_transformer_blocks.3.ff_context.out_projection.weight"),
        kept: &[
            "t_embedder.",
            "init_x_linear.",
            "=modF.1.weight",
            "=cond_seq_linear.weight",
            "=final_linear.weight",
            "=positional_encoding",
            "=register_tokens",
        ],
        exact: &[],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::HiDream,
        name: "hidream",
        proofs: &[&["caption_projection.0.linear.weight", "double_stream_blocks.0.block.ff_i.shared_experts.w3.weight"]],
        banned: None,
        kept: &["p_embedder.", "t_embedder.", "x_embedder.", "final_layer.", ".ff_i.gate.weight", "caption_projection."],
        exact: &[".ff_i.gate.weight", "img_emb.emb_pos"],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Cosmos,
        name: "cosmos",
        proofs: &[&["blocks.0.mlp.layer1.weight", "blocks.0.adaln_modulation_cross_attn.1.weight"]],
        banned: None,
        kept: &["p_embedder.", "t_embedder.", "t_embedding_norm.", "x_embedder.", "pos_embedder.", "final_layer."],
        exact: &["pos_embedder"],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Ltxv,
        name: "ltxv",
        proofs: &[&[
            "adaln_single.emb.timestep_embedder.linear_2.weight",
            "transformer_blocks.27.scale_shift_table",
            "caption_projection.linear_2.weight",
        ]],
        banned: None,
        kept: &["adaln_single.", "caption_projection.", "patchify_proj.", "proj_out.", "scale_shift_table"],
        exact: &["scale_shift_table"],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::HyVid,
        name: "hyvid",
        proofs: &[&["double_blocks.0.img_attn_proj.weight", "txt_in.individual_token_refiner.blocks.1.self_attn_qkv.weight"]],
        banned: None,
        kept: FLUX_KEPT,
        exact: &[],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Wan,
        name: "wan",
        proofs: &[&["blocks.0.self_attn.norm_q.weight", "text_embedding.2.weight", "head.modulation"]],
        banned: None,
        kept: &["modulation.", "patch_embedding.", "text_embedding.", "time_projection.", "time_embedding.", "img_emb.", "head."],
        exact: &[".modulation"],
        reshaped: false,
    },
    Facts {
        architecture: Architecture::Sdxl,
        name: "sdxl",
        proofs: &[
            &["down_blocks.0.downsamplers.0.conv.weight", "add_embedding.linear_1.weight"],
            &["input_blocks.3.0.op.weight", "input_blocks.6.0.op.weight", "output_blocks.2.2.conv.weight", "output_blocks.5.2.conv.weight"],
            &["label_emb.0.0.weight"],
        ],
        banned: None,
        kept: UNET_KEPT,
        exact: &[],
        reshaped: true,
    },
    Facts {
        architecture: Architecture::Sd1,
        name: "sd1",
        proofs: &[
            &["down_blocks.0.downsamplers.0.conv.weight"],
            &[
                "input_blocks.3.0.op.weight",
                "input_blocks.6.0.op.weight",
                "input_blocks.9.0.op.weight",
                "output_blocks.2.1.conv.weight",
                "output_blocks.5.2.conv.weight",
                "output_blocks.8.2.conv.weight",
            ],
        ],
        banned: None,
        kept: UNET_KEPT,
        exact: &[],
        reshaped: true,
    },
    Facts {
        architecture: Architecture::Lumina2,
        name: "lumina2",
        proofs: &[&["cap_embedder.1.weight", "context_refiner.0.attention.qkv.weight"]],
        banned: None,
        kept: &["t_embedder.", "x_embedder.", "final_layer.", "cap_embedder.", "context_refiner.", "noise_refiner."],
        exact: &[],
        reshaped: false,
    },
];

const FLUX_KEPT: &[&str] = &["txt_in.", "img_in.", "time_in.", "vector_in.", "guidance_in.", "final_layer."];

const UNET_KEPT: &[&str] = &[
    "class_embedding.",
    "time_embedding.",
    "add_embedding.",
    "time_embed.",
    "label_emb.",
    "conv_in.",
    "conv_out.",
    "=input_blocks.0.0.weight",
    "=out.2.weight",
];

/// Tensors that llama.cpp quantises in no architecture, and tables of positions and scales that no program may.
pub(super) const NEVER: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ssm_conv1d.weight",
    "time_mix_",
    "attn_rel_b.weight",
    "relative_attention_bias",
    "pos_embed",
    "scale_shift_table",
    "logit_scale",
    "alphas_cumprod",
];

/// What is kept of networks of no known architecture: what brings numbers in and out, and tables.
pub(super) const USUALLY_KEPT: &[&str] =
    &["embed", "_in.", "final_layer.", "norm_out.", "proj_out.", "shared.", "lm_head", ".modulation", "patchify_proj."];

/// Parts of names that show another layout, or a part that does not belong in such a file.
pub(super) const REFUSED: &[&str] =
    &["model.diffusion_model.", "first_stage_model.", "single_transformer_blocks.", "joint_transformer_blocks."];

/// Values of an attention.
pub(super) const VALUES: &[&str] =
    &["attn_v.weight", ".to_v.weight", ".v.weight", ".attn.w1v.weight", ".attn.w2v.weight", "_attn.v_proj.weight"];

/// Queries, keys and values of an attention in one.
pub(super) const FUSED: &[&str] = &["attn_qkv.weight", "attn.qkv.weight", "attention.qkv.weight"];

/// The way out of a feed-forward layer.
pub(super) const FEED_OUT: &[&str] =
    &["ffn_down", ".ffn.2.weight", ".ff.net.2.weight", ".mlp.layer2.weight", ".adaln_modulation_mlp.2.weight", ".feed_forward.w2.weight"];
