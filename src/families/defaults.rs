//! What each family is used to: steps, guidance, solver, levels and size where nothing is said, and which
//! choices cannot work with it.
//!
//! Numbers are those that a family's authors, or diffusers on their behalf, publish for it; every entry
//! names its source. Solver and schedule are what users of ComfyUI know: `dpmpp_2m` on `karras` where noise
//! is added, `euler` on `simple` in flow matching, where `simple` has just the levels of the authors.

use super::{Family, FluxConfig};
use crate::sampling::{NoiseTable, Prediction, Sampler, Schedule, flux_mu};
use crate::units::Size;
use crate::weights::Precision;

/// What a run of a model does where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Habits {
    /// What the network's output means.
    pub prediction: Prediction,
    /// Solver steps.
    pub steps: u32,
    /// Scale of classifier-free guidance; 1 is none.
    pub cfg: f64,
    /// Guidance that the network itself is told, where it listens to any.
    pub guidance: Option<f64>,
    /// Solver.
    pub sampler: Sampler,
    /// Noise schedule.
    pub schedule: Schedule,
    /// Width and height that it was trained on, in pixels.
    pub side: u32,
    /// The noise levels of its training.
    pub levels: Levels,
    /// The 16 bits that it is computed in on a GPU.
    pub narrow: Precision,
}

/// The noise levels that a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Levels {
    /// Stable Diffusion's betas.
    Betas,
    /// Flow matching with so many levels.
    Flow {
        /// How they are shifted towards noise.
        shift: Shift,
        /// How many there are.
        entries: usize,
    },
}

/// How levels of flow matching are shifted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shift {
    /// By the same for every picture.
    Fixed(f64),
    /// By more for larger pictures, see [`flux_mu`].
    BySize,
}

impl Levels {
    /// Returns the table for pictures of this size.
    #[must_use]
    pub fn table(self, size: Size) -> NoiseTable {
        match self {
            Self::Betas => NoiseTable::stable_diffusion(),
            Self::Flow { shift, entries } => NoiseTable::flow(shift.value(size), entries),
        }
    }
}

impl Shift {
    /// Pixels of a token's side in Flux.1: eight of the autoencoder, twice two of a patch.
    const TOKEN: u32 = 16;

    /// Returns the shift for pictures of this size.
    #[must_use]
    pub fn value(self, size: Size) -> f64 {
        let tokens = |side: u32| u64::from(side.div_ceil(Self::TOKEN));
        match self {
            Self::Fixed(shift) => shift,
            Self::BySize => flux_mu(tokens(size.width()) * tokens(size.height())).exp(),
        }
    }
}

/// Levels of SD3 and Z-Image: `scheduler/scheduler_config.json` of both, `num_train_timesteps` and `shift`.
const SHIFT_3: Levels = Levels::Flow { shift: Shift::Fixed(3.0), entries: 1000 };

/// Stable Diffusion 1: 20 steps with 7 as this program always had it; its training saw 512². It is published in fp16; with three
/// more bits its pictures are four times nearer to fp32's than in bf16.
const SD15: Habits = Habits {
    prediction: Prediction::Epsilon,
    steps: 20,
    cfg: 7.0,
    guidance: None,
    sampler: Sampler::Dpmpp2m,
    schedule: Schedule::Karras,
    side: 512,
    levels: Levels::Betas,
    narrow: Precision::Fp16,
};

/// Stable Diffusion 2.1 at 768² predicts velocity. Its sibling of 512² predicts noise and has the same shapes.
const SD2: Habits = Habits { prediction: Prediction::V, side: 768, ..SD15 };

/// SDXL's guidance is that of diffusers' `StableDiffusionXLPipeline`; 30 steps are the upper end of what is usual.
const SDXL: Habits = Habits { steps: 30, cfg: 5.0, side: 1024, ..SD15 };

/// SD3 medium: diffusers' `StableDiffusion3Pipeline`. What transformers of this size add up, and T5 with them, leaves fp16's range;
/// bf16 is what diffusers' examples for SD3.5, Flux.1 and Z-Image compute in.
const SD3: Habits = Habits {
    prediction: Prediction::Flow,
    steps: 28,
    cfg: 7.0,
    guidance: None,
    sampler: Sampler::Euler,
    schedule: Schedule::Simple,
    side: 1024,
    levels: SHIFT_3,
    narrow: Precision::Bf16,
};

/// Flux.1 dev: diffusers' `FluxPipeline`, and the levels of BFL's `src/flux/sampling.py`.
const FLUX: Habits =
    Habits { cfg: 1.0, guidance: Some(FluxConfig::GUIDANCE), levels: Levels::Flow { shift: Shift::BySize, entries: 10_000 }, ..SD3 };

/// Z-Image Turbo: the example of diffusers' `ZImagePipeline`, whose guidance 0 is 1 here.
const Z_IMAGE: Habits = Habits { steps: 8, cfg: 1.0, ..SD3 };

impl Habits {
    /// Returns the habits of a member of a family; unknown members have those of the best known one.
    #[must_use]
    pub fn of(family: Family, variant: &str) -> Self {
        match family {
            Family::Sd15 => SD15,
            Family::Sd2 => SD2,
            Family::Sdxl | Family::SdxlRefiner => SDXL,
            // Stability's sd3.5 repository, `sd3_infer.py`, `CONFIGS`; shapes do not tell turbo from large.
            Family::Sd3 if variant.contains("turbo") => Habits { steps: 4, cfg: 1.0, ..SD3 },
            Family::Sd3 if variant.contains("3.5") => Habits { steps: 40, cfg: 4.5, ..SD3 },
            Family::Sd3 => SD3,
            Family::Flux => Self::of_flux(variant),
            // The default arguments of `ZImagePipeline`, whose guidance 5 is one more as a scale.
            Family::ZImage if variant == "base" => Habits { steps: 50, cfg: 6.0, ..Z_IMAGE },
            Family::ZImage => Z_IMAGE,
        }
    }

    fn of_flux(variant: &str) -> Self {
        match variant {
            // `FluxPipeline`'s example for schnell; its levels are not shifted (BFL's `get_schedule`, `shift=False`).
            "schnell" => Habits { steps: 4, guidance: None, levels: Levels::Flow { shift: Shift::Fixed(1.0), entries: 1000 }, ..FLUX },
            // `FluxFillPipeline`, and the examples of `FluxControlPipeline` and `FluxKontextPipeline`.
            "fill" | "canny" => Habits { steps: 50, guidance: Some(30.0), ..FLUX },
            // Canny's shapes are the same; BFL's README has 10 for depth, which of the two does less harm.
            "depth" | "canny/depth" => Habits { steps: 50, guidance: Some(10.0), ..FLUX },
            "kontext" => Habits { guidance: Some(2.5), ..FLUX },
            _ => FLUX,
        }
    }

    /// Returns the size of a picture that nothing is said about.
    #[must_use]
    pub fn size(&self) -> Size {
        // Every side above is a multiple of 8; a test looks at all of them.
        Size::new(self.side, self.side).unwrap_or(Size::SMALLEST)
    }
}

/// What somebody chose, or what stands in for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// Solver.
    pub sampler: Sampler,
    /// Noise schedule.
    pub schedule: Schedule,
    /// Scale of classifier-free guidance; 1 is none.
    pub cfg: f64,
    /// Guidance that the network is told.
    pub guidance: Option<f64>,
    /// How far levels of flow matching are shifted towards noise.
    pub shift: Option<f64>,
    /// How much of the unguided contrast is given back to what guidance makes.
    pub cfg_rescale: Option<f64>,
}

/// Returns a warning where a choice cannot give a good picture with this model, whatever else is set.
#[must_use]
pub fn unsuitable(family: Family, variant: &str, choice: Choice) -> Option<String> {
    let habits = Habits::of(family, variant);
    let idle = idle(family, habits, choice);
    let found = [misspaced(family, habits, choice.schedule), misguided(family, variant, habits, choice), idle];
    let warnings: Vec<String> = found.into_iter().flatten().collect();
    (!warnings.is_empty()).then(|| warnings.join("; "))
}

/// Returns why a schedule does not suit a family's levels.
fn misspaced(family: Family, habits: Habits, schedule: Schedule) -> Option<String> {
    let (name, title) = (habits.schedule, family.title());
    match (habits.levels, schedule) {
        (Levels::Flow { .. }, Schedule::Karras | Schedule::Exponential) => Some(format!(
            "`{schedule}` is made for noise that is added: on {title} it leaves out the steps that draw the picture; use `{name}`"
        )),
        // SD3 is shifted twice by its own pipeline, and a fixed shift of 3 bears it.
        (Levels::Flow { shift: Shift::BySize, .. }, Schedule::Normal) => {
            Some(format!("`{schedule}` shifts {title}'s levels twice, and its last step has nothing left to do; use `{name}`"))
        }
        (Levels::Betas, Schedule::LinearQuadratic) => {
            Some(format!("`{schedule}` is made for flow matching: on {title} its last step jumps over the whole picture; use `{name}`"))
        }
        (
            Levels::Flow { .. },
            Schedule::Normal
            | Schedule::SgmUniform
            | Schedule::Simple
            | Schedule::Beta
            | Schedule::DdimUniform
            | Schedule::LinearQuadratic
            | Schedule::KlOptimal,
        )
        | (
            Levels::Betas,
            Schedule::Normal
            | Schedule::Karras
            | Schedule::Exponential
            | Schedule::SgmUniform
            | Schedule::Simple
            | Schedule::Beta
            | Schedule::DdimUniform
            | Schedule::KlOptimal,
        ) => None,
    }
}

/// Returns which settings do nothing.
fn idle(family: Family, habits: Habits, choice: Choice) -> Option<String> {
    if choice.shift.is_some() && habits.levels == Levels::Betas {
        return Some(format!("--shift is for flow matching: {} has levels of its own, so that setting does nothing", family.title()));
    }
    if choice.cfg_rescale.is_some_and(|rescale| rescale > 0.0) && choice.cfg <= 1.0 {
        return Some(format!("--cfg-rescale corrects what --cfg does: with --cfg {} there is nothing to correct", choice.cfg));
    }
    None
}

/// Returns why guidance does not suit a network.
fn misguided(family: Family, variant: &str, habits: Habits, choice: Choice) -> Option<String> {
    let title = family.title();
    // So few steps are what networks have that learned to do without guidance.
    let distilled = habits.cfg <= 1.0 && habits.guidance.is_none();
    if distilled && choice.cfg > 1.0 {
        return Some(format!("{title} {variant} was trained to do without guidance: --cfg {} burns its pictures; use --cfg 1", choice.cfg));
    }
    if habits.guidance.is_none() && choice.guidance.is_some() {
        return Some(format!("{title} {variant} is not told any guidance, so that setting does nothing"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{Course, Noising};

    const MEMBERS: &[(Family, &str)] = &[
        (Family::Sd15, "base"),
        (Family::Sd15, "inpaint"),
        (Family::Sd2, "base"),
        (Family::Sdxl, "base"),
        (Family::SdxlRefiner, "base"),
        (Family::Sd3, "medium"),
        (Family::Sd3, "3.5-medium"),
        (Family::Sd3, "3.5-large"),
        (Family::Sd3, "3.5-large-turbo"),
        (Family::Flux, "dev"),
        (Family::Flux, "schnell"),
        (Family::Flux, "fill"),
        (Family::Flux, "canny/depth"),
        (Family::Flux, "kontext"),
        (Family::Flux, "custom"),
        (Family::ZImage, "base"),
        (Family::ZImage, "turbo"),
        (Family::ZImage, ""),
    ];

    fn usual(family: Family, variant: &str) -> Choice {
        let Habits { sampler, schedule, cfg, guidance, .. } = Habits::of(family, variant);
        Choice { sampler, schedule, cfg, guidance, shift: None, cfg_rescale: None }
    }

    #[test]
    fn every_member_s_habits_fit_together() {
        assert!(Family::ALL.iter().all(|f| MEMBERS.iter().any(|(member, _)| member == f)));
        for (family, variant) in MEMBERS {
            let habits = Habits::of(*family, variant);
            let name = format!("{family} {variant}");
            assert_eq!(unsuitable(*family, variant, usual(*family, variant)), None, "{name}");
            assert_eq!(habits.size().width(), habits.side, "{name}");
            let table = habits.levels.table(habits.size());
            assert_eq!(table.noising() == Noising::Mixed, habits.prediction == Prediction::Flow, "{name}");
            let course = Course { sampler: habits.sampler, schedule: habits.schedule, steps: habits.steps as usize, denoise: 1.0 };
            assert_eq!(course.sigmas(&table).len(), habits.steps as usize + 1, "{name}");
        }
    }

    /// The levels that models' own programs walk, to the digits they are published with.
    #[test]
    fn members_start_on_their_published_levels() {
        let check = |family, variant, expected: &[f64]| {
            let habits = Habits::of(family, variant);
            let course = Course { sampler: habits.sampler, schedule: habits.schedule, steps: expected.len() - 1, denoise: 1.0 };
            let sigmas = course.sigmas(&habits.levels.table(habits.size()));
            assert!(sigmas.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{family} {variant}: {sigmas:?}");
        };
        check(Family::ZImage, "turbo", &[1.0, 0.954_545_5, 0.9, 0.833_333_3, 0.75, 0.642_857_1, 0.5, 0.3, 0.0]);
        check(Family::Flux, "dev", &[1.0, 0.904_530_8, 0.759_510_9, 0.512_844_1, 0.0]);
        check(Family::Flux, "schnell", &[1.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn flux_looks_at_the_picture_s_size() {
        let shift = |w, h| Shift::BySize.value(Size::new(w, h).unwrap());
        assert!((shift(1024, 1024) - 1.15_f64.exp()).abs() < 1e-12);
        assert!((shift(512, 512) - 0.63_f64.exp()).abs() < 1e-12);
        assert!((shift(1000, 1016) - shift(1008, 1024)).abs() < 1e-12, "a token that is begun counts");
    }

    fn warning(family: Family, variant: &str, choice: Choice) -> String {
        unsuitable(family, variant, choice).unwrap_or_default()
    }

    #[test]
    fn what_does_nothing_is_named() {
        let sdxl = usual(Family::Sdxl, "base");
        assert!(warning(Family::Sdxl, "base", Choice { shift: Some(3.0), ..sdxl }).contains("SDXL has levels of its own"));
        assert!(warning(Family::Sdxl, "base", Choice { cfg_rescale: Some(0.7), cfg: 1.0, ..sdxl }).contains("nothing to correct"));
        assert_eq!(warning(Family::Sdxl, "base", Choice { cfg_rescale: Some(0.7), ..sdxl }), "");
        let sd3 = usual(Family::Sd3, "medium");
        assert_eq!(warning(Family::Sd3, "medium", Choice { shift: Some(2.0), ..sd3 }), "");
    }

    #[test]
    fn what_cannot_work_is_named() {
        let flux = usual(Family::Flux, "dev");
        assert_eq!(
            warning(Family::Flux, "dev", Choice { schedule: Schedule::Karras, ..flux }),
            "`karras` is made for noise that is added: on Flux.1 it leaves out the steps that draw the picture; use `simple`"
        );
        assert!(warning(Family::Flux, "dev", Choice { schedule: Schedule::Normal, ..flux }).contains("twice"));
        assert_eq!(warning(Family::Flux, "dev", Choice { cfg: 2.0, ..flux }), "", "slow, but people do it");
        assert_eq!(
            warning(Family::Flux, "schnell", Choice { cfg: 3.5, guidance: None, ..flux }),
            "Flux.1 schnell was trained to do without guidance: --cfg 3.5 burns its pictures; use --cfg 1"
        );
        assert!(warning(Family::Flux, "schnell", flux).contains("does nothing"), "guidance for a network that hears none");
        let turbo = usual(Family::ZImage, "turbo");
        let both = warning(Family::ZImage, "turbo", Choice { schedule: Schedule::Exponential, cfg: 7.0, ..turbo });
        assert!(both.contains("`exponential`") && both.contains("--cfg 7 burns"), "{both}");
        assert_eq!(warning(Family::Sd3, "medium", Choice { schedule: Schedule::Normal, ..usual(Family::Sd3, "medium") }), "");
        let sd15 = usual(Family::Sd15, "base");
        assert!(warning(Family::Sd15, "base", Choice { schedule: Schedule::LinearQuadratic, ..sd15 }).contains("flow matching"));
        assert!(warning(Family::Sd15, "base", Choice { guidance: Some(3.5), ..sd15 }).contains("does nothing"));
        for schedule in Schedule::ALL.iter().filter(|s| **s != Schedule::LinearQuadratic) {
            assert_eq!(warning(Family::Sd15, "base", Choice { schedule: *schedule, ..sd15 }), "");
        }
    }
}
