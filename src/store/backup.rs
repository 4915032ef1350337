//! A consistent copy of the store, taken from a snapshot while others go on writing.
//!
//! It copies records, not the file: the file changes under a copier. The copy is read back before it gets its name.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use redb::{Database, Durability, ReadableDatabase};
use sha2::{Digest, Sha256};

use super::error::StoreError;
use super::file;
use super::migrations::{MIGRATIONS, schema};
use super::tables::NAMES;
use super::tx::{Raw, Read, Snapshot, Span};

/// Records of one transaction of the copy: bounds its memory.
const CHUNK: usize = 10_000;

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// Copies every record of `from` to the new file `to`.
pub(super) fn copy(from: &Snapshot, to: &Path) -> Result<Copied, StoreError> {
    let exists = |path: &Path| StoreError::Io {
        what: format!("could not be copied to {}", path.display()),
        why: "this file exists: name a new one".into(),
    };
    if to.exists() {
        return Err(exists(to));
    }
    let temporary = file::temporary_name(to, std::process::id());
    let _ = fs::remove_file(&temporary);
    let done = copy_records(from, &temporary).and_then(|(copied, digest)| {
        let written = read_all(&file::open_existing(&temporary)?)?;
        if written != (copied, digest) {
            return Err(StoreError::Damaged {
                place: temporary.display().to_string(),
                why: "the copy differs from the store: the disk is not to be trusted".into(),
            });
        }
        file::put_in_place(&temporary, to)?;
        Ok(copied)
    });
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Reads every byte of a store or backup that nobody has open and says what is in it, or what is wrong.
pub fn verify(path: &Path) -> Result<Copied, StoreError> {
    let db = file::open_existing(path)?;
    let supported = MIGRATIONS.len() as u64;
    match schema(&db)? {
        0 => Err(StoreError::Damaged {
            place: path.display().to_string(),
            why: "it is no store of left4me, or it is empty".into(),
        }),
        found if found > supported => Err(StoreError::Newer { path: path.to_owned(), found, supported }),
        _ => Ok(read_all(&db)?.0),
    }
}

fn copy_records(from: &Snapshot, to: &Path) -> Result<(Copied, [u8; 32]), StoreError> {
    let db = file::create_new(to)?;
    let mut sum = Sum::default();
    for name in NAMES {
        let mut last: Option<Vec<u8>> = None;
        loop {
            let mut chunk: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            let span = match &last {
                Some(key) => Span::all().past(key.clone()),
                None => Span::all(),
            };
            from.raw_visit(name, &span.limit(CHUNK), &mut |key, value| {
                chunk.push((key.to_vec(), value.to_vec()));
                Ok(ControlFlow::Continue(()))
            })?;
            let mut txn = db.begin_write()?;
            txn.set_durability(Durability::None)?;
            {
                let mut table = txn.open_table(Raw::new(name))?;
                for (key, value) in &chunk {
                    sum.add(name, key, value);
                    table.insert(key.as_slice(), value.as_slice())?;
                }
            }
            txn.commit()?;
            let Some((key, _)) = chunk.pop() else { break };
            last = Some(key);
        }
    }
    // One durable commit makes all of them so.
    db.begin_write()?.commit()?;
    Ok(sum.end())
}

fn read_all(db: &Database) -> Result<(Copied, [u8; 32]), StoreError> {
    let txn = Snapshot::new(db.begin_read()?);
    let mut sum = Sum::default();
    for name in NAMES {
        txn.raw_visit(name, &Span::all(), &mut |key, value| {
            sum.add(name, key, value);
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(sum.end())
}

#[derive(Default)]
struct Sum {
    digest: Sha256,
    copied: Copied,
}

impl Sum {
    fn add(&mut self, table: &str, key: &[u8], value: &[u8]) {
        for part in [table.as_bytes(), key, value] {
            self.digest.update((part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
        self.copied.records += 1;
        self.copied.bytes += (key.len() + value.len()) as u64;
    }

    fn end(self) -> (Copied, [u8; 32]) {
        (self.copied, self.digest.finalize().into())
    }
}
