//! Which tensors with which values come out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use half::{bf16, f16};
use perilune::formats::gguf;
use perilune::quant::ggml;
use perilune::weights::DType;

use super::{convert, halves_of, moon, moonlet, noise, one, output, singles_of, stored, tensors};
use crate::support::daemon::Home;
use crate::support::weights_file::{tiny_clip, tiny_unet, tiny_vae, under, write};

const NETWORK: &str = "model.diffusion_model.";

/// Every value of a GGUF file by name, with its type.
fn gguf_values(path: &Path) -> Vec<(String, DType, Vec<u64>, Vec<f32>)> {
    let bytes = fs::read(path).unwrap();
    let header = gguf::parse(&bytes, bytes.len() as u64).unwrap();
    let of = |entry: &perilune::weights::TensorEntry| {
        let count = entry.elements() as usize;
        let data = &bytes[entry.start as usize..][..entry.bytes().get() as usize];
        let mut values = vec![0.0; count];
        if DType::GGML.contains(&entry.dtype) {
            ggml::dequantise(entry.dtype, data, &mut values).unwrap();
        } else {
            perilune::quant::floats::widen(entry.dtype, data, &mut values).unwrap();
        }
        (entry.name.clone(), entry.dtype, entry.shape.0.clone(), values)
    };
    header.catalog.iter().map(of).collect()
}

#[test]
fn the_network_alone_comes_out_under_its_bare_names() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let whole = tensors(&moonlet());
    let made = tensors(&output(&one(&home, &source, "fp16")));
    let wanted: Vec<_> = whole.iter().filter_map(|(name, t)| Some((name.strip_prefix(NETWORK)?.to_owned(), t.clone()))).collect();
    assert_eq!(made.into_iter().collect::<Vec<_>>(), wanted, "the same bytes without the rest");
}

#[test]
fn a_whole_checkpoint_keeps_everything_under_its_own_names() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let whole = tensors(&moonlet());
    let made = tensors(&output(&convert(&home, &source, &["--to", "bf16", "--part", "whole"])[0]));
    assert_eq!(made.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    for (name, (dtype, shape, bytes)) in &whole {
        let (kind, extents, data) = &made[name];
        assert_eq!(shape, extents);
        if dtype == "F16" {
            let wanted: Vec<u8> = halves_of(bytes).into_iter().flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect();
            assert!(kind == "BF16" && *data == wanted, "{name}");
        } else {
            assert!(kind == dtype && data == bytes, "{name}: what is no number stays");
        }
    }
}

#[test]
fn words_of_the_source_go_with_it_and_ours_are_added() {
    let home = Home::empty();
    let weight = ("lin.weight".to_owned(), "F32", vec![8, 8], vec![0; 256]);
    let marks = "?".repeat(64);
    let file =
        stored(&[weight], &format!("\"a\":\"{marks}\",\"ss_tag\":\"moon \\\"perilune.source_blake3\\\":\\\"{marks}\",\"format\":\"pt\""));
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &file);
    let line = one(&home, &source, "bf16");
    let bytes = fs::read(output(&line)).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let words = header.metadata().clone().unwrap();
    let hash = super::manifest(&output(&line))["source"].as_str().unwrap().to_owned();
    assert_eq!(words["a"], marks, "a source's words are not ours, whatever they say");
    assert_eq!(words["ss_tag"], format!("moon \"perilune.source_blake3\":\"{marks}"));
    assert_eq!((&words["perilune.source_blake3"], &words["perilune.precision"]), (&hash, &"bf16".to_owned()));
    assert_eq!(one(&home, &source, "bf16")["status"], "cached");
}

#[test]
fn folders_of_parts_are_converted_part_by_part() {
    let home = Home::empty();
    let folder = home.path().join("models/diffusers/night");
    let index =
        r#"{"_class_name":"StableDiffusionPipeline","unet":["diffusers","UNet2DConditionModel"],"vae":["diffusers","AutoencoderKL"]}"#;
    write(&folder, "model_index.json", index.as_bytes());
    let values = |seed: u64| noise(seed, 64 * 48).into_iter().flat_map(|v| f16::from_f32(v).to_le_bytes()).collect::<Vec<u8>>();
    let tensor = |name: &str, seed: u64| (name.to_owned(), "F16", vec![64, 48], values(seed));
    write(&folder, "unet/config.json", b"{}");
    write(&folder, "unet/diffusion_pytorch_model-00001-of-00002.safetensors", &stored(&[tensor("mid_block.a.weight", 1)], ""));
    write(&folder, "unet/diffusion_pytorch_model-00002-of-00002.safetensors", &stored(&[tensor("mid_block.b.weight", 2)], ""));
    let map = r#"{"metadata":{},"weight_map":{"mid_block.a.weight":"diffusion_pytorch_model-00001-of-00002.safetensors","mid_block.b.weight":"diffusion_pytorch_model-00002-of-00002.safetensors"}}"#;
    write(&folder, "unet/diffusion_pytorch_model.safetensors.index.json", map.as_bytes());
    write(&folder, "vae/diffusion_pytorch_model.safetensors", &stored(&[tensor("decoder.c.weight", 3)], ""));
    let network = one(&home, &folder, "fp32");
    assert_eq!(output(&network), home.path().join("models/diffusion_models/converted/night_fp32.safetensors"));
    let made = tensors(&output(&network));
    assert_eq!(made.keys().collect::<Vec<_>>(), ["mid_block.a.weight", "mid_block.b.weight"]);
    assert_eq!(singles_of(&made["mid_block.b.weight"].2), halves_of(&values(2)));
    assert_eq!(one(&home, &folder, "fp32")["status"], "cached");
    let vae = convert(&home, &folder, &["--to", "fp32", "--part", "vae"]).remove(0);
    assert_eq!(singles_of(&tensors(&output(&vae))["decoder.c.weight"].2), halves_of(&values(3)));
    // A changed shard is a changed source.
    write(&folder, "unet/diffusion_pytorch_model-00002-of-00002.safetensors", &stored(&[tensor("mid_block.b.weight", 4)], ""));
    let again = one(&home, &folder, "fp32");
    assert_eq!((&again["status"], &again["output"]), (&serde_json::json!("converted"), &network["output"]));
    assert_eq!(singles_of(&tensors(&output(&again))["mid_block.b.weight"].2), halves_of(&values(4)));
}

/// What was stored scaled is worth scale times value, wherever it goes.
#[test]
fn scales_of_8_bits_are_multiplied_in() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let scaled = output(&one(&home, &source, "fp8_scaled"));
    let held = tensors(&scaled);
    let wide = tensors(&output(&one(&home, &scaled, "fp32")));
    assert!(!wide.keys().any(|name| name.contains("scale")), "scales are in the values");
    let mut seen = 0;
    for (name, (dtype, _, bytes)) in held.iter().filter(|(name, _)| name.ends_with(".weight")) {
        if dtype != "F8_E4M3" {
            continue;
        }
        let scale = singles_of(&held[&name.replace(".weight", ".scale_weight")].2)[0];
        let mut values = vec![0.0; bytes.len()];
        perilune::quant::floats::widen(DType::F8_E4M3, bytes, &mut values).unwrap();
        let wanted: Vec<f32> = values.iter().map(|v| v * scale).collect();
        assert_eq!(singles_of(&wide[name].2), wanted, "{name}");
        seen += 1;
    }
    assert!(seen > 100, "{seen}");
    // And into blocks: the same values, stored again.
    let line = one(&home, &scaled, "Q8_0");
    assert_eq!((&line["from"], &line["status"]), (&serde_json::json!("fp8_e4m3fn_scaled"), &serde_json::json!("converted")));
    // Half a step of a block, and what its scale loses in half precision.
    for (name, _, _, values) in gguf_values(&output(&line)) {
        let wanted = singles_of(&wide[&name].2);
        let largest = wanted.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(values.iter().zip(&wanted).all(|(a, b)| (a - b).abs() <= largest / 127.0 * 0.6 + 1e-6), "{name}");
    }
}

/// ComfyUI knows scaled weights by a marker at the root of each part: of a whole checkpoint, what has scales is the network alone. The
/// rest of such a file is in 16 bits, but for what is small.
#[test]
fn a_whole_checkpoint_has_scales_where_its_marker_is() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    let wide = output(&convert(&home, &source, &["--to", "fp32", "--part", "whole"]).remove(0));
    for source in [source, wide] {
        let line = convert(&home, &source, &["--to", "fp8_scaled", "--part", "whole"]).remove(0);
        let held = tensors(&output(&line));
        let network = |name: &str| name.starts_with("model.diffusion_model.");
        let (markers, others): (Vec<_>, Vec<_>) = held.iter().partition(|(name, _)| name.ends_with("scaled_fp8"));
        assert_eq!(markers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["model.diffusion_model.scaled_fp8"]);
        assert!(others.iter().any(|(name, _)| name.ends_with(".scale_weight")));
        for (name, (dtype, shape, _)) in others {
            let is_scaled = dtype == "F8_E4M3" || name.ends_with(".scale_weight");
            assert!(network(name) || !is_scaled, "{name}");
            assert!(dtype != "F32" || shape.len() < 2, "{name} {shape:?}");
        }
    }
}

/// What their programs do not quantise they leave in the 16 bits that a model is computed in: such a file is never larger than one of
/// these. Norms and biases stay as wide as they came.
#[test]
fn what_is_not_quantised_is_in_16_bits() {
    let home = Home::empty();
    let source = output(&one(&home, &moon(&home, "moon"), "fp32"));
    let halves = fs::metadata(output(&one(&home, &source, "fp16"))).unwrap().len();
    for to in ["nf4", "int8", "sdnq_int8", "sdnq_uint4"] {
        let line = one(&home, &source, to);
        let held = tensors(&output(&line));
        assert!(fs::metadata(output(&line)).unwrap().len() < halves, "{to}");
        let (conv, norm) = (&held["input_blocks.0.0.weight"], &held["out.0.weight"]);
        assert_eq!((conv.0.as_str(), norm.0.as_str()), ("F16", "F32"), "{to}");
        let wide = tensors(&source);
        let wanted: Vec<f32> = singles_of(&wide["input_blocks.0.0.weight"].2).iter().map(|v| f16::from_f32(*v).to_f32()).collect();
        assert_eq!(halves_of(&conv.2), wanted);
    }
}

#[test]
fn a_gguf_file_comes_back_as_the_values_that_it_holds() {
    let home = Home::empty();
    let source = moon(&home, "moon");
    for to in ["Q8_0", "Q4_0"] {
        let blocks = one(&home, &source, to);
        let values = gguf_values(&output(&blocks));
        assert!(values.iter().any(|(_, dtype, ..)| DType::GGML.contains(dtype)));
        let line = one(&home, &output(&blocks), "fp16");
        assert_eq!((&line["from"], &line["status"]), (&serde_json::json!(to), &serde_json::json!("converted")));
        let back = tensors(&output(&line));
        assert_eq!(back.len(), values.len());
        for (name, _, shape, values) in values {
            let (dtype, extents, bytes) = &back[&name];
            assert_eq!((dtype.as_str(), extents.iter().map(|n| *n as u64).collect::<Vec<_>>()), ("F16", shape), "{name}");
            let wanted: Vec<f32> = values.iter().map(|v| f16::from_f32(*v).to_f32()).collect();
            assert_eq!(halves_of(bytes), wanted, "{name}");
        }
    }
}

/// Each precision from each kind of source: the names are the same, and a reference reader or ours accepts it.
#[test]
fn every_target_is_made_of_every_kind_of_source() {
    let home = Home::empty();
    let whole = [under(NETWORK, tiny_unet()), under("cond_stage_model.transformer.", tiny_clip()), under("first_stage_model.", tiny_vae())];
    let file = super::halves(&whole.concat(), 5);
    let source = write(home.path(), "models/checkpoints/tiny.safetensors", &file);
    let kinds = ["fp32", "bf16", "fp8_e5m2", "fp8_e4m3fn_scaled", "Q8_0"];
    let made = convert(&home, &source, &["--to", &kinds.join(",")]);
    let names: BTreeSet<String> = tiny_unet().into_iter().map(|(name, _)| name).collect();
    let targets =
        "fp16,bf16,fp8,fp8_e5m2,fp8_scaled,nf4,int8,Q4_0,Q4_1,Q5_0,Q5_1,Q8_0,Q2_K,Q3_K_M,Q4_K_S,Q5_K_M,Q6_K,sdnq_int8,sdnq_uint4,sdnq_int5";
    for kind in made.iter().map(output).chain([source]) {
        for line in convert(&home, &kind, &["--to", targets]) {
            if line["status"] == "skipped" {
                continue;
            }
            let path = output(&line);
            let held: BTreeSet<String> = match path.extension().unwrap().to_str().unwrap() {
                "gguf" => gguf_values(&path).into_iter().map(|(name, ..)| name).collect(),
                _ => tensors(&path).into_keys().collect(),
            };
            assert!(held.is_superset(&names), "{line}: {:?}", names.difference(&held).take(3).collect::<Vec<_>>());
            let error = line["error"]["rel_l2_mean"].as_f64().unwrap();
            assert!(error < 0.45, "{line}");
        }
    }
    home.run(&["cache", "verify"]).ok();
}
