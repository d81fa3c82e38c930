//! The dashboard: one model, messages, a pure update, and a view.
//!
//! ```text
//!  keys ─┐                                            ┌─> requests to the daemon
//!  news ─┼─> Message ─> update(&mut Model) ─> Effect ─┼─> clipboard, pictures
//!  time ─┘                     │                      └─> suspend, quit
//!                              └─> view(&Model) ─> one frame ─> one write
//! ```
//!
//! Only [`terminal`] touches the real one. `update` does no IO and reads no clock; `view` changes nothing, and
//! leaves behind only where rows stand ([`hits`]).

pub mod act;
pub mod action;
pub mod action_names;
pub mod alerts;
pub mod answered;
pub mod asked;
pub mod chord;
pub mod effect;
pub mod estimates;
pub mod filter;
pub mod footer;
pub mod frozen;
pub mod gallery;
pub mod history;
pub mod hits;
pub mod hosts;
pub mod keymap;
pub mod keys;
pub mod known;
pub mod layer;
pub mod message;
pub mod model;
pub mod options;
pub mod outcome;
pub mod pace;
pub mod paint;
pub mod pictures;
pub mod player;
pub mod pointer;
pub mod prepare;
pub mod rebind;
pub mod run;
pub mod saving;
pub mod screens;
pub mod searching;
pub mod standing;
pub mod station;
pub mod subscriptions;
pub mod taking_back;
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
