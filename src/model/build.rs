//! Builds: published states of the game files.

use serde::{Deserialize, Serialize};

use super::id::{BuildId, JobId, LayerId};
use super::time::Timestamp;

/// One published state of the game files. Immutable; which one is active is kept apart from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Identifier, growing.
    pub id: BuildId,
    /// Folders `installation/<n>` that make it up, newest first.
    pub layers: Vec<LayerId>,
    /// When it was published.
    pub created_at: Timestamp,
    /// Bytes that its newest layer added.
    pub bytes: u64,
    /// What it is called on pages.
    pub label: String,
    /// The install that made it.
    pub job_id: Option<JobId>,
}
