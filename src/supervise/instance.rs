//! The task that owns one instance: it alone launches, ends and observes it.
//!
//! States and transitions are drawn in `policy.rs`. Everything that can wait is one arm of one `select!`: requests,
//! the shim's events, the start deadline, the end of a back-off, and the look at the game that is under way.

mod find;
mod record;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::look::{Eye, Seen, Target};
use super::policy::{AfterCrash, Crashes, Effect, Input, Phase, step};
use super::ready::{Scanner, Sign};
use super::room::has_room;
use super::{Context, Request, Window};
use crate::blocking;
use crate::host::launch::ExitStatus;
use crate::host::paths::Run;
use crate::host::shim::client::{Adoption, Client, Event, adopt, start};
use crate::host::{console, instance, ports};
use crate::model::id::{HostId, ServerId};
use crate::model::machine::{ConsoleCursor, ConsoleError, Facts, Progressing};
use crate::model::server::{ActualState, DesiredState};
use crate::query::status;

/// Bytes of console that are looked at in one go.
const CHUNK: usize = 64 << 10;
/// SIGKILL.
const KILLED: i32 = 9;
/// Console lines that an error shows.
const LAST_LINES: usize = 12;
/// Processes below the limit from which on a game counts as being at it: the kernel refuses the next.
const CROWDED: u64 = 2;

type Answer = oneshot::Sender<Result<(), String>>;
type Look = Pin<Box<dyn Future<Output = (Eye, Seen)> + Send + Sync>>;

struct Owner {
    context: Arc<Context>,
    id: ServerId,
    window: Arc<Window>,
    phase: Phase,
    client: Option<Client>,
    port: u16,
    crashes: Crashes,
    born: Instant,
    starters: Vec<Answer>,
    stoppers: Vec<Answer>,
    /// The log of the job that asked for the end.
    stop_log: Option<Arc<dyn Progressing>>,
    deadline: Option<Instant>,
    wake: Option<Instant>,
    scanner: Scanner,
    /// Console bytes before this were looked at.
    scanned: ConsoleCursor,
    /// Where the console of the game that runs now begins.
    began: ConsoleCursor,
    /// Why a start is being given up, or a game ended for good.
    reason: Option<String>,
    /// That a stop took force.
    killed: Option<String>,
    /// What looks remember; taken by the look that is under way.
    eye: Option<Eye>,
    look: Option<Look>,
    /// When the next look is due.
    look_at: Instant,
    /// RCON password of the game that runs.
    password: Option<String>,
    /// It is known to have as many processes as it may.
    crowded: bool,
    /// The shim could not be asked: look again before anything is done.
    blind: bool,
    /// What was observed and the store could not take (a full disk): offered again with the next look.
    unstored: Option<(ActualState, Option<String>)>,
}

/// Owns the instance until the supervisor drops its mailbox.
pub(super) async fn own(
    context: Arc<Context>,
    id: ServerId,
    mut mailbox: mpsc::Receiver<Request>,
    window: Arc<Window>,
) {
    let mut owner = Owner {
        context,
        id,
        window,
        phase: Phase::Down,
        client: None,
        port: 0,
        crashes: Crashes::default(),
        born: Instant::now(),
        starters: Vec::new(),
        stoppers: Vec::new(),
        stop_log: None,
        deadline: None,
        wake: None,
        scanner: Scanner::default(),
        scanned: 0,
        began: 0,
        reason: None,
        killed: None,
        eye: None,
        look: None,
        look_at: Instant::now(),
        password: None,
        crowded: false,
        blind: false,
        unstored: None,
    };
    owner.find().await;
    loop {
        tokio::select! {
            // Whoever asks is answered first: a look at many servers waits for each.
            biased;
            request = mailbox.recv() => match request {
                Some(request) => owner.take(request).await,
                None => return,
            },
            event = next_event(&mut owner.client) => owner.seen(event).await,
            () = until(owner.deadline) => owner.start_timed_out().await,
            () = until(owner.wake) => {
                owner.wake = None;
                owner.back_off_over().await;
            }
            (eye, seen) = looked(&mut owner.look) => owner.looked(eye, seen).await,
            () = sleep_until(owner.look_at), if owner.look.is_none() && (owner.client.is_some() || owner.blind || owner.unstored.is_some()) => {
                owner.refresh().await;
            }
        }
    }
}

async fn next_event(client: &mut Option<Client>) -> Event {
    match client {
        Some(client) => client.next_event().await,
        None => std::future::pending().await,
    }
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

async fn looked(look: &mut Option<Look>) -> (Eye, Seen) {
    match look {
        Some(look) => look.await,
        None => std::future::pending().await,
    }
}

impl Owner {
    fn run(&self) -> Run {
        Run::Server(HostId::of(self.id))
    }

    /// Takes or leaves the connection to the shim.
    fn hold(&mut self, client: Option<Client>) {
        let game = client.as_ref().map_or((0, 0), |client| (client.pid(), self.port));
        *self.window.game.lock().unwrap_or_else(PoisonError::into_inner) = game;
        self.client = client;
    }

    async fn take(&mut self, request: Request) {
        if self.blind {
            self.find().await;
        }
        match request {
            Request::Start { log, answer } => {
                if matches!(self.phase, Phase::Stopping | Phase::Condemned) {
                    let _ = answer.send(Err("the game is still ending; try again".into()));
                    return;
                }
                log.say("launching the game");
                self.starters.push(answer);
                self.crashes.forget();
                self.wake = None;
                self.input(Input::StartAsked).await;
            }
            Request::Stop { log, answer } => {
                if self.client.is_some() {
                    log.say("telling the game to quit");
                }
                self.stop_log = Some(log);
                self.stoppers.push(answer);
                self.crashes.forget();
                self.wake = None;
                self.input(Input::StopAsked).await;
            }
            Request::SendLine { line, answer } => {
                let sent = match &mut self.client {
                    Some(client) => {
                        client.send_line(&line).await.map_err(|error| ConsoleError::Machine(error.to_string()))
                    }
                    None => Err(ConsoleError::NotRunning),
                };
                let _ = answer.send(sent);
            }
            Request::IsAlive { answer } => {
                let _ = answer.send(self.client.is_some());
            }
        }
    }

    async fn seen(&mut self, event: Event) {
        match event {
            Event::Output(end) => {
                self.window.grown.send_if_modified(|known| {
                    let grew = end > *known;
                    *known = end.max(*known);
                    grew
                });
                if matches!(self.phase, Phase::Starting { .. }) {
                    self.read_console().await;
                }
            }
            Event::Refused(text) => log::warn!("server {}: its shim did not do what was asked: {text}", self.id),
            Event::Exit(status) => {
                self.hold(None);
                self.exited(&status).await;
            }
            // The connection broke without a last word. The shim may live on (it drops clients that do not read).
            Event::Lost => {
                self.hold(None);
                match adopt(&self.context.paths, self.run()).await {
                    Ok(Adoption::Running(client)) => self.hold(Some(client)),
                    Ok(Adoption::Exited(status)) => self.exited(&status).await,
                    Ok(Adoption::Gone) => self.ended("its shim was killed, and the game with it", false).await,
                    Err(error) => {
                        log::error!("server {}: its shim cannot be asked: {error}", self.id);
                        self.blind = true;
                        self.observe(ActualState::Unknown, Some(format!("its shim cannot be asked: {error}"))).await;
                    }
                }
            }
        }
    }

    async fn exited(&mut self, status: &ExitStatus) {
        // A start that is given up ends on our word, which is no dismissal.
        let dismissed = status.asked && self.reason.is_none();
        if self.phase == Phase::Stopping && status.signal == Some(KILLED) {
            let text = "the game did not end when it was told to quit and interrupted: it was killed";
            if let Some(log) = self.stop_log.take() {
                log.complain(text);
            }
            self.killed = Some(text.into());
        }
        self.ended(&format!("the game ended by itself ({status})"), dismissed).await;
    }

    /// The process ended, whoever wanted it.
    async fn ended(&mut self, how: &str, dismissed: bool) {
        self.deadline = None;
        (self.eye, self.look) = (None, None);
        self.set_facts(None, false);
        let lines = self.last_lines().await;
        self.window.grown.send_replace(self.console_at(console::end).await);
        let reason = self.reason.take().unwrap_or_else(|| how.to_owned());
        self.reason = Some(if lines.is_empty() { reason } else { format!("{reason}\nIts last lines:\n{lines}") });
        self.input(if dismissed { Input::Dismissed } else { Input::Exited }).await;
    }

    async fn start_timed_out(&mut self) {
        self.deadline = None;
        let seconds = self.context.start_timeout.as_secs();
        self.reason = Some(format!(
            "the game was not ready after {seconds} s and was ended: look at its console, or raise start_timeout_seconds"
        ));
        self.input(Input::GaveUp).await;
    }

    /// Reads what the console says since the last look, for the signs of a start.
    async fn read_console(&mut self) {
        // A start that is being given up stays so, whatever its console says.
        while matches!(self.phase, Phase::Starting { .. }) && self.reason.is_none() {
            let (paths, run, from) = (self.context.paths.clone(), self.run(), self.scanned);
            let read = blocking::run(move || console::read(&paths, run, from, CHUNK)).await;
            let chunk = match read {
                Ok(Ok(chunk)) if !chunk.bytes.is_empty() => chunk,
                Ok(Ok(_)) => return,
                Ok(Err(error)) => return log::error!("server {}: its console cannot be read: {error}", self.id),
                Err(error) => return log::error!("server {}: its console cannot be read: {error}", self.id),
            };
            self.scanned = chunk.start + chunk.bytes.len() as u64;
            match self.scanner.feed(&chunk.bytes) {
                None => {}
                Some(Sign::Port(port)) if self.port == 0 || port == self.port => self.input(Input::Ready).await,
                Some(Sign::Port(port)) => {
                    self.reason = Some(format!(
                        "the game listens on port {port} instead of {}: it was ended; look for a plugin or an argument that changes the port",
                        self.port
                    ));
                    self.input(Input::GaveUp).await;
                    return;
                }
                Some(Sign::PortTaken) => {
                    self.reason = Some(format!(
                        "the game could not have port {}: another program took it since it was probed",
                        self.port
                    ));
                    self.input(Input::GaveUp).await;
                    return;
                }
            }
        }
    }

    async fn input(&mut self, input: Input) {
        let (next, effect) = step(self.phase, input);
        self.phase = next;
        match effect {
            Effect::None => {}
            Effect::Launch => self.launch().await,
            Effect::AlreadyUp => answer_all(&mut self.starters, &Ok(())),
            Effect::AlreadyDown => {
                self.observe(ActualState::Stopped, None).await;
                answer_all(&mut self.stoppers, &Ok(()));
            }
            Effect::EndGently | Effect::EndFailedStart => {
                self.deadline = None;
                let told = match &mut self.client {
                    Some(client) => client.stop().await,
                    None => Ok(()),
                };
                if let Err(error) = told {
                    // A broken connection; the next event says what became of the shim.
                    log::warn!("server {}: its shim does not take a stop: {error}", self.id);
                }
            }
            Effect::AnnounceReady => {
                self.deadline = None;
                self.reason = None;
                self.observe(ActualState::Running, None).await;
                answer_all(&mut self.starters, &Ok(()));
                self.look_at = Instant::now();
            }
            Effect::EndAtOnce => {
                self.deadline = None;
                let told = match &mut self.client {
                    Some(client) => client.kill().await,
                    None => Ok(()),
                };
                if let Err(error) = told {
                    log::warn!("server {}: its shim does not take a kill: {error}", self.id);
                }
            }
            Effect::AnnounceStopped => {
                let killed = self.killed.take();
                self.reason = None;
                self.observe(ActualState::Stopped, killed).await;
                answer_all(&mut self.starters, &Err("the server was stopped".into()));
                answer_all(&mut self.stoppers, &Ok(()));
            }
            Effect::AnnounceStartFailed => {
                let reason = self.reason.take().unwrap_or_else(|| "the game ended".into());
                self.observe(ActualState::Failed, Some(reason.clone())).await;
                answer_all(&mut self.starters, &Err(reason));
            }
            Effect::NoteDismissed => {
                self.reason = None;
                let text = "the box ended the game; it comes back with the box, or by a start";
                self.observe(ActualState::Stopped, Some(text.into())).await;
                answer_all(&mut self.starters, &Err(text.into()));
            }
            Effect::CountCrash => self.count_crash().await,
        }
    }

    async fn count_crash(&mut self) {
        let reason = self.reason.take().unwrap_or_else(|| "the game ended".into());
        match self.crashes.record(self.born.elapsed()) {
            AfterCrash::Restart(wait) => {
                let text = format!("{reason}\nIt is started again in {} s.", wait.as_secs());
                log::warn!("server {}: {}", self.id, text.lines().next().unwrap_or_default());
                self.wake = Some(Instant::now() + wait);
                // Not "stopped": the spec that it is started from again may name ports that its record has left.
                self.observe(ActualState::Starting, Some(text)).await;
            }
            AfterCrash::GiveUp => {
                self.phase = Phase::Failed;
                let text = format!("{reason}\nFive crashes in five minutes: it is not started again by itself.");
                log::error!("server {}: {}", self.id, text.lines().next().unwrap_or_default());
                self.observe(ActualState::Failed, Some(text)).await;
            }
        }
    }

    async fn launch(&mut self) {
        self.observe(ActualState::Starting, None).await;
        self.reason = None;
        self.scanner = Scanner::default();
        self.crowded = false;
        self.began = self.console_at(console::end).await;
        self.scanned = self.began;
        match self.try_launch().await {
            Ok(client) => {
                self.hold(Some(client));
                self.deadline = Some(Instant::now() + self.context.start_timeout);
                self.look_at = Instant::now() + self.context.refresh;
            }
            Err(error) => {
                self.reason = Some(error);
                // Boxed: `input` calls `launch`, which calls `input`.
                Box::pin(self.input(Input::Exited)).await;
            }
        }
    }

    async fn try_launch(&mut self) -> Result<Client, String> {
        let spec = self.spec().await?;
        self.port = spec.port;
        self.password = status::password(&spec.config, &spec.arguments);
        let (paths, limits) = (self.context.paths.clone(), self.context.limits.clone());
        let launch = blocking::run(move || {
            // A restart after a crash or a reboot has no job that looked: somebody may have taken the port meanwhile.
            std::iter::once(spec.port).chain(spec.tv_port).try_for_each(ports::probe)?;
            let launch = instance::launch_of(&paths, &spec, &limits);
            has_room(&launch.upper, limits.disk_max).map(|()| launch)
        })
        .await
        .map_err(|error| error.to_string())??;
        start(&self.context.starter, &launch).await.map_err(|error| error.to_string())
    }

    async fn refresh(&mut self) {
        self.look_at = Instant::now() + self.context.refresh;
        if let Some((state, error)) = self.unstored.take() {
            self.observe(state, error).await;
        }
        if self.blind {
            self.find().await;
        } else if let Some(state) = self.client.as_ref().and_then(|client| client.state().ok()) {
            let target = Target {
                paths: self.context.paths.clone(),
                run: self.run(),
                state,
                port: self.port,
                password: self.password.clone(),
                upper: self.context.paths.upper(HostId::of(self.id)),
                disk_max: self.context.limits.disk_max,
                refresh: self.context.refresh,
            };
            self.look = Some(Box::pin(self.eye.take().unwrap_or_default().look(target)));
        }
    }

    /// The wait after a crash is over. The owner may have asked for a stop that waits for its turn: then nothing starts.
    async fn back_off_over(&mut self) {
        let wanted = self.record().await.is_some_and(|server| server.desired_state == DesiredState::Running);
        self.input(if wanted { Input::BackoffOver } else { Input::StopAsked }).await;
    }

    async fn looked(&mut self, eye: Eye, seen: Seen) {
        self.look = None;
        self.eye = Some(eye);
        self.look_at = Instant::now() + seen.next;
        let processes = seen.facts.processes.unwrap_or(0);
        self.set_facts(Some(seen.facts), seen.sampled);
        if let Some(overflow) = seen.overflow {
            self.reason = Some(format!(
                "the game was ended: it wrote {}; see what it wrote, reset the server's own layer, or {}",
                overflow.what(),
                overflow.remedy()
            ));
            self.input(Input::Condemned).await;
            return;
        }
        if seen.answered && matches!(self.phase, Phase::Starting { .. }) && self.reason.is_none() {
            // An adopted game whose ready line is no longer in the segments.
            self.input(Input::Ready).await;
        }
        let limit = self.context.limits.pids_max.unwrap_or(u64::MAX);
        let crowded = processes.saturating_add(CROWDED) >= limit;
        if crowded && !self.crowded && self.phase == Phase::Running {
            let text = format!(
                "the game has {processes} processes, as many as pids_max ({limit}) allows: it can start no more; \
                 restart it, or raise pids_max"
            );
            log::warn!("server {}: {text}", self.id);
            self.observe(ActualState::Running, Some(text)).await;
        }
        self.crowded = crowded;
    }

    /// `sampled`: the last hour has a new sample.
    fn set_facts(&self, facts: Option<Facts>, sampled: bool) {
        let mut known = self.window.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = |facts: &Option<Facts>| {
            facts.as_ref().map(|facts| (facts.map.clone(), facts.players, facts.bots, facts.max_players))
        };
        let changed = sampled || shown(&known) != shown(&facts);
        *known = facts;
        if changed {
            self.window.changes.fetch_add(1, Ordering::Release);
        }
    }
}

fn answer_all(waiting: &mut Vec<Answer>, result: &Result<(), String>) {
    for answer in waiting.drain(..) {
        let _ = answer.send(result.clone());
    }
}
