//! SIGKILL at every step of every operation: at the end the state is what a run without the crash would have given, no
//! job is lost or run twice, and nothing is left on the machine.

use left4me::jobs::steps;
use left4me::model::job::Operation;
use serde_json::{Value, json};

use crate::support::panel::Panel;
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

#[test]
fn an_install_whose_daemon_is_killed_leaves_nothing_half_done() {
    let mut panel = Panel::start();
    for step in steps(Operation::Install) {
        let (asked, jobs) = crash_at(&mut panel, Operation::Install, step, "/admin/install");
        let job = jobs.iter().find(|job| job["id"] == asked["id"]).expect("the job is not lost");
        let state = job["state"].as_str().unwrap_or_default();
        assert!(matches!(state, "succeeded" | "interrupted"), "{step}: {job}");
        let left: Vec<_> = std::fs::read_dir(panel.data("installation"))
            .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
            .unwrap_or_default();
        assert!(!left.iter().any(|name| name.contains(".new")), "{step}: {left:?}");
        assert!(!panel.data("runtime").join(format!("install-{}", asked["id"])).exists(), "{step}");
        assert!(!processes::of_folder(panel.folder.path()).iter().any(|process| process.command.contains("steamcmd")));
    }
    let blueprint = panel.with_game();
    let server = panel.server("after all that", blueprint);
    panel.must(&format!("/servers/{server}/start"));
}
