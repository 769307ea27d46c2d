//! The latest value of something, and those who wait for the next one: what `tokio::sync::watch` is, but whoever waits is woken in the
//! order in which they began to follow. Tokio's wakes them in an order by chance, and a simulated hour must replay to the letter
//! although several relays hear of one event and several streams of one stop.
//!
//! A change is one step, and who waits looks at the value after being registered, so nobody waits past a change:
//! `tests/interleavings/` goes through the orders in which that can happen, and the lock comes from `sync` in `lib.rs` for it.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// Where the value lives; clones share it.
#[derive(Debug)]
pub struct Latest<T>(Arc<Mutex<Shared<T>>>);

#[derive(Debug)]
struct Shared<T> {
    value: T,
    /// Changes so far.
    version: u64,
    /// Followers so far.
    followers: u64,
    /// By the followers' numbers.
    waiting: BTreeMap<u64, Waker>,
}

/// Has seen all changes up to one.
#[derive(Debug)]
pub struct Follower<T> {
    latest: Latest<T>,
    seen: u64,
    number: u64,
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Copy> Latest<T> {
    /// Begins with a value.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(Shared { value, version: 0, followers: 0, waiting: BTreeMap::new() })))
    }

    /// What it guards is whole between any two steps.
    fn shared(&self) -> MutexGuard<'_, Shared<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value.
    pub fn get(&self) -> T {
        self.shared().value
    }

    /// Sets the value to what `next` makes of the present one, which is a change also when it is the same; with `None` nothing changes.
    pub fn set_if(&self, next: impl FnOnce(T) -> Option<T>) {
        let mut shared = self.shared();
        let Some(value) = next(shared.value) else { return };
        shared.value = value;
        shared.version += 1;
        let waiting = mem::take(&mut shared.waiting);
        // Waking may come back here.
        drop(shared);
        waiting.into_values().for_each(Waker::wake);
    }

    /// A follower for whom the present value is nothing new.
    pub fn follow(&self) -> Follower<T> {
        let mut shared = self.shared();
        shared.followers += 1;
        Follower { latest: self.clone(), seen: shared.version, number: shared.followers }
    }
}

impl<T: Copy> Follower<T> {
    /// The value.
    pub fn get(&self) -> T {
        self.latest.get()
    }

    /// Waits for a change since the last one that was waited for.
    pub async fn changed(&mut self) {
        poll_fn(|context| self.poll_changed(context)).await;
    }

    fn poll_changed(&mut self, context: &Context<'_>) -> Poll<()> {
        let mut shared = self.latest.shared();
        if self.seen == shared.version {
            shared.waiting.insert(self.number, context.waker().clone());
            return Poll::Pending;
        }
        self.seen = shared.version;
        Poll::Ready(())
    }
}

impl<T> Drop for Follower<T> {
    fn drop(&mut self) {
        let waker = self.latest.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&self.number);
        drop(waker);
    }
}
