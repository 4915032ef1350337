//! Jobs: what somebody asked the box to do, and how far it is.
//!
//! ```text
//!   queued ──claimed by the runner──▶ running ──▶ succeeded
//!     │                                  │  ├───▶ failed
//!     └──cancelled before it began       │  └───▶ cancelled   (an install that was asked to end)
//!               ▼                        ▼
//!           cancelled               interrupted   (the daemon ended under it; an idempotent one is run again
//!                                                  as a new job that names it in `retry_of`)
//! ```

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::id::{JobId, ServerId, UserId};
use super::server::DesiredState;
use super::time::Timestamp;

/// One asynchronous operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Identifier.
    pub id: JobId,
    /// Who asked; `None`: the box itself.
    pub user_id: Option<UserId>,
    /// Who asked, as text (survives the user).
    pub username: String,
    /// Which server; `None` for install.
    pub server_id: Option<ServerId>,
    /// The server's owner at that time: may see the job.
    pub owner_id: Option<UserId>,
    /// The server's name, as text (survives the server).
    pub server_name: Option<String>,
    /// What to do.
    pub operation: Operation,
    /// How far.
    pub state: JobState,
    /// Exit code of the program that did the work, or 0/1 for work of our own; `None` until it ended.
    pub exit_code: Option<i32>,
    /// Why it failed, one paragraph for people.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The interrupted job that this one runs again.
    pub retry_of: Option<JobId>,
    /// Name of the step that was begun last.
    pub step: Option<String>,
    /// Progress of a download or the like.
    pub progress: Option<Progress>,
    /// Somebody asked it to end.
    pub cancel_requested: bool,
    /// Newest stored log line; 0 before the first.
    pub last_seq: u64,
    /// What `desired_state` was before this job was asked for; cancelling restores it.
    pub desired_before: Option<DesiredState>,
}

impl Job {
    /// A queued job of nobody's server, as it is when it has just been asked for; the caller adds whom and what it is about.
    pub fn queued(id: JobId, operation: Operation, user_id: Option<UserId>, username: String, now: Timestamp) -> Self {
        Self {
            id,
            user_id,
            username,
            server_id: None,
            owner_id: None,
            server_name: None,
            operation,
            state: JobState::Queued,
            exit_code: None,
            error: None,
            created_at: now,
            started_at: None,
            finished_at: None,
            retry_of: None,
            step: None,
            progress: None,
            cancel_requested: false,
            last_seq: 0,
            desired_before: None,
        }
    }
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Install or update the game files by SteamCMD.
    Install,
    /// Write the instance's folders, spec and generated files.
    Initialize,
    /// Bring the game up.
    Start,
    /// Bring the game down.
    Stop,
    /// Down, then up with the latest blueprint.
    Restart,
    /// Down, folders away, record and claims away.
    Delete,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 6] = [Self::Install, Self::Initialize, Self::Start, Self::Stop, Self::Restart, Self::Delete];

    /// Word in URLs, JSON and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Initialize => "initialize",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Delete => "delete",
        }
    }

    /// Display state of a server while such a job is active.
    pub fn progressive(self) -> &'static str {
        match self {
            Self::Install => "installing",
            Self::Initialize => "initializing",
            Self::Start => "starting",
            Self::Stop => "stopping",
            Self::Restart => "restarting",
            Self::Delete => "deleting",
        }
    }

    /// The desired state that asking for this sets (contract §9); `None`: it stays.
    pub fn desired(self) -> Option<DesiredState> {
        match self {
            Self::Start | Self::Restart => Some(DesiredState::Running),
            Self::Stop | Self::Delete => Some(DesiredState::Stopped),
            Self::Install | Self::Initialize => None,
        }
    }

    /// Whether it may be run again after a crash of the daemon.
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::Initialize | Self::Start | Self::Stop | Self::Restart | Self::Delete => true,
            Self::Install => false,
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// A worker has it.
    Running,
    /// Done.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended because somebody asked.
    Cancelled,
    /// The daemon ended under it.
    Interrupted,
}

impl JobState {
    /// Word in JSON and on pages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    /// Queued or running.
    pub fn is_active(self) -> bool {
        match self {
            Self::Queued | Self::Running => true,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::Interrupted => false,
        }
    }
}

/// How much of a long step is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done: `downloading`, `verifying`.
    pub phase: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all; 0 when unknown.
    pub total: u64,
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What the job says.
    Stdout,
    /// What went wrong.
    Stderr,
}

impl Stream {
    /// Word in JSON and SSE.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One line of a job's log. Its sequence number is its key: it grows by one from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    /// When.
    pub at: Timestamp,
    /// Where from.
    pub stream: Stream,
    /// At most the configured characters; longer lines are cut and end in [`CUT_MARK`].
    pub text: String,
}

/// Ends a line that was cut.
pub const CUT_MARK: &str = " …[cut]";

/// Cuts `text` to at most `max` characters, the mark included.
pub fn cut_line(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    let mark = CUT_MARK.chars().count();
    let mut cut: String = text.chars().take(max.saturating_sub(mark)).collect();
    cut.push_str(CUT_MARK);
    cut
}

/// The first job that may begin now, as its index. `active` holds every queued and running job, first place first.
///
/// Jobs of one server run one after another, in order; jobs of different servers beside each other; an install
/// excludes other installs only (contract §2).
pub fn next_to_start(active: &[Job], workers: usize) -> Option<usize> {
    let is_running = |job: &&Job| job.state == JobState::Running;
    if active.iter().filter(is_running).count() >= workers {
        return None;
    }
    // Lanes in which something runs, or in which something queued stands before.
    let mut taken: HashSet<Option<ServerId>> = active.iter().filter(is_running).map(|job| job.server_id).collect();
    active.iter().position(|job| job.state == JobState::Queued && taken.insert(job.server_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(id: u64, server: Option<u64>, state: JobState) -> Job {
        let operation = if server.is_some() { Operation::Start } else { Operation::Install };
        let queued = Job::queued(JobId(id), operation, None, "system".into(), Timestamp(0));
        Job { server_id: server.map(ServerId), state, ..queued }
    }

    /// The rule as the contract words it, for one job.
    fn may_start(jobs: &[Job], at: usize, workers: usize) -> bool {
        let in_the_way = |(index, other): (usize, &Job)| {
            other.server_id == jobs[at].server_id && (other.state == JobState::Running || index < at)
        };
        jobs[at].state == JobState::Queued
            && jobs.iter().filter(|job| job.state == JobState::Running).count() < workers
            && !jobs.iter().enumerate().any(in_the_way)
    }

    #[test]
    fn a_line_is_cut_at_the_limit_and_marked() {
        let cut = cut_line(&"é".repeat(5000), 4096);
        assert_eq!(cut.chars().count(), 4096);
        assert!(cut.ends_with(CUT_MARK));
        assert_eq!(cut_line("short", 4096), "short");
    }

    #[test]
    fn an_install_runs_beside_a_server_job() {
        let jobs = [job(1, None, JobState::Running), job(2, None, JobState::Queued), job(3, Some(7), JobState::Queued)];
        assert_eq!(next_to_start(&jobs, 4), Some(2));
        assert_eq!(next_to_start(&jobs[..2], 4), None, "installs exclude each other");
        assert_eq!(next_to_start(&jobs, 1), None, "the one worker is busy");
    }

    proptest! {
        #[test]
        fn what_starts_next_is_the_first_job_that_the_rule_admits(
            jobs in proptest::collection::vec((proptest::option::of(1u64..5), any::<bool>()), 0..24),
            workers in 0usize..6,
        ) {
            let jobs: Vec<Job> = jobs
                .iter()
                .zip(1..)
                .map(|((lane, runs), id)| job(id, *lane, if *runs { JobState::Running } else { JobState::Queued }))
                .collect();
            prop_assert_eq!(next_to_start(&jobs, workers), (0..jobs.len()).find(|at| may_start(&jobs, *at, workers)));
        }

        #[test]
        fn starting_whatever_may_start_keeps_lanes_order_and_workers(
            lanes in proptest::collection::vec(proptest::option::of(1u64..4), 1..24),
            finish in proptest::collection::vec(any::<prop::sample::Index>(), 0..48),
            workers in 1usize..5,
        ) {
            let mut jobs: Vec<Job> = lanes.iter().zip(1..).map(|(lane, id)| job(id, *lane, JobState::Queued)).collect();
            let mut finish = finish.into_iter();
            loop {
                while let Some(next) = next_to_start(&jobs, workers) {
                    jobs[next].state = JobState::Running;
                }
                let running: Vec<usize> = (0..jobs.len()).filter(|i| jobs[*i].state == JobState::Running).collect();
                prop_assert!(running.len() <= workers);
                for a in &running {
                    for b in &running {
                        prop_assert!(a == b || jobs[*a].server_id != jobs[*b].server_id);
                    }
                    prop_assert!(!jobs[..*a].iter().any(|other| other.server_id == jobs[*a].server_id));
                }
                if running.is_empty() {
                    break;
                }
                let ended = finish.next().map_or(0, |index| index.index(running.len()));
                jobs.remove(running[ended]);
            }
            prop_assert!(jobs.is_empty(), "no job waits for ever");
        }
    }
}
