//! The beginning of a GGUF file: what is planned, as a header's values.

use crate::formats::gguf::{ORIGINAL_SHAPE, original_shape};
use crate::formats::gguf_value::Value;
use crate::quant::Mix;
use crate::quant::comfy_gguf::{Plan, QUANTIZATION_VERSION};

/// Returns the header's values in the order of ComfyUI-GGUF's tools: the three of its own, recorded shapes, and what `kept`
/// holds beside them, which are the values of a GGUF source.
#[must_use]
pub fn values(plan: &Plan, kept: &[(String, Value)]) -> Vec<(String, Value)> {
    let mut values = own(Some(plan.architecture.name()), plan.file_type);
    values.extend(plan.original_shapes.iter().map(|(name, shape)| original_shape(name, shape)));
    let ours = |key: &str| key == "general.alignment" || key.starts_with(ORIGINAL_SHAPE) || values.iter().take(3).any(|(k, _)| k == key);
    let others: Vec<_> = kept.iter().filter(|(key, _)| !ours(key)).cloned().collect();
    values.extend(others);
    values
}

/// Returns the values of a file that records no shapes; `architecture` where there is a name that its readers know.
#[must_use]
pub fn values_of(architecture: Option<&str>, mix: Mix, others: &[(String, Value)]) -> Vec<(String, Value)> {
    let mut values = own(architecture, mix.file_type());
    values.extend_from_slice(others);
    values
}

fn own(architecture: Option<&str>, file_type: u32) -> Vec<(String, Value)> {
    let architecture = architecture.map(|name| ("general.architecture".to_owned(), Value::Text(name.to_owned())));
    let numbers = [("general.quantization_version", QUANTIZATION_VERSION), ("general.file_type", file_type)];
    let numbers = numbers.map(|(key, number)| (key.to_owned(), Value::U32(number)));
    architecture.into_iter().chain(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::gguf::{NewTensor, layout, parse};
    use crate::quant::comfy_gguf::{Given, plan};
    use crate::weights::{DType, Shape};

    #[test]
    fn a_planned_file_is_read_under_its_own_shapes() {
        let given = |name: &str, shape: &[u64]| Given { name: name.to_owned(), dtype: DType::F16, shape: Shape(shape.to_vec()) };
        let conv = given("output_blocks.5.2.conv.weight", &[64, 64, 3, 3]);
        let plan = plan(&[given("label_emb.0.0.weight", &[16, 16]), conv.clone()], Mix::Q4_K_S, None).unwrap();
        let kept = [
            ("general.name".to_owned(), Value::Text("night".to_owned())),
            ("general.file_type".to_owned(), Value::U32(1)),
            ("general.alignment".to_owned(), Value::U32(64)),
        ];
        let tensors: Vec<NewTensor> =
            plan.tensors.iter().map(|t| NewTensor { name: t.name.clone(), dtype: t.dtype, shape: t.shape.clone() }).collect();
        let file = layout(&values(&plan, &kept), &tensors).unwrap();
        let header = parse(&file.header, file.length).unwrap();
        let keys: Vec<&str> = header.values.iter().map(|(k, _)| k.as_str()).collect();
        assert_eq!(
            keys,
            [
                "general.architecture",
                "general.quantization_version",
                "general.file_type",
                "comfy.gguf.orig_shape.output_blocks.5.2.conv.weight",
                "general.name"
            ]
        );
        assert_eq!(header.value("general.file_type"), Some(&Value::U32(14)));
        let entry = header.catalog.get(&conv.name).unwrap();
        assert_eq!((&entry.shape, entry.dtype, entry.start), (&conv.shape, DType::Q4_K, file.starts[1]));
    }
}
