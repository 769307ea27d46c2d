//! The engine: accounts, sources, jobs, runs and the snapshot store.
//!
//! Layers, each using only those before it: [`model`], [`tables`], [`ports`], [`letters`], [`store`], [`snapshot`], [`export`], [`run`],
//! [`accounts`], [`actors`]. [`adapters`] implement the ports; tasks wait for each other at a [`latest`] value
//! and [`offload`] what takes long. What has to hold through all of them stands in [`invariants`].

// That a run's future may change threads is proved through all that it holds, which is deeper than the compiler looks by itself.
#![recursion_limit = "256"]

pub mod accounts;
pub mod actors;
pub mod adapters;
pub mod attempts;
pub mod billing;
pub mod error;
pub mod export;
pub mod invariants;
pub mod latest;
pub mod letters;
pub mod model;
pub mod offload;
pub mod ports;
pub mod run;
pub mod secret;
pub mod snapshot;
pub mod store;
pub mod tables;
pub mod token;

/// What threads meet in; a test puts the same of a model checker in its place.
mod sync {
    pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
}

pub use error::{Error, ErrorKind, Result};
pub use listbackup_connectors as connectors;
