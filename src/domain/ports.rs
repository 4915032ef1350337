//! Port claims, reservations and what is wrong with them.

use super::{Domain, Result};
use crate::model::id::{ReservationId, ServerId, UserId};
use crate::model::port::{ClaimStatus, Listeners, PortClaim, Reservation};
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use serde::Serialize;

use super::pending;

/// A claim as pages show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimView {
    /// Which port.
    pub port: u16,
    /// The record.
    pub claim: PortClaim,
    /// What it is worth now.
    pub status: ClaimStatus,
    /// The server's name or the reservation's label; `None`: gone.
    pub holder_name: Option<String>,
    /// Owner of the server, or who reserved.
    pub user_id: Option<UserId>,
    /// Name of that user.
    pub username: Option<String>,
    /// When the reservation ends.
    pub expires_at: Option<Timestamp>,
}

/// A new reservation.
#[derive(Debug, Clone)]
pub struct NewReservation {
    /// How many ports.
    pub count: u32,
    /// What it is called.
    pub label: String,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A reservation and its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReservationView {
    /// The record.
    pub reservation: Reservation,
    /// Its ports, lowest first.
    pub ports: Vec<u16>,
    /// Whether it is past its expiry.
    pub expired: bool,
}

/// What is wrong with the ports of the box.
#[derive(Debug, Clone, Default)]
pub struct PortReport {
    /// Claims whose server is gone or whose reservation expired.
    pub stale: Vec<ClaimView>,
    /// Servers whose port is not claimed for them: id, name, port.
    pub unclaimed: Vec<(ServerId, String, u16)>,
    /// Claimed ports on which a stranger listens: port, and who, in words.
    pub foreign: Vec<(u16, String)>,
}

/// What `inspect` says about one port.
#[derive(Debug, Clone)]
pub struct PortInspection {
    /// Which port.
    pub port: u16,
    /// Who holds it.
    pub claim: Option<ClaimView>,
    /// Who listens on it besides our own games, in words.
    pub foreign: Vec<String>,
    /// Whether automatic choice may take it.
    pub in_range: bool,
}

/// Numbers for the metrics of contract §4, since the daemon began.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PortCounts {
    /// Ports given out.
    pub allocations: u64,
    /// Requests for a port that was claimed.
    pub conflicts: u64,
    /// Requests that met a range without a free port.
    pub exhaustions: u64,
    /// Ports that were passed over or refused because a stranger listens there.
    pub foreign: u64,
    /// Time spent in operations that give out ports, seconds in all.
    pub seconds: f64,
}

impl Domain {
    /// See the contract.
    pub fn list_claims(&self, actor: &Actor) -> Result<Vec<ClaimView>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn reserve(&self, actor: &Actor, new: NewReservation, listeners: &Listeners) -> Result<ReservationView> {
        let _ = (actor, new, listeners);
        pending()
    }

    /// See the contract.
    pub fn list_reservations(&self, actor: &Actor) -> Result<Vec<ReservationView>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn release_reservation(&self, actor: &Actor, id: ReservationId) -> Result<()> {
        let _ = (actor, id);
        pending()
    }

    /// See the contract.
    pub fn check_ports(&self, actor: &Actor, listeners: &Listeners) -> Result<PortReport> {
        let _ = (actor, listeners);
        pending()
    }

    /// See the contract.
    pub fn inspect_port(&self, actor: &Actor, port: u16, listeners: &Listeners) -> Result<PortInspection> {
        let _ = (actor, port, listeners);
        pending()
    }

    /// See the contract.
    pub fn cleanup_ports(&self, actor: &Actor, filter: Option<&str>, dry_run: bool) -> Result<Vec<ClaimView>> {
        let _ = (actor, filter, dry_run);
        pending()
    }

    /// See the contract.
    pub fn release_claim(&self, actor: &Actor, port: u16) -> Result<ClaimView> {
        let _ = (actor, port);
        pending()
    }

    /// See the contract.
    pub fn clear_claims(&self, actor: &Actor) -> Result<Vec<ClaimView>> {
        let _ = (actor,);
        pending()
    }

    /// See the contract.
    pub fn port_counts(&self) -> PortCounts {
        PortCounts::default()
    }
}
