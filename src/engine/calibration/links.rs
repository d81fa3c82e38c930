//! The ways to and from a GPU, measured with the driver's own copies.

#![expect(unsafe_code, reason = "the driver is handed memory and contexts; the notes say whose they are")]

use std::ffi::c_void;
use std::time::Instant;

use cudarc::driver::{DriverError, result, sys};

use super::Bench;
use crate::engine::EngineError;
use crate::placement::Subject;
use crate::units::DeviceId;

/// What one copy moves: starting it then costs nothing in comparison.
const COPIED: usize = 256 << 20;
/// Copies of which the fastest counts: what else uses the bus only makes them slower.
const TIMES: usize = 5;

/// Measures host to device from pinned and from other memory, device to host, and from each other GPU.
pub(super) fn measure(bench: &Bench<'_>) -> Result<(), EngineError> {
    let DeviceId::Cuda(index) = bench.compute.id else { return Ok(()) };
    let failed = |e: DriverError| EngineError::NoDevice { device: bench.compute.id, reason: e.to_string() };
    result::init().map_err(failed)?;
    let here = Side::open(i32::from(index)).map_err(failed)?;
    let pinned = Pinned::new(&here).map_err(failed)?;
    let pageable = vec![1u8; COPIED];
    // SAFETY: in each, both memories are of `COPIED` bytes and live until the copy has ended, for it is waited for.
    let (to, from, slow) = unsafe {
        (
            here.time(|| sys::cuMemcpyHtoD_v2(here.memory, pinned.memory, COPIED)),
            here.time(|| sys::cuMemcpyDtoH_v2(pinned.memory, here.memory, COPIED)),
            here.time(|| sys::cuMemcpyHtoD_v2(here.memory, pageable.as_ptr().cast(), COPIED)),
        )
    };
    bench.link(Subject::Device(DeviceId::Cpu), to.map_err(failed)?);
    bench.link(Subject::Back, from.map_err(failed)?);
    bench.link(Subject::Pageable, slow.map_err(failed)?);
    for other in 0..result::device::get_count().map_err(failed)? {
        bench.cancel.check()?;
        let Ok(number) = u16::try_from(other) else { continue };
        if number == index {
            continue;
        }
        // One that is full, or lost, is no donor, and no reason to measure nothing.
        match Side::open(other).and_then(|there| here.from(&there)) {
            Ok(speed) => bench.link(Subject::Device(DeviceId::Cuda(number)), speed),
            Err(error) => tracing::warn!("the way from cuda:{number} is not measured: {error}"),
        }
    }
    Ok(())
}

/// Memory on a GPU, in the context in which libtorch computes there.
struct Side {
    device: sys::CUdevice,
    context: sys::CUcontext,
    memory: sys::CUdeviceptr,
}

impl Side {
    fn open(index: i32) -> Result<Self, DriverError> {
        let device = result::device::get(index)?;
        // SAFETY: the handle was given by the driver just now; the context is released when this is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }?;
        let mut side = Self { device, context, memory: 0 };
        // SAFETY: the memory is freed when this is dropped, in the same context.
        side.memory = side.within(|| unsafe { result::malloc_sync(COPIED) })?;
        Ok(side)
    }

    /// Does something with this GPU's context current, and the one before it current again afterwards.
    fn within<T>(&self, work: impl FnOnce() -> Result<T, DriverError>) -> Result<T, DriverError> {
        // SAFETY: the context is retained as long as this lives.
        unsafe { sys::cuCtxPushCurrent_v2(self.context) }.result()?;
        let done = work();
        let mut popped = std::ptr::null_mut();
        // SAFETY: what was pushed above is popped; the driver writes its handle to a pointer of ours.
        unsafe { sys::cuCtxPopCurrent_v2(&raw mut popped) }.result().and(done)
    }

    /// Returns the bytes a second of the fastest of some copies.
    fn time(&self, mut copy: impl FnMut() -> sys::CUresult) -> Result<f64, DriverError> {
        let mut least = f64::INFINITY;
        for _ in 0..=TIMES {
            let began = Instant::now();
            self.within(|| {
                copy().result()?;
                // SAFETY: a context is current; copies between GPUs return before they have ended.
                unsafe { sys::cuCtxSynchronize() }.result()
            })?;
            least = least.min(began.elapsed().as_secs_f64());
        }
        Ok(COPIED as f64 / least)
    }

    /// Returns the bytes a second from another GPU, straight or through the host, as the driver does it.
    fn from(&self, there: &Self) -> Result<f64, DriverError> {
        // SAFETY: both memories are of `COPIED` bytes in the contexts given with them, and live until the copy has ended.
        self.time(|| unsafe { sys::cuMemcpyPeer(self.memory, self.context, there.memory, there.context, COPIED) })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        if self.memory != 0 {
            // SAFETY: it was taken in this context, and nothing copies any more.
            if let Err(error) = self.within(|| unsafe { result::free_sync(self.memory) }) {
                tracing::warn!("memory for measuring was not given back: {error}");
            }
        }
        // SAFETY: it was retained once, when this was opened.
        if let Err(error) = unsafe { result::primary_ctx::release(self.device) } {
            tracing::warn!("a context was not given back: {error}");
        }
    }
}

/// Host memory that a GPU reads by itself.
struct Pinned<'a> {
    memory: *mut c_void,
    side: &'a Side,
}

impl<'a> Pinned<'a> {
    fn new(side: &'a Side) -> Result<Self, DriverError> {
        // SAFETY: it is freed when this is dropped, in the same context.
        let memory = side.within(|| unsafe { result::malloc_host(COPIED, 0) })?;
        // SAFETY: the driver has given so many bytes; touching them brings them into memory.
        unsafe { memory.cast::<u8>().write_bytes(1, COPIED) };
        Ok(Self { memory, side })
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        // SAFETY: it was taken in this context, and nothing copies any more.
        if let Err(error) = self.side.within(|| unsafe { result::free_host(self.memory) }) {
            tracing::warn!("pinned memory was not given back: {error}");
        }
    }
}
