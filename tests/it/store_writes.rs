//! Write transactions: what leaves, when, and what many writers at once see.

use std::collections::HashSet;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use left4me::live::Hub;
use left4me::model::event::Event;
use left4me::model::id::ServerId;
use left4me::store::{Read, Store, StoreError, Tx, tables};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("s.redb"), Hub::new()).unwrap();
    (folder, store)
}

fn count(store: &Store, name: &str) -> u64 {
    store.read().unwrap().get(&tables::COUNTERS, &name.to_owned()).unwrap().unwrap_or(0)
}

#[test]
fn events_leave_after_the_commit_and_only_then() {
    let (_folder, store) = store();
    let mut events = store.hub().listen();
    let refused: Result<(), StoreError> = store.write(|tx| {
        tx.next_number("x")?;
        tx.note(Event::Ports);
        Err(StoreError::DiskFull)
    });
    assert!(refused.is_err());
    assert_eq!(count(&store, "x"), 0, "a refused transaction leaves no trace");
    assert!(events.try_recv().is_err(), "nor an event");
    store
        .write(|tx: &mut Tx| {
            tx.note(Event::Server(ServerId(1)));
            tx.note(Event::Server(ServerId(1)));
            let number = tx.next_number("x")?;
            assert!(events.try_recv().is_err(), "not before the commit");
            Ok::<_, StoreError>(number)
        })
        .unwrap();
    assert_eq!(events.try_recv().unwrap(), Event::Server(ServerId(1)));
    assert!(events.try_recv().is_err(), "the same note is told once");
    assert_eq!(count(&store, "x"), 1);
}

#[test]
fn many_writers_at_once_each_get_a_number_of_their_own_and_read_what_they_wrote() {
    let (_folder, store) = store();
    let numbers: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    (0..25)
                        .map(|round| {
                            if round % 5 == 0 {
                                // Refusals in between must not take others' work along.
                                let refused: Result<u64, StoreError> =
                                    store.write(|tx| tx.next_number("x").and(Err(StoreError::DiskFull)));
                                assert!(refused.is_err());
                            }
                            let number = store.write(|tx: &mut Tx| tx.next_number("x")).unwrap();
                            assert!(count(&store, "x") >= number, "what was answered can be read");
                            number
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(numbers.len(), 800);
    assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 800);
    assert_eq!(count(&store, "x"), 800);
}

#[test]
fn what_was_answered_is_in_the_file() {
    let (folder, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (store, folder) = (&store, folder.path());
            scope.spawn(move || {
                for _ in 0..5 {
                    let number = store.write(|tx: &mut Tx| tx.next_number("x")).unwrap();
                    // As after a power cut: the file as it is now, opened by somebody else.
                    let copy = folder.join(format!("copy-{thread}"));
                    fs::copy(store.path(), &copy).unwrap();
                    if let Ok(copied) = Store::open(&copy, Hub::new()) {
                        assert!(count(&copied, "x") >= number);
                    }
                    fs::remove_file(&copy).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_panic_inside_a_transaction_leaves_no_trace_and_nobody_waiting() {
    let (_folder, store) = store();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for _ in 0..10 {
                    if thread % 2 == 0 {
                        let result = catch_unwind(AssertUnwindSafe(|| {
                            store.write(|tx: &mut Tx| -> Result<(), StoreError> {
                                tx.next_number("lost")?;
                                std::panic::resume_unwind(Box::new("a bug"))
                            })
                        }));
                        assert!(result.is_err());
                    } else {
                        store.write(|tx: &mut Tx| tx.next_number("kept")).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!((count(&store, "kept"), count(&store, "lost")), (40, 0));
}

#[test]
fn a_snapshot_does_not_change() {
    let (_folder, store) = store();
    let before = store.read().unwrap();
    store.write(|tx: &mut Tx| tx.next_number("x")).unwrap();
    assert_eq!(before.get(&tables::COUNTERS, &"x".to_owned()).unwrap(), None);
}

#[test]
fn a_healthy_store_says_so() {
    let (_folder, store) = store();
    store.health().unwrap();
}
