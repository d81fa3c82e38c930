//! `perilune sets`: what engines keep loaded, and what is to become of it.

use super::queue::age;
use super::status;
use crate::cli::context::Context;
use crate::cli::intent;
use crate::cli::output::table;
use crate::cli::set_args::{LoadArgs, SetsCommand, Stay};
use crate::client::call::unexpected;
use crate::devices::Labelled;
use crate::units::{Bytes, Clock, DeviceId, SystemClock, Timestamp};
use crate::wire::status::PartView;
use crate::wire::{Reply, Request, SetView};
use crate::workflow::{Refusal, SetId};

/// Shows loaded sets, or changes what is to become of them.
pub(super) fn sets(context: &Context, command: SetsCommand) -> Result<(), Refusal> {
    match command {
        SetsCommand::List => list(context),
        SetsCommand::Load(args) => load(context, *args),
        SetsCommand::Unload { set } => {
            let told = format!("`{set}` has left\n");
            let name = set.clone();
            ask(context, Request::UnloadSet(set))?;
            context.output.show(&serde_json::json!({ "unloaded": name }), || told);
            Ok(())
        }
        SetsCommand::Pin { set } => changed(context, Request::PinSet(set)),
        SetsCommand::Unpin { set } => changed(context, Request::UnpinSet(set)),
        SetsCommand::Keep { set, time } => {
            let for_s = match time {
                Stay::For(time) => Some(time.as_secs_f64()),
                Stay::Ever => None,
            };
            changed(context, Request::KeepSet { set, for_s })
        }
    }
}

fn list(context: &Context) -> Result<(), Refusal> {
    let status = context.with_daemon(|mut daemon| async move { status::ask(&mut daemon).await })?;
    context.output.show(&status.sets, || text(&status.sets, status.time));
    Ok(())
}

/// Loads a model and makes no picture.
fn load(context: &Context, args: LoadArgs) -> Result<(), Refusal> {
    let draft = intent::loaded(args, context)?;
    changed(context, Request::LoadSet(Box::new(draft)))
}

/// Asks for a change, and shows the sets that it was about.
fn changed(context: &Context, request: Request) -> Result<(), Refusal> {
    match ask(context, request)? {
        Reply::Sets(sets) => {
            context.output.show(&sets, || text(&sets, SystemClock.now()));
            Ok(())
        }
        reply => Err(unexpected(&reply)),
    }
}

fn ask(context: &Context, request: Request) -> Result<Reply, Refusal> {
    context.with_daemon(|mut daemon| async move { daemon.call(request).await })
}

fn text(sets: &[SetView], now: Timestamp) -> String {
    if sets.is_empty() {
        return "no set is loaded; an engine loads one for the first job that wants it\n".to_owned();
    }
    let heads = ["set", "number", "part", "precision", "planned", "measured", "device", "shared with", "used", "stays"];
    let rows = sets.iter().flat_map(|set| {
        let [used, stays] = [used(set, now), stays(set, now)];
        set.components.iter().map(move |part| {
            let [planned, measured] = [part.planned, part.bytes].map(|bytes| bytes.to_string());
            let device = Labelled(part.device).to_string();
            let (name, number) = (set.name.clone(), set.id.to_string());
            let role = part.role.to_string();
            vec![
                name,
                number,
                role,
                part.precision.clone(),
                planned,
                measured,
                device,
                sharers(set, part, sets),
                used.clone(),
                stays.clone(),
            ]
        })
    });
    format!("{}{}", table(&heads, rows), totals(sets))
}

fn used(set: &SetView, now: Timestamp) -> String {
    match (set.used_by, set.last_used) {
        (Some(job), _) => format!("job {job}"),
        (None, Some(last)) => format!("{} ago", age(now.since(last))),
        (None, None) => "-".to_owned(),
    }
}

fn stays(set: &SetView, now: Timestamp) -> String {
    match (set.pinned, set.leaves) {
        (true, _) => "pinned".to_owned(),
        (false, Some(at)) => format!("{} more", age(at.since(now))),
        (false, None) => "-".to_owned(),
    }
}

/// The other sets that use a part, by name, or by number where the name does not tell.
fn sharers(set: &SetView, part: &PartView, sets: &[SetView]) -> String {
    let shared = set.shared.iter().find(|shared| shared.copy == part.copy);
    let others = shared.into_iter().flat_map(|shared| &shared.with);
    let other = |id: &SetId| sets.iter().find(|other| other.id == *id && other.name != set.name);
    let name = |id: &SetId| other(id).map_or_else(|| id.to_string(), |other| other.name.clone());
    let names: Vec<String> = others.map(name).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

/// What sets take of each device, a part that several use counted once.
fn totals(sets: &[SetView]) -> String {
    let mut counted: Vec<(DeviceId, u64, DeviceId)> = Vec::new();
    let mut totals: Vec<(DeviceId, Bytes)> = Vec::new();
    for (set, part) in sets.iter().flat_map(|set| set.components.iter().map(move |part| (set, part))) {
        let copy = (set.device, part.copy, part.device);
        if counted.contains(&copy) {
            continue;
        }
        counted.push(copy);
        match totals.iter_mut().find(|(device, _)| *device == part.device) {
            Some((_, bytes)) => *bytes += part.bytes,
            None => totals.push((part.device, part.bytes)),
        }
    }
    let rows: Vec<String> = totals.iter().map(|(device, bytes)| format!("{bytes} on {}", Labelled(*device))).collect();
    let what = if sets.len() == 1 { "1 set".to_owned() } else { format!("{} sets", sets.len()) };
    format!("{what}: {}\n", rows.join(", "))
}
