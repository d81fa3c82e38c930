//! The autoencoder between pixels and latents, as its shapes describe it.
//!
//! Source of the layout: CompVis `ldm/modules/diffusionmodules/model.py`, `Encoder` and `Decoder`.

use super::unet::Expected;
use super::{Family, FamilyError, Role, needed};
use crate::weights::{Catalog, Shape, Unit};

/// One half of the autoencoder, from the finest level to the coarsest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfConfig {
    /// Per level, in and out channels of its ResNets in order of execution.
    pub levels: Vec<Vec<(u64, u64)>>,
    /// Channels at the bottom.
    pub middle: u64,
    /// Whether each level ends with a resampling convolution.
    pub resamples: Vec<bool>,
}

/// Everything that the forward pass must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaeConfig {
    /// Channels of a latent: 4 or 16.
    pub latent_channels: u64,
    /// Channels of a picture.
    pub picture_channels: u64,
    /// Whether 1 × 1 convolutions stand between the halves and the latent.
    pub quant_convs: bool,
    /// The half that makes latents; decoder-only files lack it.
    pub encoder: Option<HalfConfig>,
    /// The half that makes pictures.
    pub decoder: HalfConfig,
}

impl VaeConfig {
    /// Reads the configuration of an autoencoder in the original layout, prefix stripped.
    pub fn read(catalog: &Catalog) -> Result<Self, FamilyError> {
        let dim = |name: &str, axis| needed(catalog, Role::Vae, name, axis);
        let encoder = if catalog.has("encoder.conv_in.weight") {
            Some(read_half(catalog, "encoder.down", "encoder.mid", "downsample")?)
        } else {
            None
        };
        let config = Self {
            latent_channels: dim("decoder.conv_in.weight", 1)?,
            picture_channels: dim("decoder.conv_out.weight", 0)?,
            quant_convs: catalog.has("post_quant_conv.weight"),
            encoder,
            decoder: read_half(catalog, "decoder.up", "decoder.mid", "upsample")?,
        };
        let levels = config.decoder.levels.len() as u64;
        // Nothing but the other half tells of a last level that is gone: the rest would make smaller pictures.
        if let Some(encoder) = config.encoder.as_ref().map(|encoder| encoder.levels.len() as u64).filter(|encoder| *encoder != levels) {
            let (half, gone) = if levels < encoder { ("decoder.up", levels) } else { ("encoder.down", encoder) };
            return Err(FamilyError::Missing { role: Role::Vae, tensor: format!("{half}.{gone}.block.0.conv1.weight") });
        }
        if levels == 0 || levels > 8 {
            return Err(FamilyError::OddNumber { role: Role::Vae, family: Family::Sd15, what: "number of levels", value: levels });
        }
        Ok(config)
    }

    /// Returns how many pixels a latent cell covers on each axis.
    #[must_use]
    pub fn downscale(&self) -> u64 {
        1 << self.decoder.resamples.iter().filter(|r| **r).count().min(16)
    }

    /// Returns name and shape of every tensor of this architecture.
    #[must_use]
    pub fn expected(&self) -> Vec<(String, Shape)> {
        let mut list = Expected(Vec::new());
        if let Some(encoder) = &self.encoder {
            let first = encoder.levels.first().and_then(|l| l.first()).map_or(encoder.middle, |(input, _)| *input);
            list.conv("encoder.conv_in", self.picture_channels, first, 3);
            expect_half(&mut list, encoder, "encoder.down", "encoder.mid", "downsample");
            list.norm("encoder.norm_out", encoder.middle);
            list.conv("encoder.conv_out", encoder.middle, self.latent_channels * 2, 3);
            if self.quant_convs {
                list.conv("quant_conv", self.latent_channels * 2, self.latent_channels * 2, 1);
            }
        }
        let decoder = &self.decoder;
        let last = decoder.levels.first().and_then(|l| l.last()).map_or(decoder.middle, |(_, output)| *output);
        if self.quant_convs {
            list.conv("post_quant_conv", self.latent_channels, self.latent_channels, 1);
        }
        list.conv("decoder.conv_in", self.latent_channels, decoder.middle, 3);
        expect_half(&mut list, decoder, "decoder.up", "decoder.mid", "upsample");
        list.norm("decoder.norm_out", last);
        list.conv("decoder.conv_out", last, self.picture_channels, 3);
        list.0
    }
}

impl VaeConfig {
    /// Returns its units in order of execution: each ResNet, and attention. A change of size is with the ResNet that follows it or, on
    /// the way down, comes before it; the finest level of the encoder is small and one unit.
    pub(super) fn units(&self) -> Vec<Unit> {
        let encoder = self.encoder.iter().flat_map(encoder_units);
        encoder.chain(decoder_units(&self.decoder)).collect()
    }
}

fn encoder_units(half: &HalfConfig) -> Vec<Unit> {
    let mut units =
        vec![Unit { name: "encoder.down.0".to_owned(), prefixes: vec!["encoder.conv_in".to_owned(), "encoder.down.0".to_owned()] }];
    for (level, blocks) in half.levels.iter().enumerate().skip(1) {
        units.extend((0..blocks.len()).map(|block| Unit::all_of(format!("encoder.down.{level}.block.{block}"))));
        units.last_mut().into_iter().for_each(|last| last.prefixes.push(format!("encoder.down.{level}.downsample")));
    }
    units.extend(["block_1", "attn_1", "block_2"].map(|part| Unit::all_of(format!("encoder.mid.{part}"))));
    end_with(&mut units, "encoder");
    units
}

fn decoder_units(half: &HalfConfig) -> Vec<Unit> {
    let mut units: Vec<Unit> = ["block_1", "attn_1", "block_2"].map(|part| Unit::all_of(format!("decoder.mid.{part}"))).into();
    units.first_mut().into_iter().for_each(|first| first.prefixes.push("decoder.conv_in".to_owned()));
    for (level, blocks) in half.levels.iter().enumerate().rev() {
        let first = units.len();
        units.extend((0..blocks.len()).map(|block| Unit::all_of(format!("decoder.up.{level}.block.{block}"))));
        units.get_mut(first).into_iter().for_each(|unit| unit.prefixes.push(format!("decoder.up.{}.upsample", level + 1)));
    }
    end_with(&mut units, "decoder");
    units
}

/// The last norm and convolution of a half are with its last unit.
fn end_with(units: &mut [Unit], half: &str) {
    units.last_mut().into_iter().for_each(|last| last.prefixes.extend(["norm_out", "conv_out"].map(|part| format!("{half}.{part}"))));
}

fn read_half(catalog: &Catalog, levels: &str, middle: &str, resample: &str) -> Result<HalfConfig, FamilyError> {
    let middle_norm = format!("{middle}.block_1.norm1.weight");
    let missing = |tensor: String| FamilyError::Missing { role: Role::Vae, tensor };
    let mut half = HalfConfig {
        levels: Vec::new(),
        middle: catalog.dim(&middle_norm, 0).ok_or_else(|| missing(middle_norm.clone()))?,
        resamples: Vec::new(),
    };
    for level in 0..catalog.count(&format!("{levels}.")) {
        let blocks = (0..catalog.count(&format!("{levels}.{level}.block."))).map(|block| {
            let conv = format!("{levels}.{level}.block.{block}.conv1.weight");
            match (catalog.dim(&conv, 1), catalog.dim(&conv, 0)) {
                (Some(input), Some(output)) => Ok((input, output)),
                _ => Err(missing(conv)),
            }
        });
        half.levels.push(blocks.collect::<Result<_, _>>()?);
        half.resamples.push(catalog.has(&format!("{levels}.{level}.{resample}.conv.weight")));
    }
    Ok(half)
}

fn expect_half(list: &mut Expected, half: &HalfConfig, levels: &str, middle: &str, resample: &str) {
    for (level, blocks) in half.levels.iter().enumerate() {
        for (block, (input, output)) in blocks.iter().enumerate() {
            expect_resnet(list, &format!("{levels}.{level}.block.{block}"), *input, *output);
        }
        if let (true, Some((_, channels))) = (half.resamples[level], blocks.last()) {
            list.conv(&format!("{levels}.{level}.{resample}.conv"), *channels, *channels, 3);
        }
    }
    expect_resnet(list, &format!("{middle}.block_1"), half.middle, half.middle);
    list.norm(&format!("{middle}.attn_1.norm"), half.middle);
    for part in ["q", "k", "v", "proj_out"] {
        list.conv(&format!("{middle}.attn_1.{part}"), half.middle, half.middle, 1);
    }
    expect_resnet(list, &format!("{middle}.block_2"), half.middle, half.middle);
}

fn expect_resnet(list: &mut Expected, at: &str, input: u64, output: u64) {
    list.norm(&format!("{at}.norm1"), input);
    list.conv(&format!("{at}.conv1"), input, output, 3);
    list.norm(&format!("{at}.norm2"), output);
    list.conv(&format!("{at}.conv2"), output, output, 3);
    if input != output {
        list.conv(&format!("{at}.nin_shortcut"), input, output, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::catalog;
    use super::*;

    #[test]
    fn a_last_level_that_one_half_has_lost_is_named() {
        let half = |levels: usize| HalfConfig {
            levels: vec![vec![(32, 32)]; levels],
            middle: 32,
            resamples: (0..levels).map(|level| level > 0).collect(),
        };
        let read = |encoder: Option<HalfConfig>, decoder: HalfConfig| {
            let config = VaeConfig { latent_channels: 4, picture_channels: 3, quant_convs: true, encoder, decoder };
            VaeConfig::read(&catalog(&config.expected())).map(|config| config.decoder.levels.len())
        };
        let lost = |name: &str| Err(FamilyError::Missing { role: Role::Vae, tensor: name.to_owned() });
        assert_eq!(read(Some(half(3)), half(2)), lost("decoder.up.2.block.0.conv1.weight"));
        assert_eq!(read(Some(half(2)), half(3)), lost("encoder.down.2.block.0.conv1.weight"));
        assert_eq!((read(Some(half(3)), half(3)), read(None, half(3))), (Ok(3), Ok(3)));
    }

    #[test]
    fn its_blocks_are_fine_and_what_is_done_in_one_go_is_one_block() {
        use crate::families::blocks::block_table;
        let half = |ins: &[(u64, u64, usize)], downs: [bool; 4]| HalfConfig {
            levels: ins
                .iter()
                .map(|(input, output, n)| (0..*n).map(|k| (if k == 0 { *input } else { *output }, *output)).collect())
                .collect(),
            middle: 512,
            resamples: downs.to_vec(),
        };
        // As SD1.5, SDXL, SD3 and Flux have it.
        let encoder = half(&[(128, 128, 2), (128, 256, 2), (256, 512, 2), (512, 512, 2)], [true, true, true, false]);
        let decoder = half(&[(256, 128, 3), (512, 256, 3), (512, 512, 3), (512, 512, 3)], [false, true, true, true]);
        let config = VaeConfig { latent_channels: 4, picture_channels: 3, quant_convs: true, encoder: Some(encoder), decoder };
        let table = block_table(Role::Vae, &catalog(&config.expected())).unwrap();
        let names: Vec<&str> = table.blocks().iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names[..3], ["head", "encoder.down.0", "encoder.down.1.block.0"]);
        let decoder = names.iter().position(|name| *name == "decoder.mid.block_1").unwrap();
        assert_eq!((names[decoder - 1], names[decoder + 3]), ("encoder.mid.block_2", "decoder.up.3.block.0"));
        assert_eq!(names.last(), Some(&"decoder.up.0.block.2"));
        let largest = table.blocks().iter().map(|b| b.bytes_in(crate::weights::Precision::Fp32)).max().unwrap();
        assert!(largest < crate::units::Bytes::mib(32), "{largest}");
        let home = |prefix: &str| table.home(prefix).map(|index| names[index.0 as usize]);
        for (tensor, block) in [
            ("encoder.conv_in.", "encoder.down.0"),
            ("encoder.down.0.downsample.", "encoder.down.0"),
            ("encoder.down.2.downsample.", "encoder.down.2.block.1"),
            ("encoder.conv_out.", "encoder.mid.block_2"),
            ("quant_conv.", "head"),
            ("post_quant_conv.", "head"),
            ("decoder.conv_in.", "decoder.mid.block_1"),
            ("decoder.up.3.upsample.", "decoder.up.2.block.0"),
            ("decoder.norm_out.", "decoder.up.0.block.2"),
        ] {
            assert_eq!(home(tensor), Some(block), "{tensor}");
        }
    }
}
