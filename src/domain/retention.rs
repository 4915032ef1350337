//! What is removed by age: job logs, expired sessions, old failures. The daemon calls it now and then.

use super::queue::{job_of, newer_in_lane};
use super::{Domain, Result, lockout, sessions};
use crate::model::id::JobId;
use crate::model::job::Job;
use crate::model::time::Timestamp;
use crate::store::tables::{JOB_LINES, LOGGED_JOBS};
use crate::store::{Read, Span};

/// Logs of this many newest jobs of a server are kept, whatever their age.
pub(super) const KEPT_JOBS: usize = 50;
/// Logs of jobs younger than this are kept, however many, seconds.
pub(super) const KEPT_SECONDS: i64 = 30 * 24 * 3600;
/// Lines that one transaction removes: others must get their turn.
const LINES_AT_ONCE: usize = 5_000;

/// What retention removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Jobs whose log was removed.
    pub jobs: u64,
    /// Lines that were removed.
    pub lines: u64,
}

impl Domain {
    /// Removes logs beyond the newest 50 jobs of a server *and* older than 30 days; the jobs themselves stay. Also removes
    /// sessions and counted failures that are over.
    pub fn prune_logs(&self) -> Result<Pruned> {
        let now = self.now();
        self.write(|tx| {
            sessions::sweep(tx, now)?;
            lockout::sweep(tx, now)
        })?;
        let read = self.read()?;
        let mut pruned = Pruned::default();
        for id in read.keys(&LOGGED_JOBS, &Span::all())? {
            let job = job_of(&read, id)?;
            // Numbers grow with time: every later job is younger.
            if now.seconds_since(job.created_at) < KEPT_SECONDS {
                break;
            }
            if is_over(&read, &job, now)? {
                pruned.lines += self.remove_lines(id)?;
                pruned.jobs += 1;
            }
        }
        Ok(pruned)
    }

    fn remove_lines(&self, id: JobId) -> Result<u64> {
        let mut removed = 0;
        loop {
            let more = self.write(|tx| {
                let keys = tx.keys(&JOB_LINES, &Span::under(&id).limit(LINES_AT_ONCE))?;
                for key in &keys {
                    tx.remove(&JOB_LINES, key)?;
                }
                if keys.len() < LINES_AT_ONCE {
                    tx.remove(&LOGGED_JOBS, &id)?;
                }
                Ok(keys.len())
            })?;
            removed += more as u64;
            if more < LINES_AT_ONCE {
                return Ok(removed);
            }
        }
    }
}

fn is_over(read: &impl Read, job: &Job, now: Timestamp) -> Result<bool> {
    let Some(ended) = job.finished_at else { return Ok(false) };
    Ok(now.seconds_since(ended) >= KEPT_SECONDS && newer_in_lane(read, job, KEPT_JOBS)? >= KEPT_JOBS)
}
