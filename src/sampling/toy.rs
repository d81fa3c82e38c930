//! A field for tests: a formula for a network, and noise that is handed out in order of the calls.
//!
//! Here every solver is compared with others. `comfyui.json` holds two runs of each, made by ComfyUI's
//! own code in single precision: one where noise is added and one of flow matching. `samplers.json` is made
//! by `scripts/parity/samplers.py` in double precision, with diffusers' schedulers for `uni_pc`, `ddim`
//! and `lcm` and with k-diffusion's functions for all others, so each has a reference that is not ours.
//! `flow.json` is made by `scripts/parity/flow.py` with diffusers' schedulers of flow matching.

use std::collections::HashMap;

use serde::Deserialize;

use super::brownian::Brownian;
use super::method::{Sampler, Schedule};
use super::noising::Noising;
use super::sigmas::Course;
use super::solver::{Field, Linear, solve};
use super::table::{NoiseTable, TimeRule, flux_mu};

impl Linear for Vec<f64> {
    fn sum(terms: &[(f64, &Self)]) -> Self {
        (0..terms[0].1.len()).map(|i| terms.iter().map(|(weight, value)| weight * value[i]).sum()).collect()
    }
}

/// The field, and what it saw.
pub(super) struct Toy {
    model: fn(&[f64], f64) -> Vec<f64>,
    noise: fn(usize, usize) -> f64,
    width: Option<usize>,
    /// The step after which it ends the run.
    pub(super) stop_after: Option<usize>,
    /// The level of each call.
    pub(super) calls: Vec<f64>,
    /// The interval of each noise.
    noises: Vec<(f64, f64)>,
    /// The steps reported.
    pub(super) finished: Vec<usize>,
    /// `x` at the end of each.
    path: Vec<Vec<f64>>,
}

impl Toy {
    fn new(model: fn(&[f64], f64) -> Vec<f64>, noise: fn(usize, usize) -> f64) -> Self {
        Self { model, noise, width: None, stop_after: None, calls: vec![], noises: vec![], finished: vec![], path: vec![] }
    }

    /// The toy of `comfyui.json`.
    pub(super) fn comfyui() -> Self {
        let model = |x: &[f64], s: f64| x.iter().map(|x| (x / (1.0 + s * s)).tanh() + 0.1 * s / (1.0 + s)).collect();
        Self::new(model, |call, _| if call.is_multiple_of(2) { 0.5 } else { -0.25 })
    }

    /// The toy of `samplers.json`: each element leans on its neighbour.
    fn coupled() -> Self {
        let model = |x: &[f64], s: f64| {
            let scale = 1.0 / (1.0 + s * s).sqrt();
            let lean = |i: usize| 0.3 * x[(i + 1) % x.len()];
            x.iter().enumerate().map(|(i, x)| (1.5 * scale * (x + lean(i))).tanh() + 0.2 * scale * (0.5 * x).sin()).collect()
        };
        Self::new(model, |call, i| 1.1 * (1.7 * call as f64 + 0.9 * i as f64 + 0.3).sin())
    }
}

impl Field<Vec<f64>> for Toy {
    type Error = &'static str;

    fn denoise(&mut self, x: &Vec<f64>, sigma: f64) -> Result<Vec<f64>, Self::Error> {
        assert!(sigma > 0.0, "there is nothing to take from a clean picture");
        self.calls.push(sigma);
        self.width = Some(x.len());
        Ok((self.model)(x, sigma))
    }

    fn noise(&mut self, from: f64, to: f64) -> Result<Vec<f64>, Self::Error> {
        assert!(from > to && to > 0.0, "noise is for an interval above 0: {from} {to}");
        let call = self.noises.len();
        self.noises.push((from, to));
        Ok((0..self.width.unwrap_or_default()).map(|i| (self.noise)(call, i)).collect())
    }

    fn finished_step(&mut self, step: usize, x: &Vec<f64>, denoised: &Vec<f64>) -> Result<(), Self::Error> {
        assert_eq!(x.len(), denoised.len());
        self.finished.push(step);
        self.path.push(x.clone());
        if self.stop_after == Some(step) { Err("told to stop") } else { Ok(()) }
    }
}

#[derive(Deserialize)]
struct ComfyUi {
    runs: ComfyUiRuns,
}

#[derive(Deserialize)]
struct ComfyUiRuns {
    added: ComfyUiRun,
    mixed: ComfyUiRun,
}

#[derive(Deserialize)]
struct ComfyUiRun {
    sigmas: Vec<f64>,
    samplers: HashMap<Sampler, Run>,
}

#[derive(Deserialize)]
struct Run {
    x: Vec<f64>,
    calls: Vec<f64>,
}

/// The bars are those of two independent ways to compute in single and in double precision; `uni_pc`
/// takes differences of near numbers, so its reference is less exact.
#[test]
fn every_solver_agrees_with_comfyui() {
    let file: ComfyUi =
        serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/sampling/comfyui.json"))).unwrap();
    for (noising, file) in [(Noising::Added, file.runs.added), (Noising::Mixed, file.runs.mixed)] {
        for sampler in Sampler::ALL {
            let reference = if *sampler == Sampler::Ddim { Sampler::Euler } else { *sampler };
            let run = &file.samplers[&reference];
            let bar = if *sampler == Sampler::UniPc { 6e-5 } else { 6e-6 };
            let start = vec![0.7 * file.sigmas[0], -1.3 * file.sigmas[0]];
            let mut sigmas = file.sigmas.clone();
            if noising == Noising::Mixed {
                // Lowered as a course for this sampler does.
                let course = Course { sampler: *sampler, schedule: Schedule::Simple, steps: 6, denoise: 1.0 };
                sigmas[0] = course.sigmas(&NoiseTable::flow(3.0, 1000))[0];
            }
            let mut toy = Toy::comfyui();
            let end = solve(*sampler, noising, &sigmas, start, &mut toy).unwrap();
            let off = largest_difference(&end, &run.x);
            assert!(off <= bar, "{sampler} {noising:?}: {end:?} is not {:?}", run.x);
            assert_eq!(toy.calls.len(), run.calls.len(), "{sampler} {noising:?}");
            assert!(largest_difference(&toy.calls, &run.calls) <= 2e-6, "{sampler} {noising:?}: {:?}", toy.calls);
        }
    }
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[derive(Deserialize)]
struct Parity {
    steps: usize,
    start: Vec<f64>,
    sigmas: HashMap<Schedule, HashMap<String, Vec<f64>>>,
    times: Vec<(f64, f64, f64)>,
    beta_times: Vec<Vec<f64>>,
    runs: Vec<ParityRun>,
}

#[derive(Deserialize)]
struct ParityRun {
    sampler: Sampler,
    schedule: Schedule,
    noises: usize,
    calls: usize,
    path: Vec<Vec<f64>>,
}

fn parity() -> Parity {
    serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parity/samplers.json"))).unwrap()
}

/// The bar that the project set itself is 1e-3; both sides are double precision, so what is left,
/// about 5e-14, is the order of additions.
#[test]
fn every_solver_on_every_schedule_agrees_with_k_diffusion_and_diffusers() {
    let parity = parity();
    let table = NoiseTable::stable_diffusion();
    assert_eq!(parity.runs.len(), Sampler::ALL.len() * Schedule::ALL.len());
    for run in &parity.runs {
        let name = format!("{} {}", run.sampler, run.schedule);
        let course = Course { sampler: run.sampler, schedule: run.schedule, steps: parity.steps, denoise: 1.0 };
        let sigmas = course.sigmas(&table);
        let start = parity.start.iter().map(|x| x * sigmas[0]).collect();
        let mut toy = Toy::coupled();
        let end = solve(run.sampler, Noising::Added, &sigmas, start, &mut toy).unwrap();

        assert_eq!((toy.calls.len(), toy.noises.len()), (run.calls, run.noises), "{name}");
        assert_eq!(toy.path.last(), Some(&end), "{name}");
        assert_eq!(toy.path.len(), run.path.len(), "{name}");
        for (step, (x, expected)) in toy.path.iter().zip(&run.path).enumerate() {
            let size = expected.iter().fold(1e-3, |m: f64, v| m.max(v.abs()));
            let off = largest_difference(x, expected) / size;
            assert!(off <= 1e-11, "{name}, step {step}: {x:?} is {off:.1e} from {expected:?}");
        }
    }
}

#[test]
fn every_schedule_agrees_with_k_diffusion_and_scipy() {
    let parity = parity();
    let table = NoiseTable::stable_diffusion();
    for schedule in Schedule::ALL {
        for (kind, expected) in &parity.sigmas[schedule] {
            let sampler = if kind == "uni_pc" { Sampler::UniPc } else { Sampler::Euler };
            let sigmas = Course { sampler, schedule: *schedule, steps: parity.steps, denoise: 1.0 }.sigmas(&table);
            assert_eq!(sigmas.len(), expected.len(), "{schedule} {kind}");
            for (sigma, expected) in sigmas.iter().zip(expected) {
                assert!((sigma - expected).abs() <= 1e-9 * expected, "{schedule} {kind}: {sigma} is not {expected}");
            }
        }
    }
    for (n, times) in parity.beta_times.iter().enumerate() {
        let course = Course { sampler: Sampler::Euler, schedule: Schedule::Beta, steps: n + 1, denoise: 1.0 };
        let found: Vec<f64> = course.sigmas(&table).iter().filter(|s| **s > 0.0).map(|s| table.time_of(*s, TimeRule::Nearest)).collect();
        assert_eq!(&found, times, "beta with {} steps", n + 1);
    }
    for (sigma, between, nearest) in parity.times {
        assert!((table.time_of(sigma, TimeRule::Interpolated) - between).abs() <= 1e-6, "{sigma}");
        assert!((table.time_of(sigma, TimeRule::Nearest) - nearest).abs() < 1e-9, "{sigma}");
    }
}

#[derive(Deserialize)]
struct Flow {
    start: Vec<f64>,
    sd3: Vec<Vec<f64>>,
    flux: Vec<FluxLevels>,
    zero_terminal: Vec<f64>,
    runs: Vec<FlowRun>,
}

#[derive(Deserialize)]
struct FluxLevels {
    tokens: u64,
    mu: f64,
    levels: Vec<f64>,
}

#[derive(Deserialize)]
struct FlowRun {
    sampler: Sampler,
    noises: usize,
    calls: usize,
    path: Vec<Vec<f64>>,
}

fn flow() -> Flow {
    serde_json::from_str(include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/parity/flow.json"))).unwrap()
}

/// The schedulers keep their levels in single precision.
#[test]
fn levels_of_flow_matching_agree_with_diffusers() {
    let check = |schedule, table: &NoiseTable, expected: &[f64], bar: f64| {
        let course = Course { sampler: Sampler::Euler, schedule, steps: expected.len() - 1, denoise: 1.0 };
        let sigmas = course.sigmas(table);
        assert_eq!(sigmas.len(), expected.len());
        assert!(largest_difference(&sigmas, expected) <= bar, "{schedule}: {sigmas:?} is not {expected:?}");
    };
    let file = flow();
    for expected in &file.sd3 {
        check(Schedule::Normal, &NoiseTable::flow(3.0, 1000), expected, 1e-7);
    }
    for FluxLevels { tokens, mu, levels } in &file.flux {
        assert!((flux_mu(*tokens) - mu).abs() < 1e-12, "{tokens}");
        // 10 000 entries are a multiple of every number of steps here, so the table has their very levels.
        check(Schedule::Simple, &NoiseTable::flow(flux_mu(*tokens).exp(), 10_000), levels, 1e-7);
    }
    let table = NoiseTable::zero_terminal();
    for (level, expected) in table.levels().iter().step_by(100).zip(&file.zero_terminal) {
        assert!((level - expected).abs() <= 1e-9 * expected, "{level} is not {expected}");
    }
    assert_eq!(file.zero_terminal.len(), 10);
}

/// The schedulers compute every step in single precision.
#[test]
fn flow_matching_agrees_with_diffusers() {
    let Flow { start, runs, .. } = flow();
    assert_eq!(runs.len(), 4);
    for run in runs {
        let course = Course { sampler: run.sampler, schedule: Schedule::Simple, steps: 12, denoise: 1.0 };
        // Twelve steps do not divide 1000, and do divide this.
        let sigmas = course.sigmas(&NoiseTable::flow(3.0, 1200));
        let mut toy = Toy::coupled();
        solve(run.sampler, Noising::Mixed, &sigmas, start.clone(), &mut toy).unwrap();
        assert_eq!((toy.calls.len(), toy.noises.len()), (run.calls, run.noises), "{}", run.sampler);
        assert_eq!(toy.path.len(), run.path.len(), "{}", run.sampler);
        for (step, (x, expected)) in toy.path.iter().zip(&run.path).enumerate() {
            let off = largest_difference(x, expected);
            assert!(off <= 2e-6, "{}, step {step}: {x:?} is {off:.1e} from {expected:?}", run.sampler);
        }
    }
}

/// What an engine draws: with noises of one motion, the second of a step of `dpmpp_sde` contains the first.
#[test]
fn the_two_noises_of_a_step_can_be_one_motion() {
    struct Drawing {
        motion: Brownian<Vec<f64>>,
        asked: Vec<(f64, f64)>,
        given: Vec<f64>,
    }
    impl Field<Vec<f64>> for Drawing {
        type Error = ();
        fn denoise(&mut self, x: &Vec<f64>, _: f64) -> Result<Vec<f64>, ()> {
            Ok(vec![0.0; x.len()])
        }
        fn noise(&mut self, from: f64, to: f64) -> Result<Vec<f64>, ()> {
            self.asked.push((from, to));
            let noise = self.motion.noise(from, to, vec![self.asked.len() as f64]);
            self.given.push(noise[0]);
            Ok(noise)
        }
        fn finished_step(&mut self, _: usize, _: &Vec<f64>, _: &Vec<f64>) -> Result<(), ()> {
            Ok(())
        }
    }
    let mut field = Drawing { motion: Brownian::default(), asked: vec![], given: vec![] };
    solve(Sampler::DpmppSde, Noising::Added, &[16.0, 4.0, 1.0, 0.0], vec![0.0], &mut field).unwrap();
    assert_eq!(field.asked, [(16.0, 8.0), (16.0, 4.0), (4.0, 2.0), (4.0, 1.0)]);
    let whole = |a: f64, b: f64| a * (2.0_f64 / 3.0).sqrt() + b * (1.0_f64 / 3.0).sqrt();
    assert!(largest_difference(&field.given, &[1.0, whole(1.0, 2.0), 3.0, whole(3.0, 4.0)]) < 1e-12, "{:?}", field.given);
}
