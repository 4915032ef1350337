//! A person at a browser: with a mouse or with a keyboard alone, with or without JavaScript, on a phone or on a desktop,
//! in light or dark. What a flow does is written once and goes by every hand.

use std::time::Duration;

use fantoccini::Locator;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use serde_json::{Value, json};

use crate::driver::{Browser, View};
use crate::support::PATIENCE;

/// How somebody uses a page.
#[derive(Clone, Copy)]
pub struct Way {
    /// Short name, for pictures and for what this hand makes.
    pub name: &'static str,
    /// With the keyboard alone; else with the mouse, and keys only to type.
    pub keys: bool,
    /// Scripts run.
    pub script: bool,
    /// The window.
    pub view: View,
}

/// Longest time between two looks at a page that does not move by itself.
pub const LOOK: Duration = Duration::from_millis(60);

/// Where the focus is, and where `arguments[0]` is from there.
const FOCUS: &str = "const [css] = arguments; const it = document.activeElement; const box = it.getBoundingClientRect(); \
    const shown = element => element.getClientRects().length > 0; \
    const wanted = [...document.querySelectorAll(css)].find(shown); \
    return { there: it.matches(css) && shown(it), nowhere: it === document.body || it === document.documentElement, \
             before: !!wanted && !!(it.compareDocumentPosition(wanted) & Node.DOCUMENT_POSITION_PRECEDING), \
             inside: !!wanted && !!wanted.closest('main'), \
             seen: it.matches(':focus-visible') && getComputedStyle(it).outlineStyle !== 'none' && parseFloat(getComputedStyle(it).outlineWidth) > 0, \
             in_window: box.width > 0 && box.top < innerHeight && box.bottom > 0, html: it.outerHTML.slice(0, 200) };";

/// One person, for the length of one flow.
pub struct Hand<'a> {
    /// What is looked through.
    pub browser: &'a Browser,
    /// How.
    pub way: Way,
    site: String,
    flow: &'a str,
}

impl<'a> Hand<'a> {
    /// Sits down before an empty window.
    pub async fn begin(browser: &'a Browser, way: Way, site: String, flow: &'a str) -> Self {
        browser.client.delete_all_cookies().await.expect("no cookies");
        browser.devtools("Emulation.setScriptExecutionDisabled", json!({"value": !way.script})).await;
        browser.look(way.view).await;
        let _ = browser.complaints().await;
        Self { browser, way, site, flow }
    }

    /// Is already signed in with this cookie.
    pub async fn wears(&self, cookie: &str) {
        let (name, value) = cookie.split_once('=').expect("a cookie");
        let cookie = json!({"name": name, "value": value, "url": self.site});
        self.browser.devtools("Network.setCookie", cookie).await;
    }

    /// A name that no other hand uses.
    pub fn own(&self, name: &str) -> String {
        format!("{name} {}", self.way.name)
    }

    /// Opens a page by its address.
    pub async fn goes(&self, path: &str) {
        self.browser.client.goto(&format!("{}{path}", self.site)).await.expect("the page");
    }

    /// The address of the page that is shown, without the site.
    pub async fn path(&self) -> String {
        self.browser.client.current_url().await.expect("an address").path().to_owned()
    }

    /// Types into a field, in place of what it held.
    pub async fn types(&self, css: &str, text: &str) {
        if self.way.keys {
            self.tabs_to(css).await;
            let all = KeyActions::new("keyboard".into())
                .then(KeyAction::Down { value: Key::Control.into() })
                .then(KeyAction::Down { value: 'a' })
                .then(KeyAction::Up { value: 'a' })
                .then(KeyAction::Up { value: Key::Control.into() })
                .then(KeyAction::Down { value: Key::Delete.into() })
                .then(KeyAction::Up { value: Key::Delete.into() });
            self.browser.client.perform_actions(all).await.expect("keys");
            self.strikes(text).await;
        } else {
            self.browser.click(css).await;
            self.browser.fill(css, text).await;
        }
    }

    /// Presses a button or follows a link.
    pub async fn presses(&self, css: &str) {
        if self.way.keys {
            self.tabs_to(css).await;
            self.strikes("\n").await;
        } else {
            self.browser.click(css).await;
        }
    }

    /// Types into a field and sends its form by the Enter key.
    pub async fn enters(&self, css: &str, text: &str) {
        self.types(css, text).await;
        self.strikes("\n").await;
    }

    /// Chooses what a list names so.
    pub async fn chooses(&self, css: &str, label: &str) {
        if !self.way.keys {
            self.browser.find(css).await.select_by_label(label).await.expect("it can be chosen");
            return;
        }
        self.tabs_to(css).await;
        let steps = "const [css, label] = arguments; const list = document.querySelector(css); \
                     return [...list.options].findIndex(option => option.label === label) - list.selectedIndex";
        let steps = self.asks(steps, vec![json!(css), json!(label)]).await.as_i64().expect("a number");
        let key = char::from(if steps < 0 { Key::Up } else { Key::Down });
        self.strikes(&key.to_string().repeat(steps.unsigned_abs() as usize)).await;
        let chosen = "return document.querySelector(arguments[0]).selectedOptions[0].label";
        assert_eq!(self.asks(chosen, vec![json!(css)]).await, label, "{css}");
    }

    /// Chooses a file. The dialog is the desktop's, not the page's; that the field is reached is the page's.
    pub async fn attaches(&self, css: &str, file: &std::path::Path) {
        if self.way.keys {
            self.tabs_to(css).await;
        }
        self.browser.find(css).await.send_keys(&file.to_string_lossy()).await.expect("a file");
    }

    /// Waits until the text of an element is as wanted, on the page as it is.
    pub async fn sees(&self, css: &str, text: &str) {
        let what = format!("\"{text}\" ({} by {})", self.flow, self.way.name);
        self.browser.until_text(css, &what, |seen| seen.contains(text)).await;
    }

    /// Waits until a page says it: it moves by itself, or without scripts is asked for again.
    pub async fn awaits(&self, path: &str, css: &str, text: &str) {
        if self.path().await != path {
            self.goes(path).await;
        }
        if self.way.script {
            return self.sees(css, text).await;
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        // It may not be there at all yet.
        while !self.text_of(css).await.contains(text) {
            assert!(tokio::time::Instant::now() < deadline, "{path} never said {text}: {}", self.browser.text().await);
            tokio::time::sleep(LOOK).await;
            self.goes(path).await;
        }
    }

    async fn text_of(&self, css: &str) -> String {
        match self.browser.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits for the end of the job that was just asked for: on its page, or in the note of the page that stays.
    pub async fn awaits_job(&self, state: &str) {
        self.browser.find("main > div[data-live^='job-'], #flash a[href^='/jobs/']").await;
        if !self.path().await.starts_with("/jobs/") {
            self.presses("#flash a[href^='/jobs/']").await;
            self.browser.find("main > div[data-live^='job-']").await;
        }
        let job = self.path().await;
        self.awaits(&job, "p.state", state).await;
    }

    /// The page does not say it.
    pub async fn misses(&self, css: &str, text: &str) {
        let seen = self.browser.find(css).await.text().await.expect("its text");
        assert!(!seen.contains(text), "{css} says {text}: {seen}");
    }

    /// What a field holds.
    pub async fn holds(&self, css: &str) -> String {
        self.browser.find(css).await.prop("value").await.expect("a value").unwrap_or_default()
    }

    /// An answer of the page.
    pub async fn asks(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.browser.client.execute(script, arguments).await.expect("an answer")
    }

    /// Looks at the page as a whole: nothing of it is wider than the window. Keeps a picture, where somebody wants them.
    pub async fn looks(&self, name: &str) {
        let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        let wide = self.asks(wide, Vec::new()).await;
        assert_eq!(wide.as_f64(), Some(0.0), "{name}: the page is wider than the window");
        self.browser.picture(&format!("flow-{}-{name}-{}", self.flow, self.way.name)).await;
    }

    /// Is done: neither a script nor the policy of the pages complained.
    pub async fn leaves(self) {
        let complaints = self.browser.complaints().await;
        assert!(complaints.is_empty(), "{} by {}: {complaints:?}", self.flow, self.way.name);
    }

    /// Presses keys where the focus is.
    pub async fn strikes(&self, text: &str) {
        let mut presses = KeyActions::new("keyboard".into());
        for value in text.chars() {
            let value = if value == '\n' { Key::Enter.into() } else { value };
            presses = presses.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        self.browser.client.perform_actions(presses).await.expect("keys");
    }

    /// Brings the focus to an element by Tab: from a fresh page past the links, as who knows the page does. Where the
    /// focus comes to rest it is seen.
    async fn tabs_to(&self, css: &str) {
        self.browser.find(css).await;
        let tab = char::from(Key::Tab).to_string();
        for step in 0..120 {
            let at = self.asks(FOCUS, vec![json!(css)]).await;
            if at["there"] == true {
                assert_eq!(
                    (&at["seen"], &at["in_window"]),
                    (&json!(true), &json!(true)),
                    "the focus is seen: {}",
                    at["html"]
                );
                return;
            }
            if step == 0 && at["nowhere"] == true && at["inside"] == true {
                // The first thing that Tab reaches leads past the links.
                self.strikes(&tab).await;
                let first = self.asks(FOCUS, vec![json!("a.skip")]).await;
                assert_eq!(first["there"], true, "the first thing is the way past the links, not {}", first["html"]);
                self.strikes(&format!("\n{tab}")).await;
            } else if at["before"] == true {
                let back = KeyActions::new("keyboard".into())
                    .then(KeyAction::Down { value: Key::Shift.into() })
                    .then(KeyAction::Down { value: Key::Tab.into() })
                    .then(KeyAction::Up { value: Key::Tab.into() })
                    .then(KeyAction::Up { value: Key::Shift.into() });
                self.browser.client.perform_actions(back).await.expect("keys");
            } else {
                self.strikes(&tab).await;
            }
        }
        panic!("Tab never reaches {css} ({} by {}):\n{}", self.flow, self.way.name, self.browser.text().await);
    }
}
