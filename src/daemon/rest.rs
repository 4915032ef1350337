//! What the daemon does when nothing is to be done: it gives back the memory that its last work needed.
//!
//! Spawned by `daemon` once. A page that is needed again comes back by itself, in microseconds.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::blocking;
use crate::sys::memory;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(10);
/// Less processor time than this since the last look: the daemon is at rest.
const AT_REST: Duration = Duration::from_millis(200);
/// Processor time since memory was last given back from which on it is worth the next time.
const WORTH_IT: Duration = Duration::from_millis(10);

/// Follows for ever.
pub(super) async fn follow() {
    let mut look = tokio::time::interval(LOOK);
    look.tick().await;
    let (mut seen, mut given_back) = (used(), Duration::ZERO);
    loop {
        look.tick().await;
        let now = used();
        if now.saturating_sub(seen) < AT_REST && now.saturating_sub(given_back) > WORTH_IT {
            // It cannot fail: without it the daemon is as it was.
            let _ = blocking::run(memory::give_back).await;
            given_back = used();
        }
        seen = now;
    }
}

/// Processor time of this process so far.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
