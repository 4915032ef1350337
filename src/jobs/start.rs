//! Start: the port is probed, the spec written from the latest blueprint, the game launched and awaited.

use super::{Ending, Run, blocking, initialize};
use crate::host::ports;
use crate::model::machine::Progressing;

/// What it does, in order. Each may be done again.
pub const STEPS: &[&str] = &["check", "spec", "launch"];

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    run.step("check").await?;
    let server = run.server()?;
    // A back-off may end while the port is probed: then it is our own game that has it.
    let free = probe_ports(run).await;
    if run.context.instances.is_alive(server).await {
        run.log.say("the game runs already");
    } else {
        free?;
        run.step("spec").await?;
        initialize::write_spec(run).await?;
    }
    run.step("launch").await?;
    Ok(run.context.instances.start(server, run.log.clone()).await?)
}

/// Just before a start: nobody else may have the ports. Also a step of restart.
pub(super) async fn probe_ports(run: &Run) -> Result<(), Ending> {
    let server = run.server()?;
    let record = run.domain(move |domain| domain.server_record(server)).await?;
    let record = record.ok_or_else(|| Ending::failed("the server is gone"))?;
    for port in std::iter::once(record.port).chain(record.tv_port) {
        blocking(move || ports::probe(port).map_err(Ending::failed)).await?;
    }
    Ok(())
}
