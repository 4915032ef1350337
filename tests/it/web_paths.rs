//! Who wins a path, as programs read it and as the page shows it.

use left4me::model::id::OverlayId;
use serde_json::{Value, json};

use crate::harness::{Client, Site};

/// A managed overlay whose first revision holds one file.
async fn overlay(site: &Site, admin: &Client, name: &str, file: &str, content: &[u8]) -> u64 {
    let id = site.managed_overlay(admin, name).await;
    let path = site.machine.paths.revision(OverlayId(id), 1).join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    id
}

fn names(held: &Value) -> Vec<(String, bool)> {
    let layers = held["layers"].as_array().unwrap();
    layers.iter().map(|layer| (layer["name"].as_str().unwrap().to_owned(), layer["wins"] == true)).collect()
}

#[tokio::test]
async fn a_blueprint_and_a_server_say_which_layer_wins_a_path_and_what_differs() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let alice = site.user("alice").await;
    let file = "left4dead2/cfg/rates.cfg";
    let upper = overlay(&site, &admin, "Upper <one>", file, b"sv_maxrate 30000\nsame\n").await;
    let lower = overlay(&site, &admin, "Lower", file, b"sv_maxrate 0\nsame\n").await;
    let binary = overlay(&site, &admin, "Binary", file, b"\0\x01").await;
    let body = json!({ "name": "b", "arguments": [], "config": [], "overlay_ids": [upper, lower, binary] });
    let blueprint = alice.json("POST", "/blueprints", body).await.is(201).json()["id"].as_u64().unwrap();
    let body = json!({ "name": "s", "blueprint_id": blueprint });
    let server = alice.json("POST", "/servers", body).await.is(201).json()["id"].as_u64().unwrap();

    // A server has two layers more above: its config lines, and what its game wrote.
    for (home, above) in [(format!("/blueprints/{blueprint}"), 0), (format!("/servers/{server}"), 2)] {
        let found = alice.get_json(&format!("{home}/paths?search=RATES")).await.is(200).json();
        assert_eq!(found["items"][0]["path"], file);
        assert_eq!(
            names(&found["items"][0]),
            [("Upper <one>".into(), true), ("Lower".into(), false), ("Binary".into(), false)]
        );
        let compare = |lower: usize| format!("{home}/paths?path={file}&upper={above}&lower={}", above + lower);
        let difference = alice.get_json(&compare(1)).await.is(200).json();
        assert_eq!(
            difference["pieces"],
            json!([[
                {"only_in": "lower", "text": "sv_maxrate 0"},
                {"only_in": "upper", "text": "sv_maxrate 30000"},
                {"only_in": "same", "text": "same"},
            ]])
        );
        let reason = alice.get_json(&compare(2)).await.is(400).json()["error"].to_string();
        assert!(reason.contains("no text"), "{reason}");
        for (query, field) in [
            (format!("path={file}&upper=0"), "lower"),
            (format!("path={file}&upper=99&lower=0"), "upper"),
            (format!("path={file}&upper=x&lower=0"), "upper"),
        ] {
            let fault = alice.get_json(&format!("{home}/paths?{query}")).await.is(400).json();
            assert!(fault["error"].as_str().unwrap().contains(field), "{fault}");
        }
        let missing = format!("{home}/paths?path=../../../etc/passwd&upper=0&lower=1");
        alice.get_json(&missing).await.is(404);

        let page = alice.get(&format!("{home}/paths?search=rates&path={file}&upper={above}&lower={}", above + 1)).await;
        let page = page.is(200).body;
        assert!(
            page.contains("Upper &lt;one&gt;") && page.contains("sv_maxrate 30000") && page.contains("wins"),
            "{page}"
        );
        assert!(
            alice.get(&format!("{home}/paths?search=nothing-like-it")).await.is(200).body.contains("No layer holds")
        );
        let bob = site.user(&format!("bob{above}")).await;
        bob.get_json(&format!("{home}/paths?search=rates")).await.is(403);
    }
}

#[tokio::test]
async fn the_doctors_page_shows_each_check_to_admins() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let checks = admin.get_json("/admin/doctor").await.is(200).json();
    assert_eq!(checks["items"], json!([{"name": "box", "outcome": "warning", "text": "made of <paper>"}]));
    let page = admin.get("/admin/doctor").await.is(200).body;
    assert!(page.contains("made of &lt;paper&gt;") && page.contains("data-state=\"warning\""), "{page}");
}
