//! The snapshot store: verified, encrypted, deduplicated point-in-time copies of sources, and reading them back.
//!
//! The way in: [`SnapshotStore`] gives the [`SourceStore`] of a source. For a new snapshot, a [`StreamWriter`] a stream
//! takes pages, finds out what changed and writes only that; the states of the finished streams make a [`Manifest`].
//! The way out: a [`SnapshotReader`] gets, browses, scans and verifies. `FORMAT.md` describes every stored byte.

pub mod paths;
pub mod retain;

mod checker;
mod codec;
mod digest;
mod documents;
mod json;
mod key;
mod key_text;
mod keys;
mod lookup;
mod manifest;
mod merge;
mod reader;
mod seal;
mod segment;
mod segments;
mod source_store;
mod store;
mod stream_writer;
mod verify;

pub use self::{
    digest::ContentDigest,
    key::{KeyPart, MAX_KEY_BYTES, RecordKey},
    manifest::{FORMAT_VERSION, LoadedManifest, Manifest, ParentRef, ReadWindow, SnapshotStatus, StreamState, Totals},
    reader::{Record, SnapshotReader},
    segment::{MAX_RECORD_BYTES, SegmentId, SegmentRef},
    source_store::SourceStore,
    store::{SnapshotStore, StoreSettings},
    stream_writer::{
        FinishedStream, PageOutcome, StreamCheckpoint, StreamEnd, StreamFigures, StreamWriter, WriterSpec,
    },
    verify::{Damage, VerifyLevel, VerifyReport},
};
