//! Group commit: every write is committed once, by one leader at a time.

#[path = "../../engine/src/adapters/embedded/batches.rs"]
mod batches;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use batches::Batches;
use loom::thread;

/// Items that may be taken at a time.
const MAX: usize = 1;

/// What it notes by itself is no place where threads change: that would only multiply the orders.
#[derive(Clone)]
struct Group {
    waiting: Arc<Batches<u32>>,
    /// True while somebody commits.
    is_committing: Arc<AtomicBool>,
    committed: Arc<Mutex<Vec<u32>>>,
}

impl Group {
    fn new() -> Self {
        let (waiting, is_committing) = (Arc::new(Batches::new()), Arc::new(AtomicBool::new(false)));
        Self { waiting, is_committing, committed: Arc::new(Mutex::new(Vec::new())) }
    }

    fn push(&self, item: u32) {
        if self.waiting.push(item) {
            self.lead();
        }
    }

    fn lead(&self) {
        loop {
            assert!(!self.is_committing.swap(true, Ordering::SeqCst), "two lead at once");
            let batch = self.waiting.take(MAX);
            self.committed.lock().unwrap().extend(batch);
            self.is_committing.store(false, Ordering::SeqCst);
            if !self.waiting.lead_on() {
                return;
            }
        }
    }

    fn committed(&self) -> Vec<u32> {
        let mut committed = self.committed.lock().unwrap().clone();
        committed.sort_unstable();
        committed
    }
}

#[test]
fn every_write_is_committed_once_by_one_leader_at_a_time_in_whatever_order_threads_meet() {
    loom::model(|| {
        let group = Group::new();
        let others = [1, 2].map(|item| {
            let group = group.clone();
            thread::spawn(move || group.push(item))
        });
        group.push(3);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(group.committed(), [1, 2, 3]);
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
