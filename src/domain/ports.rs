//! What people see and do about ports: claims, reservations, what is wrong with them, and mending it.
//!
//! Nothing here touches the claim of a server that exists; that is for the operations on the server itself.

use std::sync::PoisonError;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::audit::{note, object};
use super::{Domain, Refusal, Result, claims, require_admin};
use crate::model::FieldError;
use crate::model::id::{ReservationId, ServerId, UserId};
use crate::model::name::parse_label;
use crate::model::port::{ClaimStatus, Holder, Listeners, PortClaim, PortUse, Reservation};
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::{CLAIMS, RESERVATIONS, SERVERS, USERS};
use crate::store::{Read, Span, Tx};

/// Most ports that the map shows.
pub const MAP_MAX: usize = 1000;
/// Most ports of one reservation.
const RESERVE_MAX: u32 = 1000;

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

impl Serialize for ClaimView {
    /// As the interface and the command line write it.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let (server, reservation) = match self.claim.holder {
            Holder::Server(id) => (Some(id), None),
            Holder::Reservation(id) => (None, Some(id)),
        };
        let mut fields = serializer.serialize_struct("Claim", 11)?;
        fields.serialize_field("port", &self.port)?;
        fields.serialize_field("purpose", self.claim.purpose.word())?;
        fields.serialize_field("kind", self.claim.kind.word())?;
        fields.serialize_field("status", self.status.word())?;
        fields.serialize_field("server_id", &server)?;
        fields.serialize_field("reservation_id", &reservation)?;
        fields.serialize_field("holder", &self.holder_name)?;
        fields.serialize_field("user_id", &self.user_id)?;
        fields.serialize_field("username", &self.username)?;
        fields.serialize_field("claimed_at", &self.claim.claimed_at.to_string())?;
        fields.serialize_field("expires_at", &self.expires_at.map(|at| at.to_string()))?;
        fields.end()
    }
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationView {
    /// The record.
    pub reservation: Reservation,
    /// Its ports, lowest first.
    pub ports: Vec<u16>,
    /// Whether it is past its expiry.
    pub expired: bool,
}

impl Serialize for ReservationView {
    /// As the interface and the command line write it.
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reservation", 7)?;
        fields.serialize_field("id", &self.reservation.id)?;
        fields.serialize_field("user_id", &self.reservation.user_id)?;
        fields.serialize_field("label", &self.reservation.label)?;
        fields.serialize_field("expires_at", &self.reservation.expires_at.map(|at| at.to_string()))?;
        fields.serialize_field("created_at", &self.reservation.created_at.to_string())?;
        fields.serialize_field("ports", &self.ports)?;
        fields.serialize_field("expired", &self.expired)?;
        fields.end()
    }
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

/// One port of the range, as the map shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSlot {
    /// Which port.
    pub port: u16,
    /// What it is to the box.
    pub usage: PortUse,
    /// Who holds it, in words; `None`: nobody, or somebody whom the asker may not know.
    pub who: Option<String>,
    /// The server that holds it, where the asker may know.
    pub server: Option<ServerId>,
}

impl Domain {
    /// The port range, lowest first, at most [`MAP_MAX`] ports of it. Users see that a port is taken, and of their own
    /// servers by which.
    pub fn port_map(&self, actor: &Actor, listeners: &Listeners) -> Result<Vec<PortSlot>> {
        let read = self.read()?;
        let slot = |port: u16| -> Result<PortSlot> {
            let Some(claim) = read.get(&CLAIMS, &port)? else {
                let who = listeners.on(port).map(ToString::to_string);
                let usage = if who.is_some() { PortUse::Foreign } else { PortUse::Free };
                return Ok(PortSlot { port, usage, who, server: None });
            };
            let view = self.view(&read, port, claim)?;
            let usage = PortUse::Claimed(view.status);
            if !(actor.admin || view.user_id.is_some_and(|owner| actor.may_touch(owner))) {
                return Ok(PortSlot { port, usage, who: None, server: None });
            }
            let server = match view.claim.holder {
                Holder::Server(id) => Some(id).filter(|_| view.holder_name.is_some()),
                Holder::Reservation(_) => None,
            };
            Ok(PortSlot { port, usage, who: Some(view.holder_name.unwrap_or_else(|| "gone".into())), server })
        };
        self.rules().port_range.ports().take(MAP_MAX).map(slot).collect()
    }

    /// Claims, by port: admins all, users those of their servers.
    pub fn list_claims(&self, actor: &Actor) -> Result<Vec<ClaimView>> {
        let read = self.read()?;
        let mut found = self.all_claims(&read)?;
        found.retain(|view| actor.admin || view.user_id.is_some_and(|owner| actor.may_touch(owner)));
        Ok(found)
    }

    /// Holds `count` free ports for a planned batch. Admins only.
    pub fn reserve(&self, actor: &Actor, new: NewReservation, listeners: &Listeners) -> Result<ReservationView> {
        require_admin(actor)?;
        let label = parse_label(&new.label)?;
        let now = self.now();
        if new.count == 0 || new.count > RESERVE_MAX {
            return Err(FieldError::new("count", format!("must be from 1 to {RESERVE_MAX}")).into());
        }
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(FieldError::new("expires_at", "lies in the past").into());
        }
        self.allocating(actor, listeners, |tx, ports| {
            let id = ReservationId(tx.next_number("reservation")?);
            let reservation =
                Reservation { id, user_id: actor.user_id, label, expires_at: new.expires_at, created_at: now };
            tx.put(&RESERVATIONS, &id, &reservation)?;
            let ports = ports.reserve(tx, id, new.count)?;
            let text = format!("{}: {} ports", object("reservation", id, &reservation.label), ports.len());
            note(tx, now, actor, "ports.reserve", &text)?;
            Ok(ReservationView { reservation, ports, expired: false })
        })
    }

    /// Reservations, oldest first: admins all, users their own.
    pub fn list_reservations(&self, actor: &Actor) -> Result<Vec<ReservationView>> {
        let read = self.read()?;
        let now = self.now();
        let mut views = Vec::new();
        for (id, reservation) in read.list(&RESERVATIONS, &Span::all())? {
            if actor.admin || reservation.user_id.is_some_and(|user| actor.may_touch(user)) {
                let ports = claims::ports_of_reservation(&read, id)?;
                views.push(ReservationView { ports, expired: claims::is_expired(&reservation, now), reservation });
            }
        }
        Ok(views)
    }

    /// Ends a reservation. Admins only.
    pub fn release_reservation(&self, actor: &Actor, id: ReservationId) -> Result<()> {
        require_admin(actor)?;
        self.write(|tx| {
            let reservation = claims::reservation_of(tx, id)?;
            claims::release_reservation(tx, id)?;
            note(tx, self.now(), actor, "ports.release", &object("reservation", id, &reservation.label))
        })
    }

    /// What is wrong with the ports of the box. Admins only.
    pub fn check_ports(&self, actor: &Actor, listeners: &Listeners) -> Result<PortReport> {
        require_admin(actor)?;
        let read = self.read()?;
        let all = self.all_claims(&read)?;
        let mut report = PortReport::default();
        for (id, server) in read.list(&SERVERS, &Span::all())? {
            for port in [Some(server.port), server.tv_port].into_iter().flatten() {
                let held = read.get(&CLAIMS, &port)?.is_some_and(|claim| claim.holder == Holder::Server(id));
                if !held {
                    report.unclaimed.push((id, server.name.clone(), port));
                }
            }
        }
        for view in &all {
            report.foreign.extend(on_port(listeners, view.port).map(|text| (view.port, text)));
        }
        report.stale = all.into_iter().filter(|view| view.status == ClaimStatus::Stale).collect();
        Ok(report)
    }

    /// All that is known of one port. Admins only.
    pub fn inspect_port(&self, actor: &Actor, port: u16, listeners: &Listeners) -> Result<PortInspection> {
        require_admin(actor)?;
        let read = self.read()?;
        let claim = match read.get(&CLAIMS, &port)? {
            Some(claim) => Some(self.view(&read, port, claim)?),
            None => None,
        };
        let foreign = on_port(listeners, port).collect();
        Ok(PortInspection { port, claim, foreign, in_range: self.rules().port_range.ports().contains(&port) })
    }

    /// Claims of one server, retiring ones too, also when the server is gone. Admins, and the server's owner.
    pub fn claims_of_server(&self, actor: &Actor, id: ServerId) -> Result<Vec<ClaimView>> {
        let read = self.read()?;
        let mut found = Vec::new();
        for port in claims::ports_of_server(&read, id)? {
            if let Some(claim) = read.get(&CLAIMS, &port)? {
                found.push(self.view(&read, port, claim)?);
            }
        }
        found.retain(|view| actor.admin || view.user_id.is_some_and(|owner| actor.may_touch(owner)));
        Ok(found)
    }

    /// Releases stale claims and only those, and says which; `filter` limits it to a user or to the label of a reservation.
    /// With `dry_run` nothing changes. Admins only.
    pub fn cleanup_ports(&self, actor: &Actor, filter: Option<&str>, dry_run: bool) -> Result<Vec<ClaimView>> {
        require_admin(actor)?;
        let wanted = |view: &ClaimView| {
            let same = |name: &Option<String>| {
                filter.is_none_or(|filter| {
                    name.as_deref().is_some_and(|name| name.to_lowercase() == filter.to_lowercase())
                })
            };
            view.status == ClaimStatus::Stale && (same(&view.holder_name) || same(&view.username))
        };
        if dry_run {
            let mut stale = self.all_claims(&self.read()?)?;
            stale.retain(wanted);
            return Ok(stale);
        }
        self.write(|tx| {
            let mut stale = self.all_claims(tx)?;
            stale.retain(wanted);
            self.release_all(tx, actor, "ports.cleanup", &stale)?;
            Ok(stale)
        })
    }

    /// Releases one claim, unless it is that of a server that exists. Admins only.
    pub fn release_claim(&self, actor: &Actor, port: u16) -> Result<ClaimView> {
        require_admin(actor)?;
        self.write(|tx| {
            let claim = tx.get(&CLAIMS, &port)?.ok_or(Refusal::NotFound("port claim"))?;
            let view = self.view(tx, port, claim)?;
            refuse_living(&view)?;
            self.release_all(tx, actor, "ports.release", std::slice::from_ref(&view))?;
            Ok(view)
        })
    }

    /// Releases the claims of a server that is gone. Admins only.
    pub fn release_claims_of(&self, actor: &Actor, id: ServerId) -> Result<Vec<ClaimView>> {
        require_admin(actor)?;
        self.write(|tx| {
            let mut views = Vec::new();
            for port in claims::ports_of_server(tx, id)? {
                if let Some(claim) = tx.get(&CLAIMS, &port)? {
                    let view = self.view(tx, port, claim)?;
                    refuse_living(&view)?;
                    views.push(view);
                }
            }
            if views.is_empty() {
                return Err(Refusal::NotFound("port claim"));
            }
            self.release_all(tx, actor, "ports.release", &views)?;
            Ok(views)
        })
    }

    /// Ends all reservations and stale claims, and says which. Admins only; the caller has asked first.
    pub fn clear_claims(&self, actor: &Actor) -> Result<Vec<ClaimView>> {
        require_admin(actor)?;
        self.write(|tx| {
            let mut views = self.all_claims(tx)?;
            views.retain(|view| matches!(view.status, ClaimStatus::Stale | ClaimStatus::Reserved));
            self.release_all(tx, actor, "ports.clear", &views)?;
            for id in tx.keys(&RESERVATIONS, &Span::all())? {
                claims::release_reservation(tx, id)?;
            }
            Ok(views)
        })
    }

    /// Numbers for the metrics.
    pub fn port_counts(&self) -> PortCounts {
        *self.inner.port_counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all_claims(&self, read: &impl Read) -> Result<Vec<ClaimView>> {
        read.list(&CLAIMS, &Span::all())?.into_iter().map(|(port, claim)| self.view(read, port, claim)).collect()
    }

    fn view(&self, read: &impl Read, port: u16, claim: PortClaim) -> Result<ClaimView> {
        let status = claims::status(read, &claim, self.now())?;
        let (holder_name, user_id, expires_at) = match claim.holder {
            Holder::Server(id) => match read.get(&SERVERS, &id)? {
                Some(server) => (Some(server.name), Some(server.user_id), None),
                None => (None, None, None),
            },
            Holder::Reservation(id) => match read.get(&RESERVATIONS, &id)? {
                Some(reservation) => (Some(reservation.label), reservation.user_id, reservation.expires_at),
                None => (None, None, None),
            },
        };
        let username = match user_id {
            Some(id) => read.get(&USERS, &id)?.map(|user| user.username),
            None => None,
        };
        Ok(ClaimView { port, claim, status, holder_name, user_id, username, expires_at })
    }

    /// Releases claims, and the reservations that are left without a port.
    fn release_all(&self, tx: &mut Tx, actor: &Actor, action: &str, views: &[ClaimView]) -> Result<()> {
        for view in views {
            claims::release(tx, view.port)?;
            if let Holder::Reservation(id) = view.claim.holder
                && claims::ports_of_reservation(tx, id)?.is_empty()
            {
                claims::release_reservation(tx, id)?;
            }
        }
        if !views.is_empty() {
            let ports: Vec<String> = views.iter().map(|view| view.port.to_string()).collect();
            note(tx, self.now(), actor, action, &format!("ports {}", ports.join(", ")))?;
        }
        Ok(())
    }
}

fn on_port(listeners: &Listeners, port: u16) -> impl Iterator<Item = String> {
    listeners.0.iter().filter(move |listener| listener.address.port() == port).map(ToString::to_string)
}

fn refuse_living(view: &ClaimView) -> Result<()> {
    match view.status {
        ClaimStatus::Active | ClaimStatus::Retiring => Err(Refusal::Conflict(format!(
            "port {} belongs to the server \"{}\", which exists: change its port or delete it",
            view.port,
            view.holder_name.as_deref().unwrap_or_default()
        ))),
        ClaimStatus::Reserved | ClaimStatus::Stale => Ok(()),
    }
}
