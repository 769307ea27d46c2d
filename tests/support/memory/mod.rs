//! Rows, messages, objects and events in memory, for simulations: no thread, no disk, nothing that a seed does not decide. The suites of
//! the ports run on them as on any store (`tests/adapters.rs`).

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

pub mod blobs;
mod events;
mod queue;
mod tables;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use listbackup_engine::ports::{Clock, Ports, Random};

/// Replaces rows, messages, objects and events of `ports` by empty ones in memory. Keys, mail and identity stay.
pub fn stores(ports: &Ports) -> Ports {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (ports.clock.clone(), ports.random.clone());
    let queue = Arc::new(queue::MemoryQueue::new(clock.clone(), random));
    Ports {
        tables: Arc::new(tables::MemoryTables::new(clock.clone())),
        blobs: Arc::new(blobs::MemoryObjects::new(clock, queue.clone())),
        queue,
        events: Arc::new(events::MemoryEvents::new()),
        ..ports.clone()
    }
}

/// The same with indexes of rows that are behind by up to so much, as in DynamoDB.
pub fn stores_with_indexes_behind(ports: &Ports, longest: Duration) -> Ports {
    let (clock, random) = (ports.clock.clone(), ports.random.clone());
    Ports { tables: Arc::new(tables::MemoryTables::with_indexes_behind(clock, longest, random)), ..stores(ports) }
}

/// Nobody panics while holding one of these.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic under the lock")
}
