//! `left4me ports …`: every command gives the same answer with the daemon and without it, as JSON and as a table.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::panel::{Panel, Setup};
use crate::support::said::Said;

fn ports(panel: &Panel, arguments: &[&str]) -> Said {
    panel.said(&[&["ports"], arguments].concat())
}

fn as_json(panel: &Panel, arguments: &[&str]) -> Said {
    panel.said(&[&["ports", "--json"], arguments].concat())
}

/// Times and identifiers differ between two runs of the same thing; what they say does not.
fn plain(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|key, _| !matches!(key.as_str(), "claimed_at" | "created_at" | "expires_at"));
            fields.values_mut().for_each(|field| *field = plain(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = plain(item.take())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

fn panel(range: &str) -> Panel {
    let panel = Panel::with(Setup { config: vec![format!("port_range: {range}")], ..Setup::default() });
    let blueprint = panel.blueprint("plain", &[], &[]);
    panel.server("First", blueprint);
    panel.server("Second one", blueprint);
    panel
}

/// Runs `look` with the daemon and again without it: the answers have to be the same.
fn both(panel: &mut Panel, look: impl Fn(&Panel) -> Value) -> Value {
    let with = plain(look(panel));
    panel.terminate();
    let without = plain(look(panel));
    panel.start_again();
    assert_eq!(with, without);
    with
}

#[test]
fn looking_gives_the_same_answer_with_and_without_the_daemon() {
    let mut panel = panel("28215-28224");
    let list = both(&mut panel, |panel| as_json(panel, &["list"]).json());
    let shown: Vec<_> =
        list["items"].as_array().expect("claims").iter().map(|one| (&one["port"], &one["holder"])).collect();
    assert_eq!(shown, [(&json!(28215), &json!("First")), (&json!(28216), &json!("Second one"))]);

    // What strays there are is the box's business, not this test's.
    let check = both(&mut panel, |panel| {
        let mut report = as_json(panel, &["check"]).json();
        assert!(report["strays"].take().is_array());
        report
    });
    assert_eq!(check, json!({"stale": [], "unclaimed": [], "foreign": [], "strays": null}));

    for target in ["28216", "Second one", "2"] {
        let inspected = both(&mut panel, |panel| as_json(panel, &["inspect", target]).json());
        assert_eq!((&inspected["port"], &inspected["in_range"]), (&json!(28216), &json!(true)), "{target}");
        assert_eq!(inspected["claim"]["holder"], "Second one", "{target}");
    }
    let free = both(&mut panel, |panel| as_json(panel, &["inspect", "29999"]).json());
    assert_eq!(free, json!({"port": 29999, "claim": null, "foreign": [], "in_range": false}));
}

#[test]
fn a_person_gets_a_table_and_sentences() {
    let mut panel = panel("28225-28234");
    let table = both(&mut panel, |panel| {
        let said = ports(panel, &["list"]);
        assert_eq!(said.code, Some(0), "{}", said.err);
        said.out.into()
    });
    let lines: Vec<&str> = table.as_str().expect("text").lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PORT", "FOR", "STATUS", "KIND", "HOLDER", "USER"]);
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>(),
        ["28226", "game", "active", "auto", "Second", "one", "admin"]
    );
    let inspected = ports(&panel, &["inspect", "First"]).out;
    for part in ["port: 28225", "in_range: true", "holder First", "status active"] {
        assert!(inspected.contains(part), "{part}: {inspected}");
    }
    assert_eq!(ports(&panel, &["cleanup"]).out, "none\n");
    assert_eq!(ports(&panel, &["reserve", "2", "--label", "Cup"]).out, "reserved: 28227 28228\n");
}

#[test]
fn reserving_releasing_and_clearing_do_the_same_with_and_without_the_daemon() {
    let mut panel = panel("28235-28244");
    for daemon in [true, false] {
        let made = as_json(&panel, &["reserve", "3", "--label", "Cup"]).json();
        assert_eq!(made["ports"], json!([28237, 28238, 28239]));
        let released = as_json(&panel, &["release", "28238"]).json();
        assert_eq!((&released["port"], &released["status"]), (&json!(28238), &json!("reserved")));
        let cleared = as_json(&panel, &["clear", "--yes"]).json();
        let left: Vec<&Value> = cleared["items"].as_array().expect("claims").iter().map(|one| &one["port"]).collect();
        assert_eq!(left, [28237, 28239]);
        let list = as_json(&panel, &["list"]).json();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "servers keep their ports: {list}");
        if daemon {
            panel.terminate();
        }
    }
    panel.start_again();
    let audit = panel.get("/admin/audit?action=ports");
    let actions: Vec<&str> =
        audit["items"].as_array().expect("entries").iter().filter_map(|one| one["action"].as_str()).collect();
    assert_eq!(actions.len(), 6, "{audit}");
}

#[test]
fn what_is_stale_is_reported_shown_by_a_dry_run_and_released_by_cleanup() {
    let mut panel = panel("28245-28254");
    for (label, daemon) in [("Soon", true), ("Later", false)] {
        let soon = jiff::Timestamp::now().checked_add(std::time::Duration::from_secs(2)).expect("a time").to_string();
        as_json(&panel, &["reserve", "2", "--label", label, "--expires", &soon]).json();
        as_json(&panel, &["reserve", "1", "--label", "Kept"]).json();
        let stale = eventually("the reservation's end", || {
            let report = as_json(&panel, &["check"]).json();
            Some(report["stale"].as_array().expect("claims").len()).filter(|count| *count > 0)
        });
        assert_eq!(stale, 2);
        let would = plain(as_json(&panel, &["cleanup", "--dry-run"]).json());
        assert_eq!(would["items"].as_array().map(Vec::len), Some(2));
        assert_eq!(plain(as_json(&panel, &["cleanup", "Nobody"]).json())["items"], json!([]));
        assert_eq!(plain(as_json(&panel, &["cleanup", label]).json()), would, "what was announced is what was done");
        assert_eq!(as_json(&panel, &["check"]).json()["stale"], json!([]));
        as_json(&panel, &["clear", "--yes"]).json();
        if daemon {
            panel.terminate();
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_in_one_line_that_says_why() {
    let mut panel = panel("28255-28264");
    let look = |panel: &Panel| {
        let texts = [
            (
                &["release", "First"][..],
                "port 28255 belongs to the server \"First\", which exists: change its port or delete it",
            ),
            (&["release", "28260"], "port claim not found"),
            (&["reserve", "0", "--label", "Cup"], "count: must be from 1 to 1000"),
            (&["clear"], "there is no terminal to ask on; say --yes to go ahead"),
        ];
        for (arguments, text) in texts {
            assert_eq!(ports(panel, arguments).refused(), text, "{arguments:?}");
        }
        assert!(ports(panel, &["inspect", "Nobody"]).refused().contains("`left4me servers list` shows them"));
        let usages =
            [&["reserve", "many", "--label", "Cup"][..], &["reserve", "1", "--label", "Cup", "--expires", "soon"]];
        for usage in usages {
            let said = ports(panel, usage);
            assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{usage:?}: {}", said.err);
        }
        let full = ports(panel, &["reserve", "9", "--label", "Cup"]);
        assert!(
            full.refused().starts_with(
                "only 8 free ports in 28255-28264, and more are asked for. Held: 28255 server 1 \"First\"; "
            ),
            "{}",
            full.err
        );
        as_json(panel, &["list"]).json()
    };
    let list = both(&mut panel, look);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "nothing was half done: {list}");
}
