//! Which text encoder a set of tensors is.

use super::Role;
use crate::weights::Catalog;

/// The width of CLIP-L, and that of `OpenCLIP` bigG. Source: their `config.json`s, `hidden_size`.
const WIDTH_L: u64 = 768;
const WIDTH_G: u64 = 1280;

/// Returns the roles that an encoder under our names can have. A CLIP of neither released width can have either.
#[must_use]
pub fn roles_of(catalog: &Catalog) -> Vec<Role> {
    if catalog.has("encoder.block.0.layer.0.SelfAttention.q.weight") {
        return vec![Role::T5];
    }
    if catalog.has("model.layers.0.self_attn.q_norm.weight") {
        return vec![Role::Qwen];
    }
    match catalog.dim("text_model.embeddings.token_embedding.weight", 1) {
        None => Vec::new(),
        Some(WIDTH_L) => vec![Role::ClipL],
        Some(WIDTH_G) => vec![Role::ClipG],
        Some(_) => vec![Role::ClipL, Role::ClipG],
    }
}
