//! From roles to what ratatui draws. The only place that names raw colours.

use std::borrow::Cow;

use ratatui::style::{Color, Modifier, Style};

use super::hits::Hits;
use super::options::{ColorDepth, Traits};
use crate::theme::color::{nearest_indexed, nearest_named};
use crate::theme::{self, Glyphs, Named, Role, Theme};
use crate::units::{DeviceId, Grade, Thresholds};

/// A theme made ready for a terminal.
#[derive(Debug, Clone)]
pub struct Paint {
    theme: Theme,
    styles: Vec<Style>,
    depth: ColorDepth,
    faded: bool,
    /// Where rows are drawn.
    pub hits: Hits,
    /// The characters to draw with.
    pub glyphs: &'static Glyphs,
}

impl Paint {
    /// Makes a theme ready for a terminal.
    #[must_use]
    pub fn new(theme: &Theme, terminal: &Traits) -> Self {
        let styles = Role::ALL.iter().map(|role| style(theme.style(*role), terminal.colors)).collect();
        Self {
            theme: theme.clone(),
            styles,
            depth: terminal.colors,
            faded: false,
            hits: Hits::default(),
            glyphs: theme.glyphs.resolve(terminal.unicode),
        }
    }

    /// Returns the same in grey, for values that grew old.
    #[must_use]
    pub fn faded(&self) -> Self {
        Self { faded: true, ..self.clone() }
    }

    /// Returns this paint, or its grey form.
    #[must_use]
    pub fn faded_if(&self, old: bool) -> Cow<'_, Self> {
        if old { Cow::Owned(self.faded()) } else { Cow::Borrowed(self) }
    }

    /// Returns how a role looks.
    #[must_use]
    pub fn style(&self, role: Role) -> Style {
        match role {
            Role::Title | Role::Key | Role::Selection | Role::Tab | Role::Border | Role::BorderFocus | Role::Input | Role::Found => {
                self.styles[role as usize]
            }
            _ if self.faded => self.styles[Role::Dim as usize],
            role => self.styles[role as usize],
        }
    }

    /// Returns what stands beside a value of this role.
    #[must_use]
    pub fn mark(&self, role: Role) -> &str {
        &self.theme.style(role).mark
    }

    /// Returns how a device's graphs look.
    #[must_use]
    pub fn device(&self, id: DeviceId) -> Style {
        let graph = self.style(Role::Graph);
        if self.faded { graph } else { graph.fg(color(self.theme.device(id), self.depth)) }
    }

    /// Returns where values begin to need a look.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.theme.thresholds
    }

    /// Returns the role of a value between its thresholds.
    #[must_use]
    pub fn grade(limits: [f64; 2], value: f64) -> Role {
        Self::role_of(Thresholds::grade(limits, value))
    }

    /// Returns the role of a grade.
    #[must_use]
    pub fn role_of(grade: Grade) -> Role {
        match grade {
            Grade::Fine => Role::Text,
            Grade::Warn => Role::Warn,
            Grade::Crit => Role::Crit,
        }
    }

    /// Returns the role of a busy share; there need be no thresholds for it.
    #[must_use]
    pub fn load(&self, share: f64) -> Role {
        self.thresholds().util.map_or(Role::Text, |limits| Self::grade(limits, share))
    }

    /// Returns what stands before a value of this role: the mark of what needs a look or a hand, before others nothing.
    #[must_use]
    pub fn mark_of_value(&self, role: Role) -> &str {
        if matches!(role, Role::Warn | Role::Crit) { self.mark(role) } else { "" }
    }

    /// Returns a cell with one pixel above another, or `None` where there are no colours to do it with.
    #[must_use]
    pub fn pixels(&self, above: [u8; 3], below: [u8; 3]) -> Option<Style> {
        let pixel = |[r, g, b]: [u8; 3]| color(theme::Color::Rgb(r, g, b), self.depth);
        match self.depth {
            ColorDepth::Mono => None,
            ColorDepth::Ansi16 | ColorDepth::Indexed256 | ColorDepth::TrueColor => Some(Style::new().fg(pixel(above)).bg(pixel(below))),
        }
    }

    /// Returns the style of the whole screen, where the theme sets a background.
    #[must_use]
    pub fn ground(&self) -> Option<Style> {
        let text = self.styles[Role::Text as usize];
        text.bg.filter(|bg| *bg != Color::Reset).map(|_| text)
    }
}

fn style(style: &theme::Style, depth: ColorDepth) -> Style {
    let modifiers = theme::Modifier::ALL.iter().filter(|m| style.modifiers.has(**m)).fold(Modifier::empty(), |all, m| {
        all | match m {
            theme::Modifier::Bold => Modifier::BOLD,
            theme::Modifier::Dim => Modifier::DIM,
            theme::Modifier::Italic => Modifier::ITALIC,
            theme::Modifier::Underlined => Modifier::UNDERLINED,
            theme::Modifier::Reversed => Modifier::REVERSED,
        }
    });
    Style::new().fg(color(style.fg, depth)).bg(color(style.bg, depth)).add_modifier(modifiers)
}

/// The colour that a terminal of this depth can show.
fn color(wanted: theme::Color, depth: ColorDepth) -> Color {
    match (depth, wanted) {
        (ColorDepth::Mono, _) | (_, theme::Color::Reset) => Color::Reset,
        (_, theme::Color::Named(name)) => named(name),
        (ColorDepth::TrueColor, theme::Color::Rgb(r, g, b)) => Color::Rgb(r, g, b),
        (ColorDepth::TrueColor | ColorDepth::Indexed256, theme::Color::Indexed(n)) => Color::Indexed(n),
        (ColorDepth::Indexed256, theme::Color::Rgb(r, g, b)) => Color::Indexed(nearest_indexed((r, g, b))),
        (ColorDepth::Ansi16, theme::Color::Rgb(r, g, b)) => named(nearest_named((r, g, b))),
        (ColorDepth::Ansi16, theme::Color::Indexed(n)) => match wanted.rgb() {
            Some(rgb) => named(nearest_named(rgb)),
            None => named(Named::ALL[usize::from(n) % 16].0),
        },
    }
}

fn named(name: Named) -> Color {
    match name {
        Named::Black => Color::Black,
        Named::Red => Color::Red,
        Named::Green => Color::Green,
        Named::Yellow => Color::Yellow,
        Named::Blue => Color::Blue,
        Named::Magenta => Color::Magenta,
        Named::Cyan => Color::Cyan,
        Named::Gray => Color::Gray,
        Named::DarkGray => Color::DarkGray,
        Named::LightRed => Color::LightRed,
        Named::LightGreen => Color::LightGreen,
        Named::LightYellow => Color::LightYellow,
        Named::LightBlue => Color::LightBlue,
        Named::LightMagenta => Color::LightMagenta,
        Named::LightCyan => Color::LightCyan,
        Named::White => Color::White,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::Themes;
    use crate::tui::options::{ColorChoice, Surroundings};

    fn paint(theme: &str, depth: ColorDepth) -> Paint {
        let terminal = Traits { colors: depth, ..Surroundings::default().traits(ColorChoice::Auto) };
        Paint::new(Themes::shipped().get(theme).unwrap(), &terminal)
    }

    #[test]
    fn without_colour_no_colour_is_named() {
        for theme in Themes::shipped().names() {
            let paint = paint(theme, ColorDepth::Mono);
            for role in Role::ALL {
                let style = paint.style(*role);
                assert_eq!((style.fg, style.bg), (Some(Color::Reset), Some(Color::Reset)), "{theme} {}", role.name());
            }
        }
        assert!(paint("mono", ColorDepth::Mono).style(Role::Selection).add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn few_colours_get_the_nearest_ones() {
        assert_eq!(paint("high-contrast", ColorDepth::Ansi16).style(Role::Warn).fg, Some(Color::LightYellow));
        assert_eq!(paint("high-contrast", ColorDepth::Indexed256).style(Role::Warn).fg, Some(Color::Indexed(226)));
        assert_eq!(paint("dark", ColorDepth::TrueColor).style(Role::Dim).fg, Some(Color::Indexed(246)));
        assert_eq!(paint("dark", ColorDepth::Ansi16).pixels([255, 0, 0], [0; 3]), Some(Style::new().fg(Color::LightRed).bg(Color::Black)));
    }

    #[test]
    fn old_values_are_grey_but_the_selection_is_not() {
        let paint = paint("dark", ColorDepth::Indexed256).faded();
        assert_eq!(paint.style(Role::Crit), paint.style(Role::Dim));
        assert_ne!(paint.style(Role::Selection), paint.style(Role::Dim));
    }

    #[test]
    fn only_high_contrast_paints_the_ground() {
        assert!(paint("dark", ColorDepth::TrueColor).ground().is_none());
        assert!(paint("high-contrast", ColorDepth::TrueColor).ground().is_some());
    }
}
