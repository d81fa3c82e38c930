//! Legibility: the contrast ratio of WCAG 2, which asks for 4.5 between text and background.

use palette::Srgb;
use palette::color_difference::Wcag21RelativeContrast;

use super::{Background, Color, Modifier, Style};

/// A background that text may stand on when a theme sets none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// Black, or nearly so.
    Black,
    /// White, or nearly so.
    White,
}

impl Surface {
    /// Returns the surfaces that a theme for this background must be legible on.
    #[must_use]
    pub fn of(background: Background) -> &'static [Self] {
        match background {
            Background::Any => &[Self::Black, Self::White],
            Background::Dark => &[Self::Black],
            Background::Light => &[Self::White],
        }
    }

    /// Dark themes of terminals are seldom pure black, light ones seldom pure white.
    fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Black => (30, 30, 30),
            Self::White => (250, 250, 250),
        }
    }
}

/// Returns the ratio between two colours, from 1 to 21.
#[must_use]
pub fn ratio(a: (u8, u8, u8), b: (u8, u8, u8)) -> f64 {
    let color = |(r, g, b)| Srgb::<u8>::new(r, g, b).into_format::<f64>();
    color(a).relative_contrast(color(b))
}

/// Returns the ratio of a style on a surface, or `None` where it depends on the terminal's palette.
#[must_use]
pub fn of_style(style: &Style, surface: Surface) -> Option<f64> {
    let color = |c: Color| if c == Color::Reset { Some(surface.rgb()) } else { c.rgb() };
    let foreground = style.fg.rgb();
    let background = color(style.bg)?;
    if style.modifiers.has(Modifier::Reversed) && style.fg == Color::Reset {
        return None;
    }
    foreground.map(|f| ratio(f, background))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_known_extremes() {
        assert!((ratio((0, 0, 0), (255, 255, 255)) - 21.0).abs() < 1e-9);
        assert!((ratio((9, 9, 9), (9, 9, 9)) - 1.0).abs() < 1e-9);
        // The example of the WCAG pages: #777 on white is just below 4.5.
        assert!((ratio((0x77, 0x77, 0x77), (255, 255, 255)) - 4.478).abs() < 0.001);
    }

    #[test]
    fn the_terminals_own_colours_are_not_judged() {
        assert_eq!(of_style(&Style::default(), Surface::Black), None);
        let grey = Style { fg: Color::Rgb(90, 90, 90), ..Style::default() };
        assert!(of_style(&grey, Surface::Black).unwrap() < 4.5);
        assert!(of_style(&grey, Surface::White).unwrap() > 4.5);
    }
}
