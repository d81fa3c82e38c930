//! The dashboard: one model, messages, a pure update, and a view.
//!
//! ```text
//!  keys ─┐                                            ┌─> requests to the daemon
//!  news ─┼─> Message ─> update(&mut Model) ─> Effect ─┼─> clipboard, pictures
//!  time ─┘                     │                      └─> suspend, quit
//!                              └─> view(&Model) ─> one frame ─> one write
//! ```
//!
//! Only [`terminal`] touches the real one. `update` does no IO and reads no clock; `view` changes nothing.

pub mod act;
pub mod action;
pub mod answered;
pub mod asked;
pub mod chord;
pub mod effect;
pub mod estimates;
pub mod gallery;
pub mod history;
pub mod hosts;
pub mod keymap;
pub mod known;
pub mod layer;
pub mod message;
pub mod model;
pub mod options;
pub mod pace;
pub mod paint;
pub mod pictures;
pub mod player;
pub mod prepare;
pub mod run;
pub mod saving;
pub mod screens;
pub mod station;
pub mod subscriptions;
pub mod terminal;
pub mod trail;
pub mod twin;
pub mod update;
pub mod verbs;
pub mod view;
pub mod widgets;
pub mod wording;

pub use options::Options;
pub use run::{RunError, run, run_all};
