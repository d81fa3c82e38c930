//! CLIP's text encoder, as its shapes describe it.
//!
//! Source of the layout: transformers `models/clip/modeling_clip.py`, `CLIPTextTransformer`.

use super::unet::Expected;
use super::{Family, FamilyError, Role};
use crate::weights::{Catalog, Shape};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipConfig {
    /// Entries of the token table.
    pub vocabulary: u64,
    /// Length of a window in tokens, begin and end included: 77.
    pub positions: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Number of layers.
    pub layers: u64,
}

impl ClipConfig {
    /// The width of every released CLIP text encoder's attention heads.
    pub const HEAD_WIDTH: u64 = 64;

    /// Reads the configuration of an encoder whose names start with `text_model.`.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim =
            |name: &str, axis| catalog.dim(name, axis).ok_or_else(|| FamilyError::Missing { role: Role::ClipL, tensor: name.to_owned() });
        let config = Self {
            vocabulary: dim("text_model.embeddings.token_embedding.weight", 0)?,
            positions: dim("text_model.embeddings.position_embedding.weight", 0)?,
            width: dim("text_model.embeddings.token_embedding.weight", 1)?,
            inner_width: dim("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
            layers: catalog.count("text_model.encoder.layers."),
        };
        if !config.width.is_multiple_of(Self::HEAD_WIDTH) || config.width == 0 {
            return Err(FamilyError::OddNumber { role: Role::ClipL, family: Family::Sd15, what: "width", value: config.width });
        }
        Ok(config)
    }

    /// Returns the number of attention heads.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.width / Self::HEAD_WIDTH
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        list.push("text_model.embeddings.token_embedding.weight".to_owned(), [self.vocabulary, self.width]);
        list.push("text_model.embeddings.position_embedding.weight".to_owned(), [self.positions, self.width]);
        for n in 0..self.layers {
            let layer = format!("text_model.encoder.layers.{n}");
            list.norm(&format!("{layer}.layer_norm1"), self.width);
            list.norm(&format!("{layer}.layer_norm2"), self.width);
            for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                list.linear(&format!("{layer}.self_attn.{part}"), self.width, self.width);
            }
            list.linear(&format!("{layer}.mlp.fc1"), self.width, self.inner_width);
            list.linear(&format!("{layer}.mlp.fc2"), self.inner_width, self.width);
        }
        list.norm("text_model.final_layer_norm", self.width);
        list.0
    }
}
