//! Initialize: the instance's folders, its `spec.yaml` from the latest blueprint, and the files generated from it.

use super::{Ending, Run, blocking};
use crate::host::instance;
use crate::model::machine::Progressing;

/// What it does, in order. Each may be done again.
pub const STEPS: &[&str] = &["check", "spec"];

/// Carries it out.
pub async fn run(run: &Run) -> Result<(), Ending> {
    run.step("check").await?;
    let server = run.server()?;
    if run.context.instances.is_alive(server).await {
        return Err(Ending::failed("the server runs: stop it first, then initialize it"));
    }
    run.step("spec").await?;
    write_spec(run).await
}

/// Writes spec and generated files. Also a step of start and restart.
pub(super) async fn write_spec(run: &Run) -> Result<(), Ending> {
    let server = run.server()?;
    // Until it is written, nobody else knows that the layers it names are about to be used.
    let _naming_layers = run.context.specs.read().await;
    let spec = run.domain(move |domain| domain.spec(server)).await?;
    run.log.say(&format!(
        "port {}, {} game layer(s), {} overlay(s), {} argument(s), {} config line(s)",
        spec.port,
        spec.game.len(),
        spec.overlays.len(),
        spec.arguments.len(),
        spec.config.len()
    ));
    let paths = run.context.paths.clone();
    blocking(move || {
        // Said now, while somebody looks, rather than by the shim: an overlay that cannot be mounted.
        instance::check_overlays(&paths, &spec).map_err(|error| Ending::failed(error.to_string()))?;
        instance::write_spec(&paths, &spec).map_err(|error| Ending::failed(error.to_string()))
    })
    .await
}
