//! The event hub: after a commit the store publishes here what changed; drivers and pages listen.
//!
//! An event only wakes. A listener that falls behind is told so by the channel and reads the truth from the store, so a
//! slow browser never slows a commit.

use tokio::sync::broadcast;

use crate::model::event::Event;

/// Events that a listener may lag behind before it is told to look again.
const BACKLOG: usize = 1024;

/// The hub. Clones share it.
#[derive(Debug, Clone)]
pub struct Hub {
    sender: broadcast::Sender<Event>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A hub without listeners.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG) }
    }

    /// Listens from now on.
    pub fn listen(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// Tells every listener. Nobody listening is fine.
    pub fn publish(&self, event: Event) {
        // `send` fails only when nobody listens.
        let _ = self.sender.send(event);
    }
}
