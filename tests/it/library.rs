//! Weight files on disk: what is opened, what is refused, and in which words.

use std::fs;
use std::path::Path;

use perilune::families::{Role, describe};
use perilune::library::inventory::{gather, inspect};
use perilune::library::{FolderKind, Roots, find, open, scan};
use perilune::weights::DType;
use perilune::workflow::{JobDraft, Kind, Refusal};

use crate::support::weights_file::{
    gguf, raw, tiny_checkpoint, tiny_clip, tiny_clip_of, tiny_t5, tiny_unet, tiny_vae, tiny_vae_of, under, write, zeros,
};

fn draft(model: &Path) -> JobDraft {
    JobDraft { model: model.display().to_string(), ..JobDraft::default() }
}

fn refused(folder: &Path, name: &str, bytes: &[u8]) -> Refusal {
    let path = write(folder, name, bytes);
    let refusal = gather(&draft(&path), &Roots::default()).unwrap_err();
    assert!(refusal.message.starts_with(&path.display().to_string()), "{refusal} does not name the file");
    assert!(refusal.hint.as_ref().is_some_and(|h| !h.is_empty()), "{refusal} says not what to do");
    Refusal { message: refusal.message.replace(&format!("{}: ", path.display()), ""), ..refusal }
}

#[test]
fn hostile_and_broken_files_get_one_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8], expected: &str| {
        let refusal = refused(folder.path(), name, bytes);
        assert_eq!((refusal.kind, refusal.message.as_str()), (Kind::BadFile, expected), "{name}");
    };
    let whole = zeros(&tiny_checkpoint(), "");
    check("zero.safetensors", b"", "the file is empty");
    check("short.safetensors", b"\x10\0\0", "the file ends after 3 bytes, inside the 8 that give the header's length");
    check(
        "gigantic-header.safetensors",
        &u64::MAX.to_le_bytes(),
        "the header claims 18446744073709551615 bytes; at most 100000000 are allowed",
    );
    let mut cut = whole.clone();
    cut.truncate(whole.len() - 1024);
    let refusal = refused(folder.path(), "truncated.safetensors", &cut);
    assert!(refusal.message.ends_with("it is truncated, 1.0 KiB are missing"), "{refusal}");
    check(
        "header-cut.safetensors",
        &whole[..100],
        &format!(
            "the header claims {} bytes but the file has only 92 after its length: it is truncated",
            u64::from_le_bytes(*whole.first_chunk().unwrap())
        ),
    );
    check(
        "overlap.safetensors",
        &raw(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}}"#, 6),
        "tensor `b` starts at 2, inside the tensor before it, which ends at 4",
    );
    check(
        "duplicate.safetensors",
        &raw(r#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 4),
        "tensor `a` is listed twice",
    );
    check(
        "wrong-dtype.safetensors",
        &raw(r#"{"a":{"dtype":"F12","shape":[4],"data_offsets":[0,6]}}"#, 6),
        "tensor `a` has the unknown type `F12`",
    );
    // The name lies; the bytes do not.
    check("pickle.safetensors", b"PK\x03\x04rest of a zip", "this is a pickle, which can run code when it is opened");
    check(
        "pointer.safetensors",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "this is a Git LFS pointer, not the weights themselves",
    );
    check("page.safetensors", b"<html>404</html>", "this is a web page, not a safetensors file");
    check(
        "cut.gguf",
        b"GGUF\x03\0\0\0\0\0\0\0",
        "the file ends inside its header, at byte 8, where a number of entries should be: it is truncated",
    );
    check(
        "llama.gguf",
        &gguf(&[("general.architecture", "llama")], &[("blk.0.attn_q.weight".to_owned(), DType::Q4_K, vec![2, 256])]),
        "this is a Llama model, which is not supported",
    );
    check(
        "lora.safetensors",
        &zeros(&[("lora_unet_down.lora_up.weight".to_owned(), vec![4, 4])], ""),
        "this is a LoRA, as `lora_unet_down.lora_up.weight` shows, and no model",
    );
}

#[test]
fn a_tensor_that_is_missing_misshapen_or_of_another_type_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let name = "model.diffusion_model.middle_block.1.transformer_blocks.0.ff.net.2.bias";
    let without: Vec<_> = tiny_checkpoint().into_iter().filter(|(n, _)| n != name).collect();
    let refusal = refused(folder.path(), "missing.safetensors", &zeros(&without, ""));
    assert_eq!(refusal.message, "the denoiser lacks the tensor `middle_block.1.transformer_blocks.0.ff.net.2.bias`");

    let mut bent = tiny_checkpoint();
    bent.iter_mut().find(|(n, _)| n == name).unwrap().1 = vec![31];
    let refusal = refused(folder.path(), "bent.safetensors", &zeros(&bent, ""));
    assert_eq!(
        refusal.message,
        "the denoiser's tensor `middle_block.1.transformer_blocks.0.ff.net.2.bias` has shape [31]; the rest of the file implies [32]"
    );
}

#[test]
fn a_layer_that_a_unet_has_lost_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (gone, told) in [
        ("input_blocks.1.", "input_blocks.1.0.in_layers.2.weight"),
        ("input_blocks.1.0.", "input_blocks.1.0.in_layers.2.weight"),
        ("middle_block.0.", "middle_block.0.in_layers.2.weight"),
        ("middle_block.2.", "middle_block.2.in_layers.2.weight"),
        ("output_blocks.0.", "output_blocks.0.0.in_layers.2.weight"),
        ("output_blocks.1.", "output_blocks.1.0.in_layers.2.weight"),
    ] {
        let gone = format!("model.diffusion_model.{gone}");
        let rest: Vec<_> = tiny_checkpoint().into_iter().filter(|(name, _)| !name.starts_with(&gone)).collect();
        let refusal = refused(folder.path(), "cut.safetensors", &zeros(&rest, ""));
        assert_eq!(refusal.message, format!("the denoiser lacks the tensor `{told}`"));
    }
}

#[test]
fn a_whole_checkpoint_is_described_from_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "night.safetensors", &zeros(&tiny_checkpoint(), r#""modelspec.resolution":"64x64""#));
    let (_, description) = inspect(&path.display().to_string(), &Roots::default()).unwrap();
    assert_eq!(description.family.map(perilune::families::Family::name), Some("sd15"));
    assert_eq!(description.variant.as_deref(), Some("base"));
    assert_eq!(description.components.iter().map(|c| c.role).collect::<Vec<_>>(), [Role::Denoiser, Role::ClipL, Role::Vae]);
    assert_eq!(description.missing, []);
    assert_eq!(description.resolution.map(|r| r.to_string()).as_deref(), Some("64x64"));
    // The head, two layers in, three in the middle, and twice two out, each in halves; ConvIn belongs to the head.
    assert_eq!(description.blocks, 1 + 2 * (2 + 3 + 4));
}

#[test]
fn parts_given_apart_make_one_model() {
    let folder = tempfile::tempdir().unwrap();
    let unet = write(folder.path(), "diffusion_models/unet.safetensors", &zeros(&tiny_unet(), ""));
    write(folder.path(), "clip/text.safetensors", &zeros(&tiny_clip(), ""));
    let vae = write(folder.path(), "vae/eyes.safetensors", &zeros(&tiny_vae(), ""));
    let roots = Roots { models: vec![folder.path().to_owned()], cache: folder.path().join("cache"), ..Roots::default() };

    // Nobody says where they are, but there is only one of each.
    let bare = gather(&draft(&unet), &roots).unwrap();
    let description = bare.description.unwrap();
    assert_eq!((description.missing.len(), description.components[2].files.as_slice()), (0, [vae.clone()].as_slice()));
    let told = "clip_l is {}, the only one in the model folders that fits; --clip-l names another";
    assert_eq!(bare.notes[0], told.replace("{}", &folder.path().join("clip/text.safetensors").display().to_string()));
    assert!(bare.notes[1].starts_with("vae is "), "{:?}", bare.notes);
    // A file that lies in two folders over a link is one.
    std::os::unix::fs::symlink(folder.path().join("clip/text.safetensors"), folder.path().join("clip/again.safetensors")).unwrap();
    assert_eq!(gather(&draft(&unet), &roots).unwrap().notes.len(), 2);
    std::fs::remove_file(folder.path().join("clip/again.safetensors")).unwrap();

    let other = write(folder.path(), "clip/other.safetensors", &zeros(&tiny_clip(), ""));
    let refusal = gather(&draft(&unet), &roots).unwrap_err();
    assert_eq!(refusal.kind.exit_code(), 4);
    assert!(refusal.message.contains("several files hold one") && refusal.message.contains(&other.display().to_string()), "{refusal}");
    assert_eq!(refusal.hint.as_deref(), Some("name one of them with --clip-l"));

    let whole = JobDraft { clip: vec!["text".to_owned()], vae: Some("eyes".to_owned()), ..draft(Path::new("unet")) };
    let description = gather(&whole, &roots).unwrap().description.unwrap();
    assert_eq!(description.missing, []);
    assert_eq!(description.components[2].files, [vae]);

    let mixed = JobDraft { vae: Some("text".to_owned()), ..draft(&unet) };
    assert_eq!(gather(&mixed, &roots).unwrap_err().kind, Kind::NotFound, "a text encoder is not looked for among VAEs");
    let wrong = JobDraft { vae: Some(unet.display().to_string()), ..draft(&unet) };
    let refusal = gather(&wrong, &roots).unwrap_err();
    assert_eq!((refusal.kind, refusal.message), (Kind::BadFile, format!("{}: given with --vae but holds no vae", unet.display())));
}

#[test]
fn encoders_of_another_model_are_refused_by_what_they_make() {
    let folder = tempfile::tempdir().unwrap();
    let whole = write(folder.path(), "checkpoints/whole.safetensors", &zeros(&tiny_checkpoint(), ""));
    let wide = write(folder.path(), "clip/wide.safetensors", &zeros(&tiny_clip_of(128), "")).display().to_string();
    let t5 = write(folder.path(), "clip/t5.safetensors", &zeros(&tiny_t5(), "")).display().to_string();
    let roots = Roots { models: vec![folder.path().to_owned()], cache: folder.path().join("cache"), ..Roots::default() };
    let refusal = |role, name: &str| {
        let given = JobDraft { encoders: [(role, name.to_owned())].into(), ..draft(&whole) };
        let refusal = gather(&given, &roots).unwrap_err();
        assert!(refusal.kind == Kind::BadFile && refusal.hint.is_some(), "{refusal:?}");
        refusal.message
    };
    let words = "what clip_l makes of words is 128 wide, and the network reads 64, as its `attn2.to_k.weight` shows";
    assert_eq!(refusal(Role::ClipL, &wide), format!("{wide}: {words}"));
    let latents = tiny_vae_of(16);
    let vae = write(folder.path(), "vae/deep.safetensors", &zeros(&latents, "")).display().to_string();
    let refusal_of_vae = gather(&JobDraft { vae: Some(vae.clone()), ..draft(&whole) }, &roots).unwrap_err();
    let words = "this autoencoder's latents have 16 channels, as `decoder.conv_in.weight` shows, and the network draws 4";
    assert_eq!((refusal_of_vae.kind, refusal_of_vae.message), (Kind::BadFile, format!("{vae}: {words}")));
    let words = "given with --t5, but SD1.5 reads no text with a t5";
    assert_eq!(refusal(Role::T5, &t5), format!("{t5}: {words}"));
}

/// The types that ComfyUI-GGUF's tools give to a `Q8_0` of this network: matrices are quantised.
fn as_q8(tensors: Vec<(String, Vec<u64>)>) -> Vec<(String, DType, Vec<u64>)> {
    let dtype = |shape: &[u64]| if shape.len() == 2 { DType::Q8_0 } else { DType::F16 };
    tensors.into_iter().map(|(name, shape)| (name, dtype(&shape), shape)).collect()
}

#[test]
fn a_gguf_file_is_described_and_taken_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let named = gguf(&[("general.architecture", "sd1")], &as_q8(tiny_unet()));
    // stable-diffusion.cpp writes whole checkpoints, no values, and the names of the original.
    let bare = gguf(&[], &as_q8(tiny_checkpoint()));
    for (name, bytes, missing) in [("unet.gguf", named, vec![Role::ClipL, Role::Vae]), ("whole.gguf", bare, vec![])] {
        let path = write(folder.path(), name, &bytes);
        let (_, description) = inspect(&path.display().to_string(), &Roots::default()).unwrap();
        assert_eq!(description.family.map(perilune::families::Family::name), Some("sd15"));
        assert_eq!((description.missing, description.blocks), (missing, 1 + 2 * (2 + 3 + 4)));
        assert_eq!(description.components[0].precision, DType::Q8_0, "most numbers are in matrices");
        assert!(gather(&draft(&path), &Roots::default()).is_ok());
    }
}

#[test]
fn a_header_of_megabytes_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let words = "w".repeat(5 << 20);
    let path = write(folder.path(), "unet.gguf", &gguf(&[("general.description", &words)], &as_q8(tiny_unet())));
    assert!(inspect(&path.display().to_string(), &Roots::default()).is_ok());
}

#[test]
fn an_sdxl_file_is_recognised_by_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = tiny_unet();
    tensors.push(("label_emb.0.0.weight".to_owned(), vec![128, 2816]));
    tensors.push(("label_emb.0.0.bias".to_owned(), vec![128]));
    tensors.push(("label_emb.0.2.weight".to_owned(), vec![128, 128]));
    tensors.push(("label_emb.0.2.bias".to_owned(), vec![128]));
    let path = write(folder.path(), "sd15-really.safetensors", &zeros(&under("model.diffusion_model.", tensors), ""));
    let description = gather(&draft(&path), &Roots::default()).unwrap().description.unwrap();
    assert_eq!(description.family.map(perilune::families::Family::title), Some("SDXL"));
}

#[test]
fn relatives_that_would_give_noise_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (tensor, name) in [("double_stream_modulation_img.lin.weight", "Flux.2"), ("distilled_guidance_layer.x.weight", "Chroma")] {
        let refusal = refused(folder.path(), "m.safetensors", &zeros(&[(tensor.to_owned(), vec![1])], ""));
        assert_eq!(refusal.message, format!("this is a {name} model, which is not supported"));
    }
}

#[test]
fn diffusers_folders_open_whole_sharded_and_with_reasons() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |path: &Path| Refusal::from(open(path, None).unwrap_err());
    let refusal = refuse(folder.path());
    assert_eq!(refusal.kind, Kind::BadFile);
    assert!(refusal.message.ends_with("the folder holds no model_index.json, so it is not a diffusers model"), "{refusal}");

    let index = r#"{"_class_name":"StableDiffusionPipeline","text_encoder":["transformers","CLIPTextModel"],"vae":["diffusers","AutoencoderKL"],"scheduler":["diffusers","PNDMScheduler"]}"#;
    write(folder.path(), "model_index.json", index.as_bytes());
    write(folder.path(), "vae/diffusion_pytorch_model.safetensors", &zeros(&tiny_vae(), ""));
    write(folder.path(), "text_encoder/pytorch_model.bin", b"PK\x03\x04");
    let refusal = refuse(folder.path());
    assert!(
        refusal.message.ends_with("text_encoder: no .safetensors file, only pickles (.bin), which can run code when opened"),
        "{refusal}"
    );

    // transformers 5.6 saves without `text_model.`; the encoder here also comes in two shards.
    let clip: Vec<_> = tiny_clip().into_iter().map(|(n, s)| (n.replacen("text_model.", "", 1), s)).collect();
    let (one, two) = clip.split_at(5);
    write(folder.path(), "text_encoder/model-1.safetensors", &zeros(one, ""));
    write(folder.path(), "text_encoder/model-2.safetensors", &zeros(two, ""));
    let map = |shard: &str, tensors: &[(String, Vec<u64>)]| {
        tensors.iter().map(|(n, _)| format!("\"{n}\":\"{shard}\"")).collect::<Vec<_>>().join(",")
    };
    let weight_map = format!("{{\"weight_map\":{{{},{}}}}}", map("model-1.safetensors", one), map("model-2.safetensors", two));
    let index_path = write(folder.path(), "text_encoder/model.safetensors.index.json", weight_map.as_bytes());
    let sources = open(folder.path(), None).unwrap();
    let description = describe(&sources).unwrap();
    let clip = description.components.iter().find(|c| c.role == Role::ClipL).unwrap();
    assert_eq!((clip.files.len(), clip.tensors), (2, tiny_clip().len()));

    // A part by itself is what its weights are; one that is kept elsewhere is missing, and no mistake of the folder's.
    let vae = folder.path().join("vae");
    assert!(refuse(&vae).message.ends_with("no model_index.json, so it is not a diffusers model"));
    write(&vae, "config.json", b"{}");
    assert_eq!(describe(&open(&vae, None).unwrap()).unwrap().components[0].role, Role::Vae);
    fs::rename(&vae, folder.path().join("elsewhere")).unwrap();
    assert_eq!(describe(&open(folder.path(), None).unwrap()).unwrap().components.len(), 1);

    fs::write(&index_path, weight_map.replace("model-2.safetensors", "model-1.safetensors")).unwrap();
    let refusal = refuse(folder.path());
    assert!(refusal.message.contains("the index puts the tensor"), "{refusal}");
    fs::write(&index_path, r#"{"weight_map":{"a":"../../secret.safetensors"}}"#).unwrap();
    assert!(refuse(folder.path()).message.contains("lies outside its folder"));
}

#[test]
fn folders_are_listed_with_families_and_problems() {
    let folder = tempfile::tempdir().unwrap();
    let whole = zeros(&tiny_checkpoint(), "");
    write(folder.path(), "checkpoints/nights/blue.safetensors", &whole);
    write(folder.path(), "checkpoints/old.ckpt", b"PK\x03\x04");
    write(folder.path(), "checkpoints/.hidden.safetensors", &whole);
    write(folder.path(), "unet/cut.safetensors", &whole[..99]);
    std::os::unix::fs::symlink(folder.path().join("checkpoints"), folder.path().join("checkpoints/loop")).unwrap();
    let roots = Roots { models: vec![folder.path().to_owned()], cache: folder.path().join("cache"), ..Roots::default() };
    let listed: Vec<_> = scan(&roots, true)
        .into_iter()
        .map(|e| format!("{} {} {} {}", e.folder, e.name, e.family.map_or("-", |f| f.name()), if e.problem.is_some() { "!" } else { "" }))
        .collect();
    assert_eq!(listed, ["checkpoints nights/blue sd15 ", "checkpoints old - !", "diffusion_models cut - !", "embedded moonlet sd15 "]);
    for name in ["nights/blue", "blue", "blue.safetensors"] {
        assert!(matches!(find(&roots, FolderKind::ALL, name), Ok(Some(_))), "{name}");
    }
    assert_eq!(find(&roots, FolderKind::ALL, "green"), Ok(None));
    // The last part of a name is one model's or nobody's.
    write(folder.path(), "checkpoints/days/blue.safetensors", &whole);
    assert_eq!(find(&roots, FolderKind::ALL, "blue"), Err(vec!["days/blue".to_owned(), "nights/blue".to_owned()]));
    assert_eq!(find(&roots, FolderKind::ALL, "days/blue"), Ok(Some(folder.path().join("checkpoints/days/blue.safetensors"))));
}
