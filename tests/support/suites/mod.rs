//! What each port promises, as functions that run on any of its implementations.

#![allow(dead_code, reason = "each test binary runs the suites of the ports that its stores have")]

pub mod blobs;
pub mod events;
pub mod identity;
pub mod keys;
pub mod queries;
pub mod queue;
pub mod tables;
