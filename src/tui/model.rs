//! Everything the dashboard knows and shows. Only `update` changes it, only views read it.

use super::alerts::Alerts;
use super::asked::{Asked, Purpose};
use super::effect::Effect;
use super::frozen::Frozen;
use super::gallery::Gallery;
use super::hosts::Hosts;
use super::known::Known;
use super::layer::Layer;
use super::options::{ColorDepth, Options};
use super::paint::Paint;
use super::player::Head;
use super::screens::offload::deeds::SaveOrder;
use super::screens::{Screen, alerts, cache, compose, detail, devices, gallery, help, log, offload, overview, palette, queue, sets};
pub use super::standing::{Freshness, Link, Urgency};
use crate::jobs::JobView;
use crate::theme::{Background, Role, Theme};
use crate::units::{JobId, Timestamp};
use crate::wire::{CleanAsk, ConversionId, Request, SignalAsk};
use crate::workflow::JobDraft;

/// Silence after which what is known is called old: two heartbeats were missed.
const STALE_MS: i64 = 5_000;
/// How long a toast stays.
pub(super) const TOAST_MS: i64 = 5_000;

/// A question that must be answered before something is taken away.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirm {
    /// The question.
    pub question: String,
    /// What follows from a yes.
    pub consequence: String,
    /// The command that does the same.
    pub command: Option<String>,
    /// What it is about, in rows.
    pub list: Vec<String>,
    /// The first of these rows that is shown.
    pub scroll: usize,
    /// What a yes does.
    pub then: Then,
}

/// What a yes does.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// Take these jobs back.
    Cancel(Vec<JobId>),
    /// Take every waiting job back.
    CancelWaiting,
    /// Forget finished jobs.
    ClearFinished,
    /// Give a conversion up.
    CancelConversion(ConversionId),
    /// Empty the form.
    ClearForm,
    /// Fill the form with something else.
    Fill {
        /// What.
        draft: Box<JobDraft>,
        /// The waiting job that a submission takes the place of.
        replaces: Option<JobId>,
    },
    /// Save a profile in the place of another.
    Save(Box<SaveOrder>),
    /// Remove conversions.
    Clean(Box<CleanAsk>),
    /// Have a set leave.
    Unload(sets::Target),
    /// Send a signal.
    Signal(SignalAsk),
    /// Leave, although the form holds a draft.
    Quit,
}

/// A short message that goes away by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toast {
    /// What.
    pub text: String,
    /// How important.
    pub role: Role,
    /// When it goes.
    pub until: Timestamp,
}

/// Everything the dashboard knows and shows.
#[derive(Debug)]
pub struct Model {
    /// How it is to look.
    pub options: Options,
    /// The theme, ready for the terminal.
    pub paint: Paint,
    /// The terminal's background, once known.
    pub background: Background,
    /// The present moment.
    pub now: Timestamp,
    /// Columns and rows.
    pub size: (u16, u16),
    /// The connection to the daemon.
    pub link: Link,
    /// Which daemon it is.
    pub place: String,
    /// What the daemon has told.
    pub known: Known,
    /// The screen that is shown.
    pub screen: Screen,
    /// The overview.
    pub overview: overview::State,
    /// One device.
    pub devices: devices::State,
    /// What engines hold.
    pub sets: sets::State,
    /// What was converted.
    pub cache: cache::State,
    /// Finished pictures.
    pub finished: gallery::State,
    /// The tuner.
    pub offload: offload::State,
    /// The queue.
    pub queue: queue::State,
    /// The form.
    pub compose: compose::State,
    /// The log.
    pub log: log::State,
    /// Open details.
    pub detail: Option<detail::State>,
    /// Open help.
    pub help: Option<help::State>,
    /// The open palette.
    pub palette: Option<palette::State>,
    /// The open question.
    pub confirm: Option<Confirm>,
    /// What needs a look or a hand.
    pub alerts: Alerts,
    /// The open list of it.
    pub alarm: Option<alerts::State>,
    /// The present, where what is shown stands still.
    pub frozen: Option<Box<Frozen>>,
    /// Whether the mouse selects.
    pub mouse: bool,
    /// Short messages, the oldest first.
    pub toasts: Vec<Toast>,
    /// Requests that wait for their answer.
    pub asked: Asked,
    /// When the order of jobs was last asked for.
    pub order_asked_at: Timestamp,
    /// The picture on the screen.
    pub gallery: Gallery,
    /// Where the recording stands, if it is one.
    pub replay: Option<Head>,
    /// How all boxes are, where several are shown.
    pub hosts: Option<Hosts>,
    /// Whether the screen must be drawn.
    pub dirty: Option<Urgency>,
}

impl Model {
    /// Returns the dashboard before anything has happened.
    #[must_use]
    pub fn new(options: Options, now: Timestamp) -> Self {
        let background = options.terminal.background;
        let paint = Paint::new(&theme(&options, background), &options.terminal);
        let detail = options.focus_job.map(|id| detail::State { subject: detail::Subject::Job(id), scroll: 0 });
        let queue = queue::State { selected: options.focus_job, ..queue::State::default() };
        let screen = if options.focus_job.is_some() { Screen::Queue } else { options.start_screen };
        let problem = options.keys_problem.clone();
        let mut model = Self {
            paint,
            background,
            now,
            size: (80, 24),
            link: Link::Connecting,
            place: options.place.clone(),
            known: Known { now, ..Known::default() },
            screen,
            overview: overview::State::default(),
            devices: devices::State::default(),
            sets: sets::State::default(),
            cache: cache::State::default(),
            finished: gallery::State::default(),
            offload: offload::State::default(),
            queue,
            compose: compose::State::default(),
            log: log::State::default(),
            detail,
            help: None,
            palette: None,
            confirm: None,
            alerts: Alerts::default(),
            alarm: None,
            frozen: None,
            mouse: options.mouse,
            toasts: Vec::new(),
            asked: Asked::default(),
            order_asked_at: Timestamp(0),
            gallery: Gallery::new(options.preview, options.terminal),
            replay: None,
            hosts: None,
            dirty: Some(Urgency::Input),
            options,
        };
        if let Some(problem) = problem {
            model.toast(Role::Warn, problem);
        }
        model
    }

    /// Uses another theme, or the same on another background.
    pub fn use_theme(&mut self, name: &str) {
        name.clone_into(&mut self.options.theme);
        self.paint = Paint::new(&theme(&self.options, self.background), &self.options.terminal);
    }

    /// Returns how old what is known is.
    #[must_use]
    pub fn freshness(&self) -> Freshness {
        let Some(heard) = self.heard_at() else { return Freshness::Unheard };
        let age = self.clock().0 - heard.0;
        match self.link {
            Link::Up if age < STALE_MS => Freshness::Live,
            Link::Up | Link::Connecting | Link::Down { .. } => Freshness::Old(age.max(0) as f64 / 1000.0),
        }
    }

    /// Returns whether the daemon can be asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Returns the layers of keys that are open, the innermost first.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        if self.confirm.is_some() {
            return vec![Layer::Confirm, Layer::Always];
        }
        if self.palette.is_some() {
            return vec![Layer::Palette, Layer::Always];
        }
        if let Some(help) = &self.help {
            let own = if help.search.typing { vec![Layer::Filter] } else { vec![Layer::Help, Layer::Everywhere] };
            return [own, vec![Layer::Always]].concat();
        }
        self.layers_below()
    }

    /// Returns the layers of the screen and what is open of it, as if neither help nor palette were open above them.
    #[must_use]
    pub fn layers_below(&self) -> Vec<Layer> {
        if self.alarm.is_some() {
            return vec![Layer::Alerts, Layer::Everywhere, Layer::Always];
        }
        let mut layers = match (&self.detail, self.screen) {
            (Some(detail), _) => match detail.subject {
                detail::Subject::Job(_) => vec![Layer::Detail, Layer::Jobs, Layer::Everywhere],
                detail::Subject::Device(_)
                | detail::Subject::Set(..)
                | detail::Subject::Cached(_)
                | detail::Subject::Notice(_)
                | detail::Subject::Line(_) => {
                    vec![Layer::Detail, Layer::Everywhere]
                }
            },
            (None, Screen::Overview) if self.overview.pane == overview::Pane::Queue => {
                vec![Layer::Jobs, Layer::Overview, Layer::Everywhere]
            }
            (None, Screen::Overview) => vec![Layer::Overview, Layer::Everywhere],
            (None, Screen::Devices) if self.devices.filter.typing => vec![Layer::Filter],
            (None, Screen::Devices) if self.devices.signals.is_some() => vec![Layer::Signals],
            (None, Screen::Devices) => vec![Layer::Devices, Layer::Everywhere],
            (None, Screen::Sets) if self.sets.filter.typing => vec![Layer::Filter],
            (None, Screen::Sets) => match &self.sets.menu {
                None => vec![Layer::Sets, Layer::Everywhere],
                Some(sets::Menu::Keep(_)) => vec![Layer::Stays],
                Some(sets::Menu::Load(_)) => vec![Layer::Pick],
            },
            (None, Screen::Cache) if self.cache.filter.typing => vec![Layer::Filter],
            (None, Screen::Cache) => match &self.cache.menu {
                None => vec![Layer::Cache, Layer::Everywhere],
                Some(cache::Menu::Rules(_)) => vec![Layer::Rules],
                Some(cache::Menu::Convert(_)) => vec![Layer::Pick],
            },
            (None, Screen::Gallery) if self.finished.filter.typing => vec![Layer::Filter],
            (None, Screen::Gallery) => vec![Layer::Gallery, Layer::Everywhere],
            (None, Screen::Offload) if self.offload.presets.is_some() => vec![Layer::Presets],
            (None, Screen::Offload) if self.offload.typing.is_some() => vec![Layer::Wish],
            (None, Screen::Offload) => vec![Layer::Offload, Layer::Everywhere],
            (None, Screen::Queue) if self.queue.filter.typing => vec![Layer::Filter],
            (None, Screen::Queue) => vec![Layer::Jobs, Layer::Queue, Layer::Everywhere],
            (None, Screen::Compose) => match self.compose.mode {
                compose::Mode::Moving => vec![Layer::Compose, Layer::Everywhere],
                compose::Mode::Typing => vec![Layer::Edit],
                compose::Mode::Picking(_) | compose::Mode::Profiles(_) => vec![Layer::Pick],
            },
            (None, Screen::Log) if self.log.search.typing => vec![Layer::Filter],
            (None, Screen::Log) => vec![Layer::Log, Layer::Everywhere],
        };
        let types = layers.first().is_some_and(|layer| layer.takes_text());
        if self.replay.is_some() && !types {
            layers.insert(0, Layer::Replay);
        }
        if self.hosts.is_some() && !types {
            layers.push(Layer::Hosts);
        }
        layers.push(Layer::Always);
        layers
    }

    /// Returns the job that verbs are for when none is marked.
    #[must_use]
    pub fn job_at_hand(&self) -> Option<JobId> {
        match &self.detail {
            Some(detail::State { subject: detail::Subject::Job(id), .. }) => return Some(*id),
            Some(_) => return None,
            None => {}
        }
        if self.screen == Screen::Gallery {
            return self.finished.entry(&self.known).map(|entry| entry.job);
        }
        let lists_jobs = match self.screen {
            Screen::Queue => true,
            Screen::Overview => self.overview.pane == overview::Pane::Queue,
            Screen::Devices | Screen::Sets | Screen::Cache | Screen::Offload | Screen::Compose | Screen::Log | Screen::Gallery => false,
        };
        let shown = self.queue.shown(&self.known);
        let cursor = self.queue.cursor(&shown).filter(|_| lists_jobs)?;
        shown.get(cursor).map(|j| j.job)
    }

    /// Returns the job of that number, be it one that was only looked up.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&JobView> {
        self.known.job(id).or_else(|| self.finished.older.get(&id))
    }

    /// Shows a short message.
    pub fn toast(&mut self, role: Role, text: impl Into<String>) {
        let until = Timestamp(self.clock().0 + TOAST_MS);
        self.toasts.push(Toast { text: text.into(), role, until });
        // More than a few would hide the screen.
        if self.toasts.len() > 3 {
            self.toasts.remove(0);
        }
    }

    /// Returns the effect that asks the daemon, and notes what for.
    pub fn ask(&mut self, purpose: Purpose, request: Request) -> Effect {
        Effect::Call { id: self.asked.note(purpose), request: Box::new(request) }
    }

    /// Returns the effect that submits a job: it is the operator's, whosever it was made from.
    pub fn submit(&mut self, purpose: Purpose, draft: JobDraft) -> Effect {
        let draft = JobDraft { owner: self.options.operator.clone(), ..draft };
        self.ask(purpose, Request::Submit(Box::new(draft)))
    }

    /// Returns the effect that asks the daemon, unless there is none, or it is asked for this already.
    pub fn ask_once(&mut self, purpose: Purpose, request: Request) -> Option<Effect> {
        let asks = self.is_up() && !self.asked.waits_for(|p| *p == purpose);
        asks.then(|| self.ask(purpose, request))
    }

    /// Marks the screen to be drawn.
    pub fn touch(&mut self, urgency: Urgency) {
        self.dirty = self.dirty.max(Some(urgency));
    }
}

/// The theme to use. Without colours only the theme that needs none shows a selection.
fn theme(options: &Options, background: Background) -> Theme {
    let themes = &options.themes;
    let chosen = match options.terminal.colors {
        ColorDepth::Mono => themes.get("mono"),
        ColorDepth::Ansi16 | ColorDepth::Indexed256 | ColorDepth::TrueColor => themes.choose(&options.theme, background),
    };
    let mut theme = chosen.cloned().unwrap_or_else(Theme::plain);
    theme.thresholds = theme.thresholds.with(options.thresholds);
    theme
}
