//! Clients: let in, listened to, answered, told of changes, and dropped when they do not keep up.

pub mod hub;
pub mod listener;
pub mod mailbox;
pub mod session;

pub use hub::Hub;
pub use mailbox::Mailbox;
