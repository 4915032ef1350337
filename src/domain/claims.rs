//! The claim table, as transactions change it: the only place that writes claims and their indexes.
//!
//! ```text
//!            create, port change, TV on              port change, TV off while the game runs
//!   (free) ───────────────────────────▶ active ────────────────────────────────────────────▶ retiring
//!     ▲  ▲                                │                                                     │
//!     │  └───── server deleted, or changed while no game runs ◀──── the game has ended ─────────┘
//!     │
//!     ├──── reserve ──▶ reserved ──▶ active (a batch takes it)
//!     │                    │ expires
//!     └── cleanup ◀────  stale  ──▶ active (an expired reservation is free to the next allocation)
//! ```

use super::{Refusal, Result};
use crate::model::event::Event;
use crate::model::id::{ReservationId, ServerId};
use crate::model::port::{ClaimStatus, Holder, PortClaim, Reservation};
use crate::model::server::{ActualState, Server};
use crate::model::time::Timestamp;
use crate::store::tables::{CLAIMS, CLAIMS_BY_RESERVATION, CLAIMS_BY_SERVER, COUNTERS, RESERVATIONS, SERVERS};
use crate::store::{Read, Span, Tx};

/// Counts what servers gave back: as long as the number is the same, no port that a server had has become free.
const RELEASED: &str = "released port";

/// How many ports servers have given back.
pub(super) fn released(read: &impl Read) -> Result<u64> {
    Ok(read.get(&COUNTERS, &RELEASED.to_owned())?.unwrap_or(0))
}

/// Writes a claim over whatever held the port: the caller has checked that it may.
pub(super) fn put(tx: &mut Tx, port: u16, claim: &PortClaim) -> Result<()> {
    if let Some(old) = tx.get(&CLAIMS, &port)? {
        unlist(tx, port, old.holder)?;
        if matches!((old.holder, claim.holder), (Holder::Server(_), Holder::Reservation(_))) {
            // A reservation lapses by itself.
            tx.next_number(RELEASED)?;
        }
        // A reservation whose last port is taken holds nothing any more.
        if let Holder::Reservation(id) = old.holder
            && old.holder != claim.holder
            && ports_of_reservation(tx, id)?.is_empty()
        {
            tx.remove(&RESERVATIONS, &id)?;
        }
    }
    tx.put(&CLAIMS, &port, claim)?;
    match claim.holder {
        Holder::Server(id) => tx.put(&CLAIMS_BY_SERVER, &(id, port), &())?,
        Holder::Reservation(id) => tx.put(&CLAIMS_BY_RESERVATION, &(id, port), &())?,
    }
    tx.note(Event::Ports);
    Ok(())
}

/// Frees a port.
pub(super) fn release(tx: &mut Tx, port: u16) -> Result<()> {
    let Some(old) = tx.get(&CLAIMS, &port)? else { return Ok(()) };
    unlist(tx, port, old.holder)?;
    tx.remove(&CLAIMS, &port)?;
    tx.next_number(RELEASED)?;
    tx.note(Event::Ports);
    Ok(())
}

fn unlist(tx: &mut Tx, port: u16, holder: Holder) -> Result<()> {
    match holder {
        Holder::Server(id) => tx.remove(&CLAIMS_BY_SERVER, &(id, port))?,
        Holder::Reservation(id) => tx.remove(&CLAIMS_BY_RESERVATION, &(id, port))?,
    }
    Ok(())
}

/// A server leaves a port: freed when no game can listen on it, else kept as retiring until the game has ended.
pub(super) fn leave(tx: &mut Tx, server: &Server, port: u16) -> Result<()> {
    match server.actual_state {
        ActualState::Stopped | ActualState::Failed => release(tx, port),
        // Never started: nothing can listen there.
        ActualState::Unknown if server.started_at.is_none() => release(tx, port),
        // One port is left behind by the game that runs; those chosen and left since were never listened on.
        ActualState::Starting | ActualState::Running if has_left_another(tx, server.id, port)? => release(tx, port),
        ActualState::Starting | ActualState::Running | ActualState::Unknown => {
            let Some(claim) = tx.get(&CLAIMS, &port)? else { return Ok(()) };
            put(tx, port, &PortClaim { retiring: true, ..claim })
        }
    }
}

/// Whether the server holds a retiring claim of the same purpose as `port`.
fn has_left_another(read: &impl Read, id: ServerId, port: u16) -> Result<bool> {
    let Some(own) = read.get(&CLAIMS, &port)? else { return Ok(false) };
    for other in ports_of_server(read, id)? {
        if read.get(&CLAIMS, &other)?.is_some_and(|claim| claim.retiring && claim.purpose == own.purpose) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ports of a server, retiring ones too.
pub(super) fn ports_of_server(read: &impl Read, id: ServerId) -> Result<Vec<u16>> {
    Ok(read.keys(&CLAIMS_BY_SERVER, &Span::under(&id))?.into_iter().map(|(_, port)| port).collect())
}

/// Ports of a reservation, lowest first.
pub(super) fn ports_of_reservation(read: &impl Read, id: ReservationId) -> Result<Vec<u16>> {
    Ok(read.keys(&CLAIMS_BY_RESERVATION, &Span::under(&id))?.into_iter().map(|(_, port)| port).collect())
}

/// The game of a server has ended: its retiring ports are free.
pub(super) fn release_retiring(tx: &mut Tx, id: ServerId) -> Result<()> {
    for port in ports_of_server(tx, id)? {
        if tx.get(&CLAIMS, &port)?.is_some_and(|claim| claim.retiring) {
            release(tx, port)?;
        }
    }
    Ok(())
}

/// Whether a server has retiring ports.
pub(super) fn has_retiring(read: &impl Read, id: ServerId) -> Result<bool> {
    for port in ports_of_server(read, id)? {
        if read.get(&CLAIMS, &port)?.is_some_and(|claim| claim.retiring) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends a reservation; its ports are free.
pub(super) fn release_reservation(tx: &mut Tx, id: ReservationId) -> Result<()> {
    for port in ports_of_reservation(tx, id)? {
        release(tx, port)?;
    }
    tx.remove(&RESERVATIONS, &id)?;
    tx.note(Event::Ports);
    Ok(())
}

/// A reservation by id.
pub(super) fn reservation_of(read: &impl Read, id: ReservationId) -> Result<Reservation> {
    read.get(&RESERVATIONS, &id)?.ok_or(Refusal::NotFound("reservation"))
}

/// Whether a reservation is past its expiry.
pub(super) fn is_expired(reservation: &Reservation, now: Timestamp) -> bool {
    reservation.expires_at.is_some_and(|end| end <= now)
}

/// What a claim is worth now.
pub(super) fn status(read: &impl Read, claim: &PortClaim, now: Timestamp) -> Result<ClaimStatus> {
    Ok(match claim.holder {
        Holder::Server(id) => match read.has(&SERVERS, &id)? {
            true if claim.retiring => ClaimStatus::Retiring,
            true => ClaimStatus::Active,
            false => ClaimStatus::Stale,
        },
        Holder::Reservation(id) => match read.get(&RESERVATIONS, &id)? {
            Some(reservation) if !is_expired(&reservation, now) => ClaimStatus::Reserved,
            Some(_) | None => ClaimStatus::Stale,
        },
    })
}

/// Whether the next allocation may take the port although it is claimed: its reservation is over.
pub(super) fn is_lapsed_reservation(read: &impl Read, claim: &PortClaim, now: Timestamp) -> Result<bool> {
    match claim.holder {
        Holder::Server(_) => Ok(false),
        Holder::Reservation(_) => Ok(status(read, claim, now)? == ClaimStatus::Stale),
    }
}
