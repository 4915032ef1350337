//! Work that waits for a disk or computes for long, off the threads that serve everybody.

use std::any::Any;

use tokio::task::JoinError;

/// What the pool runs: one type for all, so that the machinery of a task is compiled once and not for each caller.
type Work = Box<dyn FnOnce() -> Box<dyn Any + Send> + Send>;

/// Runs `work` on the pool for such work and answers what it does. It goes on when the answer is no longer waited for.
///
/// Errors: it panicked, or the runtime ends.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    let work: Work = Box::new(move || Box::new(work()));
    let done = tokio::task::spawn_blocking(work).await?;
    // The box was made two lines above, of a T.
    Ok(*done.downcast::<T>().unwrap_or_else(|_| unreachable!("the work of one task answers for it")))
}
