//! From nothing to a game server that runs, by hand, in a browser.

use crate::driver::{Browser, DESKTOP, PHONE, View};
use crate::support::panel::Panel;
use serde_json::json;

/// A panel with the simulated game installed and two overlays.
fn prepared() -> (Panel, String) {
    let panel = Panel::start();
    panel.must("/admin/install");
    for name in ["Competitive", "Maps"] {
        panel.overlay_file(name, "left4dead2/cfg/shared.cfg", &format!("echo shared file of {name}\n"));
        let body = json!({"name": name, "path": panel.data("overlays").join(name)});
        panel.admin("POST", "/admin/overlays", &body).expect(201);
    }
    let password = panel.reset_admin();
    (panel, password)
}

async fn walk(view: View, name: &str) {
    let (panel, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(view).await else { return };
    let at = |path: &str| format!("http://{}{path}", panel.address);

    browser.client.goto(&at("/login")).await.expect("the page");
    browser.picture(&format!("{name}-login")).await;
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("h1", "the dashboard", |text| text.contains("Servers")).await;
    browser.picture(&format!("{name}-dashboard-empty")).await;

    browser.client.goto(&at("/blueprints/new")).await.expect("the page");
    browser.fill("input[name=name]", "Practice blueprint").await;
    browser.fill("textarea[name=arguments]", "+map c1m1_hotel").await;
    browser.fill("textarea[name=config]", "sv_tags practice\nexec shared.cfg").await;
    for (row, overlay) in [(1, "Competitive"), (2, "Maps")] {
        browser.click("button[name=arrange][value=add]").await;
        let row = format!("ol[data-rows] > li:nth-child({row}) select");
        browser.find(&row).await.select_by_label(overlay).await.expect("the overlay can be chosen");
    }
    browser.picture(&format!("{name}-blueprint-new")).await;
    browser.click("form[action='/blueprints'] button.main").await;
    browser.find("form[action^='/blueprints/'] input[name=name][value='Practice blueprint']").await;
    browser.picture(&format!("{name}-blueprint")).await;

    browser.client.goto(&at("/servers/new")).await.expect("the page");
    browser.fill("input[name=name]", "My Practice").await;
    browser.click("form[action='/servers'] button.main").await;
    browser.until_text("h1", "the server's name", |text| text.contains("My Practice")).await;
    let server = browser.client.current_url().await.expect("an address").path().to_owned();

    browser.click(&format!("form[action='{server}/initialize'] button")).await;
    browser.client.goto(&at(&server)).await.expect("the page");
    browser.until_text("#panel", "stopped", |text| text.contains("stopped")).await;
    browser.click(&format!("form[action='{server}/start'] button")).await;
    browser.client.goto(&at(&server)).await.expect("the page");
    browser.until_text("#panel", "running", |text| text.contains("running")).await;
    browser.until_text("[data-console]", "the ready line", |text| text.contains("dedicated Yes, ports")).await;
    browser
        .until_text("[data-console]", "the winning overlay", |text| text.contains("shared file of Competitive"))
        .await;

    browser.fill("input[name=line]", "status").await;
    browser.click(&format!("form[action='{server}/console'] button")).await;
    browser.until_text("[data-console]", "the answer of status", |text| text.contains("udp/ip")).await;
    browser.picture(&format!("{name}-server-running")).await;
    browser.client.goto(&at("/dashboard")).await.expect("the page");
    browser.until_text("body", "the server", |text| text.contains("My Practice")).await;
    browser.picture(&format!("{name}-dashboard")).await;

    browser.client.goto(&at(&server)).await.expect("the page");
    browser.click(&format!("form[action='{server}/stop'] button")).await;
    browser.client.goto(&at(&server)).await.expect("the page");
    browser.until_text("#panel", "stopped", |text| text.contains("stopped")).await;
    browser.client.goto(&at(&format!("{server}/delete"))).await.expect("the page");
    browser.fill("input[name=confirm]", "My Practice").await;
    browser.picture(&format!("{name}-server-delete")).await;
    browser.click(&format!("form[action='{server}/delete'] button")).await;
    browser.until_text("body", "the end of the job", |text| text.contains("succeeded")).await;
    browser.picture(&format!("{name}-job")).await;
    browser.client.goto(&at("/servers")).await.expect("the page");
    assert!(!browser.text().await.contains("My Practice"));
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_goes_from_a_login_to_a_running_server_and_back_on_a_desktop() {
    walk(DESKTOP, "desktop-light").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_goes_from_a_login_to_a_running_server_and_back_on_a_phone() {
    walk(PHONE, "phone-dark").await;
}
