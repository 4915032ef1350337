//! What the next start changes, on the server's page and on its blueprint's.

use left4me::host::instance;
use left4me::model::id::ServerId;
use left4me::model::spec::{InstanceSpec, SPEC_VERSION, hostname_line};
use left4me::model::time::Timestamp;
use serde_json::json;

use crate::harness::Site;

#[tokio::test]
async fn a_server_whose_blueprint_changed_says_what_its_next_start_brings() {
    let site = Site::start().await;
    let alice = site.user("alice").await;
    let body = json!({ "name": "b", "arguments": [], "config": ["sv_x 1"], "overlay_ids": [] });
    let blueprint = alice.json("POST", "/blueprints", body).await.is(201).json()["id"].as_u64().unwrap();
    let body = json!({ "name": "s", "blueprint_id": blueprint });
    let id = alice.json("POST", "/servers", body).await.is(201).json()["id"].as_u64().unwrap();
    let server = alice.get_json(&format!("/servers/{id}")).await.is(200).json();
    assert_eq!(server["pending_changes"], json!([]), "nothing was written yet");
    let spec = InstanceSpec {
        version: SPEC_VERSION,
        server_id: ServerId(id),
        port: server["port"].as_u64().unwrap() as u16,
        tv_port: None,
        game: vec![],
        overlays: vec![],
        arguments: vec![],
        config: vec![hostname_line("s"), "sv_x 1".into()],
        written_at: Timestamp(0),
    };
    instance::write_spec(&site.machine.paths, &spec).unwrap();
    let reason = alice.get_json(&format!("/servers/{id}")).await.json()["pending_changes"].to_string();
    assert!(reason.contains("no game files are installed"), "{reason}");
    for page in [format!("/servers/{id}"), format!("/blueprints/{blueprint}")] {
        let body = alice.get(&page).await.is(200).body;
        assert!(body.contains("next start changes it") && body.contains("no game files"), "{page}");
    }
}
