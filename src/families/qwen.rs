//! The language model Qwen3, as far as it encodes prompts, as its shapes describe it.
//!
//! Source of the layout: transformers `models/qwen3/modeling_qwen3.py`, `Qwen3Model`. Z-Image reads the output of the second
//! last layer, so that the last layer, the final norm and the output matrix are never loaded.

use super::unet::Expected;
use super::{FamilyError, Role, needed};
use crate::weights::{Catalog, Shape, Unit, encoder_keys};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QwenConfig {
    /// Entries of the token table.
    pub vocabulary: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Number of layers that are computed: all but the last.
    pub layers: u64,
    /// Heads of the queries.
    pub heads: u64,
    /// Heads of keys and values, each of which serves several queries.
    pub pair_heads: u64,
    /// Width of a head.
    pub head_width: u64,
    /// The base of the rotations by which heads know places.
    pub theta: f64,
}

/// The table of tokens.
pub const TOKENS: &str = "model.embed_tokens.weight";
/// The base of Qwen3-4B, for files that say none.
const THETA: f64 = 1e6;
/// The base of Qwen3-VL, for files that say none; its language part has the shapes of Qwen3's.
const THETA_VL: f64 = 5e6;

/// Width and layers of the encoders that were released for a family here: Qwen3-4B, and the language part of Qwen3-VL-4B.
const RELEASED: &[(u64, u64)] = &[(2560, 36)];

impl QwenConfig {
    /// Reads the configuration of a model under the names of transformers. The base of its rotations is what a GGUF header or a
    /// `config.json` beside the weights says, and the family's own where there is neither.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let role = Role::Qwen;
        let dim = |name: &str, axis| needed(catalog, role, name, axis);
        let attention = |name: &str| format!("model.layers.0.self_attn.{name}.weight");
        let head_width = dim(&attention("q_norm"), 0)?;
        let (queries, pairs) = (dim(&attention("q_proj"), 0)?, dim(&attention("k_proj"), 0)?);
        let (heads, pair_heads) = (queries.checked_div(head_width).unwrap_or(0), pairs.checked_div(head_width).unwrap_or(0));
        let is_even =
            pair_heads > 0 && heads.is_multiple_of(pair_heads) && heads * head_width == queries && pair_heads * head_width == pairs;
        if !is_even || !head_width.is_multiple_of(2) {
            return Err(FamilyError::OddEncoder { role, what: "width of a head", value: head_width });
        }
        let stored = catalog.count("model.layers.");
        if stored < 2 {
            return Err(FamilyError::OddEncoder { role, what: "number of layers", value: stored });
        }
        let width = dim(TOKENS, 1)?;
        if let Some((_, released)) = RELEASED.iter().find(|(of, released)| *of == width && stored < *released) {
            // The last but one of all is what is read, so that any other count reads another.
            let tensor = format!("model.layers.{}.self_attn.q_proj.weight", stored.min(*released));
            return Err(FamilyError::Missing { role, tensor });
        }
        Ok(Self {
            vocabulary: dim(TOKENS, 0)?,
            width,
            inner_width: dim("model.layers.0.mlp.gate_proj.weight", 0)?,
            layers: stored - 1,
            heads,
            pair_heads,
            head_width,
            theta: theta(catalog),
        })
    }

    /// Returns name and shape of every tensor that is used.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let (queries, pairs) = (self.heads * self.head_width, self.pair_heads * self.head_width);
        list.push(TOKENS.to_owned(), [self.vocabulary, self.width]);
        for n in 0..self.layers {
            let layer = format!("model.layers.{n}");
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                list.push(format!("{layer}.{norm}.weight"), [self.width]);
            }
            for norm in ["q_norm", "k_norm"] {
                list.push(format!("{layer}.self_attn.{norm}.weight"), [self.head_width]);
            }
            list.matrix(&format!("{layer}.self_attn.q_proj"), self.width, queries);
            list.matrix(&format!("{layer}.self_attn.k_proj"), self.width, pairs);
            list.matrix(&format!("{layer}.self_attn.v_proj"), self.width, pairs);
            list.matrix(&format!("{layer}.self_attn.o_proj"), queries, self.width);
            list.matrix(&format!("{layer}.mlp.gate_proj"), self.width, self.inner_width);
            list.matrix(&format!("{layer}.mlp.up_proj"), self.width, self.inner_width);
            list.matrix(&format!("{layer}.mlp.down_proj"), self.inner_width, self.width);
        }
        list.0
    }

    /// Returns what its blocks are made of, in order of execution: the two halves of each layer.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let unit = |n: u64, called: &str, parts: [&str; 2]| Unit {
            name: format!("model.layers.{n}.{called}"),
            prefixes: parts.iter().map(|part| format!("model.layers.{n}.{part}")).collect(),
        };
        let halves = |n| [unit(n, "self_attn", ["input_layernorm", "self_attn"]), unit(n, "mlp", ["post_attention_layernorm", "mlp"])];
        (0..self.layers).flat_map(halves).collect()
    }
}

fn theta(catalog: &Catalog) -> f64 {
    let said = |key: &str| catalog.metadata().get(key)?.parse::<f64>().ok().filter(|theta| theta.is_finite() && *theta > 1.0);
    let keys = [encoder_keys::ROPE_THETA, "qwen3.rope.freq_base", "qwen3vl.rope.freq_base"];
    let is_vl = catalog.metadata().contains_key(encoder_keys::QWEN_VL);
    keys.into_iter().find_map(said).unwrap_or(if is_vl { THETA_VL } else { THETA })
}

/// Fails for relatives that would pass for it, by what only they have. The tensors are a language model's under its names.
pub fn refuse(catalog: &Catalog) -> Result<(), FamilyError> {
    let layer = |name: &str| catalog.has(&format!("model.layers.0.{name}"));
    let says = catalog.metadata().get("general.architecture").map(String::as_str);
    let name = match says {
        _ if layer("post_feedforward_layernorm.weight") => "Gemma",
        _ if layer("self_attn.k_proj.bias") => "Qwen2.5",
        _ if layer("mlp.experts.0.gate_proj.weight") || layer("mlp.gate.weight") => "Qwen3 mixture-of-experts",
        // Its rows of queries and keys are in another order.
        Some("llama") => "Llama",
        _ if !layer("self_attn.q_norm.weight") => "Llama-like language",
        _ => return Ok(()),
    };
    Err(FamilyError::Unsupported { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::{detect, outline};
    use crate::weights::{DType, TensorEntry};

    fn tensors() -> Vec<(String, Shape)> {
        let config =
            QwenConfig { vocabulary: 100, width: 64, inner_width: 192, layers: 3, heads: 4, pair_heads: 2, head_width: 32, theta: THETA };
        config.expected()
    }

    fn catalog(tensors: Vec<(String, Shape)>, says: &[(&str, &str)]) -> Catalog {
        let entry = |(name, shape): (String, Shape)| {
            let end = 2 * shape.elements().unwrap();
            TensorEntry { name, dtype: DType::F16, shape, file: 0, start: 0, end, coded: None }
        };
        let says = says.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Catalog::new(tensors.into_iter().map(entry), says.collect())
    }

    #[test]
    fn shapes_say_everything_and_the_last_layer_is_left() {
        let catalog = catalog(tensors(), &[]);
        let config = QwenConfig::read(&catalog).unwrap();
        assert_eq!((config.layers, config.heads, config.pair_heads, config.head_width), (2, 4, 2, 32));
        let table = outline(Role::Qwen, &catalog).unwrap();
        assert!(table.blocks().len() == 5 && table.slot("model.layers.2.mlp.up_proj.weight").is_none());
        assert!(table.gathered(TOKENS).is_some());
    }

    #[test]
    fn a_released_encoder_has_all_of_its_layers() {
        let read = |layers| {
            let config = QwenConfig {
                vocabulary: 100,
                width: 2560,
                inner_width: 192,
                layers,
                heads: 4,
                pair_heads: 2,
                head_width: 32,
                theta: THETA,
            };
            QwenConfig::read(&catalog(config.expected(), &[])).map(|config| config.layers)
        };
        assert_eq!(read(36), Ok(35));
        for layers in [35, 15] {
            let gone = format!("model.layers.{layers}.self_attn.q_proj.weight");
            assert!(matches!(read(layers), Err(FamilyError::Missing { tensor, .. }) if tensor == gone));
        }
    }

    #[test]
    fn the_base_of_rotations_is_what_is_said_of_it() {
        let theta = |says: &[(&str, &str)]| QwenConfig::read(&catalog(tensors(), says)).unwrap().theta.to_string();
        assert_eq!(theta(&[]), "1000000");
        assert_eq!(theta(&[("qwen3.rope.freq_base", "5000000")]), "5000000");
        assert_eq!(theta(&[(encoder_keys::ROPE_THETA, "10000")]), "10000");
        assert_eq!(theta(&[(encoder_keys::QWEN_VL, "")]), "5000000");
        assert_eq!(theta(&[("qwen3.rope.freq_base", "nan")]), "1000000");
    }

    #[test]
    fn relatives_are_refused_by_name() {
        for (tensor, says, name) in [
            (Some("model.layers.0.post_feedforward_layernorm.weight"), None, "Gemma"),
            (Some("model.layers.0.self_attn.k_proj.bias"), None, "Qwen2.5"),
            (Some("model.layers.0.mlp.gate.weight"), None, "Qwen3 mixture-of-experts"),
            (None, Some("llama"), "Llama"),
        ] {
            let mut all = tensors();
            all.extend(tensor.map(|name| (name.to_owned(), [64].into())));
            let says: Vec<(&str, &str)> = says.map(|s| ("general.architecture", s)).into_iter().collect();
            let error = detect::extract(&catalog(all, &says), Role::Qwen).unwrap_err();
            assert_eq!(error, FamilyError::Unsupported { name });
        }
        let mut all = tensors();
        all.retain(|(name, _)| !name.contains("_norm."));
        let error = detect::extract(&catalog(all, &[]), Role::Qwen).unwrap_err();
        assert_eq!(error, FamilyError::Unsupported { name: "Llama-like language" });
    }

    #[test]
    fn the_language_part_of_a_model_that_sees_is_found() {
        let renamed = |to: &str| tensors().into_iter().map(|(n, s)| (n.replacen("model.", to, 1), s)).collect::<Vec<_>>();
        for (to, theta) in [("model.language_model.", 5e6), ("language_model.model.", 5e6), ("", 1e6)] {
            let found = detect::extract(&catalog(renamed(to), &[]), Role::Qwen).unwrap().unwrap();
            let config = QwenConfig::read(&found).unwrap();
            assert!((config.theta - theta).abs() < 1.0 && config.layers == 2, "{to}");
        }
    }
}
