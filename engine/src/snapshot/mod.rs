//! The snapshot store: verified, encrypted, deduplicated point-in-time copies of sources, and reading them back.
//!
//! The way in: [`SnapshotStore`] gives the [`SourceStore`] of a source. For a new snapshot, a [`StreamWriter`] a stream
//! takes pages, finds out what changed and writes only that; the states of the finished streams make a [`Manifest`].
//! The way out: a [`SnapshotReader`] gets, browses, scans and verifies. `FORMAT.md` describes every stored byte.

#[doc(hidden)]
pub mod decoders;
pub mod paths;
pub mod retain;

mod account_store;
mod attachments;
mod chain;
mod checker;
mod chunks;
mod codec;
mod diff;
mod digest;
mod document;
mod documents;
mod erase;
mod fields;
mod filter;
mod history;
pub(crate) mod json;
mod key;
mod key_text;
mod keys;
mod lookup;
mod loose;
mod manifest;
mod merge;
mod point;
mod reader;
mod restores;
mod sample;
mod seal;
mod search;
mod segment;
mod segments;
mod signature;
mod source_store;
mod store;
mod stream_writer;
mod verify;

pub(crate) use self::lookup::SpillMap;
pub use self::{
    account_store::AccountStore,
    attachments::{
        AttachmentsCheckpoint, AttachmentsWriter, ContentSink, NewAttachment, StoredAttachment, TakenContent,
        attachments_stream, key_of as attachment_key, owner_of,
    },
    chain::Survey,
    chunks::PackId,
    diff::{Bodies, Change, Difference, StreamDifference},
    digest::ContentDigest,
    fields::{FieldChange, changed_fields},
    filter::Filter,
    history::Version,
    key::{KeyPart, MAX_KEY_BYTES, RecordKey},
    keys::{Doom, KeyDestruction, KeyRotation, KeyUsage, Protected, StoredKeys},
    loose::{LooseBlock, LooseEntry, LooseSegment, ObjectKind},
    manifest::{
        FORMAT_VERSION, LoadedManifest, Manifest, MassAbsence, ParentRef, ReadWindow, SnapshotStatus, StreamState,
        Totals,
    },
    reader::{KeyRange, Record, RecordPage, SnapshotReader},
    sample::ContentSum,
    search::Hit,
    segment::{MAX_RECORD_BYTES, SegmentId, SegmentRef},
    signature::{PublicKey, Signature, Signed},
    source_store::SourceStore,
    store::{SnapshotStore, StoreSettings},
    stream_writer::{
        FinishedStream, PageOutcome, StreamCheckpoint, StreamEnd, StreamFigures, StreamWriter, WriterSpec,
    },
    verify::{Coverage, Damage, VerifyLevel, VerifyLimits, VerifyPosition, VerifyProgress, VerifyReport},
};
