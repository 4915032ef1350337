//! Who plays, asked over RCON where a blueprint sets a password; and that a password which is refused is not tried again.

use serde_json::json;

use crate::games::{console, state};
use crate::support::eventually;
use crate::support::panel::Panel;

#[test]
fn players_are_named_with_their_steam_ids_where_the_blueprint_sets_a_password() {
    let panel = Panel::start();
    panel.must("/admin/install");
    let server = panel.server("asked", panel.blueprint("asked", &["rcon_password \"a secret\" // mine"], &[]));
    panel.must(&format!("/servers/{server}/start"));
    let live = eventually("somebody plays", || {
        let live = state(&panel, server)["live"].clone();
        live["people"].as_array().is_some_and(|people| !people.is_empty()).then_some(live)
    });
    for person in live["people"].as_array().unwrap() {
        assert!(person["steam_id"].as_str().is_some_and(|id| id.starts_with("STEAM_1:")), "{person}");
        assert!(!person["name"].as_str().unwrap_or_default().is_empty(), "{person}");
    }
    assert_eq!(live["rcon_problem"], json!(null));
    let page = panel.admin("GET", &format!("/servers/{server}"), &json!(null)).expect(200).body;
    assert!(!page.contains("a secret"), "the password is not shown");
}

#[test]
fn a_password_that_the_game_refuses_is_tried_once_and_never_again() {
    let mut panel = Panel::start();
    panel.must("/admin/install");
    // Another file changes what the blueprint has set.
    panel.overlay_file("other", "left4dead2/cfg/other.cfg", "rcon_password different\n");
    let overlay = json!({"name": "other", "path": panel.data("overlays").join("other")});
    let overlay = panel.admin("POST", "/admin/overlays", &overlay).expect(201).json()["id"].as_u64().unwrap();
    let server =
        panel.server("refused", panel.blueprint("refused", &["rcon_password hush", "exec other.cfg"], &[overlay]));
    panel.must(&format!("/servers/{server}/start"));
    let refusals = |panel: &Panel| console(panel, server).matches("Bad Password").count();
    eventually("it is refused", || (refusals(&panel) > 0).then_some(()));
    let problem =
        eventually("it is told", || state(&panel, server)["live"]["rcon_problem"].as_str().map(str::to_owned));
    assert!(problem.contains("refused the RCON password"), "{problem}");
    // Through more looks, and by the next daemon.
    panel.kill();
    panel.start_again();
    eventually("the next daemon looks", || state(&panel, server)["live"]["rcon_problem"].as_str().map(drop));
    let played = state(&panel, server)["live"]["uptime_seconds"].as_u64().unwrap_or(0);
    eventually("two more looks", || {
        state(&panel, server)["live"]["uptime_seconds"].as_u64().filter(|now| *now > played + 11)
    });
    assert_eq!(refusals(&panel), 1);
    // A new start is a new game: it is tried once more.
    panel.must(&format!("/servers/{server}/restart"));
    eventually("it is tried again", || (refusals(&panel) == 2).then_some(()));
}
