//! What each port promises, as functions that run on any of its implementations.

pub mod blobs;
pub mod events;
pub mod identity;
pub mod keys;
pub mod queries;
pub mod queue;
pub mod tables;
