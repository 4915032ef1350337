//! Overlays by hand: files are uploaded, looked at and rolled back; a blueprint's overlays are put in order by dragging.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use fantoccini::Locator;
use fantoccini::actions::{InputSource, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use serde_json::json;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::driver::{Browser, DESKTOP};
use crate::support::PATIENCE;
use crate::support::panel::Panel;

/// A zip with one file that does not compress, so that sending it takes a while.
fn zip(path: &Path, name: &str, bytes: usize) {
    let mut zip = ZipWriter::new(std::fs::File::create(path).expect("a file"));
    zip.start_file(name, SimpleFileOptions::default()).expect("an entry");
    // Whatever looks random does: a generator of Lehmer's.
    let mut state = 48_271_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state * 48_271 % 2_147_483_647;
        state as u8
    })
    .take(bytes)
    .collect();
    zip.write_all(&noise).expect("its content");
    zip.finish().expect("a zip");
}

async fn signed_in(browser: &Browser, panel: &Panel, password: &str) {
    browser.client.goto(&format!("http://{}/login", panel.address)).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("h1", "the dashboard", |text| text.contains("Servers")).await;
}

fn prepared() -> (Panel, String) {
    let mut panel = Panel::start();
    let password = panel.make_admin();
    (panel, password)
}

/// Chooses a file, sends the form, and answers what the progress bar showed meanwhile.
async fn upload(browser: &Browser, file: &Path) -> Vec<f64> {
    browser.find("form[data-upload] input[type=file]").await.send_keys(&file.to_string_lossy()).await.expect("a file");
    browser.click("form[data-upload] button.main").await;
    let look = "const bar = document.querySelector('form[data-upload] progress'); \
                return bar && !bar.hidden ? (bar.hasAttribute('value') ? bar.value : 100) : null;";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut seen: Vec<f64> = Vec::new();
    loop {
        // The page is made anew when the upload has ended: then there is nothing to ask for a moment.
        match browser.client.execute(look, Vec::new()).await {
            Ok(value) => match value.as_f64() {
                Some(value) => seen.push(value),
                None if !seen.is_empty() => return seen,
                None => {}
            },
            Err(_) if !seen.is_empty() => return seen,
            Err(_) => {}
        }
        assert!(tokio::time::Instant::now() < deadline, "no end of the upload: {seen:?}\n{}", browser.text().await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_uploads_with_progress_browses_the_files_and_goes_back_to_an_earlier_revision() {
    let (panel, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    signed_in(&browser, &panel, &password).await;
    let files = tempfile::tempdir().expect("a folder");
    let (first, second) = (files.path().join("first.zip"), files.path().join("second.zip"));
    zip(&first, "left4dead2/maps/first.bsp", 3 << 20);
    zip(&second, "left4dead2/maps/second.bsp", 1000);

    browser.client.goto(&format!("http://{}/admin/overlays", panel.address)).await.expect("the page");
    browser.fill("input[name=name]", "My maps").await;
    browser.click("form[action='/admin/overlays'] button.main").await;
    browser.until_text("h1", "the overlay", |text| text.contains("My maps")).await;
    let overlay = browser.client.current_url().await.expect("an address");

    // As over a line that takes two seconds for it: then there is something to see.
    browser.devtools("Network.enable", json!({})).await;
    let slow = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_500_000});
    browser.devtools("Network.emulateNetworkConditions", slow).await;
    let seen = upload(&browser, &first).await;
    assert!(seen.iter().any(|value| *value > 0.0 && *value < 100.0), "the bar moved: {seen:?}");
    assert!(seen.is_sorted(), "and never back: {seen:?}");
    browser
        .until_text("table", "the first revision", |text| text.contains("first.zip") && text.contains("current"))
        .await;
    let fast = json!({"offline": false, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.devtools("Network.emulateNetworkConditions", fast).await;
    // So small that nobody may see a bar: what counts is that it arrives.
    browser
        .find("form[data-upload] input[type=file]")
        .await
        .send_keys(&second.to_string_lossy())
        .await
        .expect("a file");
    browser.click("form[data-upload] button.main").await;
    browser.until_text("table", "the second revision", |text| text.contains("second.zip")).await;
    browser.picture("overlay-revisions").await;

    // What is no archive is refused in words, and nothing changes.
    let nonsense = files.path().join("nonsense.zip");
    std::fs::write(&nonsense, "hello").expect("a file");
    browser
        .find("form[data-upload] input[type=file]")
        .await
        .send_keys(&nonsense.to_string_lossy())
        .await
        .expect("a file");
    browser.click("form[data-upload] button.main").await;
    browser.until_text("#field-file-error", "the reason", |text| text.contains("this file is no .zip")).await;

    browser.client.goto(overlay.as_str()).await.expect("the page");
    for (revision, file) in [(2, "second.bsp"), (1, "first.bsp")] {
        browser.click(&format!("a[href$='/files?revision={revision}']")).await;
        browser
            .client
            .wait()
            .for_element(Locator::LinkText("left4dead2/"))
            .await
            .expect("a folder")
            .click()
            .await
            .expect("a click");
        browser
            .client
            .wait()
            .for_element(Locator::LinkText("maps/"))
            .await
            .expect("a folder")
            .click()
            .await
            .expect("a click");
        browser.until_text("table", "its file", |text| text.contains(file)).await;
        browser.client.goto(overlay.as_str()).await.expect("the page");
    }
    browser
        .until_text("tbody tr:first-child", "the newest is current", |text| {
            text.contains("second.zip") && text.contains("current")
        })
        .await;
    browser.click("form[action$='/revisions'] button").await;
    browser
        .until_text("tbody tr:last-child", "the first is current again", |text| {
            text.contains("first.zip") && text.contains("current")
        })
        .await;
    let id = overlay.path().rsplit('/').next().expect("an id").to_owned();
    let (panel, current) = tokio::task::spawn_blocking(move || {
        let current = panel.get(&format!("/admin/overlays/{id}"))["revision"].clone();
        (panel, current)
    })
    .await
    .expect("an answer");
    assert_eq!(current, 1);
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}

/// Names of the chosen overlays, from the top.
async fn order(browser: &Browser) -> String {
    let look =
        "return [...document.querySelectorAll('[data-rows] select')].map(s => s.selectedOptions[0].text).join(' ');";
    browser.client.execute(look, Vec::new()).await.expect("an answer").as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn overlays_of_a_blueprint_are_put_in_order_by_dragging_and_by_buttons() {
    let (panel, password, ids) = tokio::task::spawn_blocking(|| {
        let (panel, password) = prepared();
        let ids: Vec<u64> = ["one", "two", "three"]
            .iter()
            .map(|name| {
                let made = panel.admin("POST", "/admin/overlays", &json!({"name": name})).expect(201);
                made.json()["id"].as_u64().expect("an id")
            })
            .collect();
        let blueprint = panel.blueprint("dragged", &[], &ids);
        (panel, password, (blueprint, ids))
    })
    .await
    .expect("a panel");
    let (blueprint, ids) = ids;
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    signed_in(&browser, &panel, &password).await;
    browser.client.goto(&format!("http://{}/blueprints/{blueprint}", panel.address)).await.expect("the page");
    browser.find("[data-rows] li[draggable=true]").await;
    assert_eq!(order(&browser).await, "one two three");

    // By its grip, from the third row to the upper edge of the first.
    let handle = browser.find("[data-rows] li:nth-child(3) [data-grip]").await;
    let target = browser.find("[data-rows] li:nth-child(1)").await;
    let (_, _, _, height) = target.rectangle().await.expect("a place");
    let (grip, above) = (handle.clone(), target.clone());
    let step = Duration::from_millis(100);
    let mouse = MouseActions::new("mouse".into())
        .then(PointerAction::MoveToElement { element: grip.clone(), duration: None, x: 0.0, y: 0.0 })
        .then(PointerAction::Down { button: MOUSE_BUTTON_LEFT })
        .then(PointerAction::MoveToElement { element: grip, duration: Some(step), x: 0.0, y: -10.0 })
        .then(PointerAction::MoveToElement { element: above.clone(), duration: Some(step), x: 0.0, y: 0.0 })
        .then(PointerAction::MoveToElement { element: above, duration: Some(step), x: 0.0, y: 4.0 - height / 2.0 })
        .then(PointerAction::Up { button: MOUSE_BUTTON_LEFT });
    browser.client.perform_actions(mouse).await.expect("a drag");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while order(&browser).await != "three one two" {
        assert!(tokio::time::Instant::now() < deadline, "after the drag: {}", order(&browser).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    browser.picture("blueprint-dragged").await;
    browser.click("[data-rows] li:nth-child(2) button[data-verb=down]").await;
    assert_eq!(order(&browser).await, "three two one");
    browser.click(&format!("form[action='/blueprints/{blueprint}'] button.main")).await;
    let wanted = json!([ids[2], ids[1], ids[0]]);
    let panel = tokio::task::spawn_blocking(move || {
        crate::support::eventually("the order that was dragged", || {
            (panel.get(&format!("/blueprints/{blueprint}"))["overlay_ids"] == wanted).then_some(())
        });
        panel
    })
    .await
    .expect("an answer");
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}
