//! Group commit: every write is committed once, by one leader at a time.

#[path = "../../engine/src/adapters/embedded/batches.rs"]
mod batches;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use batches::Batches;
use loom::thread;

/// Items that may be taken at a time, and that a batch has room for.
const MAX: usize = 1;

/// What it notes by itself is no place where threads change: that would only multiply the orders.
#[derive(Clone)]
struct Group {
    waiting: Arc<Batches<u32>>,
    /// True while somebody has a batch under way.
    is_leading: Arc<AtomicBool>,
    is_flushing: Arc<AtomicBool>,
    committed: Arc<Mutex<Vec<u32>>>,
    durable: Arc<Mutex<Vec<u32>>>,
}

impl Group {
    fn new() -> Self {
        Self {
            waiting: Arc::new(Batches::new()),
            is_leading: Arc::default(),
            is_flushing: Arc::default(),
            committed: Arc::default(),
            durable: Arc::default(),
        }
    }

    fn push(&self, item: u32) {
        if self.waiting.push(item) {
            self.lead();
        }
    }

    /// As `commits.rs` does: a flush goes on beside the next batch where somebody waits.
    fn lead(&self) {
        let mut flushes = Vec::new();
        loop {
            assert!(!self.is_leading.swap(true, Ordering::SeqCst), "two lead at once");
            let mut batch = self.waiting.take(MAX);
            while self.waiting.has_more(batch.len() < MAX) {
                batch.extend(self.waiting.take(MAX - batch.len()));
            }
            self.committed.lock().unwrap().extend(&batch);
            self.is_leading.store(false, Ordering::SeqCst);
            let others_wait = self.waiting.flush_begins();
            assert!(!self.is_flushing.swap(true, Ordering::SeqCst), "two flush at once");
            if others_wait {
                let group = self.clone();
                flushes.push(thread::spawn(move || group.flush(batch)));
                continue;
            }
            self.flush(batch);
            if !self.waiting.lead_on() {
                break;
            }
        }
        flushes.into_iter().for_each(|flush| flush.join().unwrap());
    }

    fn flush(&self, batch: Vec<u32>) {
        self.durable.lock().unwrap().extend(batch);
        self.is_flushing.store(false, Ordering::SeqCst);
        self.waiting.flush_ended();
    }

    fn committed(&self) -> Vec<u32> {
        let mut committed = self.committed.lock().unwrap().clone();
        committed.sort_unstable();
        committed
    }
}

#[test]
fn every_write_is_committed_and_flushed_once_by_one_leader_at_a_time_in_whatever_order_threads_meet() {
    loom::model(|| {
        let group = Group::new();
        let other = {
            let group = group.clone();
            thread::spawn(move || group.push(1))
        };
        group.push(2);
        group.push(3);
        other.join().unwrap();
        assert_eq!(group.committed(), [1, 2, 3]);
        assert_eq!(*group.durable.lock().unwrap(), *group.committed.lock().unwrap(), "in the order of the log");
    });
}

#[test]
fn after_a_leader_that_cannot_go_on_the_next_write_finds_another_one() {
    loom::model(|| {
        let group = Group::new();
        assert!(group.waiting.push(1), "nobody leads yet");
        let writer = {
            let group = group.clone();
            thread::spawn(move || group.push(2))
        };
        group.waiting.abandon();
        writer.join().unwrap();
        group.push(3);
        let committed = group.committed();
        assert!(committed == [3] || committed == [2, 3], "{committed:?}");
    });
}
