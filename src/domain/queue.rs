//! The queue of jobs: how one is asked for, found, and cancelled before it began.
//!
//! A job's *place* in the queue is its number, except that a job which runs an interrupted one again takes that one's
//! place: otherwise what was asked for after it would happen before it, and the server would end in another state than
//! without the crash.

use std::ops::ControlFlow;

use super::{Refusal, Result};
use crate::model::event::Event;
use crate::model::id::{JobId, ServerId};
use crate::model::job::{Job, JobState, Operation};
use crate::model::server::Server;
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::{ACTIVE_JOBS, INSTALL_LANE, JOBS, JOBS_BY_SERVER, JOBS_BY_VIEWER, SERVERS};
use crate::store::{Read, Span, Tx};

/// What somebody asks for.
pub(super) struct Asked<'a> {
    /// Who.
    pub actor: &'a Actor,
    /// What.
    pub operation: Operation,
    /// Of which server; `None`: install.
    pub server: Option<&'a mut Server>,
}

/// A job by id.
pub(super) fn job_of(read: &impl Read, id: JobId) -> Result<Job> {
    read.get(&JOBS, &id)?.ok_or(Refusal::NotFound("job"))
}

/// Queued and running jobs with their places, first place first.
pub(super) fn active(read: &impl Read) -> Result<Vec<(u64, Job)>> {
    let mut jobs = Vec::new();
    for (id, place) in read.list(&ACTIVE_JOBS, &Span::all())? {
        jobs.push((place, job_of(read, id)?));
    }
    jobs.sort_by_key(|(place, _)| *place);
    Ok(jobs)
}

/// Active jobs of one lane, first place first. `None`: the installs.
pub(super) fn lane(read: &impl Read, server: Option<ServerId>) -> Result<Vec<(u64, Job)>> {
    let mut jobs = active(read)?;
    jobs.retain(|(_, job)| job.server_id == server);
    Ok(jobs)
}

/// Most jobs that may wait in one lane: more are somebody leaning on a button.
const QUEUED_MAX: usize = 16;

/// The newest queued job of a lane, when it is this operation.
pub(super) fn newest_queued(read: &impl Read, server: Option<ServerId>, operation: Operation) -> Result<Option<Job>> {
    let newest = lane(read, server)?.into_iter().map(|(_, job)| job).rfind(|job| job.state == JobState::Queued);
    Ok(newest.filter(|job| job.operation == operation))
}

/// Enqueues a job, or answers with the newest queued one where that is the same; says whether it is new. Sets and writes
/// the server's desired state and deletion mark.
pub(super) fn ask(tx: &mut Tx, now: Timestamp, asked: Asked<'_>) -> Result<(Job, bool)> {
    let Asked { actor, operation, server } = asked;
    let server_id = server.as_ref().map(|server| server.id);
    if let Some(job) = newest_queued(tx, server_id, operation)? {
        return Ok((job, false));
    }
    let queued = lane(tx, server_id)?.iter().filter(|(_, job)| job.state == JobState::Queued).count();
    // A delete goes first anyway: it cancels what is queued.
    if queued >= QUEUED_MAX && operation != Operation::Delete {
        return Err(Refusal::Conflict(format!("{queued} jobs are queued already: wait for one to end, or cancel one")));
    }
    let id = JobId(tx.next_number("job")?);
    let mut job = Job {
        server_id,
        owner_id: server.as_ref().map(|server| server.user_id),
        server_name: server.as_ref().map(|server| server.name.clone()),
        ..Job::queued(id, operation, actor.user_id, actor.name.clone(), now)
    };
    if let Some(server) = server {
        if let Some(desired) = operation.desired() {
            job.desired_before = Some(server.desired_state);
            server.desired_state = desired;
        }
        server.deleting = server.deleting || operation == Operation::Delete;
        write_server(tx, now, server)?;
        tx.note(Event::Desired(server.id));
    }
    let place = job.id.0;
    enlist(tx, &job, place)?;
    Ok((job, true))
}

/// Writes a new queued job and its indexes.
pub(super) fn enlist(tx: &mut Tx, job: &Job, place: u64) -> Result<()> {
    tx.put(&JOBS, &job.id, job)?;
    tx.put(&ACTIVE_JOBS, &job.id, &place)?;
    tx.put(&JOBS_BY_SERVER, &(job.server_id.unwrap_or(INSTALL_LANE), job.id), &())?;
    for viewer in [job.user_id, job.owner_id].into_iter().flatten() {
        tx.put(&JOBS_BY_VIEWER, &(viewer, job.id), &())?;
    }
    tx.note(Event::Job(job.id));
    tx.note(Event::JobQueued(job.id));
    if let Some(server) = job.server_id {
        tx.note(Event::Server(server));
    }
    Ok(())
}

/// Writes a job that has ended and takes it out of the queue.
pub(super) fn retire(tx: &mut Tx, job: &Job) -> Result<()> {
    tx.put(&JOBS, &job.id, job)?;
    tx.remove(&ACTIVE_JOBS, &job.id)?;
    tx.note(Event::Job(job.id));
    if let Some(server) = job.server_id {
        tx.note(Event::Server(server));
    }
    Ok(())
}

/// Cancels a queued job as if it had never been asked for: what it had changed about the server's desired state is undone,
/// without touching what later jobs of the lane ask for.
pub(super) fn cancel_queued(tx: &mut Tx, now: Timestamp, mut job: Job) -> Result<Job> {
    let lane = lane(tx, job.server_id)?;
    let place = lane.iter().find(|(_, other)| other.id == job.id).map_or(job.id.0, |(place, _)| *place);
    job.state = JobState::Cancelled;
    job.finished_at = Some(now);
    retire(tx, &job)?;
    let Some(before) = job.desired_before else { return Ok(job) };
    let next = lane.into_iter().find(|(other_place, other)| *other_place > place && other.desired_before.is_some());
    if let Some((_, mut next)) = next {
        next.desired_before = Some(before);
        tx.put(&JOBS, &next.id, &next)?;
        return Ok(job);
    }
    let Some(id) = job.server_id else { return Ok(job) };
    if let Some(mut server) = tx.get(&SERVERS, &id)? {
        server.desired_state = before;
        server.deleting = server.deleting && job.operation != Operation::Delete;
        write_server(tx, now, &mut server)?;
        tx.note(Event::Desired(id));
    }
    Ok(job)
}

/// Cancels every queued job of a server, newest first, and reads the server again.
pub(super) fn cancel_queued_of(tx: &mut Tx, now: Timestamp, server: &mut Server) -> Result<()> {
    for (_, job) in lane(tx, Some(server.id))?.into_iter().rev() {
        if job.state == JobState::Queued {
            // An earlier one may have got another `desired_before` meanwhile.
            let job = job_of(tx, job.id)?;
            cancel_queued(tx, now, job)?;
        }
    }
    *server = super::servers::server_of(tx, server.id)?;
    Ok(())
}

/// Writes a server whose desired state or deletion mark changed.
pub(super) fn write_server(tx: &mut Tx, now: Timestamp, server: &mut Server) -> Result<()> {
    server.updated_at = now;
    tx.put(&SERVERS, &server.id, server)?;
    tx.note(Event::Server(server.id));
    Ok(())
}

/// Jobs of a lane that are newer than `job`, at most `limit`.
pub(super) fn newer_in_lane(read: &impl Read, job: &Job, limit: usize) -> Result<usize> {
    let lane = job.server_id.unwrap_or(INSTALL_LANE);
    let mut newer = 0;
    for (_, id) in read.keys(&JOBS_BY_SERVER, &Span::under(&lane).backwards().limit(limit))? {
        if id <= job.id {
            break;
        }
        newer += 1;
    }
    Ok(newer)
}

/// Keeps looking until `full`.
pub(super) fn until(full: bool) -> ControlFlow<()> {
    if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}
