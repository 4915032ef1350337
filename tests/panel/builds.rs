//! Builds over each other while games run: files that do not change under a game, going back in one click, deep stacks
//! that become one layer, and layers that go when nothing uses them any more.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::eventually;
use crate::support::panel::Panel;
use crate::support::stand_in::StandIn;

/// Hash over names, kinds, modes and contents of a tree. Read through `/proc/<pid>/root`, it is what the game sees.
fn hash(root: &Path) -> String {
    let mut lines = String::new();
    let mut pending = vec![root.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let facts = fs::symlink_metadata(&path).expect("facts");
            let name = path.strip_prefix(root).expect("below").display().to_string();
            // The game itself writes there: its own layer, which an install does not touch.
            if name.starts_with("left4dead2/logs")
                || path.extension().is_some_and(|extension| extension == "log")
                || name.starts_with("left4dead2/cfg/banned")
            {
                continue;
            }
            let content = if facts.is_dir() {
                pending.push(path.clone());
                String::new()
            } else if facts.is_symlink() {
                fs::read_link(&path).expect("a link").display().to_string()
            } else {
                format!("{:x?}", Sha256::digest(fs::read(&path).expect("a file")))
            };
            let _ = writeln!(lines, "{name} {:o} {content}", facts.permissions().mode());
        }
    }
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    assert!(lines.len() > 10, "there is a game: {lines:?}");
    format!("{:x?}", Sha256::digest(lines.join("\n")))
}

/// Installs that each change one file, take one away and bring one.
fn updates() -> String {
    let mut transcript = String::new();
    for number in 2..=9 {
        let _ = write!(
            transcript,
            "run +@sSteamCmdForcePlatformType windows\nsay Success! App '222860' fully installed.\nexit 0\n\
             run +@sSteamCmdForcePlatformType linux\nfile left4dead2/motd.txt update {number}\n\
             sh rm -rf \"$game/left4dead2/maps/c{number}m1\"* \"$game/only-{}\"\nfile only-{number} x\n\
             say Success! App '222860' fully installed.\nexit 0\n",
            number - 1
        );
    }
    transcript
}

/// Folders of published layers.
fn layers(panel: &Panel) -> Vec<u64> {
    let entries = fs::read_dir(panel.data("installation")).expect("a folder");
    let mut found: Vec<u64> =
        entries.filter_map(|entry| entry.expect("an entry").file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

fn game_root(panel: &Panel, server: u64) -> std::path::PathBuf {
    format!("/proc/{}/root/game", panel.game(server).pid).into()
}

fn motd(panel: &Panel, server: u64) -> String {
    fs::read_to_string(game_root(panel, server).join("left4dead2/motd.txt")).expect("a file of the game")
}

fn builds(panel: &Panel) -> Vec<Value> {
    panel.get("/admin/builds")["items"].as_array().cloned().expect("a list")
}

#[test]
fn installs_change_nothing_under_a_game_that_runs_and_layers_go_when_nothing_uses_them() {
    if !crate::support::panel::may_become_another() {
        return crate::support::skip("another user's /proc/<pid>/root may be read by root only");
    }
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let old = panel.server("old", blueprint);
    panel.must(&format!("/servers/{old}/start"));
    let before = hash(&game_root(&panel, old));

    let stand_in = StandIn::playing(&updates());
    panel.terminate();
    panel.environment("LEFT4ME_STEAMCMD", Some(&stand_in.program().display().to_string()));
    panel.start_again();
    panel.must("/admin/install");
    assert_eq!(layers(&panel), [1, 2]);
    assert_eq!(hash(&game_root(&panel, old)), before, "an install");
    let new = panel.server("new", blueprint);
    panel.must(&format!("/servers/{new}/start"));
    assert_eq!(motd(&panel, new), "update 2\n");
    panel.must("/admin/install");
    assert_eq!(hash(&game_root(&panel, old)), before, "an install, a start and another install");
    assert_eq!(motd(&panel, new), "update 2\n");

    // The fifth layer is one too many: the stack becomes one layer; who runs keeps what it has.
    panel.must("/admin/install");
    let job = panel.must("/admin/install");
    let log = panel.job_log(&job);
    assert!(log.contains("merging 5 game layers into one\n"), "{log}");
    let active = &builds(&panel)[0];
    assert_eq!((&active["active"], active["layers"].as_array().map(Vec::len)), (&json!(true), Some(1)), "{active}");
    assert_eq!(builds(&panel).len(), 3, "three builds are kept");
    assert_eq!(hash(&game_root(&panel, old)), before, "after the merge");
    assert_eq!(motd(&panel, new), "update 2\n");
    let merged = panel.server("merged", blueprint);
    panel.must(&format!("/servers/{merged}/start"));
    assert_eq!(motd(&panel, merged), "update 5\n");
    let root = game_root(&panel, merged);
    assert!(
        !root.join("left4dead2/maps/c2m1_highway.bsp").exists() && !root.join("only-4").exists(),
        "removed files stay so"
    );
    assert!(root.join("only-5").exists() && root.join("left4dead2/maps/c1m1_hotel.bsp").exists());
    assert_eq!(fs::metadata(root.join("srcds_linux")).expect("the game").permissions().mode() & 0o777, 0o755);

    // Three more: the builds that stand on the first five layers are gone, the games that run on them are not.
    for _ in 0..3 {
        panel.must("/admin/install");
    }
    assert_eq!(layers(&panel), [1, 2, 6, 7, 8, 9], "what runs and what can be gone back to");
    assert_eq!(hash(&game_root(&panel, old)), before);
    for server in [old, new] {
        panel.must(&format!("/servers/{server}/stop"));
    }
    panel.terminate();
    panel.start_again();
    eventually("the layers that nothing uses now are gone", || (layers(&panel) == [6, 7, 8, 9]).then_some(()));
    panel.must(&format!("/servers/{old}/start"));
    assert_eq!(motd(&panel, old), "update 8\n");
    let left: Vec<_> = fs::read_dir(panel.data("installation")).expect("a folder").flatten().collect();
    assert_eq!(left.len(), 5, "the layers and the empty one: {left:?}");
}

#[test]
fn a_daemon_killed_before_it_merged_a_deep_stack_merges_it_when_it_is_back() {
    let mut transcript = String::new();
    for number in 1..=5 {
        let _ = write!(
            transcript,
            "run\nsay Success! App '222860' fully installed.\nexit 0\n\
             run\nprogram srcds_run\nfile last {number}\nfile only-{number} x\n\
             say Success! App '222860' fully installed.\nexit 0\n"
        );
    }
    let stand_in = StandIn::playing(&transcript);
    let mut panel = stand_in.panel();
    for _ in 0..4 {
        panel.must("/admin/install");
    }
    panel.terminate();
    panel.environment("LEFT4ME_TESTS_CRASH_AT", Some("install/tidy"));
    panel.start_again();
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    panel.child.wait().expect("the daemon dies at the step");
    panel.environment("LEFT4ME_TESTS_CRASH_AT", None);
    panel.start_again();
    let job = panel.finished(&job);
    let log = panel.job_log(&job);
    assert_eq!(job["state"], "succeeded", "{log}");
    assert!(log.contains("the daemon was started anew; build 5 is published already\n"), "{log}");
    assert!(log.contains("merging 5 game layers into one\n"), "{log}");
    assert_eq!(StandIn::runs(&panel), 10, "SteamCMD is not run again");
    assert_eq!(builds(&panel)[0]["layers"], json!([6]));
    let merged = panel.data("installation/6");
    assert_eq!(fs::read_to_string(merged.join("last")).expect("a file"), "5\n");
    assert!((1..=5).all(|number| merged.join(format!("only-{number}")).exists()));
}

#[test]
fn one_click_goes_back_to_the_build_before() {
    if !crate::support::panel::may_become_another() {
        return crate::support::skip("another user's /proc/<pid>/root may be read by root only");
    }
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let stand_in = StandIn::playing(&updates());
    panel.terminate();
    panel.environment("LEFT4ME_STEAMCMD", Some(&stand_in.program().display().to_string()));
    panel.start_again();
    panel.must("/admin/install");
    let server = panel.server("one", blueprint);
    panel.must(&format!("/servers/{server}/start"));
    assert_eq!(motd(&panel, server), "update 2\n");

    let page = panel.page("/admin/install");
    assert!(page.contains("action=\"/admin/builds/1/activate\"") && page.contains("Use this one"), "{page}");
    assert!(!page.contains("/admin/builds/2/activate"), "the active one has no button");
    let answer = panel.click("/admin/builds/1/activate").expect(302);
    assert_eq!(answer.header("location"), Some("/admin/install"));
    let active: Vec<Value> = builds(&panel).iter().map(|build| build["active"].clone()).collect();
    assert_eq!(active, [json!(false), json!(true)]);
    assert_eq!(motd(&panel, server), "update 2\n", "what runs keeps its files");
    panel.must(&format!("/servers/{server}/restart"));
    assert!(motd(&panel, server).starts_with("A simulated server"), "the next start takes the build before");
    assert_eq!(
        panel.admin("POST", "/admin/builds/9/activate", &Value::Null).expect(404).json()["error"],
        "build not found"
    );
    // An update from here stands on what is active, not on what was newest.
    panel.must("/admin/install");
    assert_eq!(builds(&panel)[0]["layers"], json!([3, 1]));
}
