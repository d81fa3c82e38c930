//! Transformers of made-up sizes, for tests: as headers list them, and what is wrong with some.

use std::collections::BTreeMap;

use super::apart::Halves;
use super::detect::{as_named, detect};
use super::together::together;
use super::{DenoiserConfig, Family, FamilyError, FluxConfig, Role, Sd3Config, ZImageConfig, outline};
use crate::units::Bytes;
use crate::weights::coded::{Era, Sdnq};
use crate::weights::{BlockTable, Catalog, Code, Coded, DType, Shape, TensorEntry};

/// Returns tensors of these names and shapes, one behind another, in bf16.
pub(super) fn catalog(tensors: &[(String, Shape)]) -> Catalog {
    let mut end = 0;
    let entries = tensors.iter().map(|(name, shape)| {
        let start = end;
        end += shape.elements().unwrap() * 2;
        TensorEntry { name: name.clone(), dtype: DType::Bf16, shape: shape.clone(), file: 0, start, end, coded: None }
    });
    Catalog::new(entries.collect::<Vec<_>>(), BTreeMap::new())
}

/// Returns the number of weights.
pub(super) fn elements(tensors: &[(String, Shape)]) -> u64 {
    tensors.iter().map(|(_, shape)| shape.elements().unwrap()).sum()
}

/// Returns the blocks of a network in bf16, cut as finely as its units are, and checks that next to nothing is left in the head.
pub(super) fn blocks(config: &DenoiserConfig) -> BlockTable {
    let table = BlockTable::cut(&catalog(&config.expected()), &config.units(), Bytes::ZERO);
    assert_eq!(table.blocks().len(), config.units().len() + 1, "a unit is empty");
    assert!(table.blocks()[0].bytes().get() * 20 < table.bytes().get(), "the head has {}", table.blocks()[0].bytes());
    table
}

/// Returns the largest block but the head.
pub(super) fn largest(table: &BlockTable) -> Bytes {
    table.blocks()[1..].iter().map(crate::weights::Block::bytes).max().unwrap()
}

/// Returns canonical tensors as the original layouts have them, joined.
pub(super) fn joined(tensors: &[(String, Shape)]) -> Vec<(String, Shape)> {
    let rows = |name: &str| tensors.iter().find(|(n, _)| n == name).map_or(0, |(_, shape)| shape.0[0]);
    let one = |(name, shape): &(String, Shape)| {
        let (layer, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let (at, part) = layer.rsplit_once('.').unwrap_or(("", layer));
        let of = |parts: &[&str]| {
            let mut shape = shape.clone();
            shape.0[0] = parts.iter().map(|part| rows(&format!("{at}.{part}.{end}"))).sum();
            shape
        };
        match part {
            "q" if at.starts_with("single_blocks.") => Some((format!("{at}.linear1.{end}"), of(&["q", "k", "v", "mlp"]))),
            "q" => Some((format!("{at}.qkv.{end}"), of(&["q", "k", "v"]))),
            "shift" => Some((format!("{at}.adaLN_modulation.1.{end}"), of(&["shift", "scale"]))),
            "k" | "v" | "scale" => None,
            "mlp" if at.starts_with("single_blocks.") => None,
            _ => Some((name.clone(), shape.clone())),
        }
    };
    tensors.iter().filter_map(one).collect()
}

fn flux() -> FluxConfig {
    FluxConfig {
        in_width: 64,
        out_width: 64,
        width: 64,
        inner_width: 256,
        head_width: 32,
        context_width: 48,
        pooled_width: 24,
        double_blocks: 2,
        single_blocks: 2,
        guided: true,
        last: Halves::Apart,
    }
}

fn sd3() -> Sd3Config {
    Sd3Config {
        in_channels: 16,
        out_channels: 16,
        width: 128,
        inner_width: 512,
        head_width: 64,
        context_width: 48,
        pooled_width: 24,
        positions: 8,
        normed: true,
        dual: vec![true, false, false],
        last_text: Halves::Apart,
        last: Halves::Apart,
    }
}

fn zimage() -> ZImageConfig {
    ZImageConfig {
        token_width: 64,
        width: 64,
        inner_width: 168,
        head_width: 32,
        context_width: 48,
        time_inner_width: 1024,
        time_width: 64,
        noise_refiners: 1,
        context_refiners: 1,
        layers: 2,
        fills_up: true,
    }
}

fn all() -> [(Family, DenoiserConfig); 3] {
    let configs = [DenoiserConfig::Sd3(sd3()), DenoiserConfig::Flux(flux()), DenoiserConfig::ZImage(zimage())];
    let mut families = [Family::Sd3, Family::Flux, Family::ZImage].into_iter();
    configs.map(|config| (families.next().unwrap(), config))
}

fn prefixed(tensors: &[(String, Shape)], prefix: &str) -> Vec<(String, Shape)> {
    tensors.iter().map(|(name, shape)| (format!("{prefix}{name}"), shape.clone())).collect()
}

/// What loading a file of these tensors comes to.
fn load(tensors: &[(String, Shape)]) -> Result<(Family, BlockTable), FamilyError> {
    read(&catalog(tensors))
}

fn read(catalog: &Catalog) -> Result<(Family, BlockTable), FamilyError> {
    let found = detect(catalog)?.expect("a network");
    outline(Role::Denoiser, &found.catalog).map(|table| (found.family, table))
}

fn refused(tensors: &[(String, Shape)]) -> String {
    load(tensors).unwrap_err().to_string()
}

#[test]
fn networks_are_read_back_from_their_tensors_under_any_prefix() {
    for (family, config) in all() {
        let tensors = joined(&config.expected());
        for prefix in ["", "model.diffusion_model.", "net."] {
            let (found, table) = load(&prefixed(&tensors, prefix)).unwrap();
            assert_eq!((found, table.names().count()), (family, config.expected().len()), "{family} under `{prefix}`");
        }
        let found = detect(&catalog(&tensors)).unwrap().unwrap();
        assert_eq!(DenoiserConfig::read(&found.catalog).unwrap(), config);
        // What other programs shall read keeps its names.
        let named = as_named(&catalog(&tensors), Role::Denoiser).unwrap().unwrap();
        assert_eq!(named.len(), tensors.len());
        assert!(tensors.iter().all(|(name, _)| named.has(name)), "{family}");
        // What was taken apart is put together again.
        let mut wanted: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        wanted.sort_unstable();
        let again = together(&found.catalog).unwrap();
        assert_eq!(again.iter().map(|joined| joined.name.as_str()).collect::<Vec<_>>(), wanted);
        assert_eq!(again.iter().map(|joined| joined.parts.len()).sum::<usize>(), found.catalog.len());
    }
}

#[test]
fn every_tensor_that_is_missing_is_named() {
    for (family, config) in all() {
        let tensors = config.expected();
        for (n, (name, _)) in tensors.iter().enumerate() {
            let mut rest = tensors.clone();
            rest.remove(n);
            let error = outline(Role::Denoiser, &catalog(&rest));
            // Without what shows that it is there, an optional part is not looked for.
            let optional =
                ["guidance_in.", "pad_token", ".attn2.q", "ln_q", "adaLN_modulation.0.weight"].iter().any(|part| name.contains(part));
            match error {
                Err(FamilyError::Missing { tensor, .. }) => assert!(tensor == *name || optional, "{family}: {tensor} for {name}"),
                Err(error) => assert!(optional, "{family} without {name}: {error}"),
                Ok(_) => assert!(optional, "{family} without {name} is whole"),
            }
        }
    }
}

#[test]
fn a_block_that_is_missing_is_named() {
    for (config, gone, missing) in [
        (DenoiserConfig::Flux(flux()), "double_blocks.0.txt", "`double_blocks.0.txt_mod.lin.weight`"),
        (DenoiserConfig::Flux(flux()), "single_blocks.0.", "`single_blocks.0.modulation.lin.weight`"),
        (DenoiserConfig::Sd3(sd3()), "joint_blocks.0.", "`joint_blocks.0."),
        (DenoiserConfig::Sd3(sd3()), "joint_blocks.1.", "`joint_blocks.1.x_block.adaLN_modulation.1.weight`"),
        (DenoiserConfig::ZImage(zimage()), "layers.0.", "`layers.0."),
        (DenoiserConfig::ZImage(zimage()), "noise_refiner.0.", "`noise_refiner.0."),
        (DenoiserConfig::ZImage(zimage()), "layers.1.feed_forward", "`layers.1.feed_forward.w1.weight`"),
    ] {
        let mut tensors = joined(&config.expected());
        tensors.retain(|(name, _)| !name.starts_with(gone));
        let error = refused(&tensors);
        assert!(error.contains(missing), "{error}");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    for (config, name, axis, told) in [
        (
            DenoiserConfig::Flux(flux()),
            "double_blocks.1.img_attn.qkv.weight",
            0,
            "`double_blocks.1.img_attn.qkv.weight` has shape [193, 64]",
        ),
        (DenoiserConfig::Flux(flux()), "single_blocks.1.linear2.weight", 1, "`single_blocks.1.linear2.weight` has shape [64, 321]"),
        (DenoiserConfig::Flux(flux()), "double_blocks.0.img_attn.norm.query_norm.scale", 0, "width of an attention head is 33"),
        (DenoiserConfig::Sd3(sd3()), "pos_embed", 1, "number of positions is 65"),
        (
            DenoiserConfig::Sd3(sd3()),
            "joint_blocks.2.context_block.adaLN_modulation.1.bias",
            0,
            "`joint_blocks.2.context_block.adaLN_modulation.1.bias`",
        ),
        (DenoiserConfig::ZImage(zimage()), "final_layer.linear.weight", 0, "Z-Image in pixel space"),
        (DenoiserConfig::ZImage(zimage()), "layers.0.attention.q_norm.weight", 0, "width of an attention head is 33"),
    ] {
        let mut tensors = joined(&config.expected());
        tensors.iter_mut().find(|(n, _)| n == name).unwrap().1.0[axis] += 1;
        let error = refused(&tensors);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn more_blocks_than_any_network_has_are_refused_before_they_are_listed() {
    for (config, last) in [
        (DenoiserConfig::Flux(flux()), "double_blocks.18446744073709551614.img_mod.lin.weight"),
        (DenoiserConfig::Flux(flux()), "single_blocks.5000000000.linear2.weight"),
        (DenoiserConfig::Sd3(sd3()), "joint_blocks.4000000000.x_block.attn.proj.weight"),
        (DenoiserConfig::ZImage(zimage()), "layers.3000000000.attention.out.weight"),
    ] {
        let mut tensors = joined(&config.expected());
        tensors.push((last.to_owned(), [1].into()));
        let error = refused(&tensors);
        assert!(error.contains("which no"), "{error}");
    }
}

#[test]
fn two_families_in_one_file_are_told_apart_by_name() {
    let [sd3, flux, zimage] = all().map(|(_, config)| joined(&config.expected()));
    let unet = vec![("input_blocks.0.0.weight".to_owned(), Shape::from([32, 4, 3, 3]))];
    let below = prefixed(&flux, "model.diffusion_model.");
    let twice = [&below[..], &flux].concat();
    for (tensors, told) in [
        ([&sd3[..], &flux].concat(), "it is a SD3 model, but also holds `double_blocks.0.img_attn.norm.key_norm.scale` of a Flux.1 model"),
        ([&flux[..], &zimage].concat(), "it is a Flux.1 model, but also holds `cap_embedder.1.weight` of a Z-Image model"),
        (twice, "but also holds `double_blocks.0.img_attn.norm.key_norm.scale` of another Flux.1 model"),
        ([&below[..], &zimage].concat(), "it is a Flux.1 model, but also holds `cap_embedder.1.weight` of a Z-Image model"),
        ([&zimage[..], &unet].concat(), "it is a Z-Image model, but also holds `input_blocks.0.0.weight` of a Stable Diffusion model"),
    ] {
        let error = refused(&tensors);
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn relatives_are_refused_by_name() {
    let [_, flux, zimage] = all().map(|(_, config)| joined(&config.expected()));
    let with = |tensors: &[(String, Shape)], name: &str| [tensors, &[(name.to_owned(), [1].into())]].concat();
    let lumina: Vec<_> = zimage.iter().map(|(n, shape)| (n.replace("adaLN_modulation.0.", "adaLN_modulation.1."), shape.clone())).collect();
    for (tensors, name) in [
        (with(&flux, "double_stream_modulation_img.lin.weight"), "Flux.2"),
        (with(&flux, "distilled_guidance_layer.in_proj.weight"), "Chroma"),
        (with(&zimage, "siglip_embedder.0.weight"), "Z-Image Omni"),
        (with(&zimage, "dec_net.cond_embed.weight"), "Z-Image in pixel space"),
        (lumina, "Lumina 2"),
    ] {
        let error = refused(&tensors);
        assert_eq!(error, format!("this is a {name} model, which is not supported"));
    }
}

/// Levels of a codebook are not told apart by rows; halves that need not be cut are left whole.
#[test]
fn what_cannot_be_cut_is_named_with_its_storage() {
    let sdnq = |entry: &TensorEntry| {
        let (kind, era) = ("uint4".to_owned(), Era::Subnormals);
        let code = Code::Sdnq(Sdnq { kind, era, codebook: true, has_zero_point: false, low_rank: None, rotated: None });
        TensorEntry { coded: Coded::alone(code), ..entry.clone() }
    };
    let stored = |tensors: &[(String, Shape)], part: &str| {
        let catalog = catalog(tensors);
        let entries = catalog.iter().map(|e| if e.name.contains(part) && e.shape.rank() == 2 { sdnq(e) } else { e.clone() });
        Catalog::new(entries.collect::<Vec<_>>(), BTreeMap::new())
    };
    let tensors = joined(&flux().expected());
    let error = read(&stored(&tensors, "single_blocks.1.linear1")).unwrap_err();
    assert!(error.to_string().contains("`single_blocks.1.linear1.weight` holds 4 matrices joined"), "{error}");
    assert!(error.to_string().contains("(SDNQ uint4)") && error.hint().contains("diffusers"), "{error}");
    let tensors = joined(&sd3().expected());
    let (_, table) = read(&stored(&tensors, "joint_blocks.2.context_block.adaLN_modulation")).unwrap();
    assert!(table.slot("joint_blocks.2.context_block.shift_scale.weight").is_some());
    assert!(table.slot("joint_blocks.2.context_block.shift_scale.bias").is_some());
}
