//! The append-only record of who changed what.

use serde::{Deserialize, Serialize};

use super::id::{AuditId, UserId};
use super::time::Timestamp;

/// One change. Text in it may come from outside: it is escaped wherever it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Identifier, growing.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who, by number, where it was a user.
    pub actor_id: Option<UserId>,
    /// Who, by name at that time.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What, as `noun.verb`: `server.create`, `user.disable`.
    pub action: String,
    /// To what, in words: `server 42 "My Practice"`.
    pub object: String,
}
