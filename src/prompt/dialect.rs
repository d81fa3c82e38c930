//! The ways in which people write emphasis, and the ways in which it is applied.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A syntax of prompts. It goes into a picture's parameters, since the same text gives another picture.
///
/// | text | [`A1111`](Self::A1111) | [`Comfy`](Self::Comfy) |
/// |---|---|---|
/// | `(x)` | × 1.1 | × 1.1 |
/// | `(x:1.3)` | × 1.3 | = 1.3, whatever is around it |
/// | `[x]` | ÷ 1.1 | text |
/// | `\(` `\)` | brackets as text | brackets as text |
/// | `\[` `\]` `\\` | the character as text | text |
/// | `BREAK` | starts a new window | text |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// That of Stable Diffusion web UI and its forks, without scheduling (`[a:b:0.5]`), alternation
    /// (`[a|b]`) and `AND`.
    #[default]
    A1111,
    /// That of ComfyUI.
    Comfy,
}

/// How weights change what the text encoder made of a window. The arithmetic is the engine's; with `z`
/// the encoder's output for a token, `e` its output for an empty prompt at the same place and `w` the
/// token's weight:
///
/// | | |
/// |---|---|
/// | [`Interpolate`](Self::Interpolate) | `e + w·(z − e)`, only where a prompt has any weight but 1 |
/// | [`Original`](Self::Original) | `w·z`, then the whole window times `mean(z) / mean(w·z)` |
///
/// Either way the pooled output is not weighted and comes from the first window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// ComfyUI's: away from the empty prompt, or towards it.
    #[default]
    Interpolate,
    /// A1111's: scaled, and the mean of the window restored.
    Original,
}

/// Why a text names no dialect or weighting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialectError {
    /// No dialect has this name.
    #[error("`{text}` is not a prompt dialect; use a1111 or comfy")]
    UnknownDialect {
        /// What was typed.
        text: String,
    },
    /// No weighting has this name.
    #[error("`{text}` is not a weighting of prompts; use interpolate or original")]
    UnknownWeighting {
        /// What was typed.
        text: String,
    },
}

impl Dialect {
    /// Every dialect, the default first.
    pub const ALL: &[Self] = &[Self::A1111, Self::Comfy];

    /// Returns the name used in flags, files and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::Comfy => "comfy",
        }
    }
}

impl Weighting {
    /// Every weighting, the default first.
    pub const ALL: &[Self] = &[Self::Interpolate, Self::Original];

    /// Returns the name used in flags, files and JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Interpolate => "interpolate",
            Self::Original => "original",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Weighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dialect {
    type Err = DialectError;

    fn from_str(text: &str) -> Result<Self, DialectError> {
        let found = Self::ALL.iter().copied().find(|d| d.name() == text);
        found.ok_or_else(|| DialectError::UnknownDialect { text: text.to_owned() })
    }
}

impl FromStr for Weighting {
    type Err = DialectError;

    fn from_str(text: &str) -> Result<Self, DialectError> {
        let found = Self::ALL.iter().copied().find(|w| w.name() == text);
        found.ok_or_else(|| DialectError::UnknownWeighting { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_are_those_of_json() {
        for dialect in Dialect::ALL {
            assert_eq!(dialect.name().parse(), Ok(*dialect));
            assert_eq!(serde_json::to_string(dialect).unwrap(), format!("\"{dialect}\""));
        }
        for weighting in Weighting::ALL {
            assert_eq!(weighting.name().parse(), Ok(*weighting));
            assert_eq!(serde_json::to_string(weighting).unwrap(), format!("\"{weighting}\""));
        }
        assert_eq!(
            "forge".parse::<Dialect>().map_err(|e| e.to_string()),
            Err("`forge` is not a prompt dialect; use a1111 or comfy".to_owned())
        );
    }
}
