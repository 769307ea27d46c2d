//! Letting go of snapshots, and of the segments and packs that nothing refers to any more. Nothing else ever deletes stored records
//! or attachments.
//!
//! * `rules`: which snapshots the keep rules of a source keep, and why. Pure.
//! * `marks`: pins and legal holds, an append-only log per snapshot in the bucket.
//! * `forget`: one snapshot goes: decided in its log, a tombstone instead of its manifest.
//! * `collect`: what is on a `shelf`, segments or packs, goes in two phases and beside live writers; `named` is what manifests need of
//!   it, `confirm` the writers' side.
//! * `thin`: what all that leaves behind goes a long time later, where nothing rests on it.
//! * `lock`: object lock for everything that a snapshot consists of.

mod collect;
pub(super) mod confirm;
mod documents;
mod forget;
mod lock;
mod marks;
mod named;
mod rules;
mod shelf;
mod sweep;
mod thin;

pub use self::{
    collect::{Collection, CollectionState, LiveLook, LiveRuns},
    documents::{Candidate, Collected},
    forget::{Link, Tombstone},
    marks::{Act, Mark, MarkKind, Marks},
    named::Collectable,
    rules::{Decision, Judged, Reason, decide},
    shelf::{ItemId, Shelf},
    thin::{THIN_AFTER, Thinned},
};
