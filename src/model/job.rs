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

/// May this job begin now? `active` holds every queued and running job, oldest first (smallest id), this one included.
///
/// Jobs of one server run one after another, in order; jobs of different servers beside each other; an install
/// excludes other installs only (contract §2).
pub fn may_start(job: &Job, active: &[Job], workers: usize) -> bool {
    if job.state != JobState::Queued {
        return false;
    }
    let running = active.iter().filter(|other| other.state == JobState::Running).count();
    running < workers
        && !active.iter().any(|other| {
            other.id != job.id
                && same_lane(job, other)
                && (other.state == JobState::Running || (other.state == JobState::Queued && other.id < job.id))
        })
}

/// Whether two jobs must not run at the same time: of one server, or both installs.
pub fn same_lane(a: &Job, b: &Job) -> bool {
    match (a.server_id, b.server_id) {
        (Some(a), Some(b)) => a == b,
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A job with only the fields that scheduling looks at.
    fn job(id: u64, server: Option<u64>, state: JobState) -> Job {
        Job {
            id: JobId(id),
            user_id: None,
            username: "system".into(),
            server_id: server.map(ServerId),
            owner_id: None,
            server_name: None,
            operation: if server.is_some() { Operation::Start } else { Operation::Install },
            state,
            exit_code: None,
            error: None,
            created_at: Timestamp(0),
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

    #[test]
    fn a_line_is_cut_at_the_limit_and_marked() {
        let cut = cut_line(&"é".repeat(5000), 4096);
        assert_eq!(cut.chars().count(), 4096);
        assert!(cut.ends_with(CUT_MARK));
        assert_eq!(cut_line("short", 4096), "short");
    }

    #[test]
    fn an_install_runs_beside_a_server_job() {
        let jobs = [job(1, None, JobState::Running), job(2, Some(7), JobState::Queued), job(3, None, JobState::Queued)];
        assert!(may_start(&jobs[1], &jobs, 4));
        assert!(!may_start(&jobs[2], &jobs, 4));
    }

    proptest! {
        #[test]
        fn starting_whatever_may_start_keeps_lanes_order_and_workers(
            lanes in proptest::collection::vec(proptest::option::of(1u64..4), 1..24),
            finish in proptest::collection::vec(any::<prop::sample::Index>(), 0..48),
            workers in 1usize..5,
        ) {
            let mut jobs: Vec<Job> = lanes.iter().enumerate().map(|(i, lane)| job(i as u64 + 1, *lane, JobState::Queued)).collect();
            let mut finish = finish.into_iter();
            loop {
                while let Some(next) = (0..jobs.len()).find(|i| may_start(&jobs[*i], &jobs, workers)) {
                    jobs[next].state = JobState::Running;
                }
                let running: Vec<usize> = (0..jobs.len()).filter(|i| jobs[*i].state == JobState::Running).collect();
                prop_assert!(running.len() <= workers);
                for a in &running {
                    for b in &running {
                        prop_assert!(a == b || !same_lane(&jobs[*a], &jobs[*b]));
                    }
                    prop_assert!(!jobs.iter().any(|other| other.state == JobState::Queued && other.id < jobs[*a].id && same_lane(other, &jobs[*a])));
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
