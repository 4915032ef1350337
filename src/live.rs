//! The event hub: after a commit the store publishes here what changed; drivers and pages listen.
//!
//! An event only wakes. A listener that falls behind is told so by the channel and reads the truth from the store, so a
//! slow browser never slows a commit. Beside the events it holds what is true of this moment only: how fast jobs move.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::pace::Pace;

/// Events that a listener may lag behind before it is told to look again.
const BACKLOG: usize = 1024;

/// The hub. Clones share it.
#[derive(Debug, Clone)]
pub struct Hub {
    sender: broadcast::Sender<Event>,
    /// How fast jobs move: of this moment only, so never stored.
    paces: Arc<Mutex<HashMap<JobId, Pace>>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A hub without listeners.
    pub fn new() -> Self {
        Self { sender: broadcast::Sender::new(BACKLOG), paces: Arc::default() }
    }

    /// Notes how fast a job moves; `None`: it does not any more. Whoever notes it publishes the job's progress as well.
    pub fn set_pace(&self, job: JobId, pace: Option<Pace>) {
        let mut paces = self.paces.lock().unwrap_or_else(PoisonError::into_inner);
        match pace {
            Some(pace) => paces.insert(job, pace),
            None => paces.remove(&job),
        };
    }

    /// How fast a job moves, where that is known.
    pub fn pace(&self, job: JobId) -> Option<Pace> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner).get(&job).copied()
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
