//! `perilune replay FILE`: a recording on the same screens, or line by line.

use super::dashboard;
use crate::cli::context::Context;
use crate::cli::replay::{self, AtEnd};
use crate::cli::watching::ReplayArgs;
use crate::recording::{CutOff, Recording};
use crate::tui::screens::Screen;
use crate::workflow::Refusal;

/// Plays a recording. Returns the exit code.
pub(super) fn replay(context: &Context, args: &ReplayArgs) -> Result<u8, Refusal> {
    let cut_off = if args.partial { CutOff::Played } else { CutOff::Refused };
    let recording = Recording::open(&args.file, cut_off)?;
    let from = recording.begun.plus(std::time::Duration::from_secs_f64(args.from));
    let (place, speed) = (recording.header.place.clone(), args.speed);
    if context.plain {
        return dashboard::plain(context, || {
            let (link, player) = replay::play(recording, speed, from, AtEnd::Ends)?;
            Ok((vec![(place, link)], Some(player)))
        });
    }
    dashboard::draw(context, Screen::Overview, || {
        let (link, player) = replay::play(recording, speed, from, AtEnd::Waits)?;
        Ok((vec![(place, link)], Some(player)))
    })
}
