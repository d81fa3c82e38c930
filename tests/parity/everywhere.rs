//! Whole pictures of every family that runs, of every file that it has and in every precision: the same bits wherever the
//! weights live. A family or a precision that is added is here without a line of its own.

use perilune::devices::SimulatedGpu;
use perilune::families::Family;
use perilune::placement::{FullAsk, OffloadAsk, Part, PartAsks, Share, VirtualVram};
use perilune::units::{Bytes, DeviceId};
use perilune::weights::Precision;
use perilune::workflow::{JobSpec, part_of};

use crate::fixture::models_of;
use crate::process::{Engine, job};

const SIM: DeviceId = DeviceId::Sim(0);

/// Two simulated GPUs with room for every tiny model, behind links that cost nothing to speak of.
pub(crate) fn gpus(memory: Bytes) -> Vec<SimulatedGpu> {
    let gpu = SimulatedGpu { name: "card".to_owned(), memory, from_cpu: 50e9, from_disk: 10e9, from_sim: 50e9, latency_s: 0.0 };
    vec![gpu.clone(), gpu]
}

/// Every model that there is, and everything that it can be computed with in; two steps of each.
fn cases() -> impl Iterator<Item = (String, JobSpec)> {
    let families = Family::ALL.into_iter().filter(|family| family.is_supported());
    let models = families.flat_map(|family| models_of(family).into_iter().map(move |path| (family, path)));
    models.flat_map(|(family, path)| {
        Precision::ALL.iter().map(move |precision| {
            let name = format!("{family}, {} in {precision}", path.file_name().unwrap().display());
            (name, JobSpec { steps: 2, precision: Some(*precision), ..job(&path) })
        })
    })
}

/// As much as can leave.
fn all(donors: &[DeviceId]) -> OffloadAsk {
    OffloadAsk { virtual_vram: VirtualVram::AtLeast(Bytes(u64::MAX)), donors: donors.to_vec(), ..OffloadAsk::default() }
}

fn by(expression: &str) -> OffloadAsk {
    OffloadAsk { expert: Some(expression.parse().unwrap()), ..OffloadAsk::default() }
}

fn told(ask: &OffloadAsk, compute: DeviceId) -> String {
    FullAsk { compute, ask: ask.clone() }.to_string()
}

#[test]
fn pictures_are_the_same_bits_wherever_weights_live() {
    let mut processor = Engine::start();
    for (name, spec) in cases() {
        let expected = processor.paint(&spec);
        for offload in [all(&[DeviceId::Disk]), by("cpu,50%;disk,*")] {
            let asked = told(&offload, DeviceId::Cpu);
            assert!(processor.paint(&JobSpec { offload, ..spec.clone() }) == expected, "{name}: {asked}");
        }
    }
}

/// Runs a job that must succeed; returns its pixels, and the bytes of each part that lie elsewhere and that were streamed.
fn painted(engine: &mut Engine, spec: &JobSpec) -> (Vec<u8>, Vec<(Part, Bytes, Bytes)>) {
    let folder = tempfile::tempdir().unwrap();
    let finished = engine.run(spec, folder.path()).result.unwrap();
    assert!(finished.warnings.is_empty(), "{:?}", finished.warnings);
    let parts = finished.placement.parts.iter().map(|part| {
        // Donors in memory keep blocks on whole pages.
        let devices = |shares: &[Share]| shares.iter().map(|s| s.device).collect::<Vec<_>>();
        assert_eq!(devices(&part.asked), devices(&part.measured), "{}", part.part);
        let away = part.measured.iter().filter(|s| s.device != spec.compute).map(|s| s.bytes).sum();
        (part.part, away, part.streamed_bytes)
    });
    (image::open(&finished.images[0].path).unwrap().into_rgb8().into_raw(), parts.collect())
}

#[test]
fn text_encoder_and_autoencoder_live_where_they_are_asked_to() {
    let mut processor = Engine::start();
    let mut simulated = Engine::on(SIM, &gpus(Bytes::mib(256)));
    let parts = |clip: OffloadAsk, vae: OffloadAsk| [(Part::Clip, clip), (Part::Vae, vae)].into_iter().collect::<PartAsks>();
    for (name, spec) in cases() {
        let (expected, here) = painted(&mut processor, &spec);
        assert!(here.iter().all(|(_, away, streamed)| *away == Bytes::ZERO && *streamed == Bytes::ZERO), "{name}: {here:?}");
        let everything = JobSpec { parts: parts(all(&[]), all(&[DeviceId::Disk])), offload: all(&[]), ..spec.clone() };
        let (pixels, away) = painted(&mut processor, &everything);
        assert!(pixels == expected, "{name}");
        let roles = spec.set.family.roles().iter().map(|role| part_of(*role));
        assert_eq!(away.iter().map(|(part, ..)| *part).collect::<Vec<_>>(), roles.collect::<Vec<_>>());
        // The encoder of the autoencoder is not used; what is used comes at least once.
        assert!(away.iter().all(|(_, away, streamed)| away.get() > 0 && streamed.get() > 0), "{name}: {away:?}");

        let on_gpu = JobSpec { compute: SIM, ..spec.clone() };
        let spread = parts(by("sim:0,40%;cpu,20%;sim:1,20%;disk,*"), by("cpu,50%;disk,*"));
        let (expected, _) = painted(&mut simulated, &on_gpu);
        let (pixels, away) = painted(&mut simulated, &JobSpec { parts: spread, ..on_gpu });
        assert!(pixels == expected, "{name} on {SIM}");
        assert!(
            away.iter().all(|(part, away, streamed)| (*part == Part::Denoiser) == (away.get() == 0 && streamed.get() == 0)),
            "{away:?}"
        );
    }
}

#[test]
fn a_simulated_gpu_paints_the_same_wherever_weights_live() {
    let mut simulated = Engine::on(SIM, &gpus(Bytes::mib(256)));
    for (name, spec) in cases() {
        let spec = JobSpec { compute: SIM, ..spec };
        let expected = simulated.paint(&spec);
        let asks = [all(&[DeviceId::Cpu]), all(&[DeviceId::Sim(1), DeviceId::Disk]), by("sim:0,40%;cpu,20%;sim:1,20%;disk,*")];
        for offload in asks {
            let asked = told(&offload, SIM);
            assert!(simulated.paint(&JobSpec { offload, ..spec.clone() }) == expected, "{name}: {asked}");
        }
    }
}
