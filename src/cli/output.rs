//! Results on standard output: text for people, JSON for programs.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout, Write};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::global::Global;
use crate::config::Environment;
use crate::tui::options::ColorChoice;

/// How results are written.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON instead of text.
    pub json: bool,
    /// Whether colours are welcome.
    pub color: bool,
}

impl Output {
    /// Returns how results are to be written.
    #[must_use]
    pub fn of(global: &Global, environment: &Environment) -> Self {
        let dumb = environment.text("TERM").is_some_and(|term| term == "dumb");
        let wished = match global.color {
            _ if global.no_color => false,
            Some(ColorChoice::Never) => false,
            Some(ColorChoice::Always | ColorChoice::Depth(_)) => true,
            Some(ColorChoice::Auto) | None => environment.get("NO_COLOR").is_none(),
        };
        let color = wished && !dumb && io::stdout().is_terminal();
        Self { json: global.json, color }
    }

    /// Writes a value as one line of JSON, or the text.
    pub fn show<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) {
        if self.json { json(value) } else { print(&text()) }
    }
}

/// Writes one line of JSON.
pub fn json<T: Serialize>(value: &T) {
    // Our own shapes have string keys and finite numbers only, so they always are JSON.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    print(&line);
}

/// Writes text as it is.
pub fn print(text: &str) {
    let mut to = io::stdout().lock();
    give_up_if_closed(to.write_all(text.as_bytes()).and_then(|()| to.flush()));
}

/// Writes much, line by line.
#[derive(Debug)]
pub struct Lines(BufWriter<Stdout>);

impl Default for Lines {
    fn default() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout()))
    }
}

impl Lines {
    /// Writes text as it is.
    pub fn text(&mut self, text: &str) {
        give_up_if_closed(self.0.write_all(text.as_bytes()));
    }

    /// Writes a value as JSON, without ending the line.
    pub fn json<T: Serialize>(&mut self, value: &T) {
        give_up_if_closed(serde_json::to_writer(&mut self.0, value).map_err(io::Error::from));
    }

    /// Sends off what was written.
    pub fn flush(&mut self) {
        give_up_if_closed(self.0.flush());
    }
}

/// Whoever reads our output, such as `head`, may have had enough; that is no error.
fn give_up_if_closed(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => {
            super::report::note(&format!("error: standard output cannot be written to: {e}"));
            std::process::exit(1);
        }
    }
}

/// Returns a table without lines, as text.
#[must_use]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row.iter().map(|cell| plain(cell)));
    }
    let lines = table.lines().map(|l| l.trim().to_owned());
    lines.map(|l| l + "\n").collect()
}

/// Returns seconds with three digits that mean something.
#[must_use]
pub fn significant(seconds: f64) -> String {
    let digits = match seconds {
        s if s >= 100.0 => 0,
        s if s >= 10.0 => 1,
        s if s >= 1.0 => 2,
        s if s >= 0.1 => 3,
        s if s >= 0.01 => 4,
        _ => 5,
    };
    format!("{seconds:.digits$}")
}

/// Returns the text without characters that a terminal would obey, and without marks that turn the direction
/// of writing: file names and other programs' words may hold both.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    match c {
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    }
}

/// Returns the beginning of a text, marked where something was left out.
#[must_use]
pub fn head(text: &str, letters: usize) -> String {
    let mut rest = text.chars();
    let mut head: String = rest.by_ref().take(letters).map(shown).collect();
    if rest.next().is_some() {
        head.pop();
        head.push('…');
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_three_digits_that_mean_something() {
        let shown = [123.4, 12.34, 1.234, 0.1234, 0.01234, 0.001_234, 0.0].map(significant);
        assert_eq!(shown, ["123", "12.3", "1.23", "0.123", "0.0123", "0.00123", "0.00000"]);
    }
}
