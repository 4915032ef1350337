//! One snapshot of the box for everybody who asks at the same moment.
//!
//! A snapshot of listeners walks through the kernel's tables. When many servers are made at once each creation needs one
//! that is taken after it was asked for; those that wait share the next. Called by supervise.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::model::port::Listeners;

/// Who takes the next snapshot, and the newest one.
#[derive(Debug, Default)]
pub struct Snapshots {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody takes one now.
    busy: bool,
    /// How many were begun.
    begun: u64,
    /// Number of the newest that was finished.
    finished: u64,
    /// Ports whose owners the next one has to name.
    named: Vec<u16>,
    newest: Listeners,
}

impl Snapshots {
    /// A snapshot that was begun after this call, with the owners on the ports in `named` looked up. `take` takes one; it
    /// is called here, or by somebody else who asked meanwhile. Blocks.
    pub fn get(&self, named: &[u16], take: impl FnOnce(&[u16]) -> Listeners) -> Listeners {
        let mut state = self.lock();
        let wanted = state.begun + 1;
        state.named.extend_from_slice(named);
        while state.busy {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.finished >= wanted {
                return state.newest.clone();
            }
        }
        state.busy = true;
        state.begun += 1;
        let number = state.begun;
        let named = std::mem::take(&mut state.named);
        drop(state);
        // Should taking it panic, the next one must not wait for ever.
        let free = Free(self);
        let found = take(&named);
        let mut state = self.lock();
        state.finished = number;
        state.newest = found.clone();
        drop(state);
        drop(free);
        found
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the next one begin.
struct Free<'a>(&'a Snapshots);

impl Drop for Free<'_> {
    fn drop(&mut self) {
        self.0.lock().busy = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::port::{Listener, ListenerOwner, Protocol};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::mpsc;

    fn listeners(port: u16) -> Listeners {
        let address = ([127, 0, 0, 1], port).into();
        Listeners(vec![Listener { address, protocol: Protocol::Udp, owner: ListenerOwner::Uid(0) }])
    }

    #[test]
    fn those_who_ask_while_one_is_taken_share_the_next_and_never_get_one_from_before_they_asked() {
        let (snapshots, taken) = (Snapshots::default(), AtomicU64::new(0));
        let (go, wait) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let (snapshots, taken) = (&snapshots, &taken);
            let first = scope.spawn(move || {
                snapshots.get(&[1], |named| {
                    taken.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(named, [1]);
                    wait.recv().unwrap();
                    listeners(1)
                })
            });
            while taken.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            let others: Vec<_> = (10..18)
                .map(|port| {
                    scope.spawn(move || {
                        snapshots.get(&[port], |named| {
                            taken.fetch_add(1, Ordering::SeqCst);
                            let mut named = named.to_vec();
                            named.sort_unstable();
                            assert_eq!(named, (10..18).collect::<Vec<u16>>(), "the ports of all who wait");
                            listeners(2)
                        })
                    })
                })
                .collect();
            while snapshots.lock().named.len() < 8 {
                std::thread::yield_now();
            }
            go.send(()).unwrap();
            assert_eq!(first.join().unwrap().0[0].address.port(), 1);
            for other in others {
                assert_eq!(other.join().unwrap().0[0].address.port(), 2, "not the one that was under way");
            }
        });
        assert_eq!(taken.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn one_that_cannot_be_taken_holds_up_nobody() {
        let snapshots = Snapshots::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| snapshots.get(&[], |_| panic!("no"))));
        assert!(panicked.is_err());
        assert_eq!(snapshots.get(&[], |_| listeners(3)).0.len(), 1);
    }
}
