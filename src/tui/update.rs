//! The pure heart: a message changes the model and may ask for effects. No IO, no clock.

use super::action::{Action, Motion};
use super::asked::Purpose;
use super::chord::Chord;
use super::effect::Effect;
use super::keymap::{self, Layer};
use super::message::Message;
use super::model::{Confirm, Link, Model, Then, Urgency};
use super::screens::{Screen, compose, detail, help, log, overview, palette, queue};
use super::widgets::text_field;
use super::{answered, pictures, twin, verbs, wording};
use crate::theme::Role;
use crate::units::{JobId, Timestamp};
use crate::wire::{Change, Request};
use crate::workflow::Refusal;

/// Lines of the log to ask for at the start.
const LOG_LINES: u32 = 500;
/// The order of jobs is asked for at most this often.
const ORDER_MS: i64 = 1_000;

/// Takes in a message.
pub fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    let mut effects = match message {
        Message::Tick(now) => tick(model, now),
        Message::Pressed(chord) => {
            model.touch(Urgency::Input);
            press(model, chord)
        }
        Message::Pasted(text) => {
            model.touch(Urgency::Input);
            paste(model, &text);
            Vec::new()
        }
        Message::Resized(columns, rows) => {
            // Zero means that nobody knows.
            model.size = if columns == 0 || rows == 0 { (80, 24) } else { (columns, rows) };
            model.touch(Urgency::Input);
            Vec::new()
        }
        Message::Resumed => {
            model.gallery.forget_sent();
            model.touch(Urgency::Input);
            vec![Effect::Redraw]
        }
        Message::Probed(answers) => {
            model.gallery.probed(&answers);
            if let Some(background) = answers.background {
                model.background = background;
                let theme = model.options.theme.clone();
                model.use_theme(&theme);
            }
            model.touch(Urgency::Data);
            Vec::new()
        }
        Message::Up { place } => up(model, place),
        Message::Down { reason, retry_in_s } => {
            down(model, reason, retry_in_s);
            Vec::new()
        }
        Message::Heard(change) => {
            hear(model, *change);
            Vec::new()
        }
        Message::Answered { id, result } => {
            model.touch(Urgency::Data);
            answered::take(model, id, *result)
        }
        Message::Pictured { source, result } => {
            model.gallery.arrived(source, result);
            model.touch(Urgency::Data);
            Vec::new()
        }
    };
    effects.extend(pictures::settle(model));
    effects
}

fn tick(model: &mut Model, now: Timestamp) -> Vec<Effect> {
    let before = model.now;
    model.now = now;
    let toasts = model.toasts.len();
    model.toasts.retain(|t| t.until > now);
    // The clock of the header, ages and countdowns show whole seconds.
    if toasts != model.toasts.len() || now.0.div_euclid(1000) != before.0.div_euclid(1000) {
        model.touch(Urgency::Data);
    }
    let due = now.0 - model.order_asked_at.0 >= ORDER_MS;
    if model.known.order_doubtful && model.is_up() && due && !model.asked.waits_for(|p| *p == Purpose::Status) {
        model.order_asked_at = now;
        return vec![model.ask(Purpose::Status, Request::Status)];
    }
    Vec::new()
}

fn up(model: &mut Model, place: String) -> Vec<Effect> {
    if matches!(model.link, Link::Down { .. }) && model.known.heard_at.is_some() {
        model.toast(Role::Ok, "the daemon answers again");
    }
    model.link = Link::Up;
    model.place = place;
    model.touch(Urgency::Data);
    let mut effects = vec![model.ask(Purpose::Log, Request::Log { limit: LOG_LINES }), model.ask(Purpose::Models, Request::Models)];
    if let Some(id) = focused_job(model).filter(|id| model.known.job(*id).is_none()) {
        effects.push(model.ask(Purpose::Show(id), Request::Show(id)));
    }
    effects
}

fn focused_job(model: &Model) -> Option<JobId> {
    match model.detail.as_ref().map(|d| &d.subject) {
        Some(detail::Subject::Job(id)) => Some(*id),
        Some(detail::Subject::Device(_) | detail::Subject::Set(..) | detail::Subject::Notice(_) | detail::Subject::Line(_)) | None => None,
    }
}

fn down(model: &mut Model, reason: Refusal, retry_in_s: f64) {
    let now = model.now;
    let since = match model.link {
        Link::Down { since, .. } => since,
        Link::Up | Link::Connecting => now,
    };
    let wait = std::time::Duration::try_from_secs_f64(retry_in_s.clamp(0.0, 3600.0)).unwrap_or_default();
    model.link = Link::Down { reason, since, retry_at: now.plus(wait) };
    answered::abandon(model);
    model.touch(Urgency::Data);
}

fn hear(model: &mut Model, change: Change) {
    match &change {
        Change::Preview(preview) => {
            if model.gallery.heard(preview, model.now) {
                model.touch(Urgency::Data);
            }
            model.known.heard_at = Some(model.now);
            return;
        }
        Change::Notice(notice) if matches!(notice.level.as_str(), "fail" | "crit") && model.screen != Screen::Overview => {
            let role = Role::Crit;
            model.toast(role, notice.text.clone());
        }
        Change::Log(_) if model.screen != Screen::Log => {
            model.known.apply(change, model.now);
            return;
        }
        Change::Snapshot(_)
        | Change::Job(_)
        | Change::Gone(_)
        | Change::Progress { .. }
        | Change::Devices { .. }
        | Change::Queue { .. }
        | Change::Sets(_)
        | Change::Engines(_)
        | Change::Notice(_)
        | Change::Log(_) => {}
    }
    // The first things told are what the operator came to see.
    let urgency = if model.known.heard_at.is_none() { Urgency::Input } else { Urgency::Data };
    model.known.apply(change, model.now);
    model.touch(urgency);
}

fn press(model: &mut Model, chord: Chord) -> Vec<Effect> {
    let layers = model.layers();
    if let Some(action) = layers.iter().find_map(|layer| keymap::resolve(*layer, chord)) {
        return act(model, action);
    }
    match layers[0] {
        Layer::Palette => palette::update::press(model, chord),
        Layer::Filter => {
            if let Some(search) = open_search(model) {
                search.press(chord);
            }
        }
        Layer::Edit => model.compose.edit(|input| text_field::press(input, chord)),
        Layer::Pick => compose::update::press_pick(model, chord),
        Layer::Confirm
        | Layer::Help
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Queue
        | Layer::Compose
        | Layer::Log
        | Layer::Everywhere
        | Layer::Always => {}
    }
    Vec::new()
}

fn paste(model: &mut Model, text: &str) {
    match model.layers()[0] {
        Layer::Palette => palette::update::paste(model, text),
        Layer::Filter => {
            if let Some(search) = open_search(model) {
                text_field::paste(&mut search.input, text);
            }
        }
        // What is pasted upon a field is meant for it, also before typing has begun.
        Layer::Edit | Layer::Compose => model.compose.edit(|input| text_field::paste(input, text)),
        Layer::Pick => compose::update::paste_pick(model, text),
        Layer::Confirm
        | Layer::Help
        | Layer::Detail
        | Layer::Jobs
        | Layer::Overview
        | Layer::Queue
        | Layer::Log
        | Layer::Everywhere
        | Layer::Always => {}
    }
}

/// The words that are being typed or could be.
fn open_search(model: &mut Model) -> Option<&mut super::widgets::search::Search> {
    if let Some(help) = &mut model.help {
        return Some(&mut help.search);
    }
    if model.detail.is_some() {
        return None;
    }
    match model.screen {
        Screen::Queue => Some(&mut model.queue.filter),
        Screen::Log => Some(&mut model.log.search),
        Screen::Overview | Screen::Compose => None,
    }
}

/// Does what an action asks for, or says why not.
pub fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if let Some(reason) = verbs::reason_against(model, action) {
        model.toast(Role::Warn, reason);
        return Vec::new();
    }
    match action {
        Action::Quit => return quit(model),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => {
            model.gallery.forget_sent();
            return vec![Effect::Redraw];
        }
        Action::Refresh => return vec![model.ask(Purpose::Devices, Request::Devices)],
        Action::GoTo(screen) => {
            model.screen = screen;
            (model.detail, model.help) = (None, None);
            return models_for(model, screen).into_iter().collect();
        }
        Action::Move(motion) => go(model, motion),
        Action::Open => return open(model),
        Action::Back => back(model),
        Action::Filter => {
            if let Some(search) = open_search(model) {
                search.typing = true;
            }
        }
        Action::Palette => model.palette = Some(palette::State::open(model)),
        Action::Help => model.help = Some(help::State::of(model.layers_below())),
        Action::Complete => palette::update::complete(model),
        Action::CopyValue => return copy(model, value(model)),
        Action::CopyCommand => return copy(model, twin::command(model)),
        Action::Mark => queue::update::mark(model),
        Action::MarkAll => queue::update::mark_all(model),
        Action::Job(verb) => return verbs::perform(model, verb),
        Action::SubmitJob => return verbs::submit(model, false),
        Action::SubmitHeld => return verbs::submit(model, true),
        Action::ClearField => model.compose.edit(tui_input::Input::reset),
        Action::ClearForm => compose::update::clear(model),
        Action::Log(verb) => log::update::look(model, verb),
        Action::Accept => {
            let then = model.confirm.take().map(|c| c.then);
            return then.map(|then| verbs::accept(model, then)).unwrap_or_default();
        }
        Action::Decline => model.confirm = None,
    }
    Vec::new()
}

/// Asks for the models when the form is opened: files come and go.
fn models_for(model: &mut Model, screen: Screen) -> Option<Effect> {
    let asks = screen == Screen::Compose && model.is_up() && !model.asked.waits_for(|p| *p == Purpose::Models);
    asks.then(|| model.ask(Purpose::Models, Request::Models))
}

fn quit(model: &mut Model) -> Vec<Effect> {
    let asked_already = matches!(&model.confirm, Some(Confirm { then: Then::Quit, .. }));
    let has_draft = model.compose.unsent && !model.compose.text(compose::Field::Prompt).value().trim().is_empty();
    if asked_already || !has_draft {
        return vec![Effect::Quit];
    }
    model.confirm = Some(Confirm {
        question: "Leave, although the Run form holds a draft?".to_owned(),
        consequence: "Jobs go on; the draft is lost. Y copies it as a command.".to_owned(),
        command: Some(crate::workflow::command_line(&model.compose.draft().0)),
        then: Then::Quit,
    });
    Vec::new()
}

fn go(model: &mut Model, motion: Motion) {
    if model.palette.is_some() {
        palette::update::go(model, motion);
    } else if model.help.is_some() {
        help::update::go(model, motion);
    } else if model.detail.is_some() {
        detail::update::go(model, motion);
    } else {
        match model.screen {
            Screen::Overview => overview::update::go(model, motion),
            Screen::Queue => queue::update::go(model, motion),
            Screen::Compose => compose::update::go(model, motion),
            Screen::Log => log::update::go(model, motion),
        }
    }
}

fn open(model: &mut Model) -> Vec<Effect> {
    if model.palette.is_some() {
        return palette::update::run(model);
    }
    if let Some(search) = open_search(model)
        && search.typing
    {
        search.typing = false;
        return Vec::new();
    }
    if model.help.is_some() || model.detail.is_some() {
        return Vec::new();
    }
    match model.screen {
        Screen::Overview => return overview::update::open(model),
        Screen::Queue => {
            if let Some(id) = model.job_at_hand() {
                return verbs::show(model, id);
            }
        }
        Screen::Compose => compose::update::open(model),
        Screen::Log => log::update::open(model),
    }
    Vec::new()
}

fn back(model: &mut Model) {
    if model.palette.take().is_some() {
        return;
    }
    if let Some(search) = open_search(model)
        && search.typing
    {
        search.clear();
        return;
    }
    if model.help.take().is_some() || model.detail.take().is_some() {
        return;
    }
    match model.screen {
        Screen::Overview => {}
        Screen::Queue => {
            if !model.queue.filter.clear() {
                model.queue.marked.clear();
            }
        }
        Screen::Compose => model.compose.mode = compose::Mode::Moving,
        Screen::Log => {
            if !model.log.search.clear() {
                model.log.at = None;
            }
        }
    }
}

/// The value under the cursor.
fn value(model: &Model) -> Option<String> {
    if let Some(detail) = &model.detail {
        return detail::update::value(model, &detail.subject);
    }
    match model.screen {
        Screen::Overview => overview::update::value(model),
        Screen::Queue => model.job_at_hand().and_then(|id| queue::update::value(model, id)),
        Screen::Compose => Some(model.compose.text(model.compose.field()).value().to_owned()).filter(|t| !t.is_empty()),
        Screen::Log => log::update::value(model),
    }
}

fn copy(model: &mut Model, text: Option<String>) -> Vec<Effect> {
    let Some(text) = text.map(|t| wording::clean(&t)) else {
        model.toast(Role::Warn, "there is nothing to copy");
        return Vec::new();
    };
    model.toast(Role::Ok, format!("copied: {text}"));
    vec![Effect::Copy(text)]
}
