//! Work that waits for a disk or computes for long, off the threads that serve everybody.

use std::any::Any;

use tokio::task::JoinError;

/// What the pool runs: one type for all, so that the machinery of a task is compiled once and not for each caller.
type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Runs `work` on the pool for such work, from now on, and answers what it does. It goes on when the answer is no longer
/// waited for.
///
/// Errors: it panicked, or the runtime ends.
pub fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, JoinError>> + Send {
    let work: Work = Box::new(move || Box::new(work()));
    let begun = tokio::task::spawn_blocking(work);
    async move {
        // The box was made two lines above, of a T.
        Ok(*begun.await?.downcast::<T>().unwrap_or_else(|_| unreachable!("the work of one task answers for it")))
    }
}
