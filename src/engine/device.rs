//! The compute device: found, described, and asked for memory.

#![expect(unsafe_code, reason = "loading libtorch's CUDA half runs its initialisers; the driver is asked about one device of several")]

use std::error::Error as _;
use std::fs;
use std::sync::{Arc, OnceLock};

use tch::{Cuda, Device, Kind};

use super::simulated::Simulated;
use super::{EngineError, allocator, heap};
use crate::devices::{SIMULATED, SimulatedGpu, driver_version, host_memory};
use crate::placement::budget::margin;
use crate::placement::learned::naming_driver;
use crate::placement::{Floors, Room};
use crate::units::{Bytes, DeviceId};
use crate::weights::Precision;
use crate::wire::work::Configure;

/// Where tensors live and how they are computed.
#[derive(Debug, Clone)]
pub struct Compute {
    /// Its name in flags.
    pub id: DeviceId,
    /// Its name in libtorch.
    pub device: Device,
    /// What it and the library are called, for people.
    pub about: String,
    /// Memory and links, where it is simulated: then libtorch computes on the processor.
    pub simulated: Option<Arc<Simulated>>,
    /// How much of each device stays free, where the operator has said it.
    pub floors: Floors,
}

impl Compute {
    /// Opens the device that an engine is for.
    pub fn of(configure: &Configure) -> Result<Self, EngineError> {
        let compute = match configure.device {
            DeviceId::Sim(_) => Self::shared(configure),
            DeviceId::Cuda(_) | DeviceId::Amd(_) | DeviceId::Cpu | DeviceId::Disk => Self::open(configure.device, configure.threads),
        };
        Ok(Self { floors: configure.floors.clone(), ..compute? })
    }

    /// Opens a simulated GPU whose memory other engines take, too.
    fn shared(configure: &Configure) -> Result<Self, EngineError> {
        let compute = Self::simulated(configure.device, configure.threads, &configure.simulated)?;
        match (&compute.simulated, &configure.tally) {
            (Some(alone), Some(folder)) => {
                let shared = Simulated::clone(alone).sharing(folder)?;
                Ok(Self { simulated: Some(Arc::new(shared)), ..compute })
            }
            (Some(_), None) | (None, _) => Ok(compute),
        }
    }

    /// Opens a simulated GPU, one of these.
    pub fn simulated(id: DeviceId, threads: Option<u32>, gpus: &[SimulatedGpu]) -> Result<Self, EngineError> {
        let no_device = || EngineError::NoDevice { device: id, reason: "no profile of the daemon's defines it".to_owned() };
        let simulated = Simulated::new(id, gpus).ok_or_else(no_device)?;
        let processor = Self::open(DeviceId::Cpu, threads)?;
        let name = simulated.gpu().map(|gpu| gpu.name.clone()).unwrap_or_default();
        let about = format!("{SIMULATED} {name}: {}", processor.about);
        Ok(Self { id, about, simulated: Some(Arc::new(simulated)), ..processor })
    }

    /// Opens the device, loading libtorch's CUDA half where it is one of NVIDIA's.
    pub fn open(id: DeviceId, threads: Option<u32>) -> Result<Self, EngineError> {
        let no_device = |reason: String| EngineError::NoDevice { device: id, reason };
        if let Some(threads) = threads {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        }
        match id {
            DeviceId::Cpu => {
                let about = format!("libtorch{VERSION} on {} threads", tch::get_num_threads());
                Ok(Self { id, device: Device::Cpu, about, simulated: None, floors: Floors::default() })
            }
            DeviceId::Cuda(index) => {
                load_cuda().map_err(no_device)?;
                let count = Cuda::device_count();
                if i64::from(index) >= count {
                    return Err(no_device(format!("libtorch sees {count} CUDA devices")));
                }
                // The same result from run to run.
                tch::Cuda::cudnn_set_benchmark(false);
                let driver = naming_driver(driver_version(|path| fs::read_to_string(path).ok()).as_deref());
                let about = format!("libtorch{VERSION} with {}{driver}, device {index} of {count}", card(index));
                Ok(Self { id, device: Device::Cuda(usize::from(index)), about, simulated: None, floors: Floors::default() })
            }
            DeviceId::Disk | DeviceId::Amd(_) | DeviceId::Sim(_) => Err(no_device("nothing can be computed there".to_owned())),
        }
    }

    /// Returns what else the bits of a result depend on than on what is computed: the library, and the card or the processor with its
    /// threads.
    #[must_use]
    pub fn arithmetic(&self) -> String {
        match self.device {
            Device::Cuda(index) => format!("libtorch{VERSION} with {}", card(u16::try_from(index).unwrap_or(u16::MAX))),
            Device::Cpu | Device::Mps | Device::Vulkan => {
                let told = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
                let model = told.lines().find(|line| line.starts_with("model name")).unwrap_or_default();
                format!("libtorch{VERSION} on {} threads, {model}", tch::get_num_threads())
            }
        }
    }

    /// Returns the memory that can still be had, where that can be told.
    #[must_use]
    pub fn free_memory(&self) -> Option<Bytes> {
        self.memory().map(|(_, free)| free)
    }

    /// Returns the memory that weights can still have, where that can be told: of a simulated GPU, its own.
    #[must_use]
    pub fn free_for_weights(&self) -> Option<Bytes> {
        match &self.simulated {
            Some(simulated) => simulated.free_here(),
            None => self.free_memory(),
        }
    }

    /// Returns all memory and what of it can still be had, where that can be told.
    #[must_use]
    pub fn memory(&self) -> Option<(Bytes, Bytes)> {
        match self.device {
            Device::Cpu => host(),
            Device::Cuda(index) => cuda_memory(index),
            Device::Mps | Device::Vulkan => None,
        }
    }

    /// Returns the memory of this device and of those that may hold weights for it, where that can be told.
    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        let room = |device: DeviceId, (total, free): (Bytes, Bytes)| Room {
            device,
            total,
            free,
            reserve: self.floors.reserve(device, total),
            committed: Bytes::ZERO,
        };
        // A simulated GPU keeps its own books; its memory here is the host's.
        let here = if self.simulated.is_some() { DeviceId::Cpu } else { self.id };
        let mut rooms: Vec<Room> = self.memory().map(|memory| room(here, memory)).into_iter().collect();
        if let Device::Cuda(index) = self.device {
            // What libtorch keeps for later is there for weights, and for what steps take beside them.
            let kept = allocator::held(index).map_or(Bytes::ZERO, |held| held.reserved - held.allocated);
            for room in &mut rooms {
                room.free = (room.free + kept).min(room.total);
            }
            rooms.extend(host().map(|memory| room(DeviceId::Cpu, memory)));
            let others = (0..usize::try_from(Cuda::device_count()).unwrap_or(0)).filter(|other| *other != index);
            let other = |index: usize| Some(room(DeviceId::Cuda(u16::try_from(index).ok()?), cuda_memory(index)?));
            rooms.extend(others.filter_map(other));
        }
        rooms
    }

    /// Returns how much of its memory must be free between two steps. That of a simulated GPU is counted, and is not what its
    /// steps are computed in.
    #[must_use]
    pub fn margin(&self, total: Bytes) -> Bytes {
        if self.simulated.is_some() { margin(self.id, total) } else { self.floors.margin(self.id, total) }
    }

    /// Gives memory back that libtorch keeps for later, the host's and the device's own.
    pub fn trim(&self) {
        heap::trim();
        match self.device {
            Device::Cuda(_) => allocator::give_back(),
            Device::Cpu | Device::Mps | Device::Vulkan => {}
        }
    }

    /// Waits until everything that was started on the device has ended.
    pub fn synchronize(&self) {
        if let Device::Cuda(index) = self.device {
            Cuda::synchronize(i64::try_from(index).unwrap_or(0));
        }
    }
}

/// The host's memory and what of it can still be had.
fn host() -> Option<(Bytes, Bytes)> {
    host_memory(|path| fs::read_to_string(path).ok()).map(|memory| (memory.total, memory.free))
}

/// The version of libtorch that this program was built against, behind a space; speeds are remembered under this name.
const VERSION: &str = env!("PERILUNE_LIBTORCH");

/// Returns what a card and the CUDA of its driver are called: either may be another one tomorrow.
fn card(index: u16) -> String {
    use cudarc::driver::{result, sys};
    let name = result::init().and_then(|()| result::device::get(i32::from(index))).and_then(result::device::get_name);
    let mut version = 0;
    // SAFETY: the driver was loaded by the calls above or cannot be, and writes one number to where it may.
    let told = name.is_ok() && unsafe { sys::cuDriverGetVersion(&raw mut version) } == sys::CUresult::CUDA_SUCCESS;
    let cuda = if told { format!("CUDA {}.{}", version / 1000, version % 1000 / 10) } else { "CUDA".to_owned() };
    name.map_or_else(|_| cuda.clone(), |name| format!("{cuda}, {name}"))
}

/// Returns libtorch's name of a precision.
#[must_use]
pub fn kind(precision: Precision) -> Kind {
    match precision {
        Precision::Fp32 => Kind::Float,
        Precision::Bf16 => Kind::BFloat16,
        Precision::Fp16 => Kind::Half,
    }
}

/// libtorch finds its CUDA half only when that is loaded before the first question about CUDA: the
/// linker leaves it out, since nothing in this program names a symbol of it.
fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
            // SAFETY: the library is libtorch's own second half, of the version this program was
            // built against; its initialisers register operators and nothing else.
            let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) };
            // Never closed: operators stay registered for the life of the process.
            library.map(std::mem::forget).map_err(|error| {
                // The loader's own words, which name the library that is missing, are the cause behind the error.
                let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
                format!("libtorch's CUDA half could not be loaded: {cause}")
            })
        })
        .clone()
}

/// The driver tells of the memory of the current context's device, whichever that is on this thread; so the context in
/// which libtorch computes on this device is made current for the question, and the one before it afterwards.
fn cuda_memory(index: usize) -> Option<(Bytes, Bytes)> {
    use cudarc::driver::{result, sys};
    result::init().ok()?;
    let device = result::device::get(i32::try_from(index).ok()?).ok()?;
    // SAFETY: the device handle was given by the driver just now; the context is released below, on every way out.
    let context = unsafe { result::primary_ctx::retain(device) }.ok()?;
    // SAFETY: the context is retained until after it is popped.
    let pushed = unsafe { sys::cuCtxPushCurrent_v2(context) }.result();
    let told = pushed.and_then(|()| {
        let told = result::mem_get_info();
        let mut popped = std::ptr::null_mut();
        // SAFETY: what was pushed above is popped; the driver writes its handle to a pointer of ours.
        unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) }.result().and(told)
    });
    // SAFETY: it was retained above, once.
    let released = unsafe { result::primary_ctx::release(device) };
    let (free, total) = told.ok()?;
    released.ok()?;
    Some((Bytes(total as u64), Bytes(free as u64)))
}
