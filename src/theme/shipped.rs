//! The themes that come with the program, and the user's own beside them.

use super::{Background, Theme, ThemeError, parse};

const SOURCES: &[(&str, &str)] = &[
    ("dark", include_str!("../../themes/dark.yaml")),
    ("light", include_str!("../../themes/light.yaml")),
    ("high-contrast", include_str!("../../themes/high-contrast.yaml")),
    ("mono", include_str!("../../themes/mono.yaml")),
    ("slate", include_str!("../../themes/slate.yaml")),
    ("ember", include_str!("../../themes/ember.yaml")),
    ("safe", include_str!("../../themes/safe.yaml")),
    ("paper", include_str!("../../themes/paper.yaml")),
    ("ink", include_str!("../../themes/ink.yaml")),
];

/// Every theme that can be chosen, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Themes {
    all: Vec<Theme>,
}

impl Themes {
    /// Returns the themes that come with the program.
    #[must_use]
    pub fn shipped() -> Self {
        let mut themes = Self { all: Vec::new() };
        for (name, text) in SOURCES {
            // A test reads each of them; were one broken all the same, plain text is still a screen.
            let theme = parse(name, text, |base| themes.get(base).cloned());
            themes.put(theme.unwrap_or_else(|_| {
                let mut plain = Theme::plain();
                (*name).clone_into(&mut plain.name);
                plain
            }));
        }
        themes
    }

    /// Adds a user's theme, which may extend and may replace any that is known.
    pub fn add(&mut self, source: &str, text: &str) -> Result<(), ThemeError> {
        let theme = parse(source, text, |base| self.get(base).cloned())?;
        self.put(theme);
        Ok(())
    }

    /// Returns the theme of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Theme> {
        self.all.iter().find(|t| t.name == name)
    }

    /// Returns the theme of that name; `auto` is the one that suits the background.
    #[must_use]
    pub fn choose(&self, name: &str, background: Background) -> Option<&Theme> {
        match (name, background) {
            ("auto", Background::Light) => self.get("light"),
            ("auto", Background::Dark | Background::Any) => self.get("dark"),
            (name, _) => self.get(name),
        }
    }

    /// Returns the names there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|t| t.name.as_str())
    }

    fn put(&mut self, theme: Theme) {
        self.all.retain(|t| t.name != theme.name);
        self.all.push(theme);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::color::nearest_indexed;
    use crate::theme::contrast::{self, Surface};
    use crate::theme::{Color, Modifier, Role, Style};
    use crate::units::DeviceId;

    #[test]
    fn every_shipped_theme_can_be_read_under_its_own_name() {
        let mut known = Themes { all: Vec::new() };
        for (name, text) in SOURCES {
            let theme = parse(name, text, |base| known.get(base).cloned()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(theme.name, *name);
            known.put(theme);
        }
        assert_eq!(known, Themes::shipped());
    }

    /// Colours that do not depend on the terminal's palette must be legible where the theme is meant to be used.
    #[test]
    fn fixed_colours_have_contrast() {
        assert!(SOURCES.len() >= 6);
        for theme in &Themes::shipped().all {
            for (what, style) in styles(theme) {
                for surface in Surface::of(theme.background) {
                    let ratio = contrast::of_style(&style, *surface);
                    assert!(ratio.is_none_or(|r| r >= 4.5), "{} {what} on {surface:?}: {ratio:?}", theme.name);
                }
            }
        }
    }

    /// Where a terminal shows 256 colours only, the nearest of them must be legible, too.
    #[test]
    fn the_nearest_of_256_colours_has_contrast() {
        let near = |c: Color| if let Color::Rgb(r, g, b) = c { Color::Indexed(nearest_indexed((r, g, b))) } else { c };
        for theme in &Themes::shipped().all {
            for (what, style) in styles(theme) {
                let style = Style { fg: near(style.fg), bg: near(style.bg), ..style };
                for surface in Surface::of(theme.background) {
                    let ratio = contrast::of_style(&style, *surface);
                    assert!(ratio.is_none_or(|r| r >= 4.5), "{} {what} on {surface:?}: {ratio:?}", theme.name);
                }
            }
        }
    }

    /// A theme that is judged must have something to judge: those that come with colours of their own have them everywhere.
    #[test]
    fn themes_with_colours_of_their_own_leave_none_to_the_terminal() {
        for name in ["slate", "ember", "safe", "paper", "ink", "light", "high-contrast"] {
            let themes = Themes::shipped();
            let theme = themes.get(name).unwrap();
            assert_ne!(theme.background == Background::Any, name != "high-contrast", "{name}");
            for (what, style) in styles(theme) {
                assert!(!matches!(style.fg, Color::Named(_)) && !matches!(style.bg, Color::Named(_)), "{name} {what}");
            }
        }
    }

    /// Every style of a theme, and the colours of its devices.
    fn styles(theme: &Theme) -> Vec<(String, Style)> {
        let devices = (0..4).map(DeviceId::Cuda).chain([DeviceId::Cpu, DeviceId::Disk]);
        let background = theme.style(Role::Graph).bg;
        let devices = devices.map(|id| (id.to_string(), Style { fg: theme.device(id), bg: background, ..Style::default() }));
        Role::ALL.iter().map(|role| (role.name().to_owned(), theme.style(*role).clone())).chain(devices).collect()
    }

    #[test]
    fn mono_uses_no_colour_and_still_tells_the_selection() {
        let themes = Themes::shipped();
        let mono = themes.get("mono").unwrap();
        for role in Role::ALL {
            let Style { fg, bg, .. } = mono.style(*role);
            assert_eq!((*fg, *bg), (Color::Reset, Color::Reset), "{}", role.name());
        }
        assert!(mono.style(Role::Selection).modifiers.has(Modifier::Reversed));
        assert_eq!(mono.device(DeviceId::Cuda(0)), Color::Reset);
    }

    #[test]
    fn only_the_high_contrast_theme_sets_a_background() {
        for theme in Themes::shipped().all.iter().filter(|t| t.name != "high-contrast") {
            for role in Role::ALL {
                assert_eq!(theme.style(*role).bg, Color::Reset, "{} {}", theme.name, role.name());
            }
        }
    }

    #[test]
    fn meaning_is_never_in_colour_alone() {
        for theme in &Themes::shipped().all {
            assert_ne!(theme.style(Role::Warn).mark, "", "{}", theme.name);
            assert_ne!(theme.style(Role::Crit).mark, "", "{}", theme.name);
        }
    }

    #[test]
    fn a_users_theme_may_replace_a_shipped_one() {
        let mut themes = Themes::shipped();
        themes.add("dark.yaml", "schema: 1\nname: dark\nextends: dark\nroles: {ok: 48}\n").unwrap();
        assert_eq!(themes.get("dark").unwrap().style(Role::Ok).fg, Color::Indexed(48));
        assert_eq!(themes.names().filter(|n| *n == "dark").count(), 1);
        assert_eq!(themes.choose("auto", Background::Light).unwrap().name, "light");
    }
}
