//! Jobs: asking, watching, and the steps of their life.

use super::{Domain, Items, Page, Result};
use crate::model::id::{JobId, ServerId};
use crate::model::job::{Job, JobLine, JobState, Operation, Progress, Stream};
use crate::model::time::Timestamp;
use crate::model::user::Actor;

use super::pending;

/// Which jobs are wanted; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct JobFilter {
    /// Of this server.
    pub server_id: Option<ServerId>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this operation.
    pub operation: Option<Operation>,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Succeeded, failed or cancelled.
    pub state: JobState,
    /// Exit code of the program, or 0/1.
    pub exit_code: Option<i32>,
    /// Why it failed, one paragraph for people.
    pub error: Option<String>,
}

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs whose log was removed.
    pub jobs: u64,
    /// Lines that were removed.
    pub lines: u64,
}

impl Domain {
    /// See the contract.
    pub fn request_install(&self, actor: &Actor) -> Result<Job> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn list_jobs(&self, actor: &Actor, filter: &JobFilter, page: &Page) -> Result<Items<Job>> {
        let _ = (actor, filter, page);
        pending()
    }

    /// See the contract.
    pub fn job(&self, actor: &Actor, id: JobId) -> Result<Job> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn cancel_job(&self, actor: &Actor, id: JobId) -> Result<Job> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn active_jobs(&self) -> Result<Vec<Job>> {
        pending()
    }

    /// See the contract.
    pub fn claim_next(&self, workers: usize) -> Result<Option<Job>> {
        let _ = (workers,);
        pending()
    }

    /// See the contract.
    pub fn begin_step(&self, id: JobId, step: &str) -> Result<()> {
        let _ = (id, step);
        pending()
    }

    /// See the contract.
    pub fn append_lines(&self, id: JobId, lines: Vec<(Timestamp, Stream, String)>) -> Result<u64> {
        let _ = (id, lines);
        pending()
    }

    /// See the contract.
    pub fn lines_after(&self, actor: &Actor, id: JobId, seq: u64, limit: usize) -> Result<Vec<(u64, JobLine)>> {
        let _ = (actor, id, seq, limit);
        pending()
    }

    /// See the contract.
    pub fn set_progress(&self, id: JobId, progress: Progress) -> Result<()> {
        let _ = (id, progress);
        pending()
    }

    /// See the contract.
    pub fn finish_job(&self, id: JobId, outcome: Outcome) -> Result<Job> {
        let _ = (id, outcome);
        pending()
    }

    /// See the contract.
    pub fn interrupt_jobs(&self, except: &[JobId]) -> Result<Vec<Job>> {
        let _ = (except,);
        pending()
    }

    /// See the contract.
    pub fn prune_logs(&self) -> Result<Pruned> {
        pending()
    }
}
