//! `perilune config`: every setting and where it comes from.

use serde_json::{Map, Value, json};

use super::config_check;
use crate::cli::context::Context;
use crate::cli::global::Global;
use crate::cli::output::table;
use crate::cli::watching::ConfigCommand;
use crate::workflow::Refusal;

/// Shows the settings, or checks the files that say them. Returns the exit code.
pub(super) fn config(context: &Context, command: Option<ConfigCommand>) -> Result<u8, Refusal> {
    match command {
        None | Some(ConfigCommand::Print) => print(context),
        Some(ConfigCommand::Path) => {
            let path = context.settings.paths.file();
            context.output.show(&json!({"path": path}), || format!("{}\n", path.display()));
        }
        // It is called before the settings are read, which may be wrong; here they are right.
        Some(ConfigCommand::Validate { files }) => {
            return config_check::validate(&Global::default(), &context.environment, context.output, &files);
        }
    }
    Ok(0)
}

fn print(context: &Context) {
    let (settings, paths) = (&context.settings, &context.settings.paths);
    let rows = settings.rows();
    let places = [
        ("file", paths.file()),
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
