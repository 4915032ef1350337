//! What the next start changes, on the server's page and on its blueprint's.

use left4me::host::instance;
use left4me::model::id::ServerId;
use left4me::model::spec::{InstanceSpec, SPEC_VERSION, hostname_line};
use left4me::model::time::Timestamp;
use left4me::model::user::Actor;
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

/// Game files, so that specs can be made.
async fn install(site: &Site) {
    site.run(|domain| {
        let system = Actor::system();
        let job = domain.request_install(&system).unwrap();
        let layer = domain.next_layer().unwrap();
        domain.publish_build(job.id, layer, &[], 1).unwrap();
        domain.cancel_job(&system, job.id).unwrap();
    })
    .await;
}

/// What a start does with the spec.
async fn write_spec(site: &Site, id: u64) {
    let spec = site.run(move |domain| domain.spec(ServerId(id)).unwrap()).await;
    instance::write_spec(&site.machine.paths, &spec).unwrap();
}

#[tokio::test]
async fn the_difference_of_the_next_start_is_told_line_by_line() {
    let site = Site::start().await;
    let admin = site.admin().await;
    install(&site).await;
    let (maps, old, new) = (
        site.managed_overlay(&admin, "maps").await,
        site.managed_overlay(&admin, "old").await,
        site.managed_overlay(&admin, "new").await,
    );
    let body = json!({
        "name": "b", "arguments": ["+map c1m1_hotel", "-tickrate 100"], "config": ["sv_x 1", "sv_z 1"],
        "overlay_ids": [maps, old],
    });
    let blueprint = admin.json("POST", "/blueprints", body).await.is(201).json()["id"].as_u64().unwrap();
    let body = json!({ "name": "s", "blueprint_id": blueprint });
    let id = admin.json("POST", "/servers", body.clone()).await.is(201).json()["id"].as_u64().unwrap();
    let (path, own) = (format!("/servers/{id}"), format!("/blueprints/{blueprint}"));
    let changes = async || admin.get_json(&path).await.is(200).json()["pending_changes"].clone();
    write_spec(&site, id).await;
    assert_eq!(changes().await, json!([]));
    assert!(!admin.get(&own).await.is(200).body.contains("next start changes it"));

    let change = json!({
        "arguments": ["+map c2m1_highway", "-tickrate 100"], "config": ["sv_y 2", "sv_z 1"], "overlay_ids": [new, maps],
    });
    admin.json("PATCH", &own, change).await.is(200);
    site.publish_revision(maps).await;
    install(&site).await;
    admin.json("PATCH", &path, json!({ "name": "t", "port": 42019 })).await.is(200);
    let expected = [
        "− argument: +map c1m1_hotel",
        "+ argument: +map c2m1_highway",
        "− config: hostname \"s\"",
        "− config: sv_x 1",
        "+ config: hostname \"t\"",
        "+ config: sv_y 2",
        "− port: 42015",
        "+ port: 42019",
        "overlay maps: revision 1 → revision 2",
        "− overlay: old",
        "+ overlay: new",
        "other game files",
    ];
    assert_eq!(changes().await, json!(expected));
    for page in [&path, &own] {
        let body = admin.get(page).await.is(200).body;
        assert!(body.contains("next start changes it"), "{page}");
        for line in expected {
            let line = format!("<code>{}</code>", line.replace('"', "&quot;"));
            assert!(body.contains(&line), "{page} lacks {line}: {body}");
        }
    }
    // Back to an earlier revision is a difference too; after the start there is none.
    admin.json("POST", &format!("/admin/overlays/{maps}/revisions"), json!({ "number": 1 })).await.is(200);
    assert!(!changes().await.to_string().contains("overlay maps"));
    write_spec(&site, id).await;
    assert_eq!(changes().await, json!([]));
    admin.json("PATCH", &own, json!({ "overlay_ids": [maps, new] })).await.is(200);
    assert_eq!(changes().await, json!(["overlays: another order"]));
}
