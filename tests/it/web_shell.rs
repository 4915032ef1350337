//! The shell around the routes: headers, limits, deadlines, drains, and every refusal that needs no object.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{DEADLINE, Site};
use left4me::web::TABLE;
use left4me::web::server::serve_unix;

#[tokio::test]
async fn health_says_ok_and_needs_no_sender() {
    let site = Site::start().await;
    let got = site.guest().get("/health").await.is(200);
    assert_eq!(got.json(), serde_json::json!({ "status": "ok" }));
}

#[tokio::test]
async fn every_route_answers_everybody_with_the_security_headers_and_never_with_500() {
    let site = Site::start().await;
    let admin = site.admin().await;
    let user = site.user("user").await;
    for (method, pattern) in TABLE {
        let path = pattern.replace('"', "").replace("u64", "7");
        for client in [&site.guest(), &user, &admin] {
            if path == "/logout" || path.ends_with("stream") || path == "/events" {
                continue;
            }
            for body in ["", "{", "{}", "[]", r#"{"name":5,"count":-1,"line":{},"scope":[]}"#] {
                let headers = [("content-type", "application/json"), ("x-csrf-token", client.csrf.as_str())];
                let got = client.send(&method.to_uppercase(), &path, &headers, body).await;
                assert!(got.status.as_u16() < 500, "{method} {path} {body:?}: {} {}", got.status, got.body);
                for (name, part) in [
                    ("content-security-policy", "default-src 'none'"),
                    ("x-content-type-options", "nosniff"),
                    ("referrer-policy", "same-origin"),
                    ("cross-origin-opener-policy", "same-origin"),
                    ("cache-control", "no-store"),
                ] {
                    assert!(got.header(name).contains(part), "{method} {path}: {name} is {:?}", got.header(name));
                }
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_what_is_allowed() {
    let site = Site::start().await;
    let guest = site.guest();
    guest.get("/nothing/here").await.is(404);
    let got = guest.get_json("/nothing/here").await.is(404);
    assert_eq!(got.json(), serde_json::json!({ "error": "page not found" }));
    guest.get_json("/servers/x").await.is(404);
    let got = guest.send("DELETE", "/login", &[], "").await.is(405);
    assert_eq!(got.header("allow"), "GET, HEAD, POST");
    let got = guest.json("PUT", "/servers/4", serde_json::json!({})).await.is(405);
    assert_eq!(got.header("allow"), "DELETE, GET, HEAD, PATCH, POST");
    assert!(got.json()["error"].is_string());
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let site = Site::start().await;
    let got = site.guest().send("HEAD", "/login", &[], "").await.is(200);
    assert_eq!(got.body, "");
    assert!(got.header("content-type").starts_with("text/html"));
    site.guest().send("HEAD", "/nothing", &[], "").await.is(404);
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_with_and_without_a_length() {
    let site = Site::start().await;
    let big = "x".repeat((1 << 20) + 1);
    site.guest().send("POST", "/login", &[("content-type", "application/x-www-form-urlencoded")], &big).await.is(413);
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream
        .write_all(
            b"POST /login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n",
        )
        .await
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..17 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = read_some(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn another_media_type_is_415() {
    let site = Site::start().await;
    let user = site.user("user").await;
    let headers =
        [("content-type", "text/plain"), ("accept", "application/json"), ("x-csrf-token", user.csrf.as_str())];
    user.send("POST", "/servers", &headers, "name=x").await.is(415);
}

#[tokio::test]
async fn assets_are_kept_for_ever_and_known_again() {
    let site = Site::start().await;
    let guest = site.guest();
    let page = guest.get("/login").await.is(200).body;
    let links: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(links.len() >= 8, "{links:?}");
    for link in links {
        let got = guest.get(link).await.is(200);
        assert_eq!(got.header("cache-control"), "public, max-age=31536000, immutable", "{link}");
        let etag = got.header("etag").to_owned();
        let again = guest.send("GET", link, &[("if-none-match", &etag)], "").await.is(304);
        assert_eq!(again.body, "");
        for coding in ["br", "gzip"] {
            let packed = guest.send("GET", link, &[("accept-encoding", coding)], "").await.is(200);
            assert_eq!(
                (packed.header("content-encoding"), packed.header("vary")),
                (coding, "accept-encoding"),
                "{link}"
            );
            assert_ne!(packed.header("etag"), etag, "another form has another tag");
        }
    }
    guest.get("/assets/vendor/htmx.LICENSE").await.is(404);
    guest.get("/assets/../Cargo.toml").await.is(404);
}

#[tokio::test]
async fn a_page_holds_no_inline_script_and_no_inline_style() {
    let site = Site::start().await;
    let admin = site.admin().await;
    for path in ["/login", "/signup", "/dashboard", "/servers/new", "/blueprints/new", "/admin/overlays", "/account"] {
        let page = admin.get(path).await.body;
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("onclick"), "{path}");
        for script in page.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{path}: {script:.40}");
        }
    }
}

#[tokio::test]
async fn a_half_sent_header_is_closed_by_its_deadline() {
    let site = Site::start_with(|settings, _| settings.limits.header_time = Duration::from_millis(200)).await;
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhos").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await.expect("it stayed open").unwrap();
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let site = Site::start().await;
    let many: String = "x: 1\r\n".repeat(100);
    let large = format!("x: {}\r\n", "y".repeat(64 * 1024));
    for headers in [many, large] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        // The server may answer and close before all is written.
        let _ = stream.write_all(format!("GET /health HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await;
        let answer = read_some(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn at_the_cap_a_connection_waits_until_another_ends() {
    let site = Site::start_with(|settings, _| settings.limits.connections = 2).await;
    let mut first = TcpStream::connect(site.address).await.unwrap();
    first.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_some(&mut first).await.starts_with("HTTP/1.1 200"));
    let mut second = TcpStream::connect(site.address).await.unwrap();
    second.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_some(&mut second).await.starts_with("HTTP/1.1 200"));
    let mut third = TcpStream::connect(site.address).await.unwrap();
    third.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(300), third.read(&mut byte)).await.is_err(), "it was served");
    drop(first);
    assert!(read_some(&mut third).await.contains("200 OK"));
}

#[tokio::test]
async fn a_stop_ends_streams_and_idle_connections_and_leaves_nothing() {
    let mut site = Site::start().await;
    let user = site.user("user").await;
    let mut events = user.stream("/events", &[]).await;
    let _idle = TcpStream::connect(site.address).await.unwrap();
    site.stop.send_replace(true);
    assert_eq!(events.next().await, None);
    let server = site.server.take().unwrap();
    tokio::time::timeout(DEADLINE, server).await.expect("the drain has no end").unwrap();
    assert!(TcpStream::connect(site.address).await.is_err());
}

#[tokio::test]
async fn the_control_socket_acts_as_the_box_and_its_paths_do_not_exist_over_tcp() {
    let site = Site::start().await;
    let admin = site.admin().await;
    for path in ["/control/backup", "/control/reset-admin", "/control/promote-admin"] {
        let method = if path.ends_with("backup") { "GET" } else { "POST" };
        admin.json(method, path, serde_json::json!({ "username": "admin" })).await.is(404);
    }
    let socket = site.folder.path().join("control.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&socket).unwrap());
    tokio::spawn(serve_unix(site.web.clone(), listener, uid, site.stop.subscribe()));
    let ask = async |head: &str, body: &str| {
        let mut stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
        let request = format!(
            "{head} HTTP/1.0\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = ask("POST /control/reset-admin", r#"{"username":"rescue"}"#).await;
    assert!(
        answer.contains("200 OK") && answer.contains(r#""username":"rescue""#) && answer.contains("password"),
        "{answer}"
    );
    assert!(ask("POST /control/promote-admin", r#"{"username":"nobody"}"#).await.contains("404 Not Found"));
    assert!(ask("GET /servers", "").await.contains(r#""items":[]"#));
    let copy = ask("GET /control/backup", "").await;
    assert!(copy.contains("200 OK") && copy.contains("redb"), "no copy of the store came");
    let left: Vec<_> = std::fs::read_dir(site.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
}

/// The beginning of an answer; empty when the connection ends first.
async fn read_some(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 4096];
    match tokio::time::timeout(DEADLINE, stream.read(&mut buffer)).await.expect("no answer") {
        Ok(read) => String::from_utf8_lossy(&buffer[..read]).into_owned(),
        Err(_) => String::new(),
    }
}
