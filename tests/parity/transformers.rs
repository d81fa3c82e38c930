//! The diffusion transformers, from every layout of the same weights.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::{Compute, kind};
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedDenoiser, Offload, Vault};
use perilune::engine::models::denoiser::Pass;
use perilune::engine::nn::WeightRef;
use perilune::engine::nn::wide::stream;
use perilune::engine::residency::{Placing, Residency};
use perilune::families::{DenoiserConfig, Family, Role, describe, detect};
use perilune::library::open;
use perilune::quant::Target as Storage;
use perilune::units::{Bytes, DeviceId};
use perilune::weights::{BlockTable, Code, Precision};
use tch::{Kind, Tensor};

use crate::fixture::{close, converted, of, tensor, tensor_if_there};
use crate::networks::check_same_weights;
use crate::offload::{LITTLE, load, outputs, plan};

/// The bar of fp32 on a processor: the tanh in place of the error function in an activation shows as 1.5e-5.
const FP32: f64 = 1e-5;
/// Sums in another order.
const REORDERED: f64 = 4e-6;

/// Networks of a family, each in a file of its own, and what its golden outputs are called.
fn networks(family: Family) -> &'static [(&'static str, &'static [&'static str], &'static str)] {
    match family {
        Family::Flux => &[
            ("split.safetensors", &["a", "b"], "dev"),
            ("schnell.safetensors", &["schnell"], "schnell"),
            ("fill.safetensors", &["fill"], "fill"),
        ],
        Family::Sd3 => &[
            ("split.safetensors", &["a", "b"], "3.5-medium"),
            ("medium.safetensors", &["medium"], "medium"),
            ("large.safetensors", &["large"], "3.5-large"),
        ],
        Family::ZImage => &[("split.safetensors", &["a", "b", "c"], "turbo")],
        Family::Sd15 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => &[],
    }
}

const FAMILIES: [Family; 3] = [Family::Flux, Family::Sd3, Family::ZImage];

/// The family of a transformer.
pub(crate) fn family_of(config: &DenoiserConfig) -> Option<Family> {
    match config {
        DenoiserConfig::Unet(_) => None,
        DenoiserConfig::Sd3(_) => Some(Family::Sd3),
        DenoiserConfig::Flux(_) => Some(Family::Flux),
        DenoiserConfig::ZImage(_) => Some(Family::ZImage),
    }
}

/// A network of each family in every precision, and one whose weights are used as they are stored in 16 bits.
pub(crate) fn cases() -> impl Iterator<Item = (PathBuf, Precision)> {
    FAMILIES.into_iter().flat_map(|family| {
        let all = Precision::ALL.iter().map(move |precision| (of(family).join("split.safetensors"), *precision));
        all.chain([(of(family).join("split-bf16.safetensors"), Precision::Bf16)])
    })
}

/// The smallest network of each family, in its original layout, and the name that GGUF files have for it.
pub(crate) fn smallest() -> [(PathBuf, &'static str); 3] {
    let file = |family, name: &str| of(family).join(format!("{name}.safetensors"));
    [(file(Family::Flux, "schnell"), "flux"), (file(Family::Sd3, "large"), "sd3"), (file(Family::ZImage, "split"), "lumina2")]
}

/// Parts of joined matrices are expanded to the same bits as the rows of the whole, in whatever it is stored.
pub(crate) fn parts_are_rows_of_the_whole(path: &Path, what: &str) {
    let network = resident(path, Precision::Fp32);
    if family_of(&network.config).is_none() {
        return;
    }
    let source = open(path, None).unwrap().remove(0);
    let named = detect::as_named(&source.catalog, Role::Denoiser).unwrap().unwrap();
    let table = BlockTable::cut(&named, &[], Bytes::ZERO);
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    let target = Target { compute: &compute, precision: Precision::Fp32, cancel: &CancelFlag::default(), offload: Offload::Nothing };
    let placing = Placing::all_resident(DeviceId::Cpu, &table);
    let wholes = Residency::load(Role::Denoiser, table, &Vault::open(&source.files).unwrap(), target, placing).unwrap();
    let weight = |residency: &Residency, name: &str| {
        let slot = residency.table().slot(name).unwrap();
        residency.acquire(slot.block).unwrap().tensor(WeightRef(slot)).shallow_clone()
    };
    let mut parts = 0;
    for (name, _) in network.residency.table().names() {
        let part = network.residency.table().entry(name).unwrap();
        if part.coded.as_ref().is_some_and(|coded| coded.code == Code::Part) {
            continue;
        }
        let whole = named.iter().find(|e| e.start <= part.start && part.end <= e.end).unwrap();
        let (rows, all) = (part.shape.dim(0).unwrap(), whole.shape.dim(0).unwrap());
        let first = (part.start - whole.start) * all / (whole.end - whole.start);
        let expected = weight(&wholes, &whole.name).narrow(0, first as i64, rows as i64);
        assert!(weight(&network.residency, name).flatten(0, -1) == expected.flatten(0, -1), "{what}: {name}");
        parts += u32::from(rows < all);
    }
    assert!(parts > 10, "{what}: {parts} parts of joined matrices");
}

fn resident(path: &Path, precision: Precision) -> LoadedDenoiser {
    load(path, precision, Offload::Nothing).unwrap()
}

/// What a network makes of the inputs of a case, in its own time or in another.
pub(crate) fn output(network: &LoadedDenoiser, family: Family, case: &str, time: Option<f64>, kind: Kind) -> Tensor {
    let golden = of(family).join("golden.safetensors");
    let input = |name: &str| tensor_if_there(&golden, &format!("{case}.{name}"));
    let number = |name: &str| input(name).map(|t| t.double_value(&[0]));
    let (x, context) = (input("x").unwrap().to_kind(kind), input("context").unwrap());
    let pooled = input("pooled");
    let time = time.or_else(|| number("time")).unwrap();
    let pass = Pass { vector: pooled.as_ref(), guidance: number("guidance"), ..Pass::of_text(&x, time, &context) };
    tch::no_grad(|| network.model.forward(&network.residency, pass)).unwrap()
}

fn expected(family: Family, case: &str) -> Tensor {
    tensor(&of(family).join("golden.safetensors"), &format!("{case}.out"))
}

#[test]
fn transformers_in_fp32() {
    for family in FAMILIES {
        for (file, cases, _) in networks(family) {
            let network = resident(&of(family).join(file), Precision::Fp32);
            for case in *cases {
                close(&format!("{family}, {case}"), &output(&network, family, case, None, Kind::Float), &expected(family, case), FP32);
            }
        }
    }
}

#[test]
fn transformers_are_recognised_with_their_variant() {
    for family in FAMILIES {
        for (file, _, variant) in networks(family) {
            let description = describe(&open(&of(family).join(file), None).unwrap()).unwrap();
            assert_eq!((description.family, description.variant.as_deref()), (Some(family), Some(*variant)), "{file}");
        }
    }
}

/// The same weights under other names and in other files are the same numbers, bit for bit.
#[test]
fn transformers_of_every_layout_hold_the_same_weights() {
    for family in FAMILIES {
        let (root, case) = (of(family), "a");
        let reference = resident(&root.join("split.safetensors"), Precision::Fp32);
        let expected = output(&reference, family, case, None, Kind::Float);
        for layout in ["folder".to_owned(), format!("{family}.safetensors")] {
            let network = resident(&root.join(&layout), Precision::Fp32);
            check_same_weights(&reference.residency, &network.residency, &format!("{family}, {layout}"));
            close(&format!("{family}, {layout}"), &output(&network, family, case, None, Kind::Float), &expected, REORDERED);
        }
    }
}

/// 16 bits lose digits, and no more of them than they do in diffusers.
#[test]
fn transformers_in_bf16_are_as_near_as_the_reference() {
    for family in FAMILIES {
        let exact = expected(family, "a");
        let off = |output: &Tensor| {
            let output = output.to_kind(Kind::Float);
            ((output - &exact).norm() / exact.norm()).double_value(&[])
        };
        let theirs = off(&tensor(&of(family).join("golden.safetensors"), "a.bf16"));
        for file in ["split-bf16.safetensors", "split.safetensors"] {
            let network = resident(&of(family).join(file), Precision::Bf16);
            let ours = off(&output(&network, family, "a", None, stream(kind(Precision::Bf16))));
            println!("{family} in bf16, {file}: {ours:.2e} off fp32, diffusers {theirs:.2e}");
            assert!(ours <= theirs, "{family}: {ours:.2e}, diffusers {theirs:.2e}");
        }
        let network = resident(&of(family).join("split-fp16.safetensors"), Precision::Fp16);
        let ours = off(&output(&network, family, "a", None, Kind::Half));
        println!("{family} in fp16: {ours:.2e} off fp32");
        assert!(ours <= theirs / 4.0, "{family} in fp16: {ours:.2e}, diffusers in bf16 {theirs:.2e}");
    }
}

/// Files of stable-diffusion.cpp often say of no architecture that they are of it.
#[test]
fn transformers_of_gguf_files_need_no_architecture() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (model, architecture) in smallest() {
        let path = converted(&model, "Q8_0".parse::<Storage>().unwrap(), folder.path());
        let said = open(&path, None).unwrap().remove(0).catalog.metadata().get("general.architecture").cloned();
        assert_eq!(said.as_deref(), Some(architecture));
        let expected = outputs(&resident(&path, Precision::Fp32), Precision::Fp32);
        let mut bytes = fs::read(&path).unwrap();
        let key = b"general.architecture";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
        bytes[at..at + key.len()].copy_from_slice(b"general.something_el");
        let silent = folder.path().join(format!("{architecture}-silent.gguf"));
        fs::write(&silent, bytes).unwrap();
        let prefixed = outputs(&resident(&silent, Precision::Fp32), Precision::Fp32);
        for (ours, expected) in prefixed.iter().zip(&expected) {
            close(architecture, ours, expected, REORDERED);
        }
    }
}

/// Folders as SDNQ writes them, in which one of SD3's modulations cannot be cut; against what SDNQ itself makes whole of them.
#[test]
fn transformers_of_sdnq_folders() {
    for family in FAMILIES {
        let golden = of(family).join("golden.safetensors");
        for folder in ["sdnq-int8", "sdnq-uint4", "sdnq-int8-svd"] {
            let path = of(family).join(folder);
            let network = resident(&path, Precision::Fp32);
            let ours = output(&network, family, "a", None, Kind::Float);
            close(&format!("{family}, {folder}"), &ours, &tensor(&golden, &format!("a.{folder}")), FP32);
            let plan = plan(network.residency.table(), |n| n % 2 == 1);
            let streamed = load(&path, Precision::Fp32, Offload::Exactly { plan: &plan, staging: LITTLE }).unwrap();
            assert!(output(&streamed, family, "a", None, Kind::Float) == ours, "{family}, {folder}, streamed");
        }
    }
}
