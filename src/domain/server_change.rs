//! What owners change about a server: name, port, blueprint. It applies at the next start.

use super::audit::{note, object};
use super::blueprints::{fit_tv_port, usable};
use super::servers::{ServerChange, ServerView, claim_name, view_now, visible};
use super::{Domain, Refusal, Result, claims};
use crate::model::event::Event;
use crate::model::id::ServerId;
use crate::model::name::parse_name;
use crate::model::port::{Listeners, PortWish};
use crate::model::server::ActualState;
use crate::model::user::Actor;
use crate::store::tables::{SERVER_NAMES, SERVERS, SERVERS_BY_BLUEPRINT};

impl Domain {
    /// Changes a server. A new port is claimed at once; the old one is kept as retiring until the game that listens on it
    /// has ended. Changing something to what it is changes nothing; the automatic port is the one it has.
    pub fn update_server(
        &self,
        actor: &Actor,
        id: ServerId,
        change: ServerChange,
        listeners: &Listeners,
    ) -> Result<ServerView> {
        let name = change.name.as_deref().map(parse_name).transpose()?;
        let now = self.now();
        self.allocating(actor, listeners, |tx, ports| {
            let old = visible(tx, actor, id)?;
            if old.deleting {
                return Err(Refusal::BeingDeleted);
            }
            let mut server = old.clone();
            if let Some(name) = name.filter(|name| *name != old.name) {
                claim_name(tx, &old, &name)?;
                tx.remove(&SERVER_NAMES, &(old.user_id, old.name.clone()))?;
                tx.put(&SERVER_NAMES, &(old.user_id, name.clone()), &id)?;
                server.name = name;
            }
            match change.port {
                Some(PortWish::Exactly(port)) if port != old.port => {
                    server.port = ports.game(tx, id, PortWish::Exactly(port))?;
                    claims::leave(tx, &old, old.port)?;
                }
                Some(PortWish::Exactly(_) | PortWish::Auto) | None => {}
            }
            if let Some(blueprint_id) = change.blueprint_id.filter(|blueprint| *blueprint != old.blueprint_id) {
                let blueprint = usable(tx, actor, blueprint_id)?;
                tx.remove(&SERVERS_BY_BLUEPRINT, &(old.blueprint_id, id))?;
                tx.put(&SERVERS_BY_BLUEPRINT, &(blueprint_id, id), &())?;
                server.blueprint_id = blueprint_id;
                server = fit_tv_port(tx, ports, now, server, &blueprint)?;
            }
            if server != old {
                server.updated_at = now;
                tx.put(&SERVERS, &id, &server)?;
                tx.note(Event::Server(id));
                note(tx, now, actor, "server.update", &object("server", id, &server.name))?;
            }
            Ok(())
        })?;
        let read = self.read()?;
        let server = visible(&read, actor, id)?;
        view_now(&read, server)
    }

    /// Whether what the server's game wrote may be thrown away now: nobody else works on the server.
    pub fn may_reset_layer(&self, actor: &Actor, id: ServerId) -> Result<ServerView> {
        let read = self.read()?;
        let view = view_now(&read, visible(&read, actor, id)?)?;
        if view.server.deleting {
            return Err(Refusal::BeingDeleted);
        }
        let ended = match view.server.actual_state {
            ActualState::Stopped | ActualState::Failed | ActualState::Unknown => true,
            ActualState::Starting | ActualState::Running => false,
        };
        if ended && view.active.is_empty() {
            Ok(view)
        } else {
            Err(Refusal::Conflict("the server runs or has a job: stop it first, and let its jobs end".into()))
        }
    }
}
