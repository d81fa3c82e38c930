//! Simulated GPUs, as the engine of one of them has them: memory that is counted to the byte, and links that take their time.
//!
//! Weights and the memory that they pass through are taken from a [`Pool`] for each GPU; the bytes themselves lie in the
//! host's memory. Activations are libtorch's own and are in no pool.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::tally::{Tally, Turn};
use crate::devices::{SimulatedGpu, simulated};
use crate::placement::pool::{Full, Grant, Pool};
use crate::placement::{Floors, Machine, Room, Share};
use crate::units::{Bytes, DeviceId};

/// All simulated GPUs, seen from the one that computes.
#[derive(Debug, Clone)]
pub struct Simulated {
    compute: DeviceId,
    gpus: Vec<SimulatedGpu>,
    books: Arc<Books>,
}

/// What is taken of each GPU.
#[derive(Debug)]
struct Books {
    pools: Vec<Pool>,
    /// What other engines have taken, where there may be others.
    tally: Option<Tally>,
}

/// Memory of a simulated GPU, taken until this is dropped.
#[derive(Debug)]
pub struct Granted {
    grant: Option<Grant>,
    books: Arc<Books>,
}

/// Why memory of a simulated GPU cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// There is not so much left.
    #[error(transparent)]
    Full(#[from] Full),
    /// It cannot be told what others have taken.
    #[error("counting what engines have taken of simulated GPUs in {}: {source}", folder.display())]
    Tally {
        /// Where they count.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Simulated {
    /// Returns these GPUs, of which this engine has taken nothing; `None` where the one that computes is not among them.
    #[must_use]
    pub fn new(compute: DeviceId, gpus: &[SimulatedGpu]) -> Option<Self> {
        let pools: Vec<Pool> = simulated::numbered(gpus).map(|(id, gpu)| Pool::new(id, gpu.memory)).collect();
        let is_there = pools.iter().any(|pool| pool.device() == compute);
        is_there.then(|| Self { compute, gpus: gpus.to_vec(), books: Arc::new(Books { pools, tally: None }) })
    }

    /// Returns the same GPUs, shared with the engines that count in this folder.
    pub fn sharing(self, folder: &Path) -> Result<Self, TakeError> {
        let tally = Tally::join(folder, self.compute).map_err(|source| TakeError::Tally { folder: folder.to_owned(), source })?;
        let pools = self.books.pools.clone();
        Ok(Self { books: Arc::new(Books { pools, tally: Some(tally) }), ..self })
    }

    /// Returns the GPU that computes.
    #[must_use]
    pub fn gpu(&self) -> Option<&SimulatedGpu> {
        crate::placement::simulated::gpu(self.compute, &self.gpus)
    }

    /// Takes memory of a device; of one that is not simulated there is always enough, and nothing is counted.
    pub fn take(&self, device: DeviceId, bytes: Bytes) -> Result<Option<Granted>, TakeError> {
        let Some(pool) = self.books.pools.iter().find(|pool| pool.device() == device) else { return Ok(None) };
        let turn = self.books.turn()?;
        let granted = Granted { grant: Some(pool.take(bytes)?), books: Arc::clone(&self.books) };
        if let Some(turn) = &turn
            && let Err(error) = turn.write(&self.held())
        {
            // What was granted is given back after the turn, which it needs to do so.
            let error = self.books.failed(error);
            drop(granted.without_turn());
            return Err(error);
        }
        Ok(Some(granted))
    }

    /// Takes memory of the GPU that computes.
    pub fn take_here(&self, bytes: Bytes) -> Result<Option<Granted>, TakeError> {
        self.take(self.compute, bytes)
    }

    /// Returns what is left of the GPU that computes.
    #[must_use]
    pub fn free_here(&self) -> Option<Bytes> {
        self.books.pools.iter().find(|pool| pool.device() == self.compute).map(Pool::free)
    }

    /// Looks at what other engines have taken.
    pub fn look(&self) -> Result<(), TakeError> {
        self.books.turn().map(drop)
    }

    /// Returns how long so many bytes travel from a donor to the GPU that computes.
    #[must_use]
    pub fn travel(&self, donor: DeviceId, bytes: Bytes) -> Duration {
        let seconds = self.gpu().map_or(0.0, |gpu| gpu.seconds(donor, bytes));
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }

    /// Returns what this engine has taken of each.
    #[must_use]
    pub fn held(&self) -> Vec<Share> {
        self.books.held()
    }

    /// Returns the memory that weights may take. What this engine holds counts as free: a part that is placed anew takes
    /// the place of the one before, and what other parts take is `promised` to them.
    #[must_use]
    pub fn seen(&self, mut machine: Machine, floors: &Floors, promised: Bytes) -> Machine {
        let elsewhere = |device| self.books.pools.iter().find(|p| p.device() == device).map_or(Bytes::ZERO, Pool::elsewhere);
        machine.rooms.extend(crate::placement::simulated::rooms(&self.gpus, floors, elsewhere).collect::<Vec<Room>>());
        machine.seen_from(self.compute, &self.gpus, promised)
    }
}

impl Books {
    /// Waits until no other engine takes anything, and looks at what they have taken. `None` where there are no others.
    fn turn(&self) -> Result<Option<Turn<'_>>, TakeError> {
        let Some(tally) = &self.tally else { return Ok(None) };
        let turn = tally.turn().map_err(|e| self.failed(e))?;
        let others = turn.others().map_err(|e| self.failed(e))?;
        for pool in &self.pools {
            pool.set_elsewhere(others.iter().filter(|s| s.device == pool.device()).map(|s| s.bytes).sum());
        }
        Ok(Some(turn))
    }

    fn failed(&self, source: io::Error) -> TakeError {
        TakeError::Tally { folder: self.tally.as_ref().map(|t| t.folder().to_owned()).unwrap_or_default(), source }
    }

    fn held(&self) -> Vec<Share> {
        self.pools.iter().map(|pool| Share { device: pool.device(), bytes: pool.used() }).collect()
    }
}

impl Granted {
    /// Returns how much it is.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.grant.as_ref().map_or(Bytes::ZERO, Grant::bytes)
    }

    /// Gives up the bytes without a turn, for who has it already.
    fn without_turn(mut self) -> Option<Grant> {
        self.grant.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        let Some(grant) = self.grant.take() else { return };
        let turn = self.books.tally.as_ref().map(Tally::turn).transpose();
        drop(grant);
        let written = turn.and_then(|turn| turn.map_or(Ok(()), |turn| turn.write(&self.books.held())));
        // Others then believe that more is taken than is: they are refused what they could have, and nothing is overdrawn.
        if let Err(error) = written {
            tracing::warn!("{}", self.books.failed(error));
        }
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
        assert_eq!(there.to_string(), "301 B of sim:1 are needed, and 300 B are free");
        assert!(simulated.take(DeviceId::Cpu, Bytes(u64::MAX)).unwrap().is_none());
        let held: Vec<_> = simulated.held().into_iter().map(|s| s.bytes.get()).collect();
        assert_eq!((held, here.bytes()), (vec![900, 0], Bytes(900)));
        simulated.books.pools[1].set_elsewhere(Bytes(200));
        let rooms: Vec<_> = simulated
            .seen(Machine::default(), &Floors::default(), Bytes(50))
            .rooms
            .iter()
            .map(|r| (r.free.get(), r.committed.get()))
            .collect();
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

    #[test]
    fn two_engines_share_a_gpu_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let engine = |n| Simulated::new(DeviceId::Sim(n), &gpus()).unwrap().sharing(folder.path()).unwrap();
        let (first, second) = (engine(0), engine(1));
        let held = first.take(DeviceId::Sim(1), Bytes(180)).unwrap();
        assert_eq!(
            second.take_here(Bytes(121)).unwrap_err().to_string(),
            "121 B of sim:1 are needed, and 120 B are free: other engines have taken 180 B"
        );
        let rest = second.take_here(Bytes(120)).unwrap();
        assert_eq!(
            first.take(DeviceId::Sim(1), Bytes(1)).unwrap_err().to_string(),
            "1 B of sim:1 are needed, and 0 B are free: other engines have taken 120 B"
        );
        second.look().unwrap();
        let seen = second.seen(Machine::default(), &Floors::default(), Bytes::ZERO).rooms;
        assert_eq!(seen.iter().map(|r| r.free.get()).collect::<Vec<_>>(), [1000, 120], "what one holds itself counts as free");
        drop((held, rest));
        drop(second.take_here(Bytes(300)).unwrap());
        drop(first);
        assert!(second.take(DeviceId::Sim(0), Bytes(1000)).unwrap().is_some());
    }

    #[test]
    fn engines_that_ask_at_once_overdraw_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for n in 0..2u16 {
                let (folder, taken) = (folder.path(), &taken);
                scope.spawn(move || {
                    let engine = Simulated::new(DeviceId::Sim(n), &gpus()).unwrap().sharing(folder).unwrap();
                    for k in 0..400u64 {
                        let Ok(granted) = engine.take(DeviceId::Sim(1), Bytes(100 + k * 7 % 150)) else { continue };
                        let bytes = granted.as_ref().map_or(0, |g| g.bytes().get());
                        let all = taken.fetch_add(bytes, std::sync::atomic::Ordering::SeqCst) + bytes;
                        assert!(all <= 300, "{all} of 300 bytes");
                        taken.fetch_sub(bytes, std::sync::atomic::Ordering::SeqCst);
                        drop(granted);
                    }
                });
            }
        });
    }
}
