//! Files of deleted managed overlays: they go when no instance has them mounted.
//!
//! Called by the daemon: once at its start, then whenever an overlay was deleted, and when servers change while
//! something still waits. What is mounted is read from the specs of the instances that are not at rest; who cannot read
//! one removes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::domain::Domain;
use crate::host::archive::{self, Left};
use crate::host::instance::{self, InstanceError};
use crate::host::paths::Paths;
use crate::model::event::Event;
use crate::model::id::{HostId, OverlayId};
use crate::model::server::{ActualState, DesiredState, Server};

/// Several changes at once are one look.
const PAUSE: Duration = Duration::from_millis(200);

/// One look. `starting`: nothing is uploaded yet.
pub fn collect(domain: &Domain, paths: &Paths, starting: bool) -> Result<Left, String> {
    let servers = domain.all_servers().map_err(|refusal| refusal.to_string())?;
    let mut mounted: BTreeSet<(OverlayId, u64)> = BTreeSet::new();
    for server in servers.iter().filter(|server| !is_at_rest(server)) {
        match instance::read_spec(paths, HostId::of(server.id)) {
            Ok(spec) => mounted.extend(spec.overlays.iter().filter_map(|own| Some((own.id, own.revision?)))),
            Err(InstanceError::NoSpec(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let known = domain.managed_revisions().map_err(|refusal| refusal.to_string())?;
    archive::collect(paths, &known, &mounted, starting).map_err(|error| error.to_string())
}

/// Whether the next start writes a spec anew, and nothing has the last one mounted.
fn is_at_rest(server: &Server) -> bool {
    let ended = match server.actual_state {
        ActualState::Stopped | ActualState::Failed => true,
        ActualState::Starting | ActualState::Running | ActualState::Unknown => false,
    };
    server.desired_state == DesiredState::Stopped && ended
}

/// Looks again whenever there is a reason, until the hub is gone. `left`: what the look at the start left, and `events`
/// everything since then.
pub async fn follow(domain: Domain, paths: Paths, mut left: Left, mut events: Receiver<Event>) {
    loop {
        let look = match events.recv().await {
            Ok(Event::OverlayGone(_)) | Err(RecvError::Lagged(_)) => true,
            Ok(Event::Server(_)) => left.mounted > 0,
            Ok(
                Event::Job(_)
                | Event::JobLines { .. }
                | Event::JobQueued(_)
                | Event::JobCancel(_)
                | Event::SessionsEnded(_)
                | Event::TokenRevoked(_)
                | Event::Ports
                | Event::Desired(_),
            ) => false,
            Err(RecvError::Closed) => return,
        };
        if !look {
            continue;
        }
        tokio::time::sleep(PAUSE).await;
        let (asked, place) = (domain.clone(), paths.clone());
        match tokio::task::spawn_blocking(move || collect(&asked, &place, false)).await {
            Ok(Ok(found)) => left = found,
            Ok(Err(error)) => log::warn!("files of deleted overlays stay for now: {error}"),
            Err(error) => log::error!("looking for files of deleted overlays panicked: {error}"),
        }
    }
}
