//! What is done with a wish: asked for in the form, tried, saved, copied.

use super::state::{State, Subject, Wish};
use super::{Worked, donors, update};
use crate::config::presets::{Existing, Saved};
use crate::jobs::JobView;
use crate::placement::expression::exact;
use crate::placement::planner::Stay;
use crate::placement::{Expert, OffloadAsk, OffloadPlan, VirtualVram};
use crate::profile::{PartPreset, Preset};
use crate::theme::Role;
use crate::tui::action::{Action, TuneVerb};
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::layer::Layer;
use crate::tui::model::{Confirm, Model, Then};
use crate::tui::screens::Screen;
use crate::tui::verbs;
use crate::tui::wording;
use crate::units::{Bytes, JobId};
use crate::wire::Request;
use crate::wire::control::{CalibrateAsk, CalibrationView};
use crate::workflow::JobDraft;

/// Steps of a trial: the first waits for more than the others, so the second is what counts.
const TRIAL_STEPS: u32 = 2;

/// A profile to be saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SaveOrder {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub preset: Preset,
    /// What becomes of one of this name.
    pub existing: Existing,
}

/// Returns why something cannot be done in the tuner, if it cannot.
#[must_use]
pub fn reason_against(model: &Model, verb: TuneVerb) -> Option<String> {
    let state = &model.offload;
    if state.facts.is_none() {
        return Some("the model is not known yet".to_owned());
    }
    match verb {
        TuneVerb::ApplyNow if now_for(model).is_none() => {
            let key = model.options.keys.said(Layer::Offload, Action::Tune(TuneVerb::Apply));
            Some(format!("no job of this model runs; {key} is for the next one"))
        }
        TuneVerb::Apply | TuneVerb::ApplyNow | TuneVerb::Trial | TuneVerb::Save => {
            let ready = state.worked.as_ref().map(Worked::ready)?;
            ready.err().map(|reason| format!("not possible: {reason}"))
        }
        TuneVerb::Pin if never_leaves(state) => Some("this block never leaves the device that computes".to_owned()),
        TuneVerb::Unpin if state.pins.of(state.at_hand()).is_none() => Some("this block is not pinned".to_owned()),
        TuneVerb::UnpinAll if state.pins.is_empty() => Some("no block is pinned".to_owned()),
        TuneVerb::Undo if !state.can_undo() => Some("there is nothing to undo".to_owned()),
        TuneVerb::CopyDiff if moves(state).is_none() => Some("no block moves".to_owned()),
        TuneVerb::Probe if model.asked.waits_for(|p| *p == Purpose::Probe) => Some("it is being measured".to_owned()),
        TuneVerb::Edit
        | TuneVerb::NextWay
        | TuneVerb::Toggle
        | TuneVerb::MoreLeaves
        | TuneVerb::LessLeaves
        | TuneVerb::Presets
        | TuneVerb::GoToBlock
        | TuneVerb::Pin
        | TuneVerb::Unpin
        | TuneVerb::UnpinAll
        | TuneVerb::Undo
        | TuneVerb::CopyDiff
        | TuneVerb::Floor
        | TuneVerb::Probe => None,
    }
}

fn never_leaves(state: &State) -> bool {
    let unit = state.facts.as_ref().and_then(|f| f.view.network.units.get(state.block));
    unit.is_some_and(|unit| unit.stay == Stay::Pinned)
}

/// Puts the wish into the form, so that the next job asks for it.
pub fn apply(model: &mut Model) -> Vec<Effect> {
    let Some(ask) = ready(model) else { return Vec::new() };
    model.offload.draft.offload = ask.clone();
    match model.offload.subject {
        Subject::Form => {
            model.compose.take_offload(&ask);
            let key = model.options.keys.said(Layer::Offload, Action::GoTo(Screen::Compose));
            model.toast(Role::Ok, format!("the Run form asks for this now, and so does the next job; {key} shows it"));
        }
        Subject::Job(job) => {
            let waits = model.known.job(job).is_some_and(|j| verbs::waits(j.state));
            verbs::offer(model, model.offload.draft.clone(), waits.then_some(job));
        }
    }
    Vec::new()
}

/// Returns the job that the wish can be given to at once: the one that is tuned, or the one of the same model that runs.
#[must_use]
pub fn now_for(model: &Model) -> Option<&JobView> {
    let facts = model.offload.facts.as_ref()?;
    match model.offload.subject {
        Subject::Job(job) => model.known.job(job).filter(|j| !j.state.is_final()),
        Subject::Form => model.known.active_on(facts.view.compute).filter(|j| j.spec.set.name == facts.view.model),
    }
}

/// Has a job's weights live so from now on.
pub fn apply_now(model: &mut Model) -> Vec<Effect> {
    let (Some(ask), Some(job)) = (ready(model), now_for(model).map(|j| j.job)) else { return Vec::new() };
    let purpose = Purpose::Verb { done: Some("has its weights live as wished"), jobs: vec![job] };
    vec![model.ask(purpose, Request::Rebudget { job, ask })]
}

/// Submits a short job that asks for the wish.
pub fn trial(model: &mut Model) -> Vec<Effect> {
    let Some(offload) = ready(model) else { return Vec::new() };
    let Some(facts) = &model.offload.facts else { return Vec::new() };
    let compute_device = Some(facts.view.compute);
    let draft = JobDraft { steps: Some(TRIAL_STEPS), held: false, compute_device, offload, ..model.offload.draft.clone() };
    vec![model.submit(Purpose::Trial, draft)]
}

/// Notes the job that tries a wish.
pub fn tried(model: &mut Model, job: JobId) {
    model.offload.trial = Some(job);
    model.toast(Role::Ok, format!("job {job} tries it with {TRIAL_STEPS} steps"));
}

/// Wishes for the least that leaves so much free where it is computed. Returns whether it could be wished for.
pub fn leave_free(model: &mut Model, text: &str) -> bool {
    let state = &model.offload;
    let Some(facts) = &state.facts else { return true };
    let compute = facts.view.compute;
    let floor = match text.parse::<VirtualVram>() {
        Ok(VirtualVram::AtLeast(floor)) => floor,
        Ok(VirtualVram::None) => Bytes::ZERO,
        Ok(VirtualVram::Auto) => {
            model.toast(Role::Warn, "how much is to stay free is an amount, such as 2GiB");
            return false;
        }
        Err(error) => {
            model.toast(Role::Warn, format!("`{text}`: {}; {}", error.problem, error.hint));
            return false;
        }
    };
    let ask = OffloadAsk { donors: donors::chosen(state, compute), pins: state.pins.clone(), ..OffloadAsk::default() };
    match facts.leaving_free(&ask, floor) {
        Ok(least) => {
            let text = if least == Bytes::ZERO { String::new() } else { exact(least) };
            model.offload.wish_for(Wish { text, donors: ask.donors, pins: ask.pins });
            model.toast(Role::Ok, format!("{least} leave {compute}, so that {floor} of it stay free"));
        }
        Err(error) => {
            model.toast(Role::Warn, format!("{floor} of {compute} cannot stay free: {error}"));
            return false;
        }
    }
    true
}

/// Has the box measured.
pub fn probe(model: &mut Model) -> Vec<Effect> {
    let Some(facts) = &model.offload.facts else { return Vec::new() };
    let ask = CalibrateAsk {
        model: Some(model.offload.draft.model.clone()),
        compute_device: Some(facts.view.compute),
        precision: Some(facts.view.precision),
    };
    model.toast(Role::Ok, format!("{} is being measured; its jobs wait meanwhile", facts.view.compute));
    vec![model.ask(Purpose::Probe, Request::Calibrate(ask))]
}

/// The box was measured: plans are worked out from that now.
pub fn probed(model: &mut Model, view: &CalibrationView) -> Vec<Effect> {
    model.toast(Role::Ok, format!("measured: {}; forecasts rest on it now", wording::count(view.findings.len() as u64, "figure")));
    update::ask(model).into_iter().collect()
}

/// Returns the ask, if it can be carried out.
fn ready(model: &Model) -> Option<OffloadAsk> {
    model.offload.worked.as_ref()?.ready().ok().cloned()
}

/// Returns a name for a profile of this model.
#[must_use]
pub fn profile_name(state: &State) -> String {
    let model = state.facts.as_ref().map_or("", |f| f.view.model.as_str());
    let plain = |c: char| if c.is_alphanumeric() || "-_".contains(c) { c } else { '-' };
    model.chars().map(plain).collect()
}

/// Returns whether a profile can be called so.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

/// Saves the wish as a profile.
pub fn save(model: &mut Model, name: &str, existing: Existing) -> Vec<Effect> {
    if !is_name(name) {
        model.toast(Role::Warn, format!("`{name}` is no name of a profile: it is one file's, without a folder"));
        return Vec::new();
    }
    let Some(ask) = ready(model) else { return Vec::new() };
    let draft = &model.offload.draft;
    let preset = Preset {
        precision: draft.precision.clone(),
        compute_device: model.offload.facts.as_ref().map(|f| f.view.compute),
        virtual_vram_gb: Some(ask.virtual_vram).filter(|v| *v != VirtualVram::None),
        donor_device: ask.donors,
        expert_mode_allocations: ask.expert.map(Expert::Alone),
        pin_blocks: Some(ask.pins).filter(|p| !p.is_empty()),
        parts: draft.parts.iter().map(|(part, ask)| (part, PartPreset::of(ask.clone()))).collect(),
        ..Preset::default()
    };
    vec![Effect::Save(Box::new(SaveOrder { name: name.to_owned(), preset, existing }))]
}

/// Says what became of a profile, or asks whether the one that there is may go.
pub fn saved(model: &mut Model, order: SaveOrder, result: Result<Saved, String>) {
    match result {
        Ok(Saved::In(path)) => model.toast(Role::Ok, format!("saved; use it with --profile {}: {}", order.name, path.display())),
        Ok(Saved::Exists) => replace(model, order, "Everything else that stands in it goes."),
        Ok(Saved::Ships) => replace(model, order, "It comes with perilune, which takes yours instead until its file is deleted."),
        Err(reason) => model.toast(Role::Crit, format!("not saved: {reason}")),
    }
}

/// Asks whether a profile may take the place of the one that there is.
fn replace(model: &mut Model, order: SaveOrder, consequence: &str) {
    model.confirm = Some(Confirm {
        question: format!("Replace the profile {}?", order.name),
        consequence: consequence.to_owned(),
        command: None,
        list: Vec::new(),
        scroll: 0,
        then: Then::Save(Box::new(SaveOrder { existing: Existing::Replaced, ..order })),
    });
}

/// Copies which blocks move.
pub fn copy_diff(model: &mut Model) -> Vec<Effect> {
    let Some(text) = moves(&model.offload).map(|text| wording::clean(&text)) else { return Vec::new() };
    model.toast(Role::Ok, format!("copied: {text}"));
    vec![Effect::Copy(text)]
}

fn moves(state: &State) -> Option<String> {
    let before = state.facts.as_ref().and_then(|f| f.before()).map(|p| &p.plan)?;
    Some(diff(before, &state.shown()?.plan)).filter(|text| !text.is_empty())
}

/// Returns which blocks move from where to where: `0-3 cpu>disk; 7 disk>cpu`.
#[must_use]
pub fn diff(before: &OffloadPlan, after: &OffloadPlan) -> String {
    let moves: Vec<_> = before.homes.iter().zip(&after.homes).enumerate().filter(|(_, (from, to))| from != to).collect();
    let mut runs: Vec<(usize, usize, String)> = Vec::new();
    for (at, (from, to)) in moves {
        let way = format!("{from}>{to}");
        match runs.last_mut() {
            Some((_, last, same)) if *last + 1 == at && *same == way => *last = at,
            _ => runs.push((at, at, way)),
        }
    }
    let run =
        |(first, last, way): (usize, usize, String)| if first == last { format!("{first} {way}") } else { format!("{first}-{last} {way}") };
    runs.into_iter().map(run).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::DeviceId;

    #[test]
    fn neighbours_that_move_alike_are_one_entry() {
        let plan = |letters: &str| OffloadPlan {
            compute: DeviceId::Cpu,
            homes: letters.chars().map(|c| if c == 'd' { DeviceId::Disk } else { DeviceId::Cpu }).collect(),
        };
        assert_eq!(diff(&plan("ccccdc"), &plan("dddccd")), "0-2 cpu>disk; 4 disk>cpu; 5 cpu>disk");
        assert_eq!(diff(&plan("cd"), &plan("cd")), "");
    }
}
