//! Any sequence of operations keeps one claim per port and one claim set per server.

use std::collections::BTreeSet;

use left4me::domain::Refusal;
use left4me::domain::ports::NewReservation;
use left4me::domain::servers::{NewBatch, NewServer, ServerChange};
use left4me::model::id::{BlueprintId, ReservationId};
use left4me::model::port::{ClaimStatus, Holder, PortWish, Protocol, Purpose};
use left4me::model::server::{ActualState, Server};
use left4me::model::user::Actor;
use left4me::store::{Read, Span, tables};
use proptest::prelude::*;

use crate::domain_kit::{Panel, nobody, range, stranger};

/// The range is small, so that everything collides.
const FIRST: u16 = 27015;
const LAST: u16 = 27022;

#[derive(Debug, Clone)]
enum Step {
    Create { port: Option<u16>, tv: bool, foreign: Option<u16> },
    Batch { count: u32, reservation: prop::sample::Index, tv: bool },
    Delete(prop::sample::Index),
    Port(prop::sample::Index, u16),
    Blueprint(prop::sample::Index, bool),
    Television(bool),
    Reserve { count: u32, seconds: i64 },
    Release(prop::sample::Index),
    Pass(i64),
    Observe(prop::sample::Index, ActualState),
    Cleanup,
    Clear,
}

fn port() -> impl Strategy<Value = u16> {
    FIRST..=LAST + 2
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let state = prop_oneof![Just(ActualState::Stopped), Just(ActualState::Running), Just(ActualState::Failed)];
    prop_oneof![
        4 => (prop::option::of(port()), any::<bool>(), prop::option::of(port()))
            .prop_map(|(port, tv, foreign)| Step::Create { port, tv, foreign }),
        1 => (1u32..4, index(), any::<bool>()).prop_map(|(count, reservation, tv)| Step::Batch { count, reservation, tv }),
        2 => index().prop_map(Step::Delete),
        3 => (index(), port()).prop_map(|(index, port)| Step::Port(index, port)),
        2 => (index(), any::<bool>()).prop_map(|(index, tv)| Step::Blueprint(index, tv)),
        1 => any::<bool>().prop_map(Step::Television),
        1 => (1u32..4, 1i64..100).prop_map(|(count, seconds)| Step::Reserve { count, seconds }),
        1 => index().prop_map(Step::Release),
        1 => (1i64..100).prop_map(Step::Pass),
        3 => (index(), state).prop_map(|(index, state)| Step::Observe(index, state)),
        1 => Just(Step::Cleanup),
        1 => Just(Step::Clear),
    ]
}

struct World {
    panel: Panel,
    actor: Actor,
    plain: BlueprintId,
    tv: BlueprintId,
    names: u32,
}

impl World {
    fn new() -> Self {
        let panel = Panel::with(|rules| rules.port_range = range(FIRST, LAST));
        let actor = panel.admin();
        let (plain, tv) = (panel.blueprint(&actor, "plain"), panel.tv_blueprint(&actor, "tv"));
        Self { panel, actor, plain, tv, names: 0 }
    }

    fn servers(&self) -> Vec<Server> {
        self.panel.domain.all_servers().unwrap()
    }

    fn pick(&self, index: prop::sample::Index) -> Option<Server> {
        let servers = self.servers();
        (!servers.is_empty()).then(|| servers[index.index(servers.len())].clone())
    }

    fn blueprint(&self, tv: bool) -> BlueprintId {
        if tv { self.tv } else { self.plain }
    }

    fn reservation(&self, index: prop::sample::Index) -> Option<ReservationId> {
        let all = self.panel.domain.list_reservations(&self.actor).unwrap();
        (!all.is_empty()).then(|| all[index.index(all.len())].reservation.id)
    }

    /// Does a step. Refusals are fine; anything else is not.
    fn take(&mut self, step: Step) {
        let domain = &self.panel.domain;
        self.names += 1;
        let name = format!("n{}", self.names);
        let result: Result<(), Refusal> = match step {
            Step::Create { port, tv, foreign } => {
                let port = port.map_or(PortWish::Auto, PortWish::Exactly);
                let new = NewServer { name, port, blueprint_id: self.blueprint(tv) };
                let listeners = foreign.map_or_else(nobody, |port| stranger(port, Protocol::Udp));
                domain.create_server(&self.actor, new, &listeners).map(|server| {
                    if let Some(foreign) = foreign {
                        assert!(server.port != foreign && server.tv_port != Some(foreign));
                    }
                })
            }
            Step::Batch { count, reservation, tv } => {
                let reservation_id = self.reservation(reservation);
                let new = NewBatch { count, name_prefix: name, blueprint_id: self.blueprint(tv), reservation_id };
                domain.create_batch(&self.actor, new, &nobody()).map(|ids| assert_eq!(ids.len(), count as usize))
            }
            Step::Delete(index) => self.pick(index).map_or(Ok(()), |server| domain.finish_delete(server.id)),
            Step::Port(index, port) => self.pick(index).map_or(Ok(()), |server| {
                let change = ServerChange { port: Some(PortWish::Exactly(port)), ..ServerChange::default() };
                domain.update_server(&self.actor, server.id, change, &nobody()).map(|_| ())
            }),
            Step::Blueprint(index, tv) => self.pick(index).map_or(Ok(()), |server| {
                let change = ServerChange { blueprint_id: Some(self.blueprint(tv)), ..ServerChange::default() };
                domain.update_server(&self.actor, server.id, change, &nobody()).map(|_| ())
            }),
            Step::Television(on) => {
                let config = Some(vec![format!("tv_enable {}", u8::from(on))]);
                let change = left4me::domain::blueprints::BlueprintChange { config, ..Default::default() };
                domain.update_blueprint(&self.actor, self.tv, change, &nobody()).map(|_| ())
            }
            Step::Reserve { count, seconds } => {
                let expires_at = Some(self.panel.now().plus_seconds(seconds));
                let new = NewReservation { count, label: name, expires_at };
                domain.reserve(&self.actor, new, &nobody()).map(|_| ())
            }
            Step::Release(index) => {
                self.reservation(index).map_or(Ok(()), |id| domain.release_reservation(&self.actor, id))
            }
            Step::Pass(seconds) => {
                self.panel.pass(seconds);
                Ok(())
            }
            Step::Observe(index, state) => {
                self.pick(index).map_or(Ok(()), |server| domain.observe(server.id, state, None))
            }
            Step::Cleanup => domain.cleanup_ports(&self.actor, None, false).map(|_| ()),
            Step::Clear => domain.clear_claims(&self.actor).map(|_| ()),
        };
        match result {
            Ok(())
            | Err(
                Refusal::PortTaken { .. }
                | Refusal::PortsExhausted(_)
                | Refusal::Conflict(_)
                | Refusal::NotFound("reservation"),
            ) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    fn check(&self) {
        let claims = self.panel.domain.list_claims(&Actor::system()).unwrap();
        let servers = self.servers();
        let wants_tv = |server: &Server| {
            let blueprint = self.panel.domain.blueprint(&self.actor, server.blueprint_id).unwrap();
            left4me::model::blueprint::wants_tv(&blueprint.arguments, &blueprint.config)
        };
        // One claim set per server: what its record says, and no more that is not retiring.
        for server in &servers {
            let of_server: BTreeSet<(u16, Purpose2)> = claims
                .iter()
                .filter(|view| view.claim.holder == Holder::Server(server.id) && !view.claim.retiring)
                .map(|view| (view.port, view.claim.purpose.into()))
                .collect();
            let mut expected = BTreeSet::from([(server.port, Purpose2::Game)]);
            expected.extend(server.tv_port.map(|port| (port, Purpose2::Tv)));
            assert_eq!(of_server, expected, "{server:?}");
            assert_eq!(server.tv_port.is_some(), wants_tv(server), "{server:?}");
        }
        // No claim of a server that is gone: nothing here makes one.
        let gone = claims
            .iter()
            .filter(|view| view.status == ClaimStatus::Stale && matches!(view.claim.holder, Holder::Server(_)));
        assert_eq!(gone.count(), 0);
        for view in self.panel.domain.list_reservations(&self.actor).unwrap() {
            assert!(!view.ports.is_empty(), "a reservation without a port: {view:?}");
        }
        // The indexes and the table are one.
        let read = self.panel.domain.store().read().unwrap();
        let mut listed: Vec<(u16, Holder)> = Vec::new();
        for (id, port) in read.keys(&tables::CLAIMS_BY_SERVER, &Span::all()).unwrap() {
            listed.push((port, Holder::Server(id)));
        }
        for (id, port) in read.keys(&tables::CLAIMS_BY_RESERVATION, &Span::all()).unwrap() {
            listed.push((port, Holder::Reservation(id)));
        }
        listed.sort_by_key(|(port, _)| *port);
        let table: Vec<(u16, Holder)> = claims.iter().map(|view| (view.port, view.claim.holder)).collect();
        assert_eq!(listed, table);
        assert!(self.panel.domain.check_ports(&self.actor, &nobody()).unwrap().unclaimed.is_empty());
    }
}

/// A purpose that can be sorted.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Purpose2 {
    Game,
    Tv,
    Reserved,
}

impl From<Purpose> for Purpose2 {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Game => Self::Game,
            Purpose::Tv => Self::Tv,
            Purpose::Reserved => Self::Reserved,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_keeps_one_claim_per_port_and_one_claim_set_per_server(steps in prop::collection::vec(step(), 1..30)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
    }
}
