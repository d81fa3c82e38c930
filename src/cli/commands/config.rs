//! `perilune config`: every setting and where it comes from.

use serde_json::{Map, Value, json};

use super::{config_check, dashboard};
use crate::cli::context::Context;
use crate::cli::global::Global;
use crate::cli::output::table;
use crate::cli::watching::ConfigCommand;
use crate::tui::keys::{Bound, Keys};
use crate::workflow::Refusal;

/// Shows the settings, or checks the files that say them. Returns the exit code.
pub(super) fn config(context: &Context, command: Option<ConfigCommand>) -> Result<u8, Refusal> {
    match command {
        None | Some(ConfigCommand::Print) => {
            print(context);
            // What is shown is not what stands in the file.
            return Ok(context.problem.as_ref().map_or(0, |problem| problem.kind.exit_code()));
        }
        Some(ConfigCommand::Path) => {
            let path = context.settings.paths.file();
            context.output.show(&json!({"path": path}), || format!("{}\n", path.display()));
        }
        Some(ConfigCommand::Keys) => keys(context),
        // It is called before the settings are read, which may be wrong; here they are right.
        Some(ConfigCommand::Validate { files }) => {
            return config_check::validate(&Global::default(), &context.environment, context.output, &files);
        }
    }
    Ok(0)
}

/// Lists every row of the table of keys, as it is used.
fn keys(context: &Context) {
    let path = context.settings.paths.keys();
    let (keys, problem) = match dashboard::keys(context) {
        Ok(keys) => (keys, None),
        Err(problem) => (Keys::built_in(), Some(problem)),
    };
    let of_row = |bound: &Bound| {
        let row = bound.row;
        let keys: Vec<String> = bound.keys.iter().map(ToString::to_string).collect();
        json!({
            "name": bound.name(), "action": row.action.name(), "place": row.layer.name(), "keys": keys, "built_in": row.keys,
            "about": row.about, "destructive": row.action.is_destructive(),
        })
    };
    let rows: Vec<Value> = keys.all().iter().map(of_row).collect();
    context.output.show(&json!({"file": path, "problem": problem, "keys": rows}), || {
        let line = |bound: &Bound| vec![bound.name(), bound.written(), bound.row.about.to_owned()];
        let problem = problem.as_ref().map(|p| format!("{p}; the built-in keys are used\n")).unwrap_or_default();
        format!("{}{problem}", table(&["name in keys.yaml", "keys", "does"], keys.all().iter().map(line)))
    });
}

fn print(context: &Context) {
    let (settings, paths) = (&context.settings, &context.settings.paths);
    let rows = settings.rows();
    let places = [
        ("file", paths.file()),
        ("keys", paths.keys()),
        ("state", paths.state.clone()),
        ("cache", paths.cache.clone()),
        ("socket", paths.socket()),
        ("ledger", paths.ledger()),
        ("logs", paths.logs()),
        ("profiles", paths.profiles()),
    ];
    let of_row = |(name, value, origin): &(&str, Value, _)| ((*name).to_owned(), json!({"value": value, "origin": origin}));
    let settings: Map<String, Value> = rows.iter().map(of_row).collect();
    let paths: Map<String, Value> = places.iter().map(|(name, path)| ((*name).to_owned(), json!(path))).collect();
    context.output.show(&json!({"settings": settings, "paths": paths}), || {
        let settings = rows.iter().map(|(name, value, origin)| vec![(*name).to_owned(), shown(value), origin.to_string()]);
        let places = places.iter().map(|(name, path)| vec![(*name).to_owned(), path.display().to_string()]);
        format!("{}\n{}", table(&["setting", "value", "from"], settings), table(&["file", "where"], places))
    });
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join("\n"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
