//! The dashboard without a terminal: keys as text in, the screen as text out.

use perilune::theme::Background;
use perilune::tui::chord::Chord;
use perilune::tui::effect::Effect;
use perilune::tui::message::Message;
use perilune::tui::model::Model;
use perilune::tui::options::{Asking, ColorDepth, Distance, Multiplexer, Options, PreviewChoice, Traits};
use perilune::tui::update::update;
use perilune::tui::view;
use perilune::units::Timestamp;
use perilune::wire::{Change, Reply, Request, Status};
use perilune::workflow::Refusal;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use super::fixtures;

/// A terminal that shows everything.
pub(crate) const XTERM: Traits = Traits {
    colors: ColorDepth::TrueColor,
    unicode: true,
    background: Background::Dark,
    distance: Distance::Near,
    multiplexer: Multiplexer::None,
    asking: Asking::Allowed,
};

/// Words count as tokens, and 75 fill a window.
pub(crate) fn count_words(text: &str) -> (usize, usize) {
    let words = text.split_whitespace().count();
    (words, words.div_ceil(75).max(1))
}

/// The options of most tests.
pub(crate) fn options() -> Options {
    Options { preview: PreviewChoice::HalfBlocks, ..Options::new(XTERM, count_words) }
}

/// The dashboard on a screen that is not there.
pub(crate) struct Screen {
    /// Everything it knows.
    pub(crate) model: Model,
    /// Everything it wanted done.
    pub(crate) effects: Vec<Effect>,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    /// Opens the dashboard before anything was heard.
    pub(crate) fn open(width: u16, height: u16) -> Self {
        Self::with(options(), width, height)
    }

    /// Opens the dashboard with options of its own.
    pub(crate) fn with(options: Options, width: u16, height: u16) -> Self {
        let model = Model::new(options, fixtures::NOW);
        let mut screen = Self { model, effects: Vec::new(), terminal: Terminal::new(TestBackend::new(width, height)).unwrap() };
        screen.tell(Message::Tick(fixtures::NOW));
        screen.tell(Message::Resized(width, height));
        screen
    }

    /// Opens the dashboard on a box whose daemon has told everything.
    pub(crate) fn on(status: Status, width: u16, height: u16) -> Self {
        Self::open(width, height).told(status)
    }

    /// Lets the daemon tell everything.
    pub(crate) fn told(mut self, status: Status) -> Self {
        self.tell(Message::Up { place: "local".to_owned() });
        self.answer(|request| match request {
            Request::Models => Some(Ok(Reply::Models(fixtures::models()))),
            Request::Log { .. } => Some(Ok(Reply::Log(fixtures::log()))),
            _ => None,
        });
        self.hear(Change::Snapshot(Box::new(status)));
        self.effects.clear();
        self
    }

    /// Sends a message.
    pub(crate) fn tell(&mut self, message: Message) {
        self.effects.extend(update(&mut self.model, message));
    }

    /// Lets something happen at the daemon.
    pub(crate) fn hear(&mut self, change: Change) {
        self.tell(Message::Heard(Box::new(change)));
    }

    /// Answers every request for which there is an answer.
    pub(crate) fn answer(&mut self, answers: impl Fn(&Request) -> Option<Result<Reply, Refusal>>) {
        for effect in std::mem::take(&mut self.effects) {
            match &effect {
                Effect::Call { id, request } => match answers(request) {
                    Some(result) => self.tell(Message::Answered { id: *id, result: Box::new(result) }),
                    None => self.effects.push(effect),
                },
                _ => self.effects.push(effect),
            }
        }
    }

    /// The requests that were made and not answered, but for estimates, which the form asks for by itself.
    pub(crate) fn asked(&self) -> Vec<Request> {
        let requests = self.effects.iter().filter_map(|e| match e {
            Effect::Call { request, .. } if !matches!(**request, Request::Plan(_)) => Some((**request).clone()),
            _ => None,
        });
        requests.collect()
    }

    /// Loses the daemon.
    pub(crate) fn down(mut self) -> Self {
        let reason = Refusal::new(perilune::workflow::Kind::NoDaemon, "no daemon answers on daemon.sock", "start one: perilune serve");
        self.tell(Message::Down { reason, retry_in_s: 3.0 });
        self
    }

    /// Lets time go by.
    pub(crate) fn later(mut self, seconds: i64) -> Self {
        self.tell(Message::Tick(Timestamp(self.model.now.0 + seconds * 1000)));
        self
    }

    /// Presses keys: letters, and others in angle brackets, as in `6jj<enter>`.
    pub(crate) fn keys(mut self, keys: &str) -> Self {
        let mut rest = keys;
        while let Some(first) = rest.chars().next() {
            let (name, after) = match rest.strip_prefix('<').and_then(|r| r.split_once('>')) {
                Some((name, after)) => (name, after),
                None => rest.split_at(first.len_utf8()),
            };
            let chord: Chord = if name == " " { "space" } else { name }.parse().unwrap_or_else(|e| panic!("{keys}: {e}"));
            self.tell(Message::Pressed(chord));
            rest = after;
        }
        self
    }

    /// Draws the screen.
    pub(crate) fn draw(&mut self) -> &Buffer {
        self.terminal.draw(|frame| view::draw(&self.model, frame)).unwrap();
        self.terminal.backend().buffer()
    }

    /// The screen as text, without spaces at the ends of lines.
    pub(crate) fn text(&mut self) -> String {
        let buffer = self.draw();
        let rows = buffer.area.rows().map(|row| {
            let mut line = String::new();
            let mut skip = 0;
            for position in row.positions() {
                if skip > 0 {
                    skip -= 1;
                    continue;
                }
                let symbol = buffer[position].symbol();
                skip = unicode_width::UnicodeWidthStr::width(symbol).saturating_sub(1);
                line.push_str(symbol);
            }
            line.trim_end().to_owned()
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    /// The screen as text, each run of cells with its style.
    pub(crate) fn styled(&mut self) -> String {
        let buffer = self.draw();
        let mut text = String::new();
        for row in buffer.area.rows() {
            let mut last = None;
            for position in row.positions() {
                let cell = &buffer[position];
                let style = (cell.fg, cell.bg, cell.modifier);
                if last != Some(style) {
                    text.extend(["‹", &style_name(style), "›"]);
                    last = Some(style);
                }
                text.push_str(cell.symbol());
            }
            while text.ends_with(' ') {
                text.pop();
            }
            text.push('\n');
        }
        text
    }

    /// Gives the screen the size that the model has.
    pub(crate) fn resize(&mut self) {
        let (width, height) = self.model.size;
        self.terminal.backend_mut().resize(width, height);
    }

    /// Whether the dashboard wanted this done.
    pub(crate) fn wanted(&self, what: impl Fn(&Effect) -> bool) -> bool {
        self.effects.iter().any(what)
    }
}

fn style_name((fg, bg, modifier): (ratatui::style::Color, ratatui::style::Color, ratatui::style::Modifier)) -> String {
    let mut parts = Vec::new();
    if fg != ratatui::style::Color::Reset {
        parts.push(fg.to_string().to_lowercase());
    }
    if bg != ratatui::style::Color::Reset {
        parts.push(format!("on {}", bg.to_string().to_lowercase()));
    }
    parts.extend(modifier.iter_names().map(|(name, _)| name.to_lowercase()));
    parts.join(" ")
}
