//! ComfyUI's `extra_model_paths.yaml`, read as ComfyUI reads it (`utils/extra_config.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::scan::FolderKind;

/// Returns the folders that the file adds, in its order. `home` stands for a leading `~`.
pub fn parse(text: &str, beside: &Path, home: Option<&Path>) -> Result<Vec<(FolderKind, PathBuf)>, serde_yaml::Error> {
    let sections: BTreeMap<String, Value> = serde_yaml::from_str::<Option<_>>(text)?.unwrap_or_default();
    let mut folders = Vec::new();
    for section in sections.values().filter_map(Value::as_mapping) {
        let base = section.get("base_path").and_then(Value::as_str).map(|b| anchor(&expand(b, home), beside));
        for (key, value) in section {
            let Some(kind) = key.as_str().and_then(FolderKind::from_name) else { continue };
            // One path a line; ComfyUI skips empty lines.
            for line in value.as_str().unwrap_or_default().lines().map(str::trim).filter(|l| !l.is_empty()) {
                folders.push((kind, anchor(&expand(line, home), base.as_deref().unwrap_or(beside))));
            }
        }
    }
    Ok(folders)
}

fn expand(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(path),
    }
}

fn anchor(path: &Path, base: &Path) -> PathBuf {
    base.join(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_comfyui_s_own_example() {
        let text = "
comfyui:
    base_path: /srv/comfy/
    is_default: true
    checkpoints: models/checkpoints/
    text_encoders: |
        models/text_encoders/
        models/clip/  # legacy location still supported
    custom_nodes: custom_nodes/
a111:
    base_path: ~/webui
    vae: models/VAE
";
        // The comment above is part of a block scalar in YAML, as ComfyUI would read it too, so the example without it:
        let text = text.replace("  # legacy location still supported", "");
        let folders = parse(&text, Path::new("/etc"), Some(Path::new("/home/ana"))).unwrap();
        let shown: Vec<_> = folders.iter().map(|(k, p)| format!("{} {}", k.name(), p.display())).collect();
        assert_eq!(
            shown,
            [
                "vae /home/ana/webui/models/VAE",
                "checkpoints /srv/comfy/models/checkpoints/",
                "text_encoders /srv/comfy/models/text_encoders/",
                "text_encoders /srv/comfy/models/clip/",
            ]
        );
    }

    #[test]
    fn an_empty_file_adds_nothing_and_a_broken_one_says_where() {
        assert_eq!(parse("", Path::new("/"), None).unwrap(), []);
        assert!(parse("a: [", Path::new("/"), None).unwrap_err().to_string().contains("line"));
    }

    proptest! {
        #[test]
        fn any_text_adds_folders_or_is_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "comfyui", "base_path", "checkpoints", "vae", "~/", "/a", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "> ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "1e99", "\u{0}", "é",
        ]), 0..30)) {
            if let Ok(folders) = parse(&parts.concat(), Path::new("/etc"), Some(Path::new("/home/ana"))) {
                prop_assert!(folders.iter().all(|(_, path)| path.is_absolute()));
            }
        }

        #[test]
        fn what_is_written_is_read(paths in prop::collection::vec("[a-z/]{1,12}", 1..5)) {
            let text = serde_yaml::to_string(&BTreeMap::from([("here", BTreeMap::from([("vae", paths.join("\n"))]))])).unwrap();
            let expected: Vec<_> = paths.iter().map(|p| (FolderKind::Vae, Path::new("/etc").join(p))).collect();
            prop_assert_eq!(parse(&text, Path::new("/etc"), None).unwrap(), expected);
        }
    }
}
