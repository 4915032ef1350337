//! The task that owns one instance: it alone launches, ends and observes it.
//!
//! States and transitions are drawn in `policy.rs`. Everything that can wait is one arm of one `select!`: requests,
//! the shim's events, the start deadline, the end of a back-off, and the A2S question that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::policy::{AfterCrash, Crashes, Effect, Input, Phase, step};
use super::ready::{Scanner, Sign};
use super::{Context, Request, Window};
use crate::domain::Refusal;
use crate::host::launch::ExitStatus;
use crate::host::paths::{Paths, Run};
use crate::host::shim::client::{Adoption, Client, Event, adopt, start};
use crate::host::{console, instance};
use crate::model::id::{HostId, ServerId};
use crate::model::machine::{ConsoleCursor, ConsoleError, Facts};
use crate::model::server::{ActualState, DesiredState, Server};
use crate::model::spec::InstanceSpec;
use crate::query::a2s;

/// Bytes of console that are looked at in one go.
const CHUNK: usize = 64 << 10;
/// Console lines that an error shows.
const LAST_LINES: usize = 12;
/// How long one A2S answer may take. Silence is never a reason to end a game.
const A2S_TIMEOUT: Duration = Duration::from_millis(1500);

type Answer = oneshot::Sender<Result<(), String>>;
type Question = Pin<Box<dyn Future<Output = Option<Facts>> + Send + Sync>>;

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
    deadline: Option<Instant>,
    wake: Option<Instant>,
    scanner: Scanner,
    /// Console bytes before this were looked at.
    scanned: ConsoleCursor,
    /// Where the console of the game that runs now begins.
    began: ConsoleCursor,
    /// Why a start is being given up.
    reason: Option<String>,
    question: Option<Question>,
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
    let mut refresh = interval(context.refresh);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        deadline: None,
        wake: None,
        scanner: Scanner::default(),
        scanned: 0,
        began: 0,
        reason: None,
        question: None,
        blind: false,
        unstored: None,
    };
    owner.look().await;
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
            facts = answer(&mut owner.question) => owner.answered(facts).await,
            _ = refresh.tick(), if owner.client.is_some() || owner.blind || owner.unstored.is_some() => owner.refresh().await,
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

async fn answer(question: &mut Option<Question>) -> Option<Facts> {
    match question {
        Some(asked) => asked.await,
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

    /// The first look: what does the machine say, and what should be?
    async fn look(&mut self) {
        let found = adopt(&self.context.paths, self.run()).await;
        self.blind = found.is_err();
        let Some(record) = self.record().await else { return };
        self.port = record.port;
        let wanted = record.desired_state == DesiredState::Running && record.actual_state != ActualState::Failed;
        match found {
            Ok(Adoption::Running(client)) => {
                log::info!("server {}: its game (pid {}) goes on", self.id, client.pid());
                if let Ok(spec) = self.spec().await {
                    // The port that the game was started with; the record may have another since.
                    self.port = spec.port;
                }
                self.hold(Some(client));
                self.began = self.console_at(|paths, run| console::tail(paths, run, LAST_LINES)).await;
                if record.actual_state == ActualState::Running {
                    self.phase = Phase::Running;
                    self.ask_how_it_is();
                } else {
                    self.phase = Phase::Starting { by_job: false };
                    self.scanned = self.console_at(console::begin).await;
                    self.deadline = Some(Instant::now() + self.context.start_timeout);
                    self.observe(ActualState::Starting, None).await;
                    self.read_console().await;
                }
            }
            Ok(Adoption::Exited(status)) if wanted && !status.asked => {
                self.phase = Phase::Running;
                self.ended(&format!("the game ended by itself ({status})"), false).await;
            }
            Ok(Adoption::Exited(_) | Adoption::Gone) if wanted && !self.job_decides().await => {
                match self.spec().await {
                    // The box was started anew, or the shim was killed: the game should run, so it will.
                    Ok(_) => {
                        self.phase = Phase::Waiting;
                        self.wake = Some(Instant::now());
                    }
                    // It never got as far as a first start.
                    Err(error) => self.observe(ActualState::Stopped, Some(error)).await,
                }
            }
            Ok(Adoption::Exited(_) | Adoption::Gone) => {
                if record.actual_state == ActualState::Failed {
                    self.phase = Phase::Failed;
                } else {
                    self.observe(ActualState::Stopped, record.last_error).await;
                }
            }
            Err(error) => {
                log::error!("server {}: its shim cannot be asked: {error}", self.id);
                self.observe(ActualState::Unknown, Some(format!("its shim cannot be asked: {error}"))).await;
            }
        }
    }

    async fn take(&mut self, request: Request) {
        if self.blind {
            self.look().await;
        }
        match request {
            Request::Start { log, answer } => {
                if self.phase == Phase::Stopping {
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
        self.ended(&format!("the game ended by itself ({status})"), dismissed).await;
    }

    /// The process ended, whoever wanted it.
    async fn ended(&mut self, how: &str, dismissed: bool) {
        self.deadline = None;
        self.question = None;
        self.set_facts(None);
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
            let read = tokio::task::spawn_blocking(move || console::read(&paths, run, from, CHUNK)).await;
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
                self.ask_how_it_is();
            }
            Effect::AnnounceStopped => {
                self.reason = None;
                self.observe(ActualState::Stopped, None).await;
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
        self.began = self.console_at(console::end).await;
        self.scanned = self.began;
        match self.try_launch().await {
            Ok(client) => {
                self.hold(Some(client));
                self.deadline = Some(Instant::now() + self.context.start_timeout);
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
        let (paths, limits) = (self.context.paths.clone(), self.context.limits.clone());
        let launch = tokio::task::spawn_blocking(move || instance::launch_of(&paths, &spec, &limits))
            .await
            .map_err(|error| error.to_string())?;
        start(&self.context.starter, &launch).await.map_err(|error| error.to_string())
    }

    async fn spec(&self) -> Result<InstanceSpec, String> {
        let (paths, host) = (self.context.paths.clone(), HostId::of(self.id));
        tokio::task::spawn_blocking(move || instance::read_spec(&paths, host))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())
    }

    /// A place in the console; its beginning where it cannot be read.
    async fn console_at(
        &self,
        look: impl FnOnce(&Paths, Run) -> std::io::Result<ConsoleCursor> + Send + 'static,
    ) -> ConsoleCursor {
        let (paths, run) = (self.context.paths.clone(), self.run());
        match tokio::task::spawn_blocking(move || look(&paths, run)).await {
            Ok(Ok(cursor)) => cursor,
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn refresh(&mut self) {
        if let Some((state, error)) = self.unstored.take() {
            self.observe(state, error).await;
        }
        if self.blind {
            self.look().await;
        } else {
            self.ask_how_it_is();
        }
    }

    /// The wait after a crash is over. The owner may have asked for a stop that waits for its turn: then nothing starts.
    async fn back_off_over(&mut self) {
        let wanted = self.record().await.is_some_and(|server| server.desired_state == DesiredState::Running);
        self.input(if wanted { Input::BackoffOver } else { Input::StopAsked }).await;
    }

    fn ask_how_it_is(&mut self) {
        if self.question.is_some() || self.port == 0 {
            return;
        }
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        self.question = Some(Box::pin(async move {
            let (info, round_trip) = a2s::info(address, A2S_TIMEOUT).await.ok()?;
            Some(Facts {
                players: Some(u32::from(info.humans())),
                bots: Some(u32::from(info.bots)),
                max_players: Some(u32::from(info.max_players)),
                ping_ms: Some(round_trip.as_millis() as u32),
                map: Some(info.map),
            })
        }));
    }

    async fn answered(&mut self, facts: Option<Facts>) {
        self.question = None;
        // Silence keeps the last facts: rate limits and loopback filters are common, and no sign of trouble.
        let Some(facts) = facts else { return };
        self.set_facts(Some(facts));
        if matches!(self.phase, Phase::Starting { .. }) && self.reason.is_none() {
            // An adopted game whose ready line is no longer in the segments.
            self.input(Input::Ready).await;
        }
    }

    fn set_facts(&self, facts: Option<Facts>) {
        *self.window.facts.lock().unwrap_or_else(PoisonError::into_inner) = facts;
    }

    async fn last_lines(&self) -> String {
        let (paths, run, began) = (self.context.paths.clone(), self.run(), self.began);
        let read = tokio::task::spawn_blocking(move || {
            let from = console::tail(&paths, run, LAST_LINES)?.max(began);
            console::read(&paths, run, from, CHUNK)
        })
        .await;
        match read {
            Ok(Ok(chunk)) => String::from_utf8_lossy(&chunk.bytes).replace('\r', "").trim_end().to_owned(),
            Ok(Err(_)) | Err(_) => String::new(),
        }
    }

    async fn observe(&mut self, state: ActualState, error: Option<String>) {
        let (domain, id, kept) = (self.context.domain.clone(), self.id, (state, error.clone()));
        let written = tokio::task::spawn_blocking(move || domain.observe(id, state, error)).await;
        self.unstored = matches!(written, Ok(Err(Refusal::Store(_)))).then_some(kept);
        self.tell(written);
    }

    /// Whether a job is queued or under way that will start or end the game: then this look starts nothing.
    async fn job_decides(&self) -> bool {
        let domain = self.context.domain.clone();
        let active = tokio::task::spawn_blocking(move || domain.active_jobs()).await;
        active.is_ok_and(|active| {
            active.is_ok_and(|jobs| {
                jobs.iter().any(|job| job.server_id == Some(self.id) && job.operation.desired().is_some())
            })
        })
    }

    async fn record(&self) -> Option<Server> {
        let (domain, id) = (self.context.domain.clone(), self.id);
        match tokio::task::spawn_blocking(move || domain.server_record(id)).await {
            Ok(Ok(record)) => record,
            Ok(Err(refusal)) => {
                log::error!("server {}: its record cannot be read: {refusal}", self.id);
                None
            }
            Err(error) => {
                log::error!("server {}: its record cannot be read: {error}", self.id);
                None
            }
        }
    }

    fn tell<T>(&self, written: Result<crate::domain::Result<T>, tokio::task::JoinError>) {
        match written {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => log::error!("server {}: what was observed cannot be stored: {refusal}", self.id),
            Err(error) => log::error!("server {}: what was observed cannot be stored: {error}", self.id),
        }
    }
}

fn answer_all(waiting: &mut Vec<Answer>, result: &Result<(), String>) {
    for answer in waiting.drain(..) {
        let _ = answer.send(result.clone());
    }
}
