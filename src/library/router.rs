//! Finds the parts that a model needs and does not bring: what is given is sorted by what it holds, and what is not given is looked
//! for in the model folders. A file's name never counts.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::scan::{FolderKind, Roots, models_of};
use super::sources;
use crate::families::detect::extract;
use crate::families::{Family, Role, Source, VaeConfig, clip};
use crate::weights::Catalog;
use crate::workflow::{Kind, Refusal};

/// A part that was found in the model folders.
#[derive(Debug)]
pub struct Choice {
    /// What it is.
    pub role: Role,
    /// Where it lies.
    pub path: PathBuf,
    /// Its files.
    pub sources: Vec<Source>,
}

impl Choice {
    /// Returns what the operator is told of it.
    #[must_use]
    pub fn note(&self) -> String {
        format!("{} is {}, the only one in the model folders that fits; {} names another", self.role, self.path.display(), self.role.flag())
    }
}

/// Opens a text encoder that was given without saying which of the family's it is, and gives it the first role that it fits and
/// that nobody has `taken`.
pub fn fitting(path: &Path, family: Option<Family>, taken: &mut Vec<Role>) -> Result<Vec<Source>, Refusal> {
    let mut opened = sources::open(path, None)?;
    let wanted: Vec<Role> = family.unwrap_or(Family::Sd15).encoders().collect();
    let fits = |role: &Role| opened.iter().any(|source| holds(&source.catalog, *role));
    let Some(role) = wanted.iter().find(|role| !taken.contains(role) && fits(role)).copied() else {
        let (title, names) = (family.map_or("a model", Family::title), names(&wanted));
        return Err(Refusal::new(
            Kind::BadFile,
            format!("{}: given with --clip, but it is none of the text encoders that {title} still needs", path.display()),
            format!("{title} reads text with {names}; `perilune models inspect PATH` shows what a file holds"),
        ));
    };
    taken.push(role);
    opened.retain(|source| source.role.is_none_or(|r| r == role));
    for source in &mut opened {
        source.role = Some(role);
    }
    Ok(opened)
}

/// Looks through the model folders for the only part of this role that fits the family. Several are an error that names them.
pub fn search(role: Role, family: Family, roots: &Roots) -> Result<Option<Choice>, Refusal> {
    let kinds: &[FolderKind] = match role {
        Role::Denoiser => return Ok(None),
        Role::Vae => &[FolderKind::Vae],
        Role::ClipL | Role::ClipG | Role::T5 | Role::Qwen => &[FolderKind::TextEncoders],
    };
    // One file may lie in several folders, over links.
    let mut seen = HashSet::new();
    let paths = kinds.iter().flat_map(|kind| models_of(roots, *kind)).filter(|path| seen.insert(path.canonicalize().ok()));
    let opened = paths.filter_map(|path| {
        // What cannot be read is no candidate; whoever names it hears why.
        let mut sources = sources::open(&path, Some(role)).ok()?;
        sources.retain(|source| holds_for(&source.catalog, role, family));
        (!sources.is_empty()).then_some(Choice { role, path, sources })
    });
    let mut found: Vec<Choice> = opened.collect();
    if found.len() > 1 {
        let paths: Vec<String> = found.iter().map(|choice| choice.path.display().to_string()).collect();
        return Err(Refusal::new(
            Kind::NotFound,
            format!("{} needs a {role}, and several files hold one: {}", family.title(), paths.join(", ")),
            format!("name one of them with {}", role.flag()),
        ));
    }
    Ok(found.pop())
}

/// Whether a file holds an encoder of this role: one of a released width has that width's role and no other.
fn holds(catalog: &Catalog, role: Role) -> bool {
    matches!(extract(catalog, role), Ok(Some(part)) if clip::claims(role, &part))
}

/// Whether a file holds a part of this role that the family can use.
fn holds_for(catalog: &Catalog, role: Role, family: Family) -> bool {
    if role.is_encoder() {
        return holds(catalog, role);
    }
    let part = extract(catalog, role).ok().flatten();
    let config = part.and_then(|catalog| VaeConfig::read(&catalog).ok());
    config.is_some_and(|vae| vae.latent_channels == family.latent_space().channels)
}

/// Returns the names of parts as people read them.
pub(super) fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}
