//! Users, their sessions and tokens, and who acts.

use serde::{Deserialize, Serialize};

use super::id::{TokenId, UserId};
use super::time::Timestamp;

/// A person with a login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Identifier.
    pub id: UserId,
    /// As the user wrote it; compared case-insensitively.
    pub username: String,
    /// Argon2id digest in PHC string form; never the password.
    pub password: String,
    /// May manage the box.
    pub admin: bool,
    /// May not log in.
    pub disabled: bool,
    /// When the account was made.
    pub created_at: Timestamp,
    /// Second factor, when switched on.
    pub second_factor: Option<SecondFactor>,
}

/// TOTP (RFC 6238) and its recovery codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The shared secret; it must be readable to check codes.
    pub secret: Vec<u8>,
    /// The last time step that was accepted: no code works twice.
    pub last_step: u64,
    /// SHA-256 digests of the recovery codes that are left.
    pub recovery: Vec<[u8; 32]>,
}

/// A browser that is logged in. Keyed by the SHA-256 of its cookie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Who.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// From where.
    pub address: String,
}

/// What an API token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Look.
    Read,
    /// Look, and change what the user may change.
    Operate,
    /// All that the user may do as an admin.
    Admin,
}

/// A token for programs. The token itself is shown once; the store keeps its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Identifier.
    pub id: TokenId,
    /// Whose.
    pub user_id: UserId,
    /// What the user calls it.
    pub label: String,
    /// What it may do.
    pub scope: Scope,
    /// SHA-256 of the token.
    pub digest: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was last used (to the minute).
    pub last_used_at: Option<Timestamp>,
}

/// Who asks for an operation, as the domain sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user; `None` for the box itself (the command line as root or service user, the supervisor).
    pub user_id: Option<UserId>,
    /// Name for the audit log.
    pub name: String,
    /// May do what admins may (an admin whose token is narrower is not).
    pub admin: bool,
    /// From where: an address, or `local` for the control socket.
    pub address: String,
}

impl Actor {
    /// The box itself.
    pub fn system() -> Self {
        Self { user_id: None, name: "system".into(), admin: true, address: "local".into() }
    }

    /// Whether the actor may read and operate what `owner` owns. Admins may all.
    pub fn may_touch(&self, owner: UserId) -> bool {
        self.admin || self.user_id == Some(owner)
    }
}
