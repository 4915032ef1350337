//! Every page, as everybody who may see it: axe-core and the Nu checker find nothing in it, and nothing is wider than
//! the window, on a phone and on a desktop, in light and dark.
//!
//! Which pages there are is asked of the route table: a new one fails here until it is named below.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::driver::{Browser, DESKTOP, View};
use crate::support::panel::{Panel, form};
use crate::support::{http, npm, skip};

/// The four ways that each page is looked at.
const VIEWS: [(View, &str); 4] = [
    (View { width: 1440, dark: false }, "desktop-light"),
    (View { width: 1440, dark: true }, "desktop-dark"),
    (View { width: 390, dark: false }, "phone-light"),
    (View { width: 390, dark: true }, "phone-dark"),
];

/// Routes that answer a GET and are no page.
const NO_PAGES: [&str; 16] = [
    "/health",
    "/metrics",
    "/api/openapi.json",
    "/dashboard/cards",
    "/events",
    "/servers/u64/card",
    "/servers/u64/panel",
    "/servers/u64/live",
    "/servers/u64/logs/stream",
    "/jobs/u64/state",
    "/jobs/u64/stream",
    "/control/backup",
    // To another page, for browsers.
    "/admin/builds",
    "/admin/overlays/u64/revisions",
    "/account/tokens",
    "/ports/reservations",
];

/// A page, and how it is come to.
struct Visit {
    name: String,
    path: String,
    /// A form of it that is sent: its action, and what is typed into it.
    sent: Option<(&'static str, Vec<(&'static str, &'static str)>)>,
}

impl Visit {
    fn of(path: &str) -> Self {
        let name = path.trim_matches('/').replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        Self { name, path: path.to_owned(), sent: None }
    }

    fn sending(path: &str, name: &str, action: &'static str, fields: &[(&'static str, &'static str)]) -> Self {
        Self { name: name.to_owned(), path: path.to_owned(), sent: Some((action, fields.to_vec())) }
    }
}

/// A panel with something of everything, and who may look at it.
struct Site {
    panel: Panel,
    /// Cookie of a user with a server of his own.
    owner: String,
    /// Cookie of a user who has nothing yet.
    newcomer: String,
    for_admin: Vec<Visit>,
    for_owner: Vec<Visit>,
    /// A game that no server owns; ended with the test.
    stray: std::process::Child,
}

/// A user with a password of her own; answers cookie and form token.
fn sign_up(panel: &Panel, username: &str) -> (String, String) {
    let password = "correct horse battery staple";
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = form(&[("username", username), ("password", password)]);
    http::send(panel.address, "POST", "/signup", &headers, body.as_bytes()).expect(302);
    panel.log_in(username, password)
}

fn upload(panel: &Panel, overlay: u64) {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for file in ["left4dead2/cfg/Upper.cfg", "left4dead2/maps/first.bsp"] {
        zip.start_file(file, zip::write::SimpleFileOptions::default()).expect("an entry");
        std::io::Write::write_all(&mut zip, b"sv_tags x\n").expect("its content");
    }
    let archive = zip.finish().expect("a zip").into_inner();
    let mut body = format!(
        "--edge\r\ncontent-disposition: form-data; name=\"csrf_token\"\r\n\r\n{}\r\n--edge\r\n\
         content-disposition: form-data; name=\"file\"; filename=\"maps.zip\"\r\n\r\n",
        panel.session.1
    )
    .into_bytes();
    body.extend(archive);
    body.extend(b"\r\n--edge--\r\n");
    let headers = [("cookie", panel.session.0.as_str()), ("content-type", "multipart/form-data; boundary=edge")];
    http::send(panel.address, "POST", &format!("/admin/overlays/{overlay}/files"), &headers, &body).expect(302);
}

/// Fills in what a pattern of the route table leaves open.
fn paths(
    pattern: &str,
    server: u64,
    blueprint: u64,
    overlay: u64,
    job: &Value,
    port: &Value,
    stray: u32,
) -> Vec<Visit> {
    let with = |id: &dyn std::fmt::Display| vec![Visit::of(&pattern.replace("u64", &id.to_string()))];
    match pattern.split('/').nth(1) {
        _ if !pattern.contains("u64") => vec![Visit::of(pattern)],
        Some("servers") => with(&server),
        Some("blueprints") => with(&blueprint),
        Some("jobs") => with(job),
        Some("ports") if pattern.starts_with("/ports/strays") => with(&stray),
        Some("ports") if pattern.starts_with("/ports/reservations") => with(&1),
        Some("ports") => with(port),
        Some("account") if pattern.starts_with("/account/tokens") => with(&1),
        Some("admin") if pattern.starts_with("/admin/users") => with(&2),
        Some("admin") if pattern.starts_with("/admin/overlays") => with(&overlay),
        _ => panic!("{pattern} is a page that this test does not know"),
    }
}

fn furnished() -> Site {
    let panel = Panel::start();
    panel.must("/admin/install");
    let overlay = |name: &str, folder: &str| {
        let body = json!({"name": name, "path": panel.data("overlays").join(folder)});
        panel.admin("POST", "/admin/overlays", &body).expect(201).json()["id"].as_u64().expect("an id")
    };
    panel.overlay_file("competitive", "left4dead2/cfg/rates.cfg", "sv_maxrate 30000\nsv_minrate 30000\n");
    panel.overlay_file("competitive", "left4dead2/motd.txt", "Competitive: no doors, no excuses.\n");
    panel.overlay_file("custom-maps", "left4dead2/cfg/rates.cfg", "sv_maxrate 0\nsv_minrate 20000\n");
    let competitive = overlay("Competitive config", "competitive");
    let maps = overlay("Custom maps", "custom-maps");
    let managed = panel.admin("POST", "/admin/overlays", &json!({"name": "Uploaded"})).expect(201).json()["id"].clone();
    let managed = managed.as_u64().expect("an id");
    upload(&panel, managed);
    let versus = panel.blueprint(
        "Competitive versus",
        &["exec rates.cfg", "rcon_password secret", "sv_tags \"versus,competitive\""],
        &[competitive, maps, managed],
    );
    let server = panel.server("Friday Versus", versus);
    panel.server("A server with quite a long name that somebody typed without thinking about phones", versus);
    panel.must(&format!("/servers/{server}/start"));
    // The game writes something, and the blueprint is not what it started with any more.
    for line in ["echo hello from the console", "writecfg"] {
        panel.admin("POST", &format!("/servers/{server}/console"), &json!({"line": line})).expect(204);
    }
    panel.admin("PATCH", &format!("/blueprints/{versus}"), &json!({"config": ["exec rates.cfg"]})).expect(200);
    // One that cannot start: somebody else has its port.
    let unlucky = panel.server("Unlucky", versus);
    let port = panel.get(&format!("/servers/{unlucky}"))["port"].as_u64().expect("a port") as u16;
    let taken = std::net::UdpSocket::bind(("0.0.0.0", port)).expect("the port");
    let failed = panel.run(&format!("/servers/{unlucky}/start"));
    assert_eq!(failed["state"], "failed", "{failed}");
    drop(taken);
    let expiry = json!({"count": 2, "label": "LAN party", "expires_at": "2099-01-01T00:00:00Z"});
    panel.admin("POST", "/ports/reservations", &expiry).expect(201);

    let (owner, csrf) = sign_up(&panel, "ben");
    let (newcomer, _) = sign_up(&panel, "nora");
    let made = |path: &str, body: Value| {
        panel.json_as(&owner, &csrf, "POST", path, &body).expect(201).json()["id"].as_u64().expect("an id")
    };
    let own = made("/blueprints", json!({"name": "Mine", "arguments": [], "config": [], "overlay_ids": [maps]}));
    let his = made("/servers", json!({"name": "Bens", "blueprint_id": own}));
    let job = panel.json_as(&owner, &csrf, "POST", &format!("/servers/{his}/initialize"), &json!({})).expect(202);
    let job = panel.finished(&job.json())["id"].clone();

    let pages: Vec<String> = left4me::web::TABLE
        .iter()
        .filter(|(method, _)| *method == "get")
        .map(|(_, pattern)| pattern.replace('"', ""))
        .filter(|pattern| !NO_PAGES.contains(&pattern.as_str()) && !matches!(pattern.as_str(), "/login" | "/signup"))
        .collect();
    let port = panel.get(&format!("/servers/{server}"))["port"].clone();
    let his_port = panel.get(&format!("/servers/{his}"))["port"].clone();
    let stray = panel.stray(true, 29_999);
    let own_pages = |pattern: &String| paths(pattern, server, versus, managed, &failed["id"], &port, stray.id());
    let mut for_admin: Vec<Visit> = pages.iter().flat_map(own_pages).collect();
    for_admin.extend([
        Visit::of(&format!("/servers/{unlucky}")),
        Visit::of(&format!("/servers/{server}/files?path=left4dead2")),
        Visit::of(&format!("/servers/{server}/paths?search=rates")),
        Visit::of(&format!("/blueprints/{versus}/paths?search=rates&path=left4dead2/cfg/rates.cfg&upper=0&lower=1")),
        Visit::of(&format!("/admin/overlays/{competitive}")),
        Visit::of("/nowhere"),
        Visit::sending(
            "/blueprints/new",
            "blueprint-refused",
            "/blueprints",
            &[("name", ""), ("arguments", "-port 1")],
        ),
        Visit::sending("/servers/new", "server-refused", "/servers", &[("name", "Friday Versus")]),
        Visit::sending("/account/totp", "totp-begun", "/account/totp", &[]),
        Visit::sending("/account", "password-refused", "/account/password", &[("password", "x")]),
        Visit::sending("/admin/overlays", "overlay-refused", "/admin/overlays", &[("name", "x"), ("path", "/etc")]),
    ]);
    let for_owner = pages
        .iter()
        .filter(|pattern| !pattern.starts_with("/admin"))
        .flat_map(|pattern| paths(pattern, his, own, managed, &job, &his_port, stray.id()))
        .chain([Visit::of("/admin/settings")])
        .collect();
    Site { panel, owner, newcomer, for_admin, for_owner, stray }
}

/// What axe-core says of the page as it is shown now: rule, and the elements that break it.
async fn violations(browser: &Browser, axe: &str) -> Vec<String> {
    let known = browser.client.execute("return !!window.axe", Vec::new()).await.expect("an answer");
    if known != json!(true) {
        browser.client.execute(axe, Vec::new()).await.expect("axe-core");
    }
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run({resultTypes: ['violations']}).then(found => done(found.violations.map(rule => \
                 rule.id + ': ' + rule.help + '\\n' + rule.nodes.map(node => '    ' + node.html + '\\n    ' + node.failureSummary).join('\\n'))), \
               error => done(['axe failed: ' + error]));";
    let found = browser.client.execute_async(run, Vec::new()).await.expect("an answer");
    found.as_array().expect("a list").iter().map(|rule| rule.as_str().unwrap_or_default().to_owned()).collect()
}

/// What is pressed and is smaller than a finger needs, 44 pixels each way. A link in running text is as high as its line,
/// and what only a keyboard meets needs no size.
const SMALL: &str = "return [...document.querySelectorAll('a[href], button, input, select, textarea, summary')].filter(it => { \
    const box = it.getBoundingClientRect(); \
    if (!box.width || !box.height || box.bottom < 0 || it.closest('.visually-hidden')) return false; \
    if (it.matches('p > a, .alert a')) return false; \
    return box.width < 43.9 || box.height < 43.9; \
  }).map(it => { const box = it.getBoundingClientRect(); return `${box.width.toFixed(0)} x ${box.height.toFixed(0)} ${it.outerHTML.slice(0, 120)}`; })";

/// Goes to each page as `who`; answers what is wrong with it, and keeps its source in `folder`.
async fn walk(panel: &Panel, who: &str, cookie: &str, visits: &[Visit], axe: &str, folder: &Path) -> Vec<String> {
    let Some(browser) = Browser::open(DESKTOP).await else { return Vec::new() };
    let at = |path: &str| format!("http://{}{path}", panel.address);
    browser.client.goto(&at("/health")).await.expect("the page");
    if let Some((name, value)) = cookie.split_once('=') {
        browser.devtools("Network.setCookie", json!({"name": name, "value": value, "url": at("/")})).await;
    }
    let mut wrong = Vec::new();
    for visit in visits {
        browser.client.goto(&at(&visit.path)).await.expect("the page");
        if let Some((action, fields)) = &visit.sent {
            let send = "const [action, fields] = arguments; const form = document.querySelector(`main form[action='${action}'], main form[action^='${action}?']`); \
                        for (const [name, value] of fields) form.elements[name].value = value; form.submit();";
            browser
                .client
                .execute(send, vec![json!(action), json!(fields)])
                .await
                .unwrap_or_else(|error| panic!("{action} on {}: {error}", visit.path));
            let selector = "main .error, main .alert, main .qr";
            browser.find(selector).await;
        }
        let source = "const r = document.documentElement.outerHTML; return r;";
        // What the server sent, not what scripts made of it; a page that a form led to is taken as it stands.
        let html = if visit.sent.is_some() {
            let shown = browser.client.execute(source, Vec::new()).await.expect("the source");
            format!("<!DOCTYPE html>{}", shown.as_str().unwrap_or_default())
        } else {
            http::send(panel.address, "GET", &visit.path, &[("cookie", cookie)], b"").body
        };
        std::fs::write(folder.join(format!("{who}-{}.html", visit.name)), html).expect("a file");
        for (view, name) in VIEWS {
            browser.look(view).await;
            let place = format!("{who} {} {name}", visit.path);
            wrong.extend(violations(&browser, axe).await.into_iter().map(|found| format!("{place}: {found}")));
            let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let wide = browser.client.execute(wide, Vec::new()).await.expect("a number");
            if wide.as_f64() > Some(0.0) {
                wrong.push(format!("{place}: the page is {wide} px wider than the window"));
            }
            let odd = "return [...document.querySelectorAll('time')].filter(it => it.title !== it.dateTime || it.textContent.includes('UTC')).map(it => it.outerHTML)";
            let odd = browser.client.execute(odd, Vec::new()).await.expect("a list");
            if odd != json!([]) {
                wrong.push(format!("{place}: these times are not local, or not exact on hover: {odd}"));
            }
            if view.width < 600 {
                let small = browser.client.execute(SMALL, Vec::new()).await.expect("a list");
                let small = small.as_array().expect("a list").iter();
                wrong.extend(small.map(|it| format!("{place}: too small for a finger: {it}")));
            }
            browser.picture(&format!("{name}-{who}-{}", visit.name)).await;
        }
    }
    browser.close().await;
    wrong
}

/// What the Nu checker says of every page in `folder`; nothing, and a reason printed, where it cannot be run.
fn nu(folder: &Path, checker: &Path) -> Vec<String> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the pages").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let mut java = std::process::Command::new("java");
    java.arg("-jar").arg(checker).args(["--format", "json", "--exit-zero-always"]).args(&files);
    let Ok(output) = java.stdin(Stdio::null()).output() else {
        skip("java is missing, which the Nu checker runs on: apt-get install default-jre-headless");
        return Vec::new();
    };
    let said: Value = serde_json::from_slice(&output.stderr).unwrap_or_else(|error| {
        panic!("the Nu checker said no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    let messages = said["messages"].as_array().expect("messages");
    let line = |message: &Value| {
        let file = message["url"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        format!(
            "{file}:{} {}: {}\n    {}",
            message["lastLine"], message["type"], message["message"], message["extract"]
        )
    };
    messages.iter().filter(|message| message["type"] != "info" || message["subType"] == "warning").map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_valid_accessible_and_fits_the_window_on_phone_and_desktop_in_light_and_dark() {
    let (Some(axe), Some(checker)) = (npm("axe-core/axe.min.js"), npm("vnu-jar/build/dist/vnu.jar")) else { return };
    let axe = std::fs::read_to_string(axe).expect("axe-core");
    // Nothing to look with: said by the first browser, before everything is furnished.
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    browser.close().await;
    let site = tokio::task::spawn_blocking(furnished).await.expect("a panel");
    let folder = tempfile::tempdir().expect("a folder");
    let strangers = [
        Visit::of("/login"),
        Visit::of("/signup"),
        Visit::of("/nowhere"),
        Visit::sending("/login", "login-refused", "/login", &[("username", "admin"), ("password", "wrong")]),
        Visit::sending("/signup", "signup-refused", "/signup", &[("username", "x"), ("password", "password")]),
    ];
    let first =
        ["/dashboard", "/servers", "/servers/new", "/servers/batch", "/blueprints", "/jobs", "/ports"].map(Visit::of);
    let admin = site.panel.session.0.clone();
    let (one, other) = tokio::join!(walk(&site.panel, "admin", &admin, &site.for_admin, &axe, folder.path()), async {
        let mut wrong = walk(&site.panel, "nobody", "", &strangers, &axe, folder.path()).await;
        wrong.extend(walk(&site.panel, "newcomer", &site.newcomer, &first, &axe, folder.path()).await);
        wrong.extend(walk(&site.panel, "owner", &site.owner, &site.for_owner, &axe, folder.path()).await);
        wrong
    });
    let mut wrong = [one, other].concat();
    let pages = folder.path().to_owned();
    wrong.extend(tokio::task::spawn_blocking(move || nu(&pages, &checker)).await.expect("an answer"));
    let mut stray = site.stray;
    stray.kill().expect("its end");
    stray.wait().expect("its end");
    tokio::task::spawn_blocking(move || drop(site.panel)).await.expect("a clean end");
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
