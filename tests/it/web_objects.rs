//! Overlays, blueprints, servers, ports, jobs, users: one test per row and refusal of contract §3, as form and as JSON.

use left4me::model::port::{Listener, ListenerOwner, Listeners, Protocol};
use serde_json::json;

use crate::harness::{Client, Site, blueprint, made, server};

/// An overlay whose folder exists.
async fn overlay(site: &Site, admin: &Client, name: &str) -> u64 {
    std::fs::create_dir_all(site.folder.path().join("overlays").join(name)).unwrap();
    let path = site.folder.path().join("overlays").join(name);
    made(admin, "/admin/overlays", json!({ "name": name, "path": path })).await
}

/// A name that is everything a page must not believe.
const HOSTILE: &str = r#""><script>alert(1)</script>&amp;'"#;
const ESCAPED: &str = "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;'";

#[tokio::test]
async fn overlays_are_for_admins() {
    let site = Site::start().await;
    let user = site.user("user").await;
    user.get("/admin/overlays").await.is(403);
    user.json("POST", "/admin/overlays", json!({ "name": "x" })).await.is(403);
    user.form("/admin/overlays", &[("name", "x")]).await.is(403);
    user.json("DELETE", "/admin/overlays/1", json!({})).await.is(403);
}

#[tokio::test]
async fn an_overlay_is_made_listed_changed_and_deleted_by_json_and_by_form() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = overlay(&site, &admin, "one").await;
    let path = site.folder.path().join("overlays/two");
    std::fs::create_dir(&path).unwrap();
    let got = admin.form("/admin/overlays", &[("name", "two"), ("path", path.to_str().unwrap())]).await.is(302);
    let second = got.header("location").to_owned();
    let items = admin.get_json("/admin/overlays").await.is(200).json()["items"].clone();
    assert_eq!(items.as_array().unwrap().len(), 2);
    assert_eq!(items[0]["missing"], false);
    let got = admin.json("PATCH", &format!("/admin/overlays/{id}"), json!({ "name": "renamed" })).await.is(200);
    assert_eq!(got.json()["name"], "renamed");
    admin.form(&second, &[("name", "also renamed")]).await.is(302);
    assert!(admin.get(&second).await.is(200).body.contains("also renamed"));
    admin.json("DELETE", &format!("/admin/overlays/{id}"), json!({})).await.is(204);
    admin.form(&format!("{second}/delete"), &[]).await.is(302);
    admin.get(&second).await.is(404);
}

#[tokio::test]
async fn an_overlay_path_outside_the_root_is_400_and_the_form_keeps_it() {
    let site = Site::start().await;
    let admin = site.admin().await;
    std::os::unix::fs::symlink("/etc", site.folder.path().join("overlays/link")).unwrap();
    for path in ["/etc", "../..", "/etc/../etc"] {
        let got = admin.json("POST", "/admin/overlays", json!({ "name": "x", "path": path })).await.is(400);
        assert_eq!(got.json()["field"], "path", "{path}");
    }
    let link = site.folder.path().join("overlays/link");
    let got = admin.form("/admin/overlays", &[("name", "kept name"), ("path", link.to_str().unwrap())]).await.is(400);
    assert!(got.body.contains(r#"value="kept name""#) && got.body.contains("field-path-error"));
}

#[tokio::test]
async fn the_same_overlay_name_is_409_and_one_in_use_cannot_be_deleted() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = overlay(&site, &admin, "one").await;
    admin.json("POST", "/admin/overlays", json!({ "name": "one" })).await.is(409);
    made(&admin, "/blueprints", json!({ "name": "the user of it", "overlay_ids": [id] })).await;
    let got = admin.json("DELETE", &format!("/admin/overlays/{id}"), json!({})).await.is(409);
    assert!(got.json()["error"].as_str().unwrap().contains("the user of it"));
    let got = admin.form(&format!("/admin/overlays/{id}/delete"), &[]).await.is(409);
    assert!(got.body.contains("the user of it"));
}

#[tokio::test]
async fn a_blueprint_keeps_the_order_of_its_overlays_by_json_and_by_form() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let (a, b) = (overlay(&site, &admin, "a").await, overlay(&site, &admin, "b").await);
    let user = site.user("user").await;
    let body = json!({ "name": "json", "arguments": ["+map c1m1_hotel"], "config": ["sv_x 1"], "overlay_ids": [b, a] });
    let id = made(&user, "/blueprints", body).await;
    let got = user.get_json(&format!("/blueprints/{id}")).await.is(200).json();
    assert_eq!((&got["overlay_ids"], &got["arguments"]), (&json!([b, a]), &json!(["+map c1m1_hotel"])));
    let (a_text, b_text) = (a.to_string(), b.to_string());
    let fields = [
        ("name", "form"),
        ("arguments", "+map c1m1_hotel\r\n-tickrate 100\r\n"),
        ("config", "[\"sv_x 1\"]"),
        ("overlay_ids", ""),
        ("overlay_ids", &b_text),
        ("overlay_ids", ""),
        ("overlay_ids", &a_text),
    ];
    let got = user.form("/blueprints", &fields).await.is(302);
    let got = user.get_json(got.header("location")).await.is(200).json();
    assert_eq!(got["overlay_ids"], json!([b, a]));
    assert_eq!(got["arguments"], json!(["+map c1m1_hotel", "-tickrate 100"]));
    assert_eq!(got["config"], json!(["sv_x 1"]));
}

#[tokio::test]
async fn without_script_a_button_moves_a_row_and_saves_nothing() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let (a, b) = (overlay(&site, &admin, "a").await.to_string(), overlay(&site, &admin, "b").await.to_string());
    let fields =
        [("name", "kept"), ("overlay_ids", ""), ("overlay_ids", &a), ("overlay_ids", &b), ("arrange", "down:0")];
    let page = admin.form("/blueprints", &fields).await.is(200).body;
    let chosen: Vec<&str> = page
        .split("<option value=\"")
        .filter(|part| part.contains(" selected"))
        .map(|part| part.split('"').next().unwrap())
        .collect();
    assert_eq!(chosen, [b, a]);
    assert!(page.contains(r#"value="kept""#));
    assert_eq!(admin.get_json("/blueprints").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_blueprint_refuses_unknown_repeated_and_mistyped_fields_and_names_them() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = overlay(&site, &admin, "a").await;
    for (field, body) in [
        ("overlay_ids", json!({ "name": "x", "overlay_ids": [999] })),
        ("overlay_ids", json!({ "name": "x", "overlay_ids": [id, id] })),
        ("overlay_ids", json!({ "name": "x", "overlay_ids": "1" })),
        ("arguments", json!({ "name": "x", "arguments": ["-port 27015"] })),
        ("arguments", json!({ "name": "x", "arguments": [1] })),
        ("config", json!({ "name": "x", "config": ["tv_port 1"] })),
        ("name", json!({ "name": " " })),
        ("name", json!({ "name": "x".repeat(129) })),
        ("name", json!({})),
    ] {
        let got = admin.json("POST", "/blueprints", body.clone()).await.is(400);
        assert_eq!(got.json()["field"], field, "{body}");
    }
    let got = admin.form("/blueprints", &[("name", "kept"), ("arguments", "-port 27015")]).await.is(400);
    assert!(got.body.contains("field-arguments-error") && got.body.contains(r#"value="kept""#));
}

#[tokio::test]
async fn a_blueprint_is_private_and_admins_may_read_it() {
    let site = Site::start().await;
    let (owner, other) = (site.user("owner").await, site.user("other").await);
    let path = format!("/blueprints/{}", blueprint(&owner, "mine").await);
    other.get_json(&path).await.is(403);
    other.get(&path).await.is(403);
    other.json("PATCH", &path, json!({ "name": "x" })).await.is(403);
    other.form(&format!("{path}/delete"), &[]).await.is(403);
    other.get("/blueprints/999").await.is(404);
    site.admin().await.get_json(&path).await.is(200);
    assert_eq!(other.get_json("/blueprints").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_blueprint_is_patched_put_duplicated_and_deleted_unless_used() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let id = made(&user, "/blueprints", json!({ "name": "one", "arguments": ["-x"], "config": ["y 1"] })).await;
    let path = format!("/blueprints/{id}");
    let got = user.json("PATCH", &path, json!({ "config": [] })).await.is(200).json();
    assert_eq!((&got["config"], &got["arguments"]), (&json!([]), &json!(["-x"])));
    let got = user.json("PUT", &path, json!({ "name": "two" })).await.is(200).json();
    assert_eq!((&got["name"], &got["arguments"]), (&json!("two"), &json!([])));
    let copy = user.json("POST", &format!("{path}/duplicate"), json!({})).await.is(201).json()["id"].clone();
    user.form(&format!("{path}/duplicate"), &[]).await.is(302);
    user.json("DELETE", &format!("/blueprints/{copy}"), json!({})).await.is(204);
    server(&user, "the one that uses it", id).await;
    let got = user.json("DELETE", &path, json!({})).await.is(409);
    assert!(got.json()["error"].as_str().unwrap().contains("the one that uses it"));
}

#[tokio::test]
async fn a_server_gets_the_port_it_asks_for_or_the_lowest_free_one() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    let first = user.get_json(&format!("/servers/{}", server(&user, "a", plan).await)).await.json();
    assert_eq!(first["port"], 42015);
    assert_eq!((&first["desired_state"], &first["actual_state"]), (&json!("stopped"), &json!("unknown")));
    assert_eq!(
        (&first["display_state"], &first["drift"], &first["owner"]),
        (&json!("unknown"), &json!(false), &json!("user"))
    );
    let body = json!({ "name": "b", "blueprint_id": plan, "port": 42020 });
    let id = made(&user, "/servers", body).await;
    assert_eq!(user.get_json(&format!("/servers/{id}")).await.json()["port"], 42020);
    let plan_text = plan.to_string();
    for (name, port) in [("c", "auto"), ("d", "")] {
        user.form("/servers", &[("name", name), ("blueprint_id", &plan_text), ("port", port)]).await.is(302);
    }
    let got = user.form("/servers", &[("name", "e"), ("blueprint_id", &plan_text), ("port", "42030")]).await.is(302);
    assert!(user.get(got.header("location")).await.is(200).body.contains(":42030"));
}

#[tokio::test]
async fn the_same_port_or_name_twice_is_409_and_says_so() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    made(&user, "/servers", json!({ "name": "a", "blueprint_id": plan, "port": 42020 })).await;
    let got = user.json("POST", "/servers", json!({ "name": "b", "blueprint_id": plan, "port": 42020 })).await.is(409);
    assert_eq!(got.json()["error"], "port already in use");
    assert!(got.json()["names"][0].as_str().unwrap().contains('a'));
    let got = user.json("POST", "/servers", json!({ "name": " a ", "blueprint_id": plan })).await.is(409);
    assert_eq!(got.json()["error"], "name already in use");
    let plan_text = plan.to_string();
    let got = user.form("/servers", &[("name", "kept"), ("blueprint_id", &plan_text), ("port", "42020")]).await.is(409);
    assert!(got.body.contains("port already in use") && got.body.contains(r#"value="kept""#));
    // Another user may use the name.
    let other = site.user("other").await;
    server(&other, "a", blueprint(&other, "plan").await).await;
}

#[tokio::test]
async fn a_port_on_which_a_stranger_listens_is_refused() {
    let site = Site::start().await;
    *site.machine.listeners.lock().unwrap() = Listeners(vec![Listener {
        address: "0.0.0.0:42015".parse().unwrap(),
        protocol: Protocol::Udp,
        owner: ListenerOwner::Uid(4),
    }]);
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    user.json("POST", "/servers", json!({ "name": "a", "blueprint_id": plan, "port": 42015 })).await.is(409);
    assert_eq!(user.get_json(&format!("/servers/{}", server(&user, "a", plan).await)).await.json()["port"], 42016);
}

#[tokio::test]
async fn a_bad_port_or_blueprint_of_a_server_is_refused_with_its_field() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    for port in [json!(80), json!(65536), json!(-1), json!("x"), json!(1.5), json!([])] {
        let got =
            user.json("POST", "/servers", json!({ "name": "a", "blueprint_id": plan, "port": port })).await.is(400);
        assert_eq!(got.json()["field"], "port", "{port}");
    }
    let got = user.json("POST", "/servers", json!({ "name": "a" })).await.is(400);
    assert_eq!(got.json()["field"], "blueprint_id");
    let foreign = blueprint(&site.user("other").await, "foreign").await;
    for id in [999, foreign] {
        let got = user.json("POST", "/servers", json!({ "name": "a", "blueprint_id": id })).await.is(404);
        assert!(got.json()["error"].as_str().unwrap().contains("blueprint not found"));
    }
}

#[tokio::test]
async fn another_users_server_is_403_and_an_unknown_one_404_on_every_route() {
    let site = Site::start().await;
    let (owner, other) = (site.user("owner").await, site.user("other").await);
    let id = server(&owner, "a", blueprint(&owner, "plan").await).await;
    for (id, status) in [(id, 403), (999, 404)] {
        other.get_json(&format!("/servers/{id}")).await.is(status);
        other.get(&format!("/servers/{id}")).await.is(status);
        other.get_json(&format!("/servers/{id}/logs/stream")).await.is(status);
        other.json("PATCH", &format!("/servers/{id}"), json!({ "name": "x" })).await.is(status);
        other.json("DELETE", &format!("/servers/{id}"), json!({})).await.is(status);
        for verb in ["initialize", "start", "stop", "restart", "delete"] {
            other.form(&format!("/servers/{id}/{verb}"), &[]).await.is(status);
        }
    }
    assert_eq!(other.get_json("/servers").await.json()["items"], json!([]));
    assert_eq!(site.admin().await.get_json("/servers").await.json()["items"][0]["id"], id);
}

#[tokio::test]
async fn a_server_is_renamed_and_moved_and_keeps_its_port_when_it_is_the_same() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let (one, two) = (blueprint(&user, "one").await, blueprint(&user, "two").await);
    let path = format!("/servers/{}", server(&user, "a", one).await);
    let change = json!({ "name": "b", "blueprint_id": two, "port": "auto" });
    for _ in 0..2 {
        let got = user.json("PATCH", &path, change.clone()).await.is(200).json();
        assert_eq!((&got["name"], &got["blueprint_id"], &got["port"]), (&json!("b"), &json!(two), &json!(42015)));
    }
    let one_text = one.to_string();
    let got = user.form(&path, &[("name", "c"), ("port", "42019"), ("blueprint_id", &one_text)]).await.is(302);
    assert_eq!(got.header("location"), path);
    assert_eq!(user.get_json(&path).await.json()["port"], 42019);
    let page = user.get(&format!("{path}/edit")).await.is(200).body;
    assert!(page.contains(r#"value="c""#) && page.contains(r#"value="42019""#));
}

#[tokio::test]
async fn asking_for_an_operation_answers_with_its_job_and_coalesces_with_the_newest_queued() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let id = server(&user, "a", blueprint(&user, "plan").await).await;
    let ask = |verb: &'static str| {
        let (user, path) = (user.clone(), format!("/servers/{id}/{verb}"));
        async move { user.json("POST", &path, json!({})).await.is(202).json() }
    };
    let start = ask("start").await;
    assert_eq!(
        (&start["operation"], &start["state"], &start["server_id"]),
        (&json!("start"), &json!("queued"), &json!(id))
    );
    assert_eq!(ask("start").await["id"], start["id"]);
    let stop = ask("stop").await;
    assert_ne!(ask("start").await["id"], start["id"]);
    assert_eq!(user.get_json(&format!("/servers/{id}")).await.json()["display_state"], "starting");
    let got = user.form(&format!("/servers/{id}/restart"), &[]).await.is(302);
    assert!(got.header("location").starts_with("/jobs/"));
    let cancel = format!("/jobs/{}/cancel", stop["id"]);
    assert_eq!(user.json("POST", &cancel, json!({})).await.is(200).json()["state"], "cancelled");
    let list = user.get_json(&format!("/jobs?server_id={id}&state=queued")).await.is(200).json();
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
    assert_eq!(user.get_json("/jobs?state=nonsense").await.is(400).json()["field"], "state");
    let got = user
        .send("POST", &format!("/servers/{id}/stop"), &[("hx-request", "true"), ("x-csrf-token", &user.csrf)], "")
        .await;
    assert!(got.is(202).body.contains("/jobs/"));
}

#[tokio::test]
async fn deleting_a_server_is_a_job_and_meanwhile_nothing_else_is_done() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let id = server(&user, "a", blueprint(&user, "plan").await).await;
    let path = format!("/servers/{id}");
    let got = user.form(&format!("{path}/delete"), &[("confirm", "b")]).await.is(400);
    assert!(got.body.contains("field-confirm-error"));
    assert_eq!(user.json("DELETE", &path, json!({})).await.is(202).json()["operation"], "delete");
    let got = user.json("POST", &format!("{path}/start"), json!({})).await.is(409);
    assert_eq!(got.json()["error"], "being deleted");
    assert_eq!(user.get_json(&path).await.json()["display_state"], "deleting");
    user.form(&format!("{path}/stop"), &[]).await.is(409);
}

#[tokio::test]
async fn a_batch_makes_all_servers_or_none() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let plan = blueprint(&admin, "plan").await;
    let body = |count: u64| json!({ "count": count, "name_prefix": "night", "blueprint_id": plan });
    let got = admin.json("POST", "/servers/batch", body(3)).await.is(201).json();
    assert_eq!(got["ids"].as_array().unwrap().len(), 3);
    admin
        .json("POST", "/servers/batch", json!({ "count": 50, "name_prefix": "more", "blueprint_id": plan }))
        .await
        .is(409);
    admin.json("POST", "/servers/batch", json!({ "name_prefix": "x", "blueprint_id": plan })).await.is(400);
    assert_eq!(admin.get_json("/servers").await.json()["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_quota_is_409_and_admins_have_none() {
    let site = Site::start_with(|_, rules| rules.max_servers_per_user = 1).await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    server(&user, "a", plan).await;
    user.json("POST", "/servers", json!({ "name": "b", "blueprint_id": plan })).await.is(409);
    let admin = site.admin().await;
    let plan = blueprint(&admin, "plan").await;
    server(&admin, "a", plan).await;
    server(&admin, "b", plan).await;
}

#[tokio::test]
async fn lists_have_pages_and_a_bad_limit_is_400() {
    let site = Site::start().await;
    let user = site.user("user").await;
    for number in 0..5 {
        blueprint(&user, &format!("plan {number}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/blueprints?limit=2".to_owned();
    loop {
        let got = user.get_json(&path).await.is(200).json();
        seen.extend(got["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(next) = got["next"].as_str() else { break };
        let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
        path = format!("/blueprints?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["plan 0", "plan 1", "plan 2", "plan 3", "plan 4"]);
    for limit in ["0", "501", "x", "-1"] {
        assert_eq!(user.get_json(&format!("/blueprints?limit={limit}")).await.is(400).json()["field"], "limit");
    }
    user.get_json("/blueprints?cursor=nonsense").await.not_500();
}

#[tokio::test]
async fn ports_show_all_claims_to_admins_and_their_own_to_users() {
    let site = Site::start().await;
    let (user, other, admin) = (site.user("user").await, site.user("other").await, site.admin().await);
    server(&user, "a", blueprint(&user, "plan").await).await;
    assert_eq!(user.get_json("/ports").await.is(200).json()["items"][0]["port"], 42015);
    assert_eq!(other.get_json("/ports").await.json()["items"], json!([]));
    assert_eq!(admin.get_json("/ports").await.json()["items"][0]["status"], "active");
    assert!(admin.get("/ports").await.is(200).body.contains("42015"));
    user.get_json("/ports/check").await.is(403);
    admin.get("/ports/check").await.is(200);
    admin.json("POST", "/ports/cleanup", json!({ "dry_run": true })).await.is(200);
}

#[tokio::test]
async fn a_reservation_is_made_used_by_a_batch_and_released() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let body = json!({ "count": 3, "label": "party", "expires_at": "2099-01-01T00:00:00Z" });
    let got = admin.json("POST", "/ports/reservations", body).await.is(201).json();
    assert_eq!(got["ports"].as_array().unwrap().len(), 3);
    let id = got["id"].as_u64().unwrap();
    admin.json("DELETE", &format!("/ports/reservations/{id}"), json!({})).await.is(204);
    admin.form("/ports/reservations", &[("count", "2"), ("label", "x"), ("expires_at", "")]).await.is(302);
    let got = admin.form("/ports/reservations", &[("count", "x"), ("label", "kept")]).await.is(400);
    assert!(got.body.contains("field-count-error") && got.body.contains(r#"value="kept""#));
    site.user("user").await.json("POST", "/ports/reservations", json!({ "count": 1, "label": "x" })).await.is(403);
}

#[tokio::test]
async fn installing_is_for_admins_and_answers_with_the_job() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let job = admin.json("POST", "/admin/install", json!({})).await.is(202).json();
    assert_eq!(job["operation"], "install");
    admin.form("/admin/install", &[]).await.is(302);
    admin.get("/admin/install").await.is(200);
    let user = site.user("user").await;
    user.json("POST", "/admin/install", json!({})).await.is(403);
    user.get_json(&format!("/jobs/{}", job["id"])).await.is(403);
}

#[tokio::test]
async fn the_last_admin_stays_and_users_are_disabled_promoted_and_deleted() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("user").await);
    let list = admin.get_json("/admin/users").await.is(200).json();
    assert!(!list.to_string().contains("argon2"));
    let id = |name: &str| {
        list["items"].as_array().unwrap().iter().find(|item| item["username"] == name).unwrap()["id"].as_u64().unwrap()
    };
    let (own, other) = (format!("/admin/users/{}", id("admin")), format!("/admin/users/{}", id("user")));
    for change in [json!({ "admin": false }), json!({ "disabled": true })] {
        admin.json("PATCH", &own, change).await.is(409);
    }
    admin.form(&own, &[("admin", "false")]).await.is(409);
    admin.json("DELETE", &own, json!({})).await.is(409);
    assert_eq!(admin.json("PATCH", &other, json!({ "admin": "yes" })).await.is(400).json()["field"], "admin");
    admin.json("PATCH", &other, json!({ "disabled": true })).await.is(200);
    user.get("/dashboard").await.is(302);
    admin.form(&other, &[("disabled", "false")]).await.is(302);
    assert_eq!(admin.json("PATCH", &other, json!({ "admin": true })).await.is(200).json()["admin"], true);
    admin.form(&format!("{other}/delete"), &[("confirm", "someone")]).await.is(400);
    admin.form(&format!("{other}/delete"), &[("confirm", "user")]).await.is(302);
    admin.get_json(&other).await.is(404);
}

#[tokio::test]
async fn a_user_with_servers_cannot_be_deleted_and_they_are_named() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("user").await);
    server(&user, "in the way", blueprint(&user, "plan").await).await;
    let id = user.get_json("/account").await.json()["id"].clone();
    let got = admin.json("DELETE", &format!("/admin/users/{id}"), json!({})).await.is(409);
    assert!(got.json()["error"].as_str().unwrap().contains("in the way"));
}

#[tokio::test]
async fn an_admin_closes_signup_at_run_time() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let got = admin.json("POST", "/admin/settings", json!({ "signup": "closed" })).await.is(200).json();
    assert_eq!(got["signup"], "closed");
    site.guest().get("/signup").await.is(403);
    admin.form("/admin/settings", &[("signup", "open"), ("max_servers_per_user", "3")]).await.is(302);
    assert_eq!(admin.get_json("/admin/settings").await.json(), json!({ "signup": "open", "max_servers_per_user": 3 }));
    let got = admin.json("POST", "/admin/settings", json!({ "signup": true })).await.is(400);
    assert_eq!(got.json()["field"], "signup");
}

#[tokio::test]
async fn hostile_names_are_inert_on_every_page() {
    let site = Site::start().await;
    let admin = site.admin().await;
    made(&admin, "/admin/overlays", json!({ "name": HOSTILE })).await;
    let plan = blueprint(&admin, HOSTILE).await;
    let id = server(&admin, HOSTILE, plan).await;
    let job = admin.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].clone();
    for path in [
        "/dashboard".to_owned(),
        "/servers".into(),
        format!("/servers/{id}"),
        format!("/servers/{id}/edit"),
        format!("/servers/{id}/delete"),
        format!("/servers/{id}/card"),
        "/blueprints".into(),
        format!("/blueprints/{plan}"),
        "/servers/new".into(),
        "/jobs".into(),
        format!("/jobs/{job}"),
        "/ports".into(),
        "/admin/overlays".into(),
        "/admin/audit".into(),
    ] {
        let page = admin.get(&path).await.is(200).body;
        assert!(page.contains(ESCAPED) || page.contains("&lt;script&gt;alert(1)"), "{path} does not show it: {page}");
        assert!(!page.contains("<script>alert"), "{path}");
    }
    let page = admin.form("/servers", &[("name", HOSTILE), ("blueprint_id", "x\"><b>")]).await.is(400).body;
    assert!(!page.contains("<script>alert") && !page.contains("\"><b>"));
}
