//! Codecs beside torch, bitsandbytes and sdnq: the bytes that they store, and the numbers that they read.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use perilune::quant::floats::{narrow, widen};
use perilune::quant::nf4::Nested;
use perilune::quant::quant_state::{FourBit, QuantState};
use perilune::quant::sdnq::{Groups, Habits};
use perilune::quant::sdnq_reading::{Stored, StoredLowRank};
use perilune::quant::sdnq_type::WeightsType;
use perilune::quant::{int8, nf4, sdnq};
use perilune::weights::DType;
use safetensors::SafeTensors;

use crate::made::made_by;

/// A tensor of the reference.
struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    fn numbers(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.shape.iter().product()];
        widen(self.dtype, &self.bytes, &mut values).unwrap();
        values
    }

    fn columns(&self) -> usize {
        *self.shape.last().unwrap()
    }
}

type Tensors = BTreeMap<String, Tensor>;

fn references() -> &'static Tensors {
    static READ: OnceLock<Tensors> = OnceLock::new();
    READ.get_or_init(|| {
        let bytes = std::fs::read(made_by("quant_plain.py", &["requirements.txt"]).join("quant_plain.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |view: &safetensors::tensor::TensorView<'_>| {
            let name = serde_json::to_string(&view.dtype()).unwrap();
            let dtype = DType::from_name(name.trim_matches('"')).unwrap();
            Tensor { dtype, shape: view.shape().to_vec(), bytes: view.data().to_vec() }
        };
        file.iter().map(|(name, view)| (name.to_owned(), tensor(&view))).collect()
    })
}

/// Every case below a path: the rest of its path, and what lies in it by the last part.
fn cases(below: &str) -> BTreeMap<String, BTreeMap<String, &'static Tensor>> {
    let mut cases: BTreeMap<String, BTreeMap<String, &Tensor>> = BTreeMap::new();
    for (key, tensor) in references() {
        if let Some((case, part)) = key.strip_prefix(below).and_then(|rest| rest.rsplit_once('/')) {
            cases.entry(case.to_owned()).or_default().insert(part.to_owned(), tensor);
        }
    }
    assert!(!cases.is_empty(), "{below}");
    cases
}

fn input(name: &str) -> &'static Tensor {
    &references()[&format!("input/{name}")]
}

/// Compares bits, and says where they differ first.
fn assert_same(what: &str, ours: &[f32], theirs: &[f32]) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan());
    let first = ours.iter().zip(theirs).position(differs);
    let count = ours.iter().zip(theirs).filter(|(a, b)| differs((a, b))).count();
    assert!(first.is_none(), "{what}: {count} of {} differ, {:?}", ours.len(), first.map(|i| (i, ours[i], theirs[i])));
}

#[test]
fn casts_are_those_of_torch() {
    let mut count = 0;
    for (dtype, tensors) in cases("float/") {
        for (name, theirs) in tensors {
            let mut ours = vec![0; theirs.bytes.len()];
            let values = input(&name).numbers();
            narrow(DType::from_name(&dtype).unwrap(), &values, &mut ours).unwrap();
            let first = ours.iter().zip(&theirs.bytes).position(|(a, b)| a != b);
            assert_eq!(first, None, "{dtype} {name}");
            count += 1;
        }
    }
    assert_eq!(count, 4 * 9);
}

#[test]
fn every_pattern_widens_as_in_torch() {
    for (dtype, theirs) in &cases("every")[""] {
        let dtype = DType::from_name(dtype).unwrap();
        let bytes: Vec<u8> = match dtype {
            DType::F16 | DType::Bf16 => (i16::MIN..=i16::MAX).flat_map(i16::to_le_bytes).collect(),
            _ => (0..=u8::MAX).collect(),
        };
        let mut ours = vec![0.0; theirs.shape[0]];
        widen(dtype, &bytes, &mut ours).unwrap();
        assert_same(&dtype.to_string(), &ours, &theirs.numbers());
    }
}

#[test]
fn four_bits_are_those_of_bitsandbytes() {
    for (case, parts) in cases("four/") {
        let (name, block) = case.rsplit('/').next().zip(case.split('/').nth(1)).unwrap();
        let code = if case.starts_with("fp4") { FourBit::Fp4 } else { FourBit::Nf4 };
        let state = QuantState::parse(&parts["quant_state"].bytes, code).unwrap();
        assert_eq!((state.code, state.block.to_string().as_str(), state.dtype), (code, block, DType::F32), "{case}");
        assert_eq!(state.to_json().as_bytes(), parts["quant_state"].bytes, "{case}");
        assert_same(&case, &parts["quant_map"].numbers(), code.codebook());

        let values = input(name).numbers();
        let (packed, numbers) = (&parts["packed"].bytes, parts["numbers"].numbers());
        let mut absmax = vec![0.0; values.len().div_ceil(state.block)];
        if code == FourBit::Nf4 && state.nested.is_none() {
            let mut ours = vec![0; packed.len()];
            nf4::quantise(&values, state.block, &mut ours, &mut absmax).unwrap();
            assert_same(&case, &absmax, &parts["absmax"].numbers());
            let first = ours.iter().zip(packed).position(|(a, b)| a != b);
            assert_eq!(first, None, "{case}");
        } else if let Some(nested) = state.nested {
            let map: [f32; 256] = parts["nested_quant_map"].numbers().try_into().unwrap();
            let scales = parts["nested_absmax"].numbers();
            let codes = &parts["absmax"].bytes;
            Nested { absmax: codes, map: &map, scales: &scales, block: nested.block, offset: nested.offset }.widen(&mut absmax).unwrap();
        } else {
            absmax = parts["absmax"].numbers();
        }
        let mut ours = vec![0.0; values.len()];
        nf4::dequantise(code.codebook(), packed, &absmax, state.block, &mut ours).unwrap();
        assert_same(&case, &ours, &numbers);
    }
}

#[test]
fn int8_is_that_of_bitsandbytes() {
    for (name, parts) in cases("int8/") {
        let width = parts["codes"].columns();
        let scales = parts["scales"].numbers();
        let (mut codes, mut own_scales) = (vec![0; parts["codes"].bytes.len()], vec![0.0; scales.len()]);
        int8::quantise(&input(&name).numbers(), width, &mut codes, &mut own_scales).unwrap();
        assert_same(&name, &own_scales, &scales);
        for (row, (ours, theirs)) in codes.chunks(width).zip(parts["codes"].bytes.chunks(width)).enumerate() {
            // What 0 times infinity becomes there is not defined.
            assert!(ours == theirs || scales[row] <= 0.0, "{name} row {row}");
        }
        let mut numbers = vec![0.0; codes.len()];
        int8::dequantise(&parts["codes"].bytes, &scales, width, &mut numbers).unwrap();
        assert_same(&name, &numbers, &parts["numbers"].numbers());
    }
}

/// The extents of scales, as they are read.
fn extents(tensor: &Tensor) -> Vec<u64> {
    tensor.shape.iter().map(|e| *e as u64).collect()
}

#[test]
fn what_sdnq_writes_we_write() {
    let mut count = 0;
    for (case, parts) in cases("sdnq/").into_iter().filter(|(case, _)| !case.contains("/read_")) {
        let mut path = case.split('/');
        let kind = WeightsType::parse(path.next().unwrap()).unwrap();
        let (layout, name) = (path.next().unwrap(), path.next().unwrap());
        let theirs = parts["scale"].numbers();
        let values = input(name).numbers();
        let group = values.len() / theirs.len();
        let configured = match layout {
            "rows" => -1,
            "auto" => 0,
            size => size.parse().unwrap(),
        };
        let columns = input(name).columns();
        assert_eq!(perilune::quant::sdnq_config::group_of(kind, configured, columns), group, "{case}");
        assert_eq!(Groups::infer(values.len(), &extents(parts["scale"])), Ok(Groups { outer: theirs.len(), group, inner: 1 }));
        assert_eq!(kind.storage(), parts["weight"].dtype, "{case}");

        let mut codes = vec![0; kind.bytes_of(values.len()).unwrap()];
        let (mut scales, mut zeros) = (vec![0.0; theirs.len()], vec![0.0; if kind.signed { 0 } else { theirs.len() }]);
        sdnq::quantise(kind, &values, group, &mut codes, &mut scales, &mut zeros).unwrap();
        assert_same(&case, &scales, &theirs);
        if let Some(zero_point) = parts.get("zero_point") {
            assert_same(&case, &zeros, &zero_point.numbers());
        }
        let first = codes.iter().zip(&parts["weight"].bytes).position(|(a, b)| a != b);
        assert!(first.is_none() && codes.len() == parts["weight"].bytes.len(), "{case} {first:?}");
        count += 1;
    }
    assert!(count > 200, "{count}");
}

#[test]
fn what_sdnq_reads_we_read() {
    for (case, parts) in cases("sdnq/") {
        let kind = WeightsType::parse(case.split('/').next().unwrap()).unwrap();
        let theirs = parts["numbers"];
        let numbers = |name: &str| parts.get(name).map(|tensor| (tensor.numbers(), &tensor.shape));
        let (scale, zero_point) = (parts["scale"].numbers(), numbers("zero_point").map_or_else(Vec::new, |(zeros, _)| zeros));
        let factors = numbers("svd_up").zip(numbers("svd_down"));
        let low_rank = factors.as_ref().map(|((up, up_shape), (down, down_shape))| StoredLowRank {
            up: (up, [up_shape[0], up_shape[1]]),
            down: (down, [down_shape[0], down_shape[1]]),
        });
        let rotated = i32::from_le_bytes(parts["rotated"].bytes.as_slice().try_into().unwrap());
        let stored = Stored {
            kind,
            habits: Habits::CURRENT,
            codes: &parts["weight"].bytes,
            scale: &scale,
            scale_shape: &extents(parts["scale"]),
            zero_point: &zero_point,
            codebook: case.contains("codebook"),
            low_rank,
            for_matmul: case.contains("square"),
            rotated: (rotated > 0).then_some(rotated.unsigned_abs() as usize),
        };
        let mut ours = vec![0.0; theirs.shape.iter().product()];
        stored.read(theirs.shape[1..].iter().product(), &mut ours).unwrap();
        let theirs = theirs.numbers();
        if low_rank.is_some() || rotated > 0 {
            // Sums in another order.
            let largest = theirs.iter().fold(0.0_f32, |most, v| most.max(v.abs()));
            let worst = ours.iter().zip(&theirs).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(worst <= largest * 1e-6, "{case} {worst} of {largest}");
        } else {
            assert_same(&case, &ours, &theirs);
        }
    }
}

#[test]
fn codes_of_floats_stand_for_what_they_do_in_sdnq() {
    for (name, parts) in cases("codes/") {
        let kind = WeightsType::parse(&name).unwrap();
        let theirs = parts["numbers"].numbers();
        let mut ours = vec![0.0; theirs.len()];
        sdnq::widen_codes(kind, Habits::CURRENT, &parts["packed"].bytes, &mut ours).unwrap();
        assert_same(&name, &ours, &theirs);
    }
}
