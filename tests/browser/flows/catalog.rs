//! What servers are made of: blueprints, overlays, and which of them wins.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::says_the_name;
use crate::hand::{Hand, LOOK};
use crate::support::PATIENCE;
use crate::support::panel::Panel;

/// Waits until the rows of overlays are these, from the top: without a script it is another page that has them so.
async fn has_order(hand: &Hand<'_>, wanted: &str) {
    let look = "return [...document.querySelectorAll('[data-rows] select')].map(list => list.selectedOptions[0].label).join(' ')";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let order = hand.asks(look, Vec::new()).await;
        if order == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "the order is {order}, not {wanted}");
        tokio::time::sleep(LOOK).await;
    }
}

/// From an empty form to the end of a copy.
pub async fn blueprint(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let name = hand.own("Versus");
    hand.goes("/blueprints").await;
    hand.presses("main a.button[href='/blueprints/new']").await;
    hand.types("input[name=name]", &name).await;
    hand.types("textarea[name=arguments]", "+map c1m1_hotel\n-port 27015").await;
    hand.presses("form[action='/blueprints'] button.main").await;
    hand.sees("#field-arguments-error", "-port").await;
    assert_eq!(hand.holds("input[name=name]").await, name, "what was typed stays");
    hand.looks("refused").await;
    hand.types("textarea[name=arguments]", "+map c1m1_hotel").await;
    hand.types("textarea[name=config]", "sv_tags versus\nexec rates.cfg").await;
    for (row, overlay) in [(1, "Maps"), (2, "Competitive")] {
        hand.presses("button[name=arrange][value=add]").await;
        hand.chooses(&format!("[data-rows] > li:nth-child({row}) select"), overlay).await;
    }
    hand.presses("[data-rows] > li:nth-child(2) button[data-verb=up]").await;
    has_order(hand, "Competitive Maps").await;
    hand.presses("[data-rows] > li:nth-child(2) button[data-verb=remove]").await;
    has_order(hand, "Competitive").await;
    hand.looks("form").await;
    hand.presses("form[action='/blueprints'] button.main").await;
    hand.sees("#flash", "Made").await;
    hand.browser.find(&format!("form[action^='/blueprints/'] input[name=name][value='{name}']")).await;
    has_order(hand, "Competitive").await;

    let changed = hand.own("Changed");
    hand.enters("input[name=name]", &changed).await;
    hand.sees("#flash", "Saved").await;
    assert_eq!(hand.holds("input[name=name]").await, changed);
    let first = hand.path().await;
    hand.presses("form[action$='/duplicate'] button").await;
    hand.browser.find(&format!("main form[action^='/blueprints/']:not([action^='{first}']) input[name=name]")).await;
    let copy = hand.holds("input[name=name]").await;
    assert!(copy != changed && copy.contains(&changed), "{copy}");
    hand.presses("main a[href$='/delete']").await;
    hand.sees("h1", &format!("Delete {copy}")).await;
    says_the_name(hand, &copy, "delete").await;
    hand.sees("h1", "Blueprints").await;
    hand.sees("main", &changed).await;
    hand.misses("main", &copy).await;

    // One that a server follows stays, and the page says whose it is.
    let id: u64 = first.rsplit('/').next().and_then(|id| id.parse().ok()).expect("an id");
    let server = hand.own("Follower");
    panel.admin("POST", "/servers", &json!({"name": server, "blueprint_id": id})).expect(201);
    hand.goes(&first).await;
    hand.sees("main", &server).await;
    hand.presses("main a[href$='/delete']").await;
    hand.enters("input[name=confirm]", &changed).await;
    hand.sees(".alert.bad", &server).await;
    hand.looks("in-use").await;
}

/// A zip with one file.
fn zip(path: &Path, name: &str) {
    let mut zip = zip::ZipWriter::new(std::fs::File::create(path).expect("a file"));
    zip.start_file(name, zip::write::SimpleFileOptions::default()).expect("an entry");
    zip.write_all(b"content").expect("its content");
    zip.finish().expect("a zip");
}

/// From an empty overlay over two uploads back to the first of them, and its end.
pub async fn overlay(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name);
    zip(&file("first.zip"), "left4dead2/maps/first.bsp");
    zip(&file("second.zip"), "left4dead2/maps/second.bsp");
    std::fs::write(file("nonsense.zip"), "hello").expect("a file");
    let name = hand.own("Uploads");
    hand.goes("/admin/overlays").await;
    hand.types("form[action='/admin/overlays'] input[name=name]", &name).await;
    hand.enters("input[name=path]", "/etc").await;
    hand.sees("#field-path-error", "overlay root").await;
    hand.looks("refused").await;
    hand.types("input[name=path]", "").await;
    hand.presses("form[action='/admin/overlays'] button.main").await;
    hand.sees("h1", &name).await;
    let page = hand.path().await;

    for (upload, text) in [("nonsense.zip", None), ("first.zip", Some("first.zip")), ("second.zip", Some("second.zip"))]
    {
        hand.attaches("input[type=file]", &file(upload)).await;
        hand.presses("form[enctype] button.main").await;
        match text {
            Some(text) => hand.sees("tbody tr:first-child", text).await,
            None => hand.sees("#field-file-error", "this file is no .zip").await,
        }
    }
    hand.looks("revisions").await;
    hand.presses("main a[href$='/files?revision=2']").await;
    hand.presses("td a[href*='path=left4dead2']").await;
    hand.presses("td a[href*='maps']").await;
    hand.sees("table", "second.bsp").await;
    hand.looks("files").await;
    hand.presses("h1 a").await;
    hand.sees("tbody tr:first-child", "current").await;
    hand.presses("form[action$='/revisions'] button").await;
    hand.sees("tbody tr:last-child", "current").await;
    hand.sees("tbody tr:last-child", "first.zip").await;
    hand.enters("input[name=name]", &hand.own("Renamed uploads")).await;
    hand.sees("h1", "Renamed uploads").await;
    assert_eq!(hand.path().await, page);
    hand.presses("main a[href$='/delete']").await;
    says_the_name(hand, &hand.own("Renamed uploads"), "delete").await;
    hand.sees("h1", "Overlays").await;
    hand.misses("main", &hand.own("Renamed uploads")).await;
}

/// From a blueprint and a server to the layers that hold a file.
pub async fn paths(hand: &Hand<'_>, panel: &Panel) {
    hand.wears(&panel.session.0).await;
    let overlays = panel.get("/admin/overlays")["items"].clone();
    let id = |name: &str| {
        let all = overlays.as_array().expect("overlays");
        all.iter().find(|overlay| overlay["name"] == name).expect("the overlay")["id"].as_u64().expect("an id")
    };
    let blueprint = panel.blueprint(&hand.own("Layers"), &[], &[id("Competitive"), id("Maps")]);
    let server = panel.server(&hand.own("Layered"), blueprint);
    for home in [format!("/blueprints/{blueprint}"), format!("/servers/{server}")] {
        hand.goes(&home).await;
        hand.presses("main a[href$='/paths']").await;
        hand.sees("h1", "Who wins").await;
        hand.enters("input[name=search]", "rates").await;
        hand.sees("table", "left4dead2/cfg/rates.cfg").await;
        hand.sees(".holders li:first-child", "Competitive").await;
        hand.sees(".holders li:first-child", "wins").await;
        hand.presses("table td a").await;
        hand.sees("pre.difference .added", "sv_maxrate 30000").await;
        hand.sees("pre.difference .removed", "sv_maxrate 0").await;
        hand.looks("compared").await;
        hand.types("input[name=search]", "director_base").await;
        hand.presses("form[action$='/paths'] button").await;
        hand.sees("table", "director.vpk/scripts/vscripts/director_base.nut").await;
        hand.types("input[name=search]", "nothing like that").await;
        hand.presses("form[action$='/paths'] button").await;
        hand.sees("table", "No layer holds").await;
    }
}
