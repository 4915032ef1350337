//! Blueprints.

use super::{Domain, Items, Page, Result};
use crate::model::blueprint::Blueprint;
use crate::model::id::{BlueprintId, OverlayId};
use crate::model::port::Listeners;
use crate::model::server::Server;
use crate::model::user::Actor;

use super::pending;

/// A new blueprint.
#[derive(Debug, Clone, Default)]
pub struct NewBlueprint {
    /// Unique per user.
    pub name: String,
    /// Argument lines.
    pub arguments: Vec<String>,
    /// Lines of `server.cfg`.
    pub config: Vec<String>,
    /// Overlays, highest first.
    pub overlay_ids: Vec<OverlayId>,
}

/// What changes about a blueprint; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct BlueprintChange {
    /// New name.
    pub name: Option<String>,
    /// New argument lines.
    pub arguments: Option<Vec<String>>,
    /// New config lines.
    pub config: Option<Vec<String>>,
    /// New overlays, highest first.
    pub overlay_ids: Option<Vec<OverlayId>>,
}

impl Domain {
    /// See the contract.
    pub fn create_blueprint(&self, actor: &Actor, new: NewBlueprint) -> Result<Blueprint> {
        let _ = (actor, new);
        pending()
    }

    /// See the contract.
    pub fn list_blueprints(&self, actor: &Actor, page: &Page) -> Result<Items<Blueprint>> {
        let _ = (actor, page);
        pending()
    }

    /// See the contract.
    pub fn blueprint(&self, actor: &Actor, id: BlueprintId) -> Result<Blueprint> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn update_blueprint(
        &self,
        actor: &Actor,
        id: BlueprintId,
        change: BlueprintChange,
        listeners: &Listeners,
    ) -> Result<Blueprint> {
        let _ = (actor, id, change, listeners);
        pending()
    }

    /// See the contract.
    pub fn delete_blueprint(&self, actor: &Actor, id: BlueprintId) -> Result<()> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn duplicate_blueprint(&self, actor: &Actor, id: BlueprintId, name: Option<&str>) -> Result<Blueprint> {
        let _ = (actor, id, name);
        pending()
    }

    /// See the contract.
    pub fn blueprint_servers(&self, actor: &Actor, id: BlueprintId) -> Result<Vec<Server>> {
        let _ = (actor, id);
        pending()
    }
}
