//! A run loads what it needs and nothing else, and where memory is short it does one thing after another.

use std::path::Path;

use perilune::families::{Family, Role};
use perilune::jobs::Phase;
use perilune::library::network;
use perilune::units::{Bytes, DeviceId, Size};
use perilune::weights::Precision;
use perilune::wire::Report;
use perilune::workflow::{InitImage, JobSpec, Tiling};

use crate::everywhere::gpus;
use crate::fixture::sd15;
use crate::flow_pictures::whole;
use crate::process::{Ended, Engine, job};

fn small(model: &Path) -> JobSpec {
    JobSpec { size: Size::new(32, 32).unwrap(), steps: 2, tiling: Tiling::Never, ..job(model) }
}

/// What is held of the parts that `is_meant`, after each report of memory.
fn held(ended: &Ended, is_meant: impl Fn(Role) -> bool) -> Vec<Bytes> {
    let of = |report: &Report| {
        let Report::Memory(memory) = report else { return None };
        let parts = memory.sets.iter().flat_map(|set| &set.parts).filter(|part| is_meant(part.role));
        Some(parts.map(|part| part.bytes).sum())
    };
    ended.reports.iter().filter_map(of).collect()
}

/// What a part takes in fp32: of all its blocks, and of those whose names begin so.
fn sizes(spec: &JobSpec, role: Role, begin: &str) -> (Bytes, Bytes) {
    let table = network::part(&spec.set.component(role).unwrap().files, role).unwrap().1;
    let of = |begin: &str| table.blocks().iter().filter(|b| b.name.starts_with(begin)).map(|b| b.bytes_in(Precision::Fp32)).sum();
    (of(""), of(begin))
}

#[test]
fn the_half_of_the_autoencoder_that_makes_latents_comes_with_a_picture_alone() {
    let folder = tempfile::tempdir().unwrap();
    let spec = small(&sd15().join("sd15-fp16.safetensors"));
    let (all, encoder) = sizes(&spec, Role::Vae, "encoder.");
    assert!(encoder > Bytes::ZERO);
    let mut engine = Engine::start();
    let ended = engine.run(&spec, folder.path());
    let picture = ended.result.as_ref().unwrap().images[0].path.clone();
    assert_eq!(held(&ended, |role| role == Role::Vae).into_iter().max(), Some(all - encoder), "from words");
    let init = Some(InitImage { path: picture, denoise: 0.5 });
    let ended = engine.run(&JobSpec { init, ..spec }, folder.path());
    assert!(ended.result.is_ok());
    assert_eq!(held(&ended, |role| role == Role::Vae).into_iter().max(), Some(all), "from a picture");
}

/// A simulated GPU with room for the network and the autoencoder, not for the text encoders beside the network.
#[test]
fn where_memory_is_short_text_is_read_first_and_its_encoders_leave() {
    let spec = JobSpec { compute: DeviceId::Sim(0), cfg: 3.0, ..small(&whole(Family::Sd3).join("folder")) };
    let size = |role| sizes(&spec, role, "").0;
    let encoders: Bytes = spec.set.family.encoders().map(size).sum();
    let (network, vae) = (size(Role::Denoiser), size(Role::Vae));
    println!("encoders {encoders}, network {network}, autoencoder {vae}");
    let room = network + vae;
    assert!(vae < encoders && encoders <= room, "the fixture is of other sizes than this test needs");
    let other = JobSpec { prompt: "a boat".to_owned(), ..spec.clone() };

    let mut plenty = Engine::on(DeviceId::Sim(0), &gpus(Bytes::gib(1)));
    let expected = [plenty.paint(&spec), plenty.paint(&other)];
    let mut tight = Engine::on(DeviceId::Sim(0), &gpus(room));
    // The second text finds the network there, which leaves for as long; the third is known.
    for (spec, expected, unread) in [(&spec, &expected[0], true), (&other, &expected[1], true), (&other, &expected[1], false)] {
        let folder = tempfile::tempdir().unwrap();
        let ended = tight.run(spec, folder.path());
        let finished = ended.result.as_ref().unwrap_or_else(|failed| panic!("{}", failed.message));
        let pixels = image::open(&finished.images[0].path).unwrap().into_rgb8().into_raw();
        assert!(pixels == expected[0], "the picture is the same");
        let phases = ended.reports.iter().filter_map(|r| if let Report::Phase { phase, .. } = r { Some(*phase) } else { None });
        let phases: Vec<Phase> = phases.collect();
        let first: &[Phase] = if unread { &[Phase::Loading, Phase::Encoding, Phase::Loading] } else { &[Phase::Loading, Phase::Encoding] };
        assert!(phases.starts_with(first), "{phases:?}");
        let here = held(&ended, Role::is_encoder);
        assert!(here.iter().all(|bytes| *bytes == Bytes::ZERO), "encoders left before the network came: {here:?}");
        assert!(held(&ended, |role| role == Role::Denoiser).contains(&network), "and all of the network is there");
    }
}
