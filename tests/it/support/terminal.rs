//! A program in a terminal of its own, and what a person in front of it would see.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal};

use super::wait::within;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A program in a terminal.
pub(crate) struct Terminal {
    pub(crate) parser: Arc<Mutex<vt100::Parser>>,
    pub(crate) master: Box<dyn MasterPty + Send>,
    pub(crate) keyboard: Box<dyn std::io::Write + Send>,
    pub(crate) child: Box<dyn Child + Send + Sync>,
}

pub(crate) fn pty_size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    pub(crate) fn of(command: CommandBuilder, columns: u16, rows: u16) -> Self {
        let pair = native_pty_system().openpty(pty_size(columns, rows)).unwrap();
        let child = pair.slave.spawn_command(command).unwrap();
        let parser = Arc::new(Mutex::new(vt100::Parser::new(rows.max(24), columns.max(80), 0)));
        let (mut output, seen) = (pair.master.try_clone_reader().unwrap(), Arc::clone(&parser));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                seen.lock().unwrap().process(&bytes[..count]);
            }
        });
        let keyboard = pair.master.take_writer().unwrap();
        Self { parser, master: pair.master, keyboard, child }
    }

    pub(crate) fn text(&self) -> String {
        self.parser.lock().unwrap().screen().contents()
    }

    pub(crate) fn modes(&self) -> (bool, bool, bool) {
        let parser = self.parser.lock().unwrap();
        let screen = parser.screen();
        (screen.alternate_screen(), screen.hide_cursor(), screen.bracketed_paste())
    }

    /// Whether the terminal tells of its mouse instead of selecting text.
    pub(crate) fn gives_mouse(&self) -> bool {
        self.parser.lock().unwrap().screen().mouse_protocol_mode() != vt100::MouseProtocolMode::None
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        assert!(within(DEADLINE, || holds(self)), "{what}; the screen is {:?}\n{}", self.modes(), self.text());
    }

    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |t| t.text().contains(text));
    }

    pub(crate) fn wait_for_end(&mut self) {
        let ended = within(DEADLINE, || self.child.try_wait().unwrap().is_some());
        assert!(ended, "it does not end\n{}", self.text());
    }

    /// The terminal is as it was: no other screen, a cursor, no bracketed paste, a mouse of its own.
    pub(crate) fn check_restored(&self) {
        self.wait_until("restored", |t| t.modes() == (false, false, false) && !t.gives_mouse());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}
