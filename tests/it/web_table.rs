//! Every route of the table, one refusal after the other, for browsers and for programs; and the description of the
//! interface held to the table.

use std::collections::BTreeSet;

use left4me::web::TABLE;
use left4me::web::extract::BODY_MAX;
use serde_json::{Value, json};

use crate::harness::{Client, Got, Site};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
/// What a browser says that it reads, and what a program says.
const READERS: [(&str, &str); 2] = [("accept", "text/html"), ("accept", "application/json")];

/// Routes as method, pattern (`/servers/u64`) and a path (`/servers/7`).
fn routes() -> impl Iterator<Item = (String, String, String)> {
    TABLE.iter().map(|(method, pattern)| {
        let pattern = pattern.replace('"', "");
        (method.to_uppercase(), pattern.clone(), pattern.replace("u64", "7"))
    })
}

/// Those that change something, but for the control socket's, which are not there over TCP.
fn changes() -> impl Iterator<Item = (String, String)> {
    routes().filter(|(method, _, path)| method != "GET" && !path.starts_with("/control/")).map(|(m, _, path)| (m, path))
}

/// A refusal in the shape that its reader reads.
#[track_caller]
fn refused(got: Got, status: u16, reader: (&str, &str), what: &str) -> Got {
    assert_eq!(got.status.as_u16(), status, "{what}: {}", got.body);
    if reader.1 == "application/json" {
        assert!(got.json()["error"].as_str().is_some_and(|error| !error.is_empty()), "{what}: {}", got.body);
    } else {
        assert!(got.header("content-type").starts_with("text/html"), "{what}: {:?}", got.headers);
        assert!(got.body.contains(&format!("<h1>{status} ")), "{what}: {}", got.body);
    }
    got
}

#[tokio::test]
async fn a_wrong_method_is_405_on_every_path_and_says_which_are_right() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let paths: BTreeSet<String> = routes().map(|(_, _, path)| path).collect();
    for path in paths {
        let mut own: BTreeSet<String> = routes().filter(|(_, _, other)| *other == path).map(|(m, ..)| m).collect();
        if own.contains("GET") {
            own.insert("HEAD".into());
        }
        let allow = own.iter().cloned().collect::<Vec<_>>().join(", ");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "NONSENSE"] {
            if own.contains(method) {
                continue;
            }
            for reader in READERS {
                let headers = [reader, ("x-csrf-token", admin.csrf.as_str())];
                let what = format!("{method} {path}");
                let got = refused(admin.send(method, &path, &headers, "").await, 405, reader, &what);
                assert_eq!(got.header("allow"), allow, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_below_every_path_and_for_every_odd_identifier() {
    let site = Site::start().await;
    let admin = site.admin().await;
    for (method, pattern, path) in routes() {
        let mut wrong = vec![format!("{path}/nothing")];
        if pattern.contains("u64") {
            for odd in ["x", "-1", "1.0", "18446744073709551616", "%31", "1%2F2", "٧"] {
                wrong.push(pattern.replacen("u64", odd, 1));
            }
        }
        for wrong in wrong.into_iter().filter(|wrong| wrong.is_ascii()) {
            // What stands for an identifier here may be a word elsewhere.
            if routes().any(|(_, _, other)| other == wrong) {
                continue;
            }
            for reader in READERS {
                let headers = [reader, ("x-csrf-token", admin.csrf.as_str())];
                let what = format!("{method} {wrong}");
                refused(admin.send(&method, &wrong, &headers, "").await, 404, reader, &what);
            }
        }
    }
}

#[tokio::test]
async fn another_media_type_is_415_on_every_route_that_changes_something() {
    let site = Site::start().await;
    let admin = site.admin().await;
    for (method, path) in changes() {
        for kind in ["text/plain", "multipart/form-data", "application/xml", "nonsense"] {
            for reader in READERS {
                let headers = [reader, ("content-type", kind), ("x-csrf-token", admin.csrf.as_str())];
                let what = format!("{method} {path} with {kind}");
                refused(admin.send(&method, &path, &headers, "name=x").await, 415, reader, &what);
            }
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_on_every_route_that_changes_something() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let body = "x".repeat(BODY_MAX + 1);
    for (method, path) in changes() {
        for (kind, reader) in [FORM, JSON].into_iter().zip(READERS) {
            let headers = [reader, kind, ("x-csrf-token", admin.csrf.as_str())];
            let what = format!("{method} {path}");
            refused(admin.send(&method, &path, &headers, &body).await, 413, reader, &what);
        }
    }
}

#[tokio::test]
async fn a_missing_or_wrong_form_token_is_400_on_every_route_that_changes_something() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let other = site.user("other").await;
    for (method, path) in changes().filter(|(_, path)| !matches!(path.as_str(), "/login" | "/signup")) {
        for csrf in [None, Some(""), Some("nonsense"), Some(other.csrf.as_str())] {
            for (kind, reader) in [FORM, JSON].into_iter().zip(READERS) {
                let mut headers = vec![reader, kind];
                headers.extend(csrf.map(|csrf| ("x-csrf-token", csrf)));
                let body = if kind == JSON { "{}" } else { "name=x" };
                let what = format!("{method} {path} with {csrf:?}");
                let got = refused(admin.send(&method, &path, &headers, body).await, 400, reader, &what);
                assert!(got.body.contains("form token"), "{what}: {}", got.body);
            }
        }
        // The same in the form's own field.
        if method == "POST" {
            let fields = "csrf_token=nonsense&name=x";
            refused(admin.send("POST", &path, &[READERS[0], FORM], fields).await, 400, READERS[0], &path);
        }
    }
    admin.get("/dashboard").await.is(200);
}

/// Routes that need nobody to be signed in.
const OPEN: [&str; 5] = ["/health", "/metrics", "/api/openapi.json", "/login", "/signup"];

#[tokio::test]
async fn who_is_not_signed_in_gets_401_as_a_program_and_the_sign_in_page_as_a_person() {
    let site = Site::start().await;
    let guest = site.guest();
    for (method, _, path) in
        routes().filter(|(_, _, path)| !OPEN.contains(&path.as_str()) && !path.starts_with("/control/"))
    {
        let what = format!("{method} {path}");
        refused(guest.send(&method, &path, &[READERS[1], JSON], "{}").await, 401, READERS[1], &what);
        let got = guest.send(&method, &path, &[READERS[0], FORM], "").await;
        if method == "GET" {
            assert_eq!(got.status, 302, "{what}");
            let next: String = form_urlencoded::byte_serialize(path.as_bytes()).collect();
            assert_eq!(got.header("location"), format!("/login?next={next}"), "{what}");
        } else {
            refused(got, 400, READERS[0], &what);
        }
        let revoked = guest.with_bearer("left4me_nonsense").send(&method, &path, &[], "").await;
        refused(revoked, 401, READERS[1], &what);
    }
}

/// What only admins may do: everything below `/admin`, and ports beyond one's own.
fn is_for_admins(method: &str, path: &str) -> bool {
    path.starts_with("/admin/") || (path.starts_with("/ports") && (method, path) != ("GET", "/ports"))
}

#[tokio::test]
async fn what_is_for_admins_is_403_for_users_for_narrow_tokens_of_admins_and_for_readers() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("user").await);
    let token = async |client: &Client, scope: &str| {
        let got = client.json("POST", "/account/tokens", json!({ "label": "x", "scope": scope })).await.is(201);
        site.guest().with_bearer(got.json()["token"].as_str().unwrap())
    };
    let (operates, reads) = (token(&admin, "operate").await, token(&admin, "read").await);
    for (method, _, path) in routes().filter(|(method, _, path)| is_for_admins(method, path)) {
        let what = format!("{method} {path}");
        for (kind, reader) in [FORM, JSON].into_iter().zip(READERS) {
            let headers = [reader, kind, ("x-csrf-token", user.csrf.as_str())];
            refused(user.send(&method, &path, &headers, "").await, 403, reader, &what);
        }
        for narrow in [&operates, &reads] {
            refused(narrow.send(&method, &path, &[JSON], "").await, 403, READERS[1], &what);
        }
    }
    // A token that reads changes nothing, wherever it is tried.
    for (method, path) in changes().filter(|(_, path)| !OPEN.contains(&path.as_str())) {
        refused(reads.send(&method, &path, &[JSON], "{}").await, 403, READERS[1], &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn nothing_that_is_sent_to_any_route_makes_a_500() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("user").await);
    let forms = [
        "",
        "name",
        "name=&port=&blueprint_id=&count=&overlay_ids=&number=&expires_at=&username=&password=&line=",
        "name=%00%ff&port=99999999999999999999&blueprint_id=-1&count=1e9&overlay_ids=x&arguments=%5B&config=%5B1%5D",
        "arrange=up:999999999999999999999&overlay_ids=&limit=x&cursor=zz&admin=perhaps&disabled=2&scope=&label=%0a",
        "username=%F0%9F%98%80&password=x&code=%00&current=&expires_at=0000-00-00T99:99",
    ];
    let queries =
        ["", "?limit=&cursor=&state=&lines=", "?limit=99999999999999999999", "?cursor=%00%ff", "?path=%00&revision=-1"];
    for (method, _, path) in routes() {
        // The sender stays signed in, and streams have no end.
        if path == "/logout" || path.ends_with("/stream") || path == "/events" {
            continue;
        }
        for client in [&site.guest(), &user, &admin] {
            let headers = [READERS[0], FORM, ("x-csrf-token", client.csrf.as_str())];
            for body in forms {
                let got = client.send(&method, &path, &headers, body).await;
                assert!(got.status.as_u16() < 500, "{method} {path} {body}: {} {}", got.status, got.body);
            }
            for query in queries {
                let got = client.send(&method, &format!("{path}{query}"), &headers, "").await;
                assert!(got.status.as_u16() < 500, "{method} {path}{query}: {} {}", got.status, got.body);
            }
        }
    }
}

/// Routes that the description leaves out, and why.
fn left_out(method: &str, pattern: &str) -> Option<&'static str> {
    let page = ["/servers/new", "/blueprints/new", "/servers/u64/edit", "/ports/strays/u64/end"];
    let piece = ["/dashboard/cards", "/servers/u64/card", "/servers/u64/live", "/servers/u64/panel", "/jobs/u64/state"];
    match (method, pattern) {
        ("get", page_path) if page.contains(&page_path) => Some("a page with a form, for people only"),
        ("get", piece_path) if piece.contains(&piece_path) => Some("a piece of a page, for its script"),
        (_, path) if path.ends_with("/delete") => Some("the twin of DELETE, for forms"),
        (_, path) if path.starts_with("/control/") => Some("not there over TCP"),
        ("get", path) if path.ends_with("/stream") || path == "/events" => Some("a stream, told of in the description"),
        ("get", "/metrics") => Some("for Prometheus, whose format says all"),
        ("get", "/api/openapi.json") => Some("the description itself"),
        _ => None,
    }
}

#[tokio::test]
async fn the_description_of_the_interface_is_the_route_table() {
    let site = Site::start().await;
    let document = site.guest().get("/api/openapi.json").await.is(200).json();
    let known: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, pattern)| ((*method).to_owned(), pattern.replace('"', ""))).collect();
    let (mut described, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (path, operations) in document["paths"].as_object().unwrap() {
        let pattern = path.replace("{id}", "u64");
        assert!(!pattern.contains('{'), "{path}: identifiers are called id");
        for (method, operation) in operations.as_object().unwrap() {
            assert!(
                known.contains(&(method.clone(), pattern.clone())),
                "{method} {path} is described and does not exist"
            );
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is the name of two");
            let takes_id = operation["parameters"].to_string().contains("id\"");
            assert_eq!(takes_id, path.contains("{id}") || path == "/jobs", "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|code| code.starts_with('2')), "{method} {path} never succeeds");
            let open = operation.get("security") == Some(&json!([]));
            assert_eq!(open, OPEN.contains(&path.as_str()), "{method} {path}");
            described.insert((method.clone(), pattern.clone()));
        }
    }
    for (method, pattern) in known.difference(&described) {
        assert!(left_out(method, pattern).is_some(), "{method} {pattern} is not described");
    }
    for (method, pattern) in &described {
        assert_eq!(left_out(method, pattern), None, "{method} {pattern} is described and called left out");
    }
}

#[tokio::test]
async fn every_error_of_the_description_has_the_one_shape_of_errors() {
    let site = Site::start().await;
    let document = site.guest().get("/api/openapi.json").await.is(200).json();
    let shape = json!({ "$ref": "#/components/schemas/Error" });
    for (name, response) in document["components"]["responses"].as_object().unwrap() {
        assert_eq!(response["content"]["application/json"]["schema"], shape, "{name}");
    }
    assert_eq!(document["components"]["schemas"]["Error"]["required"], json!(["error"]));
    let got = site.user("user").await.json("POST", "/servers", json!({ "name": 5 })).await.is(400).json();
    let keys: Vec<&String> = got.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["error", "field"]);
    assert_eq!(got["field"], Value::from("name"));
}

#[test]
fn each_patch_and_each_delete_has_its_twin_for_forms() {
    let known: BTreeSet<(String, String)> = routes().map(|(method, pattern, _)| (method, pattern)).collect();
    for (method, pattern) in &known {
        let twin = match method.as_str() {
            "PATCH" => pattern.clone(),
            "DELETE" => format!("{pattern}/delete"),
            _ => continue,
        };
        assert!(known.contains(&("POST".to_owned(), twin)), "{method} {pattern} has no twin");
    }
}
