//! Housekeeping of game layers: deep stacks become one layer, and what nothing uses goes.
//!
//! Called at the end of an install, when the daemon begins, and once an hour. A layer is in use while a build that is kept
//! lists it, while an instance has it mounted or may mount it by itself, and while an install stands on it; for a day after
//! a restore nothing goes. Specs are
//! written under [`Context::specs`](super::Context), so that no start takes up a layer while it is looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::RwLock;
use tokio::time::{Instant, timeout_at};

use super::attempt::Attempt;
use super::{Context, Ending, Run, blocking, steamcmd};
use crate::domain::Domain;
use crate::host::paths::{Paths, Run as HostRun};
use crate::host::shim::client::{Adoption, Event, adopt as adopt_shim};
use crate::host::{console, instance, layers, restored};
use crate::model::build::Build;
use crate::model::id::LayerId;
use crate::model::machine::Progressing;
use crate::model::pace::duration;

/// Builds that are kept to go back to, the newest included.
const KEPT_BUILDS: usize = 3;
/// A stack with more layers is compacted.
const DEPTH: usize = 4;
/// What must stay free beside a compacted layer.
const SPARE_BYTES: u64 = 1 << 30;

/// After an install: what can be tidied is; what cannot is said and tried again after the next. Never fails the job.
pub(super) async fn tidy(run: &Run, build: &Build) {
    if build.layers.len() > DEPTH
        && let Err(error) = compact(run, build).await
    {
        run.log.complain(&format!("the game's {} layers stay as they are: {error}", build.layers.len()));
    }
    match collect(&run.context).await {
        Ok(gone) if gone.is_empty() => {}
        Ok(gone) => {
            let gone: Vec<String> = gone.iter().map(ToString::to_string).collect();
            run.log.say(&format!("game layers that nothing uses are removed: {}", gone.join(", ")));
        }
        Err(error) => run.log.complain(&format!("game layers that nothing uses are left: {error}")),
    }
}

/// Copies what a game sees of the build's stack into one new layer, which then is the build's only one.
async fn compact(run: &Run, build: &Build) -> Result<(), Ending> {
    let failed = |error: std::io::Error| Ending::failed(error.to_string());
    let (paths, stack) = (run.context.paths.clone(), build.layers.clone());
    let (needed, free) = blocking(move || {
        Ok((layers::bytes_of(&paths, &stack).map_err(failed)?, layers::free_bytes(&paths).map_err(failed)?))
    })
    .await?;
    if free < needed.saturating_add(SPARE_BYTES) {
        let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        return Err(Ending::failed(format!(
            "merging them into one takes {:.1} GiB, and {:.1} GiB are free",
            gib(needed + SPARE_BYTES),
            gib(free)
        )));
    }
    let layer = run.domain(Domain::next_layer).await?;
    run.log.say(&format!("merging {} game layers into one", build.layers.len()));
    let paths = run.context.paths.clone();
    blocking(move || layers::begin_compaction(&paths, layer).map_err(failed)).await?;
    let copied = copy(run, build, layer).await;
    let paths = run.context.paths.clone();
    if let Err(error) = copied {
        blocking(move || layers::discard(&paths, layer).map_err(failed)).await?;
        return Err(error);
    }
    blocking(move || layers::write_out(&paths, layer).map_err(failed)).await?;
    take_over(&run.context.specs, &run.context.domain, &run.context.paths, build, layer).await
}

/// Publishes the compacted layer and makes it the build's only one, with the gate of [`Context::specs`] held.
pub async fn take_over(
    specs: &RwLock<()>,
    domain: &Domain,
    paths: &Paths,
    build: &Build,
    layer: LayerId,
) -> Result<(), Ending> {
    // Between the two nothing names the layer: whoever collected then would take it for one that nothing uses.
    let _naming_layers = specs.read().await;
    let (domain, paths) = (domain.clone(), paths.clone());
    let (id, from) = (build.id, build.layers.clone());
    blocking(move || {
        layers::publish(&paths, layer).map_err(|error| Ending::failed(error.to_string()))?;
        // A build that is gone by now leaves a layer that nothing uses: it is collected with the others.
        domain.replace_layers(id, &from, vec![layer])?;
        Ok(())
    })
    .await
}

async fn copy(run: &Run, build: &Build, layer: LayerId) -> Result<(), Ending> {
    let (paths, job) = (&run.context.paths, run.job.id);
    let from = console::end(paths, HostRun::Install(job)).unwrap_or(0);
    let launch = layers::compaction_launch(paths, job, layer, &build.layers, &run.context.limits);
    let client = steamcmd::start_or_ended(run, &launch).await?;
    let limit = run.context.timeouts.compaction;
    let until = Instant::now() + limit;
    let mut status = None;
    if let Some(mut client) = client {
        loop {
            match timeout_at(until, client.next_event()).await {
                Ok(Event::Exit(ended)) => break status = Some(ended),
                Ok(Event::Lost) => break,
                Ok(Event::Output(_) | Event::Refused(_)) => {}
                Err(_) => {
                    let _ = client.kill().await;
                    while !matches!(client.next_event().await, Event::Exit(_) | Event::Lost) {}
                    return Err(Ending::failed(format!("merging took longer than {}", duration(limit.as_secs()))));
                }
            }
        }
    }
    if status.is_none()
        && let Ok(Adoption::Exited(ended)) = adopt_shim(paths, HostRun::Install(job)).await
    {
        status = Some(ended);
    }
    match status {
        Some(status) if status.code == Some(0) => Ok(()),
        status => {
            let said =
                console::read(paths, HostRun::Install(job), from, 2048).map(|chunk| chunk.bytes).unwrap_or_default();
            let how = status.map_or_else(|| "its shim was killed".to_owned(), |status| status.to_string());
            Err(Ending::failed(format!("copying failed ({how}): {}", String::from_utf8_lossy(&said).trim())))
        }
    }
}

/// Forgets builds beyond those that are kept and removes the layers that nothing uses. Answers with them.
///
/// # Errors
/// A text for people; nothing that might be in use was removed.
pub async fn collect(context: &Arc<Context>) -> Result<Vec<LayerId>, String> {
    // No spec is written while this looks: a start that comes after it names layers of builds that are kept.
    let alone = context.specs.write().await;
    let (domain, paths) = (context.domain.clone(), context.paths.clone());
    let hidden = blocking(move || {
        let failed = |error: &dyn std::fmt::Display| Ending::failed(error.to_string());
        if restored::is_recent(&paths) {
            log::info!("a backup was restored less than a day ago: game layers that its store does not know stay");
            return Ok(Vec::new());
        }
        let mut used: BTreeSet<LayerId> = domain.retire_builds(KEPT_BUILDS)?;
        let idle = domain.idle_servers()?;
        used.extend(instance::in_use(&paths, &idle).map_err(|error| failed(&error))?.layers);
        used.extend(Attempt::layers_in_use(&paths).map_err(|error| failed(&error))?);
        let mut hidden = layers::published(&paths).map_err(|error| failed(&error))?;
        hidden.retain(|layer| !used.contains(layer));
        for layer in &hidden {
            layers::hide(&paths, *layer).map_err(|error| failed(&error))?;
        }
        Ok(hidden)
    })
    .await
    .map_err(|error| error.to_string())?;
    drop(alone);
    let (paths, gone) = (context.paths.clone(), hidden.clone());
    blocking(move || {
        for layer in &gone {
            layers::discard(&paths, *layer).map_err(|error| Ending::failed(error.to_string()))?;
        }
        Ok(())
    })
    .await
    .map_err(|error| error.to_string())?;
    Ok(hidden)
}
