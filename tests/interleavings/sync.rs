//! What threads meet in, where each use is a place where another thread may go first.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

pub use std::sync::PoisonError;

use loom::sync::Notify;
pub use loom::sync::{Condvar, Mutex, MutexGuard};

/// Waits for a future, as a thread of the model.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let bell = Arc::new(Bell(Notify::new()));
    let (waker, mut future) = (Waker::from(bell.clone()), pin!(future));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        bell.0.wait();
    }
}

struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}
