//! Installs by a SteamCMD that plays transcripts, through the real daemon, shim and sandbox: each ends in the state and
//! the text that an admin needs.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use left4me::domain::{Domain, Rules};
use left4me::live::Hub;
use left4me::model::port::PortRange;
use left4me::store::Store;
use serde_json::{Value, json};

use crate::support::panel::{Panel, Setup};
use crate::support::stand_in::StandIn;
use crate::support::{eventually, processes};

/// The install, to its end; the job's log must hold no complaint of the stand-in itself.
fn install(panel: &Panel) -> (Value, String) {
    let job = panel.run("/admin/install");
    let log = panel.job_log(&job);
    assert!(!log.contains("STAND-IN"), "{log}");
    (job, log)
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Nothing of the install is left, but for its log.
fn nothing_left(panel: &Panel) {
    assert_eq!(panel.get("/admin/builds")["items"], json!([]), "no build");
    assert!(names(&panel.data("installation")).iter().all(|name| name == "empty"), "no layer");
    assert_eq!(names(&panel.data("runtime")), [""; 0], "no run");
    let running: Vec<_> = processes::of_folder(panel.folder.path())
        .into_iter()
        .filter(|process| process.pid != panel.child.id() && process.parent == 1)
        .collect();
    assert!(running.is_empty(), "no process: {running:?}");
}

/// A transcript that ends in a failure with this text; answers the log.
#[track_caller]
fn fails(stand_in: &StandIn, panel: &Panel, runs: usize, text: &str) -> String {
    let (job, log) = install(panel);
    assert_eq!(job["state"], "failed", "{log}");
    let error = job["error"].as_str().unwrap_or_default();
    assert!(error.contains(text), "{error}\n{log}");
    assert_ne!(job["exit_code"], 0);
    assert_eq!(StandIn::runs(panel), runs, "{log}");
    nothing_left(panel);
    drop(stand_in.program());
    log
}

/// A transcript that ends in a published build; answers the log.
#[track_caller]
fn succeeds(panel: &Panel, runs: usize) -> String {
    let (job, log) = install(panel);
    assert_eq!((&job["state"], &job["exit_code"]), (&json!("succeeded"), &json!(0)), "{log}");
    assert_eq!(StandIn::runs(panel), runs, "{log}");
    let builds = panel.get("/admin/builds")["items"].as_array().cloned().unwrap_or_default();
    assert_eq!((builds.len(), &builds[0]["active"], &builds[0]["job_id"]), (1, &json!(true), &job["id"]));
    assert_eq!(names(&panel.data("installation")), ["1", "empty"], "the layer, and the empty one below it");
    assert_eq!(names(&panel.data("runtime")), [""; 0]);
    log
}

#[test]
fn two_passes_bring_the_game_without_an_account() {
    let stand_in = StandIn::of("two-passes");
    let panel = stand_in.panel();
    let log = succeeds(&panel, 2);
    assert!(log.contains("trying two passes (windows, then linux), anonymous\n"), "{log}");
    assert!(log.contains(" GiB are free in "), "{log}");
    assert!(log.contains("build 1 is published: servers take it at their next start\n"), "{log}");
    assert!(!log.contains("Update state"), "progress is no line of the log: {log}");
    assert!(!panel.data("installation/1/srcds.exe").exists() && panel.data("installation/1/srcds_run").exists());
}

#[test]
fn an_invalid_platform_walks_through_every_way_and_then_says_that_an_account_is_needed() {
    let stand_in = StandIn::of("invalid-platform");
    let panel = stand_in.panel();
    let log = fails(&stand_in, &panel, 2, "No other way is left: log in with an account that owns the game");
    assert!(log.contains("Steam says \"Invalid platform\"") && log.contains("left4me install --login USER"), "{log}");
    assert!(log.contains("trying one pass with a prepared manifest, anonymous\n"), "{log}");
}

#[test]
fn an_account_that_has_logged_in_on_the_box_is_the_last_way() {
    let stand_in = StandIn::of("invalid-platform");
    let panel = stand_in.panel();
    fs::write(panel.data("steam/account"), "somebody\n").expect("an account");
    let log = succeeds(&panel, 3);
    assert!(log.contains("trying one pass with the account that has logged in on this box\n"), "{log}");
}

#[test]
fn a_full_disk_ends_the_install_at_once_and_says_so() {
    let stand_in = StandIn::of("disk-full");
    let panel = stand_in.panel();
    fails(&stand_in, &panel, 1, "the disk is full: free some space");
}

#[test]
fn a_network_failure_is_tried_again() {
    let stand_in = StandIn::of("network");
    let panel = stand_in.panel();
    let log = succeeds(&panel, 3);
    assert!(log.contains("the network failed; try 2 of 10\n"), "{log}");
}

#[test]
fn a_missing_configuration_is_tried_again() {
    let stand_in = StandIn::of("missing-configuration");
    let panel = stand_in.panel();
    let log = succeeds(&panel, 3);
    assert!(log.contains("SteamCMD says \"Missing configuration\", as it does on a first run; try 2 of 5\n"), "{log}");
}

#[test]
fn a_steamcmd_that_has_updated_itself_is_run_again() {
    let stand_in = StandIn::of("self-update");
    let panel = stand_in.panel();
    let log = succeeds(&panel, 3);
    assert!(log.contains("SteamCMD has updated itself; try 2 of 5\n"), "{log}");
}

#[test]
fn progress_is_read_from_the_byte_pair_where_the_decimal_point_is_a_comma() {
    let stand_in = StandIn::of("decimal-comma");
    let panel = stand_in.panel();
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    let path = format!("/jobs/{}/stream", job["id"]);
    let event = panel.events(&path).find(|event| event.kind == "progress").expect("progress on the stream");
    let progress: Value = serde_json::from_str(&event.data).expect("JSON");
    let part = [&progress["phase"], &progress["done"], &progress["total"]];
    assert_eq!(part, [&json!("downloading"), &json!(19_265_607), &json!(2_521_022_188_u64)]);
    assert_eq!(panel.get(&format!("/jobs/{}", job["id"]))["progress"]["done"], 19_265_607);
    StandIn::let_go(&panel);
    let job = panel.finished(&job);
    assert_eq!((&job["state"], &job["progress"]), (&json!("succeeded"), &Value::Null), "{}", panel.job_log(&job));
}

#[test]
fn garbage_is_kept_harmless_and_ends_in_a_text_that_names_the_exit_code() {
    let stand_in = StandIn::of("garbage");
    let panel = stand_in.panel();
    let log = fails(
        &stand_in,
        &panel,
        3,
        "SteamCMD ended with code 0 and said nothing that explains it; given up after 3 tries",
    );
    assert!(log.contains("\u{fffd}\u{fffd} red <b>bold</b>\n"), "{log}");
    let long = log.lines().find(|line| line.starts_with("xxx")).expect("the long line");
    assert!(long.chars().count() == 4096 && long.ends_with(" …[cut]"), "{long}");
    let jobs = panel.get("/jobs");
    let id = &jobs["items"][0]["id"];
    let page = panel.page(&format!("/jobs/{id}"));
    assert!(page.contains("<span class=\"ansi-1\">red</span> &lt;b&gt;bold&lt;/b&gt;"), "{page}");
    assert!(!page.contains('\u{1b}'), "no escape sequence reaches the page");
    let raw = panel.events(&format!("/jobs/{id}/stream?colours=1")).find(|event| event.data.contains("red"));
    assert!(raw.expect("the line").data.contains("\u{1b}[0;31mred\u{1b}[0m"), "our own pages get the colours");
}

#[test]
fn a_steamcmd_that_hangs_is_ended_and_the_job_says_how_long_it_was_silent() {
    let stand_in = StandIn::of("hang");
    let environment = vec![("LEFT4ME_TESTS_STEAMCMD_SILENCE", "2".to_owned())];
    let panel = stand_in.panel_with(Setup { environment, ..Setup::default() });
    fails(&stand_in, &panel, 3, "SteamCMD said nothing for 2 seconds and was ended; given up after 3 tries");
}

#[test]
fn a_steamcmd_that_is_killed_is_tried_again_and_then_given_up() {
    let stand_in = StandIn::of("killed");
    let panel = stand_in.panel();
    let log = fails(&stand_in, &panel, 3, "SteamCMD was killed; given up after 3 tries");
    assert!(log.contains("SteamCMD was killed; try 2 of 3\n"), "{log}");
}

#[test]
fn success_without_an_executable_program_is_none() {
    let stand_in = StandIn::of("no-program");
    let panel = stand_in.panel();
    fails(&stand_in, &panel, 2, "there is no executable srcds_run or srcds_linux");
}

#[test]
fn a_rename_of_a_folder_below_meets_exdev_and_the_next_try_gets_round_it() {
    if !std::path::Path::new("/usr/bin/perl").exists() {
        return crate::support::skip("no perl, which renames without a copy in its place");
    }
    let stand_in = StandIn::of("exdev");
    let panel = stand_in.panel();
    assert_eq!(install(&panel).0["state"], "succeeded");
    let (job, log) = install(&panel);
    assert_eq!(job["state"], "succeeded", "{log}");
    assert!(log.contains("rename: Invalid cross-device link\n"), "{log}");
    assert!(log.contains("SteamCMD could not write; try 2 of 3\n"), "{log}");
    assert_eq!(StandIn::runs(&panel), 5);
    assert_eq!(fs::read_to_string(panel.data("installation/2/left4dead2/new/map.bsp")).expect("moved"), "first\n");
    assert!(panel.data("installation/1/left4dead2/old/map.bsp").exists(), "the layer below is as it was");
}

#[test]
fn a_cancelled_install_ends_its_whole_tree_and_leaves_nothing() {
    let stand_in = StandIn::of("gated");
    let panel = stand_in.panel();
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    eventually("the download", || panel.job_log(&job).contains("downloading").then_some(()));
    let sleeps = || {
        let of_us = processes::of_folder(panel.folder.path());
        of_us.into_iter().filter(|process| process.command == "sleep 1000000").count()
    };
    eventually("the child that it leaves behind", || (sleeps() == 1).then_some(()));
    panel.admin("POST", &format!("/jobs/{}/cancel", job["id"]), &Value::Null).expect(200);
    let job = panel.finished(&job);
    assert_eq!((&job["state"], &job["error"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(sleeps(), 0);
    nothing_left(&panel);
}

/// An install in the middle of its download.
fn downloading(panel: &Panel) -> Value {
    let job = panel.admin("POST", "/admin/install", &Value::Null).expect(202).json();
    eventually("the download", || panel.job_log(&job).contains("downloading").then_some(()));
    job
}

#[test]
fn an_install_whose_console_cannot_be_read_fails_and_ends_what_it_runs() {
    let stand_in = StandIn::of("gated");
    let panel = stand_in.panel();
    let job = downloading(&panel);
    let console = panel.data(&format!("runtime/install-{}/console", job["id"]));
    fs::set_permissions(&console, fs::Permissions::from_mode(0o000)).expect("permissions");
    StandIn::let_go(&panel);
    let job = panel.finished(&job);
    assert_eq!(job["state"], "failed", "{job}");
    assert!(job["error"].as_str().is_some_and(|error| error.contains("output cannot be read")), "{job}");
    assert!(!panel.job_log(&job).contains("cannot be removed"), "{}", panel.job_log(&job));
    nothing_left(&panel);
}

#[test]
fn a_shim_that_outlived_its_install_is_ended_when_the_daemon_starts() {
    let stand_in = StandIn::of("gated");
    let mut panel = stand_in.panel();
    let job = downloading(&panel);
    panel.kill();
    {
        // As after a job that ended without its shim.
        let store = Store::open(&panel.data("left4me.redb"), Hub::new()).expect("the store");
        let rules = Rules {
            port_range: PortRange::default(),
            max_servers_per_user: 10,
            overlay_root: panel.data("overlays"),
            data_dir: panel.data(""),
            signup_open: true,
            log_line_max_chars: 4096,
            log_replay_limit: 2000,
        };
        Domain::new(store, rules).interrupt_jobs(&[]).expect("an interruption");
    }
    panel.start_again();
    assert_eq!(panel.get(&format!("/jobs/{}", job["id"]))["state"], "interrupted");
    nothing_left(&panel);
}

#[test]
fn the_command_line_draws_a_progress_bar_on_a_terminal_and_nowhere_else() {
    let stand_in = StandIn::playing(
        "run +@sSteamCmdForcePlatformType windows\n\
         say  Update state (0x61) downloading, progress: 10.00 (1000000 / 10000000)\n\
         sh sleep 1\n\
         say  Update state (0x61) downloading, progress: 30.00 (3000000 / 10000000)\n\
         sh sleep 1\n\
         say \\0033]0;title\\0007done\nsay Success! App '222860' fully installed.\nexit 0\n\
         run +@sSteamCmdForcePlatformType linux\nprogram srcds_run\nsay Success! App '222860' fully installed.\nexit 0\n",
    );
    let panel = stand_in.panel();
    if !std::path::Path::new("/usr/bin/script").exists() {
        return crate::support::skip("no script(1), which lends a terminal");
    }
    let follow = format!("{} install --follow", panel.folder.path().join("left4me").display());
    let mut command = panel.command(&[]);
    let mut on_terminal = std::process::Command::new("/usr/bin/script");
    on_terminal.args(["-qec", &follow, "/dev/null"]).stdin(std::process::Stdio::null());
    on_terminal.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let shown = on_terminal.output().expect("a terminal");
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{text}");
    let bar = text.split('\r').find(|line| line.contains("]  30%  downloading  2.9 MiB of 9.5 MiB, "));
    let bar = bar.unwrap_or_else(|| panic!("{text:?}"));
    assert!(bar.contains("[####") && bar.contains("--]") && bar.contains("/s, ") && bar.ends_with(" left"), "{bar:?}");
    assert!(!text.contains("title"), "no sequence of the program reaches the terminal: {text:?}");

    fs::remove_file(panel.data("steam/runs")).expect("the count");
    let piped = command.args(["install", "--follow"]).output().expect("the command line");
    let text = String::from_utf8_lossy(&piped.stdout).into_owned() + &String::from_utf8_lossy(&piped.stderr);
    assert!(piped.status.success() && text.contains("\ndone\n") && !text.contains("###"), "{text}");
}
