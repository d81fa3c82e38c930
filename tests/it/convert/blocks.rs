//! GGUF files of everything that they can be of: networks that are joined anew, encoders, whole checkpoints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use perilune::formats::gguf::{Header, parse};
use perilune::formats::gguf_value::Value;
use perilune::library::{Roots, vocabulary};
use perilune::tokens::VocabularyKind;
use perilune::weights::DType;
use serde_json::{Value as Json, json};

use super::{convert, halves, halves_of, manifest, noise, one, output, stored, tensors};
use crate::support::daemon::Home;
use crate::support::weights_file::{tiny_clip, tiny_t5, tiny_unet, tiny_vae, under, write};

type Tensor = (String, &'static str, Vec<u64>, Vec<u8>);

type Tensors = BTreeMap<String, (DType, Vec<u64>, Vec<u8>)>;

/// A GGUF file: its header, and each tensor's type, shape and bytes by name.
fn read(path: &Path) -> (Header, Tensors) {
    let bytes = fs::read(path).unwrap();
    let header = parse(&bytes, bytes.len() as u64).unwrap();
    let of = |entry: &perilune::weights::TensorEntry| {
        (entry.name.clone(), (entry.dtype, entry.shape.0.clone(), bytes[entry.start as usize..entry.end as usize].to_vec()))
    };
    let tensors = header.catalog.iter().map(of).collect();
    (header, tensors)
}

fn random(name: &str, shape: &[u64], seed: u64) -> Tensor {
    let count = shape.iter().product::<u64>() as usize;
    let bytes = noise(seed, count).into_iter().flat_map(|v| half::f16::from_f32(v).to_le_bytes()).collect();
    (name.to_owned(), "F16", shape.to_vec(), bytes)
}

/// The parts of a Flux network of this width that show how it is stored, under diffusers' names.
fn flux_in_parts(width: u64) -> Vec<Tensor> {
    let (double, single) = ("transformer_blocks.0", "single_transformer_blocks.0");
    let mut shapes: Vec<(String, Vec<u64>)> = vec![
        ("x_embedder.weight".to_owned(), vec![width, 64]),
        (format!("{double}.attn.norm_added_k.weight"), vec![width]),
        (format!("{double}.attn.to_out.0.weight"), vec![width, width]),
        ("norm_out.linear.weight".to_owned(), vec![2 * width, width]),
        ("norm_out.linear.bias".to_owned(), vec![2 * width]),
        (format!("{single}.proj_mlp.weight"), vec![4 * width, width]),
        (format!("{single}.proj_mlp.bias"), vec![4 * width]),
    ];
    for part in ["q", "k", "v"] {
        shapes.push((format!("{double}.attn.to_{part}.weight"), vec![width, width]));
        shapes.push((format!("{single}.attn.to_{part}.weight"), vec![width, width]));
        shapes.push((format!("{single}.attn.to_{part}.bias"), vec![width]));
    }
    shapes.iter().enumerate().map(|(seed, (name, shape))| random(name, shape, seed as u64)).collect()
}

/// The same network as its makers store it.
fn flux_joined(parts: &[Tensor]) -> Vec<Tensor> {
    let part = |name: &str| parts.iter().find(|(known, ..)| known == name).unwrap();
    let rows = |names: &[String]| {
        let shape: Vec<u64> = part(&names[0]).2.clone();
        let rows = names.iter().map(|name| part(name).2[0]).sum();
        ([&[rows], &shape[1..]].concat(), names.iter().flat_map(|name| part(name).3.clone()).collect::<Vec<u8>>())
    };
    let joined = |name: &str, names: &[String]| {
        let (shape, bytes) = rows(names);
        (name.to_owned(), "F16", shape, bytes)
    };
    let renamed = |name: &str, theirs: &str| joined(name, &[theirs.to_owned()]);
    let turned = |name: &str, theirs: &str| {
        let (name, dtype, shape, bytes) = renamed(name, theirs);
        let (first, second) = bytes.split_at(bytes.len() / 2);
        (name, dtype, shape, [second, first].concat())
    };
    let attention = |at: &str, end: &str| ["q", "k", "v"].map(|part| format!("{at}.attn.to_{part}.{end}")).to_vec();
    let first =
        |end: &str| [attention("single_transformer_blocks.0", end), vec![format!("single_transformer_blocks.0.proj_mlp.{end}")]].concat();
    vec![
        renamed("img_in.weight", "x_embedder.weight"),
        renamed("double_blocks.0.txt_attn.norm.key_norm.scale", "transformer_blocks.0.attn.norm_added_k.weight"),
        renamed("double_blocks.0.img_attn.proj.weight", "transformer_blocks.0.attn.to_out.0.weight"),
        joined("double_blocks.0.img_attn.qkv.weight", &attention("transformer_blocks.0", "weight")),
        joined("single_blocks.0.linear1.weight", &first("weight")),
        joined("single_blocks.0.linear1.bias", &first("bias")),
        turned("final_layer.adaLN_modulation.1.weight", "norm_out.linear.weight"),
        turned("final_layer.adaLN_modulation.1.bias", "norm_out.linear.bias"),
    ]
}

/// Puts a diffusers folder of this network, in two shards, and its makers' file into a home.
pub(super) fn both_layouts(home: &Home, width: u64) -> (PathBuf, PathBuf) {
    let parts = flux_in_parts(width);
    let folder = home.path().join("models/diffusers/night");
    write(&folder, "model_index.json", br#"{"_class_name":"FluxPipeline","transformer":["diffusers","FluxTransformer2DModel"]}"#);
    write(&folder, "transformer/config.json", b"{}");
    // What is joined lies in both.
    let is_first = |tensor: &&Tensor| tensor.0.contains("to_q");
    let shards = [parts.iter().filter(is_first).cloned().collect(), parts.iter().filter(|t| !is_first(t)).cloned().collect::<Vec<_>>()];
    let mut map = BTreeMap::new();
    for (n, shard) in shards.iter().enumerate() {
        let name = format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", n + 1);
        write(&folder, &format!("transformer/{name}"), &stored(shard, ""));
        map.extend(shard.iter().map(|tensor| (tensor.0.clone(), name.clone())));
    }
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    write(&folder, "transformer/diffusion_pytorch_model.safetensors.index.json", index.as_bytes());
    let own = write(home.path(), "models/diffusion_models/own.safetensors", &stored(&flux_joined(&parts), ""));
    (folder, own)
}

#[test]
fn a_network_from_a_diffusers_folder_is_that_of_its_makers() {
    let home = Home::empty();
    let (folder, own) = both_layouts(&home, 256);
    for to in ["Q8_0", "Q4_K_M", "Q5_1"] {
        let (theirs, makers) = (one(&home, &folder, to), one(&home, &own, to));
        let ((header, found), (wanted_header, wanted)) = (read(&output(&theirs)), read(&output(&makers)));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
        for (name, tensor) in &wanted {
            assert!(found[name] == *tensor, "{to}: `{name}` is another");
        }
        let architecture = Some(&Value::Text("flux".to_owned()));
        assert_eq!((header.value("general.architecture"), wanted_header.value("general.architecture")), (architecture, architecture));
        assert_eq!(theirs["tensors"], 8);
        assert!((theirs["error"]["rel_l2_mean"].as_f64().unwrap() - makers["error"]["rel_l2_mean"].as_f64().unwrap()).abs() < 1e-9);
        // Found again, also by its content, and compared with what it was made of.
        assert_eq!(one(&home, &folder, to)["status"], "cached");
        home.run(&["cache", "verify", "--full", output(&theirs).to_str().unwrap()]).ok();
    }
    let moved = home.path().join("models/diffusers/day");
    fs::rename(&folder, &moved).unwrap();
    assert_eq!(one(&home, &moved, "Q8_0")["status"], "cached", "what it holds is what it was made of");
    // Safetensors files keep the names of their source.
    assert!(tensors(&output(&one(&home, &moved, "bf16"))).contains_key("transformer_blocks.0.attn.to_q.weight"));
}

#[test]
fn a_network_that_lacks_a_part_of_what_is_joined_is_refused() {
    let home = Home::empty();
    let mut parts = flux_in_parts(64);
    parts.retain(|tensor| tensor.0 != "single_transformer_blocks.0.attn.to_k.weight");
    let source = write(home.path(), "models/diffusion_models/net.safetensors", &stored(&parts, ""));
    let before = home.tree();
    home.run(&["convert", source.to_str().unwrap(), "--to", "Q8_0"])
        .refused(6, &format!("{}: the denoiser lacks the tensor `single_blocks.0.k.weight`", source.display()));
    assert_eq!(home.tree(), before, "nothing is left behind");
}

const T5_WORDS: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "decoder": null, "post_processor": null,
    "added_tokens": [{"id": 0, "content": "<pad>", "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": true},
    "model": {"type": "Unigram", "unk_id": 2, "byte_fallback": false,
        "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["\u2581", -2.0], ["\u2581moon", -5.0], ["s", -3.0]]}}"#;

fn value(header: &Header, key: &str) -> Option<String> {
    header.value(key).and_then(Value::plain)
}

#[test]
fn t5_has_llama_cpps_names_its_sizes_and_its_words() {
    let home = Home::empty();
    let source = write(home.path(), "models/text_encoders/t5/t5xxl.safetensors", &halves(&tiny_t5(), 3));
    write(home.path(), "models/text_encoders/t5/tokenizer.json", T5_WORDS.as_bytes());
    let sources: Vec<PathBuf> = convert(&home, &source, &["--to", "fp32,bf16,fp8"]).iter().map(output).chain([source.clone()]).collect();
    for source in sources {
        let line = one(&home, &source, "Q8_0");
        let (header, tensors) = read(&output(&line));
        assert_eq!(value(&header, "general.architecture").as_deref(), Some("t5encoder"), "{line}");
        for (key, wanted) in
            [("block_count", "1"), ("embedding_length", "64"), ("attention.head_count", "1"), ("attention.relative_buckets_count", "32")]
        {
            assert_eq!(value(&header, &format!("t5encoder.{key}")).as_deref(), Some(wanted), "{key}");
        }
        let types: Vec<(&str, DType)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.0)).collect();
        let wanted = [
            ("enc.blk.0.attn_k.weight", DType::Q8_0),
            ("enc.blk.0.attn_norm.weight", DType::F32),
            ("enc.blk.0.attn_o.weight", DType::Q8_0),
            ("enc.blk.0.attn_q.weight", DType::Q8_0),
            ("enc.blk.0.attn_rel_b.weight", DType::F32),
            ("enc.blk.0.attn_v.weight", DType::Q8_0),
            ("enc.blk.0.ffn_down.weight", DType::Q8_0),
            ("enc.blk.0.ffn_gate.weight", DType::Q8_0),
            ("enc.blk.0.ffn_norm.weight", DType::F32),
            ("enc.blk.0.ffn_up.weight", DType::Q8_0),
            ("enc.output_norm.weight", DType::F32),
            ("token_embd.weight", DType::Q8_0),
        ];
        assert_eq!(types, wanted);
    }
    // Of the encoder that words lie beside they are in the file, for whoever has it alone.
    let alone = write(home.path(), "elsewhere/t5.gguf", &fs::read(output(&one(&home, &source, "Q8_0"))).unwrap());
    let words =
        |path: &Path| vocabulary::find(VocabularyKind::T5, &[path.to_owned()], &Roots::default()).unwrap().1.encode("moons").unwrap();
    assert_eq!(words(&alone), words(&source));
    let told: Json = serde_json::from_str(&home.run(&["models", "inspect", alone.to_str().unwrap(), "--json"]).ok()).unwrap();
    assert_eq!((&told["components"][0]["role"], &told["precision"]), (&json!("t5"), &json!("Q8_0")), "{told}");
    // From there on, too.
    let again = convert(&home, &alone, &["--to", "Q4_0", "-o", home.path().join("again").to_str().unwrap()]).remove(0);
    let again = write(home.path(), "further/t5.gguf", &fs::read(output(&again)).unwrap());
    assert_eq!(words(&again), words(&source));
    let wide = tensors(&output(&one(&home, &alone, "fp16")));
    assert_eq!(wide["shared.weight"].1, [100, 64], "transformers' names");
}

/// Qwen3 of three layers, all of whose tensors are there.
fn tiny_qwen() -> Vec<(String, Vec<u64>)> {
    let config = perilune::families::QwenConfig {
        vocabulary: 100,
        width: 64,
        inner_width: 128,
        layers: 3,
        heads: 4,
        pair_heads: 1,
        head_width: 32,
        theta: 1e6,
    };
    let tensors = config.expected().into_iter().map(|(name, shape)| (name, shape.0));
    tensors.chain([("model.norm.weight".to_owned(), vec![64])]).collect()
}

#[test]
fn qwen_has_llama_cpps_names_and_sizes() {
    let home = Home::empty();
    let source = write(home.path(), "models/text_encoders/qwen/model.safetensors", &halves(&tiny_qwen(), 4));
    write(home.path(), "models/text_encoders/qwen/config.json", br#"{"model_type": "qwen3", "rope_theta": 500000, "rms_norm_eps": 1e-5}"#);
    let (header, tensors) = read(&output(&one(&home, &source, "Q2_K")));
    let of = |key: &str| value(&header, &format!("qwen3.{key}"));
    for (key, wanted) in [
        ("block_count", "3"),
        ("attention.head_count", "4"),
        ("attention.head_count_kv", "1"),
        ("attention.key_length", "32"),
        ("rope.freq_base", "500000"),
        ("attention.layer_norm_rms_epsilon", "0.00001"),
        ("context_length", "40960"),
    ] {
        assert_eq!(of(key).as_deref(), Some(wanted), "{key}");
    }
    assert_eq!(value(&header, "general.architecture").as_deref(), Some("qwen3"));
    // Rows of 64 are no blocks of 256.
    assert_eq!((tensors["blk.2.attn_q.weight"].0, tensors["token_embd.weight"].0), (DType::Q4_0, DType::Q8_0));
    assert_eq!(tensors["blk.0.attn_q_norm.weight"].0, DType::F32);
    let order: Vec<u64> = {
        let mut starts: Vec<_> = header.catalog.iter().map(|entry| (entry.start, entry.name.clone())).collect();
        starts.sort();
        starts.iter().filter_map(|(_, name)| name.strip_prefix("blk.")?.split('.').next()?.parse().ok()).collect()
    };
    assert!(order.is_sorted());
    let told: Json =
        serde_json::from_str(&home.run(&["models", "inspect", output(&one(&home, &source, "Q8_0")).to_str().unwrap(), "--json"]).ok())
            .unwrap();
    assert_eq!((&told["components"][0]["role"], &told["precision"]), (&json!("qwen"), &json!("Q8_0")), "{told}");
}

/// llama.cpp's readers would want more of it than headers tell.
#[test]
fn the_language_part_of_a_model_that_sees_is_refused() {
    let home = Home::empty();
    let seeing = tiny_qwen().into_iter().map(|(name, shape)| (name.replacen("model.", "model.language_model.", 1), shape));
    let source = write(home.path(), "models/text_encoders/seeing.safetensors", &halves(&seeing.collect::<Vec<_>>(), 4));
    let done = home.run(&["convert", source.to_str().unwrap(), "--to", "Q8_0"]);
    done.refused(5, &format!("{}: it is the language part of a model that sees", source.display()));
    assert_eq!(one(&home, &source, "bf16")["status"], "converted");
}

#[test]
fn a_clip_keeps_its_names() {
    let home = Home::empty();
    let source = write(home.path(), "models/text_encoders/clip_l.safetensors", &halves(&tiny_clip(), 5));
    let line = one(&home, &source, "Q8_0");
    let (header, tensors) = read(&output(&line));
    assert_eq!(value(&header, "general.architecture"), None, "there is no name for it that anybody reads");
    assert_eq!(tensors.keys().cloned().collect::<std::collections::BTreeSet<_>>(), tiny_clip().into_iter().map(|(name, _)| name).collect());
    assert_eq!(tensors["text_model.encoder.layers.0.self_attn.q_proj.weight"].0, DType::Q8_0);
    assert_eq!(tensors["text_model.embeddings.token_embedding.weight"].0, DType::F16);
    let told: Json = serde_json::from_str(&home.run(&["models", "inspect", output(&line).to_str().unwrap(), "--json"]).ok()).unwrap();
    assert_eq!(told["components"][0]["role"], "clip_l", "{told}");
}

#[test]
fn a_whole_checkpoint_is_one_in_blocks_too() {
    let home = Home::empty();
    let whole = [
        under("model.diffusion_model.", tiny_unet()),
        under("cond_stage_model.transformer.", tiny_clip()),
        under("first_stage_model.", tiny_vae()),
    ];
    let source = write(home.path(), "models/checkpoints/tiny.safetensors", &halves(&whole.concat(), 5));
    let line = convert(&home, &source, &["--to", "Q8_0", "--part", "whole"]).remove(0);
    let made = output(&line);
    assert_eq!(made, home.path().join("models/checkpoints/gguf/tiny_whole_Q8_0.gguf"));
    let (header, found) = read(&made);
    assert_eq!(value(&header, "general.architecture").as_deref(), Some("sd1"), "for those who read the network alone");
    assert_eq!(found.len(), whole.concat().len());
    for (name, (dtype, shape, _)) in &found {
        let is_of_vae = name.starts_with("first_stage_model.");
        assert!(!is_of_vae || !DType::GGML.contains(dtype), "{name}");
        assert!(shape.len() == 2 || !DType::GGML.contains(dtype), "{name}");
        assert_eq!(Some(shape), whole.concat().iter().find(|(known, _)| known == name).map(|(_, shape)| shape), "{name}");
    }
    let block = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0";
    let clip = "cond_stage_model.transformer.text_model.encoder.layers.0";
    for matrix in [format!("{block}.attn1.to_q.weight"), format!("{clip}.mlp.fc1.weight")] {
        assert_eq!(found[&matrix].0, DType::Q8_0, "{matrix}");
    }
    // It is a checkpoint, and its numbers come back as such.
    let told: Json = serde_json::from_str(&home.run(&["models", "inspect", made.to_str().unwrap(), "--json"]).ok()).unwrap();
    let roles: Vec<&str> = told["components"].as_array().unwrap().iter().map(|part| part["role"].as_str().unwrap()).collect();
    assert_eq!((roles, &told["missing"]), (vec!["denoiser", "clip_l", "vae"], &json!([])), "{told}");
    let back = tensors(&output(&convert(&home, &made, &["--to", "fp16", "--part", "whole"]).remove(0)));
    let first = tensors(&source);
    for (name, (_, _, bytes)) in &first {
        let off = halves_of(bytes).iter().zip(halves_of(&back[name].2)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.001, "{name}: {off}");
    }
    home.run(&["cache", "verify", "--full"]).ok();
    assert_eq!(manifest(&made)["recipe"], "Q8_0/whole/2");
    let refused = |part: &str, reason: &str| {
        let done = home.run(&["convert", source.to_str().unwrap(), "--to", "Q4_K_M", "--part", part]);
        done.refused(5, &format!("{}: {reason}", source.display()));
    };
    refused("vae", "an autoencoder has nothing that Q4_K_M is for: its convolutions stay in 16 bits");
    // Rows of 64 are whole blocks of no such type.
    refused("whole", "none of its tensors can be stored as Q4_K_M");
}
