//! Supervisors: they start, watch, restart and stop. No rule of a run is in here; every decision is a function of
//! [`crate::run`].
//!
//! ```text
//!                     Deliver, Drain, GaveUp
//!                              │
//!                         ┌────▼────┐  PartGone    ┌ Scheduler  fires due jobs, sends lost orders again
//!                         │ Engine  │◄─────────────┤ Intake     takes messages, only while a slot is free
//!                         │ (root)  ├─ SlotFree ──►│ Indexer    snapshot objects become rows to browse
//!                         └─┬─────▲─┘◄── Deliver ──┤ Upkeep     looks after stored snapshots
//!                           │     │               ├ Watch      looks how fresh sources are, and alerts
//!  Begin, StopWork          │     │ OrdersDone,    └ Activity   relays events: to their place in the chain, to the bus
//!                         ┌─▼─────┴─┐ SourceGone     (one generation)
//!                         │ Source  │ holds the lease: claims, beats; one order at a time
//!                         └─┬─────▲─┘
//!  JobStop                  │     │ JobEnded
//!                         ┌─▼─────┴─┐
//!                         │  Job    │ one claimed run: builds attempts, waits between them, ends it
//!                         └─┬─────▲─┘
//!  RunStop                  │     │ AttemptEnded
//!                         ┌─▼─────┴─┐
//!                         │  Run    │ one attempt: plans, bounds the streams read at a time, concludes
//!                         └─┬─────▲─┘
//!                           │     │ StreamEnded
//!                         ┌─▼─────┴───┐
//!                         │ Connector │ one stream being read
//!                         └───────────┘
//! ```
//!
//! Beside every arrow stands what goes through that mailbox; each actor has one more message of its own, from its `task::Task`
//! (work on the runtime's pool, which ends with its owner and whose end, panic or not, is a fact like others). Orders go down, facts
//! go up, nobody awaits upwards, and no record goes through a mailbox. Mailboxes are bounded by what there is to do: an actor
//! has at most one task of a kind under way, a worker at most `slots` orders, a run at most `streams_max` streams.
//!
//! **Who breaks off is built anew** (`child`). A parent holds its children so that they end when it lets go of them, however that
//! comes; every child leaves a last word, which says that it broke off unless it had another. What the parent then does:
//!
//! | gone | who | does |
//! |---|---|---|
//! | Scheduler, Intake, Indexer, Upkeep, Courier, Watch, Activity | Engine | ends the whole generation, waits 1, 2, 4 … 60 s, builds the next; after twelve in a row it gives up, and the process ends with an error |
//! | Source | Engine | frees the slots; messages come back by themselves, and the sweeper sends those of runs whose lease has ended |
//! | Job | Source | waits in the same way, builds another one under the same lease, which it keeps alive meanwhile |
//! | Run | Job | another attempt, from the checkpoints, as after any error that may pass |
//! | Connector | Run | its stream has failed; the others go on |
//!
//! A generation takes nothing over from the one before: all that it needs is stored.
//!
//! In a fleet a process has some of the parts ([`Roles`]): a worker Intake, Upkeep and Courier, a scheduler Scheduler, Watch and Activity,
//! an indexer the Indexer.

mod activity;
mod child;
mod connector;
mod courier;
mod engine;
mod generation;
mod indexer;
mod intake;
mod job;
mod run;
mod scheduler;
mod source;
mod task;
mod upkeep;
mod watch;

pub use engine::{Deliver, Drain, Engine, GaveUp, Roles};
