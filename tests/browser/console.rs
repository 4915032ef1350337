//! The console of a server's page: very many lines, the tail, search, copy, history, and what a broken connection shows.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::driver::{Browser, DESKTOP};
use crate::support::PATIENCE;
use crate::support::panel::Panel;

/// Lines that the game prints at once.
const LINES: u64 = 200_000;
/// Most lines that the page keeps.
const KEPT: f64 = 10_000.0;
/// Milliseconds between two frames that nineteen of twenty stay below, while all those lines arrive: a person sees a page
/// that moves ten times a second as one that answers.
const FRAME_BUDGET: f64 = 100.0;

/// Passes bytes between a browser and a panel, and can cut every connection, for a moment or until it is mended.
pub struct Wire {
    /// Where the browser goes.
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
    is_down: Arc<AtomicBool>,
}

impl Wire {
    /// One that leads to this panel.
    pub fn to(panel: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let open: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let all = Arc::clone(&open);
        let is_down = Arc::<AtomicBool>::default();
        let down = Arc::clone(&is_down);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if down.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(panel) else { continue };
                let copies = [&near, &far].map(|stream| stream.try_clone().expect("a stream"));
                all.lock().unwrap_or_else(PoisonError::into_inner).extend(copies);
                let back = [&far, &near].map(|stream| stream.try_clone().expect("a stream"));
                std::thread::spawn(move || pass(near, far));
                let [far, near] = back;
                std::thread::spawn(move || pass(far, near));
            }
        });
        Self { address, open, is_down }
    }

    /// Takes nothing more, or takes it again.
    pub fn down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
        self.cut();
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut piece = [0_u8; 8 * 1024];
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

async fn number(browser: &Browser, script: &str) -> f64 {
    let value = browser.client.execute(script, Vec::new()).await.expect("an answer");
    value.as_f64().unwrap_or_else(|| panic!("{script}: {value}"))
}

/// Asks the page until it says yes.
async fn until(browser: &Browser, what: &str, script: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while browser.client.execute(script, Vec::new()).await.expect("an answer") != json!(true) {
        assert!(tokio::time::Instant::now() < deadline, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

const AT_END: &str = "const log = document.querySelector('[data-lines]'); \
                      return log.scrollHeight - log.scrollTop - log.clientHeight < 24;";

#[tokio::test(flavor = "multi_thread")]
async fn a_console_stays_quick_while_200000_lines_arrive_and_does_all_that_a_terminal_does() {
    let prepared = || {
        let mut panel = Panel::start();
        let blueprint = panel.with_game();
        let server = panel.server("Noisy", blueprint);
        panel.must(&format!("/servers/{server}/start"));
        let password = panel.make_admin();
        (panel, server, password)
    };
    let (panel, server, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    let wire = Wire::to(panel.address);
    browser.client.goto(&format!("http://{}/login?next=/servers/{server}", wire.address)).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("[data-lines]", "the ready line", |text| text.contains("dedicated Yes, ports")).await;

    // Every frame's distance from the one before, from here on.
    let watch = "window.frames_seen = []; let before = performance.now(); \
                 requestAnimationFrame(function look(now) { window.frames_seen.push(now - before); before = now; requestAnimationFrame(look); });";
    browser.client.execute(watch, Vec::new()).await.expect("a watch");
    browser.fill("input[name=line]", &format!("_simulate spam {LINES}")).await;
    let started = tokio::time::Instant::now();
    browser.click("[data-command] button").await;
    let last = format!(
        "return [...document.querySelectorAll('[data-lines] .block:nth-last-child(-n+3) .line')].some(line => line.textContent.trim() === 'spam {LINES}')"
    );
    let deadline = started + 2 * PATIENCE;
    let mut most = 0.0_f64;
    while browser.client.execute(&last, Vec::new()).await.expect("an answer") != json!(true) {
        most = most.max(number(&browser, "return document.getElementsByTagName('*').length").await);
        let shown = "return [...document.querySelectorAll('[data-lines] .block:last-child .line')].at(-1)?.textContent";
        let shown = browser.client.execute(shown, Vec::new()).await.expect("an answer");
        assert!(tokio::time::Instant::now() < deadline, "the last line never came; the last is {shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = started.elapsed();
    let frames = "return window.frames_seen.slice().sort((a, b) => a - b)";
    let frames = browser.client.execute(frames, Vec::new()).await.expect("numbers");
    let frames: Vec<f64> = frames.as_array().expect("numbers").iter().filter_map(Value::as_f64).collect();
    let share = |part: f64| frames[((frames.len() - 1) as f64 * part) as usize];
    println!(
        "{LINES} lines in {took:?}: {} frames, half within {:.0} ms, 95 % within {:.0} ms, the longest {:.0} ms; at most {most} elements",
        frames.len(),
        share(0.5),
        share(0.95),
        share(1.0)
    );
    assert!(frames.len() > 10, "the page drew");
    assert!(share(0.95) < FRAME_BUDGET, "95 % of the frames within {} ms", share(0.95));
    assert!(most < KEPT + 1000.0, "{most} elements");
    until(&browser, "the tail", AT_END).await;
    let gaps = "const numbers = [...document.querySelectorAll('[data-lines] .line')].map(line => /^spam (\\d+)$/.exec(line.textContent.trim())) \
                .filter(found => found).map(found => Number(found[1])); \
                return numbers.length > 9000 && numbers.every((number, at) => at === 0 || number === numbers[at - 1] + 1)";
    until(&browser, "the newest lines without a gap", gaps).await;

    // Search: what is found is marked, counted and shown.
    browser.fill("[data-search]", "spam 199999").await;
    browser.until_text("[data-status]", "how many", |text| text == "1 found").await;
    until(&browser, "one marked line", "return document.querySelectorAll('.line.found').length === 1").await;
    browser.find("[data-search]").await.clear().await.expect("an empty field");

    // Whoever scrolls up stays there while lines come, and is told how to come back.
    browser
        .client
        .execute("document.querySelector('[data-lines]').scrollTop = 1000", Vec::new())
        .await
        .expect("a scroll");
    until(&browser, "the button that follows", "return !document.querySelector('[data-follow]').hidden").await;
    for line in ["echo first of two", "echo second of two"] {
        browser.fill("input[name=line]", line).await;
        browser.click("[data-command] button").await;
        let word = line.trim_start_matches("echo ");
        let came = format!(
            "return [...document.querySelectorAll('[data-lines] .block:nth-last-child(-n+3) .line')].some(line => line.textContent.includes('{word}'))"
        );
        until(&browser, line, &came).await;
    }
    let scrolled = number(&browser, "return document.querySelector('[data-lines]').scrollTop").await;
    assert!(scrolled < 5000.0, "it stayed: {scrolled}");
    browser.click("[data-follow]").await;
    until(&browser, "the tail again", AT_END).await;

    // The command line remembers.
    let input = browser.find("input[name=line]").await;
    for (key, line) in [
        (Key::Up, "echo second of two"),
        (Key::Up, "echo first of two"),
        (Key::Down, "echo second of two"),
        (Key::Down, ""),
    ] {
        input.send_keys(&char::from(key).to_string()).await.expect("a key");
        assert_eq!(input.prop("value").await.expect("a value").unwrap_or_default(), line);
    }

    // All that is shown can be copied.
    let permissions = json!({"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]});
    browser.devtools("Browser.grantPermissions", permissions).await;
    browser.click("[data-copy-log]").await;
    let read = "const done = arguments[arguments.length - 1]; navigator.clipboard.readText().then(done, error => done('' + error))";
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let copied = browser.client.execute_async(read, Vec::new()).await.expect("an answer");
        let copied = copied.as_str().unwrap_or_default();
        if copied.contains("spam 200000\n") && copied.contains("second of two\n") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "copied: {}", copied.chars().take(200).collect::<String>());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A connection that breaks leaves a mark, and no line is lost or shown twice.
    wire.cut();
    browser.until_text("[data-lines] .mark", "that it was away", |text| text.contains("reconnected")).await;
    browser.fill("input[name=line]", "echo after the break").await;
    browser.click("[data-command] button").await;
    let came = "return [...document.querySelectorAll('[data-lines] .line')].filter(line => line.textContent.includes('after the break')).length === 1";
    until(&browser, "the next line", came).await;
    let twice = "return [...document.querySelectorAll('[data-lines] .line')].filter(line => line.textContent.includes('second of two')).length === 1";
    until(&browser, "no line twice", twice).await;
    browser.picture("desktop-light-console").await;
    remembers(&browser, &format!("http://{}", wire.address), server, &password).await;
    browser.close().await;
    tokio::task::spawn_blocking(move || drop(panel)).await.expect("a clean end");
}

/// Presses keys in the command line; answers what it holds then.
async fn line_after(browser: &Browser, keys: &str) -> String {
    let input = browser.find("input[name=line]").await;
    input.send_keys(keys).await.expect("keys");
    input.prop("value").await.expect("a value").unwrap_or_default()
}

/// All that a tab and a browser store for the site.
const STORED: &str =
    "return JSON.stringify(Object.entries(sessionStorage)) + JSON.stringify(Object.entries(localStorage))";

/// What was typed is there after a reload, but for passwords; a half-typed line is not lost on the way; and whoever sits
/// down after a log-out finds nothing of it.
async fn remembers(browser: &Browser, site: &str, server: u64, password: &str) {
    let (up, down) = (char::from(Key::Up).to_string(), char::from(Key::Down).to_string());
    browser.fill("input[name=line]", "sv_password hush").await;
    browser.click("[data-command] button").await;
    let sent = "return document.querySelector('input[name=line]').value === ''";
    until(browser, "the line was sent", sent).await;
    assert_eq!(line_after(browser, &up).await, "sv_password hush", "as long as the page is there");
    browser.client.refresh().await.expect("the page");
    assert_eq!(line_after(browser, &format!("half a li{up}")).await, "echo after the break");
    assert_eq!(line_after(browser, &up).await, "echo second of two");
    assert_eq!(line_after(browser, &format!("{down}{down}")).await, "half a li");
    let kept = browser.client.execute(STORED, Vec::new()).await.expect("an answer").to_string();
    assert!(kept.contains("after the break") && !kept.contains("hush"), "{kept}");

    browser.click("form[action='/logout'] button").await;
    browser.until_text("h1", "the door", |text| text == "Sign in").await;
    let kept = browser.client.execute(STORED, Vec::new()).await.expect("an answer").to_string();
    assert!(!kept.contains("typed") && !kept.contains("the break"), "{kept}");
    browser.client.goto(&format!("{site}/login?next=/servers/{server}")).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", password).await;
    browser.click("form[action^='/login'] button.main").await;
    assert_eq!(line_after(browser, &up).await, "");
}
