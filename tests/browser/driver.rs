//! A browser for one test: chromedriver on a port of its own, one headless session, both ended with the test.

use std::io::{BufRead, BufReader};
use std::process::{self, Child, Stdio};
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::json;

use crate::support::{PATIENCE, processes, skip};

/// One browser.
pub struct Browser {
    /// The session.
    pub client: Client,
    driver: Child,
    profile: tempfile::TempDir,
}

/// How the browser looks at the page.
#[derive(Clone, Copy)]
pub struct View {
    /// Width of the window in pixels.
    pub width: u32,
    /// Prefers dark colours.
    pub dark: bool,
}

/// A desktop window in light colours.
pub const DESKTOP: View = View { width: 1440, dark: false };
/// A phone in dark colours.
pub const PHONE: View = View { width: 390, dark: true };

impl Browser {
    /// A browser, or `None` (and a reason printed) where the machine has none.
    pub async fn open(view: View) -> Option<Self> {
        let Ok(mut driver) =
            process::Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
        else {
            skip("chromedriver is missing: apt-get install chromium chromium-driver");
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().expect("its output")).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver tells its port").expect("text");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').parse::<u16>().expect("a port");
            }
        };
        // Read on, or it would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().expect("a profile folder");
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--disable-gpu".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--disable-dev-shm-usage".into(),
            "--hide-scrollbars".into(),
            format!("--user-data-dir={}", profile.path().display()),
            format!("--window-size={},900", view.width.max(500)),
        ];
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to sandbox itself as root.
            arguments.push("--no-sandbox".into());
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".into(), json!({"args": arguments}));
        capabilities.insert("goog:loggingPrefs".into(), json!({"browser": "ALL"}));
        let client = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .expect("a session");
        let browser = Self { client, driver, profile };
        browser.look(view).await;
        Some(browser)
    }

    /// Sets width and colours as a device would have them.
    pub async fn look(&self, view: View) {
        let metrics = json!({"width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": view.width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if view.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await;
    }

    /// A command to the browser itself; answers what it says.
    pub async fn devtools(&self, command: &str, parameters: serde_json::Value) -> serde_json::Value {
        let command = Command::DevTools(command.to_owned(), parameters);
        self.client.issue_cmd(command).await.expect("a devtools command")
    }

    /// What scripts and the policy of the page complained of since the last look.
    pub async fn complaints(&self) -> Vec<String> {
        let entries = self.client.issue_cmd(Command::Log).await.expect("the browser's log");
        let entries = entries.as_array().cloned().unwrap_or_default().into_iter();
        // A form that is refused answers 4xx: the browser notes that as a trouble of the network, and it is none.
        let ours = entries.filter(|entry| entry["level"] == "SEVERE" && entry["source"] != "network");
        ours.map(|entry| entry["message"].to_string()).collect()
    }

    /// The element, as soon as it is there.
    pub async fn find(&self, css: &str) -> Element {
        let found =
            self.client.wait().at_most(PATIENCE).every(Duration::from_millis(30)).for_element(Locator::Css(css)).await;
        match found {
            Ok(element) => element,
            Err(error) => {
                let url = self.client.current_url().await.map(|url| url.to_string()).unwrap_or_default();
                let text = self.text().await;
                panic!("no {css} on {url}: {error}\n{text}");
            }
        }
    }

    /// Types into a field, in place of what it held.
    pub async fn fill(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.expect("an empty field");
        field.send_keys(text).await.expect("typed");
    }

    /// Clicks. Live parts of a page may be replaced between the look and the click: then it looks again.
    pub async fn click(&self, css: &str) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            match self.find(css).await.click().await {
                Ok(()) => return,
                Err(error) if error.is_stale_element_reference() && tokio::time::Instant::now() < deadline => {}
                Err(error) => panic!("{css} cannot be clicked: {error}"),
            }
        }
    }

    /// All text of the page.
    pub async fn text(&self) -> String {
        match self.client.find(Locator::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the text of an element satisfies `wanted`.
    pub async fn until_text(&self, css: &str, what: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut last = String::new();
        while tokio::time::Instant::now() < deadline {
            if let Ok(element) = self.client.find(Locator::Css(css)).await
                && let Ok(text) = element.text().await
            {
                if wanted(&text) {
                    return;
                }
                last = text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seen = self.client.execute("return document.visibilityState", Vec::new()).await.unwrap_or_default();
        panic!("{css} never said {what}; the page is {seen}; last:\n{last}");
    }

    /// Keeps a picture, where somebody wants pictures.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("LEFT4ME_TESTS_SCREENSHOTS") else { return };
        // The whole page, not only what of it lies in the window.
        let all = json!({"format": "png", "captureBeyondViewport": true});
        let picture =
            self.devtools("Page.captureScreenshot", all).await["data"].as_str().expect("a picture").to_owned();
        let picture = base64(&picture);
        std::fs::create_dir_all(&folder).expect("the folder of screenshots");
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), picture).expect("a file");
    }

    /// Ends the session.
    pub async fn close(self) {
        let _ = self.client.clone().close().await;
    }
}

impl Drop for Browser {
    /// Also where a test failed: neither chromedriver nor its browser stays.
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        for process in processes::of_folder(self.profile.path()) {
            if let Some(pid) = rustix::process::Pid::from_raw(process.pid as i32) {
                // It may have ended a moment ago.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// What `text` says in base64.
fn base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.bytes().filter_map(|byte| digits.iter().position(|own| *own == byte)) {
        bits = (bits << 6) | digit as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// chromedriver's own commands.
#[derive(Debug)]
enum Command {
    /// To the browser's devtools.
    DevTools(String, serde_json::Value),
    /// What the browser logged.
    Log,
}

impl fantoccini::wd::WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        let tail = match self {
            Self::DevTools(..) => "goog/cdp/execute",
            Self::Log => "se/log",
        };
        base.join(&format!("session/{}/{tail}", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        let body = match self {
            Self::DevTools(command, parameters) => json!({"cmd": command, "params": parameters}),
            Self::Log => json!({"type": "browser"}),
        };
        (http::Method::POST, Some(body.to_string()))
    }
}
