//! `perilune models`: the library, read here where there is no other machine to ask.

use std::path::PathBuf;

use serde_json::json;

use super::advice;
use crate::cli::context::Context;
use crate::cli::output::table;
use crate::client::Place;
use crate::client::call::unexpected;
use crate::families::{Description, Source};
use crate::library::{self, inventory};
use crate::wire::{Reply, Request};
use crate::workflow::{ModelEntry, Refusal};

/// Lists the models in the model folders.
pub(super) fn list(context: &Context) -> Result<(), Refusal> {
    let models = match context.place {
        Place::Local => library::scan(&context.roots()?, true),
        Place::Host(_) => context.with_daemon(|mut daemon| async move {
            match daemon.call(Request::Models).await? {
                Reply::Models(models) => Ok(models),
                reply => Err(unexpected(&reply)),
            }
        })?,
    };
    context.output.show(&json!({"models": models}), || {
        if models.is_empty() {
            let folders: Vec<String> = context.settings.models.value.iter().map(|p| p.display().to_string()).collect();
            return format!("no models in {}; `perilune demo` needs none\n", folders.join(", "));
        }
        table(&["name", "folder", "family", "variant", "precision", "size", "problem"], models.iter().map(row))
    });
    Ok(())
}

fn row(model: &ModelEntry) -> Vec<String> {
    let dash = || "-".to_owned();
    vec![
        model.name.clone(),
        model.folder.clone(),
        model.family.map_or_else(dash, |f| f.name().to_owned()),
        model.variant.clone().unwrap_or_else(dash),
        model.precision.map_or_else(dash, |p| p.to_string()),
        model.bytes.to_string(),
        model.problem.clone().unwrap_or_default(),
    ]
}

/// Says what a file or folder holds.
pub(super) fn inspect(context: &Context, model: &str) -> Result<(), Refusal> {
    let (path, description, sources) = match context.place {
        Place::Local => here(context, model).map(|(path, description, sources)| (path, description, Some(sources)))?,
        Place::Host(_) => context.with_daemon(|mut daemon| async move {
            match daemon.call(Request::Inspect(model.to_owned())).await? {
                Reply::Description { path, description } => Ok((PathBuf::from(path), *description, None)),
                reply => Err(unexpected(&reply)),
            }
        })?,
    };
    // Advice needs the file itself.
    let advised = sources.map(|sources| advice::advice(context, &path, &sources, &description));
    let Description { family, variant, could_be, components, missing, precision, bytes, blocks, resolution, predicts_v } = description;
    let shown = json!({
        "path": path, "family": family, "variant": variant, "could_be": could_be, "components": components, "missing": missing,
        "precision": precision, "bytes": bytes, "blocks": blocks, "resolution": resolution, "predicts_v": predicts_v,
        "advice": advised,
    });
    context.output.show(&shown, || {
        let dash = || "-".to_owned();
        let parts = components.iter().map(|c| {
            let files = c.files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join("\n");
            let stored = c.stored.clone().unwrap_or_else(|| c.precision.to_string());
            vec![c.role.to_string(), stored, c.bytes.to_string(), c.tensors.to_string(), files]
        });
        let missing: Vec<&str> = missing.iter().map(|r| r.name()).collect();
        let head = [
            vec!["path".to_owned(), path.display().to_string()],
            vec!["family".to_owned(), family.map_or_else(dash, |f| f.title().to_owned())],
            vec!["variant".to_owned(), variant.clone().map_or_else(dash, |variant| [&[variant], &could_be[..]].concat().join(" or "))],
            vec!["missing".to_owned(), if missing.is_empty() { dash() } else { missing.join(", ") }],
            vec!["size".to_owned(), bytes.to_string()],
            vec!["blocks".to_owned(), blocks.to_string()],
        ];
        let about = format!("{}\n{}", table(&[], head), table(&["part", "precision", "size", "tensors", "file"], parts));
        match advised.as_deref() {
            None | Some([]) => about,
            Some(suggestions) => format!("{about}\n{}", advice::text(suggestions)),
        }
    });
    Ok(())
}

fn here(context: &Context, model: &str) -> Result<(PathBuf, Description, Vec<Source>), Refusal> {
    let path = context.environment.absolute(std::path::Path::new(model));
    let name =
        if path.is_absolute() && path.exists() && !model.is_empty() { path.to_string_lossy().into_owned() } else { model.to_owned() };
    inventory::inspect_opened(&name, &context.roots()?)
}
