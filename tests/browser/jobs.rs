//! A job's page while the job runs: lines as they come, with their colours; how far it is; ending it and asking again.

use crate::driver::{Browser, DESKTOP};
use crate::support::stand_in::StandIn;

/// A download that tells how far it is, says something in colour, and waits.
const TRANSCRIPT: &str = "run +@sSteamCmdForcePlatformType windows\n\
    say  Update state (0x61) downloading, progress: 10.00 (1000000 / 10000000)\n\
    sh sleep 1\n\
    say  Update state (0x61) downloading, progress: 30.00 (3000000 / 10000000)\n\
    await ready\n\
    say \\0033[1;32mgreen as grass\\0033[0m and <b>plain</b>\n\
    await go\n\
    say Success! App '222860' fully installed.\nexit 0\n\
    run +@sSteamCmdForcePlatformType linux\nprogram srcds_run\nsay Success! App '222860' fully installed.\nexit 0\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_page_shows_lines_in_colour_progress_and_buttons_as_they_come() {
    let prepared = || {
        let stand_in = StandIn::playing(TRANSCRIPT);
        let panel = stand_in.panel();
        let password = panel.reset_admin();
        (stand_in, panel, password)
    };
    let (stand_in, panel, password) = tokio::task::spawn_blocking(prepared).await.expect("a panel");
    let Some(browser) = Browser::open(DESKTOP).await else { return };
    let at = |path: &str| format!("http://{}{path}", panel.address);
    browser.client.goto(&at("/login?next=/admin/install")).await.expect("the page");
    browser.fill("input[name=username]", "admin").await;
    browser.fill("input[name=password]", &password).await;
    browser.click("form[action^='/login'] button.main").await;
    browser.until_text("h1", "the page of the game files", |text| text.contains("Game files")).await;
    browser.click("form[action='/admin/install'] button").await;
    browser
        .until_text("[data-progress-text]", "bytes, rate and time", |text| {
            text.contains("2.9 MiB of 9.5 MiB") && text.contains("/s") && text.contains(" left")
        })
        .await;
    // The page is there: what is printed now reaches it by its stream.
    std::fs::write(panel.data("steam/ready"), "").expect("a file");
    browser.until_text(".log .ansi-2.ansi-bold", "the coloured words", |text| text == "green as grass").await;
    browser.until_text(".log", "the rest of the line", |text| text.contains("green as grass and <b>plain</b>")).await;
    browser.picture("desktop-light-job-progress").await;
    StandIn::let_go(&panel);
    browser.until_text("p.state", "its end", |text| text.contains("succeeded")).await;
    browser.until_text(".facts", "how long it took", |text| text.contains("Took") && text.contains("Exit code")).await;
    let job = browser.client.current_url().await.expect("an address").path().to_owned();
    // The same page, made anew from what is stored, shows the same colours.
    browser.client.goto(&at(&job)).await.expect("the page");
    browser.until_text(".log .ansi-2.ansi-bold", "the coloured words", |text| text == "green as grass").await;
    browser.click(".card form[action='/admin/install'] button").await;
    browser.until_text("h1", "the next job", |text| text.contains("install")).await;
    let next = browser.client.current_url().await.expect("an address").path().to_owned();
    assert!(next.starts_with("/jobs/") && next != job, "{next}");
    browser.close().await;
    tokio::task::spawn_blocking(move || drop((panel, stand_in))).await.expect("a clean end");
}
