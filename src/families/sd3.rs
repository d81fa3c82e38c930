//! Stable Diffusion 3 and 3.5, as their shapes describe them, and their constants.
//!
//! Source of the layout: Stability's `mmditx.py`, `MMDiTX`; names are those of [`sd3_names`](super::sd3_names).

use super::apart::Halves;
use super::blocks::unit;
use super::cost::Work;
use super::cost_transformer::{Pass, transformer_efforts};
use super::unet::Expected;
use super::{Family, FamilyError, Role, needed};
use crate::weights::{BlockTable, Catalog, Effort, Shape, Unit};

/// Everything that the forward pass must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sd3Config {
    /// Channels of a latent that comes in.
    pub in_channels: u64,
    /// Channels of what comes out.
    pub out_channels: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Width of an attention head.
    pub head_width: u64,
    /// Width of the text context: T5's, to which those of both CLIPs are widened.
    pub context_width: u64,
    /// Width of the pooled text: that of both CLIPs.
    pub pooled_width: u64,
    /// Rows, and columns, of the table of positions.
    pub positions: u64,
    /// Whether queries and keys are normalised.
    pub normed: bool,
    /// For each block, whether the picture also attends to itself alone.
    pub dual: Vec<bool>,
    /// How the text's modulation of the last block is stored.
    pub last_text: Halves,
    /// How the last modulation is stored.
    pub last: Halves,
}

impl Sd3Config {
    /// Width of the sinusoids that the time is told by.
    pub const TIME_WIDTH: u64 = 256;
    /// Cells on a side of a patch.
    pub const PATCH: u64 = 2;
    /// The width of the attention heads of every released model, which those without norms do not tell.
    const HEAD_WIDTH: u64 = 64;
    /// Tokens of text that a run is reckoned with: a window of CLIP and T5's length in diffusers' `StableDiffusion3Pipeline`.
    pub const TEXT_TOKENS: u64 = 77 + 256;

    /// Reads the configuration of a network in canonical names.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, Role::Denoiser, name, axis);
        let depth = catalog.count("joint_blocks.");
        odd_if(depth == 0 || depth > super::denoiser::MOST_BLOCKS, "number of blocks", depth)?;
        let table = dim("pos_embed", 1)?;
        let positions = table.isqrt();
        odd_if(positions * positions != table, "number of positions", table)?;
        let norm = catalog.dim("joint_blocks.0.x_block.attn.ln_q.weight", 0);
        let config = Self {
            in_channels: dim("x_embedder.proj.weight", 1)?,
            out_channels: dim("final_layer.linear.weight", 0)? / (Self::PATCH * Self::PATCH),
            width: dim("x_embedder.proj.weight", 0)?,
            inner_width: dim("joint_blocks.0.x_block.mlp.fc1.weight", 0)?,
            head_width: norm.unwrap_or(Self::HEAD_WIDTH),
            context_width: dim("context_embedder.weight", 1)?,
            pooled_width: dim("y_embedder.mlp.0.weight", 1)?,
            positions,
            normed: norm.is_some(),
            dual: (0..depth).map(|n| catalog.has(&format!("joint_blocks.{n}.x_block.attn2.q.weight"))).collect(),
            last_text: Halves::read(catalog, &format!("joint_blocks.{}.context_block", depth - 1)),
            last: Halves::read(catalog, "final_layer"),
        };
        odd_if(config.head_width == 0, "width of an attention head", config.head_width)?;
        odd_if(config.width == 0 || !config.width.is_multiple_of(config.head_width), "width", config.width)?;
        odd_if(config.out_channels == 0, "number of channels", config.out_channels)?;
        Ok(config)
    }

    /// Returns the variant's name. The large model's distilled sibling has its shapes.
    #[must_use]
    pub fn variant(&self) -> &'static str {
        match (self.normed, self.dual.contains(&true)) {
            (false, false) => "medium",
            (true, true) => "3.5-medium",
            (true, false) => "3.5-large",
            (false, true) => "custom",
        }
    }

    /// Returns the number of attention heads.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.width / self.head_width
    }

    /// Returns the number of the last block, whose text goes no further.
    fn last_block(&self) -> usize {
        self.dual.len().saturating_sub(1)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let width = self.width;
        list.conv("x_embedder.proj", self.in_channels, width, Self::PATCH);
        list.push("pos_embed".to_owned(), [1, self.positions * self.positions, width]);
        list.linear("context_embedder", self.context_width, width);
        for (name, input) in [("t_embedder", Self::TIME_WIDTH), ("y_embedder", self.pooled_width)] {
            list.linear(&format!("{name}.mlp.0"), input, width);
            list.linear(&format!("{name}.mlp.2"), width, width);
        }
        for (n, dual) in self.dual.iter().enumerate() {
            let (picture, text) = (format!("joint_blocks.{n}.x_block"), format!("joint_blocks.{n}.context_block"));
            list.linear(&format!("{picture}.adaLN_modulation.1"), width, width * if *dual { 9 } else { 6 });
            self.expect_attention(&mut list, &format!("{picture}.attn"), true);
            if *dual {
                self.expect_attention(&mut list, &format!("{picture}.attn2"), true);
            }
            self.expect_mlp(&mut list, &picture);
            let goes_on = n != self.last_block();
            self.expect_attention(&mut list, &format!("{text}.attn"), goes_on);
            if goes_on {
                list.linear(&format!("{text}.adaLN_modulation.1"), width, width * 6);
                self.expect_mlp(&mut list, &text);
            } else {
                expect_halves(&mut list, self.last_text, &text, width);
            }
        }
        expect_halves(&mut list, self.last, "final_layer", width);
        list.linear("final_layer.linear", width, self.out_channels * Self::PATCH * Self::PATCH);
        list.0
    }

    fn expect_attention(&self, list: &mut Expected, at: &str, goes_on: bool) {
        for part in ["q", "k", "v"].into_iter().chain(goes_on.then_some("proj")) {
            list.linear(&format!("{at}.{part}"), self.width, self.width);
        }
        if self.normed {
            list.push(format!("{at}.ln_q.weight"), [self.head_width]);
            list.push(format!("{at}.ln_k.weight"), [self.head_width]);
        }
    }

    fn expect_mlp(&self, list: &mut Expected, at: &str) {
        list.linear(&format!("{at}.mlp.fc1"), self.width, self.inner_width);
        list.linear(&format!("{at}.mlp.fc2"), self.inner_width, self.width);
    }

    /// Returns the units that can live apart, in order of execution: of a block's matrices those that are used together.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for (n, dual) in self.dual.iter().enumerate() {
            let [picture, text] = ["x_block", "context_block"].map(|stream| format!("joint_blocks.{n}.{stream}"));
            let attends = ["attn.q", "attn.k", "attn.v", "attn.ln_q", "attn.ln_k"];
            units.push(unit(&picture, "attn", &[&["adaLN_modulation"][..], &attends].concat()));
            units.push(unit(
                &text,
                "attn",
                &[&["adaLN_modulation", "shift", "scale", "shift_scale", "scale_shift"][..], &attends].concat(),
            ));
            if *dual {
                units.push(unit(&picture, "attn2", &["attn2"]));
            }
            units.push(unit(&picture, "mlp", &["attn.proj", "mlp"]));
            if n != self.last_block() {
                units.push(unit(&text, "mlp", &["attn.proj", "mlp"]));
            }
        }
        units
    }

    /// Returns what each block computes in a step, in the table's order.
    #[must_use]
    pub fn efforts(&self, table: &BlockTable, work: Work) -> Vec<Effort> {
        let (image, text) = (work.patches(Self::PATCH), Self::TEXT_TOKENS);
        let attends = |tokens, all| Pass::Attention { tokens, width: self.width, all };
        let pass = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
            ["joint_blocks", _, _, "adaLN_modulation" | "shift" | "scale" | "shift_scale" | "scale_shift", ..] => Pass::Once,
            ["joint_blocks", _, "context_block", "attn", "q", "weight"] => attends(text, image + text),
            ["joint_blocks", _, "x_block", "attn2", "q", "weight"] => attends(image, image),
            ["joint_blocks", _, "context_block", ..] | ["context_embedder", ..] => Pass::Tokens(text),
            ["joint_blocks" | "x_embedder", ..] | ["final_layer", "linear", ..] => Pass::Tokens(image),
            _ => Pass::Once,
        };
        // The table of positions is added, and multiplied with nothing.
        transformer_efforts(table, work, |name| if name == "pos_embed" { Pass::Never } else { pass(name) })
    }
}

fn expect_halves(list: &mut Expected, halves: Halves, at: &str, width: u64) {
    for (layer, times) in halves.layers(at) {
        list.linear(&layer, width, width * times);
    }
}

fn odd_if(is_odd: bool, what: &'static str, value: u64) -> Result<(), FamilyError> {
    if is_odd { Err(FamilyError::OddNumber { role: Role::Denoiser, family: Family::Sd3, what, value }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{blocks, catalog, elements, largest};
    use super::super::{DenoiserConfig, sd3_names};
    use super::*;
    use crate::units::Bytes;

    fn released(width: u64, depth: usize, normed: bool, dual: usize, positions: u64) -> Sd3Config {
        Sd3Config {
            in_channels: 16,
            out_channels: 16,
            width,
            inner_width: 4 * width,
            head_width: 64,
            context_width: 4096,
            pooled_width: 2048,
            positions,
            normed,
            dual: (0..depth).map(|n| n < dual).collect(),
            last_text: Halves::Apart,
            last: Halves::Apart,
        }
    }

    fn all() -> [(Sd3Config, &'static str); 3] {
        [
            (released(1536, 24, false, 0, 192), "medium"),
            (released(1536, 24, true, 13, 384), "3.5-medium"),
            (released(2432, 38, true, 0, 192), "3.5-large"),
        ]
    }

    /// Counts of parameters of diffusers' `SD3Transformer2DModel`, with the table of positions.
    #[test]
    fn sizes_and_variants_are_those_of_the_released_models() {
        for ((config, name), parameters) in all().into_iter().zip([2_084_951_104, 2_469_663_936, 8_146_280_768]) {
            assert_eq!(elements(&config.expected()), parameters, "{name}");
            let read = Sd3Config::read(&sd3_names::canonical(&catalog(&config.expected())).unwrap()).unwrap();
            assert_eq!((read.variant(), read.heads(), read), (name, config.heads(), config));
        }
    }

    #[test]
    fn units_are_worth_a_copy_and_no_more() {
        for ((config, name), count) in all().into_iter().zip([24 * 4 - 1, 24 * 4 - 1 + 13, 38 * 4 - 1]) {
            // The table of positions of 3.5 medium is a fifth of it.
            let table = BlockTable::cut(&catalog(&config.expected()), &config.units(), Bytes::ZERO);
            assert_eq!(table.blocks().len(), 1 + count, "{name}");
            assert!(largest(&table) < Bytes::mib(103), "{name}: {}", largest(&table));
        }
        blocks(&DenoiserConfig::Sd3(all()[2].0.clone()));
    }

    #[test]
    fn a_step_computes_what_its_matrices_and_attentions_do() {
        let (config, _) = &all()[1];
        let table = BlockTable::cut(&catalog(&config.expected()), &config.units(), Bytes::ZERO);
        let work = Work { latent: (128, 128), rows: 2, walks: 1 };
        let flops: f64 = config.efforts(&table, work).iter().map(Effort::flops).sum();
        let (image, text, width) = (4096.0, 333.0, 1536.0_f64);
        let matrices = 24.0 * width * width * (24.0 * image + 23.0 * text + 0.25 * text) + 13.0 * 8.0 * width * width * image;
        let attentions = 4.0 * width * (24.0 * (image + text) * (image + text) + 13.0 * image * image);
        let expected = 2.0 * (matrices + attentions);
        assert!((flops / expected - 1.0).abs() < 0.01, "{flops:e} {expected:e}");
    }
}
