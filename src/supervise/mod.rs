//! Supervision: one task owns each instance and is the only one that launches, ends and observes it.
//!
//! Called by the daemon, which hands its two faces to the other drivers: `Instances` to jobs, `Machine` to pages.
//! A task begins by adopting what its shim holds, so it does not matter how often the daemon was restarted; it goes on
//! until the server is deleted. What it sees goes to the store through `domain`; what to do about it is decided by
//! `policy.rs`, which is pure.

mod instance;
pub mod leftovers;
mod look;
mod machine;
pub mod policy;
pub mod ready;
mod room;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use crate::blocking;
use crate::domain::Domain;
use crate::host::launch::Limits;
use crate::host::paths::{Paths, Run};
use crate::host::ports::Ours;
use crate::host::ports::Owners;
use crate::host::shim::starter::ShimStarter;
use crate::host::snapshots::Snapshots;
use crate::model::id::{HostId, ServerId};
use crate::model::machine::{ConsoleCursor, ConsoleError, Facts, Instances, Later, Progressing};
use crate::model::server::{ActualState, DesiredState};

/// What every task may use.
pub struct Context {
    /// The store's operations.
    pub domain: Domain,
    /// Where things lie.
    pub paths: Paths,
    /// How shims are started.
    pub starter: ShimStarter,
    /// SteamCMD, where the configuration names one.
    pub steamcmd: Option<PathBuf>,
    /// Limits of one instance.
    pub limits: Limits,
    /// How long a game may take to become ready.
    pub start_timeout: Duration,
    /// How often a running game is asked how it is.
    pub refresh: Duration,
}

/// A request to the task of one instance.
enum Request {
    Start { log: Arc<dyn Progressing>, answer: oneshot::Sender<Result<(), String>> },
    Stop { log: Arc<dyn Progressing>, answer: oneshot::Sender<Result<(), String>> },
    SendLine { line: String, answer: oneshot::Sender<Result<(), ConsoleError>> },
    IsAlive { answer: oneshot::Sender<bool> },
}

/// What pages may see of an instance without asking its task.
struct Window {
    grown: watch::Sender<ConsoleCursor>,
    facts: Mutex<Option<Facts>>,
    /// Process number of the game that runs, and its port; 0: none.
    game: Mutex<(i32, u16)>,
    /// Shared by all: see `Machine::changes`.
    changes: Arc<AtomicU64>,
}

struct Handle {
    requests: mpsc::Sender<Request>,
    window: Arc<Window>,
}

/// All tasks.
pub struct Supervisor {
    context: Arc<Context>,
    tasks: Mutex<HashMap<ServerId, Handle>>,
    snapshots: Snapshots,
    /// Who holds the sockets of the newest snapshot.
    owners: Owners,
    changes: Arc<AtomicU64>,
}

impl Supervisor {
    /// A supervisor that has not looked yet.
    pub fn new(context: Context) -> Arc<Self> {
        Arc::new(Self {
            context: Arc::new(context),
            tasks: Mutex::default(),
            snapshots: Snapshots::default(),
            owners: Owners::default(),
            changes: Arc::default(),
        })
    }

    /// Looks at every server that may have a process or should have one, and adopts or starts it. Answers when each
    /// was looked at; starting goes on.
    pub async fn adopt_all(self: &Arc<Self>) -> Result<(), String> {
        let context = self.context.clone();
        let servers = blocking::run(move || {
            let servers = context.domain.all_servers()?;
            let runs = crate::host::shim::client::runs(&context.paths).unwrap_or_default();
            // Those that were not running and have no trace on the machine are stopped: no task is needed to say so.
            let (mut active, mut stopped) = (Vec::new(), Vec::new());
            for server in servers {
                let traced = runs.contains(&Run::Server(HostId::of(server.id)));
                match (server.desired_state, server.actual_state) {
                    (DesiredState::Stopped, ActualState::Stopped | ActualState::Failed) if !traced => {}
                    (DesiredState::Stopped, _) if !traced => stopped.push(server.id),
                    (DesiredState::Stopped | DesiredState::Running, _) => active.push(server.id),
                }
            }
            if !stopped.is_empty() {
                context.domain.observe_stopped(&stopped)?;
            }
            Ok::<_, crate::domain::Refusal>(active)
        })
        .await
        .map_err(|error| error.to_string())?
        .map_err(|refusal| refusal.to_string())?;
        let mut looked = Vec::new();
        for server in servers {
            let (answer, answered) = oneshot::channel();
            self.send(server, Request::IsAlive { answer }).await;
            looked.push(answered);
        }
        for answered in looked {
            let _ = answered.await;
        }
        Ok(())
    }

    async fn send(self: &Arc<Self>, server: ServerId, request: Request) {
        let requests = self.handle(server, |handle| handle.requests.clone());
        // The task lives as long as its handle; a closed mailbox means that it panicked, and the dropped answer says so.
        let _ = requests.send(request).await;
    }

    fn handle<T>(self: &Arc<Self>, server: ServerId, look: impl FnOnce(&Handle) -> T) -> T {
        let mut tasks = self.lock();
        let handle = match tasks.entry(server) {
            std::collections::hash_map::Entry::Occupied(entry) if !entry.get().requests.is_closed() => entry.into_mut(),
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                entry.insert(self.spawn(server));
                entry.into_mut()
            }
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.spawn(server)),
        };
        look(handle)
    }

    fn spawn(self: &Arc<Self>, server: ServerId) -> Handle {
        let (requests, mailbox) = mpsc::channel(16);
        let end = crate::host::console::end(&self.context.paths, Run::Server(HostId::of(server))).unwrap_or(0);
        let window = Arc::new(Window {
            grown: watch::Sender::new(end),
            facts: Mutex::default(),
            game: Mutex::default(),
            changes: self.changes.clone(),
        });
        tokio::spawn(instance::own(self.context.clone(), server, mailbox, window.clone()));
        Handle { requests, window }
    }

    /// Processes and ports of our games, which are not foreign.
    fn ours(&self) -> Ours {
        let mut ours = Ours::default();
        for handle in self.lock().values() {
            let (pid, port) = *handle.window.game.lock().unwrap_or_else(PoisonError::into_inner);
            if pid != 0 {
                ours.pids.insert(pid);
                ours.ports.insert(port);
            }
        }
        ours
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Handle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(
        self: Arc<Self>,
        server: ServerId,
        request: impl FnOnce(oneshot::Sender<Result<(), String>>) -> Request,
    ) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        self.send(server, request(answer)).await;
        answered.await.unwrap_or_else(|_| Err("the task that owns this instance ended; try again".into()))
    }
}

/// The face that jobs see. A type of its own, because a request may have to spawn the task that it is for.
pub struct SupervisorHandle(pub Arc<Supervisor>);

impl Instances for SupervisorHandle {
    fn start(&self, server: ServerId, log: Arc<dyn Progressing>) -> Later<'_, Result<(), String>> {
        Box::pin(self.0.clone().ask(server, |answer| Request::Start { log, answer }))
    }

    fn stop(&self, server: ServerId, log: Arc<dyn Progressing>) -> Later<'_, Result<(), String>> {
        Box::pin(self.0.clone().ask(server, |answer| Request::Stop { log, answer }))
    }

    fn forget(&self, server: ServerId) {
        // Its mailbox closes with the handle, and its task ends.
        self.0.lock().remove(&server);
    }

    fn is_alive(&self, server: ServerId) -> Later<'_, bool> {
        let supervisor = self.0.clone();
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            supervisor.send(server, Request::IsAlive { answer }).await;
            answered.await.unwrap_or(false)
        })
    }
}
