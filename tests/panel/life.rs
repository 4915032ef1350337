//! A server's whole life through the real daemon: install, initialize, start, console, stop, delete; and what a
//! client that nobody here wrote says of the game.

use serde_json::{Value, json};

use crate::support::panel::Panel;
use crate::support::{eventually, processes};

#[test]
fn a_server_is_installed_started_typed_into_stopped_and_deleted() {
    let panel = Panel::start();
    let blueprint = panel.with_game();
    let server = panel.server("My Practice", blueprint);
    panel.must(&format!("/servers/{server}/initialize"));

    let job = panel.must(&format!("/servers/{server}/start"));
    assert!(panel.job_log(&job).starts_with("starting start for My Practice\n"), "{}", panel.job_log(&job));
    let state = panel.get(&format!("/servers/{server}"));
    assert_eq!(
        (&state["actual_state"], &state["desired_state"], &state["drift"]),
        (&json!("running"), &json!("running"), &json!(false)),
        "{state}"
    );
    let game = panel.game(server);

    let mut console = panel.events(&format!("/servers/{server}/logs/stream?lines=200"));
    panel.admin("POST", &format!("/servers/{server}/console"), &json!({"line": "status"})).expect(204);
    assert!(
        console.any(|event| event.data.contains("udp/ip")),
        "the answer of `status` arrives on the console's stream"
    );

    panel.must(&format!("/servers/{server}/stop"));
    eventually("the end of the game", || processes::one(game.pid).is_none().then_some(()));
    assert_eq!(panel.get(&format!("/servers/{server}"))["actual_state"], "stopped");
    let refused = panel.admin("POST", &format!("/servers/{server}/console"), &json!({"line": "status"}));
    assert_eq!(refused.status, 409, "{refused:?}");

    let job = panel.admin("DELETE", &format!("/servers/{server}"), &Value::Null).expect(202).json();
    assert_eq!(panel.finished(&job)["state"], "succeeded");
    panel.admin("GET", &format!("/servers/{server}"), &Value::Null).expect(404);
    for folder in ["instances", "runtime"] {
        assert!(!panel.data(folder).join(server.to_string()).exists(), "{folder}/{server} is gone");
    }
    assert_eq!(panel.get("/ports")["items"], json!([]), "its port is free again");
}

#[test]
fn a_start_without_an_installed_game_says_what_to_do() {
    let panel = Panel::start();
    let blueprint = panel.blueprint("early", &[], &[]);
    let server = panel.server("early", blueprint);
    let job = panel.run(&format!("/servers/{server}/start"));
    assert_eq!(job["state"], "failed");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains("install"), "the text names the remedy: {error}");
    assert!(!panel.data("runtime").join(server.to_string()).join("shim.sock").exists());
}

#[test]
fn the_first_listed_overlay_wins_and_what_the_game_writes_stays_with_its_instance() {
    let panel = Panel::start();
    panel.must("/admin/install");
    panel.overlay_file("high", "left4dead2/cfg/which.cfg", "echo WHICH-IS-HIGH\n");
    panel.overlay_file("low", "left4dead2/cfg/which.cfg", "echo WHICH-IS-LOW\n");
    let overlay = |name: &str| {
        let body = json!({"name": name, "path": panel.data("overlays").join(name)});
        panel.admin("POST", "/admin/overlays", &body).expect(201).json()["id"].as_u64().expect("an id")
    };
    let (high, low) = (overlay("high"), overlay("low"));
    for (name, order, expected) in [("first", [high, low], "WHICH-IS-HIGH"), ("second", [low, high], "WHICH-IS-LOW")] {
        let blueprint = panel.blueprint(name, &["exec which.cfg"], &order);
        let server = panel.server(name, blueprint);
        panel.must(&format!("/servers/{server}/start"));
        let mut console = panel.events(&format!("/servers/{server}/logs/stream?lines=500"));
        let line = console.find(|event| event.data.contains("WHICH-IS-")).expect("the overlay's echo");
        assert!(line.data.contains(expected), "{name}: {line:?}");
        panel.must(&format!("/servers/{server}/stop"));
        let upper = panel.data("instances").join(server.to_string()).join("upper");
        assert!(count_files(&upper) > 0, "the game wrote into {}", upper.display());
    }
    let layer = panel.data("installation/1");
    let before = count_files(&layer);
    assert!(before > 0);
    assert_eq!(count_files(&panel.data("overlays")), 2, "nothing was written into the overlays");
}

fn count_files(folder: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| if entry.file_type().is_ok_and(|kind| kind.is_dir()) { count_files(&entry.path()) } else { 1 })
        .sum()
}

#[test]
fn python_a2s_reads_name_map_and_players_of_a_started_server() {
    let Some(python) = crate::support::python() else { return };
    let panel = Panel::start();
    panel.must("/admin/install");
    let blueprint = panel.blueprint("queried", &["hostname \"Read by a stranger\""], &[]);
    let server = panel.server("queried", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    let port = panel.get(&format!("/servers/{server}"))["port"].to_string();
    let script = "import a2s, sys, time\n\
        address = ('127.0.0.1', int(sys.argv[1]))\n\
        info = a2s.info(address, timeout=5)\n\
        deadline = time.time() + 50\n\
        players = a2s.players(address, timeout=5)\n\
        while not players and time.time() < deadline:\n\
        \x20   time.sleep(0.5)\n\
        \x20   players = a2s.players(address, timeout=5)\n\
        print(info.server_name, info.map_name, info.folder, len(players) > 0, all(p.name for p in players), sep='|')\n";
    let output = std::process::Command::new(python).args(["-c", script, &port]).output().expect("python");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "Read by a stranger|c1m1_hotel|left4dead2|True|True",
        "{output:?}"
    );
}
