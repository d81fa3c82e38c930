//! From what was asked to what will be done.

use std::path::PathBuf;

use crate::families::{Choice, Description, Family, Habits, Role, unsuitable};
use crate::placement::{OffloadAsk, Part, PartAsks};
use crate::quant::precision::Target;
use crate::sampling::{Prediction, Sampler, Schedule};
use crate::units::{DeviceId, Seed, Size};
use crate::workflow::lacking::lacking;
use crate::workflow::rejection::{Kind, Refusal};
use crate::workflow::{Conversion, InitImage, Inventory, JobDraft, JobSpec, ModelSet, Named, Wish, part_of};

/// The most steps that a job may ask for.
pub const MAX_STEPS: u32 = 1000;
/// The most images that a job may ask for.
pub const MAX_BATCH: u32 = 64;

/// The longest prompt, in bytes: some four thousand tokens. A snapshot of the queue holds up to a hundred
/// jobs and must fit into a frame however their prompts are escaped.
pub const MAX_PROMPT: usize = 16 << 10;
/// The most text encoders that a job may name; no family has more.
pub const MAX_CLIPS: usize = 4;

/// What stands in for what was not said.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Solver steps; the family's own where nothing is set, and so for the next four.
    pub steps: Option<u32>,
    /// Guidance scale.
    pub cfg: Option<f64>,
    /// Solver.
    pub sampler: Option<Sampler>,
    /// Noise schedule.
    pub schedule: Option<Schedule>,
    /// Size of the pictures of models that do not name their own.
    pub size: Option<Size>,
    /// Folder for the images.
    pub output: PathBuf,
    /// The device that computes.
    pub compute: DeviceId,
    /// The seed where none was given.
    pub seed: Seed,
}

/// Returns the job to be done, or what keeps it from being done.
pub fn resolve(draft: &JobDraft, inventory: &Inventory, defaults: &Defaults) -> Result<JobSpec, Refusal> {
    let set = model_set(draft, inventory)?;
    check_parts(&draft.parts, &set)?;
    let habits = Habits::of(set.family, &set.variant);
    check_prediction(draft, &set, habits)?;
    let steps = draft.steps.or(defaults.steps).unwrap_or(habits.steps);
    let cfg = draft.cfg.or(defaults.cfg).unwrap_or(habits.cfg);
    let sampler = draft.sampler.or(defaults.sampler).unwrap_or(habits.sampler);
    let schedule = draft.schedule.or(defaults.schedule).unwrap_or(habits.schedule);
    let guidance = draft.guidance.or(habits.guidance);
    let compute = draft.compute_device.unwrap_or(defaults.compute);
    check_ranges(&JobDraft { steps: Some(steps), cfg: Some(cfg), compute_device: Some(compute), ..draft.clone() })?;
    let trained = inventory.description.as_ref().and_then(|d| d.resolution);
    let predicts_v = inventory.description.as_ref().and_then(|d| d.predicts_v).unwrap_or(false);
    let choice = Choice { sampler, schedule, cfg, guidance: draft.guidance, shift: draft.shift, cfg_rescale: draft.cfg_rescale };
    let notes = inventory
        .notes
        .iter()
        .cloned()
        .chain(unsuitable(set.family, &set.variant, choice))
        .chain(done_without(&set))
        .chain(guessed(draft, inventory, &set))
        .collect();
    Ok(JobSpec {
        prompt: draft.prompt.clone(),
        negative: draft.negative.clone(),
        dialect: draft.dialect.unwrap_or_default(),
        weighting: draft.weighting.unwrap_or_default(),
        steps,
        cfg,
        guidance,
        cfg_rescale: draft.cfg_rescale.unwrap_or(0.0),
        shift: draft.shift,
        sampler,
        schedule,
        prediction: draft.prediction.unwrap_or(if predicts_v { Prediction::V } else { habits.prediction }),
        seed: draft.seed.unwrap_or(defaults.seed),
        size: draft.size.or(inventory.init_size).or(trained).or(defaults.size).unwrap_or_else(|| habits.size()),
        batch: draft.batch.unwrap_or(1),
        precision: draft.precision.as_ref().and_then(Target::to_compute_in),
        conversion: conversion(draft, inventory),
        init: init_image(draft)?,
        tiling: draft.tiling.unwrap_or_default(),
        passes: draft.passes.unwrap_or_default(),
        keep_latents: draft.keep_latents,
        output: draft.output.clone().unwrap_or_else(|| defaults.output.clone()),
        priority: draft.priority.unwrap_or(0),
        compute,
        offload: draft.offload.clone(),
        parts: draft.parts.clone(),
        owner: draft.owner.clone().unwrap_or_default(),
        notes,
        named: Named {
            model: draft.model.clone(),
            vae: draft.vae.clone(),
            clip: draft.clip.clone(),
            encoders: draft.encoders.clone(),
            variant: draft.variant.clone(),
            models: draft.models.clone(),
        },
        set,
    })
}

/// A precision that nothing computes in is one that the diffusion network is stored as.
fn conversion(draft: &JobDraft, inventory: &Inventory) -> Option<Conversion> {
    let to = draft.precision.clone().filter(|p| p.to_compute_in().is_none())?;
    let part = Some(Role::Denoiser.name().to_owned());
    Some(Conversion { wish: Wish { source: inventory.path.clone(), part, to }, result: None })
}

/// Checks the numbers of a draft, as far as they can be judged without its model.
pub fn check_ranges(draft: &JobDraft) -> Result<(), Refusal> {
    if let Some(steps) = draft.steps.filter(|s| !(1..=MAX_STEPS).contains(s)) {
        return Err(Refusal::new(Kind::Usage, format!("--steps {steps} is out of range"), format!("use 1 to {MAX_STEPS}; 20 is usual")));
    }
    if let Some(batch) = draft.batch.filter(|b| !(1..=MAX_BATCH).contains(b)) {
        return Err(Refusal::new(Kind::Usage, format!("--batch {batch} is out of range"), format!("use 1 to {MAX_BATCH}")));
    }
    if let Some(cfg) = draft.cfg.filter(|c| !(c.is_finite() && (0.0..=100.0).contains(c))) {
        return Err(Refusal::new(Kind::Usage, format!("--cfg {cfg} is out of range"), "use 0 to 100; 7 is usual, 1 is no guidance"));
    }
    if let Some(guidance) = draft.guidance.filter(|g| !(g.is_finite() && (0.0..=100.0).contains(g))) {
        let hint = "use 0 to 100; 3.5 is usual for Flux dev";
        return Err(Refusal::new(Kind::Usage, format!("--guidance {guidance} is out of range"), hint));
    }
    if let Some(rescale) = draft.cfg_rescale.filter(|r| !(0.0..=1.0).contains(r)) {
        return Err(Refusal::new(Kind::Usage, format!("--cfg-rescale {rescale} is out of range"), "use 0 to 1; 0.7 is usual"));
    }
    if let Some(shift) = draft.shift.filter(|s| !(s.is_finite() && *s > 0.0 && *s <= 100.0)) {
        return Err(Refusal::new(Kind::Usage, format!("--shift {shift} is out of range"), "use a number above 0; 3 is usual"));
    }
    if let Some(denoise) = draft.denoise.filter(|d| !(*d > 0.0 && *d <= 1.0)) {
        return Err(Refusal::new(Kind::Usage, format!("--denoise {denoise} is out of range"), "use a number above 0 and up to 1"));
    }
    for (flag, text) in [("--prompt", &draft.prompt), ("--negative", &draft.negative)] {
        if text.len() > MAX_PROMPT {
            return Err(Refusal::new(
                Kind::Usage,
                format!("{flag} is {} bytes long", text.len()),
                format!("at most {MAX_PROMPT} are read; a model looks at far fewer"),
            ));
        }
    }
    if draft.clip.len() > MAX_CLIPS {
        let message = format!("--clip is given {} times", draft.clip.len());
        return Err(Refusal::new(Kind::Usage, message, format!("no model has more than {MAX_CLIPS} text encoders")));
    }
    if let Some(device) = draft.compute_device.filter(|d| !matches!(d, DeviceId::Cuda(_) | DeviceId::Cpu | DeviceId::Sim(_))) {
        return Err(Refusal::new(
            Kind::Usage,
            format!("{device} cannot compute"),
            "use cpu, cuda:N or sim:N; `perilune devices` lists what there is",
        ));
    }
    let Some(device) = draft.compute_device else { return Ok(()) };
    check_offload(&draft.offload, device)?;
    let of_part = |part: Part, refusal: Refusal| Refusal { message: format!("{part}: {}", refusal.message), ..refusal };
    draft.parts.iter().try_for_each(|(part, ask)| check_offload(ask, device).map_err(|refusal| of_part(part, refusal)))
}

/// Checks that the network's output can mean what is said of it: noise is added in one way where it flows, and in another where it
/// does not, and a network knows one of them.
fn check_prediction(draft: &JobDraft, set: &ModelSet, habits: Habits) -> Result<(), Refusal> {
    let flows = habits.prediction == Prediction::Flow;
    let Some(said) = draft.prediction.filter(|said| (*said == Prediction::Flow) != flows) else { return Ok(()) };
    let (learned, hint) = if flows {
        ("flow matching", "leave --prediction out")
    } else {
        ("from noise that is added", "use eps or v, or leave --prediction out: the file says which, where it says anything")
    };
    let message = format!("--prediction {said} makes no picture with `{}`: {} models learned {learned}", set.name, set.family.title());
    Err(Refusal::new(Kind::Usage, message, hint))
}

/// Checks that every part of which something is asked is one of the model's, and not the one that is asked of elsewhere.
fn check_parts(asks: &PartAsks, set: &ModelSet) -> Result<(), Refusal> {
    let parts: Vec<Part> = set.components.iter().map(|c| part_of(c.role)).filter(|part| *part != Part::Denoiser).collect();
    let is_there = |part: Part| parts.contains(&part) || part == Part::Clip && parts.iter().any(|p| p.is_encoder());
    // Nothing of it would leave.
    let is_empty = |ask: &OffloadAsk| *ask == OffloadAsk::default();
    let Some((part, _)) = asks.iter().find(|(part, ask)| !is_there(*part) && !is_empty(ask)) else { return Ok(()) };
    let names: Vec<&str> = parts.iter().map(|p| p.name()).collect();
    let message = match part {
        Part::Denoiser => "the diffusion network is asked of among the other parts, too".to_owned(),
        part => format!("weights of {part} are to live elsewhere, but `{}` has no such part", set.name),
    };
    Err(Refusal::new(Kind::Usage, message, format!("besides the diffusion network it has {}", names.join(", "))))
}

/// Checks that what is asked to be offloaded can be meant, and that this version can do it.
fn check_offload(ask: &OffloadAsk, compute: DeviceId) -> Result<(), Refusal> {
    ask.check(compute).map_err(|error| Refusal::new(Kind::Usage, error.to_string(), error.hint()))?;
    if ask.is_nothing() {
        return Ok(());
    }
    let stranded: Vec<DeviceId> = ask.devices(compute).into_iter().filter(|donor| *donor != compute && !reaches(*donor, compute)).collect();
    if stranded.is_empty() {
        return Ok(());
    }
    let hint = match compute {
        DeviceId::Cpu => "the processor takes weights from `disk`: what is in memory it computes with where it lies",
        DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) | DeviceId::Disk => "a GPU takes weights from `cpu`, `disk` and other GPUs",
    };
    Err(Refusal::new(Kind::Refused, format!("weights cannot be streamed to {compute} from {}", devices(&stranded)), hint))
}

/// Says whether an engine can stream weights from a donor to the device that computes.
fn reaches(donor: DeviceId, compute: DeviceId) -> bool {
    match (compute, donor) {
        (DeviceId::Cpu, DeviceId::Disk)
        | (DeviceId::Cuda(_), DeviceId::Disk | DeviceId::Cpu | DeviceId::Cuda(_))
        | (DeviceId::Sim(_), DeviceId::Disk | DeviceId::Cpu | DeviceId::Sim(_)) => true,
        (DeviceId::Cpu | DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Sim(_) | DeviceId::Disk, _) => false,
    }
}

fn devices(list: &[DeviceId]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn init_image(draft: &JobDraft) -> Result<Option<InitImage>, Refusal> {
    let Some(path) = &draft.init_image else {
        return match draft.denoise {
            Some(_) => Err(Refusal::new(Kind::Usage, "--denoise needs a picture to start from", "add --init-image PATH")),
            None => Ok(None),
        };
    };
    Ok(Some(InitImage { path: path.clone(), denoise: draft.denoise.unwrap_or(0.75) }))
}

fn model_set(draft: &JobDraft, inventory: &Inventory) -> Result<ModelSet, Refusal> {
    let name = &inventory.name;
    let not_found =
        || Refusal::new(Kind::NotFound, format!("there is no model `{name}`"), "`perilune models list` shows the models that are known");
    let description: &Description = inventory.description.as_ref().ok_or_else(not_found)?;
    let Some(family) = description.family else { return Err(no_network(name, description)) };
    let variant = variant(draft, family, description.variant.as_deref().unwrap_or("base"));
    if let Ok(variant) = &variant {
        check_member(name, family, variant)?;
    }
    let missing: Vec<Role> = description.missing.iter().copied().filter(|role| !family.can_do_without(*role)).collect();
    if !missing.is_empty() {
        return Err(lacking(name, family, &missing, &inventory.search));
    }
    let variant = variant?;
    let (components, vocabularies) = (description.components.clone(), inventory.vocabularies.clone());
    Ok(ModelSet { name: name.clone(), family, variant, components, vocabularies })
}

/// Returns the refusal of a file that was given as a model and is only a part of one.
#[must_use]
pub fn no_network(name: &str, held: &Description) -> Refusal {
    let roles: Vec<_> = held.components.iter().map(|c| c.role.name()).collect();
    Refusal::new(
        Kind::BadFile,
        format!("`{name}` holds no diffusion network, only {}", roles.join(", ")),
        "give the checkpoint or UNet with --model, and this file with --vae or --clip",
    )
}

/// Refuses members of families that do not run.
pub fn check_member(name: &str, family: Family, variant: &str) -> Result<(), Refusal> {
    if !family.is_supported() {
        return Err(Refusal::new(
            Kind::BadFile,
            format!("`{name}` is a model of the family {}, which this version cannot run", family.title()),
            "SD1.5, SDXL, SD3, Flux.1 and Z-Image models run",
        ));
    }
    if !family.members().contains(&variant) {
        return Err(Refusal::new(
            Kind::BadFile,
            format!("`{name}` is the {variant} variant of {}, which this version cannot run yet", family.title()),
            format!("of {} it runs {}", family.title(), family.members().join(", ")),
        ));
    }
    Ok(())
}

/// Returns what the operator is told where neither the header nor anybody says which member of the family a model is.
fn guessed(draft: &JobDraft, inventory: &Inventory, set: &ModelSet) -> Option<String> {
    let could_be = &inventory.description.as_ref()?.could_be;
    if draft.variant.is_some() || could_be.is_empty() {
        return None;
    }
    let (title, variant, other) = (set.family.title(), &set.variant, could_be.join(" or "));
    Some(format!("its header does not say whether it is {title} {variant} or {other}: it runs as {variant}; --variant says which"))
}

/// Returns what the operator is told of each part that the family usually has and this model does not.
fn done_without(set: &ModelSet) -> impl Iterator<Item = String> {
    let absent = set.family.roles().iter().filter(|role| set.component(**role).is_none());
    let title = set.family.title();
    absent.map(move |role| format!("there is no {role}: {title} follows prompts less exactly without it; {} names one", role.flag()))
}

/// Returns which member of a family a model is: what its shapes say, and the operator where they do not tell.
fn variant(draft: &JobDraft, family: Family, found: &str) -> Result<String, Refusal> {
    let twins = family.twins(found);
    match &draft.variant {
        None => Ok(found.to_owned()),
        Some(said) if said == found || twins.contains(&said.as_str()) => Ok(said.clone()),
        Some(said) => {
            let hint = match twins {
                [] => "its shapes tell which it is; leave --variant out".to_owned(),
                twins => format!("it can be {}", twins.join(" or ")),
            };
            Err(Refusal::new(Kind::Usage, format!("--variant {said}: the model is {} {found}", family.title()), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Component;
    use crate::units::Bytes;
    use crate::weights::{DType, Precision};
    use crate::workflow::Search;

    fn defaults() -> Defaults {
        Defaults {
            steps: None,
            cfg: None,
            sampler: None,
            schedule: None,
            size: None,
            output: PathBuf::from("/out"),
            compute: DeviceId::Cpu,
            seed: Seed(7),
        }
    }

    fn inventory(family: Option<Family>, roles: &[Role]) -> Inventory {
        let component =
            |role: &Role| Component { role: *role, precision: DType::F16, bytes: Bytes(1), tensors: 1, files: Vec::new(), stored: None };
        let missing = family.map_or(Vec::new(), |f| f.roles().iter().copied().filter(|r| !roles.contains(r)).collect());
        Inventory {
            name: "night".to_owned(),
            path: "/m/night.safetensors".into(),
            init_size: None,
            vocabularies: std::collections::BTreeMap::default(),
            notes: Vec::new(),
            search: Search::default(),
            description: Some(Description {
                family,
                variant: Some("base".to_owned()),
                could_be: Vec::new(),
                components: roles.iter().map(component).collect(),
                missing,
                precision: Some(DType::F16),
                bytes: Bytes(3),
                blocks: 1,
                resolution: None,
                predicts_v: None,
            }),
        }
    }

    const WHOLE: &[Role] = &[Role::Denoiser, Role::ClipL, Role::Vae];

    fn refusal(draft: &JobDraft, inventory: &Inventory) -> (u8, String) {
        let refusal = resolve(draft, inventory, &defaults()).unwrap_err();
        assert!(refusal.hint.is_some(), "{refusal} says not what to do");
        (refusal.kind.exit_code(), refusal.message)
    }

    #[test]
    fn fills_in_what_was_not_said() {
        let spec = resolve(&JobDraft::default(), &inventory(Some(Family::Sd15), WHOLE), &defaults()).unwrap();
        assert_eq!((spec.steps, spec.batch, spec.size.width(), spec.seed), (20, 1, 512, Seed(7)));
        assert_eq!(spec.precision, None, "the device chooses");
    }

    #[test]
    fn a_member_that_nothing_tells_is_named_with_the_others_that_it_may_be() {
        let mut inventory = inventory(Some(Family::ZImage), &[Role::Denoiser, Role::Qwen, Role::Vae]);
        let description = inventory.description.as_mut().unwrap();
        (description.variant, description.could_be) = (Some("turbo".to_owned()), vec!["base".to_owned()]);
        let notes = |draft: &JobDraft| resolve(draft, &inventory, &defaults()).unwrap().notes;
        let words = "its header does not say whether it is Z-Image turbo or base: it runs as turbo; --variant says which";
        assert_eq!(notes(&JobDraft::default()), [words]);
        let base = JobDraft { variant: Some("base".to_owned()), ..JobDraft::default() };
        assert_eq!(notes(&base), [""; 0], "somebody says it");
    }

    #[test]
    fn what_nothing_computes_in_is_what_the_network_is_stored_as() {
        let of = |precision: &str| {
            let draft = JobDraft { precision: Some(precision.parse().unwrap()), ..JobDraft::default() };
            let spec = resolve(&draft, &inventory(Some(Family::Sd15), WHOLE), &defaults()).unwrap();
            (spec.precision.map(Precision::name), spec.conversion.map(|c| (c.wish.source, c.wish.to.name())))
        };
        assert_eq!(of("bf16"), (Some("bf16"), None));
        assert_eq!(of("Q4_K"), (None, Some(("/m/night.safetensors".into(), "Q4_K_M".to_owned()))));
    }

    #[test]
    fn a_gpu_computes_in_the_family_s_own_16_bits_where_nothing_is_said() {
        let sd3: &[Role] = &[Role::Denoiser, Role::ClipL, Role::ClipG, Role::Vae];
        let of = |family, roles, compute, precision: Option<&str>| {
            let precision = precision.map(|name| name.parse().unwrap());
            let draft = JobDraft { precision, compute_device: Some(compute), ..JobDraft::default() };
            let mut inventory = inventory(Some(family), roles);
            if let Some(description) = inventory.description.as_mut().filter(|_| family == Family::Sd3) {
                description.variant = Some("medium".to_owned());
            }
            resolve(&draft, &inventory, &defaults()).unwrap().computes_in()
        };
        for (compute, sd15, flow) in [
            (DeviceId::Cuda(0), Precision::Fp16, Precision::Bf16),
            (DeviceId::Cpu, Precision::Fp32, Precision::Fp32),
            (DeviceId::Sim(0), Precision::Fp32, Precision::Fp32),
        ] {
            assert_eq!(of(Family::Sd15, WHOLE, compute, None), sd15);
            assert_eq!(of(Family::Sd3, sd3, compute, None), flow);
            assert_eq!(of(Family::Sd3, sd3, compute, Some("fp16")), Precision::Fp16);
            // What nothing computes in says nothing of what is computed in.
            assert_eq!(of(Family::Sd3, sd3, compute, Some("Q8_0")), flow);
        }
    }

    #[test]
    fn refuses_numbers_that_make_no_picture() {
        let whole = inventory(Some(Family::Sd15), WHOLE);
        for (draft, message) in [
            (JobDraft { steps: Some(0), ..JobDraft::default() }, "--steps 0 is out of range"),
            (JobDraft { batch: Some(0), ..JobDraft::default() }, "--batch 0 is out of range"),
            (JobDraft { cfg: Some(f64::NAN), ..JobDraft::default() }, "--cfg NaN is out of range"),
            (JobDraft { prompt: "a".repeat(16_385), ..JobDraft::default() }, "--prompt is 16385 bytes long"),
            (JobDraft { clip: vec![String::new(); 5], ..JobDraft::default() }, "--clip is given 5 times"),
            (JobDraft { denoise: Some(0.5), ..JobDraft::default() }, "--denoise needs a picture to start from"),
            (JobDraft { init_image: Some("a.png".into()), denoise: Some(0.0), ..JobDraft::default() }, "--denoise 0 is out of range"),
            (JobDraft { compute_device: Some(DeviceId::Disk), ..JobDraft::default() }, "disk cannot compute"),
            (offloaded("1GiB", &[DeviceId::Cpu], DeviceId::Cpu), "cpu computes, so it cannot be a donor, too"),
        ] {
            assert_eq!(refusal(&draft, &whole), (2, message.to_owned()));
        }
    }

    fn offloaded(virtual_vram: &str, donors: &[DeviceId], compute: DeviceId) -> JobDraft {
        let offload = OffloadAsk { virtual_vram: virtual_vram.parse().unwrap(), donors: donors.to_vec(), ..OffloadAsk::default() };
        JobDraft { offload, compute_device: Some(compute), ..JobDraft::default() }
    }

    #[test]
    fn streams_where_something_carries() {
        let whole = inventory(Some(Family::Sd15), WHOLE);
        assert!(resolve(&offloaded("1GiB", &[], DeviceId::Cpu), &whole, &defaults()).is_ok());
        for donors in [&[][..], &[DeviceId::Disk], &[DeviceId::Cuda(1), DeviceId::Cpu]] {
            assert!(resolve(&offloaded("1GiB", donors, DeviceId::Cuda(0)), &whole, &defaults()).is_ok(), "{donors:?}");
        }
        let message = "weights cannot be streamed to cpu from cuda:1".to_owned();
        assert_eq!(refusal(&offloaded("1GiB", &[DeviceId::Disk, DeviceId::Cuda(1)], DeviceId::Cpu), &whole), (5, message));
        let sim = DeviceId::Sim;
        assert!(resolve(&offloaded("1GiB", &[sim(1), DeviceId::Cpu, DeviceId::Disk], sim(0)), &whole, &defaults()).is_ok());
        let message = "weights cannot be streamed to sim:0 from cuda:0".to_owned();
        assert_eq!(refusal(&offloaded("1GiB", &[DeviceId::Cuda(0)], sim(0)), &whole), (5, message));
        let message = "sim:0 is simulated, so it cannot hold weights for cpu".to_owned();
        assert_eq!(refusal(&offloaded("1GiB", &[sim(0)], DeviceId::Cpu), &whole), (2, message));
    }

    #[test]
    fn what_is_asked_of_a_part_is_checked_like_the_network_s() {
        let whole = inventory(Some(Family::Sd15), WHOLE);
        let of = |part: Part, donor: DeviceId| {
            let ask = offloaded("1MiB", &[donor], DeviceId::Cpu).offload;
            JobDraft { parts: [(part, ask)].into_iter().collect(), compute_device: Some(DeviceId::Cpu), ..JobDraft::default() }
        };
        let spec = resolve(&of(Part::Clip, DeviceId::Disk), &whole, &defaults()).unwrap();
        assert_eq!(spec.ask_of(Role::ClipL).donors, [DeviceId::Disk]);
        assert!(spec.ask_of(Role::Denoiser).is_nothing() && spec.ask_of(Role::Vae).is_nothing());
        for (draft, message) in [
            (of(Part::T5, DeviceId::Disk), "weights of t5 are to live elsewhere, but `night` has no such part"),
            (of(Part::Denoiser, DeviceId::Disk), "the diffusion network is asked of among the other parts, too"),
            (of(Part::Vae, DeviceId::Cpu), "vae: cpu computes, so it cannot be a donor, too"),
        ] {
            assert_eq!(refusal(&draft, &whole), (2, message.to_owned()));
        }
        assert_eq!(
            refusal(&of(Part::Vae, DeviceId::Cuda(1)), &whole),
            (5, "vae: weights cannot be streamed to cpu from cuda:1".to_owned())
        );
    }

    #[test]
    fn what_the_output_means_is_one_of_what_it_can() {
        let of = |family: Family, prediction| {
            let draft = JobDraft { prediction: Some(prediction), ..JobDraft::default() };
            resolve(&draft, &inventory(Some(family), family.roles()), &defaults()).map(|spec| spec.prediction)
        };
        for prediction in [Prediction::Epsilon, Prediction::V] {
            assert_eq!(of(Family::Sd15, prediction).unwrap(), prediction);
        }
        let flow = |family: Family, prediction| {
            let refusal = of(family, prediction).unwrap_err();
            (refusal.kind.exit_code(), refusal.message)
        };
        let message = "--prediction flow makes no picture with `night`: SDXL models learned from noise that is added";
        assert_eq!(flow(Family::Sdxl, Prediction::Flow), (2, message.to_owned()));
        let mut dev = inventory(Some(Family::Flux), Family::Flux.roles());
        if let Some(description) = &mut dev.description {
            description.variant = Some("dev".to_owned());
        }
        let draft = JobDraft { prediction: Some(Prediction::Epsilon), ..JobDraft::default() };
        let message = "--prediction eps makes no picture with `night`: Flux.1 models learned flow matching";
        assert_eq!(refusal(&draft, &dev), (2, message.to_owned()));
        assert!(resolve(&JobDraft { prediction: Some(Prediction::Flow), ..draft }, &dev, &defaults()).is_ok());
    }

    #[test]
    fn sd3_does_without_t5_and_says_so_and_no_other_model_does() {
        let without = |family: Family, missing: Role, variant: &str| {
            let roles: Vec<Role> = family.roles().iter().copied().filter(|role| *role != missing).collect();
            let mut inventory = inventory(Some(family), &roles);
            if let Some(description) = &mut inventory.description {
                description.variant = Some(variant.to_owned());
            }
            resolve(&JobDraft::default(), &inventory, &defaults())
        };
        let spec = without(Family::Sd3, Role::T5, "medium").unwrap();
        assert_eq!(spec.notes, ["there is no t5: SD3 follows prompts less exactly without it; --t5 names one"]);
        for (family, missing, variant) in [(Family::Sd3, Role::ClipG, "medium"), (Family::Flux, Role::T5, "dev")] {
            assert_eq!(without(family, missing, variant).unwrap_err().kind.exit_code(), 4);
        }
        let mut kontext = inventory(Some(Family::Flux), Family::Flux.roles());
        if let Some(description) = &mut kontext.description {
            description.variant = Some("kontext".to_owned());
        }
        let message = "`night` is the kontext variant of Flux.1, which this version cannot run yet";
        assert_eq!(refusal(&JobDraft::default(), &kontext), (6, message.to_owned()));
    }

    #[test]
    fn refuses_models_that_do_not_run() {
        let draft = JobDraft::default();
        let unknown = Inventory { name: "night".to_owned(), ..Inventory::default() };
        assert_eq!(refusal(&draft, &unknown), (4, "there is no model `night`".to_owned()));
        assert_eq!(
            refusal(&draft, &inventory(Some(Family::Sd2), WHOLE)),
            (6, "`night` is a model of the family SD2, which this version cannot run".to_owned())
        );
        assert_eq!(refusal(&draft, &inventory(Some(Family::Sdxl), WHOLE)), (4, "`night` brings no clip_g, which SDXL needs".to_owned()));
        // Nobody shall look for encoders of what does not run.
        let mut fill = inventory(Some(Family::Flux), &[Role::Denoiser]);
        fill.description.as_mut().unwrap().variant = Some("fill".to_owned());
        assert_eq!(refusal(&draft, &fill), (6, "`night` is the fill variant of Flux.1, which this version cannot run yet".to_owned()));
        assert_eq!(refusal(&draft, &inventory(None, &[Role::Vae])), (6, "`night` holds no diffusion network, only vae".to_owned()));
        assert_eq!(
            refusal(&draft, &inventory(Some(Family::Sd15), &[Role::Denoiser, Role::ClipL])),
            (4, "`night` brings no vae, which SD1.5 needs".to_owned())
        );
    }
}
