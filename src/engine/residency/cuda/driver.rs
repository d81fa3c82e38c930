//! What is used of CUDA's driver: the context that libtorch computes in, streams, events, pinned memory.

#![expect(unsafe_code, reason = "calls of the driver; each note says why its handles are alive")]

use std::ffi::c_void;
use std::sync::{Arc, Mutex};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;
use memmap2::MmapMut;

use crate::engine::residency::crew::lock;

/// The driver refused a call.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("CUDA's driver refused {doing}: {source:?}")]
pub struct CudaError {
    /// What was tried.
    pub doing: &'static str,
    /// Its own word for why.
    pub source: DriverError,
}

impl CudaError {
    fn while_doing(doing: &'static str) -> impl Fn(DriverError) -> Self {
        move |source| Self { doing, source }
    }

    /// Returns whether memory ran out.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        self.source.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY
    }
}

/// The context in which libtorch computes on a GPU.
#[derive(Debug)]
pub(super) struct Context {
    device: sys::CUdevice,
    raw: sys::CUcontext,
    /// Events that nobody holds any more, those that only order and those that know when they were: making one takes longer
    /// than recording it, and every streamed block needs several.
    spare: [Mutex<Vec<sys::CUevent>>; 2],
}

// SAFETY: the driver's handles may be used on every thread.
unsafe impl Send for Context {}
// SAFETY: as above; nothing here is changed after it was made.
unsafe impl Sync for Context {}

impl Context {
    /// Returns the primary context of the GPU that libtorch numbers so.
    pub(super) fn of(index: usize) -> Result<Arc<Self>, CudaError> {
        let failed = CudaError::while_doing("its primary context");
        result::init().map_err(&failed)?;
        let device = result::device::get(i32::try_from(index).unwrap_or(i32::MAX)).map_err(&failed)?;
        // SAFETY: the driver gave the device handle just now; the context is released when this is dropped.
        let raw = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        Ok(Arc::new(Self { device, raw, spare: Default::default() }))
    }

    /// Makes it the current one of this thread: what follows is about this GPU.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context is retained as long as this lives.
        unsafe { result::ctx::set_current(self.raw) }.map_err(CudaError::while_doing("to enter its context"))
    }

    /// Lets copies come here straight from another GPU, where both can. Returns whether they do.
    pub(super) fn reach(&self, other: &Self) -> Result<bool, CudaError> {
        let failed = CudaError::while_doing("peer access");
        let mut can = 0;
        // SAFETY: both handles came from the driver; it writes one number to where it may.
        unsafe { sys::cuDeviceCanAccessPeer(&raw mut can, self.device, other.device) }.result().map_err(&failed)?;
        if can == 0 {
            return Ok(false);
        }
        self.enter()?;
        // SAFETY: both contexts are retained.
        match unsafe { sys::cuCtxEnablePeerAccess(other.raw, 0) }.result() {
            Ok(()) | Err(DriverError(sys::CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)) => Ok(true),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        for event in self.spare.iter().flat_map(|spare| std::mem::take(&mut *lock(spare))) {
            // SAFETY: it was created by `Event::with` and is destroyed once; the driver keeps it until it has been.
            if let Err(error) = unsafe { result::event::destroy(event) } {
                tracing::debug!("{:?}", CudaError { doing: "to end an event", source: error });
            }
        }
        // SAFETY: it was retained once, when this was made. libtorch holds its own.
        if let Err(error) = unsafe { result::primary_ctx::release(self.device) } {
            tracing::debug!("{:?}", CudaError { doing: "to release its context", source: error });
        }
    }
}

/// A queue of work on a GPU: one of our own, or libtorch's.
#[derive(Debug)]
pub(super) struct Stream {
    raw: sys::CUstream,
    is_ours: bool,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used on every thread.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver orders calls from several threads itself.
unsafe impl Sync for Stream {}

impl Stream {
    /// Returns the stream on which libtorch computes, in threads that chose no other: the null stream.
    #[must_use]
    pub(super) fn of_libtorch(context: &Arc<Context>) -> Self {
        Self { raw: result::stream::null(), is_ours: false, context: Arc::clone(context) }
    }

    /// Makes a stream that does not wait for the null stream, nor it for this.
    pub(super) fn new(context: &Arc<Context>) -> Result<Self, CudaError> {
        context.enter()?;
        let raw = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(CudaError::while_doing("a stream"))?;
        Ok(Self { raw, is_ours: true, context: Arc::clone(context) })
    }

    /// Has everything that is put on this stream from now on wait for the event.
    pub(super) fn wait(&self, event: &Event) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: both handles are alive.
        unsafe { result::stream::wait_event(self.raw, event.raw, sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT) }
            .map_err(CudaError::while_doing("to wait for an event"))
    }

    /// Marks this moment of the stream.
    pub(super) fn record(&self, event: &Event) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: both handles are alive.
        unsafe { result::event::record(event.raw, self.raw) }.map_err(CudaError::while_doing("to record an event"))
    }

    /// Copies `length` bytes of host memory to the GPU; pinned memory while the caller goes on, other memory before it does.
    ///
    /// # Safety
    /// Both ranges are as long, and stay until the stream has done this; nobody else uses the target meanwhile.
    // SAFETY: of its callers; the driver only takes the two addresses.
    pub(super) unsafe fn upload(&self, target: u64, source: *const u8, length: usize) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: the caller's.
        unsafe { sys::cuMemcpyHtoDAsync_v2(target, source.cast::<c_void>(), length, self.raw) }
            .result()
            .map_err(CudaError::while_doing("a copy from host memory"))
    }

    /// Copies `length` bytes from another GPU's memory; through the host where the two do not reach each other.
    ///
    /// # Safety
    /// As for [`upload`](Self::upload).
    // SAFETY: of its callers; the driver only takes the two addresses.
    pub(super) unsafe fn copy_from(&self, source: &Context, from: u64, target: u64, length: usize) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: the caller's; both contexts are retained.
        unsafe { sys::cuMemcpyPeerAsync(target, self.context.raw, from, source.raw, length, self.raw) }
            .result()
            .map_err(CudaError::while_doing("a copy from another GPU"))
    }

    /// Fills `length` bytes of the GPU's memory.
    ///
    /// # Safety
    /// The range is the caller's, and nobody else uses it until the stream has done this.
    // SAFETY: of its callers; the driver only takes the address.
    pub(super) unsafe fn fill(&self, target: u64, byte: u8, length: usize) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: the caller's.
        unsafe { sys::cuMemsetD8Async(target, byte, length, self.raw) }.result().map_err(CudaError::while_doing("to fill memory"))
    }

    /// Waits until everything on it is done.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        self.context.enter()?;
        // SAFETY: the handle is alive.
        unsafe { result::stream::synchronize(self.raw) }.map_err(CudaError::while_doing("to finish a stream"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_ours {
            // SAFETY: it was created when this was made and is destroyed once; what is on it is still done.
            if let Err(error) = unsafe { result::stream::destroy(self.raw) } {
                tracing::debug!("{:?}", CudaError { doing: "to end a stream", source: error });
            }
        }
    }
}

/// A moment of a stream.
#[derive(Debug)]
pub(super) struct Event {
    raw: sys::CUevent,
    is_timed: bool,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used on every thread.
unsafe impl Send for Event {}
// SAFETY: as above; the driver orders calls from several threads itself.
unsafe impl Sync for Event {}

impl Event {
    /// Makes an event that only orders.
    pub(super) fn ordering(context: &Arc<Context>) -> Result<Self, CudaError> {
        Self::with(context, false)
    }

    /// Makes an event that knows when it was.
    pub(super) fn timed(context: &Arc<Context>) -> Result<Self, CudaError> {
        Self::with(context, true)
    }

    fn with(context: &Arc<Context>, is_timed: bool) -> Result<Self, CudaError> {
        let made = |raw| Self { raw, is_timed, context: Arc::clone(context) };
        // Whoever waits for one that was used before waits for what it marked when the wait was asked for.
        if let Some(raw) = lock(&context.spare[usize::from(is_timed)]).pop() {
            return Ok(made(raw));
        }
        context.enter()?;
        let flags = if is_timed { sys::CUevent_flags::CU_EVENT_DEFAULT } else { sys::CUevent_flags::CU_EVENT_DISABLE_TIMING };
        result::event::create(flags).map(made).map_err(CudaError::while_doing("an event"))
    }

    /// Returns whether it has been.
    #[must_use]
    pub(super) fn has_been(&self) -> bool {
        // SAFETY: the handle is alive.
        unsafe { result::event::query(self.raw) }.is_ok()
    }

    /// Returns the seconds from this event to a later one, once both have been.
    #[must_use]
    pub(super) fn until(&self, later: &Self) -> Option<f64> {
        // SAFETY: both handles are alive.
        let milliseconds = unsafe { result::event::elapsed(self.raw, later.raw) }.ok()?;
        Some(f64::from(milliseconds) / 1e3)
    }

    /// Waits until it has been.
    pub(super) fn synchronize(&self) -> Result<(), CudaError> {
        // SAFETY: the handle is alive.
        unsafe { result::event::synchronize(self.raw) }.map_err(CudaError::while_doing("to wait for an event"))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        lock(&self.context.spare[usize::from(self.is_timed)]).push(self.raw);
    }
}

/// `CU_MEMHOSTREGISTER_PORTABLE` of `cuda.h`: pinned for every context.
const PORTABLE: u32 = 1;

/// Host memory that a GPU reads itself, while the processor goes on.
#[derive(Debug)]
pub(super) struct Pinned {
    memory: MmapMut,
    context: Arc<Context>,
}

impl Pinned {
    /// Pins this memory. Gives it back where the system pins no more.
    pub(super) fn new(mut memory: MmapMut, context: &Arc<Context>) -> Result<Self, (MmapMut, CudaError)> {
        if let Err(error) = context.enter() {
            return Err((memory, error));
        }
        let (start, length) = (memory.as_mut_ptr(), memory.len());
        // SAFETY: the map is ours, never moves, and is unpinned before it is given back.
        match unsafe { sys::cuMemHostRegister_v2(start.cast::<c_void>(), length, PORTABLE) }.result() {
            Ok(()) => Ok(Self { memory, context: Arc::clone(context) }),
            Err(error) => Err((memory, CudaError { doing: "to pin host memory", source: error })),
        }
    }

    /// Returns the memory.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory
    }

    /// Returns the memory, to be written to while no copy reads it.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _other_contexts_would_do_as_well = self.context.enter();
        // SAFETY: it was pinned when this was made; nobody copies from what is dropped.
        let unpinned = unsafe { sys::cuMemHostUnregister(self.memory.as_mut_ptr().cast::<c_void>()) }.result();
        if let Err(error) = unpinned {
            tracing::debug!("{:?}", CudaError { doing: "to unpin host memory", source: error });
        }
    }
}
