//! Places that each holder has only so many of: connections of an address, streams of a user.
//!
//! Asked by `server` and `sse`. Knows neither; a place is free again when it is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who holds how many.
#[derive(Debug)]
pub struct Places<K> {
    most: usize,
    taken: Mutex<HashMap<K, usize>>,
}

/// One place, held until it is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    places: Arc<Places<K>>,
    holder: K,
}

impl<K: Eq + Hash> Places<K> {
    /// So many for each holder.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// How many each holder has at most.
    pub fn most(&self) -> usize {
        self.most
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// A place of `holder`, unless it holds all of its own.
    pub fn take(self: &Arc<Self>, holder: K) -> Option<Place<K>> {
        let mut taken = self.lock();
        let count = taken.get(&holder).copied().unwrap_or(0);
        if count >= self.most {
            return None;
        }
        taken.insert(holder.clone(), count + 1);
        Some(Place { places: Arc::clone(self), holder })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.holder) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_own_places_and_one_that_is_dropped_is_free_again() {
        let places = Places::new(2);
        let first = places.take("one").unwrap();
        let _second = places.take("one").unwrap();
        assert!(places.take("one").is_none());
        let other = places.take("two").unwrap();
        drop(first);
        assert!(places.take("one").is_some());
        drop(other);
        assert_eq!(places.lock().len(), 1, "who holds nothing is forgotten");
    }
}
