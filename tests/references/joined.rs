//! Networks in diffusers' folders and in their makers' files, written from the same weights: their GGUF files are the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use perilune::formats::gguf::{Header, parse};
use perilune::weights::DType;

use crate::conversion::convert;
use crate::made::made_by;

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

fn copied(from: &Path, to: &Path) -> PathBuf {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap();
    to.to_owned()
}

fn check(family: &str, joined: &[&str]) {
    let written = made_by(&format!("{family}.py"), &["dit_layout.py", "ldm_layout.py", "seeded.py"]);
    let home = tempfile::tempdir().unwrap();
    let split = copied(&written.join("split.safetensors"), &home.path().join("net.safetensors"));
    for to in ["Q8_0", "Q4_0", "Q4_K_M"] {
        convert(home.path(), &split, to, "own");
        convert(home.path(), &written.join("folder"), to, "theirs");
        let (theirs, found) = read(&home.path().join(format!("theirs/folder_{to}.gguf")));
        let (own, wanted) = read(&home.path().join(format!("own/net_{to}.gguf")));
        assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{family} {to}");
        for (name, tensor) in &wanted {
            assert!(found[name] == *tensor, "{family} {to}: `{name}` is another");
        }
        let said = |header: &Header| header.values.iter().filter(|(key, _)| key != "perilune.source_blake3").cloned().collect::<Vec<_>>();
        assert_eq!(said(&theirs), said(&own));
        for name in joined {
            assert!(found.contains_key(*name), "{family} {to}: {name}");
        }
    }
    // In 16 bits, too; and what was made is compared with what it was made of, number by number.
    convert(home.path(), &split, "bf16", "own");
    convert(home.path(), &written.join("folder"), "bf16", "theirs");
    for (from, to) in [("own/net_bf16.safetensors", "own"), ("theirs/folder_bf16.safetensors", "theirs")] {
        convert(home.path(), &home.path().join(from), "Q8_0", &format!("{to}16"));
    }
    assert!(read(&home.path().join("theirs16/folder_Q8_0.gguf")).1 == read(&home.path().join("own16/net_Q8_0.gguf")).1, "{family} bf16");
}

#[test]
fn flux_is_joined_as_its_makers_join_it() {
    check("flux", &["double_blocks.0.txt_attn.qkv.bias", "single_blocks.1.linear1.weight", "final_layer.adaLN_modulation.1.weight"]);
}

#[test]
fn sd3_is_joined_as_its_makers_join_it() {
    check("sd3", &["joint_blocks.0.x_block.attn.qkv.weight", "joint_blocks.2.context_block.adaLN_modulation.1.bias", "pos_embed"]);
}

#[test]
fn z_image_is_joined_as_its_makers_join_it() {
    check("z-image", &["layers.0.attention.qkv.weight", "context_refiner.0.attention.out.weight", "x_embedder.weight"]);
}
