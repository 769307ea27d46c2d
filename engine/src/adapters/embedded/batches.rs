//! What waits for the writer, and who leads: the part of group commit in which threads meet.
//!
//! Whoever pushes while nobody leads must see to it that somebody does. The leader takes batch after batch and gives up the lead
//! only in the same step in which it sees that nothing waits, so nothing is ever left waiting without a leader, and two never lead
//! at once. `tests/interleavings/` goes through the orders in which that can happen; the lock comes from `sync` in `lib.rs` for it.

use std::{collections::VecDeque, mem};

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// What waits, in order.
pub struct Batches<T>(Mutex<Waiting<T>>);

struct Waiting<T> {
    items: VecDeque<T>,
    /// True while somebody leads.
    is_led: bool,
}

impl<T> Batches<T> {
    /// Nothing waits, nobody leads.
    pub fn new() -> Self {
        Self(Mutex::new(Waiting { items: VecDeque::new(), is_led: false }))
    }

    /// What it guards is checked anew each time, so a panic elsewhere does not matter.
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one. True when nobody leads: the lead is the caller's now, to take or to hand on.
    pub fn push(&self, item: T) -> bool {
        let mut waiting = self.waiting();
        waiting.items.push_back(item);
        !mem::replace(&mut waiting.is_led, true)
    }

    /// The next ones, at most `max`; for the leader.
    pub fn take(&self, max: usize) -> Vec<T> {
        let mut waiting = self.waiting();
        let size = waiting.items.len().min(max);
        waiting.items.drain(..size).collect()
    }

    /// False, and the lead given up, when nothing waits; for the leader.
    pub fn lead_on(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.is_led = !waiting.items.is_empty();
        waiting.is_led
    }

    /// Drops what waits and gives up the lead; for a leader that cannot go on.
    pub fn abandon(&self) {
        let mut waiting = self.waiting();
        let dropped = mem::take(&mut waiting.items);
        waiting.is_led = false;
        // Dropping them may come back here.
        drop(waiting);
        drop(dropped);
    }
}
