//! The audit log.

use super::{Domain, Items, Page, Result};
use crate::model::audit::AuditEntry;
use crate::model::user::Actor;

use super::pending;

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

impl Domain {
    /// See the contract.
    pub fn list_audit(&self, actor: &Actor, filter: &AuditFilter, page: &Page) -> Result<Items<AuditEntry>> {
        let _ = (actor, filter, page);
        pending()
    }

    /// See the contract.
    pub fn record(&self, actor: &Actor, action: &str, object: &str) -> Result<()> {
        let _ = (actor, action, object);
        pending()
    }
}
