//! The loop.
//!
//! ```text
//!  input thread ──keys──┐                        ┌──frame──> writer thread ──> terminal
//!  link ──────────news──┼─> loop: update, draw ──┤
//!  signals, time ───────┘                        └──effects─> link, clipboard, pictures
//! ```
//!
//! Whatever ends it, the terminal is given back as it was. A frame is drawn only when the one before has
//! been written.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use base64::Engine as _;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::act;
use super::action::Action;
use super::effect::Effect;
use super::gallery::PictureOrder;
use super::message::Message;
use super::model::Urgency;
use super::options::{Asking, Options};
use super::pace::Pace;
use super::player::Player;
use super::prepare::prepare;
use super::saving;
use super::station::{self, News, Station};
use super::terminal::guard::{self, Guard};
use super::terminal::input::{self, Input};
use super::terminal::probe::{self, Answers};
use super::terminal::stage::Stage;
use super::terminal::writer::Writer;
use super::update::update;
use crate::client::Handle;
use crate::theme::Role;
use crate::units::{Clock, SystemClock, Timestamp};

/// Longest text that goes to the clipboard; terminals drop longer ones.
const CLIPBOARD: usize = 48 * 1024;
/// How long the last frame may take while leaving.
const LAST_FRAME: Duration = Duration::from_millis(500);
/// Least sleep, should the clock stand still.
const LEAST_SLEEP: Duration = Duration::from_millis(1);

/// Why the dashboard ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Input or output is no terminal.
    #[error("open the dashboard: input and output must be a terminal")]
    NotATerminal,
    /// The terminal refused something.
    #[error("{doing} the terminal")]
    Terminal {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The terminal went away.
    #[error("go on: the terminal went away")]
    Closed,
    /// A signal asked for the end.
    #[error("go on: ended by signal {number}")]
    Signal {
        /// Which; the exit code is 128 more.
        number: i32,
    },
}

fn failed(doing: &'static str) -> impl Fn(io::Error) -> RunError {
    move |source| RunError::Terminal { doing, source }
}

/// Runs the dashboard until the operator leaves. Needs a runtime with IO and time.
pub async fn run(options: Options, link: Handle) -> Result<(), RunError> {
    run_all(vec![(options, link)], None).await
}

/// Runs the dashboard of several boxes, or of a recording, until the operator leaves. Needs a runtime with IO and time.
pub async fn run_all(boxes: Vec<(Options, Handle)>, player: Option<Player>) -> Result<(), RunError> {
    let stdout = io::stdout();
    if !stdout.is_terminal() || !io::stdin().is_terminal() {
        return Err(RunError::NotATerminal);
    }
    // Rust's own standard output breaks frames at line ends and at 1024 bytes; a file does not.
    let out = File::from(stdout.as_fd().try_clone_to_owned().map_err(failed("open"))?);
    guard::restore_on_panic();
    let asking = boxes.first().map_or(Asking::Forbidden, |(options, _)| options.terminal.asking);
    // What is clicked before the terminal has answered would be taken for its answer.
    let mouse = asking == Asking::Forbidden && boxes.first().is_some_and(|(options, _)| options.mouse);
    let mut guard = Guard::enter(out.try_clone().map_err(failed("open"))?, mouse).map_err(failed("prepare"))?;
    if asking == Asking::Allowed {
        guard.write(probe::QUESTIONS.as_bytes()).map_err(failed("write to"))?;
    }
    let (stations, heard) = station::open(boxes, SystemClock.now());
    let mut desk = Desk {
        stations,
        at: 0,
        heard,
        player,
        stage: Stage::new(guard::size()).map_err(failed("draw on"))?,
        pace: Pace::new(Instant::now()),
        writer: Writer::start(out),
        guard,
        done: mpsc::unbounded_channel(),
    };
    let end = desk.work(input::listen(asking)).await;
    desk.writer.finish(LAST_FRAME).await;
    end
}

/// A message, and for which box it is.
type ForBox = (usize, Message);

/// Everything the loop works with.
struct Desk {
    /// One per box; one at least.
    stations: Vec<Station>,
    /// The one that is shown.
    at: usize,
    /// What their links say.
    heard: mpsc::Receiver<(usize, News)>,
    /// What plays a recording, if it is one.
    player: Option<Player>,
    stage: Stage,
    pace: Pace,
    writer: Writer,
    guard: Guard,
    /// What others have done beside the loop, and for which box.
    done: (mpsc::UnboundedSender<ForBox>, mpsc::UnboundedReceiver<ForBox>),
}

/// How the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Suspend,
    Quit,
}

impl Desk {
    async fn work(&mut self, mut input: mpsc::UnboundedReceiver<Input>) -> Result<(), RunError> {
        let [mut terminate, mut hang_up, mut interrupt, mut stop, mut go_on] = [SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT].map(listen_for);
        self.resized();
        loop {
            self.draw()?;
            let due = self.pace.due(station::urgency(&self.stations)).max(Instant::now() + LEAST_SLEEP);
            let mut flow = tokio::select! {
                biased;
                () = arrives(&mut terminate) => return Err(RunError::Signal { number: SIGTERM }),
                () = arrives(&mut hang_up) => return Err(RunError::Signal { number: SIGHUP }),
                () = arrives(&mut interrupt) => return Err(RunError::Signal { number: SIGINT }),
                () = arrives(&mut stop) => Flow::Suspend,
                () = arrives(&mut go_on) => self.come_back()?,
                heard = input.recv() => self.hear(heard.unwrap_or(Input::Closed))?,
                written = self.writer.written() => written.map(|()| Flow::On).map_err(failed("write to"))?,
                Some((at, news)) = self.heard.recv() => self.news(at, news),
                Some((at, done)) = self.done.1.recv() => self.tell(at, done),
                () = tokio::time::sleep_until(due.into()), if !self.writer.is_busy() => self.tick(),
            };
            // Whatever else has come meanwhile belongs to the same frame.
            while flow == Flow::On
                && let Ok(heard) = input.try_recv()
            {
                flow = self.hear(heard)?;
            }
            while flow == Flow::On
                && let Ok((at, news)) = self.heard.try_recv()
            {
                flow = self.news(at, news);
            }
            match flow {
                Flow::On => {}
                Flow::Suspend => self.suspend().await?,
                Flow::Quit => return Ok(()),
            }
        }
    }

    fn hear(&mut self, heard: Input) -> Result<Flow, RunError> {
        Ok(match heard {
            Input::Key(chord) => self.tell(self.at, Message::Pressed(chord)),
            Input::Pointer(pointer) => self.tell(self.at, Message::Pointed(pointer)),
            Input::Paste(text) => self.tell(self.at, Message::Pasted(text)),
            Input::Resized => self.resized(),
            Input::Answers(answers) => {
                if self.stations[self.at].model.mouse {
                    self.mouse(true);
                }
                let answers = Answers { cell: answers.cell.or_else(guard::cell_size), ..answers };
                self.tell_all(|| Message::Probed(answers.clone()))
            }
            Input::Closed => return Err(RunError::Closed),
        })
    }

    fn resized(&mut self) -> Flow {
        let (columns, rows) = guard::size();
        self.tell_all(|| Message::Resized(columns, rows))
    }

    fn tick(&mut self) -> Flow {
        let now = self.now();
        self.tell_all(|| Message::Tick(now))
    }

    /// A recording's time is the time.
    fn now(&self) -> Timestamp {
        self.player.as_ref().map_or_else(|| SystemClock.now(), |player| player.head.borrow().moment(Instant::now()))
    }

    fn news(&mut self, at: usize, news: News) -> Flow {
        let message = self.stations[at].message(news);
        self.tell(at, message)
    }

    /// Tells every box's model the same.
    fn tell_all(&mut self, message: impl Fn() -> Message) -> Flow {
        let mut flow = Flow::On;
        for at in 0..self.stations.len() {
            let next = self.tell(at, message());
            flow = if next == Flow::On { flow } else { next };
        }
        flow
    }

    /// Tells a box's model what happened, and when, and does what it asks for.
    fn tell(&mut self, at: usize, message: Message) -> Flow {
        let now = self.now();
        let head = self.player.as_ref().map(|player| *player.head.borrow());
        let model = &mut self.stations[at].model;
        model.replay = head;
        let mut effects = update(model, Message::Tick(now));
        effects.extend(update(model, message));
        let mut flow = Flow::On;
        for effect in effects {
            match effect {
                Effect::Call { id, request } => {
                    if let Some(lost) = self.stations[at].call(id, *request) {
                        flow = self.tell(at, lost);
                    }
                }
                Effect::Copy(text) => self.writer.beside(&clipboard(&text)),
                Effect::Prepare(order) => self.prepare(at, *order),
                Effect::Save(order) => saving::save(self.teller(at), self.stations[at].model.options.profiles.clone(), *order),
                Effect::WriteQueue(text) => saving::queue(self.teller(at), self.stations[at].model.options.written.clone(), text, now),
                Effect::Profiles => saving::profiles(self.teller(at), self.stations[at].model.options.profiles.clone()),
                Effect::Play(play) => {
                    // Who plays it ends only with the dashboard.
                    let _ended = self.player.as_ref().map(|player| player.orders.send(play));
                }
                Effect::Mouse(on) => self.mouse(on),
                Effect::NextHost => self.show((self.at + 1) % self.stations.len()),
                Effect::Redraw => self.redraw(),
                Effect::Suspend => flow = Flow::Suspend,
                Effect::Quit => flow = self.quit(at),
            }
        }
        flow
    }

    fn show(&mut self, at: usize) {
        self.at = at;
        // Pictures of one box are none of the other's.
        for station in &mut self.stations {
            station.model.gallery.forget_sent();
        }
        self.stations[at].model.touch(Urgency::Input);
        self.redraw();
    }

    /// The mouse is one, however many boxes there are.
    fn mouse(&mut self, on: bool) {
        self.writer.beside(self.guard.mouse(on));
        for station in &mut self.stations {
            station.model.mouse = on;
        }
    }

    fn redraw(&mut self) {
        if let Err(error) = self.stage.forget() {
            self.stations[self.at].model.toast(Role::Crit, format!("the terminal: {error}"));
        }
    }

    /// Leaves, unless a draft for another box would be lost: its own question is asked first.
    fn quit(&mut self, at: usize) -> Flow {
        self.stations[at].may_go = true;
        for unsent in 0..self.stations.len() {
            // Without an effect there is a question.
            if !self.stations[unsent].may_go && act::act(&mut self.stations[unsent].model, Action::Quit).is_empty() {
                self.show(unsent);
                return Flow::On;
            }
        }
        Flow::Quit
    }

    /// Makes a picture ready on another thread; a decoder that panics costs the picture only.
    fn prepare(&self, at: usize, order: PictureOrder) {
        let sender = self.done.0.clone();
        tokio::spawn(async move {
            let source = order.wanted.source.clone();
            let result = tokio::task::spawn_blocking(move || prepare(&order)).await;
            let result = result.unwrap_or_else(|e| Err(format!("the decoder failed: {e}")));
            // When nobody listens any more the dashboard has ended.
            let _ended = sender.send((at, Message::Pictured { source, result }));
        });
    }

    /// Where what was done for a box is told.
    fn teller(&self, at: usize) -> saving::Tell {
        (self.done.0.clone(), at)
    }

    fn draw(&mut self) -> Result<(), RunError> {
        let now = Instant::now();
        let urgency = station::urgency(&self.stations);
        let due = urgency.is_some() && now >= self.pace.due(urgency);
        if self.writer.is_busy() || !(due || self.writer.has_more()) {
            return Ok(());
        }
        let mut frame = None;
        if due {
            station::share(&mut self.stations, self.at);
            frame = self.stage.frame(&self.stations[self.at].model).map_err(failed("draw on"))?;
            for station in &mut self.stations {
                station.model.dirty = None;
            }
            self.pace.drawn(now);
        }
        self.writer.write(frame);
        Ok(())
    }

    /// Gives the terminal back to the shell until it lets us go on.
    async fn suspend(&mut self) -> Result<(), RunError> {
        if rustix::process::getsid(None).is_ok_and(|leader| leader == rustix::process::getpid()) {
            self.stations[self.at].model.toast(Role::Warn, "there is no shell to go back to");
            return Ok(());
        }
        self.writer.finish(LAST_FRAME).await;
        self.guard.leave();
        signal_hook::low_level::emulate_default_handler(SIGTSTP).map_err(failed("leave"))?;
        self.come_back().map(|_| ())
    }

    fn come_back(&mut self) -> Result<Flow, RunError> {
        self.guard.come_back().map_err(failed("prepare"))?;
        self.tell(self.at, Message::Resumed);
        Ok(self.resized())
    }
}

fn listen_for(number: i32) -> Option<Signal> {
    // Without a handler the signal does what it does to every program.
    signal(SignalKind::from_raw(number)).ok()
}

async fn arrives(signal: &mut Option<Signal>) {
    let arrived = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if arrived.is_none() {
        std::future::pending::<()>().await;
    }
}

/// `OSC 52`: the terminal's clipboard, also through SSH.
fn clipboard(text: &str) -> Vec<u8> {
    let text = &text[..text.floor_char_boundary(CLIPBOARD)];
    format!("\x1b]52;c;{}\x07", base64::engine::general_purpose::STANDARD.encode(text)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clipboard_gets_base64_and_not_too_much() {
        assert_eq!(clipboard("a hill"), b"\x1b]52;c;YSBoaWxs\x07");
        let long = "é".repeat(CLIPBOARD);
        assert!(clipboard(&long).len() < CLIPBOARD * 4 / 3 + 20);
    }
}
