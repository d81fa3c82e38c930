//! Blocks and files of ggml beside ggml itself and gguf-py.

use std::fs;
use std::path::{Path, PathBuf};

use perilune::conversion::gguf_file::values;
use perilune::formats::gguf::{Header, NewTensor, layout, parse};
use perilune::formats::gguf_value::Value;
use perilune::kernels::ggml::{Instructions, quantise_with};
use perilune::quant::comfy_gguf::{Given, plan};
use perilune::quant::{Mix, ggml};
use perilune::weights::{DType, Shape};
use serde_json::Value as Json;

use crate::conversion::run;
use crate::made::made_by;

const SCRIPT: &str = "quant_gguf.py";

fn references() -> PathBuf {
    made_by(SCRIPT, &[])
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Says which block differs first, so that a failure can be looked into.
fn same_blocks(dtype: DType, ours: &[u8], theirs: &[u8], whose: &str) {
    let size = dtype.block().1 as usize;
    assert_eq!(ours.len(), theirs.len());
    if let Some(at) = ours.chunks(size).zip(theirs.chunks(size)).position(|(a, b)| a != b) {
        panic!("{dtype} block {at}: {:02x?}, {whose} has {:02x?}", &ours[at * size..][..size], &theirs[at * size..][..size]);
    }
}

fn stored(dtype: DType, values: &[f32]) -> Vec<u8> {
    let mut ours = vec![0; dtype.bytes_of(values.len() as u64).unwrap() as usize];
    ggml::quantise(dtype, values, &mut ours).unwrap();
    ours
}

#[test]
fn blocks_are_stored_as_ggml_stores_them() {
    let folder = references();
    let values = floats(&folder.join("values.f32"));
    for dtype in ggml::WRITTEN {
        let theirs = fs::read(folder.join(format!("{dtype}.ggml"))).unwrap();
        same_blocks(*dtype, &stored(*dtype, &values), &theirs, "ggml");
        for instructions in Instructions::ALL {
            let mut ours = vec![0; theirs.len()];
            quantise_with(instructions, *dtype, &values, &mut ours).unwrap();
            same_blocks(*dtype, &ours, &theirs, "ggml");
        }
    }
}

#[test]
fn older_blocks_are_stored_as_gguf_py_stores_them() {
    let folder = references();
    let values = floats(&folder.join("values.f32"));
    for dtype in [DType::Q4_0, DType::Q4_1, DType::Q5_0, DType::Q5_1, DType::Q8_0] {
        same_blocks(dtype, &stored(dtype, &values), &fs::read(folder.join(format!("{dtype}.gguf-py"))).unwrap(), "gguf-py");
    }
}

#[test]
fn blocks_of_every_type_are_read_as_gguf_py_reads_them() {
    let folder = references();
    for dtype in DType::GGML {
        let theirs = floats(&folder.join(format!("{dtype}.f32")));
        let mut ours = vec![f32::NAN; theirs.len()];
        ggml::dequantise(*dtype, &fs::read(folder.join(format!("{dtype}.ggml"))).unwrap(), &mut ours).unwrap();
        let differs = ours.iter().zip(&theirs).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(differs.map(|at| (at, ours[at], theirs[at])), None, "{dtype}");
    }
}

/// Returns a value as gguf-py shows it.
fn json(value: &Value) -> Json {
    match value {
        Value::U8(v) => (*v).into(),
        Value::I8(v) => (*v).into(),
        Value::U16(v) => (*v).into(),
        Value::I16(v) => (*v).into(),
        Value::U32(v) => (*v).into(),
        Value::I32(v) => (*v).into(),
        Value::F32(v) => (*v).into(),
        Value::Bool(v) => (*v).into(),
        Value::Text(v) => v.clone().into(),
        Value::Array(v) => v.i32s().into(),
        Value::U64(v) => (*v).into(),
        Value::I64(v) => (*v).into(),
        Value::F64(v) => (*v).into(),
    }
}

/// Compares a header with what gguf-py reads of the same file; it knows nothing of recorded shapes.
fn same_file(header: &Header, theirs: &Json) {
    let values: Vec<Json> = header.values.iter().map(|(key, value)| Json::from(vec![key.clone().into(), json(value)])).collect();
    let mut read = theirs["values"].as_array().unwrap().clone();
    // Our reader keeps arrays of texts as they are.
    read.iter_mut().filter(|pair| pair[1][0].is_string()).for_each(|pair| pair[1] = Json::Null);
    assert_eq!(values, read);
    let tensors = theirs["tensors"].as_array().unwrap();
    assert_eq!(header.catalog.len(), tensors.len());
    for tensor in tensors {
        let entry = header.catalog.get(tensor["name"].as_str().unwrap()).unwrap();
        assert_eq!((entry.dtype.name(), entry.start), (tensor["type"].as_str().unwrap(), tensor["start"].as_u64().unwrap()));
        assert_eq!(entry.bytes().get(), tensor["bytes"].as_u64().unwrap());
        let recorded = header.value(&format!("comfy.gguf.orig_shape.{}", entry.name)).map(json);
        let shape = recorded.unwrap_or_else(|| tensor["shape"].clone());
        assert_eq!(serde_json::to_value(&entry.shape).unwrap(), shape);
    }
}

#[test]
fn files_of_gguf_py_are_read() {
    let folder = references();
    let bytes = fs::read(folder.join("written.gguf")).unwrap();
    let header = parse(&bytes, bytes.len() as u64).unwrap();
    same_file(&header, &serde_json::from_slice(&fs::read(folder.join("written.json")).unwrap()).unwrap());
    assert_eq!(header.catalog.get("conv.weight").unwrap().shape, Shape::from([8, 4, 2, 4]));
}

/// Returns what gguf-py reads in a file.
fn read_by_gguf_py(path: &Path) -> Json {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    #[expect(clippy::disallowed_methods, reason = "the reference side is a Python script")]
    let mut python = std::process::Command::new(root.join(".venv/bin/python"));
    let done = python.arg(root.join("scripts/parity").join(SCRIPT)).arg("--read").arg(path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[test]
fn files_of_ours_are_read_by_gguf_py() {
    let given = |name: &str, dtype, shape: &[u64]| Given { name: name.to_owned(), dtype, shape: Shape(shape.to_vec()) };
    let tensors = [
        given("label_emb.0.0.weight", DType::F16, &[64, 48]),
        given("input_blocks.1.0.in_layers.2.weight", DType::F16, &[64, 64, 3, 3]),
        given("input_blocks.1.0.in_layers.2.bias", DType::F32, &[64]),
        given("input_blocks.4.1.transformer_blocks.0.attn1.to_v.weight", DType::F16, &[256, 512]),
        given("input_blocks.4.1.transformer_blocks.0.ff.net.2.weight", DType::Bf16, &[64, 500]),
        given("out.2.weight", DType::F32, &[4, 320, 3, 3]),
    ];
    let folder = tempfile::tempdir().unwrap();
    for mix in Mix::ALL {
        let plan = plan(&tensors, *mix, None).unwrap();
        let kept = [("general.name".to_owned(), Value::Text("night".to_owned())), ("x.scale".to_owned(), Value::F64(0.1))];
        let placed = |t: &perilune::quant::comfy_gguf::Chosen| NewTensor { name: t.name.clone(), dtype: t.dtype, shape: t.shape.clone() };
        let new: Vec<NewTensor> = plan.tensors.iter().map(placed).collect();
        let file = layout(&values(&plan, &kept), &new).unwrap();
        let mut bytes = file.header.clone();
        bytes.resize(file.length as usize, 0);
        let path = folder.path().join(format!("{}.gguf", mix.name()));
        fs::write(&path, &bytes).unwrap();
        same_file(&parse(&bytes, file.length).unwrap(), &read_by_gguf_py(&path));
    }
}

#[test]
fn whole_checkpoints_and_encoders_of_clip_are_read_by_gguf_py() {
    let home = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/moonlet/moonlet.safetensors");
    for (part, to) in [("whole", "Q8_0"), ("whole", "Q4_K_M"), ("clip_l", "Q5_0")] {
        run(home.path(), &source, &["--to", to, "--part", part, "-o", "made"]);
        let path = home.path().join(format!("made/moonlet_{part}_{to}.gguf"));
        let bytes = fs::read(&path).unwrap();
        let header = parse(&bytes, bytes.len() as u64).unwrap();
        assert!(header.catalog.iter().any(|entry| DType::GGML.contains(&entry.dtype)));
        same_file(&header, &read_by_gguf_py(&path));
    }
}
