//! Letting go of snapshots, and of the segments that nothing refers to any more. Nothing else ever deletes stored records.
//!
//! * `rules`: which snapshots the keep rules of a source keep, and why. Pure.
//! * `marks`: pins and legal holds, an append-only log per snapshot in the bucket.
//! * `forget`: one snapshot goes: decided in its log, a tombstone instead of its manifest.
//! * `collect`: segments go, in two phases and beside live writers; `confirm` is the writers' side of it.
//! * `thin`: what all that leaves behind goes a long time later, where nothing rests on it.
//! * `lock`: object lock for everything that a snapshot consists of.

mod collect;
pub(super) mod confirm;
mod documents;
mod forget;
mod lock;
mod marks;
mod rules;
mod sweep;
mod thin;

pub use self::{
    collect::{Collection, CollectionState, LiveLook, LiveRuns},
    documents::{Candidate, Collected},
    forget::{Link, Tombstone},
    marks::{Act, Mark, MarkKind, Marks},
    rules::{Decision, Judged, Reason, decide},
    thin::{THIN_AFTER, Thinned},
};
