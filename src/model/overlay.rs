//! Overlays: read-only folder trees merged over the game.

use serde::{Deserialize, Serialize};

use super::id::OverlayId;
use super::time::Timestamp;

/// A read-only tree that blueprints put over the game.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// Identifier.
    pub id: OverlayId,
    /// Unique on the box.
    pub name: String,
    /// Where its files come from.
    pub source: OverlaySource,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Where an overlay's files come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OverlaySource {
    /// A folder under the overlay root that the admin fills by hand. Absolute, `..` and symlinks resolved.
    Path(String),
    /// Immutable revisions that were uploaded; the number is the current one, `None` before the first upload.
    Managed(Option<u64>),
}

/// One uploaded state of a managed overlay, `managed/<overlay>/<number>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Grows by one from 1 within its overlay.
    pub number: u64,
    /// When it was uploaded.
    pub created_at: Timestamp,
    /// By whom (name, as text).
    pub created_by: String,
    /// File name of the upload.
    pub upload_name: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// What the lint at import found, in words.
    pub warnings: Vec<String>,
}
