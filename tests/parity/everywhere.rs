//! Whole pictures of every family that runs, of every file that it has and in every precision: the same bits wherever the
//! weights live. A family or a precision that is added is here without a line of its own.

use perilune::devices::SimulatedGpu;
use perilune::families::Family;
use perilune::placement::{FullAsk, OffloadAsk, VirtualVram};
use perilune::units::{Bytes, DeviceId};
use perilune::weights::Precision;
use perilune::workflow::JobSpec;

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
