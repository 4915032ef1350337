//! Jobs as people see them: asking for an install, lists, logs, cancelling. Their life is in `work`, the queue in `queue`.

use super::audit::note;
use super::queue::{self, Asked, job_of, until};
use super::{Domain, Items, Page, Refusal, Result, require_admin};
use crate::model::event::Event;
use crate::model::id::{JobId, ServerId};
use crate::model::job::{Job, JobLine, JobState, Operation};
use crate::model::user::Actor;
use crate::store::tables::{ACTIVE_JOBS, JOB_LINES, JOBS, JOBS_BY_SERVER, JOBS_BY_VIEWER};
use crate::store::{Key, Read, Snapshot, Span, StoreError};

pub use super::retention::Pruned;
pub use super::work::Outcome;

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

impl JobFilter {
    fn admits(&self, job: &Job) -> bool {
        self.server_id.is_none_or(|server| job.server_id == Some(server))
            && self.state.is_none_or(|state| job.state == state)
            && self.operation.is_none_or(|operation| job.operation == operation)
    }
}

impl Domain {
    /// Asks for an install of the game files, or answers with the queued one. Admins only.
    pub fn request_install(&self, actor: &Actor) -> Result<Job> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let (job, is_new) = queue::ask(tx, now, Asked { actor, operation: Operation::Install, server: None })?;
            if is_new {
                note(tx, now, actor, "install.request", &format!("job {}", job.id))?;
            }
            Ok(job)
        })
    }

    /// Jobs that the actor may see, newest first.
    pub fn list_jobs(&self, actor: &Actor, filter: &JobFilter, page: &Page) -> Result<Items<Job>> {
        let read = self.read()?;
        let mut wanted = Wanted { read: &read, actor, filter, page, found: Vec::new() };
        match (filter.server_id, filter.state.is_some_and(JobState::is_active), actor.admin, actor.user_id) {
            // Few are active: no index is narrower.
            (_, true, _, _) => {
                let span = page.narrow(Span::all().backwards())?;
                for id in read.keys(&ACTIVE_JOBS, &span)? {
                    if wanted.look(id)? {
                        break;
                    }
                }
            }
            (Some(server), false, _, _) => {
                let span = page.narrow_under(&server, Span::under(&server).backwards())?;
                read.visit(&JOBS_BY_SERVER, &span, |key, ()| wanted.look(key.1).map(until))?;
            }
            (None, false, true, _) => {
                let span = page.narrow(Span::all().backwards())?;
                read.visit(&JOBS, &span, |_, job| Ok(until(wanted.take(job))))?;
            }
            (None, false, false, Some(user)) => {
                let span = page.narrow_under(&user, Span::under(&user).backwards())?;
                read.visit(&JOBS_BY_VIEWER, &span, |key, ()| wanted.look(key.1).map(until))?;
            }
            (None, false, false, None) => {}
        }
        Ok(page.cut(wanted.found))
    }

    /// One job.
    pub fn job(&self, actor: &Actor, id: JobId) -> Result<Job> {
        visible(&self.read()?, actor, id)
    }

    /// Cancels: a queued job is cancelled at once, a running install is asked to end.
    pub fn cancel_job(&self, actor: &Actor, id: JobId) -> Result<Job> {
        let now = self.now();
        self.write(|tx| {
            let mut job = visible(tx, actor, id)?;
            match (job.state, job.operation) {
                (JobState::Queued, _) => job = queue::cancel_queued(tx, now, job)?,
                (JobState::Running, Operation::Install) => {
                    if job.cancel_requested {
                        return Ok(job);
                    }
                    job.cancel_requested = true;
                    tx.put(&JOBS, &id, &job)?;
                    tx.note(Event::Job(id));
                    tx.note(Event::JobCancel(id));
                }
                (
                    JobState::Running,
                    Operation::Initialize | Operation::Start | Operation::Stop | Operation::Restart | Operation::Delete,
                ) => {
                    return Err(Refusal::Conflict(format!(
                        "a {} that runs cannot be cancelled: wait for its end, then ask for what should be",
                        job.operation.word()
                    )));
                }
                (JobState::Succeeded | JobState::Failed | JobState::Cancelled | JobState::Interrupted, _) => {
                    return Err(Refusal::Conflict(format!("the job has ended: it {}", ended(job.state))));
                }
            }
            note(tx, now, actor, "job.cancel", &format!("job {id} ({})", job.operation.word()))?;
            Ok(job)
        })
    }

    /// Log lines of a job after number `seq`, oldest first, at most `limit` and the replay limit.
    pub fn lines_after(&self, actor: &Actor, id: JobId, seq: u64, limit: usize) -> Result<Vec<(u64, JobLine)>> {
        let read = self.read()?;
        visible(&read, actor, id)?;
        let span = Span::under(&id).past((id, seq).bytes()).limit(limit.min(self.rules().log_replay_limit));
        Ok(read.list(&JOB_LINES, &span)?.into_iter().map(|((_, seq), line)| (seq, line)).collect())
    }
}

/// A list of jobs in the making.
struct Wanted<'a> {
    read: &'a Snapshot,
    actor: &'a Actor,
    filter: &'a JobFilter,
    page: &'a Page,
    found: Vec<(JobId, Job)>,
}

impl Wanted<'_> {
    /// Looks at a job by id; says whether the page is full.
    fn look(&mut self, id: JobId) -> std::result::Result<bool, StoreError> {
        Ok(match self.read.get(&JOBS, &id)? {
            Some(job) => self.take(job),
            None => false,
        })
    }

    /// Takes a job that is wanted; says whether the page is full.
    fn take(&mut self, job: Job) -> bool {
        if may_see(self.actor, &job) && self.filter.admits(&job) {
            self.found.push((job.id, job));
        }
        self.page.is_full(self.found.len())
    }
}

fn may_see(actor: &Actor, job: &Job) -> bool {
    actor.admin || [job.user_id, job.owner_id].into_iter().flatten().any(|user| actor.may_touch(user))
}

fn visible(read: &impl Read, actor: &Actor, id: JobId) -> Result<Job> {
    let job = job_of(read, id)?;
    if may_see(actor, &job) { Ok(job) } else { Err(Refusal::Forbidden("this job belongs to another user".into())) }
}

fn ended(state: JobState) -> &'static str {
    match state {
        JobState::Queued | JobState::Running => "has not ended",
        JobState::Succeeded => "succeeded",
        JobState::Failed => "failed",
        JobState::Cancelled => "was cancelled",
        JobState::Interrupted => "was interrupted",
    }
}
