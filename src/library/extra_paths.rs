//! ComfyUI's `extra_model_paths.yaml`, read as ComfyUI reads it (`utils/extra_config.py`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use super::scan::FolderKind;

/// What the file may name without saying it.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What a leading `~` stands for.
    pub home: Option<&'a Path>,
    /// What a variable of the environment says, if it is set.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Returns the folders that the file adds, in its order. Paths are seen from `base_path`, and that from the folder of the file.
pub fn parse(text: &str, beside: &Path, around: Surroundings<'_>) -> Result<Vec<(FolderKind, PathBuf)>, serde_yaml::Error> {
    let sections: BTreeMap<String, Option<BTreeMap<String, Lines>>> = serde_yaml::from_str::<Option<_>>(text)?.unwrap_or_default();
    let mut folders = Vec::new();
    for section in sections.into_values().flatten() {
        let base = section.get("base_path").map(|b| beside.join(of_home(&with_variables(&b.0, around.variable), around.home)));
        for (key, lines) in &section {
            let Some(kind) = FolderKind::from_name(key) else { continue };
            // One path a line; ComfyUI skips empty lines.
            for line in lines.0.lines().map(str::trim).filter(|l| !l.is_empty()) {
                folders.push((kind, base.as_deref().unwrap_or(beside).join(of_home(line, around.home))));
            }
        }
    }
    Ok(folders)
}

/// What stands behind a key: paths, one a line. Switches are kept as they are written, and nobody looks at them.
struct Lines(String);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("paths, one a line behind `|`")
            }

            fn visit_str<E>(self, text: &str) -> Result<Lines, E> {
                Ok(Lines(text.to_owned()))
            }

            fn visit_bool<E>(self, is: bool) -> Result<Lines, E> {
                Ok(Lines(is.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Lines, E> {
                Ok(Lines(number.to_string()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Lines, E> {
                Ok(Lines(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Lines, E> {
                Ok(Lines(number.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Lines, E> {
                Ok(Lines(String::new()))
            }
        }
        from.deserialize_any(Scalar)
    }
}

fn of_home(path: &str, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// Returns a text with `$NAME` and `${NAME}` replaced, as Python's `os.path.expandvars` does: what is not set stays as it is.
fn with_variables(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> String {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('$') {
        done.push_str(before);
        let braced = behind.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = braced.unwrap_or_else(|| {
            let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len());
            behind.split_at(end)
        });
        match variable(name).filter(|_| !name.is_empty()) {
            Some(value) => done.push_str(&value),
            None => done.push_str(&rest[before.len()..rest.len() - after.len()]),
        }
        rest = after;
    }
    done + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn around() -> Surroundings<'static> {
        let variable = |name: &str| [("DATA", "/data"), ("WHO", "ana")].iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Surroundings { home: Some(Path::new("/home/ana")), variable: Box::leak(Box::new(variable)) }
    }

    #[test]
    fn a_base_path_may_name_home_and_variables() {
        let read = |base: &str| {
            let folders = parse(&format!("comfy:\n  base_path: '{base}'\n  LLM: llm\n"), Path::new("/etc"), around()).unwrap();
            assert_eq!((folders.len(), folders[0].0), (1, FolderKind::TextEncoders));
            folders[0].1.display().to_string()
        };
        for (base, expected) in [
            ("~", "/home/ana/llm"),
            ("~/comfy", "/home/ana/comfy/llm"),
            ("$DATA/comfy", "/data/comfy/llm"),
            ("${DATA}/${WHO}x/$NOBODY", "/data/anax/$NOBODY/llm"),
            ("/srv/${NOBODY}/$", "/srv/${NOBODY}/$/llm"),
            ("models/${WHO", "/etc/models/${WHO/llm"),
        ] {
            assert_eq!(read(base), expected, "{base}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_its_place() {
        for (text, place) in [("comfy:\n  vae: [a, b]\n", "line 2 column 8"), ("comfy: 3\n", "line 1 column 8"), ("- a\n", "")] {
            let error = parse(text, Path::new("/"), around()).unwrap_err().to_string();
            assert!(error.contains(place) && error.contains("invalid type"), "{error}");
        }
    }

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
        let folders = parse(&text, Path::new("/etc"), around()).unwrap();
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
        assert_eq!(parse("", Path::new("/"), around()).unwrap(), []);
        assert!(parse("a: [", Path::new("/"), around()).unwrap_err().to_string().contains("line"));
    }

    proptest! {
        #[test]
        fn any_text_adds_folders_or_is_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "comfyui", "base_path", "checkpoints", "vae", "~/", "/a", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "> ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "1e99", "\u{0}", "é",
        ]), 0..30)) {
            if let Ok(folders) = parse(&parts.concat(), Path::new("/etc"), around()) {
                prop_assert!(folders.iter().all(|(_, path)| path.is_absolute()));
            }
        }

        #[test]
        fn what_is_written_is_read(paths in prop::collection::vec("[a-z/]{1,12}", 1..5)) {
            let text = serde_yaml::to_string(&BTreeMap::from([("here", BTreeMap::from([("vae", paths.join("\n"))]))])).unwrap();
            let expected: Vec<_> = paths.iter().map(|p| (FolderKind::Vae, Path::new("/etc").join(p))).collect();
            prop_assert_eq!(parse(&text, Path::new("/etc"), around()).unwrap(), expected);
        }
    }
}
