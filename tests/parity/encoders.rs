//! Text encoders beside those of transformers, from every layout of the same weights, in every storage, wherever they live.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::Compute;
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedClip, LoadedQwen, LoadedT5, Offload};
use perilune::engine::models::clip::ClipOutput;
use perilune::engine::residency::Residency;
use perilune::families::{Role, clip, qwen, t5};
use perilune::library::open;
use perilune::quant;
use perilune::units::{Bytes, DeviceId};
use perilune::weights::{BlockTable, Precision};
use tch::{Kind, Tensor};

use crate::fixture::{close, converted_part, storages_of_part, tensor};
use crate::made::made_by;
use crate::offload::plan;

/// The bar of fp32 on a processor.
const FP32: f64 = 1e-5;
/// Encoders that stream, each with a file of plain floats.
const STREAMING: [(Role, &str); 3] =
    [(Role::ClipG, "clip_g-open.safetensors"), (Role::T5, "t5.safetensors"), (Role::Qwen, "qwen.safetensors")];

/// The folder that `scripts/parity/encoders.py` wrote.
fn encoders() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| made_by("encoders.py", &["seeded.py"]))
}

fn golden(name: &str) -> Tensor {
    tensor(&encoders().join("golden.safetensors"), name)
}

/// The files of an encoder that is a file or a part's folder.
fn files(path: &Path, role: Role) -> Vec<PathBuf> {
    open(path, Some(role)).unwrap().remove(0).files
}

fn load<T>(
    path: &Path,
    role: Role,
    precision: Precision,
    offload: Offload<'_>,
    load: impl FnOnce(&[PathBuf], Target<'_>) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    tch::no_grad(|| load(&files(path, role), Target { compute: &compute, precision, cancel: &CancelFlag::default(), offload }))
}

fn loaded_clip(path: &str, role: Role) -> LoadedClip {
    load(&encoders().join(path), role, Precision::Fp32, Offload::Nothing, |files, target| LoadedClip::load(role, files, target)).unwrap()
}

fn read(clip: &LoadedClip, tokens: &Tensor) -> ClipOutput {
    tch::no_grad(|| clip.model.forward(&clip.residency, tokens)).unwrap()
}

#[test]
fn clip_of_both_sizes_in_every_layout() {
    for (role, name) in [(Role::ClipL, "clip_l"), (Role::ClipG, "clip_g")] {
        let layouts = ["", ".safetensors", "-bare.safetensors", "-open.safetensors"].map(|end| format!("{name}{end}"));
        for path in layouts.into_iter().chain(["both.safetensors".to_owned()]) {
            let clip = loaded_clip(&path, role);
            let ours = read(&clip, &golden(&format!("{name}.tokens")));
            let compare = |what: &str, ours: &Tensor| close(&format!("{path}: {what}"), ours, &golden(&format!("{name}.{what}")), FP32);
            compare("last", &ours.last);
            compare("penultimate", &ours.penultimate);
            compare("unprojected", &ours.unprojected);
            if clip.config.projection.is_some() {
                compare("pooled", &ours.pooled);
            } else {
                assert!(ours.pooled == ours.unprojected, "{path}: nothing to project with");
            }
            assert_eq!(clip.config.projection.is_none(), path == "both.safetensors" && role == Role::ClipL, "{path}");
        }
    }
}

/// What an encoder gives to a model, and where its weights are.
struct Passed {
    outputs: Vec<Tensor>,
    table: BlockTable,
    is_as_asked: bool,
}

/// Two passes of an encoder: the second meets staging memory that is in use.
fn passed(path: &Path, role: Role, precision: Precision, offload: Offload<'_>) -> Result<Passed, EngineError> {
    let of = |residency: &Residency, pass: &dyn Fn(&Residency) -> Tensor| {
        let outputs = tch::no_grad(|| vec![pass(residency), pass(residency)]);
        Passed { outputs, table: residency.table().clone(), is_as_asked: residency.asked() == residency.measured() }
    };
    let tokens = match role {
        Role::T5 => golden("t5.tokens"),
        Role::Qwen => golden("qwen.tokens"),
        _ => golden(&format!("{role}.tokens")),
    };
    Ok(match role {
        Role::T5 => {
            let t5 = load(path, role, precision, offload, LoadedT5::load)?;
            of(&t5.residency, &|residency| t5.model.forward(residency, &tokens).unwrap())
        }
        Role::Qwen => {
            let qwen = load(path, role, precision, offload, LoadedQwen::load)?;
            of(&qwen.residency, &|residency| qwen.model.forward(residency, &tokens).unwrap())
        }
        _ => {
            let clip = load(path, role, precision, offload, |files, target| LoadedClip::load(role, files, target))?;
            of(&clip.residency, &|residency| {
                let out = clip.model.forward(residency, &tokens).unwrap();
                Tensor::cat(&[out.penultimate.flatten(0, -1), out.pooled.flatten(0, -1)], 0)
            })
        }
    })
}

fn output(path: &str, role: Role) -> Tensor {
    passed(&encoders().join(path), role, Precision::Fp32, Offload::Nothing).unwrap().outputs.remove(0)
}

#[test]
fn t5_in_every_layout() {
    for path in ["t5", "t5.safetensors", "t5-whole.safetensors", "t5.gguf"] {
        close(path, &output(path, Role::T5), &golden("t5.last"), FP32);
    }
    for (path, expected) in [("t5-q8_0.gguf", "t5-q8_0.last"), ("t5-scaled.safetensors", "t5-scaled.last")] {
        close(path, &output(path, Role::T5), &golden(expected), FP32);
    }
}

#[test]
fn qwen_in_every_layout_with_the_base_that_its_file_or_family_has() {
    for (path, expected) in [
        ("qwen", "qwen"),
        ("qwen.safetensors", "qwen"),
        ("qwen-vl.safetensors", "qwen-vl"),
        ("qwen-said", "qwen-said"),
        ("qwen.gguf", "qwen-said"),
        ("qwen-q8_0.gguf", "qwen-q8_0"),
    ] {
        close(path, &output(path, Role::Qwen), &golden(&format!("{expected}.penultimate")), FP32);
    }
}

/// In 16 bits weights are rounded and nothing else: what `wo` gives is larger than fp16's largest number in real models.
#[test]
fn sixteen_bits_round_weights_alone() {
    for (role, path) in STREAMING {
        let path = encoders().join(path);
        let exact = passed(&path, role, Precision::Fp32, Offload::Nothing).unwrap().outputs.remove(0);
        for (precision, bar) in [(Precision::Bf16, 3e-2), (Precision::Fp16, 4e-3)] {
            let ours = passed(&path, role, precision, Offload::Nothing).unwrap().outputs.remove(0);
            let off = ((ours.to_kind(Kind::Float) - &exact).norm() / exact.norm()).double_value(&[]);
            println!("{role} in {precision}: off by {off:.1e}");
            assert!(off < bar && (role == Role::ClipG || ours.kind() == Kind::Float), "{role} in {precision}: {off:.1e}");
        }
    }
}

/// The tables of tokens are looked up where they lie, in every storage, and no device holds them.
#[test]
fn tables_are_in_no_block() {
    let names = [clip::TOKENS, t5::TOKENS, qwen::TOKENS];
    for ((role, path), name) in STREAMING.into_iter().zip(names) {
        let passed = passed(&encoders().join(path), role, Precision::Fp32, Offload::Nothing).unwrap();
        let table = passed.table.gathered(name).unwrap();
        assert!(passed.table.slot(name).is_none() && passed.table.whole() == passed.table.bytes() + table.bytes(), "{role}");
    }
}

#[test]
fn encoders_stream_to_the_same_bits() {
    for (role, path) in STREAMING {
        let path = encoders().join(path);
        for precision in Precision::ALL {
            let resident = passed(&path, role, *precision, Offload::Nothing).unwrap();
            assert!(resident.outputs[0] == resident.outputs[1] && resident.is_as_asked, "{role} in {precision}");
            let policies: [&dyn Fn(u32) -> bool; 4] =
                [&|_| true, &|n| n % 2 == 0, &|n| n == 3, &|n| n.wrapping_mul(2_654_435_761) >> 31 == 1];
            for (number, is_streamed) in policies.into_iter().enumerate() {
                for staging in [Bytes(1), resident.table.bytes()] {
                    let plan = plan(&resident.table, is_streamed);
                    let streamed = passed(&path, role, *precision, Offload::Exactly { plan: &plan, staging }).unwrap();
                    assert!(streamed.outputs == resident.outputs, "{role} in {precision}, policy {number}, staging {staging}");
                    assert!(streamed.is_as_asked, "{role} in {precision}, policy {number}");
                }
            }
        }
    }
}

#[test]
fn encoders_of_every_storage_stream_to_the_same_bits() {
    for (role, file) in STREAMING {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = encoders().join(file);
        let exact = passed(&path, role, Precision::Fp32, Offload::Nothing).unwrap().outputs.remove(0);
        let converted = storages_of_part(&path, role, folder.path()).into_iter().map(|(target, path)| (target.to_string(), path));
        let blocks = ["q8_0", "q4_0"].map(|kind| (kind.to_owned(), encoders().join(format!("{role}-{kind}.gguf"))));
        for (target, path) in converted.chain(blocks.into_iter().filter(|(_, path)| path.exists())) {
            let resident = passed(&path, role, Precision::Fp32, Offload::Nothing).unwrap_or_else(|e| panic!("{role} as {target}: {e}"));
            let (ours, exact) = (resident.outputs[0].to_kind(Kind::Double).flatten(0, -1), exact.to_kind(Kind::Double).flatten(0, -1));
            let alike = (ours.dot(&exact) / (ours.norm() * exact.norm())).double_value(&[]);
            println!("{role} as {target}: cosine {alike:.4}");
            assert!(alike > 0.9, "{role} as {target}: {alike}");
            let plan = plan(&resident.table, |n| n % 2 == 1);
            let streamed = passed(&path, role, Precision::Fp32, Offload::Exactly { plan: &plan, staging: Bytes(1) }).unwrap();
            assert!(streamed.outputs == resident.outputs, "{role} as {target}");
            if target.starts_with("fp8") {
                let back = converted_part(&path, role, quant::Target::Fp32, &folder.path().join(&target));
                let back = passed(&back, role, Precision::Fp32, Offload::Nothing).unwrap().outputs.remove(0);
                close(&format!("{role} as {target}"), &resident.outputs[0], &back, FP32);
            }
        }
    }
}

#[test]
fn what_is_wrong_with_an_encoder_is_named() {
    for (path, role, words) in [
        ("t5.safetensors", Role::ClipL, "a T5 encoder, as `encoder.block.0.layer.0.SelfAttention.q.weight` shows, and not the clip_l"),
        ("clip_l.safetensors", Role::T5, "a text encoder of CLIP, as `text_model.encoder.layers.0.mlp.fc1.weight` shows, and not the t5"),
        ("bad-lora.safetensors", Role::ClipL, "a LoRA, as `lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight` shows"),
        ("bad-t5-nan.safetensors", Role::T5, "`encoder.block.1.layer.1.layer_norm.weight` holds a value that is no finite number"),
        ("t5.safetensors", Role::Qwen, "a T5 encoder"),
    ] {
        let error = passed(&encoders().join(path), role, Precision::Fp32, Offload::Nothing).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(words), "{path} as {role}: {error}");
    }
    let error = open(&encoders().join("bad-t5-unscaled.safetensors"), Some(Role::T5)).unwrap_err().to_string();
    assert!(error.contains("`encoder.block.0.layer.0.SelfAttention.k.weight`: 8-bit floats without a scale"), "{error}");
}

/// A vocabulary that belongs to a larger model asks for rows that are not there.
#[test]
fn a_token_without_a_row_is_an_error() {
    let t5 = load(&encoders().join("t5.safetensors"), Role::T5, Precision::Fp32, Offload::Nothing, LoadedT5::load).unwrap();
    for id in [2000i64, -1] {
        let error = t5.model.forward(&t5.residency, &Tensor::from_slice(&[5, id]).unsqueeze(0)).unwrap_err().to_string();
        assert!(error.contains(&format!("the t5 knows 2000 tokens, and token {id} is none of them")), "{error}");
    }
}

#[test]
fn an_encoder_that_is_cut_off_while_it_is_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t5.safetensors");
    std::fs::copy(encoders().join("t5.safetensors"), &path).unwrap();
    let t5 = load(&path, Role::T5, Precision::Fp32, Offload::Nothing, LoadedT5::load).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(9000).unwrap();
    let error = t5.model.forward(&t5.residency, &golden("t5.tokens")).unwrap_err().to_string();
    assert!(error.contains("shorter"), "{error}");
}
