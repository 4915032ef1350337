//! Delete: the game ends, its folders go, then record and claims in one transaction.

use super::{Ending, Run, blocking};
use crate::host::instance;
use crate::model::id::HostId;
use crate::model::machine::Progressing;

/// What it does, in order. Each may be done again.
pub const STEPS: &[&str] = &["stop", "remove", "forget"];

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    let server = run.server()?;
    run.step("stop").await?;
    run.context.instances.stop(server, run.log.clone()).await?;
    run.step("remove").await?;
    let paths = run.context.paths.clone();
    blocking(move || instance::remove(&paths, HostId::of(server)).map_err(|error| Ending::failed(error.to_string())))
        .await?;
    run.log.say("its folders are gone");
    run.step("forget").await?;
    run.domain(move |domain| domain.finish_delete(server)).await?;
    run.context.instances.forget(server);
    Ok(())
}
