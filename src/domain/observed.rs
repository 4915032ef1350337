//! What the machine's side tells and asks about a server. Called by supervise and jobs, for the box itself.

use std::collections::BTreeSet;

use super::audit::{note, object};
use super::blueprints::blueprint_of;
use super::overlays::overlay_of;
use super::servers::server_of;
use super::{Domain, Refusal, Result, builds, claims, queue};
use crate::model::blueprint::split_arguments;
use crate::model::event::Event;
use crate::model::id::{Numbers, ServerId};
use crate::model::overlay::OverlaySource;
use crate::model::server::{ActualState, DesiredState, Server};
use crate::model::spec::{InstanceSpec, SPEC_VERSION, SpecOverlay, hostname_line};
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::{SERVER_NAMES, SERVERS, SERVERS_BY_BLUEPRINT};
use crate::store::{Read, Span, Tx};

impl Domain {
    /// What an instance is made of now: latest blueprint, active build, claimed ports.
    pub fn spec(&self, id: ServerId) -> Result<InstanceSpec> {
        let read = self.read()?;
        let server = server_of(&read, id)?;
        let blueprint = blueprint_of(&read, server.blueprint_id)?;
        let build = builds::active(&read)?.ok_or_else(|| {
            Refusal::Conflict("no game files are installed: run the install job first (`left4me install`)".into())
        })?;
        let mut overlays = Vec::new();
        for overlay_id in &blueprint.overlay_ids {
            let overlay = overlay_of(&read, *overlay_id)?;
            overlays.push(match overlay.source {
                OverlaySource::Path(path) => SpecOverlay { id: overlay.id, path: Some(path), revision: None },
                OverlaySource::Managed(Some(number)) => {
                    SpecOverlay { id: overlay.id, path: None, revision: Some(number) }
                }
                OverlaySource::Managed(None) => {
                    return Err(Refusal::Conflict(format!(
                        "overlay \"{}\" holds no files yet: upload some, or take it out of the blueprint",
                        overlay.name
                    )));
                }
            });
        }
        let mut config = vec![hostname_line(&server.name)];
        config.extend(blueprint.config.iter().cloned());
        Ok(InstanceSpec {
            version: SPEC_VERSION,
            server_id: id,
            port: server.port,
            tv_port: server.tv_port,
            game: build.layers,
            overlays,
            // Who may write -insecure was checked when the blueprint was saved.
            arguments: split_arguments(&blueprint.arguments, true)?,
            config,
            written_at: self.now(),
        })
    }

    /// Notes what was observed. Nothing happens when it is known already, or the server is gone.
    pub fn observe(&self, id: ServerId, actual: ActualState, last_error: Option<String>) -> Result<()> {
        let read = self.read()?;
        let news = read.get(&SERVERS, &id)?.is_some_and(|server| is_news(&server, actual, last_error.as_deref()));
        let to_release = has_ended(actual) && claims::has_retiring(&read, id)?;
        if !news && !to_release {
            return Ok(());
        }
        let now = self.now();
        self.write(|tx| observe_in(tx, now, id, actual, last_error.as_deref()))
    }

    /// Notes that none of these runs, all at once: a box may know hundreds when its daemon starts.
    pub fn observe_stopped(&self, servers: &[ServerId]) -> Result<()> {
        let now = self.now();
        self.write(|tx| servers.iter().try_for_each(|id| observe_in(tx, now, *id, ActualState::Stopped, None)))
    }

    /// Numbers that folders of the box carry are never given out again: after a store was restored from a backup, what
    /// was made since then is on the disk and not in the store, and must not become somebody else's.
    pub fn never_reuse(&self, taken: &Numbers) -> Result<()> {
        self.write(|tx| {
            tx.never_again("server", taken.server)?;
            tx.never_again("overlay", taken.overlay)?;
            for (overlay, number) in &taken.revisions {
                tx.never_again(&super::revisions::numbers_of(*overlay), *number)?;
            }
            tx.never_again("layer", taken.layer)?;
            Ok(tx.never_again("job", taken.job)?)
        })
    }

    /// Every server, oldest first.
    pub fn all_servers(&self) -> Result<Vec<Server>> {
        Ok(self.read()?.list(&SERVERS, &Span::all())?.into_iter().map(|(_, server)| server).collect())
    }

    /// One server's record; `None`: it is gone.
    pub fn server_record(&self, id: ServerId) -> Result<Option<Server>> {
        Ok(self.read()?.get(&SERVERS, &id)?)
    }

    /// The machine holds nothing of the server any more: its record and claims go, in one transaction. Its jobs stay.
    pub fn finish_delete(&self, id: ServerId) -> Result<()> {
        let now = self.now();
        self.write(|tx| {
            let Some(server) = tx.get(&SERVERS, &id)? else { return Ok(()) };
            for port in claims::ports_of_server(tx, id)? {
                claims::release(tx, port)?;
            }
            tx.remove(&SERVERS_BY_BLUEPRINT, &(server.blueprint_id, id))?;
            tx.remove(&SERVER_NAMES, &(server.user_id, server.name.clone()))?;
            tx.remove(&SERVERS, &id)?;
            tx.note(Event::Server(id));
            note(tx, now, &Actor::system(), "server.deleted", &object("server", id, &server.name))
        })
    }

    /// Servers whose instance nothing will mount by itself: stopped, meant to be, and without a job. Of all others the
    /// layers that their specs name are in use.
    pub fn idle_servers(&self) -> Result<BTreeSet<ServerId>> {
        let read = self.read()?;
        let mut idle = BTreeSet::new();
        for (id, server) in read.list(&SERVERS, &Span::all())? {
            let down = match server.actual_state {
                ActualState::Stopped | ActualState::Failed => true,
                ActualState::Starting | ActualState::Running | ActualState::Unknown => false,
            };
            if down && server.desired_state == DesiredState::Stopped {
                idle.insert(id);
            }
        }
        for (_, job) in queue::active(&read)? {
            if let Some(server) = job.server_id {
                idle.remove(&server);
            }
        }
        Ok(idle)
    }
}

fn is_news(server: &Server, actual: ActualState, last_error: Option<&str>) -> bool {
    server.actual_state != actual || server.last_error.as_deref() != last_error
}

fn has_ended(actual: ActualState) -> bool {
    match actual {
        ActualState::Stopped | ActualState::Failed => true,
        ActualState::Starting | ActualState::Running | ActualState::Unknown => false,
    }
}

fn observe_in(tx: &mut Tx, now: Timestamp, id: ServerId, actual: ActualState, last_error: Option<&str>) -> Result<()> {
    let Some(mut server) = tx.get(&SERVERS, &id)? else { return Ok(()) };
    if has_ended(actual) {
        claims::release_retiring(tx, id)?;
    }
    if !is_news(&server, actual, last_error) {
        return Ok(());
    }
    server.actual_state = actual;
    server.last_error = last_error.map(str::to_owned);
    server.started_at = match actual {
        ActualState::Starting => Some(now),
        ActualState::Running => server.started_at.or(Some(now)),
        ActualState::Unknown => server.started_at,
        ActualState::Stopped | ActualState::Failed => None,
    };
    tx.put(&SERVERS, &id, &server)?;
    tx.note(Event::Server(id));
    Ok(())
}
