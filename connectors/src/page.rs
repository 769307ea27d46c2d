//! A page of records: the unit that travels from a connector to the store.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use crate::Attachment;

/// Records as slices of the bytes that carried them. Built by connectors, never changed afterwards.
#[derive(Clone, Debug)]
pub struct Page {
    /// The page's text (UTF-8), at most 4 GiB: the answer as received, or records written anew when a stream transforms.
    pub body: Bytes,
    /// The records in `body`, in order.
    pub records: Vec<RecordSlice>,
    /// Every attachment of these records: what a record has and is not named here counts as gone.
    pub attachments: Vec<Attachment>,
    /// How to go on after this page within the same run, or `None` where the read cannot be resumed here.
    /// Opaque to everybody but the connector; handed back through [`crate::ReadRequest::position`].
    pub position: Option<Value>,
    /// Where the read stands, for progress.
    pub progress: PageProgress,
}

/// One record: a JSON object inside [`Page::body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSlice {
    /// The object's bytes, as received.
    pub body: Range<u32>,
    /// The bytes of the key's values as JSON text, one slice a key field, in the order of the primary key.
    /// Empty when the stream has no primary key.
    pub key: KeySlices,
    /// True when the product says that this record is deleted (see [`crate::Deletions::Marked`]).
    pub is_deletion: bool,
}

/// Nearly every key has one field: no allocation for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySlices {
    /// The stream has no primary key.
    None,
    /// One field.
    One(Range<u32>),
    /// Several fields.
    Many(Box<[Range<u32>]>),
}

impl KeySlices {
    /// The slices in order.
    pub fn as_slice(&self) -> &[Range<u32>] {
        match self {
            Self::None => &[],
            Self::One(range) => std::slice::from_ref(range),
            Self::Many(ranges) => ranges,
        }
    }
}

/// Figures of one page, summed up by the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageProgress {
    /// Bytes received for it, after decompression.
    pub bytes_received: u64,
    /// Requests sent for it, retries included.
    pub requests: u32,
    /// Milliseconds in which they waited for the product's limits.
    pub waited_ms: u64,
    /// Slices of the stream (partitions, windows of time) finished so far.
    pub slices_done: u32,
    /// Slices known so far.
    pub slices_known: u32,
}

impl Page {
    /// The bytes of a record.
    pub fn record_body(&self, record: &RecordSlice) -> &[u8] {
        self.slice(&record.body)
    }

    /// The bytes at `range` of the page.
    pub fn slice(&self, range: &Range<u32>) -> &[u8] {
        &self.body[range.start as usize..range.end as usize]
    }
}
