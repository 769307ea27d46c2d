//! Work of an actor on the runtime's pool: ends with its owner, and its end comes back as one message, panic or not.

use std::future::Future;

use actix::{Message, Recipient};
use tokio::task::JoinHandle;

use crate::error::{Error, ErrorKind, Result};

/// Work under way. Dropping it ends it.
#[derive(Debug)]
pub struct Task(JoinHandle<()>);

impl Task {
    /// Runs `work` on the pool and sends what `tell` makes of its result to `to`.
    pub fn start<T, M>(
        work: impl Future<Output = Result<T>> + Send + 'static,
        to: Recipient<M>,
        tell: impl FnOnce(Result<T>) -> M + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Self(tokio::spawn(async move {
            let mut inner = Inner(tokio::spawn(work));
            let result = match (&mut inner.0).await {
                Ok(result) => result,
                Err(broken) => Err(Error::new(ErrorKind::Bug, format!("work broke off: {broken}"))),
            };
            // A receiver that is gone has no more use for the fact.
            to.do_send(tell(result));
        }))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Aborting the outer task must end the inner one too.
struct Inner<T>(JoinHandle<T>);

impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
