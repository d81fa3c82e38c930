//! Which text encoder a set of tensors is.

use super::{Role, clip};
use crate::weights::Catalog;

/// Returns the roles that an encoder under our names can have. A CLIP of no released width can have either of its two.
#[must_use]
pub fn roles_of(catalog: &Catalog) -> Vec<Role> {
    if catalog.has("encoder.block.0.layer.0.SelfAttention.q.weight") {
        return vec![Role::T5];
    }
    if catalog.has("model.layers.0.self_attn.q_norm.weight") {
        return vec![Role::Qwen];
    }
    if !catalog.has("text_model.embeddings.token_embedding.weight") {
        return Vec::new();
    }
    [Role::ClipL, Role::ClipG].into_iter().filter(|role| clip::claims(*role, catalog)).collect()
}
