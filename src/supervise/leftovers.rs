//! Files of deleted managed overlays: they go when no instance has them mounted.
//!
//! Called by the daemon: once at its start, then whenever an overlay was deleted, and when servers or jobs change while
//! something still waits. What is mounted or about to be is told by the specs of all instances that are not idle, by the
//! one rule that game layers go by; specs are written under the same gate. Who cannot read one removes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::blocking;
use crate::domain::Domain;
use crate::host::archive::{self, Left};
use crate::host::paths::Paths;
use crate::host::{instance, restored};
use crate::model::event::Event;

/// Several changes at once are one look.
const PAUSE: Duration = Duration::from_millis(200);

/// One look. `starting`: nothing is uploaded yet. While others work, the caller holds the gate that specs are written under.
pub fn collect(domain: &Domain, paths: &Paths, starting: bool) -> Result<Left, String> {
    let idle = domain.idle_servers().map_err(|refusal| refusal.to_string())?;
    let mounted = instance::in_use(paths, &idle).map_err(|error| error.to_string())?.revisions;
    let known = domain.managed_revisions().map_err(|refusal| refusal.to_string())?;
    let rests = restored::is_recent(paths);
    let stay = |overlay, number| rests || mounted.contains(&(overlay, number));
    archive::collect(paths, &known, &stay, starting).map_err(|error| error.to_string())
}

/// Looks again whenever there is a reason, until the hub is gone. `left`: what the look at the start left, and `events`
/// everything since then.
pub async fn follow(domain: Domain, paths: Paths, specs: Arc<RwLock<()>>, mut left: Left, mut events: Receiver<Event>) {
    loop {
        let look = match events.recv().await {
            Ok(Event::OverlayGone(_)) | Err(RecvError::Lagged(_)) => true,
            // The end of a job is what makes its server idle.
            Ok(Event::Server(_) | Event::Job(_)) => left.needed > 0,
            Ok(
                Event::JobLines { .. }
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
        // What was said until now is seen by the look that follows.
        events = events.resubscribe();
        let (asked, place) = (domain.clone(), paths.clone());
        // Held by the look itself: it goes on where nobody waits for it any more.
        let alone = specs.clone().write_owned().await;
        let look = move || {
            let _alone = alone;
            collect(&asked, &place, false)
        };
        match blocking::run(look).await {
            Ok(Ok(found)) => left = found,
            Ok(Err(error)) => log::warn!("files of deleted overlays stay for now: {error}"),
            Err(error) => log::error!("looking for files of deleted overlays panicked: {error}"),
        }
    }
}
