//! Overlays. Admins manage them; everybody may choose them for a blueprint.

use super::audit::{note, object};
use super::{Domain, Items, Page, Refusal, Result, overlay_path, require_admin};
use crate::model::FieldError;
use crate::model::event::Event;
use crate::model::id::{BlueprintId, OverlayId};
use crate::model::name::parse_name;
use crate::model::overlay::{Overlay, OverlaySource};
use crate::model::user::Actor;
use crate::store::tables::{BLUEPRINTS, BLUEPRINTS_BY_OVERLAY, OVERLAY_NAMES, OVERLAYS, REVISIONS};
use crate::store::{Read, Span, Tx};

pub use super::revisions::NewRevision;

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

impl Domain {
    /// Adds an overlay. Admins only. Looks at the folder.
    pub fn create_overlay(&self, actor: &Actor, new: NewOverlay) -> Result<Overlay> {
        require_admin(actor)?;
        let name = parse_name(&new.name)?;
        let source = match new.path {
            Some(path) => OverlaySource::Path(self.check_overlay_path(&path)?),
            None => OverlaySource::Managed(None),
        };
        let now = self.now();
        self.write(|tx| {
            claim_name(tx, &name)?;
            let id = OverlayId(tx.next_number("overlay")?);
            let overlay = Overlay { id, name, source, created_at: now, updated_at: now };
            tx.put(&OVERLAYS, &id, &overlay)?;
            tx.put(&OVERLAY_NAMES, &overlay.name, &id)?;
            note(tx, now, actor, "overlay.create", &object("overlay", id, &overlay.name))?;
            Ok(overlay)
        })
    }

    /// All overlays, by name. Admins only. Looks at the folders.
    pub fn list_overlays(&self, actor: &Actor, page: &Page) -> Result<Items<OverlayView>> {
        require_admin(actor)?;
        let read = self.read()?;
        let mut found = Vec::new();
        for (name, id) in read.list(&OVERLAY_NAMES, &page.narrow(Span::all())?.limit(page.size() + 1))? {
            found.push((name, view(&read, overlay_of(&read, id)?)?));
        }
        Ok(page.cut(found))
    }

    /// All overlays that a blueprint may use, by name. Every user.
    pub fn overlay_choices(&self, actor: &Actor) -> Result<Vec<Overlay>> {
        let _ = actor;
        let read = self.read()?;
        read.list(&OVERLAY_NAMES, &Span::all())?.into_iter().map(|(_, id)| overlay_of(&read, id)).collect()
    }

    /// One overlay. Admins only. Looks at its folder.
    pub fn overlay(&self, actor: &Actor, id: OverlayId) -> Result<OverlayView> {
        require_admin(actor)?;
        let read = self.read()?;
        view(&read, overlay_of(&read, id)?)
    }

    /// Renames an overlay, or moves it to another folder. Admins only. Looks at the folder.
    pub fn update_overlay(&self, actor: &Actor, id: OverlayId, change: OverlayChange) -> Result<Overlay> {
        require_admin(actor)?;
        let name = change.name.as_deref().map(parse_name).transpose()?;
        let old = overlay_of(&self.read()?, id)?;
        let path = match (&old.source, change.path) {
            (_, None) => None,
            (OverlaySource::Path(old), Some(new)) if *old == new.trim() => None,
            (OverlaySource::Path(_), Some(new)) => Some(self.check_overlay_path(&new)?),
            (OverlaySource::Managed(_), Some(_)) => {
                return Err(FieldError::new("path", "a managed overlay has no path: upload files instead").into());
            }
        };
        let now = self.now();
        self.write(|tx| {
            let mut overlay = overlay_of(tx, id)?;
            let before = overlay.clone();
            if let Some(name) = name.filter(|name| *name != overlay.name) {
                claim_name(tx, &name)?;
                tx.remove(&OVERLAY_NAMES, &overlay.name)?;
                tx.put(&OVERLAY_NAMES, &name, &id)?;
                overlay.name = name;
            }
            if let Some(path) = path {
                overlay.source = OverlaySource::Path(path);
            }
            if overlay != before {
                overlay.updated_at = now;
                tx.put(&OVERLAYS, &id, &overlay)?;
                note(tx, now, actor, "overlay.update", &object("overlay", id, &overlay.name))?;
            }
            Ok(overlay)
        })
    }

    /// Removes an overlay that no blueprint uses. The folder of a path overlay is never deleted by us; the files of a managed
    /// one go (by supervise) when no instance has them mounted. Admins only.
    pub fn delete_overlay(&self, actor: &Actor, id: OverlayId) -> Result<()> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let overlay = overlay_of(tx, id)?;
            let names: Vec<String> = used_by(tx, id)?.into_iter().map(|(_, name)| name).collect();
            if !names.is_empty() {
                return Err(Refusal::InUse { what: "blueprints", names });
            }
            for key in tx.keys(&REVISIONS, &Span::under(&id))? {
                tx.remove(&REVISIONS, &key)?;
            }
            tx.remove(&OVERLAY_NAMES, &overlay.name)?;
            tx.remove(&OVERLAYS, &id)?;
            tx.note(Event::OverlayGone(id));
            note(tx, now, actor, "overlay.delete", &object("overlay", id, &overlay.name))
        })
    }

    fn check_overlay_path(&self, path: &str) -> Result<String> {
        Ok(overlay_path::check(&self.rules().overlay_root, &self.rules().data_dir, path)?)
    }
}

/// An overlay by id.
pub(super) fn overlay_of(read: &impl Read, id: OverlayId) -> Result<Overlay> {
    read.get(&OVERLAYS, &id)?.ok_or(Refusal::NotFound("overlay"))
}

fn claim_name(tx: &Tx, name: &str) -> Result<()> {
    if tx.has(&OVERLAY_NAMES, &name.to_owned())? { Err(Refusal::NameTaken) } else { Ok(()) }
}

fn used_by(read: &impl Read, id: OverlayId) -> Result<Vec<(BlueprintId, String)>> {
    let mut users = Vec::new();
    for (_, blueprint) in read.keys(&BLUEPRINTS_BY_OVERLAY, &Span::under(&id))? {
        if let Some(blueprint) = read.get(&BLUEPRINTS, &blueprint)? {
            users.push((blueprint.id, blueprint.name));
        }
    }
    Ok(users)
}

fn view(read: &impl Read, overlay: Overlay) -> Result<OverlayView> {
    let missing = match &overlay.source {
        OverlaySource::Path(path) => overlay_path::is_missing(path),
        OverlaySource::Managed(current) => current.is_none(),
    };
    Ok(OverlayView { used_by: used_by(read, overlay.id)?, missing, overlay })
}
