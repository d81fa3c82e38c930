//! What a model does not bring: where it is looked for, what fits, and what is told of what does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use perilune::families::apart::Halves;
use perilune::families::{FluxConfig, QwenConfig, Role, Sd3Config, ZImageConfig};
use perilune::library::inventory::{gather, inspect};
use perilune::library::likeness::is_same;
use perilune::library::{Roots, scan};
use perilune::units::{Bytes, DeviceId, Seed};
use perilune::workflow::{Defaults, Inventory, JobDraft, Kind, Refusal, resolve};

use crate::support::daemon::Home;
use crate::support::weights_file::{
    tiny_checkpoint, tiny_clip, tiny_clip_of, tiny_t5, tiny_unet, tiny_vae, tiny_vae_of, under, write, zeros,
};

type Tensors = Vec<(String, Vec<u64>)>;

fn plain(expected: Vec<(String, perilune::weights::Shape)>) -> Tensors {
    expected.into_iter().map(|(name, shape)| (name, shape.0)).collect()
}

/// A Z-Image that reads text 64 wide.
fn zimage() -> Tensors {
    let config = ZImageConfig {
        token_width: 64,
        width: 64,
        inner_width: 168,
        head_width: 32,
        context_width: 64,
        time_inner_width: 64,
        time_width: 64,
        noise_refiners: 1,
        context_refiners: 1,
        layers: 1,
        fills_up: true,
    };
    plain(config.expected())
}

/// A Flux.1 that reads texts 64 wide.
fn flux() -> Tensors {
    let config = FluxConfig {
        in_width: 64,
        out_width: 64,
        width: 64,
        inner_width: 256,
        head_width: 32,
        context_width: 64,
        pooled_width: 64,
        double_blocks: 1,
        single_blocks: 1,
        guided: true,
        last: Halves::Apart,
    };
    plain(config.expected())
}

/// An SD3 that reads a T5 64 wide, and two encoders of CLIP's kind that are 128 wide together.
fn sd3() -> Tensors {
    let config = Sd3Config {
        in_channels: 16,
        out_channels: 16,
        width: 128,
        inner_width: 512,
        head_width: 64,
        context_width: 64,
        pooled_width: 128,
        positions: 8,
        normed: true,
        dual: vec![false, false],
        last_text: Halves::Apart,
        last: Halves::Apart,
    };
    plain(config.expected())
}

fn qwen(width: u64) -> Tensors {
    let config = QwenConfig { vocabulary: 100, width, inner_width: 192, layers: 3, heads: 4, pair_heads: 2, head_width: 32, theta: 1e6 };
    plain(config.expected())
}

/// A T5 that every layer of tells distances by its own.
fn umt5() -> Tensors {
    let mut tensors = tiny_t5();
    tensors.push(("encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight".to_owned(), vec![32, 1]));
    tensors
}

const T5_WORDS: &str = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
    "pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":true},"post_processor":null,"decoder":null,
    "model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0.0],["</s>",0.0],["<unk>",0.0],["▁cat",-1.0]],"byte_fallback":false}}"#;

/// Model folders of a test's own.
struct Folders {
    folder: tempfile::TempDir,
    roots: Roots,
}

impl Folders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots { models: vec![folder.path().join("m")], cache: folder.path().join("cache"), ..Roots::default() };
        fs::create_dir_all(folder.path().join("m/text_encoders")).unwrap();
        let folders = Self { folder, roots };
        folders.put("text_encoders/vocab.json", br#"{"c": 0, "a": 1, "t": 2, "at": 3}"#);
        folders.put("text_encoders/merges.txt", b"a t\n");
        folders.put("tokenizers/tokenizer.json", T5_WORDS.as_bytes());
        Self { roots: Roots { tokenizers: vec![folders.at("tokenizers")], ..folders.roots.clone() }, ..folders }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("m").join(path)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        write(self.folder.path(), &format!("m/{path}"), bytes)
    }

    fn file(&self, path: &str, tensors: &[(String, Vec<u64>)]) -> PathBuf {
        self.put(path, &zeros(tensors, ""))
    }

    fn gather(&self, draft: &JobDraft) -> Result<Inventory, Refusal> {
        gather(draft, &self.roots)
    }

    /// The files of a part that a run of this model would read.
    fn part(&self, draft: &JobDraft, role: Role) -> Vec<PathBuf> {
        let description = self.gather(draft).unwrap().description.unwrap();
        description.components.iter().find(|c| c.role == role).unwrap().files.clone()
    }

    /// Why this draft is no job.
    fn refusal(&self, draft: &JobDraft) -> Refusal {
        let defaults = Defaults {
            steps: None,
            cfg: None,
            sampler: None,
            schedule: None,
            size: None,
            output: "/out".into(),
            compute: DeviceId::Cpu,
            seed: Seed(7),
        };
        self.gather(draft).and_then(|inventory| resolve(draft, &inventory, &defaults)).unwrap_err()
    }
}

fn of(model: &str) -> JobDraft {
    JobDraft { model: model.to_owned(), ..JobDraft::default() }
}

fn with(role: Role, path: &Path, draft: &JobDraft) -> JobDraft {
    let mut draft = draft.clone();
    draft.encoders.insert(role, path.display().to_string());
    draft
}

/// Writes tensors in two shards, and an index of them.
fn shards(folders: &Folders, at: &str, tensors: &Tensors) -> [PathBuf; 3] {
    let halves = tensors.split_at(tensors.len() / 2);
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let mut homes = BTreeMap::new();
    for (name, half) in names.into_iter().zip([halves.0, halves.1]) {
        folders.file(&format!("{at}/{name}"), half);
        homes.extend(half.iter().map(|(tensor, _)| (tensor.clone(), name)));
    }
    let index = serde_json::json!({ "weight_map": homes }).to_string();
    let index = folders.put(&format!("{at}/model.safetensors.index.json"), index.as_bytes());
    [folders.at(&format!("{at}/{}", names[0])), folders.at(&format!("{at}/{}", names[1])), index]
}

#[test]
fn shards_are_one_model_and_one_of_them_is_none() {
    let folders = Folders::new();
    folders.file("diffusion_models/z.safetensors", &zimage());
    folders.file("vae/ae.safetensors", &tiny_vae_of(16));
    let [one, two, index] = shards(&folders, "text_encoders/Qwen3-4B", &qwen(64));
    let (z, folder) = (of("z"), folders.at("text_encoders/Qwen3-4B"));
    assert_eq!(folders.part(&z, Role::Qwen), [one.clone(), two.clone()]);
    assert!(folders.gather(&z).unwrap().notes[0].contains(&format!("qwen is {}, the only one", folder.display())));
    for given in [folder.as_path(), Path::new("Qwen3-4B"), &index] {
        assert_eq!(folders.part(&with(Role::Qwen, given, &z), Role::Qwen), [one.clone(), two.clone()], "{}", given.display());
    }
    let clip = JobDraft { clip: vec![folder.display().to_string()], ..z.clone() };
    assert_eq!(folders.part(&clip, Role::Qwen).len(), 2);

    for shard in [&one, &two] {
        let clip = JobDraft { clip: vec![shard.display().to_string()], ..z.clone() };
        for refusal in
            [folders.refusal(&with(Role::Qwen, shard, &z)), folders.refusal(&clip), folders.refusal(&of(shard.to_str().unwrap()))]
        {
            let told = format!("{}: this is one of 2 parts of a model, and not all of it", shard.display());
            assert_eq!((refusal.kind, refusal.message), (Kind::BadFile, told));
            assert!(refusal.hint.unwrap().starts_with("give the folder"));
        }
    }

    let listed = || {
        let entries = scan(&folders.roots, true).into_iter().filter(|e| e.folder == "text_encoders");
        entries.map(|e| (e.name, e.bytes, e.components, e.problem)).collect::<Vec<_>>()
    };
    let bytes = Bytes([&one, &two].map(|shard| fs::metadata(shard).unwrap().len()).iter().sum());
    assert_eq!(listed(), [("Qwen3-4B".to_owned(), bytes, vec![Role::Qwen], None)]);

    // Without an index their names say as much; the same where a shard is missing.
    fs::remove_file(&index).unwrap();
    assert_eq!(folders.part(&z, Role::Qwen), [one.clone(), two.clone()]);
    assert_eq!(folders.refusal(&with(Role::Qwen, &two, &z)).kind, Kind::BadFile);
    fs::remove_file(&two).unwrap();
    assert!(listed()[0].3.as_ref().is_some_and(|problem| problem.contains("00002-of-00002")), "{:?}", listed());
    let refusal = folders.refusal(&z);
    assert!(refusal.kind == Kind::NotFound && refusal.message.contains("model-00002-of-00002.safetensors"), "{refusal}");
}

#[test]
fn shards_among_other_models_are_known_by_their_index() {
    let folders = Folders::new();
    folders.file("diffusion_models/z.safetensors", &zimage());
    folders.file("vae/ae.safetensors", &tiny_vae_of(16));
    folders.file("text_encoders/wide.safetensors", &qwen(128));
    let [one, two, index] = shards(&folders, "text_encoders", &qwen(64));
    let names: Vec<String> = scan(&folders.roots, true).into_iter().filter(|e| e.folder == "text_encoders").map(|e| e.name).collect();
    assert_eq!(names, ["model", "wide"]);
    assert_eq!(folders.part(&of("z"), Role::Qwen), [one, two]);
    assert_eq!(inspect("text_encoders", &folders.roots).unwrap_err().kind, Kind::NotFound);
    assert_eq!(inspect(&index.display().to_string(), &folders.roots).unwrap().1.components[0].role, Role::Qwen);
}

#[test]
fn only_what_fits_the_network_is_a_candidate() {
    let folders = Folders::new();
    folders.file("unet_gguf/z.safetensors", &zimage());
    folders.file("vae/ae.safetensors", &tiny_vae_of(16));
    folders.file("vae/sd15.safetensors", &tiny_vae());
    let wide = folders.file("LLM/8b.safetensors", &qwen(128));
    let refusal = folders.refusal(&of("z"));
    let places = [folders.at("text_encoders"), folders.at("LLM")].map(|p| p.display().to_string()).join(", ");
    let told = format!(
        "`z` brings no qwen, which Z-Image needs; looked in {places}, where nothing fits: {}: what qwen makes of words is 128 wide, and the network \
         reads 64, as its `cap_embedder.1.weight` shows",
        wide.display()
    );
    assert_eq!((refusal.kind, refusal.message), (Kind::NotFound, told));
    let fits = folders.file("clip_gguf/4b.safetensors", &qwen(64));
    assert_eq!(folders.part(&of("z"), Role::Qwen), [fits]);
    folders.file("text_encoders/again.safetensors", &qwen(64));
    assert!(folders.refusal(&of("z")).message.contains("several files hold one"));
}

#[test]
fn relatives_of_t5_are_no_candidates_and_are_told_of_where_nothing_else_is() {
    let folders = Folders::new();
    folders.file("diffusion_models/flux.safetensors", &flux());
    let refusal = folders.refusal(&of("flux"));
    let places = ["text_encoders", "vae"].map(|name| folders.at(name).display().to_string()).join(", ");
    let told = format!("`flux` brings no clip_l, t5 and vae, which Flux.1 needs; looked in {places}");
    assert_eq!((refusal.kind, refusal.message), (Kind::NotFound, told));
    assert_eq!(refusal.hint.as_deref(), Some("give files that hold them with --clip-l, --t5 and --vae"));

    folders.file("text_encoders/clip.safetensors", &tiny_clip());
    folders.file("vae/ae.safetensors", &tiny_vae_of(16));
    let umt5 = folders.file("text_encoders/umt5.safetensors", &umt5());
    let refusal = folders.refusal(&of("flux"));
    let told = format!("where nothing fits: {}: this is a UMT5 model, which is not supported", umt5.display());
    assert!(refusal.kind == Kind::NotFound && refusal.message.ends_with(&told), "{refusal}");
    let t5 = folders.file("text_encoders/t5.safetensors", &tiny_t5());
    assert_eq!(folders.part(&of("flux"), Role::T5), std::slice::from_ref(&t5));

    // SD3 reads with it where it is there, and without it where it is not.
    folders.file("diffusion_models/sd3.safetensors", &sd3());
    let clip = folders.at("text_encoders/clip.safetensors");
    let sd3 = with(Role::ClipL, &clip, &with(Role::ClipG, &clip, &of("sd3")));
    assert_eq!(folders.part(&sd3, Role::T5), std::slice::from_ref(&t5));
    fs::remove_file(t5).unwrap();
    assert_eq!(folders.gather(&sd3).unwrap().description.unwrap().missing, [Role::T5]);
}

#[test]
fn parts_lie_under_the_prefixes_of_other_programs() {
    let folders = Folders::new();
    let net = |prefix: &str| under(prefix, tiny_unet());
    let whole = [net("model.diffusion_model."), under("te1.", tiny_clip()), under("vae.", tiny_vae())].concat();
    folders.file("checkpoints/te1.safetensors", &whole);
    assert_eq!(folders.part(&of("te1"), Role::ClipL), [folders.at("checkpoints/te1.safetensors")]);
    let whole = [under("model.diffusion_model.", zimage()), under("te.", qwen(64)), under("vae.", tiny_vae_of(16))].concat();
    folders.file("checkpoints/te.safetensors", &whole);
    assert_eq!(folders.part(&of("te"), Role::Qwen), [folders.at("checkpoints/te.safetensors")]);
    let whole = [under("model.", flux()), under("te1.", tiny_clip()), under("te2.", tiny_t5()), under("vae.", tiny_vae_of(16))].concat();
    folders.file("checkpoints/te12.safetensors", &whole);
    assert_eq!(folders.part(&of("te12"), Role::T5), folders.part(&of("te12"), Role::ClipL));
    for (prefix, tensors) in [("model.", zimage()), ("transformer.", flux()), ("model.", tiny_unet())] {
        let path = folders.file("diffusion_models/prefixed.safetensors", &under(prefix, tensors));
        assert!(inspect(&path.display().to_string(), &folders.roots).unwrap().1.family.is_some(), "{prefix}");
    }
}

#[test]
fn the_file_that_is_at_fault_is_named() {
    let folders = Folders::new();
    let whole = folders.file("checkpoints/whole.safetensors", &tiny_checkpoint());
    let text = folders.file("text_encoders/text.safetensors", &tiny_clip());
    let wide = folders.file("text_encoders/wide.safetensors", &tiny_clip_of(128));
    folders.file("vae/eyes.safetensors", &tiny_vae());
    let lora_tensor = "unet.up_blocks.0.attentions.0.attn1.to_q.lora.down.weight";
    let lora = folders.file("loras/lora.safetensors", &[(lora_tensor.to_owned(), vec![4, 4])]);
    let whole = of(whole.to_str().unwrap());
    let clip = |draft: &JobDraft, path: &Path| JobDraft { clip: vec![path.display().to_string()], ..draft.clone() };
    let check = |draft: &JobDraft, told: String| {
        let refusal = folders.refusal(draft);
        assert_eq!((refusal.kind, refusal.message), (Kind::BadFile, told));
    };
    check(&clip(&of("eyes"), &text), "`eyes` holds no diffusion network, only vae".to_owned());
    check(&clip(&of(lora.to_str().unwrap()), &text), format!("{}: this is a LoRA, as `{lora_tensor}` shows, and no model", lora.display()));
    check(&clip(&whole, &lora), format!("{}: given with --clip, but it is a LoRA, as `{lora_tensor}` shows", lora.display()));
    check(
        &with(Role::ClipL, &lora, &whole),
        format!("{}: this is a LoRA, as `{lora_tensor}` shows, and not the clip_l that it was given as", lora.display()),
    );
    check(
        &with(Role::ClipL, &wide, &whole),
        format!("{}: what clip_l makes of words is 128 wide, and the network reads 64, as its `attn2.to_k.weight` shows", wide.display()),
    );
    let relative = JobDraft { models: vec!["here".into()], ..whole };
    assert_eq!((folders.refusal(&relative).kind, folders.refusal(&relative).message.as_str()), (Kind::Usage, "--models here is relative"));
}

/// What is not applied to models is named, whatever it is given as, with what to do about it.
#[test]
fn a_file_that_goes_beside_a_model_is_named() {
    let folders = Folders::new();
    let whole = folders.file("checkpoints/whole.safetensors", &tiny_checkpoint());
    let whole = of(whole.to_str().unwrap());
    let unet = |end: &str| format!("lora_unet_down_blocks_0_attentions_0_proj_in.{end}");
    let glora = ["a1", "a2", "b1", "b2"].map(|end| (unet(&format!("{end}.weight")), vec![4, 4]));
    let ia3 = [(unet("weight"), vec![4]), (unet("on_input"), vec![])];
    let redux = [("bias", vec![4]), ("weight", vec![4, 12])].map(|(end, shape)| (format!("redux_down.{end}"), shape));
    let style = [("style_embedding".to_owned(), vec![1, 8, 16]), ("ln_post.weight".to_owned(), vec![16])];
    for (file, tensors, what, tensor) in [
        ("glora", &glora[..], "a GLoRA, a kind of LoRA", unet("a1.weight")),
        ("ia3", &ia3, "an IA3, a kind of LoRA", unet("on_input")),
        ("redux", &redux, "a style adapter (Flux Redux)", "redux_down.weight".to_owned()),
        ("style", &style, "a style adapter (T2I-Adapter)", "style_embedding".to_owned()),
    ] {
        let path = folders.file(&format!("loras/{file}.safetensors"), tensors);
        let shown = path.display();
        let check = |draft: &JobDraft, told: String| {
            let refusal = folders.refusal(draft);
            assert_eq!((refusal.kind, refusal.message), (Kind::BadFile, told));
            let hint = refusal.hint.unwrap();
            assert!(hint.ends_with("this version runs models as they are, without LoRAs, ControlNets and style adapters"), "{hint}");
        };
        check(&of(path.to_str().unwrap()), format!("{shown}: this is {what}, as `{tensor}` shows, and no model"));
        let clip = JobDraft { clip: vec![shown.to_string()], ..whole.clone() };
        check(&clip, format!("{shown}: given with --clip, but it is {what}, as `{tensor}` shows"));
        check(
            &with(Role::ClipL, &path, &whole),
            format!("{shown}: this is {what}, as `{tensor}` shows, and not the clip_l that it was given as"),
        );
    }
}

#[test]
fn what_is_not_used_makes_no_other_part() {
    let folders = Folders::new();
    let with_more = |tensors: &Tensors, more: &[(&str, &[u64])]| {
        [tensors.clone(), more.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec())).collect()].concat()
    };
    for (role, tensors, more) in [
        (Role::ClipL, tiny_clip(), &[("text_model.embeddings.position_ids", &[1, 77][..]), ("logit_scale", &[1])][..]),
        (Role::T5, tiny_t5(), &[("encoder.embed_tokens.weight", &[100, 64])]),
    ] {
        let one = vec![folders.file("text_encoders/one.safetensors", &tensors)];
        let two = vec![folders.file("text_encoders/two.safetensors", &with_more(&tensors, more))];
        assert!(is_same(role, &one, &two).unwrap(), "{role}");
        // The last byte is of the last tensor, which is used where nothing was added.
        let mut bytes = fs::read(&one[0]).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&one[0], bytes).unwrap();
        assert!(!is_same(role, &one, &two).unwrap(), "{role}");
    }
}

/// The daemon that is up has folders of its own; a command's own count for its parts, too, and for every way to ask.
#[test]
fn folders_of_the_command_line_count_for_parts() {
    let home = Home::with_daemon();
    for (path, tensors) in [("unet/bare", tiny_unet()), ("clip/text", tiny_clip()), ("vae/eyes", tiny_vae())] {
        write(home.path(), &format!("elsewhere/{path}.safetensors"), &zeros(&tensors, ""));
    }
    let elsewhere = home.path().join("elsewhere").display().to_string();
    let run = ["run", "-m", "bare", "-p", "a moon"];
    for folder in [elsewhere.as_str(), "elsewhere"] {
        home.run(&[&run[..], &["--models", folder]].concat()).ok();
    }
    home.run(&["plan", "bare", "--models", &elsewhere]).ok();
    let path = format!("{elsewhere}/unet/bare.safetensors");
    assert_eq!(home.run(&["run", "-m", &path, "-p", "a moon"]).code, 4, "nobody named the folder");
    let host = ["--host", "ana@box", "--models", "elsewhere"];
    home.run(&[&run[..], &host].concat()).refused(2, "--models elsewhere is relative, but the model is looked for on ana@box");
}
