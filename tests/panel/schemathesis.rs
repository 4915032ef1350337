//! The description of the interface against the panel, by schemathesis: a program that nobody here wrote makes requests
//! from it, right ones and wrong ones, and holds every answer to it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::panel::{Panel, form};
use crate::support::skip;

/// Requests that are made of each operation, in each of the phases.
const EXAMPLES: &str = "6";
/// How long one run may take.
const RUN_TIME: Duration = Duration::from_mins(2);
/// After so many seconds it begins nothing new.
const MAX_TIME: &str = "50";
/// What the description cannot say. A body that fits its schema may still be refused: names that are taken, arguments
/// that are not allowed, a cursor that no list gave. Deleting a server is a job: the server is there until it has ended.
/// A change may answer 404 about the other object that it names.
const RULES: &str = r#"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 415, 429, 503]

[[operations]]
include-path = "/servers/{id}"
checks.use_after_free.enabled = false
checks.ensure_resource_availability.enabled = false

[[operations]]
include-path = "/admin/overlays/{id}/revisions"
checks.ensure_resource_availability.enabled = false
"#;
/// Without these the panel would change under the run: the token itself would go, or the sender's rights.
const LEFT_OUT: [&str; 2] = ["/account/tokens/{id}", "/admin/users/{id}"];

/// The program; `None`, with a reason, where it is not installed.
fn schemathesis() -> Option<PathBuf> {
    let python = std::env::var_os("LEFT4ME_TESTS_PYTHON").map(PathBuf::from);
    let found = python.and_then(|python| {
        let there = Command::new(&python)
            .args(["-c", "import schemathesis"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        there.then(|| python.with_file_name("schemathesis"))
    });
    if found.is_none() {
        skip("schemathesis is not there: tests/run sets it up, or name its Python in LEFT4ME_TESTS_PYTHON");
    }
    found
}

fn holds(panel: &Panel, program: &PathBuf, token: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("a file");
    std::fs::write(folder.path().join("schemathesis.toml"), RULES).expect("a file");
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["run", &format!("http://{}/api/openapi.json", panel.address)])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--header", "Accept: application/json", "--max-time", MAX_TIME, "--no-shrink"])
        .args(["--checks", "all", "--max-examples", EXAMPLES, "--workers", "2"])
        .args(["--generation-deterministic", "--no-color", "--request-timeout", "20"])
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("a file"))
        .stderr(file);
    for path in LEFT_OUT {
        command.args(["--exclude-path", path]);
    }
    let mut child = command.spawn().expect("schemathesis");
    let end = Instant::now() + RUN_TIME;
    let status = loop {
        if let Some(status) = child.try_wait().expect("its state") {
            break Some(status);
        }
        if Instant::now() > end {
            child.kill().expect("a kill");
            child.wait().expect("its end");
            break None;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.is_some_and(|status| status.success()), "{status:?}\n{text}");
    assert!(text.contains("passed") || text.contains("No issues found"), "{text}");
}

#[test]
#[ignore = "long, and what random requests reach differs with the speed of the machine: tests/run --soak"]
fn schemathesis_finds_nothing_as_an_admin() {
    let Some(program) = schemathesis() else { return };
    let panel = Panel::start();
    let made = panel.admin("POST", "/account/tokens", &json!({"label": "schemathesis", "scope": "admin"}));
    let token = made.expect(201).json()["token"].as_str().expect("a token").to_owned();
    holds(&panel, &program, &token);
    assert_eq!(panel.admin("GET", "/health", &Value::Null).expect(200).json()["status"], "ok");
}

#[test]
#[ignore = "long, and what random requests reach differs with the speed of the machine: tests/run --soak"]
fn schemathesis_finds_nothing_as_a_user() {
    let Some(program) = schemathesis() else { return };
    let panel = Panel::start();
    let (username, password) = ("player", "correct horse battery staple");
    let body = form(&[("username", username), ("password", password)]);
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    http::send(panel.address, "POST", "/signup", &headers, body.as_bytes()).expect(302);
    let (cookie, csrf) = panel.log_in(username, password);
    let made =
        panel.json_as(&cookie, &csrf, "POST", "/account/tokens", &json!({"label": "schemathesis", "scope": "operate"}));
    let token = made.expect(201).json()["token"].as_str().expect("a token").to_owned();
    holds(&panel, &program, &token);
    assert_eq!(panel.admin("GET", "/health", &Value::Null).expect(200).json()["status"], "ok");
}
