//! The page in a real browser: headless Chromium, driven through WebDriver by Debian's chromedriver.
//!
//! Run by `tests/run`; a machine without chromium and chromedriver skips these tests and says so. Screenshots go to
//! the folder that `LEFT4ME_TESTS_SCREENSHOTS` names, never into the checkout.

#[path = "../support/mod.rs"]
mod support;

mod catalog;
mod console;
mod driver;
mod flows;
mod hand;
mod jobs;
mod lighthouse;
mod pages;
mod still;
