//! Revisions of managed overlays: immutable; a change is a new one, and servers take it at their next start.

use std::collections::{BTreeMap, BTreeSet};

use super::audit::note;
use super::overlays::overlay_of;
use super::{Domain, Refusal, Result, require_admin};
use crate::model::id::OverlayId;
use crate::model::overlay::{Overlay, OverlaySource, Revision};
use crate::model::user::Actor;
use crate::store::tables::{OVERLAYS, REVISIONS};
use crate::store::{Read, Span};

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
    /// The number of the next revision, for its folder `managed/<overlay>/<number>`. Ask when the files are accepted and
    /// only wait for their place: a number that is given out is not given out again. Admins only.
    pub fn begin_revision(&self, actor: &Actor, id: OverlayId) -> Result<u64> {
        require_admin(actor)?;
        self.write(|tx| {
            managed(&overlay_of(tx, id)?)?;
            Ok(tx.next_number(&numbers_of(id))?)
        })
    }

    /// Publishes a revision whose folder is complete and makes it the current one. Admins only.
    pub fn publish_revision(&self, actor: &Actor, id: OverlayId, new: NewRevision) -> Result<Revision> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let mut overlay = overlay_of(tx, id)?;
            managed(&overlay)?;
            let revision = Revision {
                number: new.number,
                created_at: now,
                created_by: actor.name.clone(),
                upload_name: new.upload_name,
                files: new.files,
                bytes: new.bytes,
                warnings: new.warnings,
            };
            if tx.has(&REVISIONS, &(id, revision.number))? {
                return Err(Refusal::Conflict(format!("revision {} exists: upload again", revision.number)));
            }
            tx.put(&REVISIONS, &(id, revision.number), &revision)?;
            overlay.source = OverlaySource::Managed(Some(revision.number));
            overlay.updated_at = now;
            tx.put(&OVERLAYS, &id, &overlay)?;
            let text = format!(
                "overlay {id} \"{}\" revision {} from \"{}\"",
                overlay.name, revision.number, revision.upload_name
            );
            note(tx, now, actor, "overlay.upload", &text)?;
            Ok(revision)
        })
    }

    /// Revisions of a managed overlay, newest first. Admins only.
    pub fn list_revisions(&self, actor: &Actor, id: OverlayId) -> Result<Vec<Revision>> {
        require_admin(actor)?;
        let read = self.read()?;
        overlay_of(&read, id)?;
        Ok(read.list(&REVISIONS, &Span::under(&id).backwards())?.into_iter().map(|(_, revision)| revision).collect())
    }

    /// Every managed overlay with the numbers of its revisions: which files belong to something.
    pub fn managed_revisions(&self) -> Result<BTreeMap<OverlayId, BTreeSet<u64>>> {
        let read = self.read()?;
        let mut found = BTreeMap::new();
        for (id, overlay) in read.list(&OVERLAYS, &Span::all())? {
            if let OverlaySource::Managed(_) = overlay.source {
                let numbers = read.keys(&REVISIONS, &Span::under(&id))?.into_iter().map(|(_, number)| number);
                found.insert(id, numbers.collect());
            }
        }
        Ok(found)
    }

    /// Makes an earlier (or later) revision the current one. Admins only.
    pub fn activate_revision(&self, actor: &Actor, id: OverlayId, number: u64) -> Result<Overlay> {
        require_admin(actor)?;
        let now = self.now();
        self.write(|tx| {
            let mut overlay = overlay_of(tx, id)?;
            managed(&overlay)?;
            if !tx.has(&REVISIONS, &(id, number))? {
                return Err(Refusal::NotFound("revision"));
            }
            let source = OverlaySource::Managed(Some(number));
            if overlay.source != source {
                overlay.source = source;
                overlay.updated_at = now;
                tx.put(&OVERLAYS, &id, &overlay)?;
                let text = format!("overlay {id} \"{}\" revision {number}", overlay.name);
                note(tx, now, actor, "overlay.activate", &text)?;
            }
            Ok(overlay)
        })
    }
}

/// What the numbers of an overlay's revisions are counted as.
pub(super) fn numbers_of(id: OverlayId) -> String {
    format!("revision of overlay {id}")
}

fn managed(overlay: &Overlay) -> Result<()> {
    match overlay.source {
        OverlaySource::Managed(_) => Ok(()),
        OverlaySource::Path(_) => Err(Refusal::Conflict(format!(
            "overlay \"{}\" is a folder of the box: put files into it by hand, or make a managed overlay",
            overlay.name
        ))),
    }
}
