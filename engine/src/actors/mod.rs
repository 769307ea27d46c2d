//! Supervisors: they start, watch, restart and stop. No rule of a run is in here; every decision is a function of
//! [`crate::run`].
//!
//! ```text
//! Engine                      root: one source actor per source with orders; drains
//! ├── Scheduler   (immortal)  fires due jobs, re-sends lost orders
//! ├── Intake      (immortal)  takes messages only while a slot is free
//! ├── Indexer     (immortal)  snapshot objects become rows to browse
//! ├── Upkeep      (immortal)  looks after stored snapshots: retention, collection
//! ├── Watch       (immortal)  looks how fresh sources are, and alerts
//! ├── Activity    (immortal)  relays events: to their place in the chain, to the bus
//! └── Source                  holds the lease: claims, heartbeats; one order at a time
//!     └── Job                 one claimed run: restarts it with back-off, ends it
//!         └── Run             one attempt: plans, bounds the streams read at a time, concludes
//!             └── Connector   one stream being read
//! ```
//!
//! Addresses point down, recipients of plain facts point up. Orders go down, facts go up, nobody awaits upwards. No
//! record goes through a mailbox. Actors live on the system's thread; their work runs on the runtime's pool as a
//! `task::Task`, which ends with its owner and turns a panic into a fact.

mod activity;
mod connector;
mod engine;
mod indexer;
mod intake;
mod job;
mod run;
mod scheduler;
mod source;
mod task;
mod upkeep;
mod watch;

pub use engine::{Deliver, Drain, Engine, Roles};
