//! The autoencoder in stripes beside itself in one piece.

use std::path::{Path, PathBuf};

use perilune::engine::loading::LoadedVae;
use perilune::engine::models::vae::tiling::Stripes;
use perilune::families::Family;
use perilune::library::moonlet;
use perilune::units::Size;
use perilune::weights::Precision;
use perilune::workflow::{JobSpec, Tiling};
use tch::{Device, Kind, Tensor};

use crate::fixture::{of, sd15};
use crate::networks::vae;
use crate::pictures::apart;
use crate::process::{Engine, job};

/// Steps of 255 in the picture's range, −1…1.
const STEPS: f64 = 255.0 / 2.0;
/// The largest difference to one piece of small pictures, in steps of 255. Measured: 0.014.
const WORST: f64 = 0.1;
/// The same of 640 × 1024 pixels. Measured: 0.41, and 0.97 of latents up to 21, of which one piece has the larger part: libtorch's norm of channels that lie side
/// by side adds all values of a group in fp32, by which one piece is 0.60 from itself in fp64.
const WORST_OF_LARGE: f64 = 1.5;
/// Stripes of a few rows, so that small maps have many: with 96 × 80 pixels sixteen at the finest level, two at the coarsest.
const NARROW: Stripes = Stripes { values: 1, rows: 6 };

/// Autoencoders of four and of sixteen channels with random weights, and one that was trained.
fn autoencoders(moonlet: &Path) -> [(&'static str, PathBuf); 3] {
    let sixteen = of(Family::Sd3).join("folder");
    [("4 channels", sd15().join("sd15.safetensors")), ("16 channels", sixteen), ("moonlet", moonlet.to_owned())]
}

/// `[1, channels, height, width]` of slow waves, −1…1.
fn smooth(channels: i64, height: i64, width: i64) -> Tensor {
    let axis = |n: i64| Tensor::linspace(0.0, 4.0, n, (Kind::Float, Device::Cpu));
    let phase = Tensor::arange(channels, (Kind::Float, Device::Cpu)).view([1, -1, 1, 1]);
    (axis(height).view([1, 1, -1, 1]) * 1.3 + axis(width).view([1, 1, 1, -1]) + phase).sin()
}

fn check(what: &str, whole: &Tensor, striped: &Tensor, bar: f64) {
    assert_eq!(whole.size(), striped.size(), "{what}: shapes");
    let off = (whole - striped).abs().max().double_value(&[]) * STEPS;
    println!("{what}: {off:.5}/255 from one piece, values up to {:.2}", whole.abs().max().double_value(&[]));
    assert!(off <= bar, "{what}: {off}/255");
}

fn check_both_ways(name: &str, vae: &LoadedVae, latent: &Tensor, picture: &Tensor, (stripes, bar): (Stripes, f64)) {
    let (model, residency) = (&vae.model, &vae.residency);
    let whole = model.decode(residency, latent).unwrap();
    check(&format!("{name}, decoded"), &whole, &model.decode_in_stripes(residency, latent, stripes).unwrap(), bar);
    let whole = model.encode(residency, picture).unwrap().unwrap();
    check(&format!("{name}, encoded"), &whole, &model.encode_in_stripes(residency, picture, stripes).unwrap().unwrap(), bar);
}

#[test]
fn stripes_are_the_whole_up_to_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let moonlet = moonlet::path(folder.path()).unwrap();
    let _guard = tch::no_grad_guard();
    for (name, path) in autoencoders(&moonlet) {
        let vae = vae(&path, Precision::Fp32);
        let channels = i64::try_from(vae.config.latent_channels).unwrap();
        let noise = |channels, height, width| Tensor::randn([1, channels, height, width], (Kind::Float, Device::Cpu));
        // How many pixels a cell has differs among tiny autoencoders.
        let cell = i64::try_from(vae.config.downscale()).unwrap();
        for (height, width) in [(12, 10), (7, 13), (1, 9)] {
            let (rows, columns) = (height * cell, width * cell);
            let what = format!("{name}, {rows} x {columns}");
            check_both_ways(&format!("{what}, smooth"), &vae, &smooth(channels, height, width), &smooth(3, rows, columns), (NARROW, WORST));
            check_both_ways(&format!("{what}, noise"), &vae, &noise(channels, height, width), &noise(3, rows, columns), (NARROW, WORST));
        }
        if path == moonlet {
            let (rows, columns) = (640, 1024);
            // libtorch's norm adds in a sum for each thread, and a single one of that many values is farther off.
            tch::set_num_threads(2);
            let latent = smooth(channels, rows / cell, columns / cell);
            check_both_ways("moonlet, 640 x 1024", &vae, &latent, &smooth(3, rows, columns), (Stripes::USUAL, WORST_OF_LARGE));
        }
    }
}

#[test]
fn tiles_give_the_same_picture() {
    let mut engine = Engine::start();
    let tiny = job(&sd15().join("sd15.safetensors"));
    let spec = JobSpec { size: Size::new(1024, 640).unwrap(), steps: 1, cfg: 1.0, tiling: Tiling::Never, ..tiny };
    let whole = engine.paint(&spec).remove(0);
    let tiled = engine.paint(&JobSpec { tiling: Tiling::Always, ..spec }).remove(0);
    let off = apart(&whole, &tiled);
    println!("tiles: {off}/255");
    // What lies between two steps of 255 may be rounded to either.
    assert!(off <= 1, "{off}/255");
}
