//! Overlays and the revisions of managed ones.

use super::{Domain, Items, Page, Result};
use crate::model::id::{BlueprintId, OverlayId};
use crate::model::overlay::{Overlay, Revision};
use crate::model::user::Actor;

use super::pending;

/// A new overlay.
#[derive(Debug, Clone)]
pub struct NewOverlay {
    /// Unique on the box.
    pub name: String,
    /// A folder under the overlay root; `None`: a managed overlay.
    pub path: Option<String>,
}

/// What changes about an overlay; `None`: nothing.
#[derive(Debug, Clone, Default)]
pub struct OverlayChange {
    /// New name.
    pub name: Option<String>,
    /// New folder (path overlays only).
    pub path: Option<String>,
}

/// An overlay as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayView {
    /// The overlay.
    pub overlay: Overlay,
    /// Whether its folder does not exist (a path overlay), or nothing was uploaded yet (a managed one).
    pub missing: bool,
    /// Blueprints that use it.
    pub used_by: Vec<(BlueprintId, String)>,
}

/// An upload that was accepted and lies in its place.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// What [`Domain::begin_revision`] gave.
    pub number: u64,
    /// File name of the upload.
    pub upload_name: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// What the lint found.
    pub warnings: Vec<String>,
}

impl Domain {
    /// See the contract.
    pub fn create_overlay(&self, actor: &Actor, new: NewOverlay) -> Result<Overlay> {
        let _ = (actor, new);
        pending()
    }

    /// See the contract.
    pub fn list_overlays(&self, actor: &Actor, page: &Page) -> Result<Items<OverlayView>> {
        let _ = (actor, page);
        pending()
    }

    /// See the contract.
    pub fn overlay_choices(&self, actor: &Actor) -> Result<Vec<Overlay>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn overlay(&self, actor: &Actor, id: OverlayId) -> Result<OverlayView> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn update_overlay(&self, actor: &Actor, id: OverlayId, change: OverlayChange) -> Result<Overlay> {
        let _ = (actor, id, change);
        pending()
    }

    /// See the contract.
    pub fn delete_overlay(&self, actor: &Actor, id: OverlayId) -> Result<()> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn begin_revision(&self, actor: &Actor, id: OverlayId) -> Result<u64> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn publish_revision(&self, actor: &Actor, id: OverlayId, new: NewRevision) -> Result<Revision> {
        let _ = (actor, id, new);
        pending()
    }

    /// See the contract.
    pub fn list_revisions(&self, actor: &Actor, id: OverlayId) -> Result<Vec<Revision>> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn activate_revision(&self, actor: &Actor, id: OverlayId, number: u64) -> Result<Overlay> {
        let _ = (actor, id, number);
        pending()
    }
}
