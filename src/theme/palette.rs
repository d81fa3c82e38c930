//! A whole theme: a style for every role.

use serde::Deserialize;

use super::{Color, GlyphChoice, Role, Style};
use crate::units::{DeviceId, Thresholds};

/// The background that a theme's colours are meant for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Background {
    /// Either.
    #[default]
    Any,
    /// A dark one.
    Dark,
    /// A light one.
    Light,
}

/// A theme.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// What it is called.
    pub name: String,
    /// The background it is meant for.
    pub background: Background,
    /// Which characters it draws with.
    pub glyphs: GlyphChoice,
    /// Thresholds.
    pub thresholds: Thresholds,
    styles: Vec<Style>,
    devices: Vec<(String, Color)>,
}

impl Theme {
    /// Returns the theme in which everything looks as the terminal's plain text does.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            name: "plain".to_owned(),
            background: Background::Any,
            glyphs: GlyphChoice::Auto,
            thresholds: Thresholds::DEFAULT,
            styles: vec![Style::default(); Role::ALL.len()],
            devices: Vec::new(),
        }
    }

    /// Returns how a role looks.
    #[must_use]
    pub fn style(&self, role: Role) -> &Style {
        &self.styles[role as usize]
    }

    /// Sets how a role looks.
    pub fn set(&mut self, role: Role, style: Style) {
        self.styles[role as usize] = style;
    }

    /// Returns the colour of a device's graphs, or that of all graphs.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Color {
        let name = device_key(id);
        let own = self.devices.iter().find(|(key, _)| *key == name);
        own.map_or(self.style(Role::Graph).fg, |(_, color)| *color)
    }

    /// Sets the colour of the device whose key this is.
    pub(super) fn set_device(&mut self, key: String, color: Color) {
        self.devices.retain(|(k, _)| *k != key);
        self.devices.push((key, color));
    }
}

/// `cuda:0` is `cuda0` in theme files, where a colon would need quotes.
fn device_key(id: DeviceId) -> String {
    id.to_string().replace(':', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_without_a_colour_has_that_of_graphs() {
        let mut theme = Theme::plain();
        theme.set(Role::Graph, Style { fg: Color::Indexed(7), ..Style::default() });
        theme.set_device("cuda0".to_owned(), Color::Indexed(3));
        assert_eq!(theme.device(DeviceId::Cuda(0)), Color::Indexed(3));
        assert_eq!(theme.device(DeviceId::Cuda(1)), Color::Indexed(7));
    }
}
