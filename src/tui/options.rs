//! How the dashboard is to look and where it starts. Whoever reads settings and environment fills this in.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::keys::Keys;
use super::screens::Screen;
use crate::theme::{Background, Themes};
use crate::units::{JobId, SaidThresholds};
use crate::wire::control::Topics;

/// How the dashboard is to look and where it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// The themes there are.
    pub themes: Themes,
    /// The one to use; `auto` follows the terminal's background.
    pub theme: String,
    /// Thresholds that win over the theme's.
    pub thresholds: SaidThresholds,
    /// What keys do.
    pub keys: Arc<Keys>,
    /// Why the operator's own keys are not used, where they cannot be.
    pub keys_problem: Option<String>,
    /// Whether the mouse selects from the start; else it is the terminal's until the operator says so.
    pub mouse: bool,
    /// How pictures are shown.
    pub preview: PreviewChoice,
    /// What is known of the terminal.
    pub terminal: Traits,
    /// Which daemon is asked: `local`, or `user@box`.
    pub place: String,
    /// Who operates it: jobs that are submitted here are theirs.
    pub operator: Option<String>,
    /// The screen to start with.
    pub start_screen: Screen,
    /// The job to show in detail at the start.
    pub focus_job: Option<JobId>,
    /// The folder in which profiles are saved, if there is one.
    pub profiles: Option<PathBuf>,
    /// The folder that what the operator has written goes to, if there is one.
    pub written: Option<PathBuf>,
    /// Counts a prompt's tokens, and the windows that they fill.
    pub count_tokens: fn(&str) -> (usize, usize),
}

impl Options {
    /// Returns options for a terminal, everything else as it comes.
    #[must_use]
    pub fn new(terminal: Traits, count_tokens: fn(&str) -> (usize, usize)) -> Self {
        Self {
            themes: Themes::shipped(),
            theme: "auto".to_owned(),
            thresholds: SaidThresholds::default(),
            keys: Arc::default(),
            keys_problem: None,
            mouse: false,
            preview: PreviewChoice::Auto,
            terminal,
            place: "local".to_owned(),
            operator: None,
            start_screen: Screen::Overview,
            focus_job: None,
            profiles: None,
            written: None,
            count_tokens,
        }
    }

    /// Returns what the link to the daemon should subscribe to for these options.
    #[must_use]
    pub fn topics(&self) -> Topics {
        Topics { job: None, previews: self.preview != PreviewChoice::Off, log: true }
    }
}

/// How many colours a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorDepth {
    /// None; bold, reversed and the like remain.
    Mono,
    /// The sixteen of its palette.
    Ansi16,
    /// The 256 of xterm.
    Indexed256,
    /// All.
    TrueColor,
}

/// What an operator says about colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// As the terminal says.
    #[default]
    Auto,
    /// Even under `NO_COLOR`.
    Always,
    /// Never.
    Never,
    /// This depth.
    Depth(ColorDepth),
}

/// A text that chooses nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a choice; use one of {choices}")]
pub struct ChoiceError {
    /// The text.
    pub text: String,
    /// What may be written.
    pub choices: &'static str,
}

impl FromStr for ColorChoice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            "16" => Ok(Self::Depth(ColorDepth::Ansi16)),
            "256" => Ok(Self::Depth(ColorDepth::Indexed256)),
            "truecolor" => Ok(Self::Depth(ColorDepth::TrueColor)),
            _ => Err(ChoiceError { text: text.to_owned(), choices: "auto, always, never, 16, 256, truecolor" }),
        }
    }
}

/// How pictures are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PreviewChoice {
    /// As well as the terminal can; half blocks in tmux.
    #[default]
    Auto,
    /// Kitty's protocol.
    Kitty,
    /// Sixel.
    Sixel,
    /// Half blocks.
    HalfBlocks,
    /// Not at all.
    Off,
}

impl FromStr for PreviewChoice {
    type Err = ChoiceError;

    fn from_str(text: &str) -> Result<Self, ChoiceError> {
        match text {
            "auto" => Ok(Self::Auto),
            "kitty" => Ok(Self::Kitty),
            "sixel" => Ok(Self::Sixel),
            "halfblocks" => Ok(Self::HalfBlocks),
            "off" => Ok(Self::Off),
            _ => Err(ChoiceError { text: text.to_owned(), choices: "auto, kitty, sixel, halfblocks, off" }),
        }
    }
}

/// Whether the terminal is at the end of a slow line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distance {
    /// On this machine.
    Near,
    /// Behind SSH; pictures are sent seldom.
    Far,
}

/// Whether something stands between us and the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multiplexer {
    /// Nothing.
    None,
    /// tmux, which swallows the answers about graphics.
    Tmux,
}

/// Which questions the terminal may be asked at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asking {
    /// What it can draw and what its background is.
    Allowed,
    /// None: it would print them.
    Forbidden,
}

/// What is known of the terminal before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Its colours.
    pub colors: ColorDepth,
    /// Whether it shows Unicode.
    pub unicode: bool,
    /// Its background, where the environment tells.
    pub background: Background,
    /// How far it is.
    pub distance: Distance,
    /// What stands between.
    pub multiplexer: Multiplexer,
    /// What it may be asked.
    pub asking: Asking,
}

/// The variables of the environment that say something about the terminal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `TERM`.
    pub term: String,
    /// `COLORTERM`.
    pub colorterm: String,
    /// `NO_COLOR`.
    pub no_color: String,
    /// `FORCE_COLOR`.
    pub force_color: String,
    /// `COLORFGBG`.
    pub colorfgbg: String,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is set.
    pub locale: String,
    /// `SSH_CONNECTION`.
    pub ssh_connection: String,
    /// `TMUX`.
    pub tmux: String,
}

impl Surroundings {
    /// Returns whether the terminal says of itself that it can only print lines.
    #[must_use]
    pub fn is_dumb(&self) -> bool {
        matches!(self.term.as_str(), "" | "dumb")
    }

    /// Returns what they say about the terminal.
    #[must_use]
    pub fn traits(&self, choice: ColorChoice) -> Traits {
        let locale = self.locale.to_ascii_lowercase();
        let console = matches!(self.term.as_str(), "linux" | "dumb" | "vt100" | "vt220");
        let set = |text: &str| !text.is_empty();
        Traits {
            colors: self.colors(choice),
            unicode: !console && (locale.contains("utf-8") || locale.contains("utf8")),
            background: self.background(),
            distance: if set(&self.ssh_connection) { Distance::Far } else { Distance::Near },
            multiplexer: if set(&self.tmux) { Multiplexer::Tmux } else { Multiplexer::None },
            asking: if console { Asking::Forbidden } else { Asking::Allowed },
        }
    }

    fn colors(&self, choice: ColorChoice) -> ColorDepth {
        match choice {
            ColorChoice::Never => ColorDepth::Mono,
            ColorChoice::Depth(depth) => depth,
            ColorChoice::Auto if self.is_plain() => ColorDepth::Mono,
            ColorChoice::Always | ColorChoice::Auto => self.terminal_colors(),
        }
    }

    /// Whether nobody asked for colours and somebody, or the terminal, is against them.
    fn is_plain(&self) -> bool {
        let forced = !self.force_color.is_empty() && self.force_color != "0";
        !forced && (!self.no_color.is_empty() || self.is_dumb())
    }

    fn terminal_colors(&self) -> ColorDepth {
        if matches!(self.colorterm.as_str(), "truecolor" | "24bit") || self.term.ends_with("-direct") {
            ColorDepth::TrueColor
        } else if self.term.contains("256color") || self.term == "xterm-kitty" || self.term == "foot" {
            ColorDepth::Indexed256
        } else {
            ColorDepth::Ansi16
        }
    }

    /// `COLORFGBG` is `15;0` or `0;default;15`: the last number is the background.
    fn background(&self) -> Background {
        match self.colorfgbg.rsplit(';').next().and_then(|n| n.parse::<u8>().ok()) {
            Some(7 | 15) => Background::Light,
            Some(_) => Background::Dark,
            None => Background::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xterm() -> Surroundings {
        Surroundings { term: "xterm-256color".to_owned(), locale: "en_US.UTF-8".to_owned(), ..Surroundings::default() }
    }

    #[test]
    fn no_color_is_honoured_until_somebody_insists() {
        let plain = Surroundings { no_color: "1".to_owned(), ..xterm() };
        assert_eq!(plain.traits(ColorChoice::Auto).colors, ColorDepth::Mono);
        assert_eq!(plain.traits(ColorChoice::Always).colors, ColorDepth::Indexed256);
        let forced = Surroundings { force_color: "1".to_owned(), ..plain };
        assert_eq!(forced.traits(ColorChoice::Auto).colors, ColorDepth::Indexed256);
        assert_eq!(xterm().traits("truecolor".parse().unwrap()).colors, ColorDepth::TrueColor);
        assert_eq!(xterm().traits(ColorChoice::Never).colors, ColorDepth::Mono);
    }

    #[test]
    fn the_console_gets_plain_characters_and_no_questions() {
        let console = Surroundings { term: "linux".to_owned(), ..xterm() }.traits(ColorChoice::Auto);
        assert_eq!((console.unicode, console.asking, console.colors), (false, Asking::Forbidden, ColorDepth::Ansi16));
        let ascii = Surroundings { locale: "C".to_owned(), ..xterm() };
        assert!(!ascii.traits(ColorChoice::Auto).unicode);
    }

    #[test]
    fn the_environment_may_name_the_background() {
        for (text, expected) in [("15;0", Background::Dark), ("0;default;15", Background::Light), ("", Background::Any)] {
            let surroundings = Surroundings { colorfgbg: text.to_owned(), ..xterm() };
            assert_eq!(surroundings.traits(ColorChoice::Auto).background, expected, "{text}");
        }
    }

    #[test]
    fn wrong_choices_are_told_the_right_ones() {
        let error = "plaid".parse::<ColorChoice>().unwrap_err().to_string();
        assert_eq!(error, "`plaid` is not a choice; use one of auto, always, never, 16, 256, truecolor");
        assert_eq!("sixel".parse(), Ok(PreviewChoice::Sixel));
        assert!("iterm".parse::<PreviewChoice>().is_err());
    }
}
