//! Numbered changes of the store's form, each applied in one transaction of its own, together with its number.
//!
//! Called when the store is opened. Never change a migration that was released: add the next one.

use std::path::Path;

use redb::{Database, ReadableDatabase, TableError, WriteTransaction};

use super::codec;
use super::error::StoreError;
use super::tables::{META, NAMES};
use super::tx::Raw;

/// One step to a newer form.
pub(super) type Migration = fn(&WriteTransaction) -> Result<(), StoreError>;

/// All steps; the form of a store is how many were applied.
pub(super) const MIGRATIONS: &[Migration] = &[create_tables, create_tables];

const SCHEMA: &[u8] = b"schema";

/// 1: every table exists, so that a snapshot can open each. 2: so do those that came later (`token_makers.1`).
fn create_tables(txn: &WriteTransaction) -> Result<(), StoreError> {
    for name in NAMES {
        txn.open_table(Raw::new(name))?;
    }
    Ok(())
}

/// The form of an open store; 0 when it holds nothing yet.
pub(super) fn schema(db: &Database) -> Result<u64, StoreError> {
    let txn = db.begin_read()?;
    let table = match txn.open_table(Raw::new(META.name)) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let Some(found) = table.get(SCHEMA)? else { return Ok(0) };
    codec::decode(META.version, found.value())
        .map_err(|why| StoreError::Damaged { place: format!("table {}, key schema", META.name), why })
}

/// Brings an open store to the newest form, or refuses one that is newer than `migrations`.
pub(super) fn migrate(db: &Database, path: &Path, migrations: &[Migration]) -> Result<(), StoreError> {
    let supported = migrations.len() as u64;
    let found = schema(db)?;
    if found > supported {
        return Err(StoreError::Newer { path: path.to_owned(), found, supported });
    }
    for (number, migration) in (found + 1..).zip(migrations.iter().skip(found as usize)) {
        let txn = db.begin_write()?;
        migration(&txn)?;
        let bytes = codec::encode(META.version, &number)
            .map_err(|why| StoreError::Io { what: "could not write its form".into(), why })?;
        txn.open_table(Raw::new(META.name))?.insert(SCHEMA, bytes.as_slice())?;
        txn.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_note(txn: &WriteTransaction) -> Result<(), StoreError> {
        txn.open_table(Raw::new("note.1"))?.insert(b"k".as_slice(), b"v".as_slice())?;
        Ok(())
    }

    fn fail_halfway(txn: &WriteTransaction) -> Result<(), StoreError> {
        txn.open_table(Raw::new("half.1"))?.insert(b"k".as_slice(), b"v".as_slice())?;
        Err(StoreError::DiskFull)
    }

    #[test]
    fn an_older_file_is_brought_forward_one_transaction_a_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.redb");
        let db = Database::create(&path).unwrap();
        migrate(&db, &path, MIGRATIONS).unwrap();
        let known = MIGRATIONS.len() as u64;
        assert_eq!(schema(&db).unwrap(), known);
        let longer: Vec<Migration> = MIGRATIONS.iter().copied().chain([add_note as Migration, fail_halfway]).collect();
        assert!(migrate(&db, &path, &longer).is_err());
        assert_eq!(schema(&db).unwrap(), known + 1, "the step before the failed one stays");
        let txn = db.begin_read().unwrap();
        assert!(txn.open_table(Raw::new("note.1")).unwrap().get(b"k".as_slice()).unwrap().is_some());
        assert!(txn.open_table(Raw::new("half.1")).is_err(), "nothing of the failed step stays");
    }

    #[test]
    fn a_newer_file_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.redb");
        let db = Database::create(&path).unwrap();
        let longer: Vec<Migration> = MIGRATIONS.iter().copied().chain([add_note as Migration]).collect();
        migrate(&db, &path, &longer).unwrap();
        let supported = MIGRATIONS.len() as u64;
        match migrate(&db, &path, MIGRATIONS) {
            Err(StoreError::Newer { found, supported: s, .. }) => assert_eq!((found, s), (supported + 1, supported)),
            other => panic!("{other:?}"),
        }
        assert_eq!(schema(&db).unwrap(), supported + 1);
    }
}
