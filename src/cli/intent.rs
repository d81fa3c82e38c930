//! What was typed, turned into what is meant.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::args::{Cli, PlanArgs, RunArgs};
use super::context::Context;
use super::offload::offload;
use super::part_args::EncoderArgs;
use super::report;
use super::set_args::LoadArgs;
use crate::client::Place;
use crate::config::Origin;
use crate::families::Role;
use crate::library::{FolderKind, find};
use crate::placement::AllocationError;
use crate::wire::PlanAsk;
use crate::workflow::{JobDraft, Kind, Refusal, check_ranges};

/// Says what is wrong where a command that speaks with one daemon is given several.
#[must_use]
pub fn too_many_hosts(cli: &Cli) -> Option<Refusal> {
    let hosts = &cli.global.host;
    (hosts.len() > 1 && cli.command.is_some()).then(|| {
        let message = format!("this command speaks with one daemon, and {} hosts were named", hosts.len());
        Refusal::new(Kind::Usage, message, "name one; the dashboard, `perilune` without a command, shows several")
    })
}

/// Returns the job that these arguments ask for, with the profile's words where they say nothing.
pub fn draft(args: RunArgs, context: &Context) -> Result<JobDraft, Refusal> {
    let preset = context.settings.preset();
    let output = match args.output {
        Some(output) => Some(travelling(&output, "--output", context)?),
        // Here and there are not the same: another machine's daemon has an output folder of its own.
        None => matches!(context.place, Place::Local).then(|| context.settings.output.value.clone()),
    };
    let asked = offload(args.placing.offload, &preset)?;
    let compute = asked.computes_on(args.placing.compute_device)?;
    asked.idle.iter().for_each(|idle| report::note(idle));
    let draft = JobDraft {
        model: model(args.model, context),
        variant: args.parts.variant,
        vae: args.parts.vae.map(|name| model(name, context)),
        clip: args.parts.clip.into_iter().map(|name| model(name, context)).collect(),
        encoders: encoders(args.parts.encoders, context),
        models: context.asked_models()?,
        prompt: args.prompt,
        negative: args.negative,
        steps: args.steps.or(preset.steps),
        cfg: args.cfg.or(preset.cfg),
        guidance: args.guidance,
        cfg_rescale: args.cfg_rescale,
        shift: args.shift,
        sampler: args.sampler.or(preset.sampler),
        schedule: args.schedule.or(preset.schedule),
        prediction: args.prediction,
        seed: args.seed,
        size: args.size.or(preset.size),
        batch: args.batch,
        precision: args.precision.or(preset.precision.clone()),
        init_image: args.init_image.map(|path| travelling(&path, "--init-image", context)).transpose()?,
        denoise: args.denoise,
        tiling: args.tiling,
        passes: args.passes,
        dialect: args.dialect,
        weighting: args.weighting,
        keep_latents: args.keep_latents,
        output,
        priority: args.priority.or(preset.priority),
        compute_device: compute.or(context.settings.compute_device.value),
        offload: asked.network,
        parts: asked.parts,
        held: args.held,
        owner: Some(context.environment.user()),
    };
    // Here already, for JSON has no word for a number that is none: the daemon would take it for one left out.
    check_ranges(&draft)?;
    Ok(draft)
}

/// Returns the job that is to be planned.
pub fn planned(model: String, args: PlanArgs, context: &Context) -> Result<PlanAsk, Refusal> {
    let run = RunArgs {
        model,
        parts: args.parts,
        cfg: args.cfg,
        sampler: args.sampler,
        size: args.size,
        batch: args.batch,
        precision: args.precision,
        passes: args.passes,
        placing: args.placing,
        ..RunArgs::default()
    };
    Ok(PlanAsk { draft: draft(run, context)?, sweep: args.sweep })
}

/// Returns the job whose parts are to be loaded.
pub fn loaded(args: LoadArgs, context: &Context) -> Result<JobDraft, Refusal> {
    let run = RunArgs { model: args.model, parts: args.parts, precision: args.precision, placing: args.placing, ..RunArgs::default() };
    draft(run, context)
}

fn encoders(args: EncoderArgs, context: &Context) -> BTreeMap<Role, String> {
    let given = [(Role::ClipL, args.clip_l), (Role::ClipG, args.clip_g), (Role::T5, args.t5), (Role::Qwen, args.qwen)];
    given.into_iter().filter_map(|(role, name)| Some((role, model(name?, context)))).collect()
}

/// A model is a path where a file of that name is here or in folders that this command names, and otherwise a name for
/// the daemon to look up.
#[must_use]
pub fn model(text: String, context: &Context) -> String {
    let path = context.environment.absolute(Path::new(&text));
    let local = matches!(context.place, Place::Local) && !text.is_empty();
    if local && path.is_absolute() && path.exists() {
        return path.to_string_lossy().into_owned();
    }
    // A daemon that is up has folders of its own; those named here are looked through here.
    let named_here = matches!(context.settings.models.origin, Origin::Flag(_) | Origin::Environment(_));
    let roots = if local && named_here { context.roots().ok() } else { None };
    // One that may be several is for the daemon to refuse.
    let found = roots.and_then(|roots| find(&roots, FolderKind::ALL, &text).ok().flatten());
    found.map_or(text, |path| path.to_string_lossy().into_owned())
}

/// A relative path means nothing to a daemon, and less on another machine.
fn travelling(path: &Path, flag: &str, context: &Context) -> Result<PathBuf, Refusal> {
    match &context.place {
        Place::Local => Ok(context.environment.absolute(path)),
        Place::Host(_) if path.is_absolute() => Ok(path.to_owned()),
        Place::Host(host) => Err(Refusal::new(
            Kind::Usage,
            format!("{flag} {} is relative, but the job runs on {host}", path.display()),
            "give the path as it is there, from / on",
        )),
    }
}

/// Returns what was typed wrong, in one line.
#[must_use]
pub fn typed_wrong(error: &clap::Error) -> Refusal {
    let text = error.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    let first = lines.next().unwrap_or_default();
    let mut message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if message.ends_with(':') {
        // What is missing follows, one a line.
        let missing: Vec<&str> = lines.clone().take_while(|l| !l.starts_with("Usage")).collect();
        message = format!("{message} {}", missing.join(", "));
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "a command is missing".clone_into(&mut message);
    }
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))
        .and_then(|value| match value {
            ContextValue::String(one) => Some(one.clone()),
            ContextValue::Strings(several) => several.first().cloned(),
            _ => None,
        });
    let usage = text.lines().find_map(|l| l.trim().strip_prefix("Usage: ")).map(|usage| {
        let command: Vec<&str> = usage.split(' ').take_while(|w| !w.starts_with(['[', '<', '-'])).collect();
        command.join(" ")
    });
    // What is wrong with an allocation says itself what to do.
    let own = error.source().and_then(|source| source.downcast_ref::<AllocationError>()).map(|error| error.hint);
    let help = format!("`{} --help` shows what there is", usage.unwrap_or_else(|| "perilune".to_owned()));
    let hint = suggested.map(|suggested| format!("did you mean `{suggested}`?")).or(own.map(ToOwned::to_owned)).unwrap_or(help);
    Refusal::new(Kind::Usage, message, hint)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    #[test]
    fn what_was_typed_wrong_is_one_line_and_a_hint() {
        let check = |line: &str, message: &str, hint: &str| {
            let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
            let refusal = typed_wrong(&error);
            assert_eq!((refusal.message.as_str(), refusal.hint.as_deref()), (message, Some(hint)), "{line}");
            assert_eq!(refusal.kind.exit_code(), 2);
        };
        check("perilune rum", "unrecognized subcommand 'rum'", "did you mean `run`?");
        check(
            "perilune run",
            "the following required arguments were not provided: --model <PATH|NAME>",
            "`perilune run --help` shows what there is",
        );
        check("perilune queue", "a command is missing", "`perilune queue --help` shows what there is");
        check("perilune status --wach", "unexpected argument '--wach' found", "did you mean `--watch`?");
        check(
            "perilune run -m x --size 500x500",
            "invalid value '500x500' for '--size <WxH>': 500x500 is not divisible by 8; the nearest size is 504x504",
            "`perilune --help` shows what there is",
        );
        check(
            "perilune run -m x --virtual-vram clip=4gigs",
            "invalid value 'clip=4gigs' for '--virtual-vram <[PART=]BYTES>': column 7: `gigs` is not a unit",
            "use B, KiB, MiB, GiB or TiB; KB and K are KiB here, and so on",
        );
        check(
            "perilune queue move 7 sideways",
            "invalid value 'sideways' for '<TO>': `sideways` is no place to move to; use up, down, first, last or before:JOB",
            "`perilune --help` shows what there is",
        );
    }
}
