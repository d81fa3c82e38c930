//! `perilune config`: every setting and where it comes from.

use serde_json::{Map, Value, json};

use crate::cli::context::Context;
use crate::cli::output::table;
use crate::workflow::Refusal;

/// Shows the settings.
#[expect(clippy::unnecessary_wraps, reason = "every command may be refused")]
pub(super) fn config(context: &Context) -> Result<(), Refusal> {
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
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join("\n"),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}
