//! What lies on a page stays where it is while states change; what may be old is called so.

use serde_json::json;

use crate::console::Wire;
use crate::driver::{Browser, DESKTOP, PHONE};
use crate::support::panel::Panel;

/// Sum of the layout shifts that nobody's input caused, from which on a person would call the page restless: a tenth of
/// what web.dev calls good.
const SHIFT_MAX: f64 = 0.01;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_moves_on_dashboard_and_server_page_while_a_server_starts_and_stops() {
    let prepared = || {
        let mut panel = Panel::start();
        let blueprint = panel.with_game();
        let servers = ["First", "Second", "Third"].map(|name| panel.server(name, blueprint));
        // As after a first start: every piece of the pages has something to show.
        panel.must(&format!("/servers/{}/start", servers[0]));
        panel.must(&format!("/servers/{}/stop", servers[0]));
        let password = panel.make_admin();
        (panel, servers[0], password)
    };
    let (panel, server, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(PHONE).await else { return };
    browser.client.goto(&format!("http://{}/login", panel.address)).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("h1", "the dashboard", |text| text.contains("Servers")).await;
    let mut panel = panel;
    for (page, piece) in [("/dashboard".to_owned(), "article.card.server"), (format!("/servers/{server}"), "#panel")] {
        browser.client.goto(&format!("http://{}{page}", panel.address)).await.expect("the page");
        browser.until_text(piece, "its state", |text| text.contains("stopped")).await;
        let watch = "window.shifts = []; new PerformanceObserver(list => { for (const shift of list.getEntries()) if (!shift.hadRecentInput) \
                     window.shifts.push([shift.value, shift.sources.map(source => source.node && source.node.outerHTML ? source.node.outerHTML.slice(0, 120) : '').join(' | ')]) \
                     }).observe({type: 'layout-shift'});";
        browser.client.execute(watch, Vec::new()).await.expect("a watch");
        for (operation, state) in [("start", "running"), ("stop", "stopped")] {
            panel = tokio::task::spawn_blocking(move || {
                panel.must(&format!("/servers/{server}/{operation}"));
                panel
            })
            .await
            .expect("an answer");
            browser.until_text(piece, state, |text| text.contains(state)).await;
        }
        let shifts = browser.client.execute("return window.shifts", Vec::new()).await.expect("an answer");
        let sum: f64 = shifts.as_array().expect("a list").iter().filter_map(|shift| shift[0].as_f64()).sum();
        println!("{page}: layout shift {sum:.4}");
        assert!(sum <= SHIFT_MAX, "{page} shifted by {sum}: {}", json!(shifts));
    }
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_lost_its_box_says_so_and_shows_the_truth_when_it_is_back() {
    let prepared = || {
        let mut panel = Panel::start();
        let blueprint = panel.with_game();
        let server = panel.server("Far away", blueprint);
        panel.must(&format!("/servers/{server}/initialize"));
        let password = panel.make_admin();
        (panel, server, password)
    };
    let (panel, server, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    let wire = Wire::to(panel.address);
    browser.client.goto(&format!("http://{}/login", wire.address)).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("article .state", "its state", |text| text == "stopped").await;
    wire.down(true);
    browser.until_text(".lost", "that it may be old", |text| text.contains("what you see may be old")).await;
    browser.picture("desktop-light-lost").await;
    let panel = tokio::task::spawn_blocking(move || {
        panel.must(&format!("/servers/{server}/start"));
        panel
    })
    .await
    .expect("an answer");
    wire.down(false);
    browser.until_text("article .state", "the truth", |text| text == "running").await;
    browser.until_text("body", "nothing of being lost", |text| !text.contains("may be old")).await;
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}
