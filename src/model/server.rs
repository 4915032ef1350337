//! Servers and their states.
//!
//! ```text
//!             start job            ready line or A2S
//!   stopped ────────────▶ starting ────────────▶ running
//!      ▲  ▲                  │  ▲                   │
//!      │  └── stop job ──────┤  └── back-off ◀──────┤ the game ended by itself
//!      │                     ▼                      ▼
//!      └── stop job ─────  failed  ◀── five crashes in five minutes
//!
//!   unknown: nobody has looked yet, or the machine could not be asked.
//! ```
//!
//! `desired` is what the user asked for last; `actual` is what was observed. Only the supervisor writes `actual`.

use serde::{Deserialize, Serialize};

use super::id::{BlueprintId, ServerId, UserId};
use super::job::{Job, JobState, Operation};
use super::time::Timestamp;

/// A game server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Identifier; also the host identifier.
    pub id: ServerId,
    /// Owner.
    pub user_id: UserId,
    /// Free label, unique per owner.
    pub name: String,
    /// UDP game port and TCP RCON port; the claim table holds the same number.
    pub port: u16,
    /// SourceTV port, where the blueprint turns SourceTV on.
    pub tv_port: Option<u16>,
    /// What it follows.
    pub blueprint_id: BlueprintId,
    /// What was asked for.
    pub desired_state: DesiredState,
    /// What was observed.
    pub actual_state: ActualState,
    /// Why it failed last, with the last console lines.
    pub last_error: Option<String>,
    /// A delete job is queued or running.
    pub deleting: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// When the game that runs now was started.
    pub started_at: Option<Timestamp>,
}

/// What the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// The game should not run.
    Stopped,
    /// The game should run, also after a crash or a reboot.
    Running,
}

impl DesiredState {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Running => "running",
        }
    }
}

/// What was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActualState {
    /// No process of the game exists.
    Stopped,
    /// The process exists, the game is not ready.
    Starting,
    /// The game is ready.
    Running,
    /// It ended against the owner's will and is not started again.
    Failed,
    /// Nobody has looked yet.
    Unknown,
}

impl ActualState {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl Server {
    /// The one word that pages show: what the active job does, else the observed state.
    /// `active` are the queued and running jobs of this server, oldest first. The job that decides is the running one,
    /// else the oldest queued (contract §9); a delete under way always shows.
    pub fn display_state(&self, active: &[Job]) -> &'static str {
        let word = |operation: Operation| operation.progressive();
        if self.deleting {
            return Operation::Delete.progressive();
        }
        active
            .iter()
            .find(|job| job.state == JobState::Running)
            .or_else(|| active.iter().find(|job| job.state == JobState::Queued))
            .map_or(self.actual_state.word(), |job| word(job.operation))
    }

    /// Drift: no active job, and desired ≠ actual. Unknown is never drift.
    pub fn drift(&self, active: &[Job]) -> bool {
        if active.iter().any(|job| job.state.is_active()) {
            return false;
        }
        match (self.desired_state, self.actual_state) {
            (_, ActualState::Unknown)
            | (DesiredState::Stopped, ActualState::Stopped | ActualState::Failed)
            | (DesiredState::Running, ActualState::Running) => false,
            (DesiredState::Stopped, ActualState::Starting | ActualState::Running)
            | (DesiredState::Running, ActualState::Stopped | ActualState::Starting | ActualState::Failed) => true,
        }
    }
}
