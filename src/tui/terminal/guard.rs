//! Takes the terminal and gives it back as it was: after q, an error, a panic, a signal, a stop.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};

/// Alternate screen, bracketed paste, no cursor.
pub const ENTER: &[u8] = b"\x1b[?1049h\x1b[?2004h\x1b[?25l\x1b[H\x1b[2J";
/// What undoes all that a frame, [`ENTER`] or [`MOUSE_ON`] may have left: a frame half drawn, colours, mouse, paste, cursor, screen.
pub const LEAVE: &[u8] = b"\x1b[?2026l\x1b[0m\x1b[?1006l\x1b[?1000l\x1b[?2004l\x1b[?25h\x1b[?1049l";
/// Has the terminal tell of buttons and of the wheel, also beyond column 223.
pub const MOUSE_ON: &[u8] = b"\x1b[?1000h\x1b[?1006h";
/// Has it keep them for itself.
pub const MOUSE_OFF: &[u8] = b"\x1b[?1006l\x1b[?1000l";

/// Whether the terminal is ours now. A panic hook has no other way to know.
static OURS: AtomicBool = AtomicBool::new(false);

/// Holds the terminal, and gives it back when dropped.
#[derive(Debug)]
pub struct Guard {
    out: File,
    mouse: bool,
}

impl Guard {
    /// Takes the terminal that `out` writes to, with or without its mouse.
    pub fn enter(out: File, mouse: bool) -> io::Result<Self> {
        let mut guard = Self { out, mouse };
        guard.come_back()?;
        Ok(guard)
    }

    /// Writes to the terminal past all frames.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Takes the terminal again after somebody else had it.
    pub fn come_back(&mut self) -> io::Result<()> {
        OURS.store(true, Ordering::SeqCst);
        // Where raw mode is thought to be on already, turning it on would do nothing.
        disable_raw_mode()?;
        enable_raw_mode()?;
        self.out.write_all(ENTER)?;
        if self.mouse { self.out.write_all(MOUSE_ON) } else { Ok(()) }
    }

    /// Notes whether the mouse is ours, also after somebody else had the terminal; returns what is to be written for it.
    pub fn mouse(&mut self, on: bool) -> &'static [u8] {
        self.mouse = on;
        if on { MOUSE_ON } else { MOUSE_OFF }
    }

    /// Gives the terminal back for a while.
    pub fn leave(&mut self) {
        give_back(&mut self.out);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Gives the terminal back as it was; the second time nothing happens.
fn give_back(out: &mut impl Write) {
    if OURS.swap(false, Ordering::SeqCst) {
        // The terminal may be gone; there is nobody left to tell.
        let _gone = out.write_all(LEAVE).and_then(|()| out.flush());
        let _gone = disable_raw_mode();
    }
}

/// Gives the terminal back before a panic of this thread is printed. While the terminal is ours other
/// threads' panics are not printed over it: those who wait for the thread tell of them.
pub fn restore_on_panic() {
    let ours = std::thread::current().id();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == ours {
            give_back(&mut io::stdout());
        }
        if !OURS.load(Ordering::SeqCst) {
            before(panic);
        }
    }));
}

/// Returns the columns and rows of the terminal; zeros where it does not say.
#[must_use]
pub fn size() -> (u16, u16) {
    rustix::termios::tcgetwinsize(io::stdout()).map_or((0, 0), |s| (s.ws_col, s.ws_row))
}

/// Returns the pixels of a cell, where the terminal says so without being asked.
#[must_use]
pub fn cell_size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let cell = (size.ws_xpixel.checked_div(size.ws_col)?, size.ws_ypixel.checked_div(size.ws_row)?);
    (cell.0 > 0 && cell.1 > 0).then_some(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mode that is set on entering, or by a frame, is reset on leaving.
    #[test]
    fn leaving_undoes_all_that_entering_did() {
        let frame = [ENTER, MOUSE_ON, crate::tui::terminal::stage::FRAME_BEGINS].concat();
        let text = String::from_utf8(frame).unwrap();
        let leave = String::from_utf8(LEAVE.to_vec()).unwrap();
        for set in text.split('\u{1b}').filter(|s| s.starts_with("[?")) {
            let undone = match set.chars().last() {
                Some('h') => set.replace('h', "l"),
                Some('l') => set.replace('l', "h"),
                _ => panic!("{set}"),
            };
            assert!(leave.contains(&undone), "{set} stays");
        }
        assert!(leave.find("[?2026l") < leave.find("[?1049l"), "a frame must end before the screen changes");
    }

    #[test]
    fn the_terminal_is_given_back_once() {
        OURS.store(true, Ordering::SeqCst);
        let mut out = Vec::new();
        give_back(&mut out);
        give_back(&mut out);
        assert_eq!(out, LEAVE);
    }
}
