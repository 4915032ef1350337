//! A disk without space: the change is refused whole, what was there stays readable, and space mends it without a restart.
//!
//! The limit on file size stands for the full disk: the kernel refuses the same writes, and no mount is needed. It binds a
//! whole process, so the test runs itself again as a child under that limit.

use std::path::Path;
use std::process::Command;

use left4me::live::Hub;
use left4me::store::{Read, Span, Store, StoreError, Tx, tables};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Where the child finds its folder; not set in the parent.
const FOLDER: &str = "LEFT4ME_TEST_FULL_DISK";

#[test]
fn a_full_disk_refuses_changes_whole_and_needs_no_restart_once_there_is_space() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return with_little_space(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    // The soft limit of 3 MiB, in blocks of 512 bytes; the signal that comes with it is ignored, so that writes fail instead.
    let script = "trap '' XFSZ; ulimit -S -f 6144; exec \"$0\" \"$@\"";
    let name = concat!(module_path!(), "::a_full_disk_refuses_changes_whole_and_needs_no_restart_once_there_is_space");
    let name = name.split_once("::").unwrap().1;
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(FOLDER, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

/// Records of this test; asking for the health writes one of its own.
fn count(store: &Store) -> usize {
    let keys = store.read().unwrap().keys(&tables::COUNTERS, &Span::all()).unwrap();
    keys.iter().filter(|key| key.ends_with('x')).count()
}

fn put(store: &Store, number: u64) -> Result<(), StoreError> {
    let key = format!("{number} {}", "x".repeat(2000));
    store.write(|tx: &mut Tx| tx.put(&tables::COUNTERS, &key, &number))
}

fn with_little_space(folder: &Path) {
    let path = folder.join("s.redb");
    let store = Store::open(&path, Hub::new()).unwrap();
    let mut kept = 0;
    let error = loop {
        match put(&store, kept) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
        assert!(kept < 100_000, "the limit holds");
    };
    assert!(matches!(error, StoreError::DiskFull), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_eq!(count(&store), kept as usize, "all that was answered is there, and nothing more");
    assert!(matches!(put(&store, kept), Err(StoreError::DiskFull)));
    assert_eq!(count(&store), kept as usize);

    let limit = getrlimit(Resource::Fsize);
    setrlimit(Resource::Fsize, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    store.health().unwrap();
    put(&store, kept).unwrap();
    drop(store);
    let store = Store::open(&path, Hub::new()).unwrap();
    assert_eq!(count(&store), kept as usize + 1);
    store.health().unwrap();
}
