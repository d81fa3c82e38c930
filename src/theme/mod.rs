//! Colours by role: what a theme file may say, and the themes that come with the program.
//!
//! A theme is a value. It knows roles (`warn`, `mem_weights`), never screens, and no terminal: turning
//! its colours into what a terminal understands is the painter's work.

pub mod color;
pub mod contrast;
pub mod glyphs;
pub mod palette;
pub mod parse;
pub mod role;
pub mod shipped;
pub mod style;

pub use color::{Color, Named};
pub use glyphs::{GlyphChoice, Glyphs};
pub use palette::{Background, Theme};
pub use parse::{ThemeError, parse};
pub use role::Role;
pub use shipped::Themes;
pub use style::{Modifier, Modifiers, Style};
