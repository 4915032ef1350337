//! Giving out ports, inside the transaction that writes what they are for.
//!
//! Automatic: the lowest port of the range that no claim holds and no foreign process listens on. Wished: that port or a
//! refusal that says who has it. The snapshot of listeners was taken before the transaction; the store has one writer, so
//! two requests for one port cannot both get it, and nothing is tried twice.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::time::Instant;

use super::{Domain, Refusal, Result, claims};
use crate::model::FieldError;
use crate::model::id::{ReservationId, ServerId};
use crate::model::port::{ClaimKind, Holder, Listeners, PORT_MIN, PortClaim, PortRange, PortWish, Purpose};
use crate::model::time::Timestamp;
use crate::model::user::Actor;
use crate::store::tables::{CLAIMS, RESERVATIONS, SERVERS};
use crate::store::{Key, Read, Span, Tx};

/// How many free ports outside the range a refusal names.
const NEAR: usize = 3;

/// Gives out ports in one transaction.
pub(super) struct Allocator<'a> {
    actor: &'a Actor,
    listeners: &'a Listeners,
    range: PortRange,
    now: Timestamp,
    /// Ports of the reservation that is being used up, lowest first.
    pool: VecDeque<u16>,
    /// Where the search begins.
    dense: Option<Dense>,
    /// Given out in this transaction: where it is refused in the end, nobody holds them.
    given: Vec<u16>,
    foreign: u64,
}

/// What an earlier search found: every port of a range before `next` is a server's. Else each search would begin with all
/// that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dense {
    range: PortRange,
    next: u16,
    /// [`claims::released`] at that time.
    released: u64,
}

impl Domain {
    /// Runs `work` in a write transaction that may give out ports, and keeps count for the metrics.
    pub(super) fn allocating<T>(
        &self,
        actor: &Actor,
        listeners: &Listeners,
        work: impl FnOnce(&mut Tx, &mut Allocator<'_>) -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let (range, now) = (self.rules().port_range, self.now());
        let dense = *self.inner.dense.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ports =
            Allocator { actor, listeners, range, now, pool: VecDeque::new(), dense, given: Vec::new(), foreign: 0 };
        let result = self.write(|tx| work(tx, &mut ports));
        if result.is_ok() {
            // Only now is on the disk what it was found with. A port that was released since makes it void by its number.
            *self.inner.dense.lock().unwrap_or_else(PoisonError::into_inner) = ports.dense;
        }
        let mut counts = self.inner.port_counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.foreign += ports.foreign;
        match &result {
            Ok(_) if !ports.given.is_empty() => {
                counts.allocations += ports.given.len() as u64;
                counts.seconds += begun.elapsed().as_secs_f64();
            }
            Err(Refusal::PortTaken { .. }) => counts.conflicts += 1,
            Err(Refusal::PortsExhausted(_)) => counts.exhaustions += 1,
            Ok(_) | Err(_) => {}
        }
        result
    }
}

impl Allocator<'_> {
    /// Takes from the ports of a reservation before the range.
    pub(super) fn draw_from(&mut self, ports: Vec<u16>) {
        self.pool = ports.into();
    }

    /// The game port of a server.
    pub(super) fn game(&mut self, tx: &mut Tx, server: ServerId, wish: PortWish) -> Result<u16> {
        match wish {
            PortWish::Auto => self.automatic(tx, Holder::Server(server), Purpose::Game),
            PortWish::Exactly(port) => {
                self.exactly(tx, server, port)?;
                Ok(port)
            }
        }
    }

    /// The SourceTV port of a server. One that it is about to leave is kept.
    pub(super) fn tv(&mut self, tx: &mut Tx, server: ServerId) -> Result<u16> {
        for port in claims::ports_of_server(tx, server)? {
            if let Some(claim) = tx.get(&CLAIMS, &port)?.filter(|claim| claim.retiring && claim.purpose == Purpose::Tv)
            {
                claims::put(tx, port, &PortClaim { retiring: false, ..claim })?;
                return Ok(port);
            }
        }
        self.automatic(tx, Holder::Server(server), Purpose::Tv)
    }

    /// `count` ports for a reservation.
    pub(super) fn reserve(&mut self, tx: &mut Tx, reservation: ReservationId, count: u32) -> Result<Vec<u16>> {
        (0..count).map(|_| self.automatic(tx, Holder::Reservation(reservation), Purpose::Reserved)).collect()
    }

    fn automatic(&mut self, tx: &mut Tx, holder: Holder, purpose: Purpose) -> Result<u16> {
        while let Some(port) = self.pool.pop_front() {
            if self.listeners.on(port).is_some() {
                self.foreign += 1;
                continue;
            }
            return self.claim(tx, port, holder, purpose, ClaimKind::Auto);
        }
        let released = claims::released(tx)?;
        let known = self.dense.filter(|dense| dense.range == self.range && dense.released == released);
        let mut next = known.map_or(self.range.first, |dense| dense.next);
        let claimed = self.claimed_before_a_gap(tx, next)?;
        while next < self.range.last
            && claimed.get(&next).is_some_and(|claim| matches!(claim.holder, Holder::Server(_)))
        {
            next += 1;
        }
        self.dense = Some(Dense { range: self.range, next, released });
        for port in next..=self.range.last {
            if let Some(claim) = claimed.get(&port)
                && !claims::is_lapsed_reservation(tx, claim, self.now)?
            {
                continue;
            }
            if self.listeners.on(port).is_some() {
                self.foreign += 1;
                continue;
            }
            return self.claim(tx, port, holder, purpose, ClaimKind::Auto);
        }
        Err(Refusal::PortsExhausted(self.exhausted(tx)?))
    }

    /// Claims of the range from `from` up to the first port that nobody claims and nobody listens on: further nobody has to
    /// look.
    fn claimed_before_a_gap(&self, tx: &Tx, from: u16) -> Result<HashMap<u16, PortClaim>> {
        let mut found = HashMap::new();
        let mut next = from;
        tx.visit(&CLAIMS, &Span::all().past((next - 1).bytes()), |port, claim| {
            if (next..port).any(|between| self.listeners.on(between).is_none()) || !self.range.contains(port) {
                return Ok(ControlFlow::Break(()));
            }
            found.insert(port, claim);
            next = port.saturating_add(1);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(found)
    }

    fn exactly(&mut self, tx: &mut Tx, server: ServerId, port: u16) -> Result<()> {
        if port < PORT_MIN {
            return Err(FieldError::new("port", "must be a number from 1024 to 65535, or auto").into());
        }
        if let Some(claim) = tx.get(&CLAIMS, &port)? {
            let own_and_leaving = claim.retiring && claim.holder == Holder::Server(server);
            if !own_and_leaving && !claims::is_lapsed_reservation(tx, &claim, self.now)? {
                return Err(Refusal::PortTaken { port, holder: self.holder_for_asker(tx, &claim)? });
            }
        }
        if let Some(listener) = self.listeners.on(port) {
            self.foreign += 1;
            return Err(Refusal::PortTaken { port, holder: Some(listener.to_string()) });
        }
        self.claim(tx, port, Holder::Server(server), Purpose::Game, ClaimKind::Manual)?;
        Ok(())
    }

    fn claim(&mut self, tx: &mut Tx, port: u16, holder: Holder, purpose: Purpose, kind: ClaimKind) -> Result<u16> {
        let claim = PortClaim { purpose, holder, kind, claimed_at: self.now, retiring: false };
        claims::put(tx, port, &claim)?;
        self.given.push(port);
        Ok(port)
    }

    /// Who holds a claim, where the asker may know.
    fn holder_for_asker(&self, read: &impl Read, claim: &PortClaim) -> Result<Option<String>> {
        let (owner, text) = match claim.holder {
            Holder::Server(id) => match read.get(&SERVERS, &id)? {
                Some(server) => (Some(server.user_id), format!("server {id} \"{}\"", server.name)),
                None => (None, format!("server {id}, which is gone")),
            },
            Holder::Reservation(id) => match read.get(&RESERVATIONS, &id)? {
                Some(reservation) => (reservation.user_id, format!("reservation \"{}\"", reservation.label)),
                None => (None, format!("reservation {id}, which is gone")),
            },
        };
        let may_know = self.actor.admin || owner.is_some_and(|owner| self.actor.may_touch(owner));
        Ok(may_know.then_some(text))
    }

    /// The refusal of contract §4: the range, who holds what, which claims are stale, what is free near it, and what to do.
    fn exhausted(&self, tx: &Tx) -> Result<String> {
        let mut held: Vec<(u16, u16, String)> = Vec::new();
        let mut stale = Vec::new();
        for port in self.range.ports().filter(|port| !self.given.contains(port)) {
            let text = match (tx.get(&CLAIMS, &port)?, self.listeners.on(port)) {
                (Some(claim), foreign) => {
                    let status = claims::status(tx, &claim, self.now)?;
                    if status == crate::model::port::ClaimStatus::Stale {
                        stale.push(port);
                    }
                    match (claims::is_lapsed_reservation(tx, &claim, self.now)?, foreign) {
                        (true, Some(listener)) => listener.to_string(),
                        (true | false, _) => {
                            self.holder_for_asker(tx, &claim)?.unwrap_or_else(|| "somebody else".into())
                        }
                    }
                }
                (None, Some(listener)) => listener.to_string(),
                (None, None) => continue,
            };
            match held.last_mut() {
                Some((_, last, same)) if *same == text && *last + 1 == port => *last = port,
                Some(_) | None => held.push((port, port, text)),
            }
        }
        let held: Vec<String> = held
            .into_iter()
            .map(|(first, last, text)| {
                if text.starts_with(&format!("{first}/")) {
                    text
                } else if first == last {
                    format!("{first} {text}")
                } else {
                    format!("{first}-{last} {text}")
                }
            })
            .collect();
        let short = match self.given.len() {
            0 => format!("no free port in {}", self.range),
            1 => format!("only 1 free port in {}, and more are asked for", self.range),
            free => format!("only {free} free ports in {}, and more are asked for", self.range),
        };
        Ok(format!(
            "{short}. Held: {}. Stale: {}. Free near the range: {}. \
             Widen port_range in the configuration, run `left4me ports cleanup`, or ask for a port by hand.",
            if held.is_empty() { "none".to_owned() } else { held.join("; ") },
            in_words(&stale),
            in_words(&self.free_near(tx)?),
        ))
    }

    /// The next free ports above the range, then below it.
    fn free_near(&self, tx: &Tx) -> Result<Vec<u16>> {
        let above = self.range.last.checked_add(1).into_iter().flat_map(|first| first..=u16::MAX);
        let below = (PORT_MIN..self.range.first).rev();
        let mut free = Vec::new();
        for port in above.chain(below) {
            if free.len() == NEAR {
                break;
            }
            if !tx.has(&CLAIMS, &port)? && self.listeners.on(port).is_none() {
                free.push(port);
            }
        }
        Ok(free)
    }
}

fn in_words(ports: &[u16]) -> String {
    if ports.is_empty() {
        return "none".into();
    }
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}
