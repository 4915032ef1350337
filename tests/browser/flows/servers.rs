//! Servers, from their form to their end, on their own page and on the dashboard.

use serde_json::json;

use super::says_the_name;
use crate::hand::Hand;
use crate::support::panel::Panel;

/// Presses a button of a server's page and waits until it is in `state`.
async fn operates(hand: &Hand<'_>, server: &str, operation: &str, state: &str) {
    hand.presses(&format!("form[action='{server}/{operation}'] button")).await;
    if hand.way.script {
        hand.sees("#flash", operation).await;
    }
    // A server that is started anew says "running" before and after.
    if !hand.way.script || operation == "restart" {
        hand.awaits_job("succeeded").await;
    }
    hand.awaits(server, "#panel .state", state).await;
}

/// One server: made, run, changed, emptied, renamed, deleted.
pub async fn whole_life(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let (plan, name) = (hand.own("Plan"), hand.own("Friday"));
    let blueprint = panel.blueprint(&plan, &[], &[]);
    let holder = panel.server(&hand.own("Holder"), blueprint);
    let taken = panel.get(&format!("/servers/{holder}"))["port"].to_string();

    hand.goes("/servers").await;
    hand.presses("main a.button[href='/servers/new']").await;
    hand.types("input[name=name]", &name).await;
    hand.chooses("select[name=blueprint_id]", &plan).await;
    hand.enters("input[name=port]", &taken).await;
    hand.sees("#field-port-error", "port already in use").await;
    assert_eq!(hand.holds("input[name=name]").await, name, "what was typed stays");
    hand.looks("refused").await;
    hand.types("input[name=port]", "").await;
    hand.presses("form[action='/servers'] button.main").await;
    hand.sees("h1", &name).await;
    let server = hand.path().await;

    operates(hand, &server, "initialize", "stopped").await;
    operates(hand, &server, "start", "running").await;
    if hand.way.script {
        hand.sees("[data-lines]", "dedicated Yes, ports").await;
        hand.enters("input[name=line]", "echo typed by hand").await;
        hand.sees("[data-lines]", "typed by hand").await;
    } else {
        hand.enters("input[name=line]", "echo typed by hand").await;
        hand.presses("main a[href$='/logs']").await;
        hand.awaits(&format!("{server}/logs"), ".log", "typed by hand").await;
        hand.goes(&server).await;
    }
    hand.looks("running").await;

    // What the blueprint changed waits for the next start, and is told line by line.
    panel.admin("PATCH", &format!("/blueprints/{blueprint}"), &json!({"config": ["sv_tags changed"]})).expect(200);
    hand.goes(&server).await;
    hand.presses("#panel .pending summary").await;
    hand.sees("#panel .pending", "+ config: sv_tags changed").await;
    hand.presses("#panel .spec summary").await;
    hand.sees("#panel .spec", &format!("hostname \"{name}\"")).await;
    hand.misses("#panel .spec", "sv_tags").await;
    hand.looks("pending").await;
    operates(hand, &server, "restart", "running").await;
    hand.goes(&server).await;
    hand.misses("#panel", "next start changes").await;
    hand.presses("#panel .spec summary").await;
    hand.sees("#panel .spec", "sv_tags changed").await;

    hand.presses("main .head a[href$='/files']").await;
    hand.presses("td a[href*='path=left4dead2']").await;
    hand.sees("h1", "Files of").await;
    hand.looks("written").await;
    hand.goes(&server).await;
    operates(hand, &server, "stop", "stopped").await;
    hand.goes(&format!("{server}/files")).await;
    says_the_name(hand, &name, "throw-away").await;
    hand.sees("table", "Nothing yet").await;

    hand.goes(&server).await;
    hand.presses("main .head a[href$='/edit']").await;
    let renamed = hand.own("Saturday");
    hand.types("input[name=name]", &renamed).await;
    hand.presses("main form button.main").await;
    hand.sees("h1", &renamed).await;
    hand.presses("main .head a[href$='/delete']").await;
    hand.sees("h1", &format!("Delete {renamed}")).await;
    says_the_name(hand, &renamed, "delete").await;
    hand.awaits_job("succeeded").await;
    hand.looks("job").await;
    hand.goes("/servers").await;
    hand.misses("main", &renamed).await;
}

/// Several at once; one of them started and stopped without leaving the dashboard.
pub async fn dashboard(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let (plan, prefix) = (hand.own("Party"), hand.own("Table"));
    let blueprint = panel.blueprint(&plan, &[], &[]);
    hand.goes("/servers/new").await;
    hand.presses("main a[href='/servers/batch']").await;
    hand.types("input[name=count]", "0").await;
    hand.types("input[name=name_prefix]", &prefix).await;
    hand.chooses("select[name=blueprint_id]", &plan).await;
    hand.presses("form[action='/servers/batch'] button.main").await;
    hand.sees("#field-count-error", "1").await;
    hand.looks("refused").await;
    hand.enters("input[name=count]", "2").await;
    hand.sees("h1", "Servers").await;
    hand.sees("table", &format!("{prefix} 2")).await;
    hand.looks("servers").await;
    let all = panel.get("/servers?limit=500")["items"].clone();
    let first =
        all.as_array().expect("servers").iter().find(|server| server["blueprint_id"] == blueprint).expect("one");
    let server = format!("/servers/{}", first["id"]);

    hand.goes("/dashboard").await;
    let card = format!("article:has(a[href='{server}'])");
    if hand.way.script {
        hand.presses(&format!("{card} [data-copy]")).await;
        hand.sees(&format!("{card} [data-copy]"), "Copied").await;
    }
    for (operation, state) in [("start", "running"), ("stop", "stopped")] {
        hand.presses(&format!("{card} form[action='{server}/{operation}'] button")).await;
        if !hand.way.script {
            hand.awaits_job("succeeded").await;
        }
        hand.awaits("/dashboard", &format!("{card} .state"), state).await;
        hand.looks(state).await;
    }
}
