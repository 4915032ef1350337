//! Restart: down, then up with the latest blueprint.

use super::{Ending, Run, initialize, start};

/// What it does, in order. Each may be done again: after a crash the game is stopped once more and started.
pub const STEPS: &[&str] = &["stop", "check", "spec", "launch"];

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    let server = run.server()?;
    run.step("stop").await?;
    run.context.instances.stop(server, run.log.clone()).await?;
    run.step("check").await?;
    start::probe_ports(run).await?;
    run.step("spec").await?;
    initialize::write_spec(run).await?;
    run.step("launch").await?;
    Ok(run.context.instances.start(server, run.log.clone()).await?)
}
