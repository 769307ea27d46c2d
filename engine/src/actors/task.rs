//! Work of an actor on the runtime's pool: ends with its owner, and its end comes back as one message, panic or not.

use std::{any::Any, future::Future, panic::AssertUnwindSafe};

use actix::{Message, Recipient};
use futures::FutureExt;
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
            // What it shares is checked anew each time by whoever uses it after a panic.
            let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| Err(broken_off(&*panic)));
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

fn broken_off(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Bug, format!("work broke off: {}", text.unwrap_or("a panic")))
}
