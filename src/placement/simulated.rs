//! What is known of a machine with simulated GPUs: their links are as fast as their profile says, to the byte.

use super::budget::Room;
use super::floors::Floors;
use super::machine::{Machine, Speed};
use crate::devices::{SimulatedGpu, simulated};
use crate::units::{Bytes, DeviceId};

/// Returns the simulated GPU of this name.
#[must_use]
pub fn gpu(device: DeviceId, gpus: &[SimulatedGpu]) -> Option<&SimulatedGpu> {
    simulated::numbered(gpus).find(|(id, _)| *id == device).map(|(_, gpu)| gpu)
}

/// Returns the memory of simulated GPUs, of which others hold something.
pub fn rooms(gpus: &[SimulatedGpu], floors: &Floors, held_by_others: impl Fn(DeviceId) -> Bytes) -> impl Iterator<Item = Room> {
    simulated::numbered(gpus).map(move |(device, gpu)| Room {
        device,
        total: gpu.memory,
        free: gpu.memory - held_by_others(device),
        reserve: floors.reserve(device, gpu.memory),
        committed: Bytes::ZERO,
    })
}

impl Machine {
    /// Returns this machine as a simulated GPU sees it; for any other device that computes, it is as it was. `promised` is
    /// what other parts of the model will take where they are computed with.
    #[must_use]
    pub fn seen_from(mut self, compute: DeviceId, gpus: &[SimulatedGpu], promised: Bytes) -> Self {
        let Some(gpu) = gpu(compute, gpus) else { return self };
        let others = simulated::numbered(gpus).map(|(id, _)| id).filter(|id| *id != compute);
        for donor in others.chain([DeviceId::Cpu, DeviceId::Disk]) {
            let speed = Speed { bytes_per_second: gpu.bytes_per_second(donor), measured: true, ..self.speed(donor) };
            self.speeds.retain(|(device, _)| *device != donor);
            self.speeds.push((donor, speed));
            self.latencies.push((donor, gpu.latency_s));
        }
        for room in self.rooms.iter_mut().filter(|room| room.device == compute) {
            room.committed += promised;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus() -> Vec<SimulatedGpu> {
        let gpu = |from_disk| SimulatedGpu {
            name: "card".to_owned(),
            memory: Bytes::gib(1),
            from_cpu: 12e9,
            from_disk,
            from_sim: 25e9,
            latency_s: 1e-5,
        };
        vec![gpu(1e9), gpu(2e9)]
    }

    #[test]
    fn links_are_those_of_the_profile() {
        let slow = Speed { flops: 0.0, bytes_per_second: 5.0, measured: false };
        let real = Machine { speeds: vec![(DeviceId::Disk, slow), (DeviceId::Cuda(0), slow)], ..Machine::default() };
        let machine = real.clone().seen_from(DeviceId::Sim(1), &gpus(), Bytes::ZERO);
        let link = |donor| (machine.speed(donor).bytes_per_second, machine.latency_s(donor), machine.speed(donor).measured);
        assert_eq!(link(DeviceId::Disk), (2e9, 1e-5, true));
        assert_eq!((link(DeviceId::Cpu), link(DeviceId::Sim(0))), ((12e9, 1e-5, true), (25e9, 1e-5, true)));
        assert_eq!((machine.speed(DeviceId::Cuda(0)), machine.latency_s(DeviceId::Cuda(0))), (slow, 0.0));
        assert_eq!(real.clone().seen_from(DeviceId::Cpu, &gpus(), Bytes::gib(1)), real);
    }

    #[test]
    fn what_is_held_and_what_is_promised_leaves_less() {
        let others = |device| if device == DeviceId::Sim(1) { Bytes::mib(100) } else { Bytes::ZERO };
        let machine = Machine { rooms: rooms(&gpus(), &Floors::default(), others).collect(), ..Machine::default() };
        let machine = machine.seen_from(DeviceId::Sim(0), &gpus(), Bytes::mib(10));
        let told: Vec<_> = machine.rooms.iter().map(|r| (r.device, r.free, r.committed)).collect();
        assert_eq!(told, [(DeviceId::Sim(0), Bytes::gib(1), Bytes::mib(10)), (DeviceId::Sim(1), Bytes::mib(924), Bytes::ZERO)]);
    }
}
