//! A client's side of the control protocol.

pub mod news;

pub use news::{Handle, News};
