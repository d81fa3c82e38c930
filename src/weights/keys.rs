//! Renames tensors of other layouts to ours.
//!
//! Ours are: the UNet and VAE of the original latent-diffusion files (`input_blocks.1.0.…`,
//! `encoder.down.0.…`), prefix stripped, and the text encoder of transformers (`text_model.…`).
//! The correspondence is that of diffusers' `scripts/convert_diffusers_to_original_stable_diffusion.py`,
//! for any number of levels and of ResNets per level.

use super::Catalog;

/// Returns a diffusers UNet under the names of the original layout; other names pass unchanged.
#[must_use]
pub fn unet_from_diffusers(catalog: &Catalog) -> Catalog {
    let resnets = catalog.count("down_blocks.0.resnets.");
    let with_attention: Vec<bool> =
        (0..catalog.count("up_blocks.")).map(|level| catalog.has_prefix(&format!("up_blocks.{level}.attentions."))).collect();
    catalog.renamed(|name| Some(unet_name(name, resnets, &with_attention).unwrap_or_else(|| name.to_owned())))
}

const UNET_TOP: &[(&str, &str)] = &[
    ("time_embedding.linear_1.", "time_embed.0."),
    ("time_embedding.linear_2.", "time_embed.2."),
    ("add_embedding.linear_1.", "label_emb.0.0."),
    ("add_embedding.linear_2.", "label_emb.0.2."),
    ("class_embedding.linear_1.", "label_emb.0.0."),
    ("class_embedding.linear_2.", "label_emb.0.2."),
    ("conv_in.", "input_blocks.0.0."),
    ("conv_norm_out.", "out.0."),
    ("conv_out.", "out.2."),
];

const UNET_RESNET: &[(&str, &str)] = &[
    ("norm1.", "in_layers.0."),
    ("conv1.", "in_layers.2."),
    ("time_emb_proj.", "emb_layers.1."),
    ("norm2.", "out_layers.0."),
    ("conv2.", "out_layers.3."),
    ("conv_shortcut.", "skip_connection."),
];

fn unet_name(name: &str, resnets: u64, with_attention: &[bool]) -> Option<String> {
    if let Some(renamed) = replace_start(name, UNET_TOP) {
        return Some(renamed);
    }
    if let Some(rest) = name.strip_prefix("mid_block.") {
        let (kind, index, rest) = kind_index(rest)?;
        return match kind {
            "resnets" => Some(format!("middle_block.{}.{}", index * 2, resnet_part(rest))),
            "attentions" => Some(format!("middle_block.1.{rest}")),
            _ => None,
        };
    }
    if let Some(rest) = name.strip_prefix("down_blocks.") {
        let (level, kind, index, rest) = level_kind_index(rest)?;
        let block = 1 + level * (resnets + 1) + index;
        return match kind {
            "resnets" => Some(format!("input_blocks.{block}.0.{}", resnet_part(rest))),
            "attentions" => Some(format!("input_blocks.{block}.1.{rest}")),
            "downsamplers" => Some(format!("input_blocks.{}.0.op.{}", (level + 1) * (resnets + 1), rest.strip_prefix("conv.")?)),
            _ => None,
        };
    }
    let (level, kind, index, rest) = level_kind_index(name.strip_prefix("up_blocks.")?)?;
    let block = level * (resnets + 1) + index;
    match kind {
        "resnets" => Some(format!("output_blocks.{block}.0.{}", resnet_part(rest))),
        "attentions" => Some(format!("output_blocks.{block}.1.{rest}")),
        "upsamplers" => {
            let attention = usize::try_from(level).ok().and_then(|l| with_attention.get(l)).copied().unwrap_or(false);
            let place = if attention { 2 } else { 1 };
            Some(format!("output_blocks.{}.{place}.{rest}", level * (resnets + 1) + resnets))
        }
        _ => None,
    }
}

fn resnet_part(rest: &str) -> String {
    replace_start(rest, UNET_RESNET).unwrap_or_else(|| rest.to_owned())
}

/// Returns a diffusers VAE under the names of the original layout; other names pass unchanged.
#[must_use]
pub fn vae_from_diffusers(catalog: &Catalog) -> Catalog {
    let levels = catalog.count("decoder.up_blocks.").max(catalog.count("encoder.down_blocks."));
    catalog.renamed(|name| Some(vae_name(name, levels).unwrap_or_else(|| name.to_owned())))
}

const VAE_PARTS: &[(&str, &str)] = &[("conv_norm_out.", "norm_out."), ("conv_shortcut.", "nin_shortcut.")];

/// diffusers before 0.17 called the attention's layers `query`, `key`, `value`, `proj_attn`.
const VAE_ATTENTION: &[(&str, &str)] = &[
    ("group_norm.", "norm."),
    ("to_q.", "q."),
    ("to_k.", "k."),
    ("to_v.", "v."),
    ("to_out.0.", "proj_out."),
    ("query.", "q."),
    ("key.", "k."),
    ("value.", "v."),
    ("proj_attn.", "proj_out."),
];

fn vae_name(name: &str, levels: u64) -> Option<String> {
    let (half, rest) = name.split_once('.')?;
    if half != "encoder" && half != "decoder" {
        return None;
    }
    if let Some(renamed) = replace_start(rest, VAE_PARTS) {
        return Some(format!("{half}.{renamed}"));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.") {
        let (kind, index, rest) = kind_index(rest)?;
        return match kind {
            "resnets" => Some(format!("{half}.mid.block_{}.{}", index + 1, vae_resnet_part(rest))),
            "attentions" => Some(format!("{half}.mid.attn_1.{}", replace_start(rest, VAE_ATTENTION).unwrap_or_else(|| rest.to_owned()))),
            _ => None,
        };
    }
    let (ours, level, kind, index, rest) = if let Some(rest) = rest.strip_prefix("down_blocks.") {
        let (level, kind, index, rest) = level_kind_index(rest)?;
        ("down", level, kind, index, rest)
    } else {
        let (level, kind, index, rest) = level_kind_index(rest.strip_prefix("up_blocks.")?)?;
        // The original counts the decoder's levels from the finest.
        ("up", levels.checked_sub(level + 1)?, kind, index, rest)
    };
    match kind {
        "resnets" => Some(format!("{half}.{ours}.{level}.block.{index}.{}", vae_resnet_part(rest))),
        "downsamplers" => Some(format!("{half}.{ours}.{level}.downsample.{rest}")),
        "upsamplers" => Some(format!("{half}.{ours}.{level}.upsample.{rest}")),
        _ => None,
    }
}

fn vae_resnet_part(rest: &str) -> String {
    replace_start(rest, VAE_PARTS).unwrap_or_else(|| rest.to_owned())
}

fn replace_start(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(from, to)| Some(format!("{to}{}", name.strip_prefix(from)?)))
}

/// Splits `resnets.0.norm1.weight`.
fn kind_index(rest: &str) -> Option<(&str, u64, &str)> {
    let (kind, rest) = rest.split_once('.')?;
    let (index, rest) = rest.split_once('.')?;
    Some((kind, index.parse().ok()?, rest))
}

/// Splits `2.resnets.0.norm1.weight`.
fn level_kind_index(rest: &str) -> Option<(u64, &str, u64, &str)> {
    let (level, rest) = rest.split_once('.')?;
    let (kind, index, rest) = kind_index(rest)?;
    Some((level.parse().ok()?, kind, index, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unet_names_follow_the_published_table() {
        // Two ResNets per level, attention on all up levels but the deepest, as in SD1.5.
        let with_attention = [false, true, true, true];
        for (theirs, ours) in [
            ("time_embedding.linear_2.bias", "time_embed.2.bias"),
            ("conv_in.weight", "input_blocks.0.0.weight"),
            ("down_blocks.0.resnets.1.norm1.weight", "input_blocks.2.0.in_layers.0.weight"),
            ("down_blocks.1.attentions.0.proj_in.weight", "input_blocks.4.1.proj_in.weight"),
            ("down_blocks.2.downsamplers.0.conv.weight", "input_blocks.9.0.op.weight"),
            ("mid_block.resnets.1.time_emb_proj.bias", "middle_block.2.emb_layers.1.bias"),
            ("mid_block.attentions.0.norm.weight", "middle_block.1.norm.weight"),
            ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
            ("up_blocks.1.upsamplers.0.conv.bias", "output_blocks.5.2.conv.bias"),
            ("up_blocks.3.resnets.2.conv_shortcut.weight", "output_blocks.11.0.skip_connection.weight"),
            ("conv_norm_out.weight", "out.0.weight"),
        ] {
            assert_eq!(unet_name(theirs, 2, &with_attention).as_deref(), Some(ours), "{theirs}");
        }
        assert_eq!(unet_name("unknown.weight", 2, &with_attention), None);
    }

    #[test]
    fn vae_names_follow_the_published_table() {
        for (theirs, ours) in [
            ("encoder.conv_norm_out.weight", "encoder.norm_out.weight"),
            ("encoder.down_blocks.0.resnets.1.conv_shortcut.bias", "encoder.down.0.block.1.nin_shortcut.bias"),
            ("encoder.down_blocks.1.downsamplers.0.conv.weight", "encoder.down.1.downsample.conv.weight"),
            ("decoder.up_blocks.0.resnets.2.norm1.weight", "decoder.up.3.block.2.norm1.weight"),
            ("decoder.up_blocks.2.upsamplers.0.conv.weight", "decoder.up.1.upsample.conv.weight"),
            ("decoder.mid_block.attentions.0.to_out.0.weight", "decoder.mid.attn_1.proj_out.weight"),
            ("decoder.mid_block.attentions.0.query.weight", "decoder.mid.attn_1.q.weight"),
            ("decoder.mid_block.resnets.1.conv2.bias", "decoder.mid.block_2.conv2.bias"),
        ] {
            assert_eq!(vae_name(theirs, 4).as_deref(), Some(ours), "{theirs}");
        }
        assert_eq!(vae_name("quant_conv.weight", 4), None, "passes unchanged");
    }
}
