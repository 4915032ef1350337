//! The runner: claims what may run, runs it, finishes it.
//!
//! Called by the daemon, once. It is woken by events and reads the truth from the store; `model::job::may_start`
//! decides. A job that was claimed is finished whatever happens to it, a panic included; only the end of the process
//! leaves it running, and the next daemon finds it so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{broadcast::error::RecvError, watch};
use tokio::task::JoinSet;

use super::joblog::JobLog;
use super::{Context, Ending, Run, delete, initialize, install, restart, start, stop};
use crate::blocking;
use crate::domain::Refusal;
use crate::domain::jobs::Outcome;
use crate::model::event::Event;
use crate::model::id::JobId;
use crate::model::job::{Job, JobState, Operation};
use crate::model::machine::Progressing;
use crate::model::pace::duration;

/// How long to wait before the end of a job is stored again.
const STORE_AGAIN: Duration = Duration::from_secs(5);

/// The jobs under way, so that a cancel reaches them.
type Logs = Arc<Mutex<HashMap<JobId, Arc<JobLog>>>>;

/// Runs jobs until `shutdown` becomes true; then claims no more and answers when those under way have ended.
/// `adopted` are jobs that a former daemon began and that go on (installs whose shim still works).
pub async fn run(context: Arc<Context>, adopted: Vec<Job>, mut shutdown: watch::Receiver<bool>) {
    let mut events = context.domain.hub().listen();
    let logs = Logs::default();
    let mut tasks = JoinSet::new();
    for job in adopted {
        spawn(&context, &logs, &mut tasks, job);
    }
    claim_all(&context, &logs, &mut tasks).await;
    loop {
        let (mut look, mut missed) = (false, false);
        tokio::select! {
            event = events.recv() => match event {
                Ok(Event::JobQueued(_)) => look = true,
                Err(RecvError::Lagged(_)) => {
                    look = true;
                    missed = true;
                }
                Ok(Event::JobCancel(job)) => {
                    if let Some(log) = logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(&job) {
                        log.cancel();
                    }
                }
                Ok(
                    Event::Server(_) | Event::Job(_) | Event::JobLines { .. } | Event::SessionsEnded(_)
                    | Event::TokenRevoked(_) | Event::OverlayGone(_) | Event::Ports | Event::Desired(_),
                ) => {}
                Err(RecvError::Closed) => break,
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => look = true,
            _ = shutdown.wait_for(|down| *down) => break,
        }
        if missed {
            cancel_asked(&context, &logs).await;
        }
        if look {
            claim_all(&context, &logs, &mut tasks).await;
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Events were missed: those jobs under way that somebody asked to end are told so.
async fn cancel_asked(context: &Arc<Context>, logs: &Logs) {
    let domain = context.domain.clone();
    let Ok(Ok(active)) = blocking::run(move || domain.active_jobs()).await else { return };
    let logs = logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for job in active.iter().filter(|job| job.cancel_requested) {
        if let Some(log) = logs.get(&job.id) {
            log.cancel();
        }
    }
}

async fn claim_all(context: &Arc<Context>, logs: &Logs, tasks: &mut JoinSet<()>) {
    loop {
        let (domain, workers) = (context.domain.clone(), context.workers);
        match blocking::run(move || domain.claim_next(workers)).await {
            Ok(Ok(Some(job))) => spawn(context, logs, tasks, job),
            Ok(Ok(None)) => return,
            // The next event looks again; /health tells that the store is not well.
            Ok(Err(refusal)) => return log::error!("no job can be claimed: {refusal}"),
            Err(error) => return log::error!("no job can be claimed: {error}"),
        }
    }
}

fn spawn(context: &Arc<Context>, logs: &Logs, tasks: &mut JoinSet<()>, job: Job) {
    let log = Arc::new(JobLog::new(job.id, context.line_max));
    if job.cancel_requested {
        log.cancel();
    }
    logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(job.id, log.clone());
    let (context, logs) = (context.clone(), logs.clone());
    tasks.spawn(async move {
        let id = job.id;
        work(context, job, log).await;
        logs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&id);
    });
}

/// One job from its claim to its end.
async fn work(context: Arc<Context>, job: Job, log: Arc<JobLog>) {
    let (id, domain) = (job.id, context.domain.clone());
    let writer = tokio::spawn({
        let (log, domain) = (log.clone(), domain.clone());
        async move { log.write(domain).await }
    });
    match &job.server_name {
        Some(name) => log.say(&format!("starting {} for {name}", job.operation.word())),
        None => log.say(&format!("starting {}", job.operation.word())),
    }
    // A task of its own, so that a panic ends the job and not the runner.
    let run = Run { context, job, log: log.clone() };
    let result = match tokio::spawn(async move { carry_out(&run).await }).await {
        Ok(result) => result,
        Err(error) => Err(Ending::failed(format!("an internal error ended the job: {error}"))),
    };
    match &result {
        Ok(()) => log.say("done"),
        Err(Ending::Failed { error, .. }) => log.complain(error),
        Err(Ending::Cancelled) => log.say("cancelled"),
    }
    log.flush().await;
    writer.abort();
    let outcome = match result {
        Ok(()) => Outcome { state: JobState::Succeeded, exit_code: Some(0), error: None },
        Err(Ending::Failed { error, exit_code }) => {
            Outcome { state: JobState::Failed, exit_code: Some(exit_code), error: Some(error) }
        }
        Err(Ending::Cancelled) => Outcome { state: JobState::Cancelled, exit_code: None, error: None },
    };
    // Until it is stored: else its lane would be blocked for as long as the daemon lives. A full disk is freed one day.
    loop {
        let (domain, outcome) = (domain.clone(), outcome.clone());
        match blocking::run(move || domain.finish_job(id, outcome)).await {
            Ok(Ok(_)) => return,
            Ok(Err(refusal @ Refusal::Store(_))) => {
                log::error!("job {id} ended, but its end could not be stored: {refusal}; trying again");
            }
            Ok(Err(refusal)) => return log::error!("job {id} ended, but its end could not be stored: {refusal}"),
            Err(error) => return log::error!("job {id} ended, but its end could not be stored: {error}"),
        }
        tokio::time::sleep(STORE_AGAIN).await;
    }
}

/// Carries it out within its time.
async fn carry_out(run: &Run) -> Result<(), Ending> {
    let operation = run.job.operation;
    let Some(limit) = run.context.timeouts.of(operation) else { return work_of(run).await };
    match tokio::time::timeout(limit, work_of(run)).await {
        Ok(result) => result,
        Err(_) => Err(Ending::failed(format!(
            "the {} took longer than {} and was given up: look at the server's state and at the disk, then ask again",
            operation.word(),
            duration(limit.as_secs())
        ))),
    }
}

async fn work_of(run: &Run) -> Result<(), Ending> {
    match run.job.operation {
        Operation::Install => install::run(run).await,
        Operation::Initialize => initialize::run(run).await,
        Operation::Start => start::run(run).await,
        Operation::Stop => stop::run(run).await,
        Operation::Restart => restart::run(run).await,
        Operation::Delete => delete::run(run).await,
    }
}
