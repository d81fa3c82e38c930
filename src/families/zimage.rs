//! Z-Image, as its shapes describe it, and its constants. Latents are those of Flux.
//!
//! Source of the layout: Tongyi-MAI `zimage/transformer.py`, `ZImageTransformer2DModel`; names are those of
//! [`zimage_names`](super::zimage_names).

use super::blocks::unit;
use super::cost::Work;
use super::cost_transformer::{Pass, transformer_efforts};
use super::denoiser::{MOST_BLOCKS, check_depth};
use super::unet::Expected;
use super::{Family, FamilyError, Role, needed};
use crate::weights::{BlockTable, Catalog, Effort, Shape, Unit};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZImageConfig {
    /// Numbers of a picture's token: a patch of 2 × 2 cells.
    pub token_width: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Width of an attention head.
    pub head_width: u64,
    /// Width of the text context: Qwen's.
    pub context_width: u64,
    /// Width inside the embedder of time.
    pub time_inner_width: u64,
    /// Width of the embedding of time.
    pub time_width: u64,
    /// Blocks that the picture passes alone.
    pub noise_refiners: u64,
    /// Blocks that the text passes alone.
    pub context_refiners: u64,
    /// Blocks in which both are one sequence.
    pub layers: u64,
    /// Whether sequences are filled up to whole runs with tokens that the network has learned.
    pub fills_up: bool,
}

/// The width of every released model.
const RELEASED_WIDTH: u64 = 3840;

/// The three rows of blocks.
const ROWS: [&str; 3] = ["noise_refiner", "context_refiner", "layers"];

impl ZImageConfig {
    /// Width of the sinusoids that the time is told by.
    pub const TIME_WIDTH: u64 = 256;
    /// Sequences are filled up to multiples of it.
    pub const RUN: u64 = 32;
    /// Tokens of text that a run is reckoned with: the most that `ZImagePipeline` of diffusers encodes.
    pub const TEXT_TOKENS: u64 = 512;

    /// Reads the configuration of a network in canonical names.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, Role::Denoiser, name, axis);
        // A row that is not there at all is no short one.
        for row in ROWS {
            dim(&format!("{row}.0.attention.q.weight"), 0)?;
        }
        let [noise_refiners, context_refiners, layers] = ROWS.map(|row| catalog.count(&format!("{row}.")));
        let config = Self {
            token_width: dim("x_embedder.weight", 1)?,
            width: dim("cap_embedder.1.weight", 0)?,
            inner_width: dim("layers.0.feed_forward.w1.weight", 0)?,
            head_width: dim("layers.0.attention.q_norm.weight", 0)?,
            context_width: dim("cap_embedder.1.weight", 1)?,
            time_inner_width: dim("t_embedder.mlp.0.weight", 0)?,
            time_width: dim("t_embedder.mlp.2.weight", 0)?,
            noise_refiners,
            context_refiners,
            layers,
            fills_up: catalog.has("x_pad_token") && catalog.has("cap_pad_token"),
        };
        let fillers = ["x_pad_token", "cap_pad_token"];
        if let (true, Some(gone)) = (fillers.iter().any(|name| catalog.has(name)), fillers.iter().find(|name| !catalog.has(name))) {
            return Err(FamilyError::Missing { role: Role::Denoiser, tensor: (*gone).to_owned() });
        }
        if dim("final_layer.linear.weight", 0)? != config.token_width {
            return Err(FamilyError::Unsupported { name: "Z-Image in pixel space" });
        }
        config.check_numbers().map(|()| config)
    }

    fn check_numbers(&self) -> Result<(), FamilyError> {
        let odd = |what, value| Err(FamilyError::OddNumber { role: Role::Denoiser, family: Family::ZImage, what, value });
        // Three axes of positions share a head's pairs: a quarter, and twice three eighths.
        if self.head_width == 0 || !self.head_width.is_multiple_of(16) {
            return odd("width of an attention head", self.head_width);
        }
        if self.width == 0 || !self.width.is_multiple_of(self.head_width) {
            return odd("width", self.width);
        }
        if self.token_width == 0 || !self.token_width.is_multiple_of(4) {
            return odd("number of values in a picture's token", self.token_width);
        }
        for (row, count) in ROWS.into_iter().zip([self.noise_refiners, self.context_refiners, self.layers]) {
            if count > MOST_BLOCKS {
                return odd(row, count);
            }
        }
        if self.width == RELEASED_WIDTH {
            for (row, count, released) in
                [(ROWS[0], self.noise_refiners, 2), (ROWS[1], self.context_refiners, 2), (ROWS[2], self.layers, 30)]
            {
                check_depth(Role::Denoiser, row, count, released, "attention.q.weight")?;
            }
        }
        Ok(())
    }

    /// Returns the variant's name. What was distilled has the shapes of what it was distilled from, and is what most people have.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        "turbo"
    }

    /// Returns the number of attention heads.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.width / self.head_width
    }

    /// Returns the name of every block in order of execution, and whether the time modulates it.
    fn blocks(&self) -> impl Iterator<Item = (String, bool)> {
        let counts = [self.noise_refiners, self.context_refiners, self.layers];
        ROWS.into_iter().zip(counts).flat_map(|(row, count)| (0..count).map(move |n| (format!("{row}.{n}"), row != "context_refiner")))
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let width = self.width;
        list.linear("x_embedder", self.token_width, width);
        list.push("cap_embedder.0.weight".to_owned(), [self.context_width]);
        list.linear("cap_embedder.1", self.context_width, width);
        list.linear("t_embedder.mlp.0", Self::TIME_WIDTH, self.time_inner_width);
        list.linear("t_embedder.mlp.2", self.time_inner_width, self.time_width);
        if self.fills_up {
            list.push("x_pad_token".to_owned(), [1, width]);
            list.push("cap_pad_token".to_owned(), [1, width]);
        }
        for (at, modulated) in self.blocks() {
            if modulated {
                list.linear(&format!("{at}.adaLN_modulation.0"), self.time_width, width * 4);
            }
            for norm in ["attention_norm1", "attention_norm2", "ffn_norm1", "ffn_norm2"] {
                list.push(format!("{at}.{norm}.weight"), [width]);
            }
            for part in ["q", "k", "v", "out"] {
                list.matrix(&format!("{at}.attention.{part}"), width, width);
            }
            list.push(format!("{at}.attention.q_norm.weight"), [self.head_width]);
            list.push(format!("{at}.attention.k_norm.weight"), [self.head_width]);
            list.matrix(&format!("{at}.feed_forward.w1"), width, self.inner_width);
            list.matrix(&format!("{at}.feed_forward.w3"), width, self.inner_width);
            list.matrix(&format!("{at}.feed_forward.w2"), self.inner_width, width);
        }
        list.linear("final_layer.adaLN_modulation.1", self.time_width, width);
        list.linear("final_layer.linear", width, self.token_width);
        list.0
    }

    /// Returns the units that can live apart, in order of execution: attention, and each matrix of the feed-forward.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let of_block = |(at, _): (String, bool)| {
            [
                unit(&at, "attention", &["adaLN_modulation", "attention_norm1", "attention", "attention_norm2", "ffn_norm1"]),
                unit(&at, "feed_forward.w1", &["feed_forward.w1"]),
                unit(&at, "feed_forward.w3", &["feed_forward.w3"]),
                unit(&at, "feed_forward.w2", &["feed_forward.w2", "ffn_norm2"]),
            ]
        };
        self.blocks().flat_map(of_block).collect()
    }

    /// Returns what each block computes in a step, in the table's order.
    #[must_use]
    pub fn efforts(&self, table: &BlockTable, work: Work) -> Vec<Effort> {
        let filled = |tokens: u64| if self.fills_up { tokens.next_multiple_of(Self::RUN) } else { tokens };
        let (image, text) = (filled(work.patches(2)), filled(Self::TEXT_TOKENS));
        let of_row = |row: &str| match row {
            "noise_refiner" => image,
            "context_refiner" => text,
            _ => image + text,
        };
        let pass = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
            [row, _, "attention", "q", "weight"] => Pass::Attention { tokens: of_row(row), width: self.width, all: of_row(row) },
            [row, _, "attention" | "feed_forward", ..] => Pass::Tokens(of_row(row)),
            ["x_embedder", ..] | ["final_layer", "linear", ..] => Pass::Tokens(image),
            ["cap_embedder", ..] => Pass::Tokens(text),
            _ => Pass::Once,
        };
        transformer_efforts(table, work, pass)
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{blocks, catalog, elements, largest};
    use super::super::{DenoiserConfig, zimage_names};
    use super::*;
    use crate::units::Bytes;

    const RELEASED: ZImageConfig = ZImageConfig {
        token_width: 64,
        width: 3840,
        inner_width: 10240,
        head_width: 128,
        context_width: 2560,
        time_inner_width: 1024,
        time_width: 256,
        noise_refiners: 2,
        context_refiners: 2,
        layers: 30,
        fills_up: true,
    };

    /// The count of parameters of diffusers' `ZImageTransformer2DModel`.
    #[test]
    fn sizes_are_those_of_the_released_models() {
        assert_eq!(elements(&RELEASED.expected()), 6_154_908_736);
        let read = ZImageConfig::read(&zimage_names::canonical(&catalog(&RELEASED.expected())).unwrap()).unwrap();
        assert_eq!((read, read.heads()), (RELEASED, 30));
    }

    #[test]
    fn the_last_block_that_is_missing_is_named_and_half_a_network_is_one() {
        let read = |layers: u64| ZImageConfig::read(&catalog(&ZImageConfig { layers, ..RELEASED }.expected())).map(|config| config.layers);
        assert!(matches!(read(29), Err(FamilyError::Missing { tensor, .. }) if tensor == "layers.29.attention.q.weight"));
        assert_eq!(read(15), Ok(15));
    }

    #[test]
    fn one_filler_without_the_other_is_a_file_that_lost_it() {
        let without = |gone: &str| {
            let rest = RELEASED.expected().into_iter().filter(|(name, _)| name != gone);
            ZImageConfig::read(&catalog(&rest.collect::<Vec<_>>())).map(|config| config.fills_up)
        };
        for gone in ["x_pad_token", "cap_pad_token"] {
            assert!(matches!(without(gone), Err(FamilyError::Missing { tensor, .. }) if tensor == gone));
        }
        assert_eq!(without("nothing"), Ok(true));
    }

    #[test]
    fn units_are_worth_a_copy_and_no_more() {
        let table = blocks(&DenoiserConfig::ZImage(RELEASED));
        assert_eq!(table.blocks().len(), 1 + 34 * 4);
        assert!(largest(&table) < Bytes::mib(121), "{}", largest(&table));
    }

    #[test]
    fn a_step_computes_what_its_matrices_and_attentions_do() {
        let table = blocks(&DenoiserConfig::ZImage(RELEASED));
        // 60 × 52 patches, filled up to whole runs.
        let work = Work { latent: (120, 104), rows: 1, walks: 1 };
        let flops: f64 = RELEASED.efforts(&table, work).iter().map(Effort::flops).sum();
        let (image, text, width) = (3136.0, 512.0, 3840.0_f64);
        let weights = 4.0 * width * width + 3.0 * width * 10240.0;
        let row = |tokens: f64| 2.0 * weights * tokens + 4.0 * tokens * tokens * width;
        let expected = 30.0 * row(image + text) + 2.0 * row(image) + 2.0 * row(text);
        assert!((flops / expected - 1.0).abs() < 0.01, "{flops:e} {expected:e}");
    }
}
