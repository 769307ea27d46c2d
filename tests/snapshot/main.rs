//! The snapshot store's promises: only changes are written, counts are right whatever comes in whatever order, what is
//! read or exported is what was written, and damage is found, named and never returned.

#[path = "../support/store.rs"]
mod store;

mod attachments;
mod changes;
mod compaction;
mod damage;
mod doomed;
mod drill;
mod every_kind;
mod export;
mod golden;
mod key_destruction;
mod keys;
mod lifecycle;
mod lifecycle_attachments;
mod model;
mod reading;
mod retain;
mod retain_crashes;
mod retain_interleavings;
mod retain_packs;
mod retain_reading;
mod rewrap;
mod sweep;
mod tapped;
mod thinning;
mod verify;
