//! Who a secret belonged to, as long as the store is the same: a browser that asks again need not be looked up again.
//!
//! Used by `sessions` and `tokens`. Holds digests only, and forgets all with the next change of the store.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::time::Timestamp;

/// Secrets that are remembered: more are looked up.
const MOST: usize = 256;

/// What was found out about secrets at one state of the store.
pub(super) struct Memory<T> {
    version: u64,
    known: HashMap<[u8; 32], (Timestamp, T)>,
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self { version: 0, known: HashMap::new() }
    }
}

impl<T: Clone> Memory<T> {
    /// What the secret with this digest was found to be, where the store is still as it was then.
    pub(super) fn get(&self, version: u64, digest: &[u8; 32], now: Timestamp) -> Option<T> {
        let (until, found) = self.known.get(digest).filter(|_| self.version == version)?;
        (now < *until).then(|| found.clone())
    }

    /// Remembers it until then. `version` was asked for before the store was read.
    pub(super) fn put(&mut self, version: u64, digest: [u8; 32], until: Timestamp, found: T) {
        if self.version != version || self.known.len() >= MOST {
            self.known.clear();
            self.version = version;
        }
        self.known.insert(digest, (until, found));
    }
}

/// A panic leaves it as good as it was.
pub(super) fn memory<T>(memory: &Mutex<Memory<T>>) -> MutexGuard<'_, Memory<T>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}
