//! The pure heart: a message changes the model and may ask for effects. No IO, no clock.

use super::asked::Purpose;
use super::effect::Effect;
use super::message::Message;
use super::model::{Link, Model, TOAST_MS, Urgency};
use super::screens::{Screen, cache, compose, detail, devices, gallery, offload};
use super::{act, answered, pictures, pointer, view};
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
    let is_by_hand = matches!(message, Message::Pressed(_) | Message::Pasted(_) | Message::Pointed(_) | Message::Resized(..));
    let mut effects = if is_by_hand {
        take(model, message)
    } else {
        // News belong to the present, whatever is shown.
        model.swap();
        let second = model.now.0.div_euclid(1000);
        let is_time = matches!(message, Message::Tick(_));
        let effects = take(model, message);
        if !is_time || model.now.0.div_euclid(1000) != second {
            let thresholds = model.paint.thresholds();
            model.alerts.look(&model.known, thresholds, model.now);
        }
        model.swap();
        effects
    };
    effects.extend(devices::update::watch(model));
    effects.extend(compose::estimate::ask(model));
    effects.extend(pictures::settle(model));
    effects
}

fn take(model: &mut Model, message: Message) -> Vec<Effect> {
    match message {
        Message::Tick(now) => tick(model, now),
        Message::Pressed(chord) => {
            model.touch(Urgency::Input);
            let effects = act::press(model, chord);
            answered::tell_of_silence(model, &effects);
            effects
        }
        // Where nothing is shown, nothing can be meant.
        Message::Pointed(_) | Message::Pasted(_) if view::is_too_small(model.size) => Vec::new(),
        Message::Pointed(pointer) => {
            model.touch(Urgency::Input);
            pointer::point(model, pointer)
        }
        Message::Pasted(text) => {
            model.touch(Urgency::Input);
            act::paste(model, &text);
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
        Message::Heard(change) => hear(model, *change),
        Message::Saved { order, result } => {
            offload::deeds::saved(model, *order, result);
            model.touch(Urgency::Input);
            Vec::new()
        }
        Message::Written(result) => {
            match result {
                Ok(path) => model.toast(Role::Ok, format!("written: sh {} submits them again", path.display())),
                Err(reason) => model.toast(Role::Crit, format!("not written: {reason}")),
            }
            model.touch(Urgency::Input);
            Vec::new()
        }
        Message::Profiles(profiles) => {
            compose::profiles::told(model, &profiles);
            offload::presets::offer(&mut model.offload, profiles);
            model.touch(Urgency::Data);
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
    }
}

fn tick(model: &mut Model, now: Timestamp) -> Vec<Effect> {
    let before = model.now;
    model.now = now;
    model.known.now = now;
    let toasts = model.toasts.len();
    model.toasts.retain(|t| t.until > now && t.until.0 - now.0 <= TOAST_MS);
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
    model.known.begin();
    model.devices.watched = None;
    model.place = place;
    model.touch(Urgency::Data);
    let mut effects = vec![model.ask(Purpose::Log, Request::Log { limit: LOG_LINES }), model.ask(Purpose::Models, Request::Models)];
    if let Some(id) = focused_job(model).filter(|id| model.known.job(*id).is_none()) {
        effects.push(model.ask(Purpose::Show(id), Request::Show(id)));
    }
    effects.extend(match model.screen {
        Screen::Offload => offload::update::ask(model),
        Screen::Cache => cache::update::ask(model),
        Screen::Gallery => gallery::update::ask(model),
        Screen::Overview | Screen::Devices | Screen::Sets | Screen::Queue | Screen::Compose | Screen::Log => None,
    });
    effects
}

fn focused_job(model: &Model) -> Option<JobId> {
    match model.detail.as_ref().map(|d| &d.subject) {
        Some(detail::Subject::Job(id)) => Some(*id),
        Some(
            detail::Subject::Device(_)
            | detail::Subject::Set(..)
            | detail::Subject::Cached(_)
            | detail::Subject::Notice(_)
            | detail::Subject::Line(_),
        )
        | None => None,
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

fn hear(model: &mut Model, change: Change) -> Vec<Effect> {
    // What an engine holds is what wishes are compared with.
    let tunes = model.screen == Screen::Offload && matches!(&change, Change::Sets(_));
    let made = model.screen == Screen::Cache && is_over(model, &change);
    match &change {
        Change::Preview(preview) => {
            if model.frozen.is_none() && model.gallery.heard(preview, model.now) {
                model.touch(Urgency::Data);
            }
            model.known.heard_at = Some(model.now);
            return Vec::new();
        }
        Change::Notice(notice) if model.screen != Screen::Overview => match notice.level.as_str() {
            "fail" | "crit" => model.toast(Role::Crit, notice.text.clone()),
            "warn" => model.toast(Role::Warn, notice.text.clone()),
            _ => {}
        },
        Change::Log(_) if model.screen != Screen::Log => {
            model.known.apply(change, model.now);
            return Vec::new();
        }
        Change::Job(job) if job.state.is_final() && model.known.job(job.job).is_none_or(|before| !before.state.is_final()) => {
            model.queue.over(&model.known, job.job);
            compose::estimate::doubt(model);
        }
        Change::Snapshot(_)
        | Change::Job(_)
        | Change::Gone(_)
        | Change::Progress { .. }
        | Change::Devices { .. }
        | Change::Queue { .. }
        | Change::Sets(_)
        | Change::Conversions(_)
        | Change::Engines(_)
        | Change::Notice(_)
        | Change::Log(_) => {}
    }
    // The first things told are what the operator came to see.
    let urgency = if model.known.heard_at.is_none() { Urgency::Input } else { Urgency::Data };
    model.known.apply(change, model.now);
    model.touch(urgency);
    let tuned = if tunes { offload::update::ask(model) } else { None };
    let listed = if made { cache::update::ask(model) } else { None };
    tuned.into_iter().chain(listed).collect()
}

/// Returns whether a conversion that was on its way is not any more: it may be there now.
fn is_over(model: &Model, change: &Change) -> bool {
    let Change::Conversions(now) = change else { return false };
    model.known.conversions.iter().any(|before| now.iter().all(|c| c.id != before.id))
}
