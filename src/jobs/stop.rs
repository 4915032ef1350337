//! Stop: the game is told to quit, then made to, and everything it left behind with it.

use super::{Ending, Run};

/// What it does, in order. Each may be done again.
pub const STEPS: &[&str] = &["stop"];

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    run.step("stop").await?;
    Ok(run.context.instances.stop(run.server()?, run.log.clone()).await?)
}
