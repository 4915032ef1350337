//! What several test programs share: the real binary as a daemon on a folder of its own, and a small HTTP client.
//!
//! A [`Panel`] is the whole product: store, web page, shims and the simulated game. When it is dropped it ends the
//! daemon and every game, and fails the test if something is left behind.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod http;
pub mod panel;
pub mod processes;
pub mod said;
pub mod stand_in;
pub mod totp;

use std::time::{Duration, Instant};

/// Longest that anything in a test may take before it counts as never.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Looks until `look` answers, or fails the test with `what`. For facts that no event tells (a process in `/proc`).
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A Python that has `python-a2s` and the like; `tests/run` makes it. Without it the test is skipped, and says so.
pub fn python() -> Option<String> {
    let python = std::env::var("LEFT4ME_TESTS_PYTHON").ok();
    if python.is_none() {
        skip("LEFT4ME_TESTS_PYTHON names no Python with python-a2s; tests/run makes one");
    }
    python
}

/// A file of an npm package; `tests/run` installs them. Without it the test is skipped, and says so.
pub fn npm(path: &str) -> Option<std::path::PathBuf> {
    let found = std::env::var_os("LEFT4ME_TESTS_NPM").map(|folder| std::path::Path::new(&folder).join(path));
    let found = found.filter(|file| file.exists());
    if found.is_none() {
        skip(&format!("LEFT4ME_TESTS_NPM names no folder of npm packages with {path}; tests/run makes one"));
    }
    found
}

/// Says why the test that runs now is skipped; `tests/run` counts these lines.
pub fn skip(reason: &str) {
    println!("SKIP: {reason}");
}
