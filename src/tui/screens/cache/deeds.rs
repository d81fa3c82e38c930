//! What can be done with conversions: with which, why not, and what is asked of the daemon for it.

use super::menu::{Convert, Rules, command};
use super::{Menu, Row, update};
use crate::quant::precision::Target;
use crate::theme::Role;
use crate::tui::action::{Action, CacheVerb};
use crate::tui::asked::Purpose;
use crate::tui::effect::Effect;
use crate::tui::layer::Layer;
use crate::tui::model::{Confirm, Model, Then};
use crate::tui::screens::compose::pick;
use crate::tui::wording;
use crate::units::Bytes;
use crate::wire::{CachedView, CleanAsk, ConvertAsk, ConvertStatus, ConvertedView, GoneView, Request, VerifiedView};

/// Returns why something cannot be done now, if it cannot.
#[must_use]
pub fn reason_against(model: &Model, verb: CacheVerb) -> Option<String> {
    let targets = || model.cache.targets(&model.known);
    let file = |what: &str| targets().is_empty().then(|| format!("no file is selected to be {what}"));
    match verb {
        CacheVerb::Convert => None,
        CacheVerb::Sort | CacheVerb::Reverse => {
            let none = model.known.cached.iter().flatten().next().is_none();
            none.then(|| "there is nothing to order".to_owned())
        }
        CacheVerb::Clean => model.known.cached.iter().flatten().next().is_none().then(|| "there is nothing to clean".to_owned()),
        CacheVerb::Verify => file("read").or_else(|| {
            let unfinished = targets().iter().all(|f| f.to.is_none());
            unfinished.then(|| "only finished conversions are read".to_owned())
        }),
        CacheVerb::Keep => file("kept").or_else(|| {
            let none = targets().iter().all(|f| !can_be_kept(f));
            none.then(|| "only finished conversions in the model folders are kept".to_owned())
        }),
        CacheVerb::Remove => file("removed").or_else(|| {
            let key = || model.options.keys.said(Layer::Cache, Action::Cache(CacheVerb::Keep));
            let reason = |f: &CachedView| match (f.in_use, f.outside, f.kept) {
                (true, ..) => Some("it is in use and stays".to_owned()),
                (_, true, _) => Some("it lies outside of the model folders; remove it there".to_owned()),
                (_, _, true) => Some(format!("it is kept; {} lets it go", key())),
                (false, false, false) => None,
            };
            let targets = targets();
            let none = targets.iter().all(|f| reason(f).is_some());
            targets.first().filter(|_| none).and_then(|f| reason(f))
        }),
    }
}

/// Does something with conversions.
pub fn perform(model: &mut Model, verb: CacheVerb) -> Vec<Effect> {
    model.cache.trouble = None;
    match verb {
        CacheVerb::Convert => {
            open_convert(model);
            return model.ask_once(Purpose::Models, Request::Models).into_iter().collect();
        }
        CacheVerb::Verify => {
            let files = model.cache.targets(&model.known).into_iter().filter(|f| f.to.is_some()).map(|f| f.path.clone());
            let new: Vec<_> = files.filter(|path| !model.cache.verifying.contains(path)).collect();
            model.cache.marked.clear();
            model.cache.verified.retain(|v| !new.contains(&v.path));
            let idle = model.cache.verifying.is_empty();
            model.cache.verifying.extend(new);
            if idle {
                return read_next(model).into_iter().collect();
            }
        }
        CacheVerb::Clean => model.cache.menu = Some(Menu::Rules(Rules::default())),
        CacheVerb::Remove => confirm_remove(model),
        CacheVerb::Keep => return keep(model),
        CacheVerb::Sort => model.cache.order = model.cache.order.next(),
        CacheVerb::Reverse => model.cache.reversed = !model.cache.reversed,
    }
    Vec::new()
}

/// Opens the list of models, at the source of the file at hand.
fn open_convert(model: &mut Model) {
    let source = match model.cache.at_hand(&model.known) {
        Some(Row::File(file)) => file.source.clone(),
        Some(Row::Conversion(_)) | None => None,
    };
    let name = model.known.models.iter().flatten().find(|m| Some(&m.path) == source.as_ref()).map(|m| wording::clean(&m.name));
    let cursor = pick::models(&model.known).iter().position(|c| Some(&c.value) == name.as_ref()).unwrap_or(0);
    let pick = pick::Pick { cursor, ..pick::Pick::default() };
    model.cache.menu = Some(Menu::Convert(Convert { pick, source: None }));
}

/// Asks for a conversion.
pub fn convert(model: &mut Model, source: &str, to: &str) -> Option<Effect> {
    let to = Target::named(to)?;
    model.cache.menu = None;
    let what = format!("{source} to {to}");
    model.toast(Role::Ok, format!("{what} is converted; it stops if you leave, and what is done is kept"));
    let ask = ConvertAsk { source: source.to_owned(), part: None, to };
    Some(model.ask(Purpose::Convert(what), Request::Convert(ask)))
}

/// A conversion is there.
pub fn converted(model: &mut Model, what: &str, view: &ConvertedView) -> Vec<Effect> {
    let name = wording::file_name(&view.output);
    let text = match view.status {
        ConvertStatus::Converted => format!("{what}: {name} is there after {}", wording::measured(view.seconds)),
        ConvertStatus::Restored => format!("{what}: {name} came from the back-up"),
        ConvertStatus::Cached => format!("{what}: {name} was there already"),
        ConvertStatus::Skipped => format!("{what}: {}", view.reason.clone().unwrap_or_else(|| "nothing was to do".to_owned())),
    };
    model.toast(Role::Ok, text);
    model.cache.selected = Some(super::At::File(view.output.clone()));
    update::ask(model).into_iter().collect()
}

fn read_next(model: &mut Model) -> Option<Effect> {
    let path = model.cache.verifying.front().cloned()?;
    Some(model.ask(Purpose::Verify(path.clone()), Request::VerifyCached(path)))
}

/// A file was read, or could not be asked for.
pub fn verified(model: &mut Model, path: &std::path::Path, view: Option<VerifiedView>) -> Vec<Effect> {
    model.cache.verifying.retain(|p| p != path);
    if let Some(view) = view {
        let name = wording::file_name(path);
        match &view.problem {
            None => model.toast(Role::Ok, format!("{name} is intact")),
            Some(_) => model.toast(Role::Crit, format!("{name} is not what was written")),
        }
        model.cache.verified.retain(|v| v.path != path);
        model.cache.verified.push(view);
    }
    let next = read_next(model);
    let list = if next.is_none() { update::ask(model) } else { None };
    next.into_iter().chain(list).collect()
}

fn can_be_kept(file: &CachedView) -> bool {
    file.to.is_some() && !file.outside
}

/// Keeps the files; where all of them are kept already, lets them go again.
fn keep(model: &mut Model) -> Vec<Effect> {
    let files: Vec<&CachedView> = model.cache.targets(&model.known).into_iter().filter(|f| can_be_kept(f)).collect();
    let kept = files.iter().any(|f| !f.kept);
    let paths: Vec<_> = files.iter().filter(|f| f.kept != kept).map(|f| f.path.clone()).collect();
    model.cache.marked.clear();
    let ask = |path: std::path::PathBuf| model.ask(Purpose::Keep(path.clone(), kept), Request::KeepCached { path, kept });
    paths.into_iter().map(ask).collect()
}

/// A file is kept, or may go again.
pub fn kept(model: &mut Model, path: &std::path::Path, kept: bool) {
    for file in model.known.cached.iter_mut().flatten().filter(|f| f.path == path) {
        file.kept = kept;
    }
    let end = if kept { "is kept, whatever rule cleans" } else { "may go again" };
    model.toast(Role::Ok, format!("{} {end}", wording::file_name(path)));
}

fn confirm_remove(model: &mut Model) {
    let stays = |f: &&CachedView| f.in_use || f.outside || f.kept;
    let gone: Vec<&CachedView> = model.cache.targets(&model.known).into_iter().filter(|f| !stays(f)).collect();
    let bytes: Bytes = gone.iter().map(|f| f.bytes).sum();
    let ask = CleanAsk { files: gone.iter().map(|f| f.path.clone()).collect(), ..CleanAsk::default() };
    let question = match &gone[..] {
        [only] => format!("Remove {}?", wording::file_name(&only.path)),
        several => format!("Remove {} files?", several.len()),
    };
    let lost = gone.iter().any(|f| f.state == crate::wire::CachedState::Orphaned);
    let again = if lost { "what has no source any more cannot be made again" } else { "it can be made again from its source" };
    model.confirm = Some(Confirm {
        question,
        consequence: format!("{bytes} are freed; {again}."),
        command: Some(command(&ask)),
        list: gone.iter().filter(|_| gone.len() > 1).map(|f| format!("{}  {}", f.path.display(), f.bytes)).collect(),
        scroll: 0,
        then: Then::Clean(Box::new(ask)),
    });
}

/// It is known what would go by a rule: asks whether it shall.
pub fn would_go(model: &mut Model, ask: &CleanAsk, gone: &[GoneView]) {
    if gone.is_empty() {
        return model.toast(Role::Ok, "nothing would go by this rule");
    }
    let bytes: Bytes = gone.iter().map(|g| g.bytes).sum();
    let files = gone.iter().map(|g| g.path.clone()).collect();
    let command = Some(command(ask));
    let ask = CleanAsk { files, dry_run: false, ..ask.clone() };
    model.confirm = Some(Confirm {
        question: format!("Remove {}?", wording::count(gone.len() as u64, "file")),
        consequence: format!("{bytes} are freed. Only what is listed here goes."),
        command,
        list: gone.iter().map(|g| format!("{}  {}  {}", wording::file_name(&g.path), g.bytes, g.reason)).collect(),
        scroll: 0,
        then: Then::Clean(Box::new(ask)),
    });
}

/// Has conversions removed.
pub fn clean(model: &mut Model, ask: CleanAsk) -> Vec<Effect> {
    model.cache.marked.clear();
    vec![model.ask(Purpose::Clean, Request::CleanCache(ask))]
}

/// Conversions went, or did not.
pub fn cleaned(model: &mut Model, gone: &[GoneView]) -> Vec<Effect> {
    let removed: Vec<&GoneView> = gone.iter().filter(|g| g.removed).collect();
    let bytes: Bytes = removed.iter().map(|g| g.bytes).sum();
    model.toast(Role::Ok, format!("{} removed, {bytes} freed", wording::count(removed.len() as u64, "file")));
    let problem = gone.iter().find_map(|g| Some(format!("{}: {}", wording::file_name(&g.path), g.problem.as_ref()?)));
    model.cache.trouble = problem;
    update::ask(model).into_iter().collect()
}
