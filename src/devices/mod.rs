//! What a device is and what can be read from it.

pub mod driver;
pub mod extras;
pub mod faults;
pub mod host_memory;
pub mod reading;
pub mod simulated;
pub mod visible;

pub use driver::driver_version;
pub use extras::{Ecc, Extras};
pub use faults::{Blame, Faults, Xid};
pub use host_memory::host_memory;
pub use reading::{
    Clocks, DeviceKind, DeviceReading, DiskReading, GpuProblem, Health, Held, HostReading, MeasuredSpeed, Memory, Pcie, ProcessReading,
};
pub use simulated::{Labelled, SIMULATED, SimulatedGpu};
pub use visible::Visible;
