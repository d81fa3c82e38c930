//! How one role looks: colours, modifiers, and a mark for those who see no colours.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::Color;

/// A way of writing besides colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Modifier {
    /// Bold.
    Bold,
    /// Faint.
    Dim,
    /// Slanted.
    Italic,
    /// With a line below.
    Underlined,
    /// Foreground and background exchanged.
    Reversed,
}

impl Modifier {
    /// Every modifier.
    pub const ALL: &[Self] = &[Self::Bold, Self::Dim, Self::Italic, Self::Underlined, Self::Reversed];
}

/// A set of [`Modifier`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Modifiers(u8);

impl Modifiers {
    /// Returns whether this one is in the set.
    #[must_use]
    pub fn has(self, modifier: Modifier) -> bool {
        self.0 & (1 << modifier as u8) != 0
    }
}

impl FromIterator<Modifier> for Modifiers {
    fn from_iter<I: IntoIterator<Item = Modifier>>(all: I) -> Self {
        Self(all.into_iter().fold(0, |bits, m| bits | (1 << m as u8)))
    }
}

/// How one role looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Style {
    /// Colour of the text.
    pub fg: Color,
    /// Colour behind it.
    pub bg: Color,
    /// Modifiers.
    pub modifiers: Modifiers,
    /// What is written beside the value, so that the meaning is not in the colour alone.
    pub mark: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AsWritten {
    #[serde(default)]
    fg: Color,
    #[serde(default)]
    bg: Color,
    #[serde(default, rename = "mod")]
    modifiers: Vec<Modifier>,
    #[serde(default)]
    mark: String,
}

impl<'de> Deserialize<'de> for Style {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ColorOrMap;
        impl<'de> Visitor<'de> for ColorOrMap {
            type Value = Style;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a colour, or a map with fg, bg, mod and mark")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Style, E> {
                Ok(Style { fg: text.parse().map_err(E::custom)?, ..Style::default() })
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Style, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Style, A::Error> {
                let AsWritten { fg, bg, modifiers, mark } = AsWritten::deserialize(MapAccessDeserializer::new(map))?;
                if mark.chars().count() > 2 || mark.chars().any(char::is_control) {
                    return Err(de::Error::custom(format!("the mark `{}` is longer than two characters", mark.escape_debug())));
                }
                Ok(Style { fg, bg, modifiers: modifiers.into_iter().collect(), mark })
            }
        }
        from.deserialize_any(ColorOrMap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_style_is_a_colour_or_a_map() {
        let short: Style = serde_yaml::from_str("cyan").unwrap();
        let long: Style = serde_yaml::from_str("{fg: cyan}").unwrap();
        assert_eq!(short, long);
        let marked: Style = serde_yaml::from_str("{fg: 214, mod: [bold, reversed], mark: '!'}").unwrap();
        assert_eq!((marked.fg, marked.mark.as_str()), (Color::Indexed(214), "!"));
        assert!(marked.modifiers.has(Modifier::Bold) && marked.modifiers.has(Modifier::Reversed) && !marked.modifiers.has(Modifier::Dim));
    }

    #[test]
    fn unknown_keys_and_long_marks_are_errors() {
        for bad in ["{fg: cyan, blink: true}", "{mod: [blinking]}", "{mark: '!!!'}", "{mark: \"\\e[\"}", "[cyan]"] {
            assert!(serde_yaml::from_str::<Style>(bad).is_err(), "{bad}");
        }
    }
}
