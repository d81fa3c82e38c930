//! A client's side of the control protocol.

pub mod autostart;
pub mod call;
pub mod connect;
pub mod gate;
pub mod holder;
pub mod news;
pub mod ssh;
pub mod subscribe;

pub use call::Client;
pub use connect::{Connection, NOBODY, connect, connect_raw};
pub use gate::{Gate, Place};
pub use news::{Handle, News};
pub use subscribe::follow;
