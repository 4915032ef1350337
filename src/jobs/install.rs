//! Install: SteamCMD writes a new game layer over the current stack; success publishes it in one transaction.
//!
//! SteamCMD runs under a shim, so an install goes on while the daemon is restarted: what is tried and how often lies in
//! `attempt.yaml` beside the shim's files, and [`adopt`] finds it again. A failed, cancelled or lost install leaves
//! nothing behind and changes nothing: servers keep the layers that they have.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until};

use super::{Context, Ending, Run, blocking};
use crate::host::launch::ExitStatus;
use crate::host::layers;
use crate::host::paths::{Paths, Run as HostRun};
use crate::host::shim::client::{Adoption, Client, Event, adopt as adopt_shim, start};
use crate::host::steam::{self, Line, Strategy, Verdict};
use crate::host::steamcmd::{self, Program};
use crate::host::{console, instance};
use crate::model::id::{JobId, LayerId};
use crate::model::job::Job;
use crate::model::machine::{ConsoleCursor, Progressing};

/// What it does, in order. After a crash, `download` is taken up again while its shim lives; else nothing is left.
pub const STEPS: &[&str] = &["check", "layer", "download", "verify", "publish"];

/// SteamCMD says something at least this often while it works, slow disks included.
const SILENCE: Duration = Duration::from_mins(20);
/// Lines that are kept to be judged; what decides stands at the end.
const KEEP: usize = 500;
/// Bytes of console that are looked at in one go.
const CHUNK: usize = 64 << 10;
/// Progress is stored at most this often.
const PROGRESS: Duration = Duration::from_millis(500);
/// What the game takes, for the warning before the download.
const GAME_BYTES: u64 = 9 << 30;

/// One try of SteamCMD, written down before it begins.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Attempt {
    /// The layer that it writes.
    layer: LayerId,
    /// Layers below, newest first.
    base: Vec<LayerId>,
    /// What is tried.
    strategy: Strategy,
    /// Which pass of it.
    pass: usize,
    /// How often this pass was tried, this time included.
    tries: u32,
    /// Where its output begins.
    from: ConsoleCursor,
}

/// Installs whose shim still works or has just ended: they go on. What other installs left is removed.
pub async fn adopt(context: &Context, running: &[Job]) -> Result<Vec<JobId>, String> {
    let mut adopted = Vec::new();
    let mut busy = Vec::new();
    for job in running {
        let attempt = load(&context.paths, job.id);
        let found = adopt_shim(&context.paths, HostRun::Install(job.id)).await.map_err(|error| error.to_string())?;
        match (attempt, found) {
            // A shim without a readable attempt cannot be followed: it is ended with the sweep below.
            (Some(attempt), Adoption::Running(_) | Adoption::Exited(_)) => {
                busy.push(attempt.layer);
                adopted.push(job.id);
            }
            (None, Adoption::Running(client)) => end(client).await,
            (Some(_), Adoption::Gone) | (None, Adoption::Exited(_) | Adoption::Gone) => {}
        }
    }
    let (paths, keep) = (context.paths.clone(), adopted.clone());
    tokio::task::spawn_blocking(move || {
        let runs = crate::host::shim::client::runs(&paths)?;
        for run in runs {
            if let HostRun::Install(job) = run
                && !keep.contains(&job)
            {
                instance::remove_run(&paths, run)?;
            }
        }
        layers::sweep(&paths, &busy)
    })
    .await
    .map_err(|error| error.to_string())?
    .map_err(|error| format!("what an interrupted install left cannot be removed: {error}"))?;
    Ok(adopted)
}

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    let result = install(run).await;
    let (paths, job) = (run.context.paths.clone(), run.job.id);
    let failed = result.is_err();
    let cleaned = blocking(move || {
        let layer = load(&paths, job).map(|attempt| attempt.layer);
        instance::remove_run(&paths, HostRun::Install(job)).map_err(|error| Ending::failed(error.to_string()))?;
        match layer {
            Some(layer) if failed => layers::discard(&paths, layer).map_err(|error| Ending::failed(error.to_string())),
            Some(_) | None => Ok(()),
        }
    })
    .await;
    if let Err(error) = &cleaned {
        run.log.complain(&format!("what the install left cannot be removed: {error}"));
    }
    result
}

async fn install(run: &Run) -> Result<(), Ending> {
    let program = Program::find(&run.context.paths, run.context.steamcmd.as_deref())?;
    let mut attempt = match load(&run.context.paths, run.job.id) {
        Some(attempt) => {
            run.log.say("the daemon was started anew; the install goes on");
            attempt
        }
        None => begin(run, &program).await?,
    };
    let mut resumed = run.job.step.as_deref() == Some("download");
    run.step("download").await?;
    loop {
        let client = if resumed {
            match adopt_shim(&run.context.paths, HostRun::Install(run.job.id)).await {
                Ok(Adoption::Running(client)) => Some(client),
                Ok(Adoption::Exited(_) | Adoption::Gone) | Err(_) => None,
            }
        } else {
            Some(launch(run, &program, &mut attempt).await?)
        };
        let (lines, exit) = follow(run, client, attempt.from).await?;
        resumed = false;
        let last = attempt.pass + 1 == attempt.strategy.passes();
        let whole = has_game(&run.context.paths, &attempt);
        match steam::judge(&lines, exit.as_ref().and_then(|exit| exit.code), attempt.tries, last, whole) {
            Verdict::Done if last => break,
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
    run.step("verify").await?;
    if !has_game(&run.context.paths, &attempt) {
        return Err(Ending::failed("there is no executable srcds_run or srcds_linux in what SteamCMD wrote"));
    }
    run.step("publish").await?;
    let (paths, layer, job) = (run.context.paths.clone(), attempt.layer, run.job.id);
    let bytes = blocking(move || {
        layers::publish(&paths, layer)
            .map_err(|error| Ending::failed(format!("the new game layer cannot be published: {error}")))
    })
    .await?;
    let build = run.domain(move |domain| domain.publish_build(job, layer, bytes)).await?;
    run.log.say(&format!("build {} is published: servers take it at their next start", build.id));
    Ok(())
}

/// Checks what can be checked before gigabytes are fetched, and makes the new layer.
async fn begin(run: &Run, program: &Program) -> Result<Attempt, Ending> {
    run.step("check").await?;
    if program.is_32_bit() && !Path::new("/lib/ld-linux.so.2").exists() {
        return Err(Ending::failed(
            "SteamCMD and the game are 32-bit programs and the 32-bit loader is missing: Debian, Ubuntu: apt install lib32gcc-s1 \
             lib32stdc++6 libc6-i386 lib32z1; RPM systems: dnf install glibc.i686 libstdc++.i686 libgcc.i686",
        ));
    }
    let paths = run.context.paths.clone();
    let free = blocking(move || layers::free_bytes(&paths).map_err(|error| Ending::failed(error.to_string()))).await?;
    run.log.say(&format!("{:.1} GiB are free", free as f64 / f64::from(1 << 30)));
    let build = run.domain(crate::domain::Domain::active_build).await?;
    let base = build.map(|build| build.layers).unwrap_or_default();
    if base.is_empty() && free < GAME_BYTES {
        run.log.complain("the game takes about 9 GiB: this may not be enough");
    }
    run.step("layer").await?;
    let layer = run.domain(crate::domain::Domain::next_layer).await?;
    let attempt = Attempt { layer, base, strategy: Strategy::FIRST, pass: 0, tries: 0, from: 0 };
    save(&run.context.paths, run.job.id, &attempt)?;
    let paths = run.context.paths.clone();
    blocking(move || {
        layers::begin(&paths, layer)
            .map_err(|error| Ending::failed(format!("a new game layer cannot be made: {error}")))
    })
    .await?;
    run.log.say(&format!("trying {}", Strategy::FIRST.describe()));
    Ok(attempt)
}

async fn launch(run: &Run, program: &Program, attempt: &mut Attempt) -> Result<Client, Ending> {
    let (paths, job) = (&run.context.paths, run.job.id);
    attempt.tries += 1;
    attempt.from = console::end(paths, HostRun::Install(job)).unwrap_or(0);
    save(paths, job, attempt)?;
    if attempt.strategy == Strategy::Manifest && attempt.pass == 0 {
        let file = paths.new_layer(attempt.layer).join(steam::MANIFEST_PATH);
        std::fs::write(&file, steam::MANIFEST)
            .map_err(|error| Ending::failed(format!("{} cannot be written: {error}", file.display())))?;
    }
    let account = steamcmd::account(paths);
    let arguments = steam::arguments(attempt.strategy, attempt.pass, account.as_deref());
    run.log.say(&format!("steamcmd {}", arguments.join(" ")));
    let launch = layers::steamcmd_launch(
        paths,
        job,
        attempt.layer,
        &attempt.base,
        &program.launched(),
        arguments,
        &run.context.limits,
    );
    start(&run.context.starter, &launch).await.map_err(|error| Ending::failed(error.to_string()))
}

/// Follows one run of SteamCMD to its end: its lines into the job's log, its progress into the job. `None`: it has ended
/// already, only its output is read.
async fn follow(
    run: &Run,
    mut client: Option<Client>,
    from: ConsoleCursor,
) -> Result<(Vec<String>, Option<ExitStatus>), Ending> {
    let mut cancelled = run.log.cancelled();
    let mut reader = Reader { next: from, ..Reader::default() };
    let mut exit = None;
    let mut silent = Instant::now() + SILENCE;
    let mut was_cancelled = *cancelled.borrow();
    if was_cancelled && let Some(client) = &mut client {
        let _ = client.stop().await;
    }
    while let Some(shim) = &mut client {
        tokio::select! {
            event = shim.next_event() => match event {
                Event::Output(_) => {
                    silent = Instant::now() + SILENCE;
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
            () = sleep_until(silent) => {
                run.log.complain("SteamCMD said nothing for 20 minutes: it is ended");
                silent = Instant::now() + SILENCE;
                let _ = shim.kill().await;
            }
        }
    }
    reader.read(run).await?;
    reader.finish(run);
    if was_cancelled {
        return Err(Ending::Cancelled);
    }
    if exit.is_none() {
        exit = match adopt_shim(&run.context.paths, HostRun::Install(run.job.id)).await {
            Ok(Adoption::Exited(status)) => Some(status),
            Ok(Adoption::Running(_) | Adoption::Gone) | Err(_) => None,
        };
    }
    Ok((reader.lines.into(), exit))
}

/// Cuts console bytes into lines. A carriage return ends a line too: progress is printed so.
#[derive(Default)]
struct Reader {
    next: ConsoleCursor,
    partial: Vec<u8>,
    lines: VecDeque<String>,
    stored: Option<Instant>,
}

impl Reader {
    async fn read(&mut self, run: &Run) -> Result<(), Ending> {
        loop {
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
                } else {
                    self.partial.push(byte);
                }
            }
        }
    }

    fn finish(&mut self, run: &Run) {
        let rest = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        if !rest.trim().is_empty() {
            run.log.say(&rest);
            self.lines.push_back(rest);
        }
    }

    async fn line(&mut self, run: &Run) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.partial)).into_owned();
        if line.trim().is_empty() {
            return;
        }
        if let Line::Progress(progress) = steam::parse_line(&line) {
            let done = progress.done == progress.total;
            if done || self.stored.is_none_or(|stored| stored.elapsed() >= PROGRESS) {
                self.stored = Some(Instant::now());
                let id = run.job.id;
                if let Err(error) = run.domain(move |domain| domain.set_progress(id, progress)).await {
                    log::warn!("job {id}: its progress cannot be stored: {error}");
                }
            }
            return;
        }
        run.log.say(&line);
        self.lines.push_back(line);
        if self.lines.len() > KEEP {
            self.lines.pop_front();
        }
    }
}

fn has_game(paths: &Paths, attempt: &Attempt) -> bool {
    steam::PROGRAMS.iter().any(|program| layers::has_executable(paths, attempt.layer, &attempt.base, program))
}

async fn pause(run: &Run, time: Duration) -> Result<(), Ending> {
    let mut cancelled = run.log.cancelled();
    match tokio::time::timeout(time, cancelled.wait_for(|cancelled| *cancelled)).await {
        Ok(_) => Err(Ending::Cancelled),
        Err(_) => Ok(()),
    }
}

async fn end(mut client: Client) {
    if client.kill().await.is_ok() {
        while !matches!(client.next_event().await, Event::Exit(_) | Event::Lost) {}
    }
}

fn attempt_file(paths: &Paths, job: JobId) -> PathBuf {
    paths.run(HostRun::Install(job)).join("attempt.yaml")
}

fn load(paths: &Paths, job: JobId) -> Option<Attempt> {
    let text = std::fs::read_to_string(attempt_file(paths, job)).ok()?;
    serde_yaml::from_str(&text).ok()
}

fn save(paths: &Paths, job: JobId, attempt: &Attempt) -> Result<(), Ending> {
    let file = attempt_file(paths, job);
    let new = file.with_extension("new");
    let write = || {
        std::fs::create_dir_all(paths.run(HostRun::Install(job)))?;
        std::fs::write(&new, serde_yaml::to_string(attempt).map_err(std::io::Error::other)?)?;
        std::fs::rename(&new, &file)
    };
    write().map_err(|error| Ending::failed(format!("{} cannot be written: {error}", file.display())))
}
