//! The only shapes that cross a process boundary, and the codec that carries them.
//!
//! Two families share the codec: control, between a client and the daemon, and work, between the
//! daemon and an engine. Both are for one build only: [`Hello`] comes first and a mismatch is
//! refused, so shapes may change freely, and [`PROTOCOL`] with them.

pub mod asynchronous;
pub mod blocking;
pub mod cache;
pub mod control;
pub mod conversion;
pub mod frame;
pub mod hello;
pub mod plan;
pub mod signal;
pub mod status;
pub mod tune;
pub mod work;

pub use cache::{CachedState, CachedView, CleanAsk, GoneView, VerifiedView};
pub use control::{Change, Cursor, Event, LogLine, Reply, Request, ServerFrame};
pub use conversion::{ConversionId, ConversionView, ConvertAsk, ConvertOrder, ConvertReport, ConvertStatus, ConvertedView};
pub use frame::{FrameError, Limit};
pub use hello::{Hello, PROTOCOL};
pub use plan::{PlanAsk, PlanView};
pub use signal::{ProcessSignal, SignalAsk};
pub use status::{DaemonView, EngineState, EngineView, Notice, QueueView, SetView, Status};
pub use tune::TuneView;
pub use work::{Order, Report, RunOrder};
