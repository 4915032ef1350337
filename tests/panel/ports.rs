//! Ports through real HTTP: creations that race for one, what the loser is told, and what the metrics count.
//! What each rule means is tested in `tests/it/domain_ports.rs`; here it has to hold through the daemon.

use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Answer;
use crate::support::panel::{Panel, Setup, may_become_another};
use crate::support::{eventually, skip};

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

/// The whole text of a refusal, as the contract describes it: range, holders, stale claims, free ports near, remedy.
#[test]
fn the_eleventh_server_in_a_range_of_ten_is_refused_with_everything_one_needs_to_know() {
    let panel = panel("27415-27424");
    let blueprint = panel.blueprint("ten", &[], &[]);
    let begun = Instant::now();
    let batch = json!({"count": 10, "name_prefix": "Ten", "blueprint_id": blueprint});
    panel.admin("POST", "/servers/batch", &batch).expect(201);
    assert!(begun.elapsed() < Duration::from_secs(5), "ten servers took {:?}", begun.elapsed());
    let refused = create(&panel, "eleventh", blueprint, None).expect(409).json();
    let held: Vec<String> = (1..=10).map(|n| format!("{} server {n} \"Ten {n}\"", 27414 + n)).collect();
    let text = format!(
        "no free port in 27415-27424. Held: {}. Stale: none. Free near the range: 27425, 27426, 27427. \
         Widen port_range in the configuration, run `left4me ports cleanup`, or ask for a port by hand.",
        held.join("; ")
    );
    assert_eq!(refused["error"], text.as_str());
    let metrics = panel.admin("GET", "/metrics", &Value::Null).expect(200).body;
    for line in ["left4me_port_allocations_total 10\n", "left4me_port_exhaustions_total 1\n"] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    let seconds = metrics.lines().find_map(|line| line.strip_prefix("left4me_port_allocation_seconds_total "));
    assert!(seconds.and_then(|text| text.parse::<f64>().ok()).is_some_and(|seconds| seconds > 0.0), "{metrics}");
}

#[test]
fn creations_that_race_while_the_daemon_is_killed_again_and_again_leave_nothing_half_written() {
    let mut panel = panel("27515-27614");
    let blueprint = panel.blueprint("killed", &[], &[]);
    let mut made: BTreeSet<String> = BTreeSet::new();
    let mut broken = 0;
    for round in 0..8_u64 {
        let acknowledged = AtomicU64::new(0);
        let answers: Vec<(String, Option<Answer>)> = std::thread::scope(|scope| {
            let (shared, acknowledged) = (&panel, &acknowledged);
            let threads: Vec<_> = (0..16_u64)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut answers = Vec::new();
                        for n in 0..4 {
                            let name = format!("k{round}t{thread}n{n}");
                            // Half of them want one and the same port.
                            let port = (thread % 2 == 0).then_some(28_100 + (round * 4 + n) as u16);
                            let body = json!({"name": name, "blueprint_id": blueprint, "port": port});
                            let answer = shared.try_admin("POST", "/servers", &body).ok();
                            acknowledged.fetch_add(u64::from(answer.is_some()), Ordering::Relaxed);
                            answers.push((name, answer));
                        }
                        answers
                    })
                })
                .collect();
            // In the middle of it, at another moment in each round.
            eventually("some answers", || (acknowledged.load(Ordering::Relaxed) > 2 + round * 4).then_some(()));
            rustix::process::kill_process(
                rustix::process::Pid::from_child(&panel.child),
                rustix::process::Signal::KILL,
            )
            .expect("a kill");
            threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
        });
        panel.child.wait().expect("its end");
        panel.start_again();
        let servers = panel.get("/servers?limit=500")["items"].as_array().expect("servers").clone();
        let names: BTreeSet<String> =
            servers.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect();
        for (name, answer) in answers {
            match answer.map(|answer| answer.status) {
                Some(201) => assert!(names.contains(&name), "{name} was acknowledged and is gone"),
                Some(409) => assert!(!names.contains(&name), "{name} was refused and is there"),
                // Cut off: made or not, but never half.
                None => broken += 1,
                Some(other) => panic!("{name}: {other}"),
            }
        }
        assert!(made.is_subset(&names), "servers of earlier rounds are gone");
        made = names;
        assert_whole(&panel, made.len());
    }
    assert!(broken > 0, "no request met the kill");
}

#[test]
fn a_stranger_on_the_port_fails_the_start_at_once_and_is_named_with_its_program() {
    let panel = panel("27715-27724");
    let blueprint = panel.with_game();
    let server = panel.server("late", blueprint);
    let port = panel.get(&format!("/servers/{server}"))["port"].as_u64().expect("a port") as u16;
    let me = std::process::id();
    for protocol in ["tcp", "udp"] {
        // Wherever it listens: one address is enough to be in the way.
        let _tcp = (protocol == "tcp").then(|| TcpListener::bind(("127.0.0.1", port)).expect("a socket"));
        let _udp = (protocol == "udp").then(|| UdpSocket::bind(("0.0.0.0", port)).expect("a socket"));
        let job = panel.run(&format!("/servers/{server}/start"));
        assert_eq!(job["state"], "failed", "{job}");
        let log = panel.job_log(&job);
        // Tests run as root, the daemon does not: then it may know the owner's uid only.
        let named = [format!("(pid {me})"), format!("a process of uid {}", rustix::process::getuid().as_raw())];
        assert!(log.contains(&format!("{port}/{protocol} is held by ")), "{log}");
        assert!(named.iter().any(|name| log.contains(name)), "{log}");
        assert!(panel.find_game(server).is_none());
        let report = panel.get("/ports/check");
        assert_eq!(report["foreign"][0]["port"], port, "{report}");
    }
    panel.must(&format!("/servers/{server}/start"));
    assert_eq!(panel.get("/ports/check")["foreign"], json!([]));
}

#[test]
fn a_stranger_that_takes_the_port_of_a_game_that_crashed_is_named_and_the_server_comes_back_after_it() {
    let panel = panel("27725-27734");
    let blueprint = panel.with_game();
    let server = panel.server("crashed", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let port = panel.get(&format!("/servers/{server}"))["port"].as_u64().expect("a port") as u16;
    let game = rustix::process::Pid::from_raw(panel.game(server).pid as i32).expect("a pid");
    rustix::process::kill_process(game, rustix::process::Signal::KILL).expect("a kill");
    let stranger = eventually("the port is free", || UdpSocket::bind(("0.0.0.0", port)).ok());
    eventually("the stranger is named", || {
        let error = panel.get(&format!("/servers/{server}"))["last_error"].clone();
        error.as_str().is_some_and(|error| error.contains(&format!("{port}/udp is held by "))).then_some(())
    });
    drop(stranger);
    eventually("the server is back", || {
        (panel.get(&format!("/servers/{server}"))["actual_state"] == "running").then_some(())
    });
}

fn found(panel: &Panel, pid: u32) -> Option<Value> {
    let report = panel.get("/ports/check");
    report["strays"].as_array().expect("strays").iter().find(|game| game["pid"] == pid).cloned()
}

#[test]
fn a_game_that_no_server_owns_is_shown_and_ended_on_the_admins_word_and_ours_are_left_alone() {
    let panel = panel("27815-27824");
    let blueprint = panel.with_game();
    let server = panel.server("ours", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let ours = panel.game(server);
    let mut child = panel.stray(true, 27820);
    let shown = eventually("the stray in the report", || found(&panel, child.id()));
    assert_eq!(shown["port"], 27820);
    assert!(
        shown["command"].as_str().expect("a command").ends_with("srcds_run -game left4dead2 -port 27820"),
        "{shown}"
    );
    assert!(found(&panel, ours.pid).is_none(), "a game of ours was taken for a stray");

    let page = panel.page("/ports/check");
    assert!(page.contains(&format!("/ports/strays/{}/end", child.id())), "{page}");
    let end = format!("/ports/strays/{}/end", child.id());
    let other = json!({"start_time": shown["start_time"].as_u64().expect("a time") + 1});
    panel.admin("POST", &end, &other).expect(404);
    panel.admin("POST", &end, &Value::Null).expect(400);
    assert!(child.try_wait().expect("its state").is_none(), "it was ended without the right word");
    panel.admin("POST", &end, &json!({"start_time": shown["start_time"]})).expect(204);
    assert!(child.wait().expect("its end").code().is_none(), "it ended by a signal");
    let audit = panel.get("/admin/audit?action=ports.end_stray");
    assert_eq!(audit["items"].as_array().expect("entries").len(), 1, "{audit}");
    assert!(audit["items"][0]["object"].as_str().expect("a text").contains("port 27820"), "{audit}");
    // Not even by its own number and start time is a game of a server ended this way.
    let ours_start = left4me::sys::process::start_time(ours.pid as i32).expect("a start time");
    panel.admin("POST", &format!("/ports/strays/{}/end", ours.pid), &json!({"start_time": ours_start})).expect(404);
    assert_eq!(panel.game(server).pid, ours.pid);
}

#[test]
fn a_stray_of_another_user_is_shown_and_the_refusal_says_how_to_end_it() {
    if !may_become_another() {
        skip("only root can make a process of another user");
        return;
    }
    let panel = panel("27915-27924");
    let mut child = panel.stray(false, 27920);
    let shown = eventually("the stray in the report", || found(&panel, child.id()));
    assert_eq!(shown["uid"], 0);
    let end = format!("/ports/strays/{}/end", child.id());
    let refused = panel.admin("POST", &end, &json!({"start_time": shown["start_time"]})).expect(409);
    assert!(refused.body.contains(&format!("as root, run kill {}", child.id())), "{refused:?}");
    child.kill().expect("a kill");
    child.wait().expect("its end");
}
