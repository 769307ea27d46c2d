//! What threads meet in, where each use is a place where another thread may go first.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

pub use std::sync::PoisonError;

use loom::sync::Notify;
pub use loom::sync::{Mutex, MutexGuard};

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

/// What the engine uses of `tokio::sync::watch`, with tokio's promises and no others: a change is one step, and wakes who has seen less.
/// The model checker cannot look into tokio's own, which tokio goes through with the same model checker.
pub mod watch {
    use std::{
        convert::Infallible,
        future::poll_fn,
        ops::Deref,
        sync::Arc,
        task::{Poll, Waker},
    };

    use super::{Mutex, MutexGuard};

    #[derive(Debug)]
    struct Shared<T> {
        value: T,
        version: u64,
        waiting: Vec<Waker>,
    }

    #[derive(Debug)]
    pub struct Sender<T>(Arc<Mutex<Shared<T>>>);

    /// Has seen the value of some version.
    pub struct Receiver<T> {
        shared: Arc<Mutex<Shared<T>>>,
        seen: u64,
    }

    pub struct Ref<'a, T>(MutexGuard<'a, Shared<T>>);

    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Mutex::new(Shared { value, version: 0, waiting: Vec::new() }));
        (Sender(shared.clone()), Receiver { shared, seen: 0 })
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> Deref for Ref<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0.value
        }
    }

    impl<T> Sender<T> {
        pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
            let mut shared = self.0.lock().unwrap();
            let is_modified = modify(&mut shared.value);
            if is_modified {
                shared.version += 1;
                shared.waiting.drain(..).for_each(Waker::wake);
            }
            is_modified
        }

        pub fn borrow(&self) -> Ref<'_, T> {
            Ref(self.0.lock().unwrap())
        }

        /// The present value counts as seen.
        pub fn subscribe(&self) -> Receiver<T> {
            let seen = self.0.lock().unwrap().version;
            Receiver { shared: self.0.clone(), seen }
        }
    }

    impl<T> Receiver<T> {
        pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
            let shared = self.shared.lock().unwrap();
            self.seen = shared.version;
            Ref(shared)
        }

        /// Waits for a value that was not seen; the senders stay.
        pub async fn changed(&mut self) -> Result<(), Infallible> {
            poll_fn(|context| {
                let mut shared = self.shared.lock().unwrap();
                if self.seen == shared.version {
                    shared.waiting.push(context.waker().clone());
                    return Poll::Pending;
                }
                self.seen = shared.version;
                Poll::Ready(Ok(()))
            })
            .await
        }
    }
}
