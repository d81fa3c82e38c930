//! The diffusion transformers, from every layout of the same weights.

use std::path::{Path, PathBuf};

use perilune::engine::EngineError;
use perilune::engine::cancel::CancelFlag;
use perilune::engine::device::{Compute, kind};
use perilune::engine::loading::assemble::Target;
use perilune::engine::loading::{LoadedTransformer, Offload};
use perilune::engine::models::transformer::Conditions;
use perilune::engine::nn::WeightRef;
use perilune::engine::nn::wide::stream;
use perilune::families::{Family, Role, describe};
use perilune::library::open;
use perilune::units::DeviceId;
use perilune::weights::Precision;
use tch::{Kind, Tensor};

use crate::fixture::{close, of, tensor, tensor_if_there};

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
        Family::ZImage => &[("split.safetensors", &["a", "b", "c"], "base-or-turbo")],
        Family::Sd15 | Family::Sd2 | Family::Sdxl | Family::SdxlRefiner => &[],
    }
}

const FAMILIES: [Family; 3] = [Family::Flux, Family::Sd3, Family::ZImage];

pub(crate) fn load(path: &Path, precision: Precision, offload: Offload<'_>) -> Result<LoadedTransformer, EngineError> {
    let description = describe(&open(path, None).unwrap()).unwrap();
    let files: Vec<PathBuf> = description.components.into_iter().find(|c| c.role == Role::Denoiser).unwrap().files;
    let compute = Compute::open(DeviceId::Cpu, None).unwrap();
    tch::no_grad(|| LoadedTransformer::load(&files, Target { compute: &compute, precision, cancel: &CancelFlag::default(), offload }))
}

fn resident(path: &Path, precision: Precision) -> LoadedTransformer {
    load(path, precision, Offload::Nothing).unwrap()
}

/// What a network makes of the inputs of a case, in its own time or in another.
pub(crate) fn output(network: &LoadedTransformer, family: Family, case: &str, time: Option<f64>, kind: Kind) -> Tensor {
    let golden = of(family).join("golden.safetensors");
    let input = |name: &str| tensor_if_there(&golden, &format!("{case}.{name}"));
    let number = |name: &str| input(name).map(|t| t.double_value(&[0]));
    let (x, context) = (input("x").unwrap().to_kind(kind), input("context").unwrap());
    let pooled = input("pooled");
    let given = Conditions { context: &context, pooled: pooled.as_ref(), guidance: number("guidance") };
    let time = time.or_else(|| number("time")).unwrap();
    tch::no_grad(|| network.model.forward(&network.residency, &x, time, &given)).unwrap()
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
            let (ours, others) = (reference.residency.table(), network.residency.table());
            assert_eq!(ours.names().count(), others.names().count(), "{family}, {layout}");
            for (name, slot) in ours.names() {
                let other = others.slot(name).unwrap_or_else(|| panic!("{family}, {layout} has no {name}"));
                let weight = |network: &LoadedTransformer, at| {
                    let at = WeightRef(at);
                    network.residency.acquire(at.0.block).unwrap().tensor(at).shallow_clone()
                };
                assert!(weight(&reference, slot) == weight(&network, other), "{family}: {name} in {layout}");
            }
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
