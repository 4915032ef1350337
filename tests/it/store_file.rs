//! The store's file: making, opening, refusing, backing up.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use left4me::domain::{Domain, Page, Refusal};
use left4me::live::Hub;
use left4me::model::user::Actor;
use left4me::store::{Read, Store, StoreError, Tx, tables, verify};
use redb::{Database, TableDefinition};

use crate::domain_kit::{Panel, rules};

type Raw = TableDefinition<'static, &'static [u8], &'static [u8]>;

fn open(path: &Path) -> Result<Store, StoreError> {
    Store::open(path, Hub::new())
}

/// Writes raw bytes into a closed store.
fn write_raw(path: &Path, table: &'static str, key: &[u8], value: &[u8]) {
    let db = Database::open(path).unwrap();
    let txn = db.begin_write().unwrap();
    txn.open_table(Raw::new(table)).unwrap().insert(key, value).unwrap();
    txn.commit().unwrap();
}

#[test]
fn a_new_store_is_for_its_owner_only_and_nothing_else_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left4me.redb");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_creation_that_was_cut_anywhere_leaves_a_folder_in_which_the_store_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole.redb");
    drop(open(&whole).unwrap());
    let bytes = fs::read(&whole).unwrap();
    let cuts = (0..bytes.len()).step_by(bytes.len().div_ceil(40)).chain([1, 9, 4095, bytes.len() - 1]);
    for (number, cut) in cuts.enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("left4me.redb");
        // What a daemon leaves that dies while it makes the store: the real name does not exist yet.
        fs::write(folder.path().join(format!("left4me.redb.new.{number}")), &bytes[..cut]).unwrap();
        let store = open(&path).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        store.write(|tx: &mut Tx| tx.next_number("x")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "cut at {cut}: the half-made file is gone");
    }
}

#[test]
fn a_truncated_or_foreign_file_is_a_typed_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left4me.redb");
    drop(open(&path).unwrap());
    let bytes = fs::read(&path).unwrap();
    let texts: [&[u8]; 3] = [b"", b"not a store at all", &[0; 9000]];
    for content in texts.into_iter().chain([&bytes[..100], &bytes[..bytes.len() / 2]]) {
        fs::write(&path, content).unwrap();
        match open(&path) {
            Err(StoreError::Damaged { place, .. }) => assert!(place.contains("left4me.redb"), "{place}"),
            Err(other) => panic!("{} bytes: {other}", content.len()),
            Ok(_) => panic!("{} bytes were taken for a store", content.len()),
        }
    }
}

#[test]
fn a_store_that_is_open_elsewhere_is_refused_as_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left4me.redb");
    let first = open(&path).unwrap();
    let error = open(&path).err().expect("locked");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("stop left4me"), "{error}");
    drop(first);
    open(&path).unwrap();
}

#[test]
fn a_store_of_a_newer_left4me_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left4me.redb");
    drop(open(&path).unwrap());
    // Version byte 1, then the number 99.
    write_raw(&path, "meta.1", b"schema", &[1, 99]);
    let error = open(&path).err().expect("newer");
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    let error = verify(&path).expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_damaged_record_is_a_typed_error_that_names_table_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left4me.redb");
    let names = [("users.1", vec![7u8, 1, 2, 3]), ("users.1", vec![1, 253, 255, 255, 255, 255, 255, 255, 255, 255])];
    for (table, value) in names {
        drop(open(&path).unwrap());
        write_raw(&path, table, &1u64.to_be_bytes(), &value);
        write_raw(&path, "usernames.1", b"admin", &[1, 1]);
        let domain = Domain::new(open(&path).unwrap(), rules(folder.path()));
        match domain.list_users(&Actor::system(), &Page::default()) {
            Err(Refusal::Store(StoreError::Damaged { place, .. })) => assert!(place.contains("users.1"), "{place}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn records_survive_closing_and_opening() {
    let panel = Panel::new();
    let (actor, server) = panel.owner("bob");
    let Panel { domain, folder, .. } = panel;
    drop(domain);
    let domain = Domain::new(open(&folder.path().join("left4me.redb")).unwrap(), rules(folder.path()));
    assert_eq!(domain.server(&actor, server.id).unwrap().server, server);
}

#[test]
fn a_backup_taken_while_others_write_is_consistent_and_holds_every_record() {
    let panel = Panel::new();
    panel.owner("bob");
    let store = panel.domain.store().clone();
    let to = panel.folder.path().join("backup.redb");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let copied = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                // Two counters that are equal in every consistent state.
                store
                    .write(|tx: &mut Tx| {
                        tx.next_number("left")?;
                        tx.next_number("right")
                    })
                    .unwrap();
            }
        });
        let copied = store.backup(&to);
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        copied.unwrap()
    });
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(verify(&to).unwrap(), copied);
    let restored = open(&to).unwrap();
    let read = restored.read().unwrap();
    let count = |name: &str| read.get(&tables::COUNTERS, &name.to_owned()).unwrap();
    assert_eq!(count("left"), count("right"));
    let domain = Domain::new(restored.clone(), rules(panel.folder.path()));
    let now = panel.domain.list_servers(&Actor::system(), &Page::default()).unwrap();
    assert_eq!(domain.list_servers(&Actor::system(), &Page::default()).unwrap(), now);
}

#[test]
fn a_backup_never_overwrites_a_file() {
    let panel = Panel::new();
    let to = panel.folder.path().join("precious");
    fs::write(&to, "precious").unwrap();
    assert!(panel.domain.store().backup(&to).unwrap_err().to_string().contains("name a new one"));
    assert_eq!(fs::read_to_string(&to).unwrap(), "precious");
}

#[test]
fn verifying_something_else_than_a_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    drop(Database::create(&path).unwrap());
    assert!(verify(&path).unwrap_err().to_string().contains("no store of left4me"));
}
