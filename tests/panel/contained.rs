//! Games that behave badly: each is contained, and what it did is named where its owner looks.

use serde_json::json;

use crate::games::{blueprint, console, state, type_line};
use crate::support::panel::{Panel, Setup};
use crate::support::{eventually, processes};

fn panel(config: &[&str]) -> Panel {
    let panel = Panel::with(Setup { config: config.iter().map(ToString::to_string).collect(), ..Setup::default() });
    panel.must("/admin/install");
    panel
}

/// Writes without end: into many files, or into one that has no name any more.
const FILLER: &str = r#"
my $chunk = 'x' x (1 << 20);
while (1) {
    my $line = line(1) // next;
    exit 0 if $line eq 'quit';
    mkdir 'deep'; mkdir 'deep/er';
    for (my $n = 0; ; $n++) {
        open(my $file, '>', "deep/er/$n") or last;
        unlink "deep/er/$n" if $line eq 'hide';
        push @held, $file if $line eq 'hide';
        syswrite($file, $chunk) for 1 .. 4;
        chmod 0300, 'deep';
        select(undef, undef, undef, 0.002);
    }
}
"#;

#[test]
fn a_game_that_fills_the_disk_is_ended_named_and_not_started_again_until_there_is_room() {
    let panel = panel(&["disk_max: 64M"]);
    let filler = blueprint(&panel, "filler", FILLER);
    for (name, word) in [("open", "fill"), ("hidden", "hide")] {
        let server = panel.server(name, filler);
        panel.must(&format!("/servers/{server}/start"));
        let game = panel.game(server);
        type_line(&panel, server, word);
        let failed = eventually("the game is ended", || {
            let state = state(&panel, server);
            (state["actual_state"] == "failed").then_some(state)
        });
        let error = failed["last_error"].as_str().unwrap_or_default();
        assert!(error.starts_with("the game was ended: it wrote more than the 64 MiB that disk_max allows"), "{error}");
        assert!(processes::one(game.pid).is_none() && panel.find_game(server).is_none());
        if word == "fill" {
            let job = panel.run(&format!("/servers/{server}/start"));
            assert_eq!(job["state"], "failed");
            let error = job["error"].as_str().unwrap_or_default();
            assert!(error.contains("its own layer holds more than the 64 MiB that disk_max allows"), "{error}");
            let upper = panel.data("instances").join(server.to_string()).join("upper");
            left4me::sys::fs::remove_tree(&upper.join("deep")).expect("an empty layer");
        }
        panel.must(&format!("/servers/{server}/start"));
        panel.must(&format!("/servers/{server}/stop"));
    }
}

#[test]
fn a_fork_bomb_plays_on_at_its_limit_and_is_named_while_it_does() {
    let panel = panel(&["pids_max: 24"]);
    let bomb = "while (1) {
        my $line = line(1) // next;
        exit 0 if $line eq 'quit';
        for (1 .. 200) { my $pid = fork(); next unless defined $pid; if (!$pid) { sleep 1000 while 1; } }
        print \"forked\\n\";
    }";
    let server = panel.server("bomb", blueprint(&panel, "bomb", bomb));
    let calm = panel.server(
        "calm",
        blueprint(
            &panel,
            "calm",
            "while (1) { my $l = line(1) // next; exit 0 if $l eq 'quit'; print \"heard $l\\n\"; }",
        ),
    );
    for server in [server, calm] {
        panel.must(&format!("/servers/{server}/start"));
    }
    type_line(&panel, server, "fork");
    let named = eventually("it is named", || {
        let state = state(&panel, server);
        state["last_error"].as_str().is_some_and(|error| error.contains("pids_max (24)")).then_some(state)
    });
    assert_eq!(named["actual_state"], "running", "{named}");
    assert!(named["live"]["processes"].as_u64().is_some_and(|count| (20..=24).contains(&count)), "{named}");
    // The neighbour notices nothing.
    type_line(&panel, calm, "you");
    eventually("the neighbour answers", || console(&panel, calm).contains("heard you").then_some(()));
    panel.must(&format!("/servers/{server}/stop"));
    // Each of them carries the game's command line.
    assert!(panel.find_game(server).is_none());
}

#[test]
fn a_game_that_ignores_every_signal_is_killed_by_a_stop_and_the_job_says_so() {
    let panel = panel(&[]);
    let deaf = "for my $name (keys %SIG) { $SIG{$name} = 'IGNORE'; }\nline(1) while 1;";
    let server = panel.server("deaf", blueprint(&panel, "deaf", deaf));
    panel.must(&format!("/servers/{server}/start"));
    let game = panel.game(server);
    let job = panel.must(&format!("/servers/{server}/stop"));
    assert!(processes::one(game.pid).is_none());
    let text = "the game did not end when it was told to quit and interrupted: it was killed";
    assert!(panel.job_log(&job).contains(text), "{}", panel.job_log(&job));
    let state = state(&panel, server);
    assert_eq!((&state["actual_state"], &state["last_error"]), (&json!("stopped"), &json!(text)));
}

#[test]
fn a_game_that_crashes_at_once_and_always_becomes_failed_with_its_last_lines() {
    let panel = panel(&[]);
    let server =
        panel.server("broken", blueprint(&panel, "broken", "line(0.3); print \"the plugin is missing\\n\"; exit 3;"));
    panel.must(&format!("/servers/{server}/start"));
    let failed = eventually("it is given up", || {
        let state = state(&panel, server);
        (state["actual_state"] == "failed").then_some(state)
    });
    let error = failed["last_error"].as_str().unwrap_or_default();
    assert!(
        error.contains("exit code 3") && error.contains("the plugin is missing") && error.contains("Five crashes"),
        "{error}"
    );
    assert_eq!(failed["desired_state"], "running");
    assert_eq!(console(&panel, server).matches("the plugin is missing").count(), 5);
}

#[test]
fn a_game_that_answers_nothing_and_prints_nothing_is_left_alone_and_its_hour_survives_the_daemon() {
    let mut panel = panel(&[]);
    let silent =
        "my $work = 0; while (1) { $work += $_ for 1 .. 200_000; my $l = line(0.01) // next; exit 0 if $l eq 'quit'; }";
    let server = panel.server("silent", blueprint(&panel, "silent", silent));
    panel.must(&format!("/servers/{server}/start"));
    let game = panel.game(server);
    let drawn = |panel: &Panel| {
        let page = panel.admin("GET", &format!("/servers/{server}/live"), &serde_json::Value::Null).expect(200).body;
        page.matches("<polyline").count()
    };
    eventually("two pictures of what it uses", || (drawn(&panel) >= 2).then_some(()));
    let live = state(&panel, server)["live"].clone();
    assert!(live["cpu_percent"].as_u64().is_some_and(|cpu| cpu > 5), "{live}");
    assert!(live["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{live}");
    assert_eq!((&live["players"], &live["people"]), (&json!(null), &json!(null)), "{live}");
    panel.kill();
    panel.start_again();
    assert!(drawn(&panel) >= 2, "the hour is drawn by the next daemon");
    let state = state(&panel, server);
    assert_eq!((&state["actual_state"], &state["last_error"]), (&json!("running"), &json!(null)));
    assert_eq!(panel.game(server).pid, game.pid);
}
