//! Flux.1, as its shapes describe it, and its constants.
//!
//! Source of the layout: black-forest-labs `flux/model.py`, `Flux`; names are those of [`flux_names`](super::flux_names).

use super::apart::Halves;
use super::blocks::unit;
use super::cost::Work;
use super::cost_transformer::{Pass, transformer_efforts};
use super::denoiser::{MOST_BLOCKS, check_depth};
use super::unet::Expected;
use super::{Family, FamilyError, Role, needed};
use crate::weights::{BlockTable, Catalog, Effort, Shape, Unit};

/// The width of every released model.
const RELEASED_WIDTH: u64 = 3072;

/// Everything that the forward pass must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FluxConfig {
    /// Numbers of a picture's token: a patch of 2 × 2 cells, so four times the channels; more where pictures to paint into
    /// come beside the noisy one.
    pub in_width: u64,
    /// Numbers of a token that comes out.
    pub out_width: u64,
    /// Width of the hidden state.
    pub width: u64,
    /// Width inside the feed-forward layers.
    pub inner_width: u64,
    /// Width of an attention head.
    pub head_width: u64,
    /// Width of the text context: T5's.
    pub context_width: u64,
    /// Width of the pooled text: CLIP-L's.
    pub pooled_width: u64,
    /// Blocks with weights of their own for text and picture.
    pub double_blocks: u64,
    /// Blocks in which both are one sequence.
    pub single_blocks: u64,
    /// Whether the strength of guidance is one of the network's inputs.
    pub guided: bool,
    /// How the last modulation is stored.
    pub last: Halves,
}

/// What a diffusers folder says of the pipeline that it is made for, as a note of its network's catalog.
pub const PIPELINE: &str = "model_index.class";

/// What a file on its own is called, as a note of its catalog.
pub const FILE: &str = "file.name";

/// Returns whether a network of `dev`'s shapes edits pictures by a reference (Kontext), which no shape tells: its folder's pipeline
/// says so or its header's `ModelSpec`, and where neither says anything, the name of its file.
#[must_use]
pub fn is_kontext(catalog: &Catalog) -> bool {
    let told = [PIPELINE, "modelspec.architecture", "modelspec.title", FILE].into_iter().find_map(|key| catalog.metadata().get(key));
    told.is_some_and(|text| says_kontext(text))
}

/// Returns whether a name or a note speaks of Kontext.
#[must_use]
pub fn says_kontext(text: &str) -> bool {
    text.to_ascii_lowercase().contains("kontext")
}

impl FluxConfig {
    /// Width of the sinusoids that time and guidance are told by.
    pub const TIME_WIDTH: u64 = 256;
    /// Guidance where none is asked for. Source: diffusers `FluxPipeline.__call__`.
    pub const GUIDANCE: f64 = 3.5;
    /// Tokens of text that a run is reckoned with: T5's length in diffusers and black-forest-labs' own program.
    pub const TEXT_TOKENS: u64 = 512;

    /// Reads the configuration of a network in canonical names.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, Role::Denoiser, name, axis);
        // A row that is not there at all is no short one.
        dim("single_blocks.0.modulation.lin.weight", 0)?;
        let config = Self {
            in_width: dim("img_in.weight", 1)?,
            out_width: dim("final_layer.linear.weight", 0)?,
            width: dim("img_in.weight", 0)?,
            inner_width: dim("double_blocks.0.img_mlp.0.weight", 0)?,
            head_width: dim("double_blocks.0.img_attn.norm.query_norm.scale", 0)?,
            context_width: dim("txt_in.weight", 1)?,
            pooled_width: dim("vector_in.in_layer.weight", 1)?,
            double_blocks: catalog.count("double_blocks."),
            single_blocks: catalog.count("single_blocks."),
            guided: catalog.has("guidance_in.in_layer.weight"),
            last: Halves::read(catalog, "final_layer"),
        };
        config.check_numbers().map(|()| config)
    }

    fn check_numbers(&self) -> Result<(), FamilyError> {
        let odd = |what, value| Err(FamilyError::OddNumber { role: Role::Denoiser, family: Family::Flux, what, value });
        // Three axes of positions share a head's pairs: an eighth, and twice seven sixteenths.
        if self.head_width == 0 || !self.head_width.is_multiple_of(16) {
            return odd("width of an attention head", self.head_width);
        }
        if self.width == 0 || !self.width.is_multiple_of(self.head_width) {
            return odd("width", self.width);
        }
        if self.out_width == 0 || !self.out_width.is_multiple_of(4) || !self.in_width.is_multiple_of(4) || self.in_width < self.out_width {
            return odd("number of values in a picture's token", self.in_width);
        }
        for (what, count) in [("number of double blocks", self.double_blocks), ("number of single blocks", self.single_blocks)] {
            if count > MOST_BLOCKS {
                return odd(what, count);
            }
        }
        if self.width == RELEASED_WIDTH {
            check_depth(Role::Denoiser, "double_blocks", self.double_blocks, 19, "img_mod.lin.weight")?;
            check_depth(Role::Denoiser, "single_blocks", self.single_blocks, 38, "modulation.lin.weight")?;
        }
        Ok(())
    }

    /// Returns the variant's name, as far as shapes tell it: what edits pictures by a reference has those of `dev`, see [`is_kontext`].
    #[must_use]
    pub fn variant(&self) -> &'static str {
        match (self.guided, self.in_width / self.out_width, self.in_width % self.out_width) {
            (false, 1, 0) => "schnell",
            (true, 1, 0) => "dev",
            // A picture and a mask of 8 × 8 pixels a cell come beside the noise.
            (true, 6, 0) => "fill",
            (true, 2, 0) => "canny/depth",
            _ => "custom",
        }
    }

    /// Returns the number of attention heads.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.width / self.head_width
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        let (width, inner) = (self.width, self.inner_width);
        list.linear("img_in", self.in_width, width);
        list.linear("txt_in", self.context_width, width);
        let mut embedders = vec![("time_in", Self::TIME_WIDTH), ("vector_in", self.pooled_width)];
        embedders.extend(self.guided.then_some(("guidance_in", Self::TIME_WIDTH)));
        for (name, input) in embedders {
            list.linear(&format!("{name}.in_layer"), input, width);
            list.linear(&format!("{name}.out_layer"), width, width);
        }
        for n in 0..self.double_blocks {
            for stream in ["img", "txt"] {
                let at = format!("double_blocks.{n}.{stream}");
                list.linear(&format!("{at}_mod.lin"), width, width * 6);
                for part in ["q", "k", "v", "proj"] {
                    list.linear(&format!("{at}_attn.{part}"), width, width);
                }
                list.push(format!("{at}_attn.norm.query_norm.scale"), [self.head_width]);
                list.push(format!("{at}_attn.norm.key_norm.scale"), [self.head_width]);
                list.linear(&format!("{at}_mlp.0"), width, inner);
                list.linear(&format!("{at}_mlp.2"), inner, width);
            }
        }
        for n in 0..self.single_blocks {
            let at = format!("single_blocks.{n}");
            list.linear(&format!("{at}.modulation.lin"), width, width * 3);
            for part in ["q", "k", "v"] {
                list.linear(&format!("{at}.{part}"), width, width);
            }
            list.linear(&format!("{at}.mlp"), width, inner);
            list.linear(&format!("{at}.linear2"), width + inner, width);
            list.push(format!("{at}.norm.query_norm.scale"), [self.head_width]);
            list.push(format!("{at}.norm.key_norm.scale"), [self.head_width]);
        }
        for (layer, times) in self.last.layers("final_layer") {
            list.linear(&layer, width, width * times);
        }
        list.linear("final_layer.linear", width, self.out_width);
        list.0
    }

    /// Returns the units that can live apart, in order of execution: of a block's matrices those that are used together.
    #[must_use]
    pub fn units(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        for n in 0..self.double_blocks {
            let at = format!("double_blocks.{n}");
            for stream in ["img", "txt"] {
                units.push(unit(&at, &format!("{stream}_mod"), &[&format!("{stream}_mod")]));
                let parts = ["q", "k", "v", "norm"].map(|part| format!("{stream}_attn.{part}"));
                units.push(unit(&at, &format!("{stream}_attn"), &parts.each_ref().map(String::as_str)));
            }
            for stream in ["img", "txt"] {
                let parts = [format!("{stream}_attn.proj"), format!("{stream}_mlp.0")];
                units.push(unit(&at, &format!("{stream}_mlp.0"), &parts.each_ref().map(String::as_str)));
                units.push(unit(&at, &format!("{stream}_mlp.2"), &[&format!("{stream}_mlp.2")]));
            }
        }
        for n in 0..self.single_blocks {
            let at = format!("single_blocks.{n}");
            units.push(unit(&at, "attn", &["modulation", "q", "k", "v", "norm"]));
            units.push(unit(&at, "mlp", &["mlp"]));
            units.push(unit(&at, "linear2", &["linear2"]));
        }
        units
    }

    /// Returns what each block computes in a step, in the table's order.
    #[must_use]
    pub fn efforts(&self, table: &BlockTable, work: Work) -> Vec<Effort> {
        let (image, text) = (work.patches(2), Self::TEXT_TOKENS);
        let both = image + text;
        let attends = |tokens| Pass::Attention { tokens, width: self.width, all: both };
        let pass = |name: &str| match name.split('.').collect::<Vec<_>>()[..] {
            ["double_blocks", _, "img_mod" | "txt_mod", ..] | ["single_blocks", _, "modulation", ..] => Pass::Once,
            ["double_blocks", _, "txt_attn", "q", "weight"] => attends(text),
            ["single_blocks", _, "q", "weight"] => attends(both),
            ["double_blocks", _, "txt_attn" | "txt_mlp", ..] | ["txt_in", ..] => Pass::Tokens(text),
            ["double_blocks" | "img_in", ..] | ["final_layer", "linear", ..] => Pass::Tokens(image),
            ["single_blocks", ..] => Pass::Tokens(both),
            _ => Pass::Once,
        };
        transformer_efforts(table, work, pass)
    }
}

#[cfg(test)]
mod tests {
    use super::super::detect::detect;
    use super::super::made_up::{blocks, catalog, elements, largest};
    use super::super::{DenoiserConfig, flux_names, outline};
    use super::*;
    use crate::units::Bytes;

    fn released(guided: bool, in_width: u64) -> FluxConfig {
        FluxConfig {
            in_width,
            out_width: 64,
            width: 3072,
            inner_width: 4 * 3072,
            head_width: 128,
            context_width: 4096,
            pooled_width: 768,
            double_blocks: 19,
            single_blocks: 38,
            guided,
            last: Halves::Apart,
        }
    }

    /// Counts of parameters of diffusers' `FluxTransformer2DModel`.
    #[test]
    fn sizes_are_those_of_the_released_models() {
        assert_eq!(elements(&released(true, 64).expected()), 11_901_408_320);
        assert_eq!(elements(&released(false, 64).expected()), 11_891_178_560);
    }

    #[test]
    fn variants_are_told_by_their_inputs() {
        for (guided, width, name) in
            [(true, 64, "dev"), (false, 64, "schnell"), (true, 384, "fill"), (true, 128, "canny/depth"), (true, 196, "custom")]
        {
            let config = released(guided, width);
            let read = FluxConfig::read(&flux_names::canonical(&catalog(&config.expected())).unwrap()).unwrap();
            assert_eq!((read, read.variant(), read.heads()), (config, name, 24));
        }
    }

    #[test]
    fn kontext_is_known_where_somebody_says_so() {
        let variant = |catalog: Catalog| detect(&catalog).unwrap().unwrap().variant;
        let plain = catalog(&released(true, 64).expected());
        assert_eq!(variant(plain.clone()), "dev");
        for (key, text, expected) in [
            (PIPELINE, "FluxKontextPipeline", "kontext"),
            (PIPELINE, "FluxPipeline", "dev"),
            ("modelspec.architecture", "Flux.1-Kontext-dev", "kontext"),
            ("modelspec.architecture", "flux-1-dev", "dev"),
            (FILE, "flux1-kontext-dev_fp8.safetensors", "kontext"),
            (FILE, "flux1-dev.safetensors", "dev"),
        ] {
            assert_eq!(variant(plain.clone().with_note(key, text)), expected, "{key} {text}");
        }
        let named = plain.with_note("modelspec.architecture", "flux-1-dev").with_note(FILE, "no-kontext.safetensors");
        assert_eq!(variant(named), "dev", "the header counts before the name");
        let other = catalog(&released(false, 64).expected()).with_note(PIPELINE, "FluxKontextPipeline");
        assert_eq!(variant(other), "schnell", "shapes are not overruled");
    }

    #[test]
    fn a_missing_block_is_named_wherever_it_is() {
        for gone in
            ["double_blocks.0.", "double_blocks.7.", "double_blocks.18.", "single_blocks.0.", "single_blocks.20.", "single_blocks.37."]
        {
            let all = released(true, 64).expected();
            let rest: Vec<_> = all.into_iter().filter(|(name, _)| !name.starts_with(gone)).collect();
            let read = detect(&catalog(&rest)).and_then(|found| outline(Role::Denoiser, &found.unwrap().catalog));
            let Err(FamilyError::Missing { role: Role::Denoiser, tensor }) = read else { panic!("{gone}: {:?}", read.map(drop)) };
            assert!(tensor.starts_with(gone), "{gone} {tensor}");
        }
    }

    #[test]
    fn units_are_worth_a_copy_and_no_more() {
        let table = blocks(&DenoiserConfig::Flux(released(true, 64)));
        assert_eq!(table.blocks().len(), 1 + 19 * 8 + 38 * 3);
        assert!(largest(&table) < Bytes::mib(109), "{}", largest(&table));
    }

    #[test]
    fn a_step_computes_what_its_matrices_and_attentions_do() {
        let config = released(true, 64);
        let table = blocks(&DenoiserConfig::Flux(config));
        let work = Work { latent: (128, 96), rows: 2, walks: 1 };
        let flops: f64 = config.efforts(&table, work).iter().map(Effort::flops).sum();
        // 64 × 48 patches and 512 words through 12 · D² weights of every block, and 57 attentions.
        let (tokens, width) = (3072.0 + 512.0, 3072.0_f64);
        let expected = 2.0 * (57.0 * 24.0 * width * width * tokens + 57.0 * 4.0 * tokens * tokens * width);
        assert!((flops / expected - 1.0).abs() < 0.01, "{flops:e} {expected:e}");
    }
}
