//! What outlives the daemon: its end, its death, and its return touch no game and lose no line.

use serde_json::json;

use crate::support::panel::Panel;
use crate::support::{eventually, processes};

/// Numbers of the simulated game's numbered lines (`spam 1`, `spam 2`, …) on the console's stream up to `last`.
fn numbers(panel: &Panel, server: u64, last: u64) -> Vec<u64> {
    let mut found = Vec::new();
    for event in panel.events(&format!("/servers/{server}/logs/stream?cursor=0")) {
        if let Some(number) = event.data.trim().strip_prefix("spam ").and_then(|text| text.parse::<u64>().ok()) {
            found.push(number);
            if number == last {
                break;
            }
        }
    }
    found
}

#[test]
fn a_killed_daemon_comes_back_to_the_same_game_and_every_line_once() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("survivor", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let before = panel.game(server);

    // More than one segment of the console holds.
    let last = 450_000;
    panel
        .admin("POST", &format!("/servers/{server}/console"), &json!({"line": format!("_simulate spam {last}")}))
        .expect(204);
    let mut console = panel.events(&format!("/servers/{server}/logs/stream?lines=100"));
    console.find(|event| event.data.starts_with("spam ")).expect("the first numbered line");
    panel.kill();
    panel.start_again();

    assert_eq!(numbers(&panel, server, last), (1..=last).collect::<Vec<_>>(), "every line exactly once");
    let segments =
        std::fs::read_dir(panel.data("runtime").join(server.to_string()).join("console")).expect("a console");
    assert!(segments.count() > 1, "the numbers lie in several segments");
    let after = panel.game(server);
    assert_eq!(before.pid, after.pid, "the same process");
    let state = panel.get(&format!("/servers/{server}"));
    assert_eq!(state["actual_state"], "running", "{state}");
    panel.must(&format!("/servers/{server}/stop"));
    eventually("the end of the game", || processes::one(after.pid).is_none().then_some(()));
}

#[test]
fn a_client_that_reconnects_with_its_last_id_gets_every_line_once_over_a_restart_of_the_daemon() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("resumed", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let last = 3_000;
    let path = format!("/servers/{server}/logs/stream?lines=50");
    // Listens before the first line is printed, so that none has passed by.
    let console = panel.events(&path);
    let spam = json!({"line": format!("_simulate spam {last}")});
    panel.admin("POST", &format!("/servers/{server}/console"), &spam).expect(204);
    let mut seen = Vec::new();
    let mut id = String::new();
    for event in console {
        if let Some(number) = event.data.trim().strip_prefix("spam ").and_then(|text| text.parse::<u64>().ok()) {
            seen.push(number);
        }
        id = event.id;
        if seen.len() >= 100 {
            break;
        }
    }
    panel.terminate();
    panel.start_again();
    let first = seen[0];
    for event in panel.events_after(&path, &id) {
        if let Some(number) = event.data.trim().strip_prefix("spam ").and_then(|text| text.parse::<u64>().ok()) {
            seen.push(number);
            if number == last {
                break;
            }
        }
    }
    assert_eq!(seen, (first..=last).collect::<Vec<_>>());
}

#[test]
fn a_game_that_crashes_is_started_again_and_one_that_is_stopped_is_not() {
    let panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("crashing", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let first = panel.game(server);
    panel.admin("POST", &format!("/servers/{server}/console"), &json!({"line": "_simulate crash"})).expect(204);
    let second =
        eventually("another process of the game", || panel.find_game(server).filter(|game| game.pid != first.pid));
    eventually("running again", || {
        (panel.get(&format!("/servers/{server}"))["actual_state"] == "running").then_some(())
    });
    panel.must(&format!("/servers/{server}/stop"));
    eventually("its end", || processes::one(second.pid).is_none().then_some(()));
    assert_eq!(panel.get(&format!("/servers/{server}"))["actual_state"], "stopped");
}

#[test]
fn the_death_of_a_shim_ends_its_game_and_the_server_comes_back() {
    let panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("orphan", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let game = panel.game(server);
    let shim = eventually("its shim", || {
        let mut parent = processes::one(game.pid)?;
        while !parent.command.contains(" shim") {
            parent = processes::one(parent.parent)?;
        }
        Some(parent)
    });
    let pid = rustix::process::Pid::from_raw(shim.pid as i32).expect("a process number");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("a kill");
    eventually("the end of the game", || processes::one(game.pid).is_none().then_some(()));
    eventually("another game", || panel.find_game(server).filter(|found| found.pid != game.pid));
    eventually("running again", || {
        (panel.get(&format!("/servers/{server}"))["actual_state"] == "running").then_some(())
    });
}
