//! `perilune sets list`: what engines keep loaded.

use super::queue::age;
use super::status;
use crate::cli::context::Context;
use crate::cli::output::table;
use crate::devices::Labelled;
use crate::units::Timestamp;
use crate::wire::SetView;
use crate::workflow::Refusal;

/// Shows the loaded model sets.
pub(super) fn list(context: &Context) -> Result<(), Refusal> {
    let status = context.with_daemon(|mut daemon| async move { status::ask(&mut daemon).await })?;
    context.output.show(&status.sets, || text(&status.sets, status.time));
    Ok(())
}

fn text(sets: &[SetView], now: Timestamp) -> String {
    if sets.is_empty() {
        return "no set is loaded; an engine loads one for the first job that wants it\n".to_owned();
    }
    let rows = sets.iter().flat_map(|set| {
        let used = match (set.used_by, set.last_used) {
            (Some(job), _) => format!("job {job}"),
            (None, Some(last)) => format!("{} ago", age(now.since(last))),
            (None, None) => "-".to_owned(),
        };
        set.components.iter().map(move |part| {
            let [planned, measured] = [part.planned, part.bytes].map(|bytes| bytes.to_string());
            let device = Labelled(part.device).to_string();
            vec![set.name.clone(), part.role.to_string(), part.precision.clone(), planned, measured, device, used.clone()]
        })
    });
    table(&["set", "part", "precision", "planned", "measured", "device", "used"], rows)
}
