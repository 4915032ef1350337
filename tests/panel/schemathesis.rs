//! The description of the interface against the panel, by schemathesis: a program that nobody here wrote makes requests
//! from it, right ones and wrong ones, and holds every answer to it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http;
use crate::support::panel::Panel;
use crate::support::skip;

/// Requests that are made of each operation, in each of the phases. With one worker and without a random seed they are
/// the same in every run.
const EXAMPLES: &str = "8";
/// How long one run may take: some 30 s on two cores that nobody else uses.
const RUN_TIME: Duration = Duration::from_mins(3);
/// A password that every user of the run has.
const PASSWORD: &str = "correct horse battery staple";
/// Users whose rights the run changes. The sender's own must stay, or every later request would be refused; that this
/// happens, and that the last admin is protected, is tested in `tests/it`.
const VICTIMS: [&str; 2] = ["first victim", "second victim"];

/// What the description cannot say, and the checks that stay off for it.
///
/// - A body that fits its schema may still be refused: names that are taken, arguments that are not allowed, a cursor
///   that no list gave. So the statuses of a refusal count as answers to good data; that they are described is checked.
/// - Deleting a server is a job: the server is there until it has ended, and a change of it may answer 404 about the
///   other object that it names. So what a deletion leaves is not checked there.
/// - Making a revision current answers 404 about the revision, not about the overlay that was just made.
fn rules(victim: &Value) -> String {
    format!(
        r#"
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 400, 401, 403, 404, 409, 413, 415, 429, 503]

[[operations]]
include-path = "/servers/{{id}}"
checks.use_after_free.enabled = false
checks.ensure_resource_availability.enabled = false

[[operations]]
include-path = "/admin/overlays/{{id}}/revisions"
checks.ensure_resource_availability.enabled = false

[[operations]]
include-path = "/admin/users/{{id}}"
parameters = {{ "path.id" = {victim} }}
"#
    )
}

/// Operations that are left out: the first ends the session that the run rides on (`tests/it` signs out), the second
/// ends games of other tests, which no server of this panel owns (`ports.rs` beside this file ends one of its own).
const LEFT_OUT: [&str; 2] = ["/logout", "/ports/strays/{id}/end"];

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

/// Runs it as somebody who is signed in. A session, not a token: a token may not touch the second factor, and the run
/// revokes every token that it finds.
fn holds(panel: &Panel, program: &PathBuf, (username, password): (&str, &str)) {
    let mut victim = Value::Null;
    for name in VICTIMS {
        let body = json!({"username": name, "password": PASSWORD});
        let headers = [("content-type", "application/json")];
        let made = http::send(panel.address, "POST", "/signup", &headers, body.to_string().as_bytes()).expect(201);
        victim = made.json()["id"].clone();
    }
    let (cookie, csrf) = panel.log_in(username, password);
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let file = std::fs::File::create(&log).expect("a file");
    std::fs::write(folder.path().join("schemathesis.toml"), rules(&victim)).expect("a file");
    let mut command = Command::new(program);
    command
        .current_dir(folder.path())
        .args(["run", &format!("http://{}/api/openapi.json", panel.address)])
        .args(["--header", &format!("Cookie: {cookie}"), "--header", &format!("X-CSRF-Token: {csrf}")])
        .args(["--header", "Accept: application/json", "--checks", "all"])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES, "--no-shrink"])
        .args(["--workers", "1", "--generation-deterministic"])
        // A header of another scheme, beside a session that is good, counts for nothing: proxies that ask for a password
        // of their own send one along. Bad tokens alone are tried by the check `ignored_auth`.
        .args(["--generation-with-security-parameters", "false"])
        .args(["--no-color", "--request-timeout", "20"])
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
fn schemathesis_finds_nothing_as_an_admin() {
    let Some(program) = schemathesis() else { return };
    let panel = Panel::start();
    let password = panel.reset_admin();
    holds(&panel, &program, ("admin", &password));
    let page = http::send(panel.address, "GET", "/health", &[], b"").expect(200);
    assert_eq!(page.json()["status"], "ok");
}

#[test]
fn schemathesis_finds_nothing_as_a_user() {
    let Some(program) = schemathesis() else { return };
    let panel = Panel::start();
    let body = json!({"username": "player", "password": PASSWORD});
    let headers = [("content-type", "application/json")];
    http::send(panel.address, "POST", "/signup", &headers, body.to_string().as_bytes()).expect(201);
    holds(&panel, &program, ("player", PASSWORD));
    assert_eq!(panel.admin("GET", "/health", &Value::Null).expect(200).json()["status"], "ok");
}
