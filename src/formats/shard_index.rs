//! `*.safetensors.index.json`: which shard holds which tensor.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::FormatError;
use super::error::shown;

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
    let raw: RawIndex = serde_json::from_slice(json).map_err(|e| FormatError::BadIndex { reason: shown(&e.to_string()) })?;
    let names: BTreeSet<&String> = raw.weight_map.values().collect();
    for name in &names {
        let plain = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name.as_str() != ".." && name.as_str() != ".";
        if !plain {
            return Err(FormatError::ShardOutside { file: shown(name) });
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
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn any_bytes_are_an_index_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse(&bytes));
        }

        #[test]
        fn any_json_like_text_is_an_index_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"weight_map\"", "\"a\"", "\"m.safetensors\"", "\"..\"", "null", "1e99", "\"\\u0000\"",
        ]), 0..40)) {
            if let Ok(index) = parse(parts.concat().as_bytes()) {
                prop_assert!(index.home.values().all(|shard| *shard < index.files.len()));
            }
        }

        #[test]
        fn what_is_written_is_read(map in prop::collection::btree_map("[a-z.0-9]{1,12}", "m-[0-9]\\.safetensors", 1..20)) {
            let index = parse(serde_json::json!({"weight_map": map}).to_string().as_bytes()).unwrap();
            let read: BTreeMap<String, String> = index.home.iter().map(|(t, shard)| (t.clone(), index.files[*shard].clone())).collect();
            prop_assert_eq!(read, map);
        }
    }
}
