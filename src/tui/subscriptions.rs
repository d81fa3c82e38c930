//! From what the link says to messages.

use super::message::Message;
use crate::client::News;

/// Returns the message for a piece of news.
#[must_use]
pub fn message(news: News) -> Message {
    match news {
        News::Up { place } => Message::Up { place },
        News::Down { reason, retry_in_s } => Message::Down { reason, retry_in_s },
        News::Heard(event) => Message::Heard(Box::new(event.change)),
        News::Answered { id, result } => Message::Answered { id, result: Box::new(result) },
    }
}
