//! Jobs: the driver that carries out what was asked for.
//!
//! `runner.rs` claims a job, runs it and finishes it; each operation is a file of its own whose `STEPS` name what it
//! does in order. A step is written to the store before it begins, every step may be done again after a crash, and the
//! crash tests walk the names. Nothing here decides who may ask for what: that is `domain`.

mod attempt;
pub mod delete;
pub mod initialize;
pub mod install;
pub mod joblog;
pub mod layers;
pub mod restart;
pub mod runner;
pub mod start;
mod steamcmd;
pub mod stop;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;

use crate::blocking;
use crate::domain::{Domain, Refusal};
use crate::host::launch::Limits;
use crate::host::paths::Paths;
use crate::host::shim::starter::ShimStarter;
use crate::model::id::ServerId;
use crate::model::job::{Job, JobState, Operation};
use crate::model::machine::Instances;
use joblog::JobLog;

/// What every job may use.
pub struct Context {
    /// The store's operations.
    pub domain: Domain,
    /// Where things lie.
    pub paths: Paths,
    /// The tasks that own the instances.
    pub instances: Arc<dyn Instances>,
    /// How shims are started.
    pub starter: ShimStarter,
    /// Limits of a program that an install runs.
    pub limits: Limits,
    /// Jobs that may run at the same time.
    pub workers: usize,
    /// The SteamCMD program; `None`: look for it.
    pub steamcmd: Option<PathBuf>,
    /// Where it is fetched from, when there is none.
    pub steamcmd_url: String,
    /// Held for writing while layers or revisions of overlays are looked through, for reading while a spec is made and
    /// written.
    pub specs: Arc<RwLock<()>>,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// Most characters of one log line.
    pub line_max: usize,
}

/// How long things may take before they count as hung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Silence of SteamCMD: it says something at least this often, slow disks included.
    pub silence: Duration,
    /// All of an install's downloads.
    pub install: Duration,
    /// Merging layers into one.
    pub compaction: Duration,
    /// A start, until the game is ready; the supervisor holds to it.
    pub start: Duration,
    /// In place of the limit of each operation of a server; tests set it.
    pub operation: Option<Duration>,
}

impl Timeouts {
    /// The usual ones, with the configured one of a start. In builds with debug assertions
    /// `LEFT4ME_TESTS_STEAMCMD_SILENCE` and `LEFT4ME_TESTS_OPERATION_LIMIT` set theirs, in seconds, so that a test need not
    /// wait so long.
    pub fn new(start: Duration) -> Self {
        let given = |variable: &str| -> Option<Duration> {
            let text = std::env::var(variable).ok().filter(|_| cfg!(debug_assertions))?;
            text.parse().ok().map(Duration::from_secs)
        };
        Self {
            silence: given("LEFT4ME_TESTS_STEAMCMD_SILENCE").unwrap_or(Duration::from_mins(20)),
            install: Duration::from_hours(12),
            compaction: Duration::from_hours(2),
            start,
            operation: given("LEFT4ME_TESTS_OPERATION_LIMIT"),
        }
    }

    /// Longest that a job of this operation may take; `None`: it keeps its own time. What is given up here may go on
    /// outside of us: the state of the server says what became of it.
    pub fn of(&self, operation: Operation) -> Option<Duration> {
        let usual = match operation {
            // Its steps have limits of their own: a cut in the middle would leave SteamCMD working for nobody.
            Operation::Install => return None,
            Operation::Initialize => Duration::from_mins(10),
            Operation::Start => self.start + Duration::from_mins(10),
            Operation::Stop => Duration::from_mins(5),
            Operation::Restart => self.start + Duration::from_mins(15),
            Operation::Delete => Duration::from_hours(1),
        };
        Some(self.operation.unwrap_or(usual))
    }
}

/// One job under way.
pub struct Run {
    /// What it may use.
    pub context: Arc<Context>,
    /// The job as it was claimed.
    pub job: Job,
    /// Where it says what it does.
    pub log: Arc<JobLog>,
}

/// How a job ended other than well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// It failed: what, why and the remedy.
    #[error("{error}")]
    Failed {
        /// Text for people.
        error: String,
        /// Exit code of the program that failed, or 1.
        exit_code: i32,
    },
    /// Somebody asked it to end.
    #[error("cancelled")]
    Cancelled,
}

impl Ending {
    /// A failure of our own work.
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), exit_code: 1 }
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::failed(refusal.to_string())
    }
}

impl From<String> for Ending {
    fn from(error: String) -> Self {
        Self::failed(error)
    }
}

/// What a new daemon does first: installs whose shim still works go on, other jobs found running are interrupted and,
/// where they may be, queued again. Answers the jobs to go on with.
pub async fn recover(context: &Context) -> Result<Vec<Job>, String> {
    let domain = context.domain.clone();
    let active = blocking::run(move || domain.active_jobs())
        .await
        .map_err(|error| error.to_string())?
        .map_err(|refusal| refusal.to_string())?;
    let (installs, _): (Vec<Job>, Vec<Job>) = active
        .into_iter()
        .filter(|job| job.state == JobState::Running)
        .partition(|job| job.operation == Operation::Install);
    let adopted = install::adopt(context, &installs).await?;
    let (domain, keep) = (context.domain.clone(), adopted.clone());
    let again = blocking::run(move || domain.interrupt_jobs(&keep))
        .await
        .map_err(|error| error.to_string())?
        .map_err(|refusal| refusal.to_string())?;
    for job in &again {
        log::info!("job {} ({}) was interrupted by the end of the last daemon", job.id, job.operation.word());
    }
    Ok(installs.into_iter().filter(|job| adopted.contains(&job.id)).collect())
}

/// Names of an operation's steps, in order.
pub fn steps(operation: Operation) -> &'static [&'static str] {
    match operation {
        Operation::Install => install::STEPS,
        Operation::Initialize => initialize::STEPS,
        Operation::Start => start::STEPS,
        Operation::Stop => stop::STEPS,
        Operation::Restart => restart::STEPS,
        Operation::Delete => delete::STEPS,
    }
}

impl Run {
    /// Writes down that a step begins. In builds with debug assertions, `LEFT4ME_TESTS_CRASH_AT=<operation>/<step>` kills the
    /// daemon here, and `LEFT4ME_TESTS_HANG_AT` lets the step never end: the crash tests walk every step so.
    pub async fn step(&self, name: &'static str) -> Result<(), Ending> {
        debug_assert!(steps(self.job.operation).contains(&name), "{name} is not a step of {:?}", self.job.operation);
        if *self.log.cancelled_now() {
            return Err(Ending::Cancelled);
        }
        let id = self.job.id;
        self.domain(move |domain| domain.begin_step(id, name)).await?;
        #[cfg(debug_assertions)]
        if is_here("LEFT4ME_TESTS_CRASH_AT", self.job.operation, name) {
            // The real thing: no destructor runs, nothing is flushed.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        } else if is_here("LEFT4ME_TESTS_HANG_AT", self.job.operation, name) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    /// Runs one blocking operation of the domain.
    pub async fn domain<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Domain) -> crate::domain::Result<T> + Send + 'static,
    ) -> Result<T, Ending> {
        let domain = self.context.domain.clone();
        blocking(move || work(&domain).map_err(Ending::from)).await
    }

    /// The server that the job is about.
    pub fn server(&self) -> Result<ServerId, Ending> {
        self.job.server_id.ok_or_else(|| Ending::failed("this job names no server"))
    }

    /// What the log calls the server.
    pub fn server_name(&self) -> &str {
        self.job.server_name.as_deref().unwrap_or("a server")
    }
}

/// Runs blocking work off the async threads. A panic in it becomes a failure that says so.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Ending> + Send + 'static,
) -> Result<T, Ending> {
    match blocking::run(work).await {
        Ok(result) => result,
        Err(error) => Err(Ending::failed(format!("an internal error ended this step: {error}"))),
    }
}

#[cfg(debug_assertions)]
fn is_here(variable: &str, operation: Operation, step: &str) -> bool {
    std::env::var(variable).is_ok_and(|at| at == format!("{}/{step}", operation.word()))
}
