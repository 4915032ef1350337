//! Servers.

use super::{Domain, Items, Page, Result};
use crate::model::id::{BlueprintId, ReservationId, ServerId};
use crate::model::job::{Job, Operation};
use crate::model::port::{Listeners, PortWish};
use crate::model::server::{ActualState, Server};
use crate::model::spec::InstanceSpec;
use crate::model::user::Actor;

use super::pending;

/// A new server.
#[derive(Debug, Clone)]
pub struct NewServer {
    /// Unique per user.
    pub name: String,
    /// Which port.
    pub port: PortWish,
    /// What it follows.
    pub blueprint_id: BlueprintId,
}

/// Several new servers at once, all or none.
#[derive(Debug, Clone)]
pub struct NewBatch {
    /// How many.
    pub count: u32,
    /// Names are `<prefix> 1` to `<prefix> N`.
    pub name_prefix: String,
    /// What they follow.
    pub blueprint_id: BlueprintId,
    /// The reservation whose ports are used; what is not used is released.
    pub reservation_id: Option<ReservationId>,
}

/// What changes about a server; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct ServerChange {
    /// New name.
    pub name: Option<String>,
    /// New port; automatic keeps the one it has.
    pub port: Option<PortWish>,
    /// New blueprint.
    pub blueprint_id: Option<BlueprintId>,
}

/// A server as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerView {
    /// The server.
    pub server: Server,
    /// Name of its owner.
    pub owner: String,
    /// Name of its blueprint.
    pub blueprint_name: String,
    /// The one word that pages show.
    pub display_state: &'static str,
    /// Whether what is and what should be differ.
    pub drift: bool,
    /// Its queued and running jobs, in their order.
    pub active: Vec<Job>,
    /// Its newest job.
    pub last_job: Option<Job>,
}

impl Domain {
    /// See the contract.
    pub fn create_server(&self, actor: &Actor, new: NewServer, listeners: &Listeners) -> Result<Server> {
        let _ = (actor, new, listeners);
        pending()
    }

    /// See the contract.
    pub fn create_batch(&self, actor: &Actor, new: NewBatch, listeners: &Listeners) -> Result<Vec<ServerId>> {
        let _ = (actor, new, listeners);
        pending()
    }

    /// See the contract.
    pub fn list_servers(&self, actor: &Actor, page: &Page) -> Result<Items<ServerView>> {
        let _ = (actor, page);
        pending()
    }

    /// See the contract.
    pub fn server(&self, actor: &Actor, id: ServerId) -> Result<ServerView> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn update_server(
        &self,
        actor: &Actor,
        id: ServerId,
        change: ServerChange,
        listeners: &Listeners,
    ) -> Result<ServerView> {
        let _ = (actor, id, change, listeners);
        pending()
    }

    /// See the contract.
    pub fn request(&self, actor: &Actor, id: ServerId, operation: Operation) -> Result<Job> {
        let _ = (actor, id, operation);
        pending()
    }

    /// See the contract.
    pub fn spec(&self, id: ServerId) -> Result<InstanceSpec> {
        let _ = (id,);
        pending()
    }

    /// See the contract.
    pub fn observe(&self, id: ServerId, actual: ActualState, last_error: Option<String>) -> Result<()> {
        let _ = (id, actual, last_error);
        pending()
    }

    /// See the contract.
    pub fn all_servers(&self) -> Result<Vec<Server>> {
        pending()
    }

    /// See the contract.
    pub fn server_record(&self, id: ServerId) -> Result<Option<Server>> {
        let _ = (id,);
        pending()
    }

    /// See the contract.
    pub fn finish_delete(&self, id: ServerId) -> Result<()> {
        let _ = (id,);
        pending()
    }

    /// See the contract.
    pub fn game_ended(&self, id: ServerId) -> Result<()> {
        let _ = (id,);
        pending()
    }
}
