//! Ports that cannot collide (contract §4).

use std::sync::Barrier;
use std::time::{Duration, Instant};

use left4me::domain::Refusal;
use left4me::domain::blueprints::BlueprintChange;
use left4me::domain::ports::NewReservation;
use left4me::domain::servers::{NewBatch, NewServer, ServerChange};
use left4me::model::id::BlueprintId;
use left4me::model::port::{ClaimStatus, Holder, PortClaim, PortWish, Protocol, Purpose};
use left4me::model::server::ActualState;
use left4me::model::user::Actor;
use left4me::store::{Tx, tables};

use crate::domain_kit::{Panel, nobody, range, stranger};

fn wish(name: &str, port: u16, blueprint_id: BlueprintId) -> NewServer {
    NewServer { name: name.into(), port: PortWish::Exactly(port), blueprint_id }
}

fn move_to(port: u16) -> ServerChange {
    ServerChange { port: Some(PortWish::Exactly(port)), ..ServerChange::default() }
}

fn config(line: &str) -> BlueprintChange {
    BlueprintChange { config: Some(vec![line.into()]), ..BlueprintChange::default() }
}

fn reservation(count: u32, label: &str) -> NewReservation {
    NewReservation { count, label: label.into(), expires_at: None }
}

/// A claim of a server that is gone, as a bug or a restored backup may leave it.
fn orphan(panel: &Panel, port: u16) {
    let claim = PortClaim {
        purpose: Purpose::Game,
        holder: Holder::Server(left4me::model::id::ServerId(9999)),
        kind: left4me::model::port::ClaimKind::Auto,
        claimed_at: panel.now(),
        retiring: false,
    };
    panel
        .domain
        .store()
        .write(|tx: &mut Tx| {
            tx.put(&tables::CLAIMS_BY_SERVER, &(left4me::model::id::ServerId(9999), port), &())?;
            tx.put(&tables::CLAIMS, &port, &claim)
        })
        .unwrap();
}

#[test]
fn automatic_takes_the_lowest_free_port() {
    let panel = Panel::new();
    let (bob, first) = panel.owner("bob");
    let second = panel.server(&bob, "t", first.blueprint_id);
    assert_eq!((first.port, second.port), (27015, 27016));
    panel.domain.finish_delete(first.id).unwrap();
    assert_eq!(panel.server(&bob, "u", first.blueprint_id).port, 27015);
}

#[test]
fn a_stranger_is_passed_over_by_automatic_and_named_on_a_wish() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let panel = Panel::new();
        let bob = panel.user("bob");
        let blueprint_id = panel.blueprint(&bob, "b");
        let listeners = stranger(27015, protocol);
        let auto = NewServer { name: "a".into(), port: PortWish::Auto, blueprint_id };
        assert_eq!(panel.domain.create_server(&bob, auto, &listeners).unwrap().port, 27016);
        match panel.domain.create_server(&bob, wish("b", 27015, blueprint_id), &listeners) {
            Err(Refusal::PortTaken { port: 27015, holder: Some(who) }) => {
                assert_eq!(who, format!("27015/{} is held by ioq3ded (pid 812)", protocol.word()));
            }
            other => panic!("{other:?}"),
        }
        let counts = panel.domain.port_counts();
        assert_eq!((counts.allocations, counts.conflicts, counts.foreign), (1, 1, 2));
    }
}

#[test]
fn a_port_that_is_claimed_is_refused_and_its_holder_named_where_the_asker_may_know() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let eve = panel.user("eve");
    let taken =
        |actor: &Actor, blueprint| match panel.domain.create_server(actor, wish("x", 27015, blueprint), &nobody()) {
            Err(refusal @ Refusal::PortTaken { .. }) => {
                assert_eq!(refusal.to_string(), "port already in use");
                let Refusal::PortTaken { holder, .. } = refusal else { unreachable!() };
                holder
            }
            other => panic!("{other:?}"),
        };
    let named = Some(format!("server {} \"s\"", server.id));
    assert_eq!(taken(&bob, server.blueprint_id), named);
    assert_eq!(taken(&admin, server.blueprint_id), named);
    assert_eq!(taken(&eve, panel.blueprint(&eve, "e")), None);
}

#[test]
fn racing_wishes_for_one_port_give_it_to_one() {
    let panel = Panel::with(|rules| rules.max_servers_per_user = u32::MAX);
    let bob = panel.user("bob");
    let blueprint = panel.blueprint(&bob, "b");
    for round in 0..20u16 {
        let barrier = Barrier::new(64);
        let won: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|thread| {
                    let (panel, bob, barrier) = (&panel, &bob, &barrier);
                    scope.spawn(move || {
                        let new = wish(&format!("{round} {thread}"), 30_000 + round, blueprint);
                        barrier.wait();
                        match panel.domain.create_server(bob, new, &nobody()) {
                            Ok(_) => 1,
                            Err(Refusal::PortTaken { .. }) => 0,
                            Err(other) => panic!("{other}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(won, 1, "round {round}");
    }
    assert_eq!(panel.ports(), (30_000..30_020).collect::<Vec<u16>>());
    assert_eq!(panel.domain.all_servers().unwrap().len(), 20, "the losers left nothing");
}

#[test]
fn racing_automatic_choices_get_different_ports_until_none_is_left() {
    for _ in 0..20 {
        let panel = Panel::with(|rules| {
            rules.port_range = range(27015, 27064);
            rules.max_servers_per_user = u32::MAX;
        });
        let bob = panel.user("bob");
        let blueprint_id = panel.blueprint(&bob, "b");
        let barrier = Barrier::new(64);
        let mut got: Vec<u16> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|thread| {
                    let (panel, bob, barrier) = (&panel, &bob, &barrier);
                    scope.spawn(move || {
                        let new = NewServer { name: thread.to_string(), port: PortWish::Auto, blueprint_id };
                        barrier.wait();
                        match panel.domain.create_server(bob, new, &nobody()) {
                            Ok(server) => Some(server.port),
                            Err(Refusal::PortsExhausted(_)) => None,
                            Err(other) => panic!("{other}"),
                        }
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        got.sort_unstable();
        assert_eq!(got, (27015..=27064).collect::<Vec<u16>>());
        assert_eq!(panel.ports(), got);
        assert_eq!(panel.domain.port_counts().exhaustions, 14);
    }
}

#[test]
fn the_refusal_of_an_exhausted_range_says_everything() {
    let panel = Panel::with(|rules| rules.port_range = range(27015, 27024));
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let eve = panel.user("eve");
    let blueprint = panel.blueprint(&eve, "e");
    for name in ["1", "2", "3", "4"] {
        panel.server(&eve, name, blueprint);
    }
    let mut lan = reservation(2, "LAN");
    lan.expires_at = Some(panel.now().plus_seconds(60));
    panel.domain.reserve(&admin, lan, &nobody()).unwrap();
    orphan(&panel, 27022);
    panel.domain.create_server(&eve, wish("5", 27023, blueprint), &nobody()).unwrap();
    let mut listeners = stranger(27024, Protocol::Udp);
    listeners.0.extend(stranger(27026, Protocol::Tcp).0);
    let new = NewServer { name: "x".into(), port: PortWish::Auto, blueprint_id: server.blueprint_id };
    let refusal = panel.domain.create_server(&bob, new, &listeners).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no free port in 27015-27024. Held: 27015 server 1 \"s\"; 27016-27023 somebody else; \
         27024/udp is held by ioq3ded (pid 812). Stale: 27022. Free near the range: 27025, 27027, 27028. \
         Widen port_range in the configuration, run `left4me ports cleanup`, or ask for a port by hand."
    );
    let own = panel.blueprint(&admin, "a");
    let new = NewServer { name: "x".into(), port: PortWish::Auto, blueprint_id: own };
    let refusal = panel.domain.create_server(&admin, new, &listeners).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no free port in 27015-27024. Held: 27015 server 1 \"s\"; 27016 server 2 \"1\"; 27017 server 3 \"2\"; \
         27018 server 4 \"3\"; 27019 server 5 \"4\"; 27020-27021 reservation \"LAN\"; \
         27022 server 9999, which is gone; 27023 server 6 \"5\"; 27024/udp is held by ioq3ded (pid 812). \
         Stale: 27022. Free near the range: 27025, 27027, 27028. \
         Widen port_range in the configuration, run `left4me ports cleanup`, or ask for a port by hand."
    );
}

#[test]
fn a_refusal_of_several_ports_says_how_many_are_free_and_calls_none_of_them_held() {
    let panel = Panel::with(|rules| rules.port_range = range(27015, 27024));
    let admin = panel.admin();
    panel.owner("bob");
    let refusal = panel.domain.reserve(&admin, reservation(10, "LAN"), &nobody()).unwrap_err();
    let said = "only 9 free ports in 27015-27024, and more are asked for. Held: 27015 server 1 \"s\". Stale: none.";
    assert!(refusal.to_string().starts_with(said), "{refusal}");
    let plan = panel.blueprint(&admin, "a");
    let batch = NewBatch { count: 10, name_prefix: "x".into(), blueprint_id: plan, reservation_id: None };
    assert!(panel.domain.create_batch(&admin, batch, &nobody()).unwrap_err().to_string().starts_with(said));
    panel.domain.reserve(&admin, reservation(9, "LAN"), &nobody()).unwrap();
}

#[test]
fn ten_servers_at_once_from_an_empty_range_take_well_under_five_seconds() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let blueprint_id = panel.blueprint(&bob, "b");
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..10 {
            let (panel, bob) = (&panel, &bob);
            scope.spawn(move || panel.server(bob, &number.to_string(), blueprint_id));
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(panel.ports(), (27015..27025).collect::<Vec<u16>>());
}

#[test]
fn a_new_port_is_claimed_at_once_and_the_old_one_retires_until_the_game_has_ended() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let other = panel.server(&bob, "t", server.blueprint_id);
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    let view = panel.domain.update_server(&bob, server.id, move_to(27050), &nobody()).unwrap();
    assert_eq!(view.server.port, 27050);
    assert_eq!(panel.ports(), [27015, 27016, 27050]);
    let statuses: Vec<ClaimStatus> = panel.domain.list_claims(&bob).unwrap().iter().map(|view| view.status).collect();
    assert_eq!(statuses, [ClaimStatus::Retiring, ClaimStatus::Active, ClaimStatus::Active]);
    assert!(matches!(
        panel.domain.update_server(&bob, other.id, move_to(27015), &nobody()),
        Err(Refusal::PortTaken { port: 27015, .. })
    ));
    panel.domain.observe(server.id, ActualState::Stopped, None).unwrap();
    assert_eq!(panel.ports(), [27016, 27050]);
    panel.domain.update_server(&bob, other.id, move_to(27015), &nobody()).unwrap();
}

#[test]
fn going_back_to_the_retiring_port_takes_it_back() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    panel.domain.update_server(&bob, server.id, move_to(27050), &nobody()).unwrap();
    panel.domain.update_server(&bob, server.id, move_to(27015), &nobody()).unwrap();
    panel.domain.observe(server.id, ActualState::Stopped, None).unwrap();
    assert_eq!(panel.ports(), [27015]);
    assert_eq!(panel.record(server.id).port, 27015);
}

#[test]
fn a_stopped_server_frees_its_old_port_at_once() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    panel.domain.observe(server.id, ActualState::Stopped, None).unwrap();
    panel.domain.update_server(&bob, server.id, move_to(27050), &nobody()).unwrap();
    assert_eq!(panel.ports(), [27050]);
}

#[test]
fn a_port_out_of_bounds_is_a_field_error() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let result = panel.domain.update_server(&bob, server.id, move_to(80), &nobody());
    assert!(matches!(result, Err(Refusal::Field(error)) if error.field == "port"));
}

#[test]
fn a_blueprint_that_turns_sourcetv_on_gives_each_of_its_servers_a_port_or_nobody() {
    let panel = Panel::with(|rules| rules.port_range = range(27015, 27018));
    let (bob, first) = panel.owner("bob");
    let second = panel.server(&bob, "t", first.blueprint_id);
    let third = panel.server(&bob, "u", first.blueprint_id);
    let on = panel.domain.update_blueprint(&bob, first.blueprint_id, config("tv_enable 1"), &nobody());
    assert!(matches!(on, Err(Refusal::PortsExhausted(_))));
    assert!(panel.domain.blueprint(&bob, first.blueprint_id).unwrap().config.is_empty(), "nothing is saved");
    assert_eq!(panel.ports(), [27015, 27016, 27017]);
    panel.domain.finish_delete(third.id).unwrap();
    panel.domain.update_blueprint(&bob, first.blueprint_id, config("tv_enable 1"), &nobody()).unwrap();
    let tv = [panel.record(first.id).tv_port, panel.record(second.id).tv_port];
    assert_eq!(tv, [Some(27017), Some(27018)]);
    let claims = panel.domain.claims_of_server(&bob, first.id).unwrap();
    assert_eq!(claims.iter().map(|view| view.claim.purpose).collect::<Vec<_>>(), [Purpose::Game, Purpose::Tv]);
    for id in [first.id, second.id] {
        panel.domain.observe(id, ActualState::Stopped, None).unwrap();
    }
    panel.domain.update_blueprint(&bob, first.blueprint_id, config("tv_enable 0"), &nobody()).unwrap();
    assert_eq!((panel.record(first.id).tv_port, panel.ports()), (None, vec![27015, 27016]));
}

#[test]
fn sourcetv_turned_off_and_on_again_while_the_game_runs_keeps_its_port() {
    let panel = Panel::new();
    let bob = panel.user("bob");
    let blueprint = panel.tv_blueprint(&bob, "b");
    let server = panel.server(&bob, "s", blueprint);
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    panel.domain.update_blueprint(&bob, blueprint, config("tv_enable 0"), &nobody()).unwrap();
    assert_eq!(panel.ports(), [27015, 27016], "the game still listens there");
    panel.domain.update_blueprint(&bob, blueprint, config("tv_enable 1"), &nobody()).unwrap();
    assert_eq!((panel.record(server.id).tv_port, panel.ports()), (Some(27016), vec![27015, 27016]));
}

#[test]
fn a_server_that_moves_to_a_blueprint_with_sourcetv_gets_a_port_for_it() {
    let panel = Panel::new();
    let (bob, server) = panel.owner("bob");
    let tv = panel.tv_blueprint(&bob, "tv");
    let change = ServerChange { blueprint_id: Some(tv), ..ServerChange::default() };
    panel.domain.update_server(&bob, server.id, change, &nobody()).unwrap();
    assert_eq!(panel.record(server.id).tv_port, Some(27016));
    panel.domain.finish_delete(server.id).unwrap();
    assert!(panel.ports().is_empty(), "both go with the server");
}

#[test]
fn a_batch_uses_up_a_reservation_and_what_is_left_is_released() {
    let panel = Panel::new();
    let admin = panel.admin();
    let blueprint_id = panel.tv_blueprint(&admin, "b");
    let held = panel.domain.reserve(&admin, reservation(6, " LAN "), &nobody()).unwrap();
    assert_eq!((held.ports.clone(), held.reservation.label.as_str()), ((27015..27021).collect(), "LAN"));
    let own = panel.server(&admin, "own", blueprint_id);
    assert_eq!((own.port, own.tv_port), (27021, Some(27022)), "others do not get them");
    let batch = NewBatch { count: 2, name_prefix: "m".into(), blueprint_id, reservation_id: Some(held.reservation.id) };
    let ids = panel.domain.create_batch(&admin, batch.clone(), &nobody()).unwrap();
    let servers: Vec<_> = ids.iter().map(|id| panel.record(*id)).map(|s| (s.port, s.tv_port)).collect();
    assert_eq!(servers, [(27015, Some(27016)), (27017, Some(27018))]);
    assert_eq!(panel.ports(), [27015, 27016, 27017, 27018, 27021, 27022]);
    assert!(panel.domain.list_reservations(&admin).unwrap().is_empty());
    let again = panel.domain.create_batch(&admin, batch, &nobody());
    assert!(matches!(again, Err(Refusal::NotFound("reservation"))), "{again:?}");
}

#[test]
fn an_expired_reservation_is_free_to_the_next_allocation_and_useless_to_a_batch() {
    let panel = Panel::with(|rules| rules.port_range = range(27015, 27016));
    let admin = panel.admin();
    let blueprint_id = panel.blueprint(&admin, "b");
    let new = NewReservation { expires_at: Some(panel.now().plus_seconds(60)), ..reservation(2, "LAN") };
    let held = panel.domain.reserve(&admin, new, &nobody()).unwrap();
    let auto = |name: &str| NewServer { name: name.into(), port: PortWish::Auto, blueprint_id };
    assert!(matches!(panel.domain.create_server(&admin, auto("a"), &nobody()), Err(Refusal::PortsExhausted(_))));
    panel.pass(60);
    let batch = NewBatch { count: 1, name_prefix: "m".into(), blueprint_id, reservation_id: Some(held.reservation.id) };
    assert!(matches!(panel.domain.create_batch(&admin, batch, &nobody()), Err(Refusal::Conflict(_))));
    assert_eq!(panel.domain.create_server(&admin, auto("a"), &nobody()).unwrap().port, 27015);
    let left = panel.domain.list_reservations(&admin).unwrap();
    assert_eq!((left[0].expired, left[0].ports.as_slice()), (true, [27016].as_slice()));
    panel.domain.create_server(&admin, wish("b", 27016, blueprint_id), &nobody()).unwrap();
    assert!(panel.domain.list_reservations(&admin).unwrap().is_empty(), "nothing is left of it");
}

#[test]
fn reservations_are_for_admins_and_released_whole() {
    let panel = Panel::new();
    let admin = panel.admin();
    let bob = panel.user("bob");
    assert!(matches!(panel.domain.reserve(&bob, reservation(1, "x"), &nobody()), Err(Refusal::Forbidden(_))));
    let held = panel.domain.reserve(&admin, reservation(3, "x"), &nobody()).unwrap();
    let id = held.reservation.id;
    assert!(matches!(panel.domain.release_reservation(&bob, id), Err(Refusal::Forbidden(_))));
    assert!(panel.domain.list_claims(&bob).unwrap().is_empty(), "users see their own");
    panel.domain.release_reservation(&admin, id).unwrap();
    assert!(panel.ports().is_empty());
    assert!(matches!(panel.domain.release_reservation(&admin, id), Err(Refusal::NotFound("reservation"))));
    let too_many = panel.domain.reserve(&admin, reservation(101, "x"), &nobody());
    assert!(matches!(too_many, Err(Refusal::PortsExhausted(_))));
    assert!(panel.ports().is_empty() && panel.domain.list_reservations(&admin).unwrap().is_empty());
}

#[test]
fn check_reports_and_cleanup_releases_stale_claims_only() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    let lan = NewReservation { expires_at: Some(panel.now().plus_seconds(60)), ..reservation(2, "LAN") };
    panel.domain.reserve(&admin, lan, &nobody()).unwrap();
    panel.domain.reserve(&admin, reservation(1, "kept"), &nobody()).unwrap();
    orphan(&panel, 27100);
    panel.pass(60);
    let report = panel.domain.check_ports(&admin, &stranger(server.port, Protocol::Tcp)).unwrap();
    assert_eq!(report.stale.iter().map(|view| view.port).collect::<Vec<_>>(), [27016, 27017, 27100]);
    assert_eq!(report.foreign, [(27015, "27015/tcp is held by ioq3ded (pid 812)".to_owned())]);
    assert!(report.unclaimed.is_empty());
    assert!(matches!(panel.domain.check_ports(&bob, &nobody()), Err(Refusal::Forbidden(_))));

    assert_eq!(panel.domain.cleanup_ports(&admin, None, true).unwrap().len(), 3);
    assert_eq!(panel.ports().len(), 5, "a dry run changes nothing");
    let released = panel.domain.cleanup_ports(&admin, Some("lan"), false).unwrap();
    assert_eq!(released.iter().map(|view| view.port).collect::<Vec<_>>(), [27016, 27017]);
    let labels: Vec<String> =
        panel.domain.list_reservations(&admin).unwrap().into_iter().map(|view| view.reservation.label).collect();
    assert_eq!(labels, ["kept"]);
    panel.domain.cleanup_ports(&admin, None, false).unwrap();
    assert_eq!(panel.ports(), [27015, 27018]);
}

#[test]
fn a_server_without_its_claim_is_reported() {
    let panel = Panel::new();
    let (_, server) = panel.owner("bob");
    panel.domain.store().write(|tx: &mut Tx| tx.remove(&tables::CLAIMS, &server.port)).unwrap();
    let report = panel.domain.check_ports(&Actor::system(), &nobody()).unwrap();
    assert_eq!(report.unclaimed, [(server.id, "s".to_owned(), 27015)]);
}

#[test]
fn release_and_clear_never_touch_the_claim_of_a_server_that_exists() {
    let panel = Panel::new();
    let admin = panel.admin();
    let (bob, server) = panel.owner("bob");
    panel.domain.observe(server.id, ActualState::Running, None).unwrap();
    panel.domain.update_server(&bob, server.id, move_to(27050), &nobody()).unwrap();
    panel.domain.reserve(&admin, reservation(2, "x"), &nobody()).unwrap();
    orphan(&panel, 27100);
    for port in [27015, 27050] {
        assert!(matches!(panel.domain.release_claim(&admin, port), Err(Refusal::Conflict(_))), "{port}");
    }
    assert!(matches!(panel.domain.release_claims_of(&admin, server.id), Err(Refusal::Conflict(_))));
    assert!(matches!(panel.domain.release_claim(&admin, 27110), Err(Refusal::NotFound(_))));
    panel.domain.release_claim(&admin, 27016).unwrap();
    let gone = left4me::model::id::ServerId(9999);
    assert_eq!(panel.domain.release_claims_of(&admin, gone).unwrap().len(), 1);
    orphan(&panel, 27100);
    let cleared = panel.domain.clear_claims(&admin).unwrap();
    assert_eq!(cleared.iter().map(|view| view.port).collect::<Vec<_>>(), [27017, 27100]);
    assert_eq!(panel.ports(), [27015, 27050]);
    assert!(panel.domain.list_reservations(&admin).unwrap().is_empty());
}

#[test]
fn a_port_can_be_inspected() {
    let panel = Panel::new();
    panel.owner("bob");
    let seen = panel.domain.inspect_port(&Actor::system(), 27015, &stranger(27015, Protocol::Udp)).unwrap();
    let claim = seen.claim.unwrap();
    assert_eq!((claim.holder_name.as_deref(), claim.username.as_deref()), (Some("s"), Some("bob")));
    assert_eq!((seen.foreign.len(), seen.in_range), (1, true));
    let seen = panel.domain.inspect_port(&Actor::system(), 5000, &nobody()).unwrap();
    assert_eq!((seen.claim, seen.foreign.len(), seen.in_range), (None, 0, false));
}
