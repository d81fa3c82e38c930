//! Which picture the screen wants, after every message.

use super::effect::Effect;
use super::gallery::{Source, Wanted};
use super::model::Model;
use super::screens::{Screen, queue};
use crate::jobs::JobView;

/// Orders the picture that the screen shows, where it is not ready.
pub fn settle(model: &mut Model) -> Option<Effect> {
    let wanted = wanted(model);
    model.gallery.want(wanted).map(|order| Effect::Prepare(Box::new(order)))
}

fn wanted(model: &Model) -> Option<Wanted> {
    let cells = queue::view::picture_cells(model.size).filter(|_| shows_pictures(model))?;
    let job = model.job_at_hand().and_then(|id| model.known.job(id))?;
    Some(Wanted { source: source(model, job)?, cells })
}

/// Returns whether pictures can be seen: their screen is open and nothing lies above it.
#[must_use]
pub fn shows_pictures(model: &Model) -> bool {
    let above = model.detail.is_some() || model.help.is_some() || model.palette.is_some() || model.confirm.is_some();
    model.screen == Screen::Queue && !above
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
