//! Pages that are kept while nothing changes: whatever does change is seen at once, and by nobody who may not.

use std::sync::atomic::Ordering;

use left4me::model::id::ServerId;
use left4me::model::machine::Facts;
use left4me::model::time::Timestamp;
use serde_json::json;

use crate::harness::{Client, Site, blueprint, server};

fn facts(players: u32) -> Facts {
    Facts { players: Some(players), max_players: Some(8), ..Facts::default() }
}

async fn dashboard(client: &Client) -> String {
    client.get("/dashboard").await.is(200).body
}

#[tokio::test]
async fn a_page_is_kept_until_the_store_or_a_game_changes() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let id = server(&alice, "first", blueprint(&alice, "b").await).await;
    let play = |players| site.machine.facts.lock().unwrap().insert(ServerId(id), facts(players));
    play(3);
    // The fake tells nobody of what is changed by hand: what was drawn is what is shown, within one minute.
    site.machine.calm.store(true, Ordering::SeqCst);
    loop {
        let minute = || Timestamp::now().0 / 60_000;
        let begun = minute();
        play(3);
        site.machine.calm.store(false, Ordering::SeqCst);
        assert!(dashboard(&alice).await.contains("3 of 8"));
        site.machine.calm.store(true, Ordering::SeqCst);
        let drawn = dashboard(&alice).await;
        play(5);
        let again = dashboard(&alice).await;
        if minute() == begun {
            assert_eq!(again, drawn, "nothing was drawn anew");
            break;
        }
    }
    // A game changed, and says so.
    site.machine.calm.store(false, Ordering::SeqCst);
    assert!(dashboard(&alice).await.contains("5 of 8"));
    site.machine.calm.store(true, Ordering::SeqCst);
    assert!(dashboard(&alice).await.contains("first"));
    // The store changed.
    alice.json("PATCH", &format!("/servers/{id}"), json!({ "name": "second" })).await.is(200);
    let page = dashboard(&alice).await;
    assert!(page.contains("second") && !page.contains("first"), "{page}");
    let list = alice.get_json("/servers").await.is(200).json();
    assert_eq!(list["items"][0]["name"], "second");
}

#[tokio::test]
async fn a_page_that_is_kept_is_shown_to_its_reader_only_and_no_longer_than_the_session_lasts() {
    let site = Site::start().await;
    site.machine.calm.store(true, Ordering::SeqCst);
    let (alice, bob) = (site.user("alice").await, site.user("bob").await);
    server(&alice, "hers alone", blueprint(&alice, "b").await).await;
    for _ in 0..2 {
        assert!(dashboard(&alice).await.contains("hers alone"));
        assert!(!dashboard(&bob).await.contains("hers alone"));
        assert_eq!(site.guest().get("/dashboard").await.is(302).header("location"), "/login?next=%2Fdashboard");
        assert_eq!(alice.get_json("/servers").await.is(200).json()["items"][0]["name"], "hers alone");
        assert_eq!(bob.get_json("/servers").await.is(200).json()["items"], json!([]));
        assert!(alice.get("/servers").await.is(200).body.contains("<table"), "a page, not what a program got");
    }
    alice.form("/logout", &[]).await.is(302);
    alice.get("/dashboard").await.is(302);
    alice.get_json("/servers").await.is(401);
}

#[tokio::test]
async fn a_token_that_is_revoked_gets_nothing_more() {
    let site = Site::start().await;
    site.machine.calm.store(true, Ordering::SeqCst);
    let alice = site.user("alice").await;
    let made = alice.json("POST", "/account/tokens", json!({ "label": "t", "scope": "read" })).await.is(201).json();
    let program = site.guest().with_bearer(made["token"].as_str().unwrap());
    for _ in 0..3 {
        program.get("/servers").await.is(200);
    }
    let list = alice.get_json("/account/tokens").await.is(200).json();
    let id = &list["items"][0]["id"];
    alice.json("DELETE", &format!("/account/tokens/{id}"), json!({})).await.is(204);
    program.get("/servers").await.is(401);
}
