//! Ports through real HTTP: creations that race for one, what the loser is told, and what the metrics count.
//! What each rule means is tested in `tests/it/domain_ports.rs`; here it has to hold through the daemon.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::panel::{Panel, Setup};

const THREADS: u16 = 64;
const ROUNDS: u16 = 20;

fn panel(range: &str) -> Panel {
    let config = vec![format!("port_range: {range}"), "max_servers_per_user: 5000".to_owned()];
    Panel::with(Setup { config, ..Setup::default() })
}

fn create(panel: &Panel, name: &str, blueprint: u64, port: Option<u16>) -> Answer {
    panel.admin("POST", "/servers", &json!({"name": name, "blueprint_id": blueprint, "port": port}))
}

/// Every thread asks once per round, all at the same moment; answers the statuses of each round.
fn race(panel: &Panel, blueprint: u64, port: impl Fn(u16) -> Option<u16> + Sync) -> Vec<Vec<u16>> {
    let start = Barrier::new(THREADS.into());
    let mut rounds = vec![Vec::new(); ROUNDS.into()];
    std::thread::scope(|scope| {
        let (start, port) = (&start, &port);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || -> Vec<u16> {
                    (0..ROUNDS)
                        .map(|round| {
                            start.wait();
                            create(panel, &format!("r{round}t{thread}"), blueprint, port(round)).status
                        })
                        .collect()
                })
            })
            .collect();
        for thread in threads {
            for (round, status) in thread.join().expect("a thread").into_iter().enumerate() {
                rounds[round].push(status);
            }
        }
    });
    rounds
}

/// Every server has exactly its claim, and no claim is without its server.
fn assert_whole(panel: &Panel, count: usize) {
    let claims = panel.get("/ports")["items"].as_array().expect("claims").clone();
    let ports: BTreeSet<u64> = claims.iter().map(|claim| claim["port"].as_u64().expect("a port")).collect();
    assert_eq!((claims.len(), ports.len()), (count, count), "one claim for each server");
    let report = panel.get("/ports/check");
    assert_eq!((&report["stale"], &report["unclaimed"]), (&json!([]), &json!([])), "{report}");
}

#[test]
fn of_creations_that_race_for_one_port_exactly_one_wins_and_the_others_get_409() {
    let panel = panel("27015-27114");
    let blueprint = panel.blueprint("race", &[], &[]);
    for (round, statuses) in race(&panel, blueprint, |round| Some(28000 + round)).iter().enumerate() {
        let won = statuses.iter().filter(|status| **status == 201).count();
        let lost = statuses.iter().filter(|status| **status == 409).count();
        assert_eq!((won, lost), (1, usize::from(THREADS) - 1), "round {round}: {statuses:?}");
    }
    assert_whole(&panel, ROUNDS.into());
    let metrics = panel.admin("GET", "/metrics", &Value::Null).expect(200).body;
    for line in ["left4me_port_allocations_total 20\n", "left4me_port_conflicts_total 1260\n"] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

#[test]
fn automatic_creations_that_race_fill_the_range_and_never_share_a_port() {
    let panel = panel("27515-27614");
    let blueprint = panel.blueprint("race", &[], &[]);
    let statuses = race(&panel, blueprint, |_| None).concat();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    assert_eq!((count(201), count(409)), (100, 1180), "{statuses:?}");
    assert_whole(&panel, 100);
}

#[test]
fn strangers_are_passed_over_by_automatic_choice_and_named_when_their_port_is_asked_for() {
    let panel = panel("27315-27324");
    let blueprint = panel.blueprint("strangers", &[], &[]);
    let _udp = UdpSocket::bind(("0.0.0.0", 27315)).expect("a socket");
    let _tcp = TcpListener::bind(("0.0.0.0", 27316)).expect("a socket");
    let first = create(&panel, "first", blueprint, None).expect(201).json();
    assert_eq!(panel.get(&format!("/servers/{}", first["id"]))["port"], 27317);
    for (port, held) in [(27315, "27315/udp is held by"), (27316, "27316/tcp is held by")] {
        let refused = create(&panel, "refused", blueprint, Some(port)).expect(409);
        assert!(refused.body.contains(held), "{refused:?}");
    }
}
