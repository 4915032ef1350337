//! SIGKILL at every step of every operation: at the end the state is what a run without the crash would have given, no
//! job is lost or run twice, and nothing is left on the machine.

use left4me::jobs::steps;
use left4me::model::job::Operation;
use serde_json::{Value, json};

use crate::support::panel::Panel;
use crate::support::stand_in::StandIn;
use crate::support::{eventually, processes};

/// Waits until no job is queued or running; answers all jobs, newest first.
fn settled(panel: &Panel) -> Vec<Value> {
    eventually("every job at its end", || {
        let jobs = panel.get("/jobs?limit=500")["items"].as_array().cloned().unwrap_or_default();
        let active = jobs.iter().any(|job| job["state"] == "queued" || job["state"] == "running");
        (!active).then_some(jobs)
    })
}

/// Asks for `operation` while the daemon is set to die at `step`, sees it die, brings a new one up and lets it settle.
fn crash_at(panel: &mut Panel, operation: Operation, step: &str, path: &str) -> (Value, Vec<Value>) {
    panel.terminate();
    panel.environment("LEFT4ME_TESTS_CRASH_AT", Some(&format!("{}/{step}", operation.word())));
    panel.start_again();
    let method = if operation == Operation::Delete { "DELETE" } else { "POST" };
    let asked = panel.admin(method, path, &Value::Null).expect(202).json();
    panel.child.wait().expect("the daemon dies at the step");
    panel.environment("LEFT4ME_TESTS_CRASH_AT", None);
    panel.start_again();
    (asked, settled(panel))
}

#[test]
fn a_daemon_killed_at_any_step_of_a_server_operation_leaves_what_a_run_without_the_crash_would() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    for operation in [Operation::Initialize, Operation::Start, Operation::Stop, Operation::Restart, Operation::Delete] {
        for step in steps(operation) {
            let at = format!("{}/{step}", operation.word());
            let server = panel.server(&at, blueprint);
            let port = panel.get(&format!("/servers/{server}"))["port"].clone();
            if matches!(operation, Operation::Stop | Operation::Restart | Operation::Delete) {
                panel.must(&format!("/servers/{server}/start"));
            }
            let path = match operation {
                Operation::Delete => format!("/servers/{server}"),
                Operation::Install
                | Operation::Initialize
                | Operation::Start
                | Operation::Stop
                | Operation::Restart => {
                    format!("/servers/{server}/{}", operation.word())
                }
            };
            let (asked, jobs) = crash_at(&mut panel, operation, step, &path);
            let first = jobs.iter().find(|job| job["id"] == asked["id"]).expect("the job is not lost");
            assert_eq!(first["state"], "interrupted", "{at}");
            let again: Vec<_> = jobs.iter().filter(|job| job["retry_of"] == asked["id"]).collect();
            assert_eq!(again.len(), 1, "{at}: run again once");
            assert_eq!(again[0]["state"], "succeeded", "{at}: {}", panel.job_log(again[0]));

            let games = processes::of_folder(panel.folder.path())
                .into_iter()
                .filter(|process| process.command.contains(&format!("-port {port} ")))
                .count();
            let runs = usize::from(matches!(operation, Operation::Start | Operation::Restart));
            assert_eq!(games, runs, "{at}: processes of the game");
            match operation {
                Operation::Delete => {
                    panel.admin("GET", &format!("/servers/{server}"), &Value::Null).expect(404);
                    assert!(!panel.data("instances").join(server.to_string()).exists(), "{at}");
                    assert!(!panel.data("runtime").join(server.to_string()).exists(), "{at}");
                }
                Operation::Install
                | Operation::Initialize
                | Operation::Start
                | Operation::Stop
                | Operation::Restart => {
                    let state = panel.get(&format!("/servers/{server}"));
                    let expected = if runs == 1 { "running" } else { "stopped" };
                    assert_eq!(state["actual_state"], json!(expected), "{at}: {state}");
                    assert!(panel.data("instances").join(server.to_string()).join("spec.yaml").exists(), "{at}");
                    let job = panel.admin("DELETE", &format!("/servers/{server}"), &Value::Null).expect(202).json();
                    assert_eq!(panel.finished(&job)["state"], "succeeded", "{at}");
                }
            }
        }
    }
}

/// What a run of SteamCMD begins with in a job's log.
const RUN: &str = "\nsteamcmd +";

#[test]
fn an_install_whose_daemon_is_killed_leaves_nothing_half_done() {
    let mut panel = Panel::start();
    let mut whole = 0;
    for step in steps(Operation::Install) {
        let before = panel.get("/admin/builds")["items"].as_array().map_or(0, Vec::len);
        let (asked, jobs) = crash_at(&mut panel, Operation::Install, step, "/admin/install");
        let job = jobs.iter().find(|job| job["id"] == asked["id"]).expect("the job is not lost");
        let builds = panel.get("/admin/builds")["items"].as_array().map_or(0, Vec::len);
        // Once SteamCMD has done its work, the job ends as it would have without the crash, and it does it once.
        if matches!(*step, "verify" | "publish" | "tidy") {
            let log = panel.job_log(job);
            assert_eq!(job["state"], "succeeded", "{step}: {log}");
            assert_eq!(log.matches(RUN).count(), 2, "{step}: {log}");
            whole += 1;
            assert!(builds == before + 1 || builds == 3, "{step}: {before} builds were {builds} in the end");
        } else {
            assert_eq!(job["state"], "interrupted", "{step}: {job}");
            assert_eq!(builds, before, "{step}");
        }
        let left: Vec<_> = std::fs::read_dir(panel.data("installation"))
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        assert!(!left.iter().any(|name| name.contains('.')), "{step}: {left:?}");
        assert!(!panel.data("runtime").join(format!("install-{}", asked["id"])).exists(), "{step}");
        assert!(!processes::of_folder(panel.folder.path()).iter().any(|process| process.command.contains("steamcmd")));
    }
    assert_eq!(whole, 3);
    let blueprint = panel.blueprint("plain", &[], &[]);
    let server = panel.server("after all that", blueprint);
    panel.must(&format!("/servers/{server}/start"));
}

#[test]
fn an_install_whose_daemon_is_killed_in_the_middle_of_the_download_goes_on_where_it_is() {
    let stand_in = StandIn::of("gated");
    let mut panel = stand_in.panel();
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    eventually("the download", || panel.job_log(&job).contains("downloading").then_some(()));
    panel.kill();
    panel.start_again();
    StandIn::let_go(&panel);
    let job = panel.finished(&job);
    let log = panel.job_log(&job);
    assert_eq!(job["state"], "succeeded", "{log}");
    assert_eq!((StandIn::runs(&panel), log.matches("\ndownloading\n").count()), (2, 1), "{log}");
    let lines = panel.events(&format!("/jobs/{}/stream", job["id"])).take_while(|event| event.kind != "end");
    let numbers: Vec<u64> = lines.filter_map(|event| event.id.parse().ok()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no line is lost or doubled");
}

#[test]
fn an_operation_that_hangs_is_given_up_in_its_time_and_the_server_is_free_for_the_next() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    for operation in [Operation::Initialize, Operation::Start, Operation::Stop, Operation::Restart, Operation::Delete] {
        let word = operation.word();
        let server = panel.server(word, blueprint);
        if operation == Operation::Stop {
            panel.must(&format!("/servers/{server}/start"));
        }
        let step = steps(operation)[0];
        panel.terminate();
        panel.environment("LEFT4ME_TESTS_HANG_AT", Some(&format!("{word}/{step}")));
        panel.environment("LEFT4ME_TESTS_OPERATION_LIMIT", Some("1"));
        panel.start_again();
        let asked = if operation == Operation::Delete {
            panel.admin("DELETE", &format!("/servers/{server}"), &Value::Null)
        } else {
            panel.admin("POST", &format!("/servers/{server}/{word}"), &Value::Null)
        };
        let ended = panel.finished(&asked.expect(202).json());
        assert_eq!(ended["state"], "failed", "{ended}");
        let error = ended["error"].as_str().unwrap_or_default();
        assert!(error.starts_with(&format!("the {word} took longer than 1 s and was given up: ")), "{error}");

        panel.terminate();
        panel.environment("LEFT4ME_TESTS_HANG_AT", None);
        panel.environment("LEFT4ME_TESTS_OPERATION_LIMIT", None);
        panel.start_again();
        let next = panel.admin("DELETE", &format!("/servers/{server}"), &Value::Null).expect(202).json();
        assert_eq!(panel.finished(&next)["state"], "succeeded", "{word}");
    }
}
