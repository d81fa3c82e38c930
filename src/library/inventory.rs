//! Finds out everything about the files that a draft names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::scan::{FolderKind, Roots, find};
use super::{LibraryError, moonlet, picture, router, sources, vocabulary};
use crate::families::absence::absent;
use crate::families::{Description, FamilyError, Role, Source, describe_loadable, describe_with_parts, route};
use crate::quant::detect;
use crate::tokens::vocabulary::Place;
use crate::units::Size;
use crate::workflow::resolve::{check_member, no_network};
use crate::workflow::{Inventory, JobDraft, Kind, Refusal, Search};

/// Returns the model that a draft names, with its other VAE and text encoders in place.
pub fn gather(draft: &JobDraft, roots: &Roots) -> Result<Inventory, Refusal> {
    let asked;
    let roots = match asked_roots(draft, roots)? {
        Some(others) => {
            asked = others;
            &asked
        }
        None => roots,
    };
    let model = locate(&draft.model, Role::Denoiser, roots)?;
    let mut all = sources::open(&model, None)?;
    if draft.names_parts() {
        add_given(&mut all, draft, &model, roots)?;
    }
    let mut description = describe_loadable(&all).map_err(at_fault(&model, &all))?;
    if let (Some(family), Some(variant), None) = (description.family, &description.variant, &draft.variant) {
        // Nobody shall look for encoders of what does not run.
        check_member(&set_name(&model), family, variant)?;
    }
    let Elsewhere { notes, unfit } = found_elsewhere(&mut all, &description, roots)?;
    if !notes.is_empty() {
        description = describe_loadable(&all).map_err(at_fault(&model, &all))?;
    }
    let search = Search { folders: router::folders(&description.missing, roots), unfit };
    check_wanted(draft, &description)?;
    let vocabularies = vocabularies(&description, roots)?;
    let init_size = draft.init_image.as_deref().map(picture_size).transpose()?;
    Ok(Inventory { name: set_name(&model), path: model, description: Some(description), init_size, vocabularies, notes, search })
}

/// Adds the parts that a draft names beside its model.
fn add_given(all: &mut Vec<Source>, draft: &JobDraft, model: &Path, roots: &Roots) -> Result<(), Refusal> {
    let wrong = LibraryError::of_tensors(model);
    let Some(family) = route::network(all).map_err(&wrong)?.map(|(_, found)| found.family) else {
        // Whatever its parts are, there is nothing for them to go with.
        return Err(no_network(&set_name(model), &describe_loadable(all).map_err(&wrong)?));
    };
    let mut taken: Vec<Role> = draft.encoders.keys().copied().collect();
    for (role, name) in &draft.encoders {
        all.extend(given(name, *role, roots)?);
    }
    for clip in &draft.clip {
        all.extend(router::fitting(&locate(clip, Role::ClipL, roots)?, family, &mut taken)?);
    }
    if let Some(vae) = &draft.vae {
        all.extend(given(vae, Role::Vae, roots)?);
    }
    Ok(())
}

/// Returns the model folders as a draft has them: its own in place of those that everybody has, where it names any.
fn asked_roots(draft: &JobDraft, roots: &Roots) -> Result<Option<Roots>, Refusal> {
    if let Some(relative) = draft.models.iter().find(|folder| !folder.is_absolute()) {
        let message = format!("--models {} is relative", relative.display());
        return Err(Refusal::new(Kind::Usage, message, "give the folder from / on, as it is where the daemon runs"));
    }
    Ok((!draft.models.is_empty()).then(|| Roots { models: draft.models.clone(), ..roots.clone() }))
}

/// Names the file of the part that is at fault, where it was given apart, and otherwise the model's.
fn at_fault<'a>(model: &'a Path, all: &'a [Source]) -> impl Fn(FamilyError) -> LibraryError + 'a {
    move |error| {
        let roles = error.roles();
        let apart = all.iter().rev().find(|source| source.role.is_some_and(|role| roles.contains(&role)));
        let path = apart.and_then(|source| source.files.first()).map_or(model, PathBuf::as_path);
        LibraryError::of_tensors(path)(error)
    }
}

/// Refuses a text encoder that the model does not read with: whoever gave it means another model.
fn check_wanted(draft: &JobDraft, described: &Description) -> Result<(), Refusal> {
    let Some(family) = described.family.filter(|family| family.is_supported()) else { return Ok(()) };
    let Some((role, name)) = draft.encoders.iter().find(|(role, _)| family.encoders().all(|known| known != **role)) else { return Ok(()) };
    let read: Vec<Role> = family.encoders().collect();
    Err(Refusal::new(
        Kind::BadFile,
        format!("{name}: given with {}, but {} reads no text with a {role}", role.flag(), family.title()),
        format!("leave it out; {} reads text with {}", family.title(), router::names(&read)),
    ))
}

/// Finds the words that the model's text encoders know, for those that need a file of them.
fn vocabularies(described: &Description, roots: &Roots) -> Result<BTreeMap<Role, Place>, Refusal> {
    let Some(family) = described.family.filter(|family| family.is_supported()) else { return Ok(BTreeMap::new()) };
    let parts = family
        .encoders()
        .filter_map(|role| Some((role, vocabulary::kind_of(role)?, described.components.iter().find(|c| c.role == role)?)));
    parts.map(|(role, kind, part)| Ok((role, vocabulary::find(kind, &part.files, roots)?.0))).collect()
}

/// What came of looking for parts in the model folders.
#[derive(Default)]
struct Elsewhere {
    /// What to tell of those that were found.
    notes: Vec<String>,
    /// Why others do not fit.
    unfit: Vec<String>,
}

/// Adds the parts that the model needs, that nobody gave and that the model folders hold.
fn found_elsewhere(all: &mut Vec<Source>, described: &Description, roots: &Roots) -> Result<Elsewhere, Refusal> {
    let Some(family) = described.family.filter(|family| family.is_supported()) else { return Ok(Elsewhere::default()) };
    let mut found = Elsewhere::default();
    for role in &described.missing {
        let router::Found { choice, unfit } = router::search(*role, family, all, roots)?;
        match choice {
            Some(choice) => {
                found.notes.push(choice.note());
                all.extend(choice.sources);
            }
            // A file that nobody can read may be told of for several parts, and is one.
            None => found.unfit.extend(unfit.into_iter().filter(|told| !found.unfit.contains(told)).collect::<Vec<_>>()),
        }
    }
    Ok(found)
}

/// Returns the size of a picture as it is seen, cut to whole latent cells, from its header.
fn picture_size(path: &Path) -> Result<Size, Refusal> {
    let (width, height) = picture::upright_size(path)?;
    let whole = |side: u32| side / Size::CELL * Size::CELL;
    Size::new(whole(width), whole(height)).map_err(|_| {
        let message = format!("{} is {width}x{height}; a picture to start from has sides of 8 to {} pixels", path.display(), Size::LIMIT);
        Refusal::new(Kind::BadFile, message, "scale it, or name another picture")
    })
}

/// Returns what a path or name holds, and where it is.
pub fn inspect(name: &str, roots: &Roots) -> Result<(PathBuf, Description), Refusal> {
    inspect_opened(name, roots).map(|(path, description, _)| (path, description))
}

/// Returns the same, and its headers, for whoever has more to ask of them.
pub fn inspect_opened(name: &str, roots: &Roots) -> Result<(PathBuf, Description, Vec<Source>), Refusal> {
    let path = locate(name, Role::Denoiser, roots)?;
    let sources = sources::open(&path, None)?;
    let (mut description, parts) = describe_with_parts(&sources).map_err(LibraryError::of_tensors(&path))?;
    for (component, part) in description.components.iter_mut().zip(&parts) {
        component.stored = Some(detect::detect(part, None).to_string());
    }
    Ok((path, description, sources))
}

/// A file given for one role must hold it; a whole checkpoint may be given for its part.
fn given(name: &str, role: Role, roots: &Roots) -> Result<Vec<Source>, Refusal> {
    let path = locate(name, role, roots)?;
    let mut sources = sources::open(&path, Some(role))?;
    sources.retain(|s| s.role.is_none_or(|r| r == role));
    for source in &mut sources {
        source.role = Some(role);
    }
    let held = route::find(&sources, role).map_err(LibraryError::of_tensors(&path))?;
    if held.is_none() {
        if let Some(other) = sources.iter().map(|s| absent(role, &s.catalog)).find(|e| matches!(e, FamilyError::OtherPart { .. })) {
            return Err(LibraryError::of_tensors(&path)(other).into());
        }
        return Err(Refusal::new(
            Kind::BadFile,
            format!("{}: given with {} but holds no {role}", path.display(), role.flag()),
            "`perilune models inspect PATH` shows what a file holds",
        ));
    }
    Ok(sources)
}

/// Returns where a model of any kind is: a path, or a name from the model folders.
pub fn locate_any(name: &str, roots: &Roots) -> Result<PathBuf, Refusal> {
    locate(name, Role::Denoiser, roots)
}

fn locate(name: &str, role: Role, roots: &Roots) -> Result<PathBuf, Refusal> {
    if name.is_empty() {
        return Err(Refusal::new(Kind::Usage, "no model was named", "add --model PATH or NAME; `moonlet` is always there"));
    }
    let path = Path::new(name);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let kinds: &[FolderKind] = match role {
        Role::Denoiser => {
            &[FolderKind::Checkpoints, FolderKind::DiffusionModels, FolderKind::Diffusers, FolderKind::Vae, FolderKind::TextEncoders]
        }
        Role::Vae => &[FolderKind::Vae, FolderKind::Checkpoints],
        Role::ClipL | Role::ClipG | Role::T5 | Role::Qwen => &[FolderKind::TextEncoders, FolderKind::Checkpoints],
    };
    match find(roots, kinds, name) {
        Ok(Some(path)) => return Ok(path),
        Ok(None) => {}
        Err(names) => {
            let message = format!("`{name}` may be any of {}", names.join(", "));
            return Err(Refusal::new(Kind::NotFound, message, "say which: a name with its folder, or a path"));
        }
    }
    if name == moonlet::NAME {
        return Ok(moonlet::path(&roots.cache)?);
    }
    let looked: Vec<String> = roots.models.iter().map(|r| r.display().to_string()).collect();
    Err(Refusal::new(
        Kind::NotFound,
        format!("there is no model `{name}` in {}", if looked.is_empty() { "any model folder".to_owned() } else { looked.join(", ") }),
        "`perilune models list` shows the models that are known; a path works too",
    ))
}

fn set_name(path: &Path) -> String {
    let stem = if path.is_dir() { path.file_name() } else { path.file_stem() };
    stem.map_or_else(|| path.display().to_string(), |s| s.to_string_lossy().into_owned())
}
