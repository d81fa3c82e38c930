//! Which pictures the screen wants, after every message.

use super::effect::Effect;
use super::gallery::{Source, Wanted};
use super::model::Model;
use super::screens::{Screen, gallery, queue};
use crate::jobs::JobView;

/// Orders the pictures that the screen shows, where they are not ready, and what must be known of them.
pub fn settle(model: &mut Model) -> Vec<Effect> {
    let wanted = wanted(model);
    let order = model.gallery.want(wanted).map(|order| Effect::Prepare(Box::new(order)));
    let unknown = if model.screen == Screen::Gallery { gallery::update::ask_for_unknown(model) } else { None };
    order.into_iter().chain(unknown).collect()
}

fn wanted(model: &Model) -> Vec<Wanted> {
    if !shows_pictures(model) {
        return Vec::new();
    }
    if model.screen == Screen::Gallery {
        return gallery::update::wanted(model);
    }
    of_queue(model).into_iter().collect()
}

fn of_queue(model: &Model) -> Option<Wanted> {
    let cells = queue::view::picture_cells(model.size)?;
    let job = model.job_at_hand().and_then(|id| model.known.job(id))?;
    Some(Wanted { source: source(model, job)?, cells })
}

/// Returns whether pictures can be seen: their screen is open and nothing lies above it.
#[must_use]
pub fn shows_pictures(model: &Model) -> bool {
    let above =
        model.alarm.is_some() || model.detail.is_some() || model.help.is_some() || model.palette.is_some() || model.confirm.is_some();
    matches!(model.screen, Screen::Queue | Screen::Gallery) && !above
}

/// Returns where a job's picture comes from, if it has one that can be had here.
#[must_use]
pub fn source(model: &Model, job: &JobView) -> Option<Source> {
    if job.state.is_active() {
        return model.gallery.live(job.job).cloned();
    }
    let local = model.place == "local";
    job.images.first().filter(|_| local).map(|image| Source::File(image.path.clone()))
}
