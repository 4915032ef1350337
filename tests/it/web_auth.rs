//! Signing up, in and out; form tokens; API tokens: contract §3 and §9, as forms and as JSON.

use serde_json::json;

use crate::harness::{Client, PASSWORD, Site};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn cookie(header: &str) -> String {
    header.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn who_signs_up_by_form_is_signed_in_and_may_sign_out_and_in_again() {
    let site = Site::start().await;
    let guest = site.guest();
    let body = "username=alice&password=correct+horse+battery+staple";
    let got = guest.send("POST", "/signup", &[FORM], body).await.is(302);
    assert_eq!(got.header("location"), "/dashboard");
    assert!(got.header("set-cookie").ends_with("; HttpOnly; SameSite=Lax"), "{}", got.header("set-cookie"));
    let session = cookie(got.header("set-cookie"));
    let alice = guest.with_session(session.strip_prefix("left4me=").unwrap());
    let page = alice.get("/dashboard").await.is(200).body;
    assert!(page.contains("alice"));
    assert!(page.contains(&format!(r#"<meta name="csrf-token" content="{}">"#, alice.csrf)));
    alice.form("/logout", &[]).await.is(302);
    alice.get("/dashboard").await.is(302);
    let got = guest.send("POST", "/login", &[FORM], &format!("{body}&next=/jobs")).await.is(302);
    assert_eq!(got.header("location"), "/jobs");
}

#[tokio::test]
async fn signing_up_and_in_by_json_gives_the_user_and_the_form_token() {
    let site = Site::start().await;
    let credentials = json!({ "username": "alice", "password": PASSWORD });
    let got = site.guest().json("POST", "/signup", credentials.clone()).await.is(201);
    assert_eq!(got.json()["username"], "alice");
    assert_eq!(got.json()["admin"], false);
    let got = site.guest().json("POST", "/login", credentials).await.is(200);
    let session = cookie(got.header("set-cookie"));
    let alice = site.guest().with_session(session.strip_prefix("left4me=").unwrap());
    assert_eq!(got.json()["csrf_token"], alice.csrf);
    alice.get_json("/account").await.is(200);
}

#[tokio::test]
async fn a_wrong_password_is_401_and_the_form_keeps_the_name() {
    let site = Site::start().await;
    site.user("alice").await;
    let got = site.guest().send("POST", "/login", &[FORM], "username=alice&password=wrong").await.is(401);
    assert!(got.body.contains(r#"value="alice""#));
    assert!(!got.body.contains("wrong\""));
    site.guest().json("POST", "/login", json!({ "username": "alice", "password": "wrong" })).await.is(401);
    site.guest().json("POST", "/login", json!({ "username": "nobody", "password": "wrong" })).await.is(401);
}

#[tokio::test]
async fn a_missing_or_mistyped_field_is_400_and_named() {
    let site = Site::start().await;
    let got = site.guest().json("POST", "/login", json!({ "username": "a" })).await.is(400);
    assert_eq!(got.json()["field"], "password");
    let got = site.guest().json("POST", "/login", json!({ "username": 5, "password": "x" })).await.is(400);
    assert_eq!(got.json()["field"], "username");
    let got = site.guest().send("POST", "/login", &[("content-type", "application/json")], "{nonsense").await.is(400);
    assert!(got.json()["error"].as_str().unwrap().contains("not JSON"));
    site.guest().send("POST", "/signup", &[FORM], "username=&password=x").await.is(400);
}

#[tokio::test]
async fn a_weak_or_short_password_is_400_and_says_why_beside_the_field() {
    let site = Site::start().await;
    for weak in ["short", "password", "12345678"] {
        let got = site.guest().json("POST", "/signup", json!({ "username": "a", "password": weak })).await.is(400);
        assert_eq!(got.json()["field"], "password", "{weak}");
    }
    let got = site.guest().send("POST", "/signup", &[FORM], "username=bob&password=short").await.is(400);
    assert!(got.body.contains(r#"id="field-password-error""#), "{}", got.body);
    assert!(got.body.contains(r#"value="bob""#));
}

#[tokio::test]
async fn a_username_is_unique_whatever_its_case() {
    let site = Site::start().await;
    site.user("Alice").await;
    let got = site.guest().json("POST", "/signup", json!({ "username": "aLICE", "password": PASSWORD })).await.is(409);
    assert!(got.json()["error"].as_str().unwrap().contains("already in use"));
}

#[tokio::test]
async fn closed_signup_is_403_for_page_form_and_json() {
    let site = Site::start_with(|_, rules| rules.signup_open = false).await;
    site.guest().get("/signup").await.is(403);
    site.guest().send("POST", "/signup", &[FORM], "username=a&password=b").await.is(403);
    site.guest().json("POST", "/signup", json!({ "username": "a", "password": PASSWORD })).await.is(403);
}

#[tokio::test]
async fn the_twenty_first_attempt_is_429_even_with_the_right_password() {
    let site = Site::start().await;
    site.user("alice").await;
    for _ in 0..20 {
        site.guest().json("POST", "/login", json!({ "username": "alice", "password": "wrong" })).await.is(401);
    }
    let got = site.guest().json("POST", "/login", json!({ "username": "alice", "password": PASSWORD })).await.is(429);
    assert!(got.header("retry-after").parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn forwarded_addresses_count_only_from_trusted_proxies() {
    for (trusted, expected) in [(true, 401), (false, 429)] {
        let site = Site::start_with(|settings, _| {
            if trusted {
                settings.trusted_proxies.push("127.0.0.0/8".parse().unwrap());
            }
        })
        .await;
        // Twenty failures from one address for different names, then one from another.
        for number in 0..20 {
            let body = format!("username=u{number}&password=wrong");
            site.guest().send("POST", "/login", &[FORM, ("x-forwarded-for", "203.0.113.7")], &body).await.is(401);
        }
        let headers = [FORM, ("x-forwarded-for", "203.0.113.8")];
        site.guest().send("POST", "/login", &headers, "username=x&password=wrong").await.is(expected);
    }
}

#[tokio::test]
async fn login_and_signup_refuse_other_sites_and_take_their_own() {
    let site = Site::start().await;
    let body = "username=alice&password=correct+horse+battery+staple";
    for (name, value) in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        for path in ["/signup", "/login"] {
            site.guest().send("POST", path, &[FORM, (name, value)], body).await.is(400);
        }
    }
    let own = format!("http://{}", site.address);
    site.guest()
        .send("POST", "/signup", &[FORM, ("origin", &own), ("sec-fetch-site", "same-origin")], body)
        .await
        .is(302);
}

#[tokio::test]
async fn a_form_without_its_token_is_400_signed_in_or_not() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let other = site.user("other").await;
    for client in
        [site.guest(), Client { csrf: String::new(), ..user.clone() }, Client { csrf: other.csrf, ..user.clone() }]
    {
        for path in ["/servers", "/blueprints", "/logout", "/account/password", "/servers/1/start", "/admin/install"] {
            client.form(path, &[("name", "x")]).await.is(400);
        }
    }
    let got = Client { csrf: "0".into(), ..user }.json("POST", "/blueprints", json!({ "name": "x" })).await.is(400);
    assert!(got.json()["error"].is_string());
}

#[tokio::test]
async fn json_without_session_is_401_and_a_page_leads_to_login_and_back() {
    let site = Site::start().await;
    let guest = site.guest();
    guest.get_json("/servers").await.is(401);
    let got = guest.json("POST", "/servers", json!({})).await.is(401);
    assert!(got.header("www-authenticate").starts_with("Bearer"));
    let got = guest.get("/servers?limit=5").await.is(302);
    assert_eq!(got.header("location"), "/login?next=%2Fservers%3Flimit%3D5");
    let page = guest.get("/login?next=https%3A%2F%2Fevil.example").await.is(200).body;
    assert!(page.contains(r#"name="next" value="/dashboard""#), "{page}");
    guest.get("/").await.is(302);
}

#[tokio::test]
async fn the_session_cookie_is_secure_behind_tls_and_has_the_host_prefix() {
    let site = Site::start_with(|settings, _| settings.public_url = Some("https://box.example".into())).await;
    let credentials = json!({ "username": "alice", "password": PASSWORD });
    let got = site.guest().json("POST", "/signup", credentials).await.is(201);
    let cookie = got.header("set-cookie");
    assert!(cookie.starts_with("__Host-left4me=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(got.header("strict-transport-security"), "max-age=31536000");
}

#[tokio::test]
async fn without_users_the_page_says_how_to_make_the_admin() {
    let site = Site::start().await;
    assert!(site.guest().get("/login").await.is(200).body.contains("left4me --reset-admin"));
    site.user("first").await;
    assert!(!site.guest().get("/login").await.is(200).body.contains("--reset-admin"));
    site.user("second").await.get("/admin/users").await.is(403);
}

#[tokio::test]
async fn a_token_is_shown_once_and_may_do_what_its_scope_says() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let make = |scope: &'static str| {
        let user = user.clone();
        async move {
            let got = user.json("POST", "/account/tokens", json!({ "label": scope, "scope": scope })).await.is(201);
            (got.json()["token"].as_str().unwrap().to_owned(), got.json()["id"].as_u64().unwrap())
        }
    };
    let (read, id) = make("read").await;
    let (operate, _) = make("operate").await;
    let reader = site.guest().with_bearer(&read);
    // A bearer is answered in JSON whatever it accepts.
    assert!(reader.get("/servers").await.is(200).json()["items"].is_array());
    reader.json("POST", "/blueprints", json!({ "name": "x" })).await.is(403);
    site.guest().with_bearer(&operate).json("POST", "/blueprints", json!({ "name": "x" })).await.is(201);
    let list = user.get_json("/account/tokens").await.is(200).body;
    assert!(!list.contains(&read) && !list.contains("digest"));
    user.json("DELETE", &format!("/account/tokens/{id}"), json!({})).await.is(204);
    reader.get("/servers").await.is(401);
    site.guest().with_bearer("nonsense").get("/dashboard").await.is(401);
    let got = user.form("/account/tokens", &[("label", "x"), ("scope", "all")]).await.is(400);
    assert!(got.body.contains(r#"id="field-scope-error""#));
}

#[tokio::test]
async fn an_admins_narrow_token_is_no_admin() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let got = admin.json("POST", "/account/tokens", json!({ "label": "x", "scope": "operate" })).await.is(201);
    let narrow = site.guest().with_bearer(got.json()["token"].as_str().unwrap());
    narrow.get("/admin/users").await.is(403);
    narrow.json("POST", "/account/tokens", json!({ "label": "y", "scope": "admin" })).await.is(403);
    let got = admin.json("POST", "/account/tokens", json!({ "label": "x", "scope": "admin" })).await.is(201);
    site.guest().with_bearer(got.json()["token"].as_str().unwrap()).get("/admin/users").await.is(200);
}

#[tokio::test]
async fn a_password_change_ends_all_other_sessions() {
    let site = Site::start().await;
    let one = site.user("user").await;
    let got = site.guest().json("POST", "/login", json!({ "username": "user", "password": PASSWORD })).await.is(200);
    let two = site.guest().with_session(cookie(got.header("set-cookie")).strip_prefix("left4me=").unwrap());
    let mut events = two.stream("/events", &[]).await;
    let got = one.form("/account/password", &[("current", "wrong"), ("password", "another fine long phrase")]).await;
    assert!(got.is(401).body.contains(r#"id="field-current-error""#));
    one.form("/account/password", &[("current", PASSWORD), ("password", "another fine long phrase")]).await.is(302);
    one.get("/dashboard").await.is(200);
    two.get("/dashboard").await.is(302);
    assert_eq!(events.next().await, None, "an open stream ends with its session");
}

#[tokio::test]
async fn metrics_are_hidden_unless_switched_on_or_asked_for_by_an_admin() {
    let site = Site::start().await;
    site.guest().get("/metrics").await.is(404);
    site.user("user").await.get("/metrics").await.is(404);
    let text = site.admin().await.get("/metrics").await.is(200).body;
    assert!(text.contains("left4me_http_answers_total{status=\"4xx\"} 2") && text.ends_with("# EOF\n"), "{text}");
    let open = Site::start_with(|settings, _| settings.metrics = true).await;
    open.guest().get("/metrics").await.is(200);
}

#[tokio::test]
async fn a_piece_of_a_page_whose_session_ended_leads_to_sign_in_and_back_to_that_page() {
    let site = Site::start().await;
    let piece = |url: &'static str| [("hx-request", "true"), ("hx-current-url", url)];
    for (url, login) in [
        ("https://box.example:8443/servers/7?lines=9", "/login?next=%2Fservers%2F7%3Flines%3D9"),
        ("http://box.example", "/login?next=%2Fdashboard"),
        ("nonsense", "/login?next=%2Fdashboard"),
    ] {
        let got = site.guest().send("GET", "/servers/7/panel", &piece(url), "").await.is(401);
        assert_eq!((got.header("hx-redirect"), got.body.as_str()), (login, ""), "{url}");
    }
}
