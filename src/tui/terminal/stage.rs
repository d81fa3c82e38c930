//! Frames as bytes: what changed, in one piece, between the marks of synchronized output.
//!
//! ratatui flushes several times for each frame and hides the cursor even where nothing changed. Here a
//! frame is collected and handed over whole, and a frame without changes is no bytes at all.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};

use super::encode::encode;
use crate::tui::model::Model;
use crate::tui::view;

/// Begins a frame that the terminal shows only when it is whole.
pub const FRAME_BEGINS: &[u8] = b"\x1b[?2026h";
/// Ends it.
pub const FRAME_ENDS: &[u8] = b"\x1b[?2026l";

/// Draws frames and hands them out as bytes.
pub struct Stage {
    terminal: Terminal<Quiet>,
}

impl Stage {
    /// Returns a stage of so many columns and rows.
    pub fn new(size: (u16, u16)) -> io::Result<Self> {
        let written = Written::default();
        let backend = Quiet { inner: CrosstermBackend::new(written.clone()), written, size, cursor: Cursor::Hidden };
        Ok(Self { terminal: Terminal::new(backend)? })
    }

    /// Draws the model; returns the bytes of the frame, or `None` where nothing changed.
    pub fn frame(&mut self, model: &Model) -> io::Result<Option<Vec<u8>>> {
        self.terminal.backend_mut().size = model.size;
        self.terminal.draw(|frame| view::draw(model, frame))?;
        Ok(self.terminal.backend_mut().take())
    }

    /// Forgets what the terminal shows, so that the next frame draws everything.
    pub fn forget(&mut self) -> io::Result<()> {
        self.terminal.backend_mut().cursor = Cursor::Hidden;
        self.terminal.clear()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cursor {
    Hidden,
    At(Position),
    /// Shown, but the drawing has moved it.
    Astray,
}

/// What was written since the last frame. The backend owns one end and does not give it back.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A backend that says nothing where there is nothing to say.
struct Quiet {
    inner: CrosstermBackend<Written>,
    written: Written,
    size: (u16, u16),
    cursor: Cursor,
}

impl Quiet {
    /// Everything that was written since the last frame, as one frame.
    fn take(&mut self) -> Option<Vec<u8>> {
        let bytes = self.written.0.take();
        (!bytes.is_empty()).then(|| [FRAME_BEGINS, &bytes, FRAME_ENDS].concat())
    }
}

impl Backend for Quiet {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let mut content = content.peekable();
        if content.peek().is_none() {
            return Ok(());
        }
        if matches!(self.cursor, Cursor::At(_)) {
            self.cursor = Cursor::Astray;
        }
        self.written.write_all(encode(content.collect()).as_bytes())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.cursor == Cursor::Hidden {
            return Ok(());
        }
        self.cursor = Cursor::Hidden;
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.cursor != Cursor::Hidden {
            return Ok(());
        }
        self.cursor = Cursor::Astray;
        self.inner.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Asking the terminal would block; nobody needs the true answer.
        Ok(match self.cursor {
            Cursor::At(position) => position,
            Cursor::Hidden | Cursor::Astray => Position::ORIGIN,
        })
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let position = position.into();
        if self.cursor == Cursor::At(position) || self.cursor == Cursor::Hidden {
            return Ok(());
        }
        self.cursor = Cursor::At(position);
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.inner.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        Ok(Size { width: self.size.0, height: self.size.1 })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
