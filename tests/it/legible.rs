//! Every screen in every theme, on terminals that show few colours or none, and no Unicode: nothing goes out that they cannot
//! show, and what is selected can still be told.

use perilune::theme::Themes;
use perilune::tui::keymap;
use perilune::tui::options::{ColorDepth, Options, Traits};
use ratatui::style::{Color, Modifier};

use super::support::fixtures;
use super::support::screen::{Screen, XTERM, options};

/// Keys that reach every screen, and what opens above them.
const WAYS: &[&str] = &[
    "1",
    "1<tab>",
    "1<tab><tab>",
    "1<enter>",
    "5",
    "6",
    "6<enter>",
    "6j",
    "6c",
    "6/fox",
    "7",
    "7jia hill",
    "8",
    "8/job<enter>",
    "?",
    ":",
    ":queue",
];
const SIZES: &[(u16, u16)] = &[(80, 24), (120, 36), (160, 48), (60, 16)];

fn on(terminal: Traits, theme: &str, (width, height): (u16, u16), broken: bool, keys: &str) -> Screen {
    let status = if broken { fixtures::broken() } else { fixtures::busy() };
    Screen::with(Options { terminal, theme: theme.to_owned(), ..options() }, width, height).told(status).keys(keys)
}

/// Looks at every cell of every screen.
fn every_screen(terminal: Traits, themes: &[&str], look: impl Fn(&str, &mut Screen)) {
    for theme in themes {
        for (n, size) in SIZES.iter().enumerate() {
            for keys in WAYS {
                let mut screen = on(terminal, theme, *size, n % 2 == 1, keys);
                look(&format!("{theme} {size:?} {keys}"), &mut screen);
            }
        }
    }
}

fn names() -> Vec<String> {
    Themes::shipped().names().map(ToOwned::to_owned).collect()
}

#[test]
fn terminals_without_colours_get_none() {
    let terminal = Traits { colors: ColorDepth::Mono, ..XTERM };
    every_screen(terminal, &["dark", "high-contrast", "paper"], |what, screen| {
        let reversed = screen.draw().content().iter().filter(|cell| cell.modifier.contains(Modifier::REVERSED)).count();
        assert!(screen.draw().content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset), "{what}");
        assert!(reversed > 0, "{what}: nothing is told apart");
    });
}

#[test]
fn terminals_of_16_and_256_colours_get_no_others() {
    let names = names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fits = |depth: ColorDepth, color: Color| match color {
        Color::Rgb(..) => false,
        Color::Indexed(_) => depth == ColorDepth::Indexed256,
        _ => true,
    };
    for depth in [ColorDepth::Ansi16, ColorDepth::Indexed256] {
        every_screen(Traits { colors: depth, ..XTERM }, &names, |what, screen| {
            // Half blocks of a picture are in the terminal's colours, too.
            for cell in screen.draw().content() {
                assert!(fits(depth, cell.fg) && fits(depth, cell.bg), "{what}: {:?} on {:?}", cell.fg, cell.bg);
            }
        });
    }
}

#[test]
fn terminals_without_unicode_get_plain_characters() {
    every_screen(Traits { unicode: false, ..XTERM }, &["dark", "mono"], |what, screen| {
        let text = screen.text();
        assert!(text.is_ascii(), "{what}: {:?}\n{text}", text.chars().find(|c| !c.is_ascii()));
    });
}

/// A colour is never the only sign of trouble.
#[test]
fn trouble_is_told_without_colours() {
    let terminal = Traits { colors: ColorDepth::Mono, unicode: false, ..XTERM };
    let text = on(terminal, "dark", (120, 36), true, "1").text();
    for sign in ["LOST", "asleep", "!", "ALERT"] {
        assert!(text.contains(sign), "{sign}\n{text}");
    }
}

/// Themes that are legible only if their background is there set it; all others leave it to the terminal.
#[test]
fn themes_leave_the_background_alone() {
    for theme in names().iter().filter(|n| *n != "high-contrast") {
        let mut screen = on(XTERM, theme, (120, 36), false, "1");
        assert!(screen.draw().content().iter().all(|cell| cell.bg == Color::Reset), "{theme}");
    }
}

/// Help that is cut off helps nobody.
#[test]
fn every_word_of_the_help_can_be_read() {
    for (width, height) in [(80, 24), (60, 16)] {
        for keys in ["1?", "5?", "6?", "7?", "8?", "9?"] {
            let mut screen = on(XTERM, "dark", (width, height), false, keys);
            let mut read: Vec<String> = Vec::new();
            loop {
                // Behind the keys, within the box.
                let rows = screen.text().lines().skip(3).map(|l| l.chars().skip(23).collect::<String>()).collect::<Vec<_>>();
                let scroll = screen.model.help.as_ref().unwrap().scroll;
                screen = screen.keys("j");
                if screen.model.help.as_ref().unwrap().scroll == scroll {
                    read.extend(rows);
                    break;
                }
                read.extend(rows.into_iter().take(1));
            }
            let words = read.join(" ").replace('│', " ");
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            let layers = screen.model.help.as_ref().unwrap().layers.clone();
            for binding in layers.into_iter().flat_map(keymap::of) {
                assert!(words.contains(binding.about), "{width}x{height} {keys}: {}\n{words}", binding.about);
            }
        }
    }
}
