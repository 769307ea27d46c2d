//! How far a bounded verification may go in one call, and where it stopped.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Clock,
    snapshot::{PackId, digest::ContentDigest, key::RecordKey, manifest::Manifest, segment::SegmentId},
};

/// What one call may spend. A call reads at least one segment, or one block of each segment that is merged, however small
/// its limits: calling again and again comes to an end.
#[derive(Clone, Copy, Default)]
pub struct VerifyLimits<'a> {
    /// Bytes of segments to read at most; no limit when absent.
    pub bytes_max: Option<u64>,
    /// When to stop; no limit when absent.
    pub deadline: Option<(&'a dyn Clock, Timestamp)>,
}

impl VerifyLimits<'_> {
    /// True when `bytes` are more than one call may read, or its time is over.
    pub(super) fn are_passed(&self, bytes: u64) -> bool {
        self.bytes_max.is_some_and(|max| bytes > max) || self.deadline.is_some_and(|(clock, at)| clock.now() >= at)
    }
}

/// Where a bounded verification stopped. Of use only with the snapshot that it came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyPosition {
    /// BLAKE3 of the snapshot's stored manifest, in hex.
    pub(super) manifest_digest: String,
    pub(super) place: Place,
    /// Damage was found on the way here.
    pub(super) was_damaged: bool,
}

/// A place among the units of a verification, in the order in which they are taken: stream by stream, the segments that the
/// snapshot names; where their keys overlap also the merge of them; then the segments of older snapshots; then the contents
/// of the snapshot's attachments; at last the packs of those of older snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Place {
    /// The first `done` segments of a stream were read.
    Segments { stream: String, done: usize, sum: Sum },
    /// All segments of a stream were read; their merge was counted up to a key.
    Merge { stream: String, after: Option<RecordKey>, sum: Sum },
    /// All that the snapshot names was read, and of the others those up to this one.
    Older { after: Option<SegmentId> },
    /// All segments were read, and the contents of a stream's attachments up to this key.
    Attachments { stream: String, after: Option<RecordKey> },
    /// All that was read, and of the packs of older snapshots those up to this one.
    OlderPacks { after: Option<PackId> },
}

/// What was counted of a stream so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sum {
    pub(super) records: u64,
    pub(super) digest: ContentDigest,
    /// One of its segments is damaged: what it holds cannot be told any more.
    pub(super) is_damaged: bool,
}

impl Place {
    /// Before everything.
    pub(super) fn first(manifest: &Manifest) -> Self {
        Self::before_stream(manifest.streams.keys().next())
    }

    /// After all of a stream.
    pub(super) fn after_stream(manifest: &Manifest, stream: &str) -> Self {
        let range = (std::ops::Bound::Excluded(stream), std::ops::Bound::Unbounded);
        Self::before_stream(manifest.streams.range::<str, _>(range).next().map(|(name, _)| name))
    }

    fn before_stream(stream: Option<&String>) -> Self {
        match stream {
            Some(stream) => Self::Segments { stream: stream.clone(), done: 0, sum: Sum::default() },
            None => Self::Older { after: None },
        }
    }
}

impl VerifyPosition {
    /// The place, if this is a position in that snapshot.
    ///
    /// # Errors
    /// `Invalid` when it is not.
    pub(super) fn place_in(&self, manifest: &Manifest, digest: &str) -> Result<Place> {
        if self.manifest_digest != digest {
            return Err(refused("the position is one in another snapshot", manifest));
        }
        let fits = match &self.place {
            Place::Segments { stream, done, .. } => {
                manifest.streams.get(stream).is_some_and(|state| *done <= state.segments.len())
            }
            Place::Merge { stream, .. } | Place::Attachments { stream, .. } => manifest.streams.contains_key(stream),
            Place::Older { .. } | Place::OlderPacks { .. } => true,
        };
        if fits { Ok(self.place.clone()) } else { Err(refused("there is no such position in the snapshot", manifest)) }
    }
}

fn refused(message: &'static str, manifest: &Manifest) -> Error {
    Error::new(ErrorKind::Invalid, message).with("snapshot", manifest.snapshot_id)
}
