//! The life of a job while the runner has it. Called by jobs, for the box itself.
//!
//! Each step is a transaction of its own: a crash between any two leaves a job that [`Domain::interrupt_jobs`] finds.

use super::queue::{self, job_of};
use super::{Domain, Refusal, Result};
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::job::{Job, JobLine, JobState, Operation, Progress, Stream, cut_line, next_to_start};
use crate::model::time::Timestamp;
use crate::store::tables::{JOB_LINES, JOBS, LOGGED_JOBS, SERVERS};
use crate::store::{Read, Tx};

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

impl Domain {
    /// Queued and running jobs, in the order of the queue.
    pub fn active_jobs(&self) -> Result<Vec<Job>> {
        Ok(queue::active(&self.read()?)?.into_iter().map(|(_, job)| job).collect())
    }

    /// Marks the next job that may begin as running and answers with it; `None`: nothing may begin now.
    pub fn claim_next(&self, workers: usize) -> Result<Option<Job>> {
        // Looking costs no flush of the disk; only a find does.
        if next(queue::active(&self.read()?)?, workers).is_none() {
            return Ok(None);
        }
        let now = self.now();
        self.write(|tx| {
            let Some(mut job) = next(queue::active(tx)?, workers) else { return Ok(None) };
            job.state = JobState::Running;
            job.started_at = Some(now);
            write_active(tx, &job)?;
            Ok(Some(job))
        })
    }

    /// Notes the step that a running job begins.
    pub fn begin_step(&self, id: JobId, step: &str) -> Result<()> {
        self.write(|tx| {
            let mut job = running(tx, id)?;
            if job.step.as_deref() != Some(step) {
                job.step = Some(step.to_owned());
                job.progress = None;
                write_active(tx, &job)?;
            }
            Ok(())
        })
    }

    /// Stores lines of a job's log, in order, and answers with the newest sequence number. Lines are cut at the configured
    /// length; each gets the next number. Call it with many lines at a time: each call is a flush of the disk.
    pub fn append_lines(&self, id: JobId, lines: impl AsRef<[(Timestamp, Stream, String)]>) -> Result<u64> {
        let lines = lines.as_ref();
        let max = self.rules().log_line_max_chars;
        self.write(|tx| {
            let mut job = job_of(tx, id)?;
            if lines.is_empty() {
                return Ok(job.last_seq);
            }
            if job.last_seq == 0 {
                tx.put(&LOGGED_JOBS, &id, &())?;
            }
            let first = job.last_seq + 1;
            job.last_seq += lines.len() as u64;
            let numbered = (first..).zip(lines);
            let records = numbered.map(|(seq, (at, stream, text))| {
                ((id, seq), JobLine { at: *at, stream: *stream, text: cut_line(text, max) })
            });
            tx.put_all(&JOB_LINES, records)?;
            tx.put(&JOBS, &id, &job)?;
            tx.note(Event::JobLines { job: id, last_seq: job.last_seq });
            Ok(job.last_seq)
        })
    }

    /// Notes how much of a running job's step is done.
    pub fn set_progress(&self, id: JobId, progress: Progress) -> Result<()> {
        self.write(|tx| {
            let mut job = running(tx, id)?;
            let progress = Some(progress);
            if job.progress != progress {
                job.progress = progress;
                tx.put(&JOBS, &id, &job)?;
                tx.note(Event::Job(id));
            }
            Ok(())
        })
    }

    /// Ends a running job. A delete that did not succeed leaves its server as one that may be asked again.
    pub fn finish_job(&self, id: JobId, outcome: Outcome) -> Result<Job> {
        if outcome.state.is_active() {
            return Err(Refusal::Invalid(format!("a job cannot end as {}", outcome.state.word())));
        }
        let now = self.now();
        self.write(|tx| {
            let mut job = running(tx, id)?;
            job.state = outcome.state;
            job.exit_code = outcome.exit_code;
            job.error = outcome.error;
            job.finished_at = Some(now);
            job.progress = None;
            queue::retire(tx, &job)?;
            if job.operation == Operation::Delete
                && outcome.state != JobState::Succeeded
                && let Some(mut server) = job.server_id.map(|id| tx.get(&SERVERS, &id)).transpose()?.flatten()
            {
                server.deleting = false;
                queue::write_server(tx, now, &mut server)?;
            }
            Ok(job)
        })
    }

    /// After a start of the daemon: jobs found running are interrupted, but for the `except`ed (installs that were adopted);
    /// idempotent ones are queued again in their place, as new jobs with `retry_of`. Answers with the interrupted ones.
    pub fn interrupt_jobs(&self, except: &[JobId]) -> Result<Vec<Job>> {
        let now = self.now();
        self.write(|tx| {
            let mut interrupted = Vec::new();
            for (place, mut job) in queue::active(tx)? {
                if job.state != JobState::Running || except.contains(&job.id) {
                    continue;
                }
                job.state = JobState::Interrupted;
                job.finished_at = Some(now);
                job.progress = None;
                job.error = Some("left4me ended while this job was running".into());
                queue::retire(tx, &job)?;
                // A finished delete whose last transaction was lost has nothing left to do but to be told so.
                if job.operation.is_idempotent() {
                    let again = Job {
                        id: JobId(tx.next_number("job")?),
                        state: JobState::Queued,
                        created_at: now,
                        started_at: None,
                        finished_at: None,
                        error: None,
                        exit_code: None,
                        retry_of: Some(job.id),
                        step: None,
                        cancel_requested: false,
                        last_seq: 0,
                        ..job.clone()
                    };
                    queue::enlist(tx, &again, place)?;
                }
                interrupted.push(job);
            }
            Ok(interrupted)
        })
    }
}

/// The first job of the queue that may begin, by the rule of the model.
fn next(active: Vec<(u64, Job)>, workers: usize) -> Option<Job> {
    let mut jobs: Vec<Job> = active.into_iter().map(|(_, job)| job).collect();
    next_to_start(&jobs, workers).map(|index| jobs.swap_remove(index))
}

fn running(tx: &Tx, id: JobId) -> Result<Job> {
    let job = job_of(tx, id)?;
    if job.state == JobState::Running {
        Ok(job)
    } else {
        Err(Refusal::Conflict(format!("job {id} is {}, not running", job.state.word())))
    }
}

fn write_active(tx: &mut Tx, job: &Job) -> Result<()> {
    tx.put(&JOBS, &job.id, job)?;
    tx.note(Event::Job(job.id));
    if let Some(server) = job.server_id {
        tx.note(Event::Server(server));
    }
    Ok(())
}
