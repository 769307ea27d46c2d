//! The engine's view of the world. Each port has two production implementations (`adapters/embedded`, `adapters/aws`)
//! and one behaviour suite (`tests/adapters.rs`) that runs on both. Each has a file of its own; this is all of them.

mod blobs;
mod events;
mod identity;
mod keys;
mod mail;
mod queue;
mod system;
mod tables;

use std::sync::Arc;

pub use self::{
    blobs::{BlobEntry, Blobs, PutOutcome},
    events::Events,
    identity::{Challenge, Identity, NewFactor, Person, SignIn, SignedIn},
    keys::{DataKey, Keys},
    mail::{Letter, Mail},
    queue::{DeadLetter, Message, Queue, QueueDepth, QueueName},
    system::{Clock, Random},
    tables::{Condition, Item, ItemPage, Key, Query, SortRange, Tables, WRITES_MAX, Write},
};

/// Everything the engine needs from outside, injected.
#[derive(Clone)]
pub struct Ports {
    /// Rows.
    pub tables: Arc<dyn Tables>,
    /// Work to do.
    pub queue: Arc<dyn Queue>,
    /// Objects.
    pub blobs: Arc<dyn Blobs>,
    /// The event bus and its live followers.
    pub events: Arc<dyn Events>,
    /// Wraps data keys.
    pub keys: Arc<dyn Keys>,
    /// Sends mail.
    pub mail: Arc<dyn Mail>,
    /// Signs people in.
    pub identity: Arc<dyn Identity>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids and secrets.
    pub random: Arc<dyn Random>,
}
