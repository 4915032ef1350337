//! Folder trees that lie over each other, and which of them holds a path.
//!
//! Pages say which layers are meant, the machine looks into them. The order is the one of a mount: highest first.

use super::id::{LayerId, OverlayId, ServerId};
use super::spec::SpecOverlay;

/// One layer of an instance, or of what a blueprint makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackLayer {
    /// The generated `server.cfg`, as the last start wrote it.
    Generated(ServerId),
    /// What the game wrote.
    Written(ServerId),
    /// An overlay of the blueprint.
    Overlay(SpecOverlay),
    /// A layer of the game's files.
    Game(LayerId),
}

impl StackLayer {
    /// The word of the interface.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Generated(_) => "generated",
            Self::Written(_) => "written",
            Self::Overlay(_) => "overlay",
            Self::Game(_) => "game",
        }
    }

    /// Which overlay, where it is one.
    pub fn overlay(&self) -> Option<OverlayId> {
        match self {
            Self::Overlay(overlay) => Some(overlay.id),
            Self::Generated(_) | Self::Written(_) | Self::Game(_) => None,
        }
    }
}

/// What a layer has under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldKind {
    /// A file, or an entry of an addon.
    File,
    /// A symlink.
    Link,
    /// The mark that a lower layer's file was removed.
    Removed,
}

impl HeldKind {
    /// The word of the interface.
    pub fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Link => "link",
            Self::Removed => "removed",
        }
    }
}

/// A layer that has something under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its place in the stack that was asked about, 0 the highest.
    pub layer: usize,
    /// What it has there.
    pub kind: HeldKind,
    /// Bytes of a file, else 0.
    pub bytes: u64,
    /// Whether the game sees this one. At most one of a path's is seen: the one that wins.
    pub wins: bool,
}

/// A path that some layers hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldPath {
    /// The path below the root of the game, `/` between names. It may lead on into an addon.
    pub path: String,
    /// Where the path of the addon ends, for an entry of one.
    pub addon: Option<usize>,
    /// Who holds it, highest first.
    pub holders: Vec<Holder>,
}

/// What a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerSearch {
    /// By path.
    pub paths: Vec<HeldPath>,
    /// There is more than is shown.
    pub more: bool,
}
