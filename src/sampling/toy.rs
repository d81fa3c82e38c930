//! A field for tests: a formula for a network, and noise that is handed out in order of the calls.
//!
//! Here every solver is compared with others. `comfyui.json` holds one run of each, made by ComfyUI's
//! own code in single precision. `samplers.json` is made by `scripts/parity/samplers.py` in double
//! precision, with k-diffusion's functions for `euler`, `euler_ancestral`, `heun`, `dpmpp_2m`,
//! `dpmpp_2m_sde` and `dpmpp_sde`, and with diffusers' schedulers for `uni_pc`, `ddim` and `lcm`, so
//! each of the nine has a reference that is not ours.

use std::collections::HashMap;

use serde::Deserialize;

use super::brownian::Brownian;
use super::method::{Sampler, Schedule};
use super::sigmas::Course;
use super::solver::{Field, Linear, solve};
use super::table::{NoiseTable, TimeRule};

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
    for sampler in Sampler::ALL {
        let reference = if *sampler == Sampler::Ddim { Sampler::Euler } else { *sampler };
        let run = &file.samplers[&reference];
        let bar = if *sampler == Sampler::UniPc { 6e-5 } else { 6e-6 };
        let start = vec![0.7 * file.sigmas[0], -1.3 * file.sigmas[0]];
        let mut toy = Toy::comfyui();
        let end = solve(*sampler, &file.sigmas, start, &mut toy).unwrap();
        let off = largest_difference(&end, &run.x);
        assert!(off <= bar, "{sampler}: {end:?} is not {:?}", run.x);
        assert_eq!(toy.calls.len(), run.calls.len(), "{sampler}");
        assert!(largest_difference(&toy.calls, &run.calls) <= 2e-6, "{sampler}: {:?}", toy.calls);
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
        let end = solve(run.sampler, &sigmas, start, &mut toy).unwrap();

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
    solve(Sampler::DpmppSde, &[16.0, 4.0, 1.0, 0.0], vec![0.0], &mut field).unwrap();
    assert_eq!(field.asked, [(16.0, 8.0), (16.0, 4.0), (4.0, 2.0), (4.0, 1.0)]);
    let whole = |a: f64, b: f64| a * (2.0_f64 / 3.0).sqrt() + b * (1.0_f64 / 3.0).sqrt();
    assert!(largest_difference(&field.given, &[1.0, whole(1.0, 2.0), 3.0, whole(3.0, 4.0)]) < 1e-12, "{:?}", field.given);
}
