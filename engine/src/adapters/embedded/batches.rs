//! What waits for the writer, who leads, and what is on its way to the disk: the part of group commit in which threads meet.
//!
//! Whoever pushes while nobody leads must see to it that somebody does. The leader takes what waits, and what comes while the batch
//! before is flushed; it commits when that is done, so that one flush at most is under way. It gives up the lead only in the same
//! step in which it sees that nothing waits, so nothing is ever left waiting without a leader, and two never lead at once.
//! `tests/interleavings/` goes through the orders in which that can happen; the locks come from `sync` in `lib.rs` for it.

use std::{collections::VecDeque, mem};

use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What waits, in order.
pub struct Batches<T> {
    waiting: Mutex<Waiting<T>>,
    /// Rung for a leader that waits for more, or for the end of a flush.
    bell: Condvar,
}

struct Waiting<T> {
    items: VecDeque<T>,
    /// True while somebody leads.
    is_led: bool,
    /// True while a batch that was committed is made durable.
    is_flushing: bool,
}

impl<T> Batches<T> {
    /// Nothing waits, nobody leads.
    pub fn new() -> Self {
        let waiting = Waiting { items: VecDeque::new(), is_led: false, is_flushing: false };
        Self { waiting: Mutex::new(waiting), bell: Condvar::new() }
    }

    /// What it guards is checked anew each time, so a panic elsewhere does not matter.
    fn waiting(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one. True when nobody leads: the lead is the caller's now, to take or to hand on.
    pub fn push(&self, item: T) -> bool {
        let mut waiting = self.waiting();
        waiting.items.push_back(item);
        self.bell.notify_one();
        !mem::replace(&mut waiting.is_led, true)
    }

    /// The next ones, at most `max`; for the leader.
    pub fn take(&self, max: usize) -> Vec<T> {
        let mut waiting = self.waiting();
        let size = waiting.items.len().min(max);
        waiting.items.drain(..size).collect()
    }

    /// True when more wait that the batch has room for and the one before is not durable yet; false once it is, and this one can
    /// be committed. Blocks until one of the two is so; for the leader.
    pub fn has_more(&self, has_room: bool) -> bool {
        let mut waiting = self.waiting();
        while waiting.is_flushing && (waiting.items.is_empty() || !has_room) {
            waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_flushing
    }

    /// A batch is committed, and on its way to the disk until [`Batches::flush_ended`]. True when others wait meanwhile; for the leader.
    pub fn flush_begins(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.is_flushing = true;
        !waiting.items.is_empty()
    }

    /// It came there, or it will not.
    pub fn flush_ended(&self) {
        self.waiting().is_flushing = false;
        self.bell.notify_one();
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
