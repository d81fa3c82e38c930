//! The tensors that prove a family, in the order in which they must be asked for.

use super::Family;
use crate::weights::Catalog;

/// What a proof leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of our families, in its original layout.
    Original(Family),
    /// One of our families, under diffusers' names.
    Diffusers(Family),
    /// A UNet of the latent-diffusion kind; shapes tell which family.
    UnetOriginal,
    /// The same under diffusers' names.
    UnetDiffusers,
    /// A family we refuse by name, because it would pass for another and give noise.
    Refused(&'static str),
}

impl Verdict {
    /// Returns what people call it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Original(family) | Self::Diffusers(family) => family.title(),
            Self::UnetOriginal | Self::UnetDiffusers => "Stable Diffusion",
            Self::Refused(name) => name,
        }
    }
}

struct Proof {
    all: &'static [&'static str],
    verdict: Verdict,
}

const fn proof(all: &'static [&'static str], verdict: Verdict) -> Proof {
    Proof { all, verdict }
}

/// First match wins. An entry that ends in `.` is a prefix, any other a whole name.
const PROOFS: &[Proof] = &[
    proof(&["joint_blocks.0.context_block.attn.qkv.weight"], Verdict::Original(Family::Sd3)),
    proof(&["transformer_blocks.0.attn.add_q_proj.weight", "pos_embed.proj.weight"], Verdict::Diffusers(Family::Sd3)),
    proof(&["double_stream_modulation_img.lin.weight"], Verdict::Refused("Flux.2")),
    proof(&["distilled_guidance_layer."], Verdict::Refused("Chroma")),
    proof(&["txt_in.individual_token_refiner."], Verdict::Refused("HunyuanVideo")),
    proof(&["double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight"], Verdict::Original(Family::Flux)),
    proof(&["double_blocks.0.img_attn.norm.key_norm.weight", "img_in.weight"], Verdict::Original(Family::Flux)),
    proof(
        &["single_transformer_blocks.0.", "transformer_blocks.0.attn.norm_added_k.weight", "x_embedder.weight"],
        Verdict::Diffusers(Family::Flux),
    ),
    proof(&["siglip_embedder.", "cap_embedder.1.weight"], Verdict::Refused("Z-Image Omni")),
    proof(&["dec_net.", "cap_embedder.1.weight"], Verdict::Refused("Z-Image in pixel space")),
    proof(
        &["cap_embedder.1.weight", "noise_refiner.0.attention.k_norm.weight", "layers.0.adaLN_modulation.0.weight"],
        Verdict::Original(Family::ZImage),
    ),
    proof(
        &["cap_embedder.1.weight", "noise_refiner.0.attention.k_norm.weight", "layers.0.adaLN_modulation.1.weight"],
        Verdict::Refused("Lumina 2"),
    ),
    proof(&["all_x_embedder.2-1.weight", "layers.0.attention.to_q.weight"], Verdict::Diffusers(Family::ZImage)),
    proof(&["input_blocks.0.0.weight"], Verdict::UnetOriginal),
    proof(&["conv_in.weight", "down_blocks.0.resnets.0.norm1.weight", "time_embedding.linear_1.weight"], Verdict::UnetDiffusers),
    // With a first block missing: whoever reads the rest names what is. ControlNets have no way up.
    proof(&["joint_blocks.", "context_embedder.weight", "x_embedder.proj.weight"], Verdict::Original(Family::Sd3)),
    proof(
        &["transformer_blocks.", "pos_embed.proj.weight", "time_text_embed.text_embedder.linear_1.weight"],
        Verdict::Diffusers(Family::Sd3),
    ),
    proof(&["double_blocks.", "single_blocks.", "img_in.weight", "vector_in.in_layer.weight"], Verdict::Original(Family::Flux)),
    proof(
        &["transformer_blocks.", "single_transformer_blocks.", "x_embedder.weight", "time_text_embed.text_embedder.linear_1.weight"],
        Verdict::Diffusers(Family::Flux),
    ),
    proof(&["cap_embedder.1.weight", "x_pad_token", "layers."], Verdict::Original(Family::ZImage)),
    proof(&["all_x_embedder.2-1.weight", "x_pad_token"], Verdict::Diffusers(Family::ZImage)),
    proof(&["middle_block.0.in_layers.0.weight", "output_blocks.", "time_embed.0.weight"], Verdict::UnetOriginal),
    proof(&["mid_block.resnets.0.norm1.weight", "up_blocks.", "time_embedding.linear_1.weight"], Verdict::UnetDiffusers),
];

/// Returns what the names of a denoiser, its prefix stripped, prove.
#[must_use]
pub fn judge(catalog: &Catalog) -> Option<Verdict> {
    proven(catalog).next().map(|p| p.verdict)
}

/// Returns what else the names prove beside a verdict, and one of the tensors that do: such a file mixes two networks.
#[must_use]
pub fn mixture(catalog: &Catalog, verdict: Verdict) -> Option<(Verdict, &'static str)> {
    // What is refused has tensors of those that it is mistaken for.
    let is_ours = |verdict: &Verdict| !matches!(verdict, Verdict::Refused(_));
    let other = proven(catalog).find(|p| is_ours(&verdict) && is_ours(&p.verdict) && p.verdict.title() != verdict.title());
    other.map(|p| (p.verdict, p.all[0]))
}

/// Returns the network that bare names prove beside one whose names have a prefix, and the tensor that does.
#[must_use]
pub fn beside(catalog: &Catalog) -> Option<(Verdict, &'static str)> {
    proven(catalog).find(|p| !matches!(p.verdict, Verdict::Refused(_))).map(|p| (p.verdict, p.all[0]))
}

fn proven(catalog: &Catalog) -> impl Iterator<Item = &'static Proof> {
    proven_under(catalog, "")
}

fn proven_under<'a>(catalog: &'a Catalog, prefix: &'a str) -> impl Iterator<Item = &'static Proof> + 'a {
    let holds = move |name: &&'static str| {
        let whole = format!("{prefix}{name}");
        if name.ends_with('.') { catalog.has_prefix(&whole) } else { catalog.has(&whole) }
    };
    PROOFS.iter().filter(move |p| p.all.iter().all(holds))
}

/// Prefixes under which single files keep the denoiser, in the order of ComfyUI's `unet_prefix_from_state_dict`.
const COUNTED: &[&str] = &["model.diffusion_model.", "model.model.", "net."];
/// Those that are believed only where a network's names follow: language models begin as the first does, `LoRAs` as the second.
const PROVEN: &[&str] = &["model.", "transformer."];

/// Returns the prefix of the denoiser's tensors: the candidate with most names, if it has more than five, or one that a network
/// whose names have none lies under.
#[must_use]
pub fn denoiser_prefix(catalog: &Catalog) -> &'static str {
    let counted = COUNTED.iter().map(|p| (catalog.under(p).count(), *p));
    match counted.max_by_key(|(n, _)| *n) {
        Some((n, prefix)) if n > 5 => prefix,
        _ if proven(catalog).next().is_some() => "",
        _ => PROVEN.iter().copied().find(|prefix| proven_under(catalog, prefix).next().is_some()).unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::super::made_up::catalog;
    use super::*;

    /// What a proof leads to that is made of whole names and of one name under each prefix.
    fn verdict(names: &[&str]) -> Option<Verdict> {
        let tensors: Vec<_> =
            names.iter().map(|name| (format!("{name}{}", if name.ends_with('.') { "1.weight" } else { "" }), [1].into())).collect();
        judge(&catalog(&tensors))
    }

    #[test]
    fn every_proof_leads_to_its_verdict() {
        for proof in PROOFS {
            assert_eq!(verdict(proof.all), Some(proof.verdict), "{:?}", proof.all);
        }
    }

    #[test]
    fn a_prefix_is_believed_where_a_network_follows() {
        let under = |prefix: &str, names: &[&str]| {
            let tensors: Vec<_> = names.iter().map(|name| (format!("{prefix}{name}"), [1].into())).collect();
            denoiser_prefix(&catalog(&tensors))
        };
        let flux = ["double_blocks.0.img_attn.norm.key_norm.scale", "img_in.weight"];
        for prefix in ["model.", "transformer.", ""] {
            assert_eq!(under(prefix, &flux), prefix);
        }
        assert_eq!(under("model.", &["layers.0.self_attn.q_proj.weight", "embed_tokens.weight"]), "", "a language model");
        assert_eq!(under("transformer.", &["resblocks.0.ln_1.weight"]), "", "a text encoder");
    }

    #[test]
    fn a_network_without_its_first_block_is_one_and_half_of_one_is_none() {
        assert_eq!(verdict(&["middle_block.0.in_layers.0.weight", "time_embed.0.weight", "output_blocks."]), Some(Verdict::UnetOriginal));
        assert_eq!(verdict(&["middle_block.0.in_layers.0.weight", "time_embed.0.weight", "zero_convs."]), None);
        assert_eq!(verdict(&["mid_block.resnets.0.norm1.weight", "up_blocks."]), None, "an autoencoder's decoder has as much");
    }
}
