//! The NVIDIA management library, asked and nothing more: answers leave here as plain values.
//!
//! The only file that knows the binding. It keeps no state but the open library, decides nothing
//! about devices, and never asks what measures for long unless told to.

use std::ops::ControlFlow;
use std::path::Path;

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::{Device, EventSet, Nvml, cuda_driver_version_major, cuda_driver_version_minor};

use crate::devices::{Ecc, Memory};
use crate::telemetry::card::{Answer, Answers, Identity, More, Refusal, Traffic};
use crate::telemetry::driver::Failure;
use crate::telemetry::pci;
use crate::telemetry::processes::RawProcess;
use crate::units::{Bytes, Capability};

/// Codes that the binding has no name for.
mod code {
    pub(super) const ARGUMENT_VERSION_MISMATCH: u32 = 25;
    pub(super) const GPU_NOT_FOUND: u32 = 28;
}

/// Where to find a device in an open library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// By its place in the library's list; asking by it touches no other device.
    Index(u32),
    /// By its place on the bus, where others sleep and must not be counted through.
    Pci(String),
}

/// Whether bus traffic is measured, which takes 20 ms and more for each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Skip,
    Measure,
}

/// An entry of the library's list.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) identity: Answer<Identity>,
}

/// What is heard by whoever listens for faults.
#[derive(Debug)]
pub(super) enum Told {
    /// A device is listened to, or why it cannot be.
    Listens(Identity, Answer<()>),
    /// A device has a fault of this number.
    Fault(Identity, u64),
    /// Nothing more for the moment.
    Quiet,
}

/// The most faults of a device that are taken in at once: one that tells without end must not keep us from the others.
const AT_ONCE: usize = 16;

/// The open library.
pub(super) struct Library {
    nvml: Nvml,
}

impl Library {
    /// Loads and starts the library.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let mut builder = Nvml::builder();
        if let Some(path) = path {
            builder.lib_path(path.as_os_str());
        }
        match builder.init() {
            Ok(nvml) => Ok(Self { nvml }),
            Err(error) => Err(failure(&error)),
        }
    }

    /// Returns the driver's version.
    pub(super) fn driver(&self) -> Option<String> {
        self.nvml.sys_driver_version().ok()
    }

    /// Returns the CUDA version that the driver supports.
    pub(super) fn cuda(&self) -> Option<String> {
        let version = self.nvml.sys_cuda_driver_version().ok()?;
        Some(format!("{}.{}", cuda_driver_version_major(version), cuda_driver_version_minor(version)))
    }

    /// Lists every device, also those that may not be used. Wakes them all.
    pub(super) fn list(&self) -> Answer<Vec<Found>> {
        let count = self.nvml.device_count().map_err(refusal)?;
        Ok((0..count)
            .map(|index| {
                let address = Address::Index(index);
                let identity = self.identity(&address).map(|identity| Identity { index: Some(index), ..identity });
                Found { index, identity }
            })
            .collect())
    }

    /// Returns who a device is.
    pub(super) fn identity(&self, address: &Address) -> Answer<Identity> {
        identity(&self.device(address)?)
    }

    /// Finds a device again.
    pub(super) fn find(&self, uuid: &str) -> Answer<Address> {
        let device = self.nvml.device_by_uuid(uuid).map_err(refusal)?;
        device.index().map(Address::Index).map_err(refusal)
    }

    /// Asks a device everything.
    pub(super) fn ask(&self, address: &Address, bus: Bus) -> Answer<Answers> {
        Ok(answers(&self.device(address)?, bus))
    }

    /// Lists the slices of a split device and asks each everything.
    pub(super) fn slices(&self, address: &Address) -> Answer<Vec<(Identity, Answers)>> {
        let parent = self.device(address)?;
        // This is how many there may be; unused places answer that nothing was found.
        let places = parent.mig_device_count().map_err(refusal)?;
        let mut slices = Vec::new();
        for place in 0..places {
            match parent.mig_device_by_index(place) {
                Ok(slice) => slices.push((identity(&slice)?, slice_answers(&slice))),
                Err(NvmlError::NotFound | NvmlError::InvalidArg) => {}
                Err(error) => return Err(refusal(error)),
            }
        }
        Ok(slices)
    }

    /// Listens for faults of these devices, or of all that are listed, until `hear` has heard enough. Whoever hears that it is
    /// quiet waits as long as it likes.
    pub(super) fn listen(&self, which: Option<&[Address]>, hear: &mut dyn FnMut(Told) -> ControlFlow<()>) -> Answer<()> {
        let listed = match which {
            Some(addresses) => addresses.to_vec(),
            None => (0..self.nvml.device_count().map_err(refusal)?).map(Address::Index).collect(),
        };
        // A set for each device: one that is lost no longer says who it is.
        let mut ears = Vec::new();
        for address in listed {
            // Who does not say who it is cannot be told apart.
            let found = self.device(&address).and_then(|device| Ok((identity(&device)?, device)));
            let Ok((who, device)) = found else { continue };
            let ear = self.ear(&device);
            let told = Told::Listens(who.clone(), ear.as_ref().map(|_| ()).map_err(Clone::clone));
            ears.extend(ear.ok().map(|ear| (who, ear)));
            if hear(told).is_break() {
                return Ok(());
            }
        }
        loop {
            for (who, ear) in &ears {
                for code in faults(ear)? {
                    if hear(Told::Fault(who.clone(), code)).is_break() {
                        return Ok(());
                    }
                }
            }
            if hear(Told::Quiet).is_break() {
                return Ok(());
            }
        }
    }

    /// Returns what the faults of a device come to.
    fn ear<'a>(&'a self, device: &Device<'a>) -> Answer<EventSet<'a>> {
        let told = device.supported_event_types().map_err(refusal)?;
        if !told.contains(EventTypes::CRITICAL_XID_ERROR) {
            return Err(Refusal::Never("its driver tells of no faults".to_owned()));
        }
        let set = self.nvml.create_event_set().map_err(refusal)?;
        device.register_events(EventTypes::CRITICAL_XID_ERROR, set).map_err(|error| refusal(error.error))
    }

    fn device(&self, address: &Address) -> Answer<Device<'_>> {
        match address {
            Address::Index(index) => self.nvml.device_by_index(*index).map_err(refusal),
            Address::Pci(address) => self.nvml.device_by_pci_bus_id(address.as_str()).map_err(refusal),
        }
    }
}

/// Returns the faults that were told since the last look. A device that is lost tells no more, and is told of by others.
fn faults(ear: &EventSet<'_>) -> Answer<Vec<u64>> {
    let mut codes = Vec::new();
    while codes.len() < AT_ONCE {
        match ear.wait(1).map(|event| event.event_data) {
            Ok(Some(XidError::Value(code))) => codes.push(code),
            Ok(Some(XidError::Unknown)) => codes.push(UNKNOWN_XID),
            Ok(None) | Err(NvmlError::Timeout) => break,
            Err(error) => match refusal(error) {
                Refusal::Closed(reason) => return Err(Refusal::Closed(reason)),
                Refusal::Never(_) | Refusal::Failed(_) | Refusal::Gone(_) => break,
            },
        }
    }
    Ok(codes)
}

/// What the library says of a fault whose number it does not know.
const UNKNOWN_XID: u64 = 999;

fn identity(device: &Device<'_>) -> Answer<Identity> {
    let uuid = known(device.uuid())?;
    let name = known(device.name())?;
    let pci = known(device.pci_info())?.map(|p| pci::address(p.domain, p.bus, p.device));
    Ok(Identity { name, uuid, pci, index: None })
}

/// A device without a name or an address is still a device; one that is lost is none.
fn known<T>(answer: Result<T, NvmlError>) -> Answer<Option<T>> {
    match answer.map_err(refusal) {
        Ok(value) => Ok(Some(value)),
        Err(Refusal::Never(_) | Refusal::Failed(_)) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn answers(device: &Device<'_>, bus: Bus) -> Answers {
    Answers {
        capability: capability(device),
        memory: memory(device),
        utilization: device.utilization_rates().map(|u| u.gpu).map_err(refusal),
        temperature_c: device.temperature(TemperatureSensor::Gpu).map_err(refusal),
        power_mw: device.power_usage().map_err(refusal),
        power_limit_mw: device.enforced_power_limit().map_err(refusal),
        fans: fans(device),
        sm_mhz: device.clock_info(Clock::SM).map_err(refusal),
        mem_mhz: device.clock_info(Clock::Memory).map_err(refusal),
        pcie_generation: device.current_pcie_link_gen().map_err(refusal),
        pcie_width: device.current_pcie_link_width().map_err(refusal),
        more: more(device),
        traffic: match bus {
            Bus::Skip => None,
            Bus::Measure => Some(traffic(device)),
        },
        processes: processes(device),
        // Most GPUs cannot be split and say so with an error.
        mig: device.mig_mode().is_ok_and(|mode| mode.current == MIG_ENABLED),
    }
}

const MIG_ENABLED: u32 = 1;

/// A slice has memory and processes; all else belongs to the whole GPU.
fn slice_answers(device: &Device<'_>) -> Answers {
    let whole = || Refusal::Never("measured for the whole GPU only".to_owned());
    Answers {
        capability: capability(device),
        memory: memory(device),
        utilization: Err(Refusal::Never("not measured for MIG slices".to_owned())),
        temperature_c: Err(whole()),
        power_mw: Err(whole()),
        power_limit_mw: Err(whole()),
        fans: Err(whole()),
        sm_mhz: Err(whole()),
        mem_mhz: Err(whole()),
        pcie_generation: Err(whole()),
        pcie_width: Err(whole()),
        more: More::refused(&whole()),
        traffic: Some(Err(whole())),
        processes: processes(device),
        mig: false,
    }
}

fn more(device: &Device<'_>) -> More {
    More {
        performance_state: device.performance_state().map(|state| state.as_c()).map_err(refusal),
        throttle: device.current_throttle_reasons().map(throttled).map_err(refusal),
        sm_max_mhz: device.max_clock_info(Clock::SM).map_err(refusal),
        mem_max_mhz: device.max_clock_info(Clock::Memory).map_err(refusal),
        slowdown_c: device.temperature_threshold(TemperatureThreshold::Slowdown).map_err(refusal),
        pcie_max_generation: device.max_pcie_link_gen().map_err(refusal),
        pcie_max_width: device.max_pcie_link_width().map_err(refusal),
        ecc: ecc(device),
    }
}

/// Returns what keeps clocks down. That nothing is to be done is no reason to worry, and neither is a clock that the user chose.
fn throttled(reasons: ThrottleReasons) -> Vec<&'static str> {
    let known = [
        (ThrottleReasons::GPU_IDLE, "idle"),
        (ThrottleReasons::APPLICATIONS_CLOCKS_SETTING, "application clocks"),
        (ThrottleReasons::SW_POWER_CAP, "power cap"),
        (ThrottleReasons::HW_SLOWDOWN, "hardware slowdown"),
        (ThrottleReasons::SYNC_BOOST, "sync boost"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "thermal"),
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "thermal, hardware"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "power brake"),
        (ThrottleReasons::DISPLAY_CLOCK_SETTING, "display clocks"),
    ];
    known.into_iter().filter(|(bit, _)| reasons.contains(*bit)).map(|(_, word)| word).collect()
}

fn ecc(device: &Device<'_>) -> Answer<Ecc> {
    let enabled = device.is_ecc_enabled().map_err(refusal)?.currently_enabled;
    // Where it is off nothing is counted.
    let count = |kind| if enabled { device.total_ecc_errors(kind, EccCounter::Volatile).ok() } else { None };
    Ok(Ecc { enabled, corrected: count(MemoryError::Corrected), uncorrected: count(MemoryError::Uncorrected) })
}

fn capability(device: &Device<'_>) -> Answer<Capability> {
    let told = device.cuda_compute_capability().map_err(refusal)?;
    let number = |n: i32| u32::try_from(n).map_err(|_| Refusal::Failed(format!("the driver claims a compute capability of {n}")));
    Ok(Capability::new(number(told.major)?, number(told.minor)?))
}

fn memory(device: &Device<'_>) -> Answer<Memory> {
    let info = device.memory_info().map_err(refusal)?;
    Ok(Memory { total: Bytes(info.total), used: Bytes(info.used), free: Bytes(info.free) })
}

fn fans(device: &Device<'_>) -> Answer<Vec<u32>> {
    let count = device.num_fans().map_err(refusal)?;
    (0..count).map(|fan| device.fan_speed(fan).map_err(refusal)).collect()
}

fn traffic(device: &Device<'_>) -> Answer<Traffic> {
    // In thousands of bytes per second.
    let rate = |counter| device.pcie_throughput(counter).map(|kb| f64::from(kb) * 1000.0).map_err(refusal);
    // The device's words: it sends what we receive.
    Ok(Traffic { rx_bps: rate(PcieUtilCounter::Receive)?, tx_bps: rate(PcieUtilCounter::Send)? })
}

/// Joins the lists of compute, graphics and MPS clients; one that is not kept is left out while another is.
fn processes(device: &Device<'_>) -> Answer<Vec<RawProcess>> {
    let lists = [device.running_compute_processes(), device.running_graphics_processes(), device.mps_running_compute_processes()];
    let mut table = Vec::new();
    let mut told = false;
    let mut first_refusal = None;
    for list in lists {
        match list.map_err(refusal) {
            Ok(list) => {
                told = true;
                table.extend(list.iter().map(raw_process));
            }
            Err(Refusal::Never(reason)) => first_refusal = first_refusal.or(Some(Refusal::Never(reason))),
            Err(other) => return Err(other),
        }
    }
    match first_refusal {
        Some(refusal) if !told => Err(refusal),
        _ => Ok(table),
    }
}

fn raw_process(info: &ProcessInfo) -> RawProcess {
    let bytes = match info.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(Bytes(bytes)),
        UsedGpuMemory::Unavailable => None,
    };
    RawProcess { pid: info.pid, bytes }
}

/// Sorts the binding's errors by what they mean for us.
#[expect(clippy::needless_pass_by_value, reason = "it stands in `map_err` everywhere")]
fn refusal(error: NvmlError) -> Refusal {
    let text = error.to_string();
    match error {
        NvmlError::NotSupported => Refusal::Never("not supported by this device".to_owned()),
        NvmlError::NoPermission => Refusal::Never("this user may not read it".to_owned()),
        NvmlError::OperatingSystem => Refusal::Never("blocked by the system or the container".to_owned()),
        NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound => Refusal::Never("the driver is too old to tell".to_owned()),
        NvmlError::UnexpectedVariant(code::ARGUMENT_VERSION_MISMATCH) => Refusal::Never("the driver speaks another version".to_owned()),
        NvmlError::NoData => Refusal::Never("the driver has no value yet".to_owned()),
        NvmlError::NotFound | NvmlError::InvalidArg => Refusal::Never(text),
        NvmlError::GpuLost => Refusal::Gone("it fell off the bus".to_owned()),
        NvmlError::ResetRequired => Refusal::Gone("it needs a reset".to_owned()),
        NvmlError::UnexpectedVariant(code::GPU_NOT_FOUND) => Refusal::Gone("the driver does not find it (code 28)".to_owned()),
        NvmlError::Uninitialized | NvmlError::DriverNotLoaded | NvmlError::LibRmVersionMismatch | NvmlError::LibraryNotFound => {
            Refusal::Closed(text)
        }
        NvmlError::UnexpectedVariant(code) => Refusal::Failed(format!("the driver failed with code {code}")),
        _ => Refusal::Failed(text),
    }
}

fn failure(error: &NvmlError) -> Failure {
    match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound | NvmlError::FailedToLoadSymbol(_) => {
            Failure::NoLibrary { detail: error.to_string() }
        }
        NvmlError::DriverNotLoaded => Failure::NoDriver,
        NvmlError::LibRmVersionMismatch => Failure::Mismatch,
        NvmlError::NoPermission | NvmlError::OperatingSystem => Failure::Forbidden,
        _ => Failure::Failed { detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_driver_has_a_meaning() {
        type Is = fn(&Refusal) -> bool;
        let never: Is = |r| matches!(r, Refusal::Never(_));
        let failed: Is = |r| matches!(r, Refusal::Failed(_));
        let gone: Is = |r| matches!(r, Refusal::Gone(_));
        let closed: Is = |r| matches!(r, Refusal::Closed(_));
        let meanings: &[(&[u32], Is)] = &[
            (&[2, 3, 4, 6, 13, 17, 21, 25], never),
            (&[7, 8, 10, 11, 14, 19, 20, 23, 26, 27, 29, 30, 999, 4711], failed),
            (&[15, 16, 28], gone),
            (&[1, 9, 12, 18], closed),
        ];
        for (codes, is) in meanings {
            for code in *codes {
                let meaning = refusal(NvmlError::from(*code));
                assert!(is(&meaning), "code {code}: {meaning:?}");
                assert!(!meaning.reason().is_empty());
            }
        }
    }

    #[test]
    fn a_file_that_is_no_library_is_no_library() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libnvidia-ml.so.1");
        std::fs::write(&path, "not ELF").unwrap();
        assert!(matches!(Library::open(Some(&path)), Err(Failure::NoLibrary { .. })));
    }
}
