//! The audit log: who changed what, from where. Entries are written in the transaction of the change itself.

use std::ops::ControlFlow;

use super::{Domain, Items, Page, Result, require_admin};
use crate::model::audit::AuditEntry;
use crate::model::id::AuditId;
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::AUDIT;
use crate::store::{Read, Span, Tx};

/// Which entries are wanted; `None`: any.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Name of the actor, compared case-insensitively.
    pub actor: Option<String>,
    /// Beginning of the action: `server`, `server.create`.
    pub action: Option<String>,
    /// Part of the object's text, compared case-insensitively.
    pub object: Option<String>,
}

impl AuditFilter {
    fn admits(&self, entry: &AuditEntry) -> bool {
        let same = |wanted: &String| wanted.to_lowercase() == entry.actor.to_lowercase();
        let part = |wanted: &String| entry.object.to_lowercase().contains(&wanted.to_lowercase());
        self.actor.as_ref().is_none_or(same)
            && self.action.as_ref().is_none_or(|wanted| entry.action.starts_with(wanted.as_str()))
            && self.object.as_ref().is_none_or(part)
    }
}

impl Domain {
    /// The audit log, newest first. Admins only.
    pub fn list_audit(&self, actor: &Actor, filter: &AuditFilter, page: &Page) -> Result<Items<AuditEntry>> {
        require_admin(actor)?;
        let read = self.read()?;
        let mut found = Vec::new();
        read.visit(&AUDIT, &page.narrow(Span::all().backwards())?, |id, entry| {
            if filter.admits(&entry) {
                found.push((id, entry));
            }
            Ok(if page.is_full(found.len()) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(page.cut(found))
    }

    /// Records something that changed no record of the store: a line typed into a console, a process that was ended.
    pub fn record(&self, actor: &Actor, action: &str, object: &str) -> Result<()> {
        self.write(|tx| note(tx, self.now(), actor, action, object))
    }
}

/// Writes an entry.
pub(super) fn note(tx: &mut Tx, now: Timestamp, actor: &Actor, action: &str, object: &str) -> Result<()> {
    let id = AuditId(tx.next_number("audit")?);
    let entry = AuditEntry {
        id,
        at: now,
        actor_id: actor.user_id,
        actor: actor.name.clone(),
        address: actor.address.clone(),
        action: action.to_owned(),
        object: object.to_owned(),
    };
    Ok(tx.put(&AUDIT, &id, &entry)?)
}

/// How an object is called in an entry: `server 42 "My Practice"`.
pub(super) fn object(noun: &str, id: impl std::fmt::Display, name: &str) -> String {
    format!("{noun} {id} \"{name}\"")
}
