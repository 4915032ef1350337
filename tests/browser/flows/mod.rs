//! Every flow, by every kind of hand: the table below says which flow goes which ways. A flow is one function over a
//! [`Hand`]; each goes by keyboard alone, by mouse, and without JavaScript, on a phone and on a desktop, in light and dark.

mod account;
mod admin;
mod catalog;
mod control;
mod servers;

use serde_json::json;

use crate::driver::{Browser, View};
use crate::hand::{Hand, Way};
use crate::support::panel::{Panel, form};
use crate::support::{http, stand_in::StandIn};

const WIDE_LIGHT: View = View { width: 1440, dark: false };
const WIDE_DARK: View = View { width: 1440, dark: true };
const PHONE_LIGHT: View = View { width: 390, dark: false };
const PHONE_DARK: View = View { width: 390, dark: true };

/// With the keyboard alone.
const fn keys(view: View) -> Way {
    Way { name: "keys", keys: true, script: true, view }
}

/// With the mouse.
const fn mouse(view: View) -> Way {
    Way { name: "mouse", keys: false, script: true, view }
}

/// With the mouse, without JavaScript.
const fn plain(view: View) -> Way {
    Way { name: "plain", keys: false, script: false, view }
}

/// With the keyboard alone, without JavaScript.
const fn plain_keys(view: View) -> Way {
    Way { name: "plain-keys", keys: true, script: false, view }
}

/// A test for each flow: one panel and one browser, the ways one after the other.
macro_rules! flows {
    ($($name:ident: $walk:path, $furnish:path, [$($way:expr),+];)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let Some(browser) = Browser::open(WIDE_LIGHT).await else { return };
            let furnished = tokio::task::spawn_blocking($furnish).await.expect("a panel");
            for way in [$($way),+] {
                let site = format!("http://{}", furnished.panel.address);
                let flow = stringify!($walk).replace("::", "-");
                let hand = Hand::begin(&browser, way, site, &flow).await;
                let started = std::time::Instant::now();
                $walk(&hand, &furnished.panel).await;
                hand.leaves().await;
                println!("{flow} by {}: {:.1} s", way.name, started.elapsed().as_secs_f64());
            }
            browser.close().await;
            tokio::task::spawn_blocking(move || drop(furnished)).await.expect("a clean end");
        }
    )+};
}

flows! {
    a_visitor_signs_up_and_in_and_reads_beside_the_field_what_is_wrong:
        account::entry, bare, [keys(PHONE_DARK), mouse(WIDE_LIGHT), plain(PHONE_LIGHT)];
    a_user_changes_the_password_and_makes_and_revokes_a_token:
        account::secrets, bare, [keys(WIDE_DARK), mouse(PHONE_LIGHT), plain_keys(WIDE_LIGHT)];
    a_user_sets_up_a_second_factor_and_signs_in_with_it:
        account::second_factor, bare, [keys(PHONE_LIGHT), mouse(WIDE_DARK), plain(WIDE_LIGHT)];
    a_blueprint_is_made_changed_copied_and_deleted_by_its_name:
        catalog::blueprint, with_overlays, [keys(WIDE_LIGHT), mouse(PHONE_DARK), plain(WIDE_DARK)];
    an_overlay_is_filled_looked_at_rolled_back_and_deleted_by_its_name:
        catalog::overlay, bare, [keys(PHONE_LIGHT), mouse(WIDE_DARK), plain_keys(PHONE_DARK)];
    who_wins_a_path_is_searched_and_compared_also_inside_addons:
        catalog::paths, with_overlays, [keys(WIDE_DARK), mouse(PHONE_LIGHT), plain(PHONE_DARK)];
    a_server_goes_its_whole_way_from_a_form_to_its_end:
        servers::whole_life, with_game, [keys(WIDE_LIGHT), mouse(PHONE_DARK), plain(PHONE_LIGHT)];
    servers_are_made_together_and_run_from_the_dashboard:
        servers::dashboard, with_game, [keys(PHONE_DARK), mouse(WIDE_LIGHT), plain_keys(WIDE_DARK)];
    a_job_is_found_by_filters_cancelled_and_asked_for_again:
        control::jobs, with_waiting_install, [keys(WIDE_DARK), mouse(PHONE_LIGHT), plain(WIDE_LIGHT)];
    ports_are_mapped_reserved_checked_and_released_by_name:
        control::ports, with_game, [keys(PHONE_LIGHT), mouse(WIDE_DARK), plain(PHONE_DARK)];
    an_admin_keeps_users_and_settings_and_reads_audit_and_doctor:
        admin::house, bare, [keys(WIDE_LIGHT), mouse(PHONE_DARK), plain_keys(PHONE_LIGHT)];
    an_admin_installs_the_game_and_goes_back_to_an_earlier_build:
        admin::builds, with_game, [keys(PHONE_DARK), mouse(WIDE_LIGHT), plain(WIDE_DARK)];
}

/// A panel, and what it leans on.
struct Furnished {
    panel: Panel,
    _stand_in: Option<StandIn>,
}

/// With an admin and nothing else.
fn bare() -> Furnished {
    Furnished { panel: Panel::start(), _stand_in: None }
}

/// With the simulated game.
fn with_game() -> Furnished {
    let furnished = bare();
    furnished.panel.must("/admin/install");
    furnished
}

/// With two overlays that hold the same files, one of them inside an addon.
fn with_overlays() -> Furnished {
    let furnished = bare();
    for (name, rate) in [("Competitive", 30_000), ("Maps", 0)] {
        let panel = &furnished.panel;
        panel.overlay_file(name, "left4dead2/cfg/rates.cfg", &format!("sv_maxrate {rate}\nsv_minrate 20000\n"));
        let addon = left4me::demo::content::vpk(&[("nut", "scripts/vscripts", "director_base", name.as_bytes())]);
        let file = "left4dead2/addons/director.vpk";
        panel.overlay_file(name, file, "");
        std::fs::write(panel.data("overlays").join(name).join(file), addon).expect("an addon");
        let body = json!({"name": name, "path": panel.data("overlays").join(name)});
        panel.admin("POST", "/admin/overlays", &body).expect(201);
    }
    furnished
}

/// With a SteamCMD whose install waits until it is ended.
fn with_waiting_install() -> Furnished {
    let run = "run +@sSteamCmdForcePlatformType windows\n\
        say  Update state (0x61) downloading, progress: 10.00 (1000000 / 10000000)\nawait never\n";
    // Each hand asks twice.
    let stand_in = StandIn::playing(&run.repeat(6));
    Furnished { panel: stand_in.panel(), _stand_in: Some(stand_in) }
}

/// What users of these flows sign in with.
const PASSWORD: &str = "correct horse battery staple";

/// A new user, by name; answers the cookie.
fn new_user(panel: &Panel, username: &str) -> String {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let body = form(&[("username", username), ("password", PASSWORD)]);
    http::send(panel.address, "POST", "/signup", &headers, body.as_bytes()).expect(302);
    panel.log_in(username, PASSWORD).0
}

/// A page asks for a name: a wrong one is told beside the field, the right one does it.
async fn says_the_name(hand: &Hand<'_>, name: &str, picture: &str) {
    hand.types("input[name=confirm]", "something else").await;
    hand.presses("main form button.danger").await;
    hand.sees("#field-confirm-error", "'s name").await;
    hand.looks(picture).await;
    hand.enters("input[name=confirm]", name).await;
}
