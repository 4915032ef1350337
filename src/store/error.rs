//! What can go wrong with the store, typed, in words for people: what, where, why and the remedy.
//!
//! Every layer above sees these; nothing here decides what is done about them.

use std::path::PathBuf;

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
