//! The main flow, from a login to a running server and back, by keyboard only, and without JavaScript.

use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::json;

use crate::driver::{Browser, DESKTOP};
use crate::support::panel::Panel;

fn prepared() -> (Panel, String) {
    let panel = Panel::start();
    panel.must("/admin/install");
    let password = panel.reset_admin();
    (panel, password)
}

/// Presses a key where the focus is.
async fn press(browser: &Browser, keys: &str) {
    let mut presses = KeyActions::new("keyboard".into());
    for value in keys.chars() {
        presses = presses.then(KeyAction::Down { value }).then(KeyAction::Up { value });
    }
    browser.client.perform_actions(presses).await.expect("a key");
}

/// Presses Tab until what has the focus matches `css`; fails when it goes once round without.
async fn tab_to(browser: &Browser, css: &str) {
    let tab = char::from(Key::Tab).to_string();
    for _ in 0..80 {
        press(browser, &tab).await;
        let look = "const it = document.activeElement; \
                    const box = it.getBoundingClientRect(); \
                    return [it.matches(arguments[0]), it.matches(':focus-visible') && getComputedStyle(it).outlineStyle !== 'none', \
                            box.width > 0 && box.top < innerHeight && box.bottom > 0, it.outerHTML.slice(0, 200)];";
        let seen = browser.client.execute(look, vec![json!(css)]).await.expect("an answer");
        if seen[0] == true {
            assert_eq!((&seen[1], &seen[2]), (&json!(true), &json!(true)), "the focus is seen: {}", seen[3]);
            return;
        }
    }
    panic!("Tab never reaches {css}:\n{}", browser.text().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_flow_goes_by_keyboard_alone_and_the_focus_is_always_seen() {
    let (panel, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    let enter = char::from(Key::Enter).to_string();
    browser.client.goto(&format!("http://{}/login", panel.address)).await.expect("the page");
    tab_to(&browser, "input[name=username]").await;
    press(&browser, "admin").await;
    tab_to(&browser, "input[name=password]").await;
    press(&browser, &format!("{password}{enter}")).await;
    browser.until_text("h1", "the dashboard", |text| text.contains("Servers")).await;

    // The first thing that Tab reaches leads past the links.
    tab_to(&browser, "a.skip").await;
    press(&browser, &enter).await;
    tab_to(&browser, "main a[href='/blueprints/new']").await;
    press(&browser, &enter).await;
    browser.until_text("h1", "the form", |text| text.contains("New blueprint")).await;
    tab_to(&browser, "input[name=name]").await;
    press(&browser, "By hand").await;
    tab_to(&browser, "textarea[name=arguments]").await;
    press(&browser, "+map c1m1_hotel").await;
    tab_to(&browser, "form[action='/blueprints'] button.main").await;
    press(&browser, &enter).await;
    browser.find("form[action^='/blueprints/'] input[name=name][value='By hand']").await;

    tab_to(&browser, "main a[href^='/servers/new']").await;
    press(&browser, &enter).await;
    browser.until_text("h1", "the form", |text| text.contains("New server")).await;
    tab_to(&browser, "input[name=name]").await;
    press(&browser, &format!("Keyboard{enter}")).await;
    browser.until_text("h1", "the server", |text| text.contains("Keyboard")).await;
    let server = browser.client.current_url().await.expect("an address").path().to_owned();
    browser.until_text("#panel", "its state", |text| text.contains("stopped") || text.contains("unknown")).await;
    tab_to(&browser, &format!("form[action='{server}/start'] button")).await;
    press(&browser, &enter).await;
    browser.until_text("#panel", "running", |text| text.contains("running")).await;
    browser.until_text("[data-lines]", "the ready line", |text| text.contains("dedicated Yes, ports")).await;
    tab_to(&browser, "input[name=line]").await;
    press(&browser, &format!("echo typed by hand{enter}")).await;
    browser.until_text("[data-lines]", "the echo", |text| text.contains("typed by hand")).await;
    tab_to(&browser, &format!("form[action='{server}/stop'] button")).await;
    press(&browser, &enter).await;
    browser.until_text("#panel", "stopped", |text| text.contains("stopped")).await;
    tab_to(&browser, &format!("a[href='{server}/delete']")).await;
    press(&browser, &enter).await;
    browser.until_text("h1", "the question", |text| text.contains("Delete")).await;
    tab_to(&browser, "input[name=confirm]").await;
    press(&browser, &format!("Keyboard{enter}")).await;
    browser.until_text("p.state", "the end of the job", |text| text.contains("succeeded")).await;
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_main_flow_goes_without_javascript() {
    let (panel, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    let at = |path: &str| format!("http://{}{path}", panel.address);
    browser.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    browser.client.goto(&at("/login")).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("h1", "the dashboard", |text| text.contains("Servers")).await;
    browser.client.goto(&at("/blueprints/new")).await.expect("the page");
    browser.fill("input[name=name]", "Plain").await;
    browser.click("form[action='/blueprints'] button.main").await;
    browser.find("form[action^='/blueprints/'] input[name=name][value='Plain']").await;
    browser.client.goto(&at("/servers/new")).await.expect("the page");
    browser.fill("input[name=name]", "Without script").await;
    browser.click("form[action='/servers'] button.main").await;
    browser.until_text("h1", "the server", |text| text.contains("Without script")).await;
    let server = browser.client.current_url().await.expect("an address").path().to_owned();
    for (operation, state) in [("start", "running"), ("restart", "running"), ("stop", "stopped")] {
        browser.client.goto(&at(&server)).await.expect("the page");
        browser.click(&format!("form[action='{server}/{operation}'] button")).await;
        // The form leads to the job. Nothing moves by itself here: the page is asked for again until it has ended.
        let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
        while !browser.find("p.state").await.text().await.unwrap_or_default().contains("succeeded") {
            assert!(tokio::time::Instant::now() < deadline, "{operation}: {}", browser.text().await);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            browser.client.refresh().await.expect("the page");
        }
        browser.client.goto(&at(&server)).await.expect("the page");
        browser.until_text("#panel", state, |text| text.contains(state)).await;
        if state == "running" {
            browser.fill("input[name=line]", &format!("echo typed after {operation}")).await;
            browser.click("[data-command] button").await;
            let echoed = |text: &str| text.contains(&format!("typed after {operation}"));
            let deadline = tokio::time::Instant::now() + crate::support::PATIENCE;
            loop {
                browser.client.goto(&at(&format!("{server}/logs"))).await.expect("the page");
                if echoed(&browser.text().await) {
                    break;
                }
                assert!(tokio::time::Instant::now() < deadline, "{}", browser.text().await);
            }
        }
    }
    browser.client.goto(&at(&format!("{server}/delete"))).await.expect("the page");
    browser.fill("input[name=confirm]", "Without script").await;
    browser.click(&format!("form[action='{server}/delete'] button")).await;
    browser.find("p.state").await;
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}
