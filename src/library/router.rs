//! Finds the parts that a model needs and does not bring: what is given is sorted by what it holds, and what is not given is looked
//! for in the model folders. A file's name never counts.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::scan::{FolderKind, Roots, models_of};
use super::{LibraryError, sources};
use crate::families::detect::extract;
use crate::families::{Family, Role, Source, absence, clip, describe_loadable};
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
pub fn fitting(path: &Path, family: Family, taken: &mut Vec<Role>) -> Result<Vec<Source>, Refusal> {
    let mut opened = sources::open(path, None)?;
    let wanted: Vec<Role> = family.encoders().collect();
    let fits = |role: &Role| opened.iter().any(|source| holds(&source.catalog, *role));
    let Some(role) = wanted.iter().find(|role| !taken.contains(role) && fits(role)).copied() else {
        let (title, names) = (family.title(), names(&wanted));
        let goes_beside = opened.iter().find_map(|source| absence::beside(&source.catalog));
        let (what, hint) = goes_beside.map_or_else(
            || {
                let hint = format!("{title} reads text with {names}; `perilune models inspect PATH` shows what a file holds");
                (format!("it is none of the text encoders that {title} still needs"), hint)
            },
            |(what, tensor)| (format!("it is {what}, as `{tensor}` shows"), absence::LEAVE_OUT.to_owned()),
        );
        return Err(Refusal::new(Kind::BadFile, format!("{}: given with --clip, but {what}", path.display()), hint));
    };
    taken.push(role);
    opened.retain(|source| source.role.is_none_or(|r| r == role));
    for source in &mut opened {
        source.role = Some(role);
    }
    Ok(opened)
}

/// What the model folders hold for one part of a model.
#[derive(Debug, Default)]
pub struct Found {
    /// The only one that fits.
    pub choice: Option<Choice>,
    /// Those that do not, and why.
    pub unfit: Vec<String>,
}

/// Looks through the model folders for the only part of this role that fits the others. Several are an error that names them.
pub fn search(role: Role, family: Family, others: &[Source], roots: &Roots) -> Result<Found, Refusal> {
    // One file may lie in several folders, over links.
    let mut seen = HashSet::new();
    let paths = kinds(role).iter().flat_map(|kind| models_of(roots, *kind)).filter(|path| seen.insert(path.canonicalize().ok()));
    let (mut fitting, mut unfit): (Vec<Choice>, Vec<String>) = (Vec::new(), Vec::new());
    for path in paths {
        match candidate(&path, role, others) {
            Ok(Some(sources)) => fitting.push(Choice { role, path, sources }),
            Ok(None) => {}
            Err(error) => unfit.push(error.to_string()),
        }
    }
    if fitting.len() > 1 {
        let paths: Vec<String> = fitting.iter().map(|choice| choice.path.display().to_string()).collect();
        return Err(Refusal::new(
            Kind::NotFound,
            format!("{} needs a {role}, and several files hold one: {}", family.title(), paths.join(", ")),
            format!("name one of them with {}", role.flag()),
        ));
    }
    Ok(Found { choice: fitting.pop(), unfit })
}

/// Returns the folders in which parts of these roles are looked for: those that are there, or the one that would be.
#[must_use]
pub fn folders(roles: &[Role], roots: &Roots) -> Vec<PathBuf> {
    let wanted: BTreeSet<FolderKind> = roles.iter().flat_map(|role| kinds(*role)).copied().collect();
    let of_root = |root: &PathBuf, kind: FolderKind| {
        let there: Vec<PathBuf> = kind.names().iter().map(|name| root.join(name)).filter(|folder| folder.is_dir()).collect();
        if there.is_empty() { vec![root.join(kind.name())] } else { there }
    };
    let extra = |kind| roots.extra.iter().filter(move |(of, _)| *of == kind).map(|(_, folder)| folder.clone());
    wanted.into_iter().flat_map(|kind| roots.models.iter().flat_map(move |root| of_root(root, kind)).chain(extra(kind))).collect()
}

fn kinds(role: Role) -> &'static [FolderKind] {
    match role {
        Role::Denoiser => &[],
        Role::Vae => &[FolderKind::Vae],
        Role::ClipL | Role::ClipG | Role::T5 | Role::Qwen => &[FolderKind::TextEncoders],
    }
}

/// Returns the part of this role that a file holds, if it holds one. An error is why it does not go with the others, or why nobody
/// knows what it holds.
fn candidate(path: &Path, role: Role, others: &[Source]) -> Result<Option<Vec<Source>>, LibraryError> {
    let mut sources = sources::open(path, Some(role))?;
    // What is refused by name is one, too.
    let may_be = |catalog: &Catalog| match extract(catalog, role) {
        Ok(part) => part.is_some_and(|part| clip::claims(role, &part)),
        Err(_) => true,
    };
    sources.retain(|source| source.role.is_none_or(|r| r == role) && may_be(&source.catalog));
    if sources.is_empty() {
        return Ok(None);
    }
    for source in &mut sources {
        source.role = Some(role);
    }
    let together: Vec<Source> = others.iter().chain(&sources).cloned().collect();
    describe_loadable(&together).map_err(LibraryError::of_tensors(path))?;
    Ok(Some(sources))
}

/// Whether a file holds an encoder of this role: one of a released width has that width's role and no other.
fn holds(catalog: &Catalog, role: Role) -> bool {
    matches!(extract(catalog, role), Ok(Some(part)) if clip::claims(role, &part))
}

/// Returns the names of parts as people read them.
pub(super) fn names(roles: &[Role]) -> String {
    roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(", ")
}
