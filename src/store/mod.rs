//! The store: one redb file that holds every record. Called by the domain only.
//!
//! It knows tables, records and transactions, and nothing of users or rules. [`tables`] documents every table.
//!
//! # Writing
//!
//! redb has one writer, and a durable commit costs one flush of the disk. Writers that wait for their turn share a flush:
//! each runs in a transaction of its own, committed at once but not durably, and the last of the queue flushes for all.
//! [`Store::write`] answers, and events leave, only after that flush; [`Store::read`] never shows what came after it.
//!
//! ```text
//! writer 1  ── closure ── commit, not durable ── waits ─────────────┐
//! writer 2      (turn)    ── closure ── commit, not durable ── waits ┤
//! writer 3                  (turn)    ── closure ── durable commit ──┴─▶ snapshot ─▶ events ─▶ all answer
//! ```

mod backup;
mod codec;
mod error;
mod file;
mod migrations;
pub mod tables;
mod tx;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, Durability, ReadableDatabase};

pub use backup::{Copied, verify};
pub use codec::Key;
pub use error::StoreError;
pub use tx::{Read, Snapshot, Span, Tx};

pub use crate::live::Hub;
use crate::model::event::Event;

/// Transactions that one flush may cover; a bound, so that a queue which never empties cannot starve the first in it.
const GROUP_MAX: u64 = 64;

/// The open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    hub: Hub,
    /// Writers that wait for their turn.
    waiting: AtomicUsize,
    turn: Mutex<Turn>,
    flushed: Mutex<Flushed>,
    flush_ended: Condvar,
    /// What readers see: the newest state that is on the disk. `None` while the file cannot be opened.
    snapshot: RwLock<Option<Snapshot>>,
    /// Grows after `snapshot` was replaced, before its lock is released.
    version: AtomicU64,
}

/// Held by the writer whose turn it is.
struct Turn {
    /// `None` while the file cannot be opened after a failed flush.
    db: Option<Database>,
    /// Number of the newest committed transaction.
    newest: u64,
    /// Events of transactions that are not on the disk yet.
    events: Vec<Event>,
}

/// How far the disk is.
#[derive(Default)]
struct Flushed {
    /// Transactions up to this one are settled.
    settled: u64,
    /// Ranges of settled transactions that were lost, newest last: from, to, why.
    lost: Vec<(u64, u64, StoreError)>,
    /// Why the newest flush failed, if it did.
    failure: Option<StoreError>,
}

impl Store {
    /// Opens the store at `path`, making it when it does not exist, and brings it to the newest form. Blocks on the disk.
    pub fn open(path: &Path, hub: Hub) -> Result<Self, StoreError> {
        let (db, snapshot) = open_with_snapshot(path)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                hub,
                waiting: AtomicUsize::new(0),
                turn: Mutex::new(Turn { db: Some(db), newest: 0, events: Vec::new() }),
                flushed: Mutex::default(),
                flush_ended: Condvar::new(),
                snapshot: RwLock::new(Some(snapshot)),
                version: AtomicU64::new(0),
            }),
        })
    }

    /// Where changes are announced after their commit.
    pub fn hub(&self) -> &Hub {
        &self.inner.hub
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Whether the newest write reached the disk. After one that did not, asking tries again: a disk that has space again
    /// needs no restart and no luck.
    pub fn health(&self) -> Result<(), StoreError> {
        if locked(&self.inner.flushed).failure.is_some() {
            return self.write(|tx| tx.next_number("probe").map(|_| ()));
        }
        self.read().map(|_| ())
    }

    /// The newest state that is on the disk.
    pub fn read(&self) -> Result<Snapshot, StoreError> {
        let found = self.inner.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone();
        found.ok_or_else(|| match &locked(&self.inner.flushed).failure {
            Some(error) => error.clone(),
            None => StoreError::Io { what: "is closed".into(), why: "it is being opened again".into() },
        })
    }

    /// Which state [`Store::read`] gives: the number is another after each change. What was read after asking for it is at
    /// least as new, so it holds as long as the number is the same.
    pub fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    /// Runs `work` in a write transaction. `Ok` commits, and this returns when the change is on the disk; `Err` (or a
    /// panic) leaves no trace. Do no slow work inside: there is one writer.
    pub fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&mut Tx) -> Result<T, E>) -> Result<T, E> {
        let inner = &self.inner;
        inner.waiting.fetch_add(1, Ordering::SeqCst);
        let mut turn = locked(&inner.turn);
        inner.waiting.fetch_sub(1, Ordering::SeqCst);
        inner.reopen(&mut turn)?;
        let (answer, commit) = match inner.run(&mut turn, work) {
            Ok(done) => done,
            Err(error) => {
                inner.flush_if_last(&mut turn);
                return Err(error);
            }
        };
        if let Some(tx) = commit {
            inner.commit(&mut turn, tx);
        } else {
            // Nothing was written; what was read may still wait for its flush.
            inner.flush_if_last(&mut turn);
        }
        let number = turn.newest;
        drop(turn);
        inner.wait_for(number)?;
        Ok(answer)
    }

    /// Writes a consistent copy of every record to `to`, a file that must not exist, and reads it back. Others go on
    /// reading and writing meanwhile.
    pub fn backup(&self, to: &Path) -> Result<Copied, StoreError> {
        backup::copy(&self.read()?, to)
    }
}

impl Inner {
    /// Runs `work`; answers its transaction when something is to be committed.
    fn run<T, E: From<StoreError>>(
        &self,
        turn: &mut Turn,
        work: impl FnOnce(&mut Tx) -> Result<T, E>,
    ) -> Result<(T, Option<Tx>), E> {
        let Some(db) = &turn.db else { return Err(StoreError::DiskFull.into()) };
        let txn = db.begin_write().map_err(StoreError::from)?;
        let mut tx = Tx { txn, events: Vec::new(), wrote: false };
        match catch_unwind(AssertUnwindSafe(|| work(&mut tx))) {
            Ok(Ok(answer)) if tx.wrote => Ok((answer, Some(tx))),
            Ok(Ok(answer)) => {
                tx.txn.abort().map_err(StoreError::from)?;
                Ok((answer, None))
            }
            Ok(Err(error)) => {
                tx.txn.abort().map_err(StoreError::from)?;
                Err(error)
            }
            Err(panic) => {
                // Those who wait for this writer's flush must not wait for ever.
                drop(tx);
                self.flush_if_last(turn);
                resume_unwind(panic)
            }
        }
    }

    /// Commits a transaction: durably when nobody waits who could do it for all. [`Inner::wait_for`] tells how it went.
    fn commit(&self, turn: &mut Turn, mut tx: Tx) {
        turn.newest += 1;
        turn.events.append(&mut tx.events);
        let unsettled = turn.newest - locked(&self.flushed).settled;
        let durable = self.waiting.load(Ordering::SeqCst) == 0 || unsettled >= GROUP_MAX;
        let committed = tx
            .txn
            .set_durability(if durable { Durability::Immediate } else { Durability::None })
            .map_err(StoreError::from)
            .and_then(|()| tx.txn.commit().map_err(StoreError::from));
        if durable || committed.is_err() {
            self.settle(turn, committed);
        }
    }

    /// Flushes what others left to this writer, unless somebody behind it will.
    fn flush_if_last(&self, turn: &mut Turn) {
        if turn.newest == locked(&self.flushed).settled || self.waiting.load(Ordering::SeqCst) > 0 {
            return;
        }
        let Some(db) = &turn.db else { return };
        let flushed = db.begin_write().map_err(StoreError::from).and_then(|txn| Ok(txn.commit()?));
        self.settle(turn, flushed);
    }

    /// Everything up to the newest transaction is on the disk, or lost.
    fn settle(&self, turn: &mut Turn, result: Result<(), StoreError>) {
        let result = result.and_then(|()| match &turn.db {
            Some(db) => Ok(Snapshot::new(db.begin_read()?)),
            None => Err(StoreError::DiskFull),
        });
        let mut flushed = locked(&self.flushed);
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let events = std::mem::take(&mut turn.events);
        match result {
            Ok(newest) => {
                *snapshot = Some(newest);
                flushed.failure = None;
                for event in events {
                    self.hub.publish(event);
                }
            }
            Err(error) => {
                log::error!("a change could not be kept: {error}");
                let from = flushed.settled + 1;
                flushed.lost.push((from, turn.newest, error.clone()));
                // Whoever waits reads its range soon; old ranges are read by nobody.
                if flushed.lost.len() > 64 {
                    flushed.lost.remove(0);
                }
                flushed.failure = Some(error);
                // After a failed write redb refuses everything until the file is opened again. Closing it also ends what
                // is being read; opening it shows the state before the failed write.
                turn.db = None;
                *snapshot = None;
                match open_with_snapshot(&self.path) {
                    Ok((db, newest)) => {
                        turn.db = Some(db);
                        *snapshot = Some(newest);
                    }
                    Err(error) => log::error!("the store could not be opened again: {error}"),
                }
            }
        }
        self.version.fetch_add(1, Ordering::Release);
        flushed.settled = turn.newest;
        self.flush_ended.notify_all();
    }

    /// Waits until transaction `number` is on the disk or lost.
    fn wait_for(&self, number: u64) -> Result<(), StoreError> {
        let mut flushed = locked(&self.flushed);
        while flushed.settled < number {
            flushed = self.flush_ended.wait(flushed).unwrap_or_else(PoisonError::into_inner);
        }
        match flushed.lost.iter().find(|(from, to, _)| (*from..=*to).contains(&number)) {
            Some((_, _, error)) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// Opens the file again where the last try to do so failed.
    fn reopen(&self, turn: &mut Turn) -> Result<(), StoreError> {
        if turn.db.is_some() {
            return Ok(());
        }
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let (db, newest) = open_with_snapshot(&self.path)?;
        turn.db = Some(db);
        *snapshot = Some(newest);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

fn open_with_snapshot(path: &Path) -> Result<(Database, Snapshot), StoreError> {
    let db = file::open(path)?;
    let newest = Snapshot::new(db.begin_read()?);
    Ok((db, newest))
}

/// A panic inside a transaction leaves nothing half-done, so a poisoned lock is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
