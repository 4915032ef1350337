//! The ways back: `--reset-admin` whatever state the store is in, and copies of the store that can be put back.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::sync::atomic::{AtomicBool, Ordering};

use left4me::live::Hub;
use left4me::store::{Store, verify};
use redb::{Database, TableDefinition};
use serde_json::{Value, json};

use crate::support::panel::{Panel, Setup, UID, may_become_another};
use crate::support::{eventually, processes};

fn store(panel: &Panel) -> std::path::PathBuf {
    panel.data("left4me.redb")
}

/// The store as a newer left4me would have written it.
fn make_newer(panel: &Panel) {
    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta.1");
    let db = Database::open(store(panel)).expect("the store");
    let transaction = db.begin_write().expect("a transaction");
    // Version byte 1, then the number 99.
    transaction.open_table(table).expect("a table").insert(&b"schema"[..], &[1, 99][..]).expect("a record");
    transaction.commit().expect("a commit");
}

#[test]
fn reset_admin_names_what_is_wrong_with_a_store_and_changes_nothing() {
    let mut panel = Panel::start();
    panel.terminate();
    let path = store(&panel);
    let whole = fs::read(&path).expect("the store");

    // Somebody holds it without answering on the socket.
    let held = Store::open(&path, Hub::new()).expect("the store");
    let locked = panel.said(&["--reset-admin"]);
    assert!(locked.refused().contains("is in use by another process: stop left4me"), "{}", locked.err);
    drop(held);

    fs::write(&path, &whole[..whole.len() / 3]).expect("damage");
    let damaged = panel.said(&["--reset-admin"]);
    assert!(damaged.refused().contains("the store is damaged at "), "{}", damaged.err);
    assert!(damaged.err.contains("restore a backup with `left4me restore`"), "{}", damaged.err);
    assert_eq!(fs::read(&path).expect("the store").len(), whole.len() / 3, "a damaged store was written to");

    fs::write(&path, &whole).expect("the store");
    make_newer(&panel);
    let before = fs::read(&path).expect("the store");
    let newer = panel.said(&["--reset-admin"]);
    let text = "was written by a newer left4me (form 99, this one reads up to ";
    assert!(newer.refused().contains(text), "{}", newer.err);
    // The daemon says the same, and ends: a downgrade harms nothing.
    let serve = panel.said(&["serve"]);
    assert_eq!(serve.code, Some(1));
    assert!(serve.err.contains(text) && serve.err.contains("install that version again"), "{}", serve.err);
    // redb marks a file that was opened; the records are what must not change.
    fs::write(&path, &before).expect("the store");
    let still = verify(&path).expect_err("newer").to_string();
    assert!(still.contains("form 99"), "{still}");

    fs::write(&path, &whole).expect("the store");
    panel.start_again();
    panel.get("/servers");
}

#[test]
fn reset_admin_makes_restores_and_lets_in_and_ends_what_was_open() {
    let mut panel = Panel::start();
    let (cookie, csrf) = panel.log_in("admin", &panel.reset_admin());
    panel.json_as(&cookie, &csrf, "POST", "/account/password", &Value::Null).expect(400);
    let said = panel.said(&["--reset-admin"]);
    let lines: Vec<&str> = said.done().lines().collect();
    assert_eq!((lines.len(), lines[0]), (2, "username: admin"));
    let password = lines[1].strip_prefix("password: ").expect("a password").to_owned();
    panel.json_as(&cookie, &csrf, "POST", "/account/password", &Value::Null).expect(401);

    // Without the daemon; another name.
    panel.terminate();
    let said = panel.said(&["--reset-admin", "Zoë"]);
    assert_eq!(said.done().lines().next(), Some("username: Zoë"));
    let second =
        said.out.lines().nth(1).and_then(|line| line.strip_prefix("password: ")).expect("a password").to_owned();
    if may_become_another() {
        // As root, as on a box where nobody can log in any more: what is written stays the service user's.
        let mut command = std::process::Command::new(panel.folder.path().join("left4me"));
        command.arg("--reset-admin").env("LEFT4ME_CONFIG", panel.folder.path().join("config.yaml"));
        assert!(command.output().expect("the command line").status.success());
        assert_eq!(fs::metadata(store(&panel)).expect("the store").uid(), UID);
    }
    panel.start_again();
    panel.log_in("Zoë", &second);
    let refused = panel.said(&["promote-admin", "nobody"]);
    assert_eq!(refused.refused(), "user not found");
    assert_ne!(password, second);
}

/// Every server has its claim and every claim its server: what one transaction wrote is there whole or not at all.
fn assert_consistent(panel: &Panel) -> usize {
    let servers = panel.get("/servers?limit=500")["items"].as_array().expect("servers").clone();
    let ports: BTreeSet<u64> = servers.iter().map(|server| server["port"].as_u64().expect("a port")).collect();
    let claims = panel.get("/ports")["items"].as_array().expect("claims").clone();
    let claimed: BTreeSet<u64> = claims.iter().map(|claim| claim["port"].as_u64().expect("a port")).collect();
    assert_eq!(ports, claimed);
    assert_eq!(ports.len(), servers.len());
    servers.len()
}

#[test]
fn a_backup_under_load_is_one_moment_of_the_store_and_comes_back_by_restore() {
    let mut panel = Panel::with(Setup { config: vec!["port_range: 20000-24999".into()], ..Setup::default() });
    let blueprint = panel.blueprint("load", &[], &[]);
    let stop = AtomicBool::new(false);
    let folder = panel.folder.path().join("copies");
    fs::create_dir(&folder).expect("a folder");
    if may_become_another() {
        chown(&folder, Some(UID), Some(UID)).expect("an owner");
    }
    let name = |n: usize| folder.join(format!("{n}.redb")).display().to_string();
    std::thread::scope(|scope| {
        let (panel, stop) = (&panel, &stop);
        for thread in 0..4 {
            scope.spawn(move || {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let body = json!({"name": format!("t{thread}n{n}"), "blueprint_id": blueprint});
                    panel.admin("POST", "/servers", &body).expect(201);
                }
            });
        }
        for n in 0..4 {
            panel.said(&["backup", &name(n)]).done();
        }
        stop.store(true, Ordering::Relaxed);
    });
    let again = panel.said(&["backup", &name(0)]);
    assert!(again.refused().ends_with("exists already; name a new file"), "{}", again.err);
    let all = assert_consistent(&panel);

    let running = panel.said(&["restore", &name(0)]);
    assert!(running.refused().starts_with("the daemon runs: systemctl stop left4me"), "{}", running.err);
    panel.terminate();
    let mut counts = Vec::new();
    for n in 0..4 {
        assert_eq!(fs::metadata(name(n)).expect("a copy").mode() & 0o777, 0o600, "it holds digests of passwords");
        panel.said(&["restore", &name(n)]).done();
        panel.start_again();
        counts.push(assert_consistent(&panel));
        panel.terminate();
    }
    assert!(counts.is_sorted() && counts[3] <= all && counts[0] < counts[3], "{counts:?} of {all}");

    // What was replaced is kept, and is whole: the first one holds everything.
    let kept = panel.data("left4me.redb.before-restore-1");
    panel.said(&["restore", &kept.display().to_string()]).done();
    panel.start_again();
    assert_eq!(assert_consistent(&panel), all);
    panel.terminate();

    // Nothing that is no backup takes the store's place.
    let copy = fs::read(name(3)).expect("a copy");
    for (wrong, bytes) in [("cut", &copy[..copy.len() / 2]), ("text", b"no store at all"), ("empty", b"")] {
        let path = folder.join(wrong);
        fs::write(&path, bytes).expect("a file");
        let refused = panel.said(&["restore", &path.display().to_string()]);
        assert!(refused.refused().contains("is no backup"), "{wrong}: {}", refused.err);
    }
    let missing = panel.said(&["restore", "/nonexistent/file"]);
    assert!(missing.refused().contains("/nonexistent/file cannot be copied"), "{}", missing.err);
    assert!(!panel.data("left4me.redb.restore").exists());
    panel.start_again();
    assert_eq!(assert_consistent(&panel), all);
}

#[test]
fn a_store_in_use_without_a_socket_is_not_restored_over() {
    let mut panel = Panel::start();
    let copy = panel.data("copy.redb").display().to_string();
    panel.said(&["backup", &copy]).done();
    panel.terminate();
    let held = Store::open(&store(&panel), Hub::new()).expect("the store");
    let refused = panel.said(&["restore", &copy]);
    assert!(refused.refused().contains("is in use by another process"), "{}", refused.err);
    assert!(!panel.data("left4me.redb.restore").exists());
    drop(held);
    // A damaged one may be replaced: that is what a backup is for.
    fs::write(store(&panel), b"rubbish").expect("damage");
    let said = panel.said(&["restore", &copy]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    panel.start_again();
    panel.get("/servers");
}

#[test]
fn a_server_made_after_a_restore_is_never_one_that_was_made_after_the_backup() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let copy = panel.data("copy.redb").display().to_string();
    panel.said(&["backup", &copy]).done();
    let lost = panel.server("lost", blueprint);
    panel.must(&format!("/servers/{lost}/start"));
    let game = panel.game(lost);
    panel.terminate();
    panel.said(&["restore", &copy]).done();
    panel.start_again();
    assert_eq!(panel.get("/servers")["items"], json!([]));
    // It runs on, and nobody owns it: it is shown, and ended on the admin's word.
    let stray = eventually("the game that nobody owns", || {
        let report = panel.get("/ports/check");
        report["strays"].as_array().expect("strays").iter().find(|one| one["pid"] == game.pid).cloned()
    });
    let next = panel.server("next", blueprint);
    assert_ne!(next, lost, "an id was used twice");
    assert!(panel.find_game(next).is_none());
    let end = format!("/ports/strays/{}/end", game.pid);
    panel.admin("POST", &end, &json!({"start_time": stray["start_time"]})).expect(204);
    eventually("the end of the game", || processes::one(game.pid).is_none().then_some(()));
}

#[test]
fn the_store_that_a_restore_replaced_can_be_restored_in_its_turn_with_the_game_that_only_it_knows() {
    let mut panel = Panel::start();
    let blueprint = panel.with_game();
    let copy = panel.data("copy.redb").display().to_string();
    panel.said(&["backup", &copy]).done();
    panel.must("/admin/install");
    assert!(panel.data("installation/2").is_dir());
    panel.terminate();
    let said = panel.said(&["restore", &copy]);
    assert!(said.done().contains("for a day nothing is removed that only the other store knows"), "{}", said.out);
    panel.start_again();
    eventually("the look that would have removed the layer", || {
        let logged = panel.logged.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        logged.contains("game layers that its store does not know stay").then_some(())
    });
    assert_eq!(panel.get("/admin/builds")["items"].as_array().map(Vec::len), Some(1));
    panel.terminate();
    let kept = panel.data("left4me.redb.before-restore-1").display().to_string();
    panel.said(&["restore", &kept]).done();
    panel.start_again();
    assert_eq!(panel.get("/admin/builds")["items"].as_array().map(Vec::len), Some(2));
    let server = panel.server("s", blueprint);
    panel.must(&format!("/servers/{server}/start"));
}
