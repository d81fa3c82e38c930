//! Loaded sets: loaded ahead, unloaded, pinned, kept for a while.

use std::time::Duration;

use crate::daemon::core::Core;
use crate::daemon::input::Asker;
use crate::daemon::output::Output;
use crate::daemon::pending::Pending;
use crate::daemon::sets;
use crate::wire::{Reply, SetView};
use crate::workflow::{JobDraft, JobSpec, Kind, Refusal};

/// The longest that a set can be told to stay: a year. What is to stay longer is pinned.
const LONGEST: f64 = 365.0 * 86_400.0;

/// Has the model looked at, as for a job.
pub(super) fn load(core: &mut Core, asker: Asker, draft: Box<JobDraft>) {
    let defaults = Box::new(super::submit::defaults(core));
    let ticket = core.expect(Pending::LoadSet(asker));
    core.emit(Output::Prepare { ticket, draft, defaults });
}

/// It is known what is to be loaded.
pub(super) fn prepared(core: &mut Core, asker: Asker, checked: Result<Box<JobSpec>, Refusal>) {
    match checked.and_then(converted) {
        Ok(spec) => sets::load(core, asker, spec),
        Err(refusal) => core.answer(asker, Err(refusal)),
    }
}

/// Whether what is to be loaded is there: loading converts nothing.
pub(in crate::daemon) fn converted(spec: Box<JobSpec>) -> Result<Box<JobSpec>, Refusal> {
    if spec.conversion.as_ref().is_some_and(|c| c.result.is_none()) {
        let hint = "`perilune convert` makes the conversion; or run a job, which makes it, too";
        return Err(Refusal::new(Kind::Refused, "its network must be converted first", hint));
    }
    Ok(spec)
}

/// Has a set leave that no job uses.
pub(super) fn unload(core: &mut Core, asker: Asker, name: &str) {
    let set = match sets::find(core, name) {
        Ok(set) => set,
        Err(refusal) => return core.answer(asker, Err(refusal)),
    };
    if let Some(job) = set.used_by {
        let hint = format!("wait for it, or `perilune queue cancel {job}`");
        return core.answer(asker, Err(Refusal::new(Kind::Refused, format!("job {job} uses set `{}`", set.name), hint)));
    }
    if set.pinned {
        let hint = format!("`perilune sets unpin {}` lets it leave", set.id);
        return core.answer(asker, Err(Refusal::new(Kind::Refused, format!("set `{}` is pinned", set.name), hint)));
    }
    sets::unload(core, &set, Some(asker));
}

/// Has a set stay whoever asks for its memory.
pub(super) fn pin(core: &mut Core, asker: Asker, name: &str) {
    change(core, asker, name, sets::pin);
}

/// Lets a set leave again.
pub(super) fn unpin(core: &mut Core, asker: Asker, name: &str) {
    change(core, asker, name, sets::unpin);
}

/// Says how long a set stays that no job uses.
pub(super) fn keep(core: &mut Core, asker: Asker, name: &str, for_s: Option<f64>) {
    let time = match for_s.map(|s| if (0.0..=LONGEST).contains(&s) { Ok(Duration::from_secs_f64(s)) } else { Err(s) }).transpose() {
        Ok(time) => time,
        Err(seconds) => {
            let refusal = Refusal::new(Kind::Usage, format!("{seconds} s is no time that a set can stay"), "use 0 s to a year, or `ever`");
            return core.answer(asker, Err(refusal));
        }
    };
    change(core, asker, name, |core, set| sets::keep(core, set, time));
}

fn change(core: &mut Core, asker: Asker, name: &str, change: impl FnOnce(&mut Core, &SetView)) {
    match sets::find(core, name) {
        Ok(set) => {
            change(core, &set);
            let now = sets::views(core).into_iter().filter(|s| s.device == set.device && s.id == set.id).collect();
            core.answer(asker, Ok(Reply::Sets(now)));
        }
        Err(refusal) => core.answer(asker, Err(refusal)),
    }
}
