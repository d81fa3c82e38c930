//! `*.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::FormatError;

/// The shards of one component, by file name, in order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIndex {
    /// Tensor name to the index of its shard in [`files`](Self::files).
    pub home: BTreeMap<String, usize>,
    /// File names beside the index.
    pub files: Vec<String>,
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: BTreeMap<String, String>,
}

/// Returns the index written in `json`. File names are untrusted: each must lie beside the index.
pub fn parse(json: &[u8]) -> Result<ShardIndex, FormatError> {
    let raw: RawIndex = serde_json::from_slice(json).map_err(|e| FormatError::BadIndex { reason: e.to_string() })?;
    let names: BTreeSet<&String> = raw.weight_map.values().collect();
    for name in &names {
        let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name.as_str() != ".." && name.as_str() != ".";
        if !plain {
            return Err(FormatError::ShardOutside { file: (*name).clone() });
        }
    }
    let files: Vec<String> = names.into_iter().cloned().collect();
    if files.is_empty() {
        return Err(FormatError::BadIndex { reason: "its weight_map is empty".to_owned() });
    }
    let home = raw.weight_map.iter().filter_map(|(tensor, file)| Some((tensor.clone(), files.binary_search(file).ok()?))).collect();
    Ok(ShardIndex { home, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_each_shard_once() {
        let index =
            parse(br#"{"metadata":{"total_size":9},"weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors","c":"m-2.safetensors"}}"#)
                .unwrap();
        assert_eq!(index.files, ["m-1.safetensors", "m-2.safetensors"]);
        assert_eq!(index.home["a"], 1);
        assert_eq!(index.home["b"], 0);
    }

    #[test]
    fn refuses_files_outside_the_folder() {
        for name in ["../secret", "/etc/passwd", "a/b.safetensors", "..", ""] {
            let json = format!(r#"{{"weight_map":{{"a":"{name}"}}}}"#);
            assert_eq!(parse(json.as_bytes()), Err(FormatError::ShardOutside { file: name.to_owned() }));
        }
        assert!(matches!(parse(br#"{"weight_map":{}}"#), Err(FormatError::BadIndex { .. })));
        assert!(matches!(parse(b"[]"), Err(FormatError::BadIndex { .. })));
    }
}
