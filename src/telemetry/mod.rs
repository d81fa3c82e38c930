//! Readings of GPUs and host: who has how much memory, what is busy, and what does not answer.
//!
//! ```text
//!   nvidia ── nvml ──┐
//!   amdgpu ── sysfs ─┤ a thread each,       frame: the last answers,       latest()
//!   host ── sysinfo ─┼ asked by the poller ─> put together ──────────────> read_now()
//!   disk ── statvfs ─┘ once per tick          at once, never changed       the sink
//!
//!   listener ── faults that the NVIDIA driver tells of by itself, whoever looks; laid over every frame
//! ```
//!
//! Everything here blocks and runs on threads of its own; it knows no jobs, no engines but their
//! process ids, and no sockets. A value that cannot be read is absent and has a reason. A source
//! that does not answer costs age, never a wait.

pub mod probe;

pub mod amdgpu;
pub mod disk;
pub mod host;
pub mod nvidia;
pub mod simulated;

mod card;
mod condition;
mod driver;
mod gpu;
mod listener;
mod names;
mod nvml;
mod pci;
mod processes;
mod roster;

pub mod frame;
pub mod poller;
pub mod replay;

mod rounds;

pub use amdgpu::AmdProbe;
pub use disk::DiskProbe;
pub use frame::{Frame, Waiting};
pub use host::HostProbe;
pub use listener::Listener;
pub use names::start_ticks;
pub use nvidia::NvidiaProbe;
pub use poller::{Poller, Sources};
pub use probe::{Ask, Probe, Sample};
pub use replay::{Recorder, ReplayError, ReplayProbe};
pub use simulated::SimulatedProbe;
