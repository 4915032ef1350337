//! SteamCMD at work for an install: it is found or fetched, run under a shim as often as it takes, followed, and judged.
//!
//! Called by the install job only. What a run means is decided by `host::steam`; here it is carried out.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::attempt::Attempt;
use super::{Ending, Run, blocking};
use crate::host::launch::ExitStatus;
use crate::host::paths::{Paths, Run as HostRun};
use crate::host::shim::client::{Adoption, Client, Event, adopt as adopt_shim, start};
use crate::host::steam::{self, Line, Verdict};
use crate::host::steamcmd::{self, Program};
use crate::host::{console, fetch, layers, probe};
use crate::model::ansi::plain;
use crate::model::job::Progress;
use crate::model::machine::{ConsoleCursor, Progressing};
use crate::model::pace::{Meter, duration};
use crate::model::time::Timestamp;
use crate::model::user::Actor;

/// With less than this no install goes on: the store itself needs room.
pub(super) const LEAST_BYTES: u64 = 32 << 20;
/// Lines that are kept to be judged; what decides stands at the end.
const KEEP: usize = 500;
/// Bytes of console that are looked at in one go.
const CHUNK: usize = 64 << 10;
/// Lines of the job's log that are read in one go.
const LINES: usize = 1_000;
/// Bytes of one line: what has no end is cut.
const LINE: usize = 64 << 10;
/// Progress is stored at most this often.
const PROGRESS: Duration = Duration::from_millis(500);
/// What the line begins with that says what is run: every run begins with a command. The lines that the run prints follow it in the job's log.
const LAUNCHED: &str = "steamcmd +";
/// Lines that may wait for the store before the console is read on.
const BACKLOG: usize = 20_000;

/// The program that is there. Without one, `None`; without the libraries that it or the game needs, a refusal: now, not
/// after gigabytes.
pub(super) fn find(run: &Run) -> Result<Option<Program>, Ending> {
    let program = Program::find(&run.context.paths, run.context.steamcmd.as_deref())?;
    // What will be fetched is Valve's, a 32-bit program.
    let missing = if program.as_ref().is_none_or(Program::is_32_bit) { probe::missing_libraries() } else { Vec::new() };
    if missing.is_empty() {
        return Ok(program);
    }
    Err(Ending::failed(format!(
        "SteamCMD and the game are 32-bit programs, and this box lacks {}. Nothing was downloaded. {}",
        missing.join(", "),
        probe::LIBRARIES
    )))
}

/// Fetches Valve's, where there is none.
pub(super) async fn fetch(run: &Run) -> Result<Program, Ending> {
    let (paths, url) = (&run.context.paths, &run.context.steamcmd_url);
    run.log.say(&format!("SteamCMD is not installed: fetching it from {url}"));
    let sweep = || {
        let paths = paths.clone();
        blocking(move || fetch::sweep(&paths).map_err(|error| Ending::failed(error.to_string())))
    };
    sweep().await?;
    let fetched = download(run).await;
    let swept = sweep().await;
    fetched?;
    swept?;
    let program = Program::find(paths, None)?;
    program.ok_or_else(|| Ending::failed("SteamCMD was fetched and is gone again: install once more"))
}

async fn download(run: &Run) -> Result<(), Ending> {
    let (paths, url) = (&run.context.paths, &run.context.steamcmd_url);
    let (sender, mut told) = tokio::sync::watch::channel((0, 0));
    let mut cancelled = run.log.cancelled();
    let mut teller = Teller::default();
    let downloading = fetch::download(paths, url, |done, total| {
        sender.send_replace((done, total));
    });
    tokio::pin!(downloading);
    loop {
        tokio::select! {
            result = &mut downloading => break result.map_err(|error| Ending::failed(error.to_string()))?,
            Ok(()) = told.changed() => {
                let (done, total) = *told.borrow_and_update();
                teller.tell(run, Progress { phase: "fetching SteamCMD".into(), done, total }).await;
            }
            () = asked_to_end(&mut cancelled) => return Err(Ending::Cancelled),
        }
    }
    let bytes = told.borrow().0;
    let (paths, url) = (paths.clone(), url.clone());
    blocking(move || fetch::unpack(&paths, &url).map_err(|error| Ending::failed(error.to_string()))).await?;
    run.log.say(&format!("SteamCMD is there ({:.1} MiB)", bytes as f64 / f64::from(1 << 20)));
    Ok(())
}

/// Lets a SteamCMD that has never run update itself, which is when it says "Missing configuration" else (domain.md). What
/// it says matters only where no later run could do better.
pub(super) async fn settle(run: &Run, program: &Program, attempt: &Attempt) -> Result<(), Ending> {
    let client = launch(run, program, attempt, steam::settle_arguments()).await?;
    let deadline = Instant::now() + run.context.timeouts.install;
    let Followed { lines, exit, .. } = follow(run, client, attempt.from, VecDeque::new(), deadline).await?;
    match steam::judge(&lines, exit.as_ref().and_then(|exit| exit.code), 1, false, false) {
        Verdict::Failed(error) => Err(Ending::failed(error)),
        Verdict::Done | Verdict::Retry { .. } | Verdict::NextStrategy(_) => Ok(()),
    }
}

/// Runs SteamCMD until the game is in the new layer, by whatever way leads there. `resumed`: a run of it may be under way.
/// Answers with what succeeded.
pub(super) async fn work(
    run: &Run,
    program: &Program,
    mut attempt: Attempt,
    mut resumed: bool,
) -> Result<Attempt, Ending> {
    let limits = run.context.timeouts;
    let deadline = Instant::now() + limits.install;
    loop {
        let known = if resumed { stored_since_launch(run).await? } else { VecDeque::new() };
        let client = if resumed {
            match adopt_shim(&run.context.paths, HostRun::Install(run.job.id)).await {
                Ok(Adoption::Running(client)) => Some(client),
                Ok(Adoption::Exited(_) | Adoption::Gone) | Err(_) => None,
            }
        } else {
            try_again(run, program, &mut attempt).await?
        };
        resumed = false;
        let Followed { lines, exit, silent } = follow(run, client, attempt.from, known, deadline).await?;
        let last = attempt.pass + 1 == attempt.strategy.passes();
        let code = exit.as_ref().and_then(|exit| exit.code);
        let verdict = match steam::judge(&lines, code, attempt.tries, last, has_game(&run.context.paths, &attempt)) {
            // One that had done its work and did not end has done its work.
            Verdict::Done => Verdict::Done,
            _ if silent => steam::judge_silence(limits.silence.as_secs(), attempt.tries),
            verdict => verdict,
        };
        match or_full(run, verdict).await? {
            Verdict::Done if last => return Ok(attempt),
            Verdict::Done => {
                attempt.pass += 1;
                attempt.tries = 0;
            }
            Verdict::Retry { after, reason } => {
                run.log.complain(&reason);
                pause(run, Duration::from_secs(after)).await?;
            }
            Verdict::NextStrategy(reason) => {
                run.log.complain(&reason);
                // An account counts only where one has logged in on this box (`left4me install --login`).
                let next = attempt.strategy.next(steamcmd::account(&run.context.paths).is_some()).ok_or_else(|| {
                    Ending::failed(format!(
                        "{reason}. No other way is left: log in with an account that owns the game, by `left4me install --login USER` on the box"
                    ))
                })?;
                run.log.say(&format!("trying {}", next.describe()));
                attempt.strategy = next;
                attempt.pass = 0;
                attempt.tries = 0;
            }
            Verdict::Failed(error) => {
                return Err(Ending::Failed { error, exit_code: exit.and_then(|exit| exit.code).unwrap_or(1).max(1) });
            }
        }
    }
}

/// A try that failed on a full disk need not have been able to say so: neither SteamCMD nor its console could write.
async fn or_full(run: &Run, verdict: Verdict) -> Result<Verdict, Ending> {
    if !matches!(verdict, Verdict::Retry { .. }) {
        return Ok(verdict);
    }
    let paths = run.context.paths.clone();
    let free = blocking(move || layers::free_bytes(&paths).map_err(|error| Ending::failed(error.to_string()))).await?;
    Ok(if free < LEAST_BYTES { Verdict::Failed(steam::DISK_FULL.into()) } else { verdict })
}

/// Whether the new layer, over what lies below it, is a game that could be started.
pub(super) fn has_game(paths: &Paths, attempt: &Attempt) -> bool {
    steam::PROGRAMS.iter().any(|program| layers::has_executable(paths, attempt.layer, &attempt.base, program))
}

/// Starts the next try. `None`: it has ended already.
async fn try_again(run: &Run, program: &Program, attempt: &mut Attempt) -> Result<Option<Client>, Ending> {
    let (paths, job) = (&run.context.paths, run.job.id);
    attempt.tries += 1;
    attempt.from = console::end(paths, HostRun::Install(job)).unwrap_or(0);
    attempt.save(paths, job)?;
    if attempt.strategy == steam::Strategy::Manifest && attempt.pass == 0 {
        let file = paths.new_layer(attempt.layer).join(steam::MANIFEST_PATH);
        std::fs::write(&file, steam::MANIFEST)
            .map_err(|error| Ending::failed(format!("{} cannot be written: {error}", file.display())))?;
    }
    let account = steamcmd::account(paths);
    launch(run, program, attempt, steam::arguments(attempt.strategy, attempt.pass, account.as_deref())).await
}

async fn launch(
    run: &Run,
    program: &Program,
    attempt: &Attempt,
    arguments: Vec<String>,
) -> Result<Option<Client>, Ending> {
    let (paths, job) = (&run.context.paths, run.job.id);
    let line = format!("steamcmd {}", arguments.join(" "));
    debug_assert!(line.starts_with(LAUNCHED), "{line}");
    run.log.say(&line);
    let launch = layers::steamcmd_launch(
        paths,
        job,
        attempt.layer,
        &attempt.base,
        &program.launched(),
        arguments,
        &run.context.limits,
    );
    start_or_ended(run, &launch).await
}

/// Starts a program of an install. One that ended before anybody could listen has been started all the same: what it
/// printed is read, and how it ended.
pub(super) async fn start_or_ended(run: &Run, launch: &crate::host::launch::Launch) -> Result<Option<Client>, Ending> {
    let began = Timestamp::now();
    match start(&run.context.starter, launch).await {
        Ok(client) => Ok(Some(client)),
        Err(error) => match adopt_shim(&run.context.paths, HostRun::Install(run.job.id)).await {
            // An older one is how the run before it ended.
            Ok(Adoption::Exited(status)) if status.at >= began.0 => Ok(None),
            Ok(Adoption::Running(_) | Adoption::Exited(_) | Adoption::Gone) | Err(_) => {
                Err(Ending::failed(error.to_string()))
            }
        },
    }
}

/// What a run of SteamCMD came to.
struct Followed {
    /// What it printed last.
    lines: Vec<String>,
    /// How it ended, where that is known.
    exit: Option<ExitStatus>,
    /// It was silent for too long, and was ended for that.
    silent: bool,
}

/// Lines of the job's log since the last run of SteamCMD was launched: what a former daemon has stored of that run, and
/// what it said itself in between.
async fn stored_since_launch(run: &Run) -> Result<VecDeque<String>, Ending> {
    let id = run.job.id;
    let mut known = VecDeque::new();
    let mut after = 0;
    loop {
        let lines = run.domain(move |domain| domain.lines_after(&Actor::system(), id, after, LINES)).await?;
        let Some((last, _)) = lines.last() else { return Ok(known) };
        after = *last;
        for (_, line) in lines {
            if line.text.starts_with(LAUNCHED) {
                known.clear();
            }
            known.push_back(line.text);
        }
    }
}

/// Follows one run of SteamCMD to its end: its lines into the job's log, its progress into the job. `None`: it has ended
/// already, only its output is read.
async fn follow(
    run: &Run,
    mut client: Option<Client>,
    from: ConsoleCursor,
    known: VecDeque<String>,
    deadline: Instant,
) -> Result<Followed, Ending> {
    let limits = run.context.timeouts;
    let mut cancelled = run.log.cancelled();
    let mut reader = Reader { next: from, known, ..Reader::default() };
    let mut exit = None;
    let mut heard = Instant::now();
    let (mut silent, mut late) = (false, false);
    let mut was_cancelled = *cancelled.borrow();
    if was_cancelled && let Some(client) = &mut client {
        let _ = client.stop().await;
    }
    while let Some(shim) = &mut client {
        tokio::select! {
            event = shim.next_event() => match event {
                Event::Output(_) => {
                    heard = Instant::now();
                    reader.read(run).await?;
                }
                Event::Refused(text) => log::warn!("job {}: its shim did not do what was asked: {text}", run.job.id),
                Event::Exit(status) => {
                    exit = Some(status);
                    client = None;
                }
                Event::Lost => client = None,
            },
            changed = cancelled.changed(), if !was_cancelled => {
                was_cancelled = true;
                if changed.is_ok() {
                    run.log.say("ending SteamCMD");
                    let _ = shim.stop().await;
                }
            }
            () = sleep_until(heard + limits.silence), if !silent => {
                silent = true;
                let _ = shim.kill().await;
            }
            () = sleep_until(deadline), if !late => {
                late = true;
                let _ = shim.kill().await;
            }
        }
    }
    reader.read(run).await?;
    reader.finish(run);
    if was_cancelled {
        return Err(Ending::Cancelled);
    }
    if late {
        return Err(Ending::failed(format!(
            "the install took longer than {} and was ended: look at the network and the disk, then install again",
            duration(limits.install.as_secs())
        )));
    }
    if exit.is_none() {
        exit = match adopt_shim(&run.context.paths, HostRun::Install(run.job.id)).await {
            Ok(Adoption::Exited(status)) => Some(status),
            Ok(Adoption::Running(_) | Adoption::Gone) | Err(_) => None,
        };
    }
    Ok(Followed { lines: reader.lines.into(), exit, silent })
}

/// Stores progress now and then, with the pace that it has.
#[derive(Default)]
struct Teller {
    began: Option<Instant>,
    stored: Option<Instant>,
    meter: Meter,
}

impl Teller {
    async fn tell(&mut self, run: &Run, progress: Progress) {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let pace = self.meter.measure(now.duration_since(began).as_millis() as u64, &progress);
        let is_done = progress.done == progress.total;
        if !is_done && self.stored.is_some_and(|stored| now.duration_since(stored) < PROGRESS) {
            return;
        }
        self.stored = Some(now);
        let id = run.job.id;
        run.context.domain.hub().set_pace(id, pace);
        if let Err(error) = run.domain(move |domain| domain.set_progress(id, progress)).await {
            log::warn!("job {id}: its progress cannot be stored: {error}");
        }
    }
}

/// Cuts console bytes into lines. A carriage return ends a line too: progress is printed so.
#[derive(Default)]
struct Reader {
    next: ConsoleCursor,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    /// Lines of the log that may come again: the console is read anew from the beginning of the run.
    known: VecDeque<String>,
    teller: Teller,
}

impl Reader {
    async fn read(&mut self, run: &Run) -> Result<(), Ending> {
        loop {
            // The store sets the pace: a console that grows faster waits on the disk, not in memory.
            if run.log.backlog() > BACKLOG {
                let mut cancelled = run.log.cancelled();
                tokio::select! {
                    () = run.log.flush() => {}
                    () = asked_to_end(&mut cancelled) => return Ok(()),
                }
            }
            let (paths, shim, from) = (run.context.paths.clone(), HostRun::Install(run.job.id), self.next);
            let chunk = blocking(move || {
                console::read(&paths, shim, from, CHUNK)
                    .map_err(|error| Ending::failed(format!("SteamCMD's output cannot be read: {error}")))
            })
            .await?;
            if chunk.bytes.is_empty() {
                return Ok(());
            }
            self.next = chunk.start + chunk.bytes.len() as u64;
            for byte in chunk.bytes {
                if matches!(byte, b'\n' | b'\r') {
                    self.line(run).await;
                } else if self.partial.len() < LINE {
                    self.partial.push(byte);
                }
            }
        }
    }

    fn finish(&mut self, run: &Run) {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        if !rest.trim().is_empty() {
            self.say(run, &rest);
            self.lines.push_back(plain(&rest).into_owned());
        }
    }

    /// Puts a line into the log, unless a former daemon has. What that one stored of the run are its first lines, in
    /// order; the first line that is not among them is where it stopped.
    fn say(&mut self, run: &Run, printed: &str) {
        let stored = self.known.iter().position(|line| *line == run.log.stored(printed));
        if let Some(at) = stored {
            self.known.drain(..=at);
        } else {
            self.known.clear();
            run.log.say(printed);
        }
    }

    async fn line(&mut self, run: &Run) {
        let printed = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        let line = plain(&printed).into_owned();
        if line.trim().is_empty() {
            return;
        }
        if let Line::Progress(progress) = steam::parse_line(&line) {
            return self.teller.tell(run, progress).await;
        }
        self.say(run, &printed);
        self.lines.push_back(line);
        if self.lines.len() > KEEP {
            self.lines.pop_front();
        }
    }
}

/// Waits until somebody asks the job to end.
async fn asked_to_end(cancelled: &mut tokio::sync::watch::Receiver<bool>) {
    // The other end lives as long as the job's log.
    let _ = cancelled.wait_for(|cancelled| *cancelled).await;
}

async fn pause(run: &Run, time: Duration) -> Result<(), Ending> {
    let mut cancelled = run.log.cancelled();
    match tokio::time::timeout(time, cancelled.wait_for(|cancelled| *cancelled)).await {
        Ok(_) => Err(Ending::Cancelled),
        Err(_) => Ok(()),
    }
}
