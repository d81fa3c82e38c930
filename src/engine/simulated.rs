//! Simulated GPUs, as the engine of one of them has them: memory that is counted to the byte, and links that take their time.
//!
//! Weights and the memory that they pass through are taken from a [`Pool`] for each GPU; the bytes themselves lie in the
//! host's memory. Activations are libtorch's own and are in no pool.

use std::time::Duration;

use crate::devices::{SimulatedGpu, simulated};
use crate::placement::pool::{Full, Grant, Pool};
use crate::placement::{Machine, Room, Share};
use crate::units::{Bytes, DeviceId};

/// All simulated GPUs, seen from the one that computes.
#[derive(Debug, Clone)]
pub struct Simulated {
    compute: DeviceId,
    gpus: Vec<SimulatedGpu>,
    pools: Vec<Pool>,
}

impl Simulated {
    /// Returns these GPUs, all of their memory free; `None` where the one that computes is not among them.
    #[must_use]
    pub fn new(compute: DeviceId, gpus: &[SimulatedGpu]) -> Option<Self> {
        let pools: Vec<Pool> = simulated::numbered(gpus).map(|(id, gpu)| Pool::new(id, gpu.memory)).collect();
        let is_there = pools.iter().any(|pool| pool.device() == compute);
        is_there.then(|| Self { compute, gpus: gpus.to_vec(), pools })
    }

    /// Returns the GPU that computes.
    #[must_use]
    pub fn gpu(&self) -> Option<&SimulatedGpu> {
        crate::placement::simulated::gpu(self.compute, &self.gpus)
    }

    /// Takes memory of a device; of one that is not simulated there is always enough, and nothing is counted.
    pub fn take(&self, device: DeviceId, bytes: Bytes) -> Result<Option<Grant>, Full> {
        self.pools.iter().find(|pool| pool.device() == device).map(|pool| pool.take(bytes)).transpose()
    }

    /// Takes memory of the GPU that computes.
    pub fn take_here(&self, bytes: Bytes) -> Result<Option<Grant>, Full> {
        self.take(self.compute, bytes)
    }

    /// Returns how long so many bytes travel from a donor to the GPU that computes.
    #[must_use]
    pub fn travel(&self, donor: DeviceId, bytes: Bytes) -> Duration {
        let seconds = self.gpu().map_or(0.0, |gpu| gpu.seconds(donor, bytes));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Hears what other engines have taken.
    pub fn set_taken(&self, taken: &[Share]) {
        for pool in &self.pools {
            pool.set_elsewhere(taken.iter().filter(|s| s.device == pool.device()).map(|s| s.bytes).sum());
        }
    }

    /// Returns what this engine has taken of each.
    #[must_use]
    pub fn held(&self) -> Vec<Share> {
        self.pools.iter().map(|pool| Share { device: pool.device(), bytes: pool.used() }).collect()
    }

    /// Returns the memory that weights may take. What this engine holds counts as free: a part that is placed anew takes
    /// the place of the one before, and what other parts take is `promised` to them.
    #[must_use]
    pub fn seen(&self, mut machine: Machine, promised: Bytes) -> Machine {
        let elsewhere = |device| self.pools.iter().find(|p| p.device() == device).map_or(Bytes::ZERO, Pool::elsewhere);
        machine.rooms.extend(crate::placement::simulated::rooms(&self.gpus, elsewhere).collect::<Vec<Room>>());
        machine.seen_from(self.compute, &self.gpus, promised)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpus() -> Vec<SimulatedGpu> {
        let gpu = |memory| SimulatedGpu {
            name: "card".to_owned(),
            memory: Bytes(memory),
            from_cpu: 1e6,
            from_disk: 1e5,
            from_sim: 2e6,
            latency_s: 0.5,
        };
        vec![gpu(1000), gpu(300)]
    }

    #[test]
    fn memory_is_counted_where_it_is_simulated() {
        let simulated = Simulated::new(DeviceId::Sim(0), &gpus()).unwrap();
        let here = simulated.take_here(Bytes(900)).unwrap().unwrap();
        let there = simulated.take(DeviceId::Sim(1), Bytes(301)).unwrap_err();
        assert_eq!((there.needed, there.free), (Bytes(301), Bytes(300)));
        assert!(simulated.take(DeviceId::Cpu, Bytes(u64::MAX)).unwrap().is_none());
        let held: Vec<_> = simulated.held().into_iter().map(|s| s.bytes.get()).collect();
        assert_eq!((held, here.bytes()), (vec![900, 0], Bytes(900)));
        simulated.set_taken(&[Share { device: DeviceId::Sim(1), bytes: Bytes(200) }]);
        let rooms: Vec<_> = simulated.seen(Machine::default(), Bytes(50)).rooms.iter().map(|r| (r.free.get(), r.committed.get())).collect();
        assert_eq!(rooms, [(1000, 50), (100, 0)]);
        assert!(Simulated::new(DeviceId::Sim(2), &gpus()).is_none());
    }

    #[test]
    fn what_travels_takes_its_time() {
        let simulated = Simulated::new(DeviceId::Sim(0), &gpus()).unwrap();
        let seconds = |donor| simulated.travel(donor, Bytes(1_000_000)).as_secs_f64();
        assert!((seconds(DeviceId::Cpu) - 1.5).abs() < 1e-9 && (seconds(DeviceId::Disk) - 10.5).abs() < 1e-9);
        assert!((seconds(DeviceId::Sim(1)) - 1.0).abs() < 1e-9);
    }
}
