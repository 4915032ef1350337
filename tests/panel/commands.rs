//! The command line as a person at a terminal uses it: servers up and down, an install that is followed, help, doctor.

use serde_json::json;

use crate::support::eventually;
use crate::support::panel::Panel;

#[test]
fn servers_are_listed_started_and_stopped_from_the_command_line() {
    let mut panel = Panel::start();
    let said = panel.said(&["install", "--follow"]);
    assert!(said.done().contains("Success! App '222860' fully installed."), "{}", said.out);
    assert!(!said.out.contains('\r') && !said.err.contains('\r'), "no progress bar without a terminal");
    let blueprint = panel.blueprint("plain", &[], &[]);
    let server = panel.server("My Practice", blueprint);

    let started = panel.said(&["servers", "start", "My Practice"]);
    assert!(started.done().contains("starting start for My Practice"), "{}", started.out);
    let first = panel.game(server).pid;
    panel.said(&["servers", "restart", &server.to_string()]).done();
    assert_ne!(panel.game(server).pid, first);
    let listed = panel.said(&["servers", "list", "--json"]).json();
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["actual_state"]),
        (&json!("My Practice"), &json!("running"))
    );
    let table = panel.said(&["servers", "list"]);
    assert!(table.done().lines().nth(1).expect("a row").contains("My Practice"), "{}", table.out);
    panel.said(&["servers", "stop", "My Practice"]).done();
    eventually("the end of the game", || panel.find_game(server).is_none().then_some(()));

    let unknown = panel.said(&["servers", "start", "Nobody"]);
    assert!(unknown.refused().contains("`left4me servers list` shows them"), "{}", unknown.err);
    // Without the daemon the list is the same; what needs it says so.
    let table = table.out.replace("running", "stopped");
    panel.terminate();
    assert_eq!(panel.said(&["servers", "list"]).done(), table);
    let queued = panel.said(&["install", "--follow"]);
    assert!(queued.done().contains("install is queued; no daemon runs: systemctl start left4me"), "{}", queued.out);
}

#[test]
fn doctor_says_of_every_check_how_it_stands_and_what_to_do() {
    let panel = Panel::start();
    let report = panel.said(&["doctor", "--json"]);
    // 1 where a check fails on this machine; the report stands all the same.
    assert!(matches!(report.code, Some(0 | 1)), "{}", report.err);
    let value: serde_json::Value = serde_json::from_str(&report.out).expect("JSON");
    let checks = value["checks"].as_array().expect("checks");
    let names: Vec<&str> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
    for name in ["user", "data folder", "disk", "ports", "SteamCMD", "firewall", "journal", "daemon"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for check in checks {
        assert!(check["text"].as_str().is_some_and(|text| !text.is_empty()), "{check}");
    }
    let text = panel.said(&["doctor"]);
    assert_eq!(text.out.lines().count(), checks.len(), "one line a check: {}", text.out);
}

#[test]
fn wrong_usage_is_2_help_is_0_and_a_bad_configuration_names_its_line() {
    let panel = Panel::start();
    assert!(panel.said(&[]).done().contains("Usage: left4me"));
    for help in [&["help"][..], &["ports", "--help"], &["servers", "help", "logs"], &["--version"]] {
        panel.said(help).done();
    }
    for wrong in [
        &["nonsense"][..],
        &["ports"],
        &["ports", "inspect"],
        &["servers", "start"],
        &["backup"],
        &["--reset-admin", "a", "serve"],
    ] {
        assert_eq!(panel.said(wrong).code, Some(2), "{wrong:?}");
    }
    let config = panel.folder.path().join("config.yaml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let line = text.lines().count() + 1;
    std::fs::write(&config, format!("{text}job_wrokers: 4\n")).expect("the configuration");
    let said = panel.said(&["ports", "list"]);
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains(&config.display().to_string()) && said.err.contains("job_wrokers"), "{}", said.err);
    assert!(said.err.contains(&format!("line {line}")) || said.err.contains(&format!(":{line}")), "{}", said.err);
    for shell in ["bash", "zsh", "fish"] {
        assert!(panel.said(&["completions", shell]).done().contains("left4me"), "{shell}");
    }
    assert!(panel.said(&["man"]).done().starts_with(".ie"), "a manual page");
}
