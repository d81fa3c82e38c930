//! Theme files: YAML text in, [`Theme`] out.

use serde::Deserialize;

use super::role::Written;
use super::{Background, GlyphChoice, Role, Theme};
use crate::units::{SaidThresholds, ThresholdsError};

/// Why a text is no theme.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThemeError {
    /// Not YAML, or a key or value that themes do not have.
    #[error("theme `{theme}` cannot be read: {reason}")]
    Unreadable {
        /// What the theme is called.
        theme: String,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// Written for another version of this program.
    #[error("theme `{theme}` has schema {found}; this version reads schema 1")]
    Schema {
        /// What the theme is called.
        theme: String,
        /// Its schema.
        found: u32,
    },
    /// The theme that it builds on is not known.
    #[error("theme `{theme}` extends `{base}`, which is not known")]
    NoBase {
        /// What the theme is called.
        theme: String,
        /// What it builds on.
        base: String,
    },
    /// A device's key is none of `cuda0`, `amd0`, `sim0`, `cpu`, `disk`.
    #[error("theme `{theme}` names a device `{device}`; write cuda0, amd0, sim0, cpu or disk")]
    Device {
        /// What the theme is called.
        theme: String,
        /// The key.
        device: String,
    },
    /// Thresholds that no value could lie between.
    #[error("theme `{theme}`: {problem}")]
    Thresholds {
        /// What the theme is called.
        theme: String,
        /// What is wrong with them.
        problem: ThresholdsError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema: u32,
    name: String,
    #[serde(default)]
    extends: Option<String>,
    #[serde(default)]
    background: Option<Background>,
    #[serde(default)]
    glyphs: Option<GlyphChoice>,
    #[serde(default)]
    roles: Written,
    #[serde(default)]
    thresholds: SaidThresholds,
}

/// Reads a theme. `known` finds the theme that it extends.
pub fn parse(source: &str, text: &str, known: impl Fn(&str) -> Option<Theme>) -> Result<Theme, ThemeError> {
    let unreadable = |e: serde_yaml::Error| ThemeError::Unreadable { theme: source.to_owned(), reason: e.to_string() };
    let mut file: File = serde_yaml::from_str(text).map_err(unreadable)?;
    if file.schema != 1 {
        return Err(ThemeError::Schema { theme: file.name, found: file.schema });
    }
    let mut theme = match file.extends {
        None => Theme::plain(),
        Some(base) => known(&base).ok_or_else(|| ThemeError::NoBase { theme: file.name.clone(), base })?,
    };
    for role in Role::ALL {
        if let Some(style) = file.roles.take(*role) {
            theme.set(*role, style);
        }
    }
    for (key, color) in std::mem::take(&mut file.roles.devices) {
        if !is_device(&key) {
            return Err(ThemeError::Device { theme: file.name, device: key });
        }
        theme.set_device(key, color);
    }
    theme.name = file.name;
    theme.background = file.background.unwrap_or(theme.background);
    theme.glyphs = file.glyphs.unwrap_or(theme.glyphs);
    let said = file.thresholds.checked().map_err(|problem| ThemeError::Thresholds { theme: theme.name.clone(), problem })?;
    theme.thresholds = theme.thresholds.with(said);
    Ok(theme)
}

fn is_device(key: &str) -> bool {
    let numbered = ["cuda", "amd", "sim"].iter().filter_map(|kind| key.strip_prefix(kind));
    matches!(key, "cpu" | "disk") || numbered.into_iter().any(|n| n.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::theme::{Color, Named, Style};
    use crate::units::DeviceId;

    fn base(name: &str) -> Option<Theme> {
        let mut theme = Theme::plain();
        theme.set(Role::Ok, Style { fg: Color::Named(Named::Green), ..Style::default() });
        theme.set(Role::Warn, Style { fg: Color::Named(Named::Yellow), ..Style::default() });
        (name == "dark").then_some(theme)
    }

    #[test]
    fn a_theme_changes_what_it_names_and_keeps_the_rest_of_its_base() {
        let text = "schema: 1\nname: slate\nextends: dark\nglyphs: ascii\nroles:\n  warn: {fg: 214, mark: '!'}\n  devices: {cuda0: cyan}\nthresholds: {temp: [70, 85]}\n";
        let theme = parse("slate.yaml", text, base).unwrap();
        assert_eq!(theme.style(Role::Ok).fg, Color::Named(Named::Green));
        assert_eq!(theme.style(Role::Warn).fg, Color::Indexed(214));
        assert_eq!(theme.device(DeviceId::Cuda(0)), Color::Named(Named::Cyan));
        assert_eq!((theme.glyphs, theme.thresholds.temp, theme.thresholds.mem), (GlyphChoice::Ascii, [70.0, 85.0], [0.90, 0.97]));
    }

    #[test]
    fn says_what_is_wrong_with_a_theme() {
        let check = |text: &str, expected: &str| {
            let error = parse("mine.yaml", text, base).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("schema: 2\nname: x\n", "has schema 2; this version reads schema 1");
        check("schema: 1\nname: x\nextends: dusk\n", "extends `dusk`, which is not known");
        check("schema: 1\nname: x\nroles: {warning: red}\n", "unknown field `warning`");
        check("schema: 1\nname: x\nroles: {warn: mauve}\n", "`mauve` is not a colour");
        check("schema: 1\nname: x\nroles: {devices: {gpu0: red}}\n", "names a device `gpu0`");
        check("schema: 1\nname: x\nthresholds: {mem: [90, 97]}\n", "theme `x`: mem of thresholds: 90 is no share");
        check("schema: 1\nname: x\nthresholds: {heat: [1, 2]}\n", "unknown field `heat`");
        check("schema: 1\nname: x\nfont: big\n", "unknown field `font`");
        check("schema: 1\n", "missing field `name`");
        check("\t- no", "mine.yaml");
    }

    proptest! {
        #[test]
        fn any_text_is_a_theme_or_refused(parts in prop::collection::vec(prop::sample::select(vec![
            "schema: 1\nname: x\n", "extends: dark\n", "roles", "warn", "fg", "#12345", "214", "red", "devices", "cuda0", "thresholds",
            "temp", "glyphs: ascii\n", "mark", "\n", "\n  ", "\t", ": ", ":", "- ", "[", "]", "{", "}", ", ", "&a ", "*a", "!!int ", "| ", "> ", "'", "\"", "# ", "---\n", "? ", "~", "-1", ".nan", "1e99", "\u{0}", "é",
        ]), 0..30)) {
            drop(parse("mine.yaml", &parts.concat(), base));
        }
    }
}
