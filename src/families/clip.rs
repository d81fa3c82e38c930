//! CLIP's text encoders, as their shapes describe them: CLIP-L, and `OpenCLIP`'s bigG.
//!
//! Source of the layout: transformers `models/clip/modeling_clip.py`, `CLIPTextTransformer` and
//! `CLIPTextModelWithProjection`.

use super::unet::Expected;
use super::{Family, FamilyError, Role, needed};
use crate::weights::{Catalog, Shape};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipConfig {
    /// The part that it is.
    pub role: Role,
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
    /// What is between the feed-forward layers.
    pub activation: ClipActivation,
    /// The matrix that the pooled output is multiplied with, where the file holds one.
    pub projection: Option<ClipProjection>,
}

/// The activation that an encoder was trained with. No header tells; the part that it is does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipActivation {
    /// `x · σ(1.702 x)`: CLIP-L.
    QuickGelu,
    /// The exact GELU, with erf: `OpenCLIP`.
    Gelu,
}

/// A stored projection of the pooled output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClipProjection {
    /// The width of what it gives.
    pub width: u64,
    /// Whether it is the bare parameter `[in, out]` of `OpenCLIP`, and no `[out, in]` as a layer of torch.
    pub is_bare: bool,
}

impl ClipProjection {
    /// The name of the tensor.
    #[must_use]
    pub fn name(&self) -> &'static str {
        if self.is_bare { BARE_PROJECTION } else { PROJECTION }
    }
}

const BARE_PROJECTION: &str = "text_projection";
const PROJECTION: &str = "text_projection.weight";
/// The table of tokens.
pub const TOKENS: &str = "text_model.embeddings.token_embedding.weight";

/// Widths of released encoders, and the part that they are of a model here.
const RELEASED: &[(u64, &str, Option<Role>)] =
    &[(768, "CLIP-L", Some(Role::ClipL)), (1024, "OpenCLIP H", None), (1280, "OpenCLIP bigG", Some(Role::ClipG))];

/// Returns whether tensors of such an encoder can be this part's; other parts' tensors always can.
#[must_use]
pub fn claims(role: Role, catalog: &Catalog) -> bool {
    !matches!(role, Role::ClipL | Role::ClipG) || catalog.dim(TOKENS, 1).is_none_or(|width| other(role, width).is_none())
}

/// Returns which released encoder has this width, where that is not this part.
fn other(role: Role, width: u64) -> Option<&'static str> {
    RELEASED.iter().find(|(w, _, part)| *w == width && *part != Some(role)).map(|(_, name, _)| *name)
}

impl ClipConfig {
    /// The width of every released CLIP text encoder's attention heads.
    pub const HEAD_WIDTH: u64 = 64;

    /// Reads the configuration of an encoder whose names start with `text_model.`.
    pub fn read(role: Role, catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, role, name, axis);
        let width = dim(TOKENS, 1)?;
        if let Some(found) = other(role, width) {
            return Err(FamilyError::OtherEncoder { role, found, width });
        }
        let projection = |is_bare: bool| {
            let projection = ClipProjection { width: 0, is_bare };
            catalog.dim(projection.name(), usize::from(is_bare)).map(|width| ClipProjection { width, is_bare })
        };
        let config = Self {
            role,
            vocabulary: dim(TOKENS, 0)?,
            positions: dim("text_model.embeddings.position_embedding.weight", 0)?,
            width,
            inner_width: dim("text_model.encoder.layers.0.mlp.fc1.weight", 0)?,
            layers: catalog.count("text_model.encoder.layers."),
            activation: if role == Role::ClipG { ClipActivation::Gelu } else { ClipActivation::QuickGelu },
            projection: projection(false).or_else(|| projection(true)),
        };
        if !config.width.is_multiple_of(Self::HEAD_WIDTH) || config.width == 0 {
            let family = if role == Role::ClipG { Family::Sdxl } else { Family::Sd15 };
            return Err(FamilyError::OddNumber { role, family, what: "width", value: config.width });
        }
        Ok(config)
    }

    /// Returns the number of attention heads.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.width / Self::HEAD_WIDTH
    }

    /// Returns the token that ends a text: the last of the 49,408 that every released encoder knows, and of a smaller vocabulary.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.vocabulary.min(49_408).saturating_sub(1)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        list.push(TOKENS.to_owned(), [self.vocabulary, self.width]);
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
        if let Some(projection) = self.projection {
            let extents = if projection.is_bare { [self.width, projection.width] } else { [projection.width, self.width] };
            list.push(projection.name().to_owned(), extents);
        }
        list.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::families::outline;
    use crate::weights::{DType, TensorEntry};

    /// The tensors of an encoder of this width with two layers.
    fn encoder(width: u64, projection: Option<ClipProjection>) -> Catalog {
        let config = ClipConfig {
            role: Role::ClipG,
            vocabulary: 1000,
            positions: 77,
            width,
            inner_width: 4 * width,
            layers: 2,
            activation: ClipActivation::Gelu,
            projection,
        };
        let entry = |(name, shape): (String, Shape)| {
            let end = 2 * shape.elements().unwrap();
            TensorEntry { name, dtype: DType::F16, shape, file: 0, start: 0, end, coded: None }
        };
        Catalog::new(config.expected().into_iter().map(entry), BTreeMap::new())
    }

    #[test]
    fn the_part_decides_on_the_activation_and_the_file_on_the_projection() {
        let bare = ClipProjection { width: 96, is_bare: true };
        for projection in [None, Some(bare), Some(ClipProjection { is_bare: false, ..bare })] {
            let catalog = encoder(128, projection);
            let [small, large] = [Role::ClipL, Role::ClipG].map(|role| ClipConfig::read(role, &catalog).unwrap());
            assert_eq!((small.activation, large.activation), (ClipActivation::QuickGelu, ClipActivation::Gelu));
            assert_eq!((large.projection, large.layers, large.heads(), large.end()), (projection, 2, 2, 999));
            assert_eq!(outline(Role::ClipG, &catalog).unwrap().blocks().len(), 3);
        }
    }

    #[test]
    fn an_encoder_in_the_place_of_another_is_named() {
        for (role, width, found) in [(Role::ClipL, 1280, "OpenCLIP bigG"), (Role::ClipG, 768, "CLIP-L"), (Role::ClipG, 1024, "OpenCLIP H")]
        {
            let catalog = encoder(width, None);
            assert_eq!(ClipConfig::read(role, &catalog), Err(FamilyError::OtherEncoder { role, found, width }));
            assert!(!claims(role, &catalog));
        }
        assert!(claims(Role::ClipL, &encoder(768, None)) && claims(Role::ClipL, &encoder(64, None)));
    }

    #[test]
    fn a_width_of_no_whole_heads_is_refused() {
        let error = ClipConfig::read(Role::ClipG, &encoder(100, None)).unwrap_err();
        assert!(error.to_string().contains("clip_g's width is 100"), "{error}");
    }
}
