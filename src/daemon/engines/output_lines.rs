//! What an engine and its libraries print: into the log, and into the tail that its exit will show.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Level;

use crate::logging;

/// Lines that are kept for the engine's exit.
pub const TAIL: usize = 200;
/// Longer lines are cut, so that an engine that never ends a line cannot fill our memory.
const LONGEST: usize = 4096;

/// The last lines that an engine wrote.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Tail {
    /// Returns the lines, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// Reads lines until there are no more. Blocks.
pub fn follow(mut from: impl Read, source: &str, tail: &Tail) {
    let mut line = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        let read = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        for byte in &chunk[..read] {
            match byte {
                b'\n' => told(&mut line, source, tail),
                byte if line.len() < LONGEST => line.push(*byte),
                _ => {}
            }
        }
    }
    if !line.is_empty() {
        told(&mut line, source, tail);
    }
}

fn told(line: &mut Vec<u8>, source: &str, tail: &Tail) {
    let text: String = String::from_utf8_lossy(line).chars().filter(|c| !c.is_control() || *c == '\t').collect();
    line.clear();
    // What the engine itself says has a level; what its libraries print has none.
    let (level, text) = logging::understand(&text).unwrap_or((Level::INFO, &text));
    match level {
        Level::ERROR => tracing::error!(source = %source, "{text}"),
        Level::WARN => tracing::warn!(source = %source, "{text}"),
        Level::INFO => tracing::info!(source = %source, "{text}"),
        _ => tracing::debug!(source = %source, "{text}"),
    }
    tail.push(text.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<String> {
        let tail = Tail::default();
        follow(bytes, "cpu", &tail);
        tail.lines()
    }

    #[test]
    fn lines_are_cut_cleaned_and_few() {
        assert_eq!(lines(b"one\n\x1b[31mtwo\r\n\xff\nlast"), ["one", "[31mtwo", "\u{fffd}", "last"]);
        assert_eq!(lines(&vec![b'x'; 100_000])[0].len(), LONGEST);
        let many = (0..TAIL + 5).map(|n| n.to_string() + "\n").collect::<String>();
        assert_eq!((lines(many.as_bytes()).len(), lines(many.as_bytes())[0].as_str()), (TAIL, "5"));
    }
}
