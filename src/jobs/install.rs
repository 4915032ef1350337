//! Install: SteamCMD writes a new game layer over the current stack; success publishes it in one transaction.
//!
//! SteamCMD runs under a shim, so an install goes on while the daemon is restarted: what is tried and how often lies in
//! `attempt.yaml` beside the shim's files, and [`adopt`] finds it again. A failed, cancelled or lost install leaves
//! nothing behind and changes nothing: servers keep the layers that they have. Once its build is published, the job has
//! succeeded, whatever ends after that.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::timeout;

use super::attempt::Attempt;
use super::{Context, Ending, Run, blocking, layers as housekeeping, steamcmd};
use crate::host::paths::{Paths, Run as HostRun};
use crate::host::shim::client::{self as shim, Adoption, Client, Event, adopt as adopt_shim};
use crate::host::steam::{DISK_FULL, Strategy};
use crate::host::steamcmd::Program;
use crate::host::{fetch, instance, layers};
use crate::model::build::Build;
use crate::model::id::{JobId, LayerId};
use crate::model::job::Job;
use crate::model::machine::Progressing;

/// What it does, in order. After a crash, `download` is taken up again while its shim lives, `verify` and what follows in
/// any case; of the steps before nothing is left.
pub const STEPS: &[&str] = &["check", "steamcmd", "layer", "download", "verify", "publish", "tidy"];

/// What the game takes, for the warning before the download.
const GAME_BYTES: u64 = 9 << 30;

/// How long a program that is told to end at once may take to.
const END: Duration = Duration::from_secs(30);

/// Installs that go on: those whose shim still works or has just ended, and those that have no more to do than to publish
/// or to say that they have. What other installs left is ended and removed; what cannot be is said, and stays: a daemon
/// that does not start for it would help nobody.
pub async fn adopt(context: &Context, running: &[Job]) -> Result<Vec<JobId>, String> {
    let mut adopted = Vec::new();
    let mut busy = Vec::new();
    for job in running {
        let (id, domain) = (job.id, context.domain.clone());
        let published = blocking::run(move || domain.build_of_job(id))
            .await
            .map_err(|error| error.to_string())?
            .map_err(|refusal| refusal.to_string())?;
        let attempt = Attempt::load(&context.paths, id);
        let found = match adopt_shim(&context.paths, HostRun::Install(id)).await {
            Ok(found) => found,
            Err(error) => {
                log::error!("install job {id} cannot go on: its shim cannot be asked: {error}");
                continue;
            }
        };
        let is_judged = matches!(job.step.as_deref(), Some("verify" | "publish"));
        match (published, attempt, found) {
            // What ran on was a compaction; it begins anew.
            (Some(_), _, found) => {
                end(found).await;
                adopted.push(id);
            }
            (None, Some(attempt), Adoption::Running(_) | Adoption::Exited(_)) => {
                busy.push(attempt.layer);
                adopted.push(id);
            }
            (None, Some(attempt), Adoption::Gone) if is_judged => {
                busy.push(attempt.layer);
                adopted.push(id);
            }
            // A shim without a readable attempt cannot be followed.
            (None, None | Some(_), found) => end(found).await,
        }
    }
    sweep(context, &adopted, busy).await;
    Ok(adopted)
}

/// Removes what installs left that do not go on. `busy`: new layers of those that do.
async fn sweep(context: &Context, adopted: &[JobId], mut busy: Vec<LayerId>) {
    let stays = |error: &dyn Display| log::error!("what an earlier install left stays for now: {error}");
    let runs = shim::runs(&context.paths).unwrap_or_else(|error| {
        stays(&error);
        Vec::new()
    });
    for run in runs {
        let HostRun::Install(job) = run else { continue };
        if adopted.contains(&job) {
            continue;
        }
        let attempt = Attempt::load(&context.paths, job);
        if let Err(error) = end_and_remove(&context.paths, job).await {
            stays(&error);
            // Something may still write there.
            busy.extend(attempt.map(|attempt| attempt.layer));
        }
    }
    let paths = context.paths.clone();
    let swept = blocking(move || {
        fetch::sweep(&paths).map_err(|error| Ending::failed(error.to_string()))?;
        layers::sweep(&paths, &busy).map_err(|error| Ending::failed(error.to_string()))
    });
    if let Err(error) = swept.await {
        stays(&error);
    }
}

/// Ends what an install still runs, and removes its folder. A job may end before its shim: when its console cannot be
/// read, say.
async fn end_and_remove(paths: &Paths, job: JobId) -> Result<(), Ending> {
    match adopt_shim(paths, HostRun::Install(job)).await {
        Ok(found) => end(found).await,
        // Removing says what is wrong, if that is.
        Err(error) => log::warn!("the shim of install job {job} cannot be asked: {error}"),
    }
    let paths = paths.clone();
    blocking(move || {
        instance::remove_run(&paths, HostRun::Install(job)).map_err(|error| Ending::failed(error.to_string()))
    })
    .await
}

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    let result = install(run).await;
    run.context.domain.hub().set_pace(run.job.id, None);
    if let Err(error) = clean(run, result.is_err()).await {
        run.log.complain(&format!("what the install left cannot be removed: {error}"));
    }
    result
}

/// Removes what the install needs no more; of a failed one, everything.
async fn clean(run: &Run, failed: bool) -> Result<(), Ending> {
    let (paths, job) = (run.context.paths.clone(), run.job.id);
    let attempt = Attempt::load(&paths, job);
    let is_published = !failed || run.domain(move |domain| domain.build_of_job(job)).await?.is_some();
    end_and_remove(&paths, job).await?;
    blocking(move || {
        let failed = |error: std::io::Error| Ending::failed(error.to_string());
        match attempt {
            Some(attempt) if !is_published => {
                // It may have got its final name before the store refused to know of it.
                layers::hide(&paths, attempt.layer).map_err(failed)?;
                layers::discard(&paths, attempt.layer).map_err(failed)
            }
            Some(_) | None => Ok(()),
        }
    })
    .await
}

async fn install(run: &Run) -> Result<(), Ending> {
    let job = run.job.id;
    let build = match run.domain(move |domain| domain.build_of_job(job)).await? {
        Some(build) => {
            run.log.say(&format!("the daemon was started anew; {} is published already", build.label));
            build
        }
        None => bring(run).await?,
    };
    // From here on nothing fails the job: its build is active.
    match run.step("tidy").await {
        Ok(()) => housekeeping::tidy(run, &build).await,
        Err(Ending::Cancelled) => run.log.say("too late to cancel: the build is published"),
        Err(Ending::Failed { error, .. }) => run.log.complain(&error),
    }
    Ok(())
}

/// Brings the game into a new layer and publishes it.
async fn bring(run: &Run) -> Result<Build, Ending> {
    let attempt = if let Some(attempt) = Attempt::load(&run.context.paths, run.job.id) {
        run.log.say("the daemon was started anew; the install goes on");
        // Else SteamCMD has been judged already.
        if run.job.step.as_deref() == Some("download") {
            let program = steamcmd::find(run)?.ok_or_else(|| Ending::failed("SteamCMD is gone: install again"))?;
            steamcmd::work(run, &program, attempt, true).await?
        } else {
            attempt
        }
    } else {
        let (ready, attempt) = begin(run).await?;
        run.step("download").await?;
        if ready.is_new {
            steamcmd::settle(run, &ready.program, &attempt).await?;
        }
        steamcmd::work(run, &ready.program, attempt, false).await?
    };
    run.step("verify").await?;
    if !steamcmd::has_game(&run.context.paths, &attempt) {
        return Err(Ending::failed("there is no executable srcds_run or srcds_linux in what SteamCMD wrote"));
    }
    run.step("publish").await?;
    let (paths, layer, job) = (run.context.paths.clone(), attempt.layer, run.job.id);
    let bytes = blocking(move || {
        layers::publish(&paths, layer)
            .map_err(|error| Ending::failed(format!("the new game layer cannot be published: {error}")))
    })
    .await?;
    let build = run.domain(move |domain| domain.publish_build(job, layer, &attempt.base, bytes)).await?;
    run.log.say(&format!("build {} is published: servers take it at their next start", build.id));
    Ok(build)
}

/// The program that will work.
struct Ready {
    program: Program,
    /// It was fetched a moment ago and has never run.
    is_new: bool,
}

/// Checks what can be checked before gigabytes are fetched, and makes the new layer.
async fn begin(run: &Run) -> Result<(Ready, Attempt), Ending> {
    run.step("check").await?;
    let program = steamcmd::find(run)?;
    let paths = run.context.paths.clone();
    let free = blocking(move || layers::free_bytes(&paths).map_err(|error| Ending::failed(error.to_string()))).await?;
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    run.log.say(&format!("{:.1} GiB are free in {}", gib(free), run.context.paths.data_dir.display()));
    let build = run.domain(crate::domain::Domain::active_build).await?;
    let base = build.map(|build| build.layers).unwrap_or_default();
    if free < steamcmd::LEAST_BYTES {
        return Err(Ending::failed(DISK_FULL));
    }
    if base.is_empty() && free < GAME_BYTES {
        run.log.complain("the game takes about 9 GiB: this may not be enough");
    }
    run.step("steamcmd").await?;
    let ready = match program {
        Some(program) => Ready { program, is_new: false },
        None => Ready { program: steamcmd::fetch(run).await?, is_new: true },
    };
    run.log.say(&format!("SteamCMD is {}", ready.program.path().display()));
    run.step("layer").await?;
    let layer = run.domain(crate::domain::Domain::next_layer).await?;
    let attempt = Attempt { layer, base, strategy: Strategy::FIRST, pass: 0, tries: 0, from: 0 };
    attempt.save(&run.context.paths, run.job.id)?;
    let paths = run.context.paths.clone();
    blocking(move || {
        layers::begin(&paths, layer)
            .map_err(|error| Ending::failed(format!("a new game layer cannot be made: {error}")))
    })
    .await?;
    run.log.say(&format!("trying {}", Strategy::FIRST.describe()));
    Ok((ready, attempt))
}

async fn end(found: Adoption) {
    let Adoption::Running(mut client) = found else { return };
    if client.kill().await.is_ok() && timeout(END, gone(&mut client)).await.is_err() {
        log::warn!("process {} was killed and does not end", client.pid());
    }
}

async fn gone(client: &mut Client) {
    while !matches!(client.next_event().await, Event::Exit(_) | Event::Lost) {}
}
