//! Reads the terminal on a thread of its own: first its answers, then keys.

use std::io;
use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::probe::{self, Answers, Heard, Late, Listener};
use crate::tui::chord::Chord;
use crate::tui::options::Asking;
use crate::tui::pointer::{Gesture, Pointer};

/// Answers that come later than this are keys.
const LATE: Duration = Duration::from_secs(5);

/// What the terminal sends.
#[derive(Debug)]
pub enum Input {
    /// A key.
    Key(Chord),
    /// The mouse.
    Pointer(Pointer),
    /// Pasted text.
    Paste(String),
    /// Its size has changed.
    Resized,
    /// What it says about itself.
    Answers(Answers),
    /// It went away.
    Closed,
}

type Keys = mpsc::UnboundedSender<Input>;
type Unheard = mpsc::error::SendError<Input>;

/// Starts to read.
#[must_use]
pub fn listen(asking: Asking) -> mpsc::UnboundedReceiver<Input> {
    let (keys, input) = mpsc::unbounded_channel();
    let watcher = keys.clone();
    std::thread::spawn(move || watch(&watcher));
    // Where nobody listens any more the dashboard has ended, and the thread with it.
    std::thread::spawn(move || read(&keys, asking).is_ok());
    input
}

/// Sees the terminal go away. A reader of keys does not: it reads nothing, for ever.
fn watch(keys: &Keys) {
    let stdin = io::stdin();
    loop {
        let mut watched = [PollFd::new(&stdin, PollFlags::empty())];
        match poll(&mut watched, None) {
            Ok(_) if watched[0].revents().is_empty() => {}
            Err(rustix::io::Errno::INTR) => {}
            Ok(_) | Err(_) => break,
        }
    }
    // Where nobody listens any more the dashboard has ended already.
    let _ended = keys.send(Input::Closed);
}

fn read(keys: &Keys, asking: Asking) -> Result<(), Unheard> {
    if asking == Asking::Allowed {
        hear_answers(keys)?;
    }
    let asked_at = Instant::now();
    let mut late = Late::default();
    loop {
        let input = match crossterm::event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                let chord = Chord::of(&key);
                let may_be_late = asking == Asking::Allowed && asked_at.elapsed() < LATE;
                match if may_be_late { late.hear(chord) } else { Heard::Key(chord) } {
                    Heard::Key(chord) => Input::Key(chord),
                    Heard::Answers(answers) => Input::Answers(answers),
                    Heard::Part => continue,
                }
            }
            Ok(Event::Paste(text)) => Input::Paste(text),
            Ok(Event::Resize(..)) => Input::Resized,
            Ok(Event::Mouse(mouse)) => match pointer(mouse) {
                Some(pointer) => Input::Pointer(pointer),
                None => continue,
            },
            Ok(Event::Key(_) | Event::FocusGained | Event::FocusLost) => continue,
            Err(_) => return keys.send(Input::Closed),
        };
        keys.send(input)?;
    }
}

/// What the mouse did, where it is something that we know.
fn pointer(mouse: MouseEvent) -> Option<Pointer> {
    let gesture = match mouse.kind {
        MouseEventKind::Down(MouseButton::Left) => Gesture::Click,
        MouseEventKind::ScrollUp => Gesture::WheelUp,
        MouseEventKind::ScrollDown => Gesture::WheelDown,
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => return None,
    };
    Some(Pointer { gesture, column: mouse.column, row: mouse.row })
}

/// Reads what the terminal says about itself, for as long as its patience lasts.
fn hear_answers(keys: &Keys) -> Result<(), Unheard> {
    let stdin = io::stdin();
    let mut listener = Listener::default();
    let begun = Instant::now();
    while !listener.complete {
        let patience = if listener.is_amid() { probe::PATIENCE * 2 } else { probe::PATIENCE };
        let Some(left) = patience.checked_sub(begun.elapsed()) else { break };
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let ready = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout));
        let mut bytes = [0; 256];
        let count = match ready {
            Ok(1..) => rustix::io::read(&stdin, &mut bytes).unwrap_or(0),
            Ok(0) | Err(_) => break,
        };
        if count == 0 {
            break;
        }
        for chord in listener.push(&bytes[..count]) {
            keys.send(Input::Key(chord))?;
        }
    }
    for chord in listener.finish() {
        keys.send(Input::Key(chord))?;
    }
    keys.send(Input::Answers(listener.answers))?;
    // The size may have changed before anybody watched it.
    keys.send(Input::Resized)
}
