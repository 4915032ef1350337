//! The second factor over HTTP: set up, asked for, removed; as pages and as JSON.

use serde_json::json;

use crate::harness::{Client, PASSWORD, Site};
use crate::totp;

fn code(secret: &str) -> String {
    totp::code(secret, 0)
}

/// Sets it up as a program on a cookie; answers the recovery codes.
async fn set_up(client: &Client) -> Vec<String> {
    let offer = client.json("POST", "/account/totp", json!({})).await.is(201).json();
    assert!(offer["uri"].as_str().unwrap().starts_with("otpauth://totp/left4me:"));
    let body = json!({ "code": code(offer["secret"].as_str().unwrap()) });
    let got = client.json("POST", "/account/totp/confirm", body).await.is(200).json();
    got["recovery_codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_second_factor_is_set_up_asked_for_when_signing_in_and_removed_with_the_password() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    assert_eq!(alice.get_json("/account/totp").await.is(200).json()["second_factor"], false);
    let recovery = set_up(&alice).await;
    assert_eq!(recovery.len(), 10);
    assert_eq!(alice.get_json("/account/totp").await.json()["second_factor"], true);
    let guest = site.guest();
    let got = guest.json("POST", "/login", json!({ "username": "alice", "password": PASSWORD })).await.is(401);
    assert_eq!(got.json()["second_factor"], true);
    let body = json!({ "username": "alice", "password": PASSWORD, "code": recovery[0] });
    guest.json("POST", "/login", body.clone()).await.is(200);
    guest.json("POST", "/login", body).await.is(401);
    alice.json("POST", "/account/totp", json!({})).await.is(409);
    alice.json("DELETE", "/account/totp", json!({ "password": "wrong" })).await.is(401);
    alice.json("DELETE", "/account/totp", json!({ "password": PASSWORD })).await.is(204);
    guest.json("POST", "/login", json!({ "username": "alice", "password": PASSWORD })).await.is(200);
}

#[tokio::test]
async fn the_page_draws_the_qr_code_itself_and_shows_the_recovery_codes_once() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let page = alice.form("/account/totp", &[]).await.is(200).body;
    assert!(page.contains("<svg class=\"qr\"") && page.contains("<path d=\"M4 4h1v1h-1z"), "{page}");
    assert!(!page.contains(" style=") && !page.contains("data:image") && !page.contains("<img"));
    let secret = page.split("data-copy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let got = alice.form("/account/totp/confirm", &[("code", "nonsense")]).await.is(400).body;
    assert!(got.contains("is wrong: check the clock") && !got.contains(&secret));
    let page = alice.form("/account/totp/confirm", &[("code", &code(&secret))]).await.is(200).body;
    assert!(page.contains("shown once"));
    let page = alice.get("/account/totp").await.is(200).body;
    assert!(page.contains("Switch it off") && !page.contains("shown once") && !page.contains(&secret));
    alice.form("/account/totp/delete", &[("password", "wrong")]).await.is(401);
    alice.form("/account/totp/delete", &[("password", PASSWORD)]).await.is(302);
}

#[tokio::test]
async fn a_token_and_a_stranger_cannot_touch_the_second_factor() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let made = alice.json("POST", "/account/tokens", json!({ "label": "x", "scope": "operate" })).await.is(201);
    let program = site.guest().with_bearer(made.json()["token"].as_str().unwrap());
    program.json("POST", "/account/totp", json!({})).await.is(403);
    site.guest().json("POST", "/account/totp", json!({})).await.is(401);
    site.guest().get("/account/totp").await.is(302);
    alice.json("POST", "/account/totp/confirm", json!({ "code": "123456" })).await.is(409);
    alice.json("POST", "/account/totp/confirm", json!({})).await.is(400);
}
