//! What `web_objects` and `web_auth` leave of contract §1, §3 and §9: each row and rule as a form and as JSON.

use serde_json::{Value, json};

use crate::harness::{Client, PASSWORD, Site, blueprint, made, server};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

// ---- Users -----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_username_has_1_to_64_characters() {
    let site = Site::start().await;
    for (name, right) in
        [("", false), ("   ", false), ("x", true), ("y".repeat(64).as_str(), true), ("z".repeat(65).as_str(), false)]
    {
        let status = if right { 201 } else { 400 };
        let got =
            site.guest().json("POST", "/signup", json!({ "username": name, "password": PASSWORD })).await.is(status);
        assert!(right || got.json()["field"] == "username");
        let name = if right { format!("{}é", &name[1..]) } else { name.to_owned() };
        let body = encoded(&[("username", &name), ("password", PASSWORD)]);
        let got = site.guest().send("POST", "/signup", &[FORM], &body).await.is(if right { 302 } else { 400 });
        assert!(right || got.body.contains("field-username-error"), "{}", got.body);
    }
}

#[tokio::test]
async fn a_username_that_is_taken_is_409_for_a_form_too_whatever_its_case() {
    let site = Site::start().await;
    site.user("Alice").await;
    let body = encoded(&[("username", "aLICE"), ("password", PASSWORD)]);
    let got = site.guest().send("POST", "/signup", &[FORM], &body).await.is(409);
    assert!(got.body.contains("already in use") && got.body.contains(r#"value="aLICE""#), "{}", got.body);
}

#[tokio::test]
async fn signing_out_ends_the_session_for_a_program_too() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let got = user.json("POST", "/logout", json!({})).await.is(204);
    assert!(got.header("set-cookie").starts_with("left4me=; ") && got.header("set-cookie").contains("Max-Age=0"));
    user.get_json("/account").await.is(401);
}

#[tokio::test]
async fn too_many_failures_are_429_for_a_form_too_and_the_page_says_how_long() {
    let site = Site::start().await;
    site.user("alice").await;
    for _ in 0..20 {
        site.guest().send("POST", "/login", &[FORM], "username=alice&password=wrong").await.is(401);
    }
    let body = encoded(&[("username", "alice"), ("password", PASSWORD)]);
    let got = site.guest().send("POST", "/login", &[FORM], &body).await.is(429);
    let seconds: u64 = got.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&seconds), "{seconds}");
    assert!(got.body.contains("too many failed attempts") && got.body.contains(r#"value="alice""#), "{}", got.body);
}

#[tokio::test]
async fn the_eleventh_account_from_one_address_within_a_quarter_of_an_hour_is_429() {
    let site = Site::start_with(|settings, _| settings.trusted_proxies.push("127.0.0.0/8".parse().unwrap())).await;
    let sign_up = async |number: usize, address: &str, kind: (&str, &str)| {
        let name = format!("user {number}");
        let body = if kind == FORM {
            encoded(&[("username", &name), ("password", PASSWORD)])
        } else {
            json!({ "username": name, "password": PASSWORD }).to_string()
        };
        site.guest().send("POST", "/signup", &[kind, ("x-forwarded-for", address)], &body).await
    };
    let program = ("content-type", "application/json");
    for number in 0..10 {
        // One subscriber has a whole /64, so these are one address.
        sign_up(number, &format!("2001:db8:1:2::{number:x}"), program).await.is(201);
    }
    let got = sign_up(10, "2001:db8:1:2::ffff", program).await.is(429);
    let seconds: u64 = got.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&seconds) && got.json()["retry_after"] == seconds, "{}", got.body);
    let got = sign_up(10, "2001:db8:1:2::ffff", FORM).await.is(429);
    assert!(got.body.contains("too many accounts") && got.body.contains(r#"value="user 10""#), "{}", got.body);
    sign_up(10, "2001:db8:1:3::1", program).await.is(201);
    // A sign-up that is refused for what was typed counts for nothing: people mistype.
    for _ in 0..12 {
        site.guest().json("POST", "/signup", json!({ "username": "x", "password": "short" })).await.is(400);
    }
    site.guest().json("POST", "/login", json!({ "username": "user 10", "password": PASSWORD })).await.is(200);
}

#[tokio::test]
async fn a_password_change_is_refused_where_it_is_wrong_and_ends_other_sessions_by_json_too() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let got = site.guest().json("POST", "/login", json!({ "username": "user", "password": PASSWORD })).await.is(200);
    let session = got.header("set-cookie").split(';').next().unwrap().strip_prefix("left4me=").unwrap().to_owned();
    let other = site.guest().with_session(&session);
    let change = async |body: Value| user.json("POST", "/account/password", body).await;
    let fine = "another fine long phrase";
    change(json!({ "current": "wrong", "password": fine })).await.is(401);
    for (body, field) in [
        (json!({ "current": PASSWORD, "password": "short" }), "password"),
        (json!({ "current_password": PASSWORD, "new_password": "password" }), "new_password"),
        (json!({ "current": PASSWORD }), "password"),
        (json!({ "password": fine }), "current"),
        (json!({ "current": PASSWORD, "password": 5 }), "password"),
    ] {
        assert_eq!(change(body.clone()).await.is(400).json()["field"], field, "{body}");
    }
    let got = user.form("/account/password", &[("current", PASSWORD), ("password", "short")]).await.is(400);
    assert!(got.body.contains(r#"id="field-password-error""#), "{}", got.body);
    other.get_json("/account").await.is(200);
    change(json!({ "current": PASSWORD, "password": fine })).await.is(204);
    user.get_json("/account").await.is(200);
    other.get_json("/account").await.is(401);
    site.guest().json("POST", "/login", json!({ "username": "user", "password": PASSWORD })).await.is(401);
    site.guest().json("POST", "/login", json!({ "username": "user", "password": fine })).await.is(200);
}

#[tokio::test]
async fn the_last_admin_is_protected_from_the_form_as_from_json_and_from_deletion() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = admin.get_json("/account").await.json()["id"].clone();
    let path = format!("/admin/users/{id}");
    for fields in [("admin", "false"), ("disabled", "true")] {
        let got = admin.form(&path, &[fields]).await.is(409);
        assert!(got.body.contains("last admin") && got.body.contains("<h1>admin</h1>"), "{}", got.body);
    }
    let got = admin.form(&format!("{path}/delete"), &[("confirm", "admin")]).await.is(409);
    assert!(got.body.contains("last admin"));
    // A disabled admin is none.
    site.user("second").await;
    let users = admin.get_json("/admin/users").await.json();
    let second = users["items"].as_array().unwrap().iter().find(|user| user["username"] == "second").unwrap();
    let other = format!("/admin/users/{}", second["id"]);
    admin.json("PATCH", &other, json!({ "admin": true, "disabled": true })).await.is(200);
    admin.json("PATCH", &path, json!({ "admin": false })).await.is(409);
    admin.json("PATCH", &other, json!({ "disabled": false })).await.is(200);
    admin.json("PATCH", &path, json!({ "admin": false })).await.is(200);
    admin.get_json("/admin/users").await.is(403);
}

// ---- Tokens ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_token_is_made_and_shown_once_by_a_form_and_revoked_by_one() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let fields = [("label", "backup"), ("scope", "read"), ("expires_at", "2099-01-01T00:00")];
    let page = user.form("/account/tokens", &fields).await.is(200).body;
    let token = page.split("data-copy=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(token.starts_with("left4me_"), "{token}");
    let program = site.guest().with_bearer(&token);
    program.get("/servers").await.is(200);
    let page = user.get("/account").await.is(200).body;
    assert!(page.contains("backup") && page.contains("2099-01-01 00:00 UTC") && !page.contains(&token));
    let list = user.get_json("/account/tokens").await.is(200).json();
    let own = &list["items"][0];
    assert_eq!((&own["scope"], &own["expires_at"]), (&json!("read"), &json!("2099-01-01T00:00:00Z")));
    assert!(own["last_used_at"].is_string(), "its last use is known: {own}");
    let other = site.user("other").await;
    other.form(&format!("/account/tokens/{}/delete", own["id"]), &[]).await.is(403);
    user.form(&format!("/account/tokens/{}/delete", own["id"]), &[]).await.is(302);
    program.get("/servers").await.is(401);
    let got = user.form("/account/tokens", &[("label", "kept label"), ("scope", "admin")]).await;
    assert_eq!(got.status, 403, "the scope admin is for admins");
    let got =
        user.form("/account/tokens", &[("label", "kept label"), ("scope", "read"), ("expires_at", "2001-01-01T00:00")]);
    let got = got.await.is(400);
    assert!(got.body.contains(r#"value="kept label""#) && got.body.contains("field-expires_at-error"), "{}", got.body);
}

#[tokio::test]
async fn a_token_made_with_a_token_neither_does_more_nor_lasts_longer_and_goes_with_it() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let make = async |client: &Client, scope: &str, expires_at: Value| {
        let body = json!({ "label": "x", "scope": scope, "expires_at": expires_at });
        client.json("POST", "/account/tokens", body).await
    };
    let bearer = |got: &Value| site.guest().with_bearer(got["token"].as_str().unwrap());
    let first = make(&admin, "operate", json!("2098-01-01T00:00:00Z")).await.is(201).json();
    let program = bearer(&first);
    make(&program, "admin", json!("2097-01-01T00:00:00Z")).await.is(403);
    for longer in [Value::Null, json!("2098-01-01T00:00:01Z"), json!("2099-01-01T00:00:00+00:00")] {
        let got = make(&program, "operate", longer.clone()).await.is(400).json();
        assert_eq!(got["field"], "expires_at", "{longer}");
        assert!(got["error"].as_str().unwrap().contains("2098-01-01T00:00:00Z"), "{got}");
    }
    let second = make(&program, "operate", json!("2098-01-01T00:00:00Z")).await.is(201).json();
    let third = make(&bearer(&second), "read", json!("2097-01-01T00:00:00Z")).await.is(201).json();
    let unrelated = make(&admin, "read", Value::Null).await.is(201).json();
    make(&bearer(&third), "read", json!("2097-01-01T00:00:00Z")).await.is(403);
    for token in [&first, &second, &third, &unrelated] {
        bearer(token).get("/account").await.is(200);
    }
    admin.json("DELETE", &format!("/account/tokens/{}", first["id"]), json!({})).await.is(204);
    for token in [&first, &second, &third] {
        bearer(token).get("/account").await.is(401);
    }
    bearer(&unrelated).get("/account").await.is(200);
}

// ---- Overlays --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn an_overlay_whose_folder_is_not_there_yet_is_kept_and_shown_as_missing() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let later = site.folder.path().join("overlays/later");
    let id = made(&admin, "/admin/overlays", json!({ "name": "later", "path": later })).await;
    let path = format!("/admin/overlays/{id}");
    assert_eq!(admin.get_json(&path).await.is(200).json()["missing"], true);
    assert!(admin.get(&path).await.is(200).body.contains(">missing<"));
    std::fs::create_dir(&later).unwrap();
    assert_eq!(admin.get_json(&path).await.json()["missing"], false);
    assert!(!admin.get(&path).await.body.contains(">missing<"));
    // The root itself is fine too.
    let root = site.folder.path().join("overlays");
    made(&admin, "/admin/overlays", json!({ "name": "root", "path": root })).await;
}

#[tokio::test]
async fn an_overlay_is_put_under_another_name_and_folder_only_where_both_are_right() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let folder = |name: &str| site.folder.path().join("overlays").join(name).display().to_string();
    let id = made(&admin, "/admin/overlays", json!({ "name": "one", "path": folder("one") })).await;
    made(&admin, "/admin/overlays", json!({ "name": "two", "path": folder("two") })).await;
    let path = format!("/admin/overlays/{id}");
    let got = admin.form(&path, &[("name", "two"), ("path", &folder("new"))]).await.is(409);
    assert!(got.body.contains("field-name-error") && got.body.contains(&folder("new")), "{}", got.body);
    let got = admin.form(&path, &[("name", "kept name"), ("path", "/etc")]).await.is(400);
    assert!(got.body.contains("field-path-error") && got.body.contains(r#"value="kept name""#), "{}", got.body);
    admin.json("PATCH", &path, json!({ "name": "three", "path": "/etc" })).await.is(400);
    let got = admin.get_json(&path).await.json();
    assert_eq!((&got["name"], &got["path"]), (&json!("one"), &json!(folder("one"))), "nothing half done");
    let long = "x".repeat(129);
    admin.json("PATCH", &path, json!({ "name": long })).await.is(400);
    admin.form(&path, &[("name", "three"), ("path", &folder("new"))]).await.is(302);
    let got = admin.get_json(&path).await.json();
    assert_eq!((&got["name"], &got["path"]), (&json!("three"), &json!(folder("new"))));
    // To what it is: nothing changes.
    let got = admin.json("PATCH", &path, json!({ "name": "three", "path": folder("new") })).await.is(200).json();
    assert_eq!(got["updated_at"], admin.get_json(&path).await.json()["updated_at"]);
}

// ---- Blueprints ------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_blueprint_name_is_unique_per_user_and_has_at_most_128_characters() {
    let site = Site::start().await;
    let (one, two) = (site.user("one").await, site.user("two").await);
    let id = blueprint(&one, "plan").await;
    one.json("POST", "/blueprints", json!({ "name": " plan " })).await.is(409);
    let got = one.form("/blueprints", &[("name", "plan"), ("config", "kept line")]).await.is(409);
    assert!(got.body.contains("name already in use") && got.body.contains("kept line"), "{}", got.body);
    blueprint(&two, "plan").await;
    blueprint(&one, &"é".repeat(128)).await;
    let got = one.form("/blueprints", &[("name", &"é".repeat(129))]).await.is(400);
    assert!(got.body.contains("field-name-error"));
    blueprint(&one, "other").await;
    one.json("PATCH", &format!("/blueprints/{id}"), json!({ "name": "other" })).await.is(409);
    let got = one.form(&format!("/blueprints/{id}"), &[("name", "other"), ("arguments", "-kept")]).await.is(409);
    assert!(got.body.contains("-kept"));
    one.json("PATCH", &format!("/blueprints/{id}"), json!({ "name": "plan" })).await.is(200);
}

#[tokio::test]
async fn overlays_that_are_unknown_or_listed_twice_are_400_for_a_form_too() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = made(&admin, "/admin/overlays", json!({ "name": "a" })).await.to_string();
    for ids in [["999", ""], [&id, &id], ["x", ""]] {
        let fields = [("name", "kept"), ("overlay_ids", ids[0]), ("overlay_ids", ids[1])];
        let got = admin.form("/blueprints", &fields).await.is(400);
        assert!(got.body.contains("overlay_ids") || got.body.contains("class=\"error\""), "{}", got.body);
        assert!(got.body.contains(r#"value="kept""#));
    }
    let list = format!("[{id}]");
    let got = admin.form("/blueprints", &[("name", "by list"), ("overlay_ids", &list)]).await.is(302);
    let made = admin.get_json(got.header("location")).await.is(200).json();
    assert_eq!(made["overlay_ids"].to_string(), list, "a field that is a JSON list is a list");
}

#[tokio::test]
async fn each_refused_argument_says_why_and_insecure_is_for_admins() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("user").await);
    for argument in [
        "-port 27016",
        "+hostport 1",
        "-ip 1.2.3.4",
        "+ip x",
        "-game cstrike",
        "-norestart",
        "-autoupdate",
        "-steam_dir /x",
        "-steamcmd_script x",
        "-strictportbind",
        "-fork",
        "-pidfile x",
        "-debug",
        "-netconport 1",
        "+tv_port 1",
        "-insecure",
        "+map \"open",
        "-PORT 1",
        "'-po'rt 1",
    ] {
        let body = json!({ "name": "x", "arguments": ["+map c1m1_hotel", argument] });
        let got = user.json("POST", "/blueprints", body).await.is(400).json();
        assert_eq!(got["field"], "arguments", "{argument}");
        let error = got["error"].as_str().unwrap();
        assert!(error.contains("line 2: ") && error.len() > 30, "{argument}: {error}");
        let fields = [("name", "x"), ("arguments", &*format!("+map c1m1_hotel\r\n{argument}"))];
        let got = user.form("/blueprints", &fields).await.is(400);
        assert!(got.body.contains("field-arguments-error") && got.body.contains("line 2: "), "{argument}");
    }
    made(&admin, "/blueprints", json!({ "name": "x", "arguments": ["-insecure"] })).await;
    assert_eq!(user.get_json("/blueprints").await.json()["items"], json!([]));
}

#[tokio::test]
async fn config_lines_are_checked_and_characters_beyond_ascii_are_warned_of() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let long = "x".repeat(1025);
    for line in [long.as_str(), "a\u{7}b", "a\nb", "tv_port 27020", "echo x; \"TV_PORT\" 1"] {
        let got =
            user.json("POST", "/blueprints", json!({ "name": "x", "config": ["ok 1", line] })).await.is(400).json();
        assert_eq!(got["field"], "config", "{line:?}");
        assert!(got["error"].as_str().unwrap().contains("line 2"), "{got}");
    }
    let id = made(&user, "/blueprints", json!({ "name": "x", "config": ["hostname \"é\""] })).await;
    let got = user.get_json(&format!("/blueprints/{id}")).await.is(200).json();
    assert!(got["warnings"][0].as_str().unwrap().contains("line 1"), "{got}");
    assert!(user.get(&format!("/blueprints/{id}")).await.body.contains("beyond ASCII"));
    let got = user.form("/blueprints", &[("name", "y"), ("config", "a\u{7}b")]).await.is(400);
    assert!(got.body.contains("field-config-error"));
}

#[tokio::test]
async fn a_blueprint_in_use_is_409_for_a_form_too_and_a_copy_has_all_but_the_name() {
    let site = Site::start().await;
    let (user, other, admin) = (site.user("user").await, site.user("other").await, site.admin().await);
    let overlay = made(&admin, "/admin/overlays", json!({ "name": "maps" })).await;
    let body = json!({ "name": "plan", "arguments": ["-x"], "config": ["y 1"], "overlay_ids": [overlay] });
    let id = made(&user, "/blueprints", body.clone()).await;
    server(&user, "the one that uses it", id).await;
    let got = user.form(&format!("/blueprints/{id}/delete"), &[]).await.is(409);
    assert!(got.body.contains("the one that uses it"));
    let page = user.get(&format!("/blueprints/{id}")).await.is(200).body;
    assert!(page.contains("Servers that use it") && page.contains("the one that uses it"));
    let got = user.form(&format!("/blueprints/{id}/duplicate"), &[]).await.is(302);
    let copy = user.get_json(got.header("location")).await.is(200).json();
    assert_eq!(copy["name"], "plan copy");
    for key in ["arguments", "config", "overlay_ids"] {
        assert_eq!(copy[key], body[key], "{key}");
    }
    let path = format!("/blueprints/{id}/duplicate");
    let named = user.json("POST", &path, json!({ "name": "mine" })).await.is(201).json()["id"].clone();
    assert_eq!(user.get_json(&format!("/blueprints/{named}")).await.json()["name"], "mine");
    user.json("POST", &path, json!({ "name": "mine" })).await.is(409);
    other.json("POST", &path, json!({})).await.is(403);
    user.form(&format!("/blueprints/{named}/delete"), &[]).await.is(302);
    user.get(&format!("/blueprints/{named}")).await.is(404);
}

// ---- Servers ---------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_server_name_is_a_free_label_of_1_to_128_characters() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    let plan_text = plan.to_string();
    for bad in ["", "  ", "a\nb", "a\u{0}b", &"x".repeat(129)] {
        let got = user.json("POST", "/servers", json!({ "name": bad, "blueprint_id": plan })).await.is(400);
        assert_eq!(got.json()["field"], "name", "{bad:?}");
        let got = user.form("/servers", &[("name", bad), ("blueprint_id", &plan_text)]).await.is(400);
        assert!(got.body.contains("field-name-error"), "{bad:?}");
    }
    for (name, kept) in
        [("  My   Practice ", "My   Practice"), ("../../etc; $(reboot) \"é\" 🎮", "../../etc; $(reboot) \"é\" 🎮")]
    {
        let id = server(&user, name, plan).await;
        assert_eq!(user.get_json(&format!("/servers/{id}")).await.json()["name"], kept);
    }
    server(&user, &"é".repeat(128), plan).await;
}

#[tokio::test]
async fn who_holds_a_port_is_told_to_who_may_know() {
    let site = Site::start().await;
    let (user, other, admin) = (site.user("user").await, site.user("other").await, site.admin().await);
    let plan = blueprint(&user, "plan").await;
    made(&user, "/servers", json!({ "name": "secret plans", "blueprint_id": plan, "port": 42020 })).await;
    for (client, told) in [(&user, true), (&admin, true), (&other, false)] {
        let plan = blueprint(client, "second plan").await;
        let body = json!({ "name": "b", "blueprint_id": plan, "port": 42020 });
        let got = client.json("POST", "/servers", body).await.is(409).json();
        assert_eq!((&got["error"], &got["port"]), (&json!("port already in use"), &json!(42020)));
        assert_eq!(got["names"].to_string().contains("secret plans"), told, "{got}");
        let fields = [("name", "b"), ("port", "42020"), ("blueprint_id", &*plan.to_string())];
        let got = client.form("/servers", &fields).await.is(409);
        assert!(got.body.contains("port already in use") && got.body.contains(r#"value="42020""#));
        assert_eq!(got.body.contains("secret plans"), told, "{}", got.body);
        // The same when a server moves.
        let own = server(client, "mover", plan).await;
        client.json("PATCH", &format!("/servers/{own}"), json!({ "port": 42020 })).await.is(409);
        let fields = [("name", "kept name"), ("port", "42020"), ("blueprint_id", &*plan.to_string())];
        let got = client.form(&format!("/servers/{own}"), &fields).await.is(409);
        assert!(got.body.contains(r#"value="kept name""#) && got.body.contains(r#"value="42020""#));
    }
}

#[tokio::test]
async fn a_bad_port_is_400_for_a_form_too() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await.to_string();
    for port in ["80", "1023", "65536", "-1", "27015.5", "x"] {
        let got = user.form("/servers", &[("name", "kept"), ("blueprint_id", &plan), ("port", port)]).await.is(400);
        assert!(got.body.contains("field-port-error") && got.body.contains(r#"value="kept""#), "{port}: {}", got.body);
    }
    for (blueprint, status) in [("999", 404), ("x", 400), ("", 400)] {
        user.form("/servers", &[("name", "a"), ("blueprint_id", blueprint)]).await.is(status);
    }
}

#[tokio::test]
async fn each_operation_answers_202_with_its_job_and_a_form_302_to_it() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    for verb in ["initialize", "start", "stop", "restart"] {
        let id = server(&user, verb, plan).await;
        let job = user.json("POST", &format!("/servers/{id}/{verb}"), json!({})).await.is(202).json();
        assert_eq!((&job["operation"], &job["server_id"], &job["state"]), (&json!(verb), &json!(id), &json!("queued")));
        for key in ["id", "user_id", "exit_code", "created_at", "started_at", "finished_at"] {
            assert!(job.get(key).is_some(), "{key}: {job}");
        }
        let got = user.form(&format!("/servers/{id}/{verb}"), &[]).await.is(302);
        assert_eq!(got.header("location"), format!("/jobs/{}", job["id"]));
        let wanted = if matches!(verb, "start" | "restart") { "running" } else { "stopped" };
        let server = user.get_json(&format!("/servers/{id}")).await.json();
        assert_eq!(server["desired_state"], wanted, "set when the job is enqueued");
        // Cancelling restores it.
        user.form(&format!("/jobs/{}/cancel", job["id"]), &[]).await.is(302);
        let server = user.get_json(&format!("/servers/{id}")).await.json();
        assert_eq!((&server["desired_state"], &server["drift"]), (&json!("stopped"), &json!(false)), "{verb}");
    }
    let id = server(&user, "goes", plan).await;
    let got = user.form(&format!("/servers/{id}/delete"), &[("confirm", "goes")]).await.is(302);
    assert!(got.header("location").starts_with("/jobs/"));
}

#[tokio::test]
async fn jobs_are_their_askers_and_the_admins_to_see_and_to_cancel() {
    let site = Site::start().await;
    let (user, other, admin) = (site.user("user").await, site.user("other").await, site.admin().await);
    let id = server(&user, "a", blueprint(&user, "plan").await).await;
    let job = user.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].clone();
    let path = format!("/jobs/{job}");
    for (client, status) in [(&user, 200), (&admin, 200), (&other, 403)] {
        client.get_json(&path).await.is(status);
        client.get(&path).await.is(status);
        let listed = client.get_json("/jobs").await.is(200).json()["items"].as_array().unwrap().len();
        assert_eq!(listed, usize::from(status == 200));
    }
    other.json("POST", &format!("{path}/cancel"), json!({})).await.is(403);
    other.form(&format!("{path}/cancel"), &[]).await.is(403);
    // What an admin asks of a user's server, its owner sees.
    let asked = admin.json("POST", &format!("/servers/{id}/stop"), json!({})).await.is(202).json()["id"].clone();
    user.get_json(&format!("/jobs/{asked}")).await.is(200);
    admin.json("POST", &format!("{path}/cancel"), json!({})).await.is(200);
    admin.json("POST", &format!("{path}/cancel"), json!({})).await.is(409);
}

#[tokio::test]
async fn a_batch_is_made_by_a_form_too_and_a_refused_one_keeps_what_was_typed() {
    let site = Site::start_with(|_, rules| rules.max_servers_per_user = 3).await;
    let (user, admin) = (site.user("user").await, site.admin().await);
    let plan = blueprint(&user, "plan").await.to_string();
    assert!(user.get("/servers/new").await.is(200).body.contains(r#"href="/servers/batch""#));
    let page = user.get("/servers/batch").await.is(200).body;
    assert!(page.contains("name=\"name_prefix\"") && !page.contains("reservation_id"), "{page}");
    let fields = |count: &'static str| [("count", count), ("name_prefix", "night"), ("blueprint_id", plan.as_str())];
    for (count, status, part) in
        [("x", 400, "field-count-error"), ("0", 400, "field-count-error"), ("4", 409, "you have")]
    {
        let got = user.form("/servers/batch", &fields(count)).await.is(status);
        assert!(got.body.contains(part) && got.body.contains(r#"value="night""#), "{count}: {}", got.body);
    }
    assert_eq!(user.get_json("/servers").await.json()["items"], json!([]), "all or none");
    assert_eq!(user.form("/servers/batch", &fields("3")).await.is(302).header("location"), "/servers");
    let items = user.get_json("/servers").await.json()["items"].clone();
    let names: Vec<&str> = items.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["night 1", "night 2", "night 3"]);
    // An admin's batch takes a reservation.
    let body = json!({ "count": 2, "label": "party" });
    let reservation = admin.json("POST", "/ports/reservations", body).await.is(201).json();
    let page = admin.get("/servers/batch").await.is(200).body;
    assert!(page.contains("party (2 ports)"), "{page}");
    let plan = blueprint(&admin, "plan").await.to_string();
    let reserved = reservation["id"].to_string();
    let fields = [("count", "1"), ("name_prefix", "p"), ("blueprint_id", &plan), ("reservation_id", &reserved)];
    admin.form("/servers/batch", &fields).await.is(302);
    let items = admin.get_json("/servers").await.json()["items"].clone();
    let made = items.as_array().unwrap().iter().find(|item| item["name"] == "p 1").unwrap();
    assert_eq!(made["port"], reservation["ports"][0]);
    assert_eq!(admin.get_json("/ports/reservations").await.json()["items"], json!([]), "what is left is released");
}

#[tokio::test]
async fn the_quota_is_409_for_a_form_too_and_an_admin_changes_it_at_run_time() {
    let site = Site::start().await;
    let (user, admin) = (site.user("user").await, site.admin().await);
    admin.json("POST", "/admin/settings", json!({ "max_servers_per_user": 1 })).await.is(200);
    let plan = blueprint(&user, "plan").await;
    server(&user, "a", plan).await;
    let got = user.form("/servers", &[("name", "kept"), ("blueprint_id", &plan.to_string())]).await.is(409);
    assert!(got.body.contains("you have 1 servers") && got.body.contains(r#"value="kept""#), "{}", got.body);
    for bad in ["x", "-1", "4294967296"] {
        let got = admin.form("/admin/settings", &[("signup", "open"), ("max_servers_per_user", bad)]).await.is(400);
        assert!(
            got.body.contains("field-max_servers_per_user-error") && got.body.contains(&format!("value=\"{bad}\""))
        );
    }
    admin.form("/admin/settings", &[("signup", "open"), ("max_servers_per_user", "2")]).await.is(302);
    server(&user, "b", plan).await;
}

#[tokio::test]
async fn a_server_moves_to_another_blueprint_of_its_owner_only() {
    let site = Site::start().await;
    let (user, other) = (site.user("user").await, site.user("other").await);
    let (one, two) = (blueprint(&user, "one").await, blueprint(&user, "two").await);
    let foreign = blueprint(&other, "foreign").await;
    let path = format!("/servers/{}", server(&user, "a", one).await);
    for id in [foreign, 999] {
        let got = user.json("PATCH", &path, json!({ "blueprint_id": id })).await.is(404).json();
        assert_eq!(got["error"], "blueprint not found");
        let got = user.form(&path, &[("blueprint_id", &id.to_string())]).await.is(404);
        assert!(got.body.contains("blueprint not found"));
    }
    user.form(&path, &[("blueprint_id", &two.to_string())]).await.is(302);
    let got = user.get_json(&path).await.json();
    assert_eq!((&got["blueprint_id"], &got["blueprint_name"], &got["name"]), (&json!(two), &json!("two"), &json!("a")));
    user.json("DELETE", &format!("/blueprints/{one}"), json!({})).await.is(204);
    user.json("DELETE", &format!("/blueprints/{two}"), json!({})).await.is(409);
}

#[tokio::test]
async fn the_dashboard_shows_each_server_with_state_drift_port_players_and_last_job() {
    let site = Site::start().await;
    let user = site.user("user").await;
    assert_eq!(user.get("/").await.is(302).header("location"), "/dashboard");
    let id = server(&user, "My Practice", blueprint(&user, "plan").await).await;
    let job = user.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].clone();
    let item = user.get_json("/dashboard").await.is(200).json()["items"][0].clone();
    assert_eq!(
        (&item["display_state"], &item["drift"], &item["port"]),
        (&json!("starting"), &json!(false), &json!(42015))
    );
    assert_eq!(item["last_job"]["id"], job);
    let page = user.get("/dashboard").await.is(200).body;
    for part in ["My Practice", "starting", ":42015", "Players", &format!("/jobs/{job}")] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

// ---- Ports, users, audit ---------------------------------------------------------------------------------------------

#[tokio::test]
async fn reservations_are_listed_and_released_by_form_and_unknown_ones_are_404() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let id = made(&admin, "/ports/reservations", json!({ "count": 2, "label": "party" })).await;
    let list = admin.get_json("/ports/reservations").await.is(200).json();
    assert_eq!((&list["items"][0]["label"], &list["items"][0]["ports"]), (&json!("party"), &json!([42015, 42016])));
    assert!(admin.get("/ports").await.is(200).body.contains("party"));
    admin.form(&format!("/ports/reservations/{id}/delete"), &[]).await.is(302);
    admin.form(&format!("/ports/reservations/{id}/delete"), &[]).await.is(404);
    admin.json("DELETE", "/ports/reservations/999", json!({})).await.is(404);
    for (body, field) in [
        (json!({ "label": "x" }), "count"),
        (json!({ "count": 0, "label": "x" }), "count"),
        (json!({ "count": 1 }), "label"),
        (json!({ "count": 1, "label": " " }), "label"),
        (json!({ "count": 1, "label": "x", "expires_at": "soon" }), "expires_at"),
        (json!({ "count": 1, "label": "x", "expires_at": "2001-01-01T00:00:00Z" }), "expires_at"),
    ] {
        assert_eq!(
            admin.json("POST", "/ports/reservations", body.clone()).await.is(400).json()["field"],
            field,
            "{body}"
        );
    }
    let got = admin.json("POST", "/ports/reservations", json!({ "count": 21, "label": "x" })).await.is(409);
    assert!(got.json()["error"].as_str().unwrap().contains("42015-42034"), "{}", got.body);
}

#[tokio::test]
async fn every_change_is_in_the_audit_log_which_is_filtered_and_outlives_its_users() {
    let site = Site::start().await;
    let (admin, user) = (site.admin().await, site.user("Alice").await);
    let plan = blueprint(&user, "night plan").await;
    user.json("PATCH", &format!("/blueprints/{plan}"), json!({ "config": ["a 1"] })).await.is(200);
    user.json("DELETE", &format!("/blueprints/{plan}"), json!({})).await.is(204);
    let id = user.get_json("/account").await.json()["id"].clone();
    admin.json("DELETE", &format!("/admin/users/{id}"), json!({})).await.is(204);
    let actions = async |query: &str| {
        let got = admin.get_json(&format!("/admin/audit?{query}")).await.is(200).json();
        got["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["action"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        actions("actor=aLICE&action=blueprint").await,
        ["blueprint.delete", "blueprint.update", "blueprint.create"]
    );
    assert_eq!(actions("actor=Alice&action=blueprint.up").await, ["blueprint.update"]);
    assert_eq!(actions("object=NIGHT+plan&action=blueprint.create").await, ["blueprint.create"]);
    assert_eq!(actions("actor=Ali").await, Vec::<String>::new(), "a name is compared whole");
    assert_eq!(actions("object=Alice&action=user.delete").await, ["user.delete"]);
    let entry = admin.get_json("/admin/audit?action=blueprint.create").await.json()["items"][0].clone();
    assert_eq!((&entry["actor"], &entry["address"]), (&json!("Alice"), &json!("127.0.0.1")));
    // As a page: the filter stays in its fields and in the link to more.
    let page = admin.get("/admin/audit?actor=Alice&action=blueprint&limit=1").await.is(200).body;
    assert!(
        page.contains(r#"value="Alice""#) && page.contains("blueprint.delete") && !page.contains("blueprint.create")
    );
    let next = page.split("rel=\"next\"").next().unwrap().rsplit("href=\"").next().unwrap();
    assert!(next.starts_with("/admin/audit?actor=Alice&amp;action=blueprint&amp;object=&amp;cursor="), "{next}");
    for method in ["POST", "PATCH", "DELETE"] {
        admin.json(method, "/admin/audit", json!({})).await.is(405);
    }
}

#[tokio::test]
async fn hostile_text_is_inert_in_the_audit_log_in_errors_and_in_links() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let hostile = r#""><script>alert(1)</script>"#;
    let query: String = form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
    for path in [
        "/admin/audit?actor=",
        "/admin/audit?object=",
        "/jobs?state=",
        "/jobs?server_id=",
        "/login?next=",
        "/ports?x=",
        "/servers?cursor=",
        "/servers/new?name=",
        "/servers/batch?name_prefix=",
        "/",
    ] {
        let got = admin.get(&format!("{path}{query}")).await;
        assert!(!got.body.contains("<script>alert"), "{path}: {}", got.body);
    }
    for (path, field) in [
        ("/admin/overlays", "path"),
        ("/admin/overlays", "name"),
        ("/blueprints", "arguments"),
        ("/blueprints", "config"),
        ("/blueprints", "overlay_ids"),
        ("/servers", "port"),
        ("/servers", "blueprint_id"),
        ("/ports/reservations", "count"),
        ("/account/tokens", "scope"),
        ("/account/tokens", "expires_at"),
        ("/admin/settings", "signup"),
        ("/servers/batch", "count"),
    ] {
        let got = admin.form(path, &[(field, hostile), ("label", hostile)]).await;
        assert!(!got.body.contains("<script>alert"), "{path} {field}: {}", got.body);
    }
}

// ---- Limits ----------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn one_user_has_so_many_streams_and_another_still_gets_theirs() {
    let site = Site::start_with(|settings, _| settings.limits.streams_per_user = 3).await;
    let (one, two) = (site.user("one").await, site.user("two").await);
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(one.stream("/events", &[]).await);
    }
    let id = server(&one, "a", blueprint(&one, "plan").await).await;
    let job = one.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].clone();
    for path in ["/events".to_owned(), format!("/servers/{id}/logs/stream"), format!("/jobs/{job}/stream")] {
        let got = one.send("GET", &path, &[("accept", "text/event-stream")], "").await.is(429);
        assert_eq!(got.header("retry-after"), "10");
        assert!(got.json()["error"].as_str().unwrap().starts_with("3 streams"), "{}", got.body);
    }
    let _theirs = two.stream("/events", &[]).await;
    // A place is free again as soon as its stream has ended.
    open.pop();
    let deadline = tokio::time::Instant::now() + crate::harness::DEADLINE;
    while one.open("GET", "/events", &[], "").await.status() != 200 {
        assert!(tokio::time::Instant::now() < deadline, "its place was never free");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_streams_whoever_signs_in_there() {
    let site = Site::start_with(|settings, _| {
        settings.limits.streams_per_address = 2;
        settings.trusted_proxies.push("127.0.0.0/8".parse().unwrap());
    })
    .await;
    let (one, two) = (site.user("one").await, site.user("two").await);
    let from = |address: &'static str| [("x-forwarded-for", address)];
    let _first = one.stream("/events", &from("203.0.113.7")).await;
    let _second = two.stream("/events", &from("203.0.113.7")).await;
    for client in [&one, &two] {
        let headers = [("accept", "text/event-stream"), ("x-forwarded-for", "203.0.113.7")];
        client.send("GET", "/events", &headers, "").await.is(429);
        client.stream("/events", &from("203.0.113.8")).await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_connections_and_a_trusted_proxy_has_no_such_limit() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for trusted in [false, true] {
        let site = Site::start_with(|settings, _| {
            settings.limits.connections_per_address = 3;
            if trusted {
                settings.trusted_proxies.push("127.0.0.1".parse().unwrap());
            }
        })
        .await;
        let ask = async || {
            let mut stream = tokio::net::TcpStream::connect(site.address).await.unwrap();
            // One that is turned away may be closed before it has asked.
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
            let mut answer = vec![0; 12];
            let answered = stream.read_exact(&mut answer).await.is_ok();
            (stream, answered && answer == b"HTTP/1.1 200")
        };
        let mut held = Vec::new();
        for _ in 0..3 {
            let (stream, answered) = ask().await;
            assert!(answered);
            held.push(stream);
        }
        assert_eq!(ask().await.1, trusted);
        drop(held);
        let deadline = tokio::time::Instant::now() + crate::harness::DEADLINE;
        while !ask().await.1 {
            assert!(tokio::time::Instant::now() < deadline, "places were never free again");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

// ---- Lists, and what a game wrote ------------------------------------------------------------------------------------

#[tokio::test]
async fn every_list_is_given_in_parts_as_long_as_asked_for() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let plan = blueprint(&admin, "plan").await;
    for number in 0..3 {
        server(&admin, &format!("s{number}"), plan).await;
        made(&admin, "/account/tokens", json!({ "label": "x", "scope": "read" })).await;
        made(&admin, "/ports/reservations", json!({ "count": 1, "label": format!("r{number}") })).await;
        made(&admin, "/admin/overlays", json!({ "name": format!("o{number}") })).await;
        let credentials = json!({ "username": format!("u{number}"), "password": PASSWORD });
        site.guest().json("POST", "/signup", credentials).await.is(201);
        admin.json("POST", &format!("/servers/{}/start", number + 1), json!({})).await.is(202);
        blueprint(&admin, &format!("b{number}")).await;
    }
    for path in [
        "/servers",
        "/dashboard",
        "/blueprints",
        "/jobs",
        "/ports",
        "/ports/reservations",
        "/admin/overlays",
        "/admin/users",
        "/admin/audit",
        "/account/tokens",
    ] {
        let whole = admin.get_json(path).await.is(200).json();
        assert_eq!(whole["next"], Value::Null, "{path}");
        let mut pieces = Vec::new();
        let mut next = format!("{path}?limit=2");
        loop {
            let got = admin.get_json(&next).await.is(200).json();
            let items = got["items"].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{path}: {got}");
            pieces.extend(items.clone());
            let Some(cursor) = got["next"].as_str() else { break };
            next = format!("{path}?limit=2&cursor={cursor}");
        }
        assert!(pieces.len() >= 3, "{path}");
        assert_eq!(json!(pieces), whole["items"], "{path}");
        for limit in ["0", "501", "x"] {
            let got = admin.get_json(&format!("{path}?limit={limit}")).await.is(400).json();
            assert_eq!(got["field"], "limit", "{path}");
        }
        assert_eq!(admin.get_json(&format!("{path}?cursor=-")).await.is(400).json()["field"], "cursor", "{path}");
    }
}

#[tokio::test]
async fn what_a_game_wrote_is_shown_to_its_owner_and_thrown_away_once_it_has_ended() {
    let site = Site::start().await;
    let (user, other) = (site.user("user").await, site.user("other").await);
    let id = server(&user, "My Practice", blueprint(&user, "plan").await).await;
    let (path, reset) = (format!("/servers/{id}/files"), format!("/servers/{id}/reset-layer"));
    let nothing = json!({ "items": [], "next": null, "left_out": false });
    assert_eq!(user.get_json(&path).await.is(200).json(), nothing);
    let upper = site.folder.path().join(format!("instances/{id}/upper"));
    let write = || {
        std::fs::create_dir_all(upper.join("left4dead2/logs")).unwrap();
        std::fs::write(upper.join("left4dead2/logs/<b>.log"), "four").unwrap();
    };
    write();
    let got = user.get_json(&format!("{path}?path=left4dead2/logs")).await.is(200).json();
    assert_eq!(got["items"], json!([{ "name": "<b>.log", "kind": "file", "bytes": 4, "hides": null }]));
    let page = user.get(&format!("{path}?path=left4dead2/logs")).await.is(200).body;
    assert!(page.contains("&lt;b&gt;.log") && !page.contains("<b>.log"), "{page}");
    // Hidden by the game, and more than one look reads.
    let many = upper.join("left4dead2/many");
    std::fs::create_dir(&many).unwrap();
    for number in 0..5001 {
        std::fs::write(many.join(number.to_string()), "").unwrap();
    }
    std::fs::set_permissions(&many, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
    let got = user.get_json(&format!("{path}?path=left4dead2/many")).await.is(200).json();
    assert_eq!((got["items"].as_array().unwrap().len(), &got["left_out"]), (5000, &json!(true)));
    let page = user.get(&format!("{path}?path=left4dead2/many")).await.is(200).body;
    assert!(page.contains("There are more than these 5000"), "{page}");
    for bad in ["..", "left4dead2/../../..", "nothing"] {
        user.get_json(&format!("{path}?path={bad}")).await.is(404);
    }
    for (client, status) in [(&other, 403), (&site.admin().await, 200)] {
        client.get_json(&path).await.is(status);
    }
    other.json("POST", &reset, json!({})).await.is(403);
    other.form(&reset, &[]).await.is(403);
    user.get_json("/servers/999/files").await.is(404);
    user.json("POST", "/servers/999/reset-layer", json!({})).await.is(404);

    let got = user.form(&reset, &[("confirm", "another")]).await.is(400);
    assert!(got.body.contains("field-confirm-error"), "{}", got.body);
    let job = user.json("POST", &format!("/servers/{id}/start"), json!({})).await.is(202).json()["id"].clone();
    user.json("POST", &reset, json!({})).await.is(409);
    let got = user.form(&reset, &[("confirm", "My Practice")]).await.is(409);
    assert!(got.body.contains("stop it first") && upper.join("left4dead2").exists());
    user.json("POST", &format!("/jobs/{job}/cancel"), json!({})).await.is(200);
    assert_eq!(user.form(&reset, &[("confirm", "My Practice")]).await.is(302).header("location"), path);
    assert_eq!(std::fs::read_dir(&upper).unwrap().count(), 0);
    write();
    user.json("POST", &reset, json!({})).await.is(204);
    assert_eq!(std::fs::read_dir(&upper).unwrap().count(), 0);
    let audit = site.admin().await.get_json("/admin/audit?action=server.reset_layer").await.json();
    assert_eq!(audit["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_form_that_names_a_blueprint_which_is_not_there_comes_back_filled_in() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let plan = blueprint(&user, "plan").await;
    let id = server(&user, "a", plan).await;
    let fields = [("name", "kept"), ("name_prefix", "kept"), ("count", "1"), ("blueprint_id", "999")];
    for path in ["/servers".to_owned(), "/servers/batch".into(), format!("/servers/{id}")] {
        let got = user.form(&path, &fields).await.is(404);
        assert!(
            got.body.contains("field-blueprint_id-error") && got.body.contains(r#"value="kept""#),
            "{path}: {}",
            got.body
        );
    }
    let got = user.form("/servers/999", &fields).await.is(404);
    assert!(got.body.contains("server not found"), "{}", got.body);
}
