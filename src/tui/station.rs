//! One box of those that the dashboard shows: its model and its link. What the links of all say comes in one row.

use tokio::sync::mpsc;

use super::action::Action;
use super::hosts;
use super::layer::Layer;
use super::message::Message;
use super::model::{Model, Urgency};
use super::options::Options;
use super::subscriptions;
use crate::client::{self, Handle};
use crate::units::Timestamp;
use crate::wire::Request;
use crate::workflow::{Kind, Refusal};

/// News of all boxes that may wait for the dashboard; links wait when there are more.
const NEWS: usize = 256;
/// What is said of a link that has ended, which happens only when its own task fails.
const NEVER_S: f64 = 3600.0;

/// What a link says; `None` is its end.
pub type News = Option<client::News>;

/// One box.
#[derive(Debug)]
pub struct Station {
    /// What is known of it, and how it is shown.
    pub model: Model,
    /// Whether its operator has said that it may be left.
    pub may_go: bool,
    ask: mpsc::UnboundedSender<(u64, Request)>,
    link_lives: bool,
}

/// Opens a station for each box. Needs a running tokio runtime.
#[must_use]
pub fn open(boxes: Vec<(Options, Handle)>, now: Timestamp) -> (Vec<Station>, mpsc::Receiver<(usize, News)>) {
    let (tell, heard) = mpsc::channel(NEWS);
    let open = |(at, (options, Handle { ask, mut news })): (usize, (Options, Handle))| {
        let tell = tell.clone();
        tokio::spawn(async move {
            loop {
                let said = news.recv().await;
                let over = said.is_none();
                // When nobody listens any more the dashboard has ended.
                if tell.send((at, said)).await.is_err() || over {
                    return;
                }
            }
        });
        Station { model: Model::new(options, now), may_go: false, ask, link_lives: true }
    };
    (boxes.into_iter().enumerate().map(open).collect(), heard)
}

impl Station {
    /// Returns the message for what its link says.
    pub fn message(&mut self, news: News) -> Message {
        news.map_or_else(|| self.lose_link(), subscriptions::message)
    }

    /// Asks its daemon; returns what is to be said where nobody can be asked any more.
    pub fn call(&mut self, id: u64, request: Request) -> Option<Message> {
        (self.ask.send((id, request)).is_err() && self.link_lives).then(|| self.lose_link())
    }

    fn lose_link(&mut self) -> Message {
        self.link_lives = false;
        let leave = self.model.options.keys.said(Layer::Everywhere, Action::Quit);
        let reason = Refusal::new(Kind::NoDaemon, "the link to the daemon ended", format!("leave with {leave} and start perilune again"));
        Message::Down { reason, retry_in_s: NEVER_S }
    }
}

/// Returns how soon a frame must be drawn for any of them.
#[must_use]
pub fn urgency(stations: &[Station]) -> Option<Urgency> {
    stations.iter().filter_map(|s| s.model.dirty).max()
}

/// Has the one that is shown know how all of them are, where there are several.
pub fn share(stations: &mut [Station], at: usize) {
    if stations.len() > 1 {
        let all: Vec<hosts::Summary> = stations.iter().map(|s| hosts::summary(&s.model)).collect();
        stations[at].model.hosts = Some(hosts::Hosts { all, at });
    }
}
