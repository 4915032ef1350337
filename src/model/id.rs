//! Numeric identifiers, one type per object so that they cannot be mixed up, and the host identifier.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = std::num::ParseIntError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }
    )+};
}

ids! {
    /// A user.
    UserId,
    /// An overlay.
    OverlayId,
    /// A blueprint.
    BlueprintId,
    /// A server. Never used again after its deletion.
    ServerId,
    /// A job.
    JobId,
    /// A reservation of ports.
    ReservationId,
    /// An API token.
    TokenId,
    /// An audit entry.
    AuditId,
    /// A build: one published state of the game files.
    BuildId,
    /// One immutable folder `installation/<n>`.
    LayerId,
}

/// What the machine side calls a server: its number and nothing else. Folder names and the journal identifier are made
/// from it; a display name never reaches the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostId(ServerId);

impl HostId {
    /// The one function that makes a host identifier.
    pub fn of(server: ServerId) -> Self {
        Self(server)
    }

    /// The server that it is.
    pub fn server(self) -> ServerId {
        self.0
    }

    /// Identifier of the server's lines in the journal.
    pub fn journal(self) -> String {
        format!("left4me-server@{}", self.0)
    }
}

/// Numbers that were given out, the highest of each kind; 0: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Servers.
    pub server: u64,
    /// Overlays.
    pub overlay: u64,
    /// Revisions, of each overlay.
    pub revisions: Vec<(OverlayId, u64)>,
    /// Game layers.
    pub layer: u64,
    /// Jobs.
    pub job: u64,
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
