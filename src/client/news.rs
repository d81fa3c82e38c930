//! What a long-lived client, such as the dashboard, hears from its link to the daemon.
//!
//! The link is a task that connects, subscribes, connects again after a loss, and asks for the
//! whole where a number is missing. Its owner only sends requests and receives news.

use tokio::sync::mpsc;

use crate::wire::{Event, Reply, Request};
use crate::workflow::Refusal;

/// Something the link has to say.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// The daemon answers; a snapshot follows.
    Up {
        /// Where: `local`, or `user@box`.
        place: String,
    },
    /// The daemon does not answer. What is known so far grows old.
    Down {
        /// Why, and what to do.
        reason: Refusal,
        /// Seconds until the next try.
        retry_in_s: f64,
    },
    /// An event.
    Heard(Box<Event>),
    /// The answer to a request.
    Answered {
        /// The number it was asked under.
        id: u64,
        /// The answer.
        result: Result<Reply, Refusal>,
    },
}

/// The two ends of a running link.
#[derive(Debug)]
pub struct Handle {
    /// Requests, each under a number of the owner's choice.
    pub ask: mpsc::UnboundedSender<(u64, Request)>,
    /// What is heard.
    pub news: mpsc::Receiver<News>,
}
