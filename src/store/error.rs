//! What can go wrong with the store, typed, in words for people: what, where, why and the remedy.
//!
//! Every layer above sees these; nothing here decides what is done about them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use redb::{CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError};

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store {} is in use by another process: stop left4me, or ask the running daemon over its socket", path.display())]
    Locked {
        /// Which file.
        path: PathBuf,
    },
    /// A newer left4me wrote it.
    #[error(
        "the store {} was written by a newer left4me (form {found}, this one reads up to {supported}): install that version again, or restore a backup", path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its form.
        found: u64,
        /// Newest form that this program reads.
        supported: u64,
    },
    /// The file, or one record of it, cannot be read.
    #[error("the store is damaged at {place}: {why}; restore a backup with `left4me restore`")]
    Damaged {
        /// File, or table and key.
        place: String,
        /// What is wrong.
        why: String,
    },
    /// No space left for a change.
    #[error("no space left on the disk of the store; nothing was changed: free some space and try again")]
    DiskFull,
    /// The disk said no.
    #[error("the store {what}: {why}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        why: String,
    },
}

impl StoreError {
    /// An error of the system while `what` was tried.
    pub(super) fn io(what: impl Into<String>, error: &std::io::Error) -> Self {
        if is_full(error) { Self::DiskFull } else { Self::Io { what: what.into(), why: error.to_string() } }
    }

    fn damaged(why: impl Into<String>) -> Self {
        Self::Damaged { place: "the file".into(), why: why.into() }
    }

    /// What opening `path` failed with.
    pub(super) fn open(path: &Path, error: DatabaseError) -> Self {
        let damaged = |why: String| Self::Damaged { place: path.display().to_string(), why };
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::Locked { path: path.to_owned() },
            DatabaseError::UpgradeRequired(form) => damaged(format!("it has the old file form {form}")),
            DatabaseError::RepairAborted => damaged("its repair was given up".into()),
            DatabaseError::Storage(StorageError::Corrupted(why)) => damaged(why),
            DatabaseError::Storage(StorageError::Io(error))
                if matches!(error.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                damaged(format!("it is no store ({error})"))
            }
            other => redb::Error::from(other).into(),
        }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(error) => Self::io("could not be read or written", &error),
            redb::Error::Corrupted(why) => Self::damaged(why),
            redb::Error::TableDoesNotExist(name) => Self::damaged(format!("table {name} is missing")),
            redb::Error::TableTypeMismatch { table, .. } => Self::damaged(format!("table {table} has another type")),
            other => Self::Io { what: "could not be read or written".into(), why: other.to_string() },
        }
    }
}

macro_rules! through_redb {
    ($($ty:ty),+) => {$(
        impl From<$ty> for StoreError {
            fn from(error: $ty) -> Self {
                redb::Error::from(error).into()
            }
        }
    )+};
}
through_redb!(StorageError, TableError, TransactionError, CommitError, SetDurabilityError);
