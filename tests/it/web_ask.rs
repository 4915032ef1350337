//! Whatever destroys something asks for its name first: the page that asks, a wrong name, and the right one.

use std::collections::BTreeMap;

use left4me::model::port::StrayGame;
use left4me::web::TABLE;
use serde_json::{Value, json};

use crate::harness::{Client, Site, blueprint, server};

/// Forms that take something away and ask otherwise, or not at all, and why.
const OTHERWISE: [(&str, &str); 2] = [
    ("/account/totp/delete", "asks for the password"),
    ("/ports/u64/delete", "no page has it: the command line asks by the port that is typed"),
];

/// Whether a form's path says that something goes.
fn destroys(pattern: &str) -> bool {
    ["/delete", "/end", "/reset-layer"].iter().any(|end| pattern.ends_with(end))
}

#[tokio::test]
async fn whatever_is_destroyed_is_asked_for_by_its_name() {
    let site = Site::start().await;
    let admin = site.admin().await;
    site.user("leaver").await;
    let plan = blueprint(&admin, "in use").await;
    let doomed = server(&admin, "a server", plan).await;
    let unused = blueprint(&admin, "a <blueprint>").await;
    let id = |got: &Value| got["id"].as_u64().unwrap();
    let overlay = id(&admin.json("POST", "/admin/overlays", json!({"name": "an overlay"})).await.is(201).json());
    // Two spaces, which a page shows as one.
    let body = json!({"label": "a  token", "scope": "read"});
    let token = id(&admin.json("POST", "/account/tokens", body).await.is(201).json());
    let body = json!({"label": "a reservation", "count": 1});
    let held = admin.json("POST", "/ports/reservations", body).await.is(201).json();
    let reservation = held["id"].as_u64().or_else(|| held["reservation"]["id"].as_u64()).unwrap();
    let users = admin.get_json("/admin/users").await.json()["items"].clone();
    let leaver = id(users.as_array().unwrap().iter().find(|user| user["username"] == "leaver").unwrap());
    let stray =
        StrayGame { pid: 4242, start_time: 7, port: None, age_seconds: 1, uid: 0, command: "srcds_run".to_owned() };
    site.machine.strays.lock().unwrap().push(stray);

    // What each form destroys: its number, its name, the page that asks, and what goes with the form.
    let asked = BTreeMap::from([
        ("/servers/u64/reset-layer", (doomed, "a server", format!("/servers/{doomed}/files"), None)),
        ("/servers/u64/delete", (doomed, "a server", format!("/servers/{doomed}/delete"), None)),
        ("/blueprints/u64/delete", (unused, "a <blueprint>", format!("/blueprints/{unused}/delete"), None)),
        ("/admin/overlays/u64/delete", (overlay, "an overlay", format!("/admin/overlays/{overlay}/delete"), None)),
        ("/account/tokens/u64/delete", (token, "a token", format!("/account/tokens/{token}/delete"), None)),
        (
            "/ports/reservations/u64/delete",
            (reservation, "a reservation", format!("/ports/reservations/{reservation}/delete"), None),
        ),
        ("/ports/strays/u64/end", (4242, "4242", "/ports/strays/4242/end".to_owned(), Some(("start_time", "7")))),
        ("/admin/users/u64/delete", (leaver, "leaver", format!("/admin/users/{leaver}"), None)),
    ]);
    // A layer is thrown away before its server is: the table's own order would not do.
    let mut forms: Vec<String> = TABLE
        .iter()
        .filter(|(method, _)| *method == "post")
        .map(|(_, pattern)| pattern.replace('"', ""))
        .filter(|pattern| destroys(pattern) && !OTHERWISE.iter().any(|(other, _)| other == pattern))
        .collect();
    forms.sort_by_key(|pattern| pattern == "/servers/u64/delete");
    assert_eq!(forms.len(), asked.len(), "{forms:?}");
    for pattern in forms {
        let (id, name, page, hidden) = asked.get(pattern.as_str()).unwrap_or_else(|| panic!("{pattern} asks nobody"));
        let path = pattern.replace("u64", &id.to_string());
        let body = admin.get(page).await.is(200).body;
        assert!(body.contains(&format!(r#"action="{path}""#)) && body.contains(r#"name="confirm""#), "{page}: {body}");
        let with = |typed: &'static str| {
            let mut fields = vec![("confirm", typed)];
            fields.extend(hidden);
            fields
        };
        for wrong in ["", "another", "A SERVER"] {
            let got = admin.form(&path, &with(wrong)).await.is(400);
            assert!(got.body.contains("field-confirm-error") && got.body.contains("'s name"), "{path}: {}", got.body);
        }
        assert_eq!(admin.get(page).await.is(200).body, body, "{page}: nothing has happened");
        let right = with(name);
        let got = admin.form(&path, &right).await.is(302);
        // Deleting a server is a job, and its page says how that goes.
        if pattern != "/servers/u64/delete" {
            assert!(got.header("set-cookie").contains("left4me-note="), "{path}: {:?}", got.headers);
        }
    }
    for gone in [
        format!("/blueprints/{unused}"),
        format!("/blueprints/{unused}/delete"),
        format!("/admin/overlays/{overlay}"),
        format!("/account/tokens/{token}/delete"),
        format!("/ports/reservations/{reservation}/delete"),
        "/ports/strays/4242/end".to_owned(),
        format!("/admin/users/{leaver}"),
    ] {
        admin.get(&gone).await.is(404);
    }
}

#[tokio::test]
async fn what_stands_in_the_way_is_told_in_the_question_and_no_stranger_learns_a_name() {
    let site = Site::start().await;
    let (alice, bob) = (site.user("alice").await, site.user("bob").await);
    let plan = blueprint(&alice, "hers").await;
    server(&alice, "follower", plan).await;
    let path = format!("/blueprints/{plan}/delete");
    let got = alice.form(&path, &[("confirm", "hers")]).await.is(409);
    assert!(got.body.contains("follower") && got.body.contains("Keep it"), "{}", got.body);
    for client in [&bob, &site.user("carol").await] {
        assert!(!client.get(&path).await.is(403).body.contains("hers"));
        assert!(!client.form(&path, &[("confirm", "x")]).await.is(403).body.contains("hers"));
    }
    let body = json!({"label": "hers alone", "scope": "read"});
    let token = alice.json("POST", "/account/tokens", body).await.is(201).json()["id"].clone();
    bob.get(&format!("/account/tokens/{token}/delete")).await.is(404);
    // A form without the field is a program's, which asked its own people.
    alice.form(&format!("/account/tokens/{token}/delete"), &[]).await.is(302);
}

#[tokio::test]
async fn what_was_done_is_said_once_on_the_next_page() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let plan = blueprint(&alice, "plan").await;
    let path = format!("/blueprints/{plan}");
    let got = alice.form(&path, &[("name", "renamed")]).await.is(302);
    let left = got.header("set-cookie").to_owned();
    assert!(left.starts_with("left4me-note=saved; Path=/; Max-Age=60; HttpOnly; SameSite=Lax"), "{left}");
    assert_eq!(got.header("location"), path);
    let cookie = left.split(';').next().unwrap();
    let both = format!("{}; {cookie}", alice.cookie.as_deref().unwrap());
    let got = Client { cookie: Some(both), ..alice.clone() }.get(&path).await.is(200);
    assert!(got.body.contains("<p>Saved.</p>"), "{}", got.body);
    assert!(got.header("set-cookie").starts_with("left4me-note=; Path=/; Max-Age=0"), "{:?}", got.headers);
    assert!(!alice.get(&path).await.is(200).body.contains("Saved."));
    // Nor on pages that are kept for whoever asks again.
    for path in ["/servers", "/dashboard"] {
        let told = Client { cookie: Some(format!("{}; {cookie}", alice.cookie.as_deref().unwrap())), ..alice.clone() };
        assert!(told.get(path).await.is(200).body.contains("<p>Saved.</p>"), "{path}");
        assert!(!alice.get(path).await.is(200).body.contains("Saved."), "{path}");
        assert!(told.get(path).await.is(200).body.contains("<p>Saved.</p>"), "{path}");
    }
    // Programs read the answer itself.
    let got = alice.json("PATCH", &path, json!({"name": "again"})).await.is(200);
    assert_eq!(got.header("set-cookie"), "");
}
