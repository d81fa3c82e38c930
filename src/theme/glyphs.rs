//! The characters of bars, lines and graphs: one set for terminals with Unicode, one for all others.

use serde::Deserialize;

/// Which set a theme asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GlyphChoice {
    /// Unicode where the terminal can show it.
    #[default]
    Auto,
    /// Unicode.
    Unicode,
    /// Only ASCII.
    Ascii,
}

impl GlyphChoice {
    /// Returns the set to draw with.
    #[must_use]
    pub fn resolve(self, terminal_has_unicode: bool) -> &'static Glyphs {
        match self {
            Self::Unicode => &UNICODE,
            Self::Ascii => &ASCII,
            Self::Auto => {
                if terminal_has_unicode {
                    &UNICODE
                } else {
                    &ASCII
                }
            }
        }
    }
}

/// Corners and sides of a box.
#[derive(Debug, PartialEq, Eq)]
pub struct BoxGlyphs {
    /// ─
    pub horizontal: &'static str,
    /// │
    pub vertical: &'static str,
    /// Top left, top right, bottom left, bottom right.
    pub corners: [&'static str; 4],
}

/// The parts of a memory bar. Each differs from the others without colour.
#[derive(Debug, PartialEq, Eq)]
pub struct MemoryGlyphs {
    /// Weights.
    pub weights: &'static str,
    /// Weights held for another device.
    pub donated: &'static str,
    /// Activations.
    pub activation: &'static str,
    /// Others.
    pub other: &'static str,
    /// Free.
    pub free: &'static str,
}

/// One set of characters.
#[derive(Debug, PartialEq, Eq)]
pub struct Glyphs {
    /// Whether it is the plain set.
    pub ascii: bool,
    /// Boxes.
    pub lines: BoxGlyphs,
    /// Parts of a memory bar.
    pub memory: MemoryGlyphs,
    /// Full and empty part of a bar.
    pub bar: [&'static str; 2],
    /// Heights of a column of a graph, from empty to full.
    pub levels: [&'static str; 9],
    /// Stands where text was cut off.
    pub ellipsis: &'static str,
    /// Opens a list of choices.
    pub choices: &'static str,
    /// Marks a row.
    pub marked: &'static str,
    /// From … to.
    pub arrow: &'static str,
    /// Between two short facts.
    pub dot: &'static str,
}

/// For terminals that show Unicode.
pub static UNICODE: Glyphs = Glyphs {
    ascii: false,
    lines: BoxGlyphs { horizontal: "─", vertical: "│", corners: ["┌", "┐", "└", "┘"] },
    memory: MemoryGlyphs { weights: "█", donated: "▓", activation: "▒", other: "░", free: "·" },
    bar: ["█", "·"],
    levels: [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    ellipsis: "…",
    choices: "▾",
    marked: "•",
    arrow: "→",
    dot: "·",
};

/// For consoles and locales without Unicode.
pub static ASCII: Glyphs = Glyphs {
    ascii: true,
    lines: BoxGlyphs { horizontal: "-", vertical: "|", corners: ["+", "+", "+", "+"] },
    memory: MemoryGlyphs { weights: "W", donated: "D", activation: "A", other: "o", free: "." },
    bar: ["#", "."],
    levels: [" ", "_", ".", "-", "~", "=", "+", "*", "#"],
    ellipsis: "~",
    choices: "v",
    marked: "*",
    arrow: ">",
    dot: "-",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_set_is_plain() {
        let MemoryGlyphs { weights, donated, activation, other, free } = &ASCII.memory;
        let memory = [weights, donated, activation, other, free];
        for glyph in ASCII.levels.iter().chain(&ASCII.bar).chain(&ASCII.lines.corners).chain(memory) {
            assert!(glyph.is_ascii(), "{glyph}");
        }
        assert!(ASCII.ellipsis.is_ascii() && ASCII.arrow.is_ascii() && ASCII.choices.is_ascii() && ASCII.dot.is_ascii());
    }

    #[test]
    fn parts_of_a_memory_bar_differ() {
        for set in [&UNICODE, &ASCII] {
            let MemoryGlyphs { weights, donated, activation, other, free } = &set.memory;
            let distinct: std::collections::BTreeSet<_> = [weights, donated, activation, other, free].into();
            assert_eq!(distinct.len(), 5);
        }
    }

    #[test]
    fn auto_looks_at_the_terminal() {
        assert!(GlyphChoice::Auto.resolve(false).ascii);
        assert!(!GlyphChoice::Auto.resolve(true).ascii);
        assert!(GlyphChoice::Ascii.resolve(true).ascii);
    }
}
