//! Work that takes a core for more than half a millisecond, on a thread for it, so that nothing else waits meanwhile.
//!
//! When such a thread is done, is a matter of the machine. A simulated hour must replay to the letter on a busy one too, so a thread may
//! say that it does that work by itself.

use std::cell::Cell;

use crate::error::{Error, ErrorKind, Result};

thread_local! {
    static BY_ITSELF: Cell<bool> = const { Cell::new(false) };
}

/// From now on, what tasks of this thread would have others do is done in its place.
pub fn stay_on_this_thread() {
    BY_ITSELF.set(true);
}

/// Does `work` on a thread for it.
///
/// # Errors
/// `Cancelled`, named `what`, when the process is ending or the work broke off.
pub(crate) async fn offload<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    if BY_ITSELF.get() {
        return Ok(work());
    }
    let stopped = |error| Error::new(ErrorKind::Cancelled, format!("{what} was stopped")).caused_by(error);
    tokio::task::spawn_blocking(work).await.map_err(stopped)
}
