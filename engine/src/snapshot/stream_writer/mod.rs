//! Writing one stream of a new snapshot: pages in, segments with only what changed out.

mod change;
mod checkpoint;
mod compact;
mod figures;
mod finish;
mod outbox;
mod tiers;

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use listbackup_connectors::{Page, StreamSpec, page::RecordSlice};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::{checkpoint::StreamCheckpoint, figures::StreamFigures};
use self::{figures::Tally, outbox::Outbox};
use super::{
    chunks::PackId,
    json,
    key::{self, MAX_KEY_BYTES, RecordKey},
    lookup::{Found, KeyTables, SeenSet},
    manifest::{ReadWindow, StreamState},
    retain::confirm::Watch,
    segment::{MAX_RECORD_BYTES, NOT_IN_BODY, SegmentContext, SegmentId, SortBuffer},
    segments::Segments,
    store::{Sealers, StoreSettings},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::RunId,
};

/// Records are looked at for so many bytes before other tasks get their turn.
const TURN_BYTES: usize = 256 << 10;

/// What to write.
#[derive(Clone, Debug)]
pub struct WriterSpec {
    /// The stream.
    pub stream: Arc<StreamSpec>,
    /// The run that writes it.
    pub run_id: RunId,
    /// Its state in the snapshot before.
    pub parent: Option<StreamState>,
    /// Where an interrupted read of the same run stood.
    pub resume: Option<StreamCheckpoint>,
}

/// How the read of a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEnd {
    /// True when every record that exists was pushed, so that absence means deletion.
    pub is_full: bool,
    /// True when the product never deletes: what did not come is kept all the same.
    pub keeps_absent: bool,
    /// From where the next incremental read may start.
    pub cursor: Option<Value>,
    /// When the stream was read.
    pub window: ReadWindow,
}

impl StreamEnd {
    /// The end of a read between two instants.
    pub fn new(is_full: bool, cursor: Option<Value>, started_at: Timestamp, ended_at: Timestamp) -> Self {
        Self { is_full, keeps_absent: false, cursor, window: ReadWindow { started_at, ended_at } }
    }
}

/// What a page did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageOutcome {
    /// Records and deletions in the page.
    pub received: u64,
    /// Of these, written to the new snapshot.
    pub written: u64,
    /// Pushed since the last checkpoint: a crash now would cost so many.
    pub unsaved: u64,
}

/// A stream that was written to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishedStream {
    /// Its state, for the manifest.
    pub state: StreamState,
    /// What was read and written.
    pub figures: StreamFigures,
    /// Segments that this run made for its checkpoints and merged since: no snapshot will ever name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<SegmentId>,
    /// The stream of its attachments, if any of its records ever had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachments: Option<Box<FinishedStream>>,
    /// Of a stream of attachments: the packs that the run's records name.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub packs: BTreeSet<PackId>,
}

impl FinishedStream {
    /// The stream, and that of its attachments.
    pub fn with_attachments(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.attachments.as_deref())
    }
}

/// Writes one stream. After an error it is of no use; a new one resumes from the last checkpoint.
pub struct StreamWriter {
    segments: Segments,
    settings: Arc<StoreSettings>,
    spec: Arc<StreamSpec>,
    parent: Option<StreamState>,
    /// The parent's records, and those of them that this run came across.
    parent_tables: KeyTables,
    seen: SeenSet,
    /// Records written by this run: being gathered; in full buffers on their way to the store; stored.
    building: SortBuffer,
    outbox: Outbox,
    own_tables: KeyTables,
    tally: Tally,
    /// Which collections this run's segments must be kept from.
    watch: Watch,
    unsaved: u64,
    since_turn_bytes: usize,
    current: Current,
}

/// The record being looked at, in memory that is used again for the next.
#[derive(Default)]
struct Current {
    key: Vec<u8>,
    places: Vec<u32>,
    /// Its entries in the parent, and in this run's stored segments; newest first.
    in_parent: Vec<Found>,
    in_own: Vec<Found>,
}

impl StreamWriter {
    pub(super) async fn open(
        segments: Segments,
        settings: Arc<StoreSettings>,
        sealers: Arc<Sealers>,
        spec: WriterSpec,
    ) -> Result<Self> {
        let WriterSpec { stream, run_id, parent, resume } = spec;
        let arity = u8::try_from(stream.primary_key.len()).map_err(|_| {
            Error::new(ErrorKind::Invalid, "a primary key has more than 255 fields").with("stream", &stream.name)
        })?;
        let context = SegmentContext {
            account_id: segments.scope.account_id(),
            source_id: segments.source_id,
            stream: stream.name.clone(),
            run_id,
            keys: segments.ring.current()?,
            zstd_level: settings.zstd_level,
            block_bytes: settings.block_bytes,
        };
        let parent_segments = parent.as_ref().map_or(&[][..], |parent| &parent.segments);
        let parent_tables = KeyTables::new(&stream.name, parent_segments, &settings.lookup())?;
        let watch = Watch::begin(&segments).await?;
        let mut writer = Self {
            watch,
            seen: SeenSet::new(parent_tables.entries()),
            parent_tables,
            building: SortBuffer::new(arity),
            outbox: Outbox::new(segments.clone(), sealers, context, settings.sealers_max),
            own_tables: KeyTables::new(&stream.name, &[], &settings.lookup())?,
            tally: Tally::new(parent.as_ref()),
            segments,
            settings,
            spec: stream,
            parent,
            unsaved: 0,
            since_turn_bytes: 0,
            current: Current::default(),
        };
        if let Some(checkpoint) = resume {
            writer.resume(checkpoint)?;
        }
        Ok(writer)
    }

    /// Takes a page: finds out what changed and keeps that. Waits while the store is slower than the reader.
    ///
    /// # Errors
    /// `Invalid` for a record whose key is no JSON or too long, that is too large, or that is no JSON in a stream
    /// without primary key; `Corrupt` when the parent is damaged; those of the ports.
    pub async fn push(&mut self, page: Page) -> Result<PageOutcome> {
        let mut outcome = PageOutcome { received: page.records.len() as u64, ..PageOutcome::default() };
        for record in &page.records {
            self.read_key(&page, record).map_err(|error| error.with("stream", &self.spec.name))?;
            let body = page.record_body(record);
            if body.len() > MAX_RECORD_BYTES {
                let key = RecordKey::trusted(&self.current.key);
                let message = format!("a record takes {} bytes, more than {MAX_RECORD_BYTES}", body.len());
                return Err(Error::new(ErrorKind::Invalid, message).with("stream", &self.spec.name).with("key", key));
            }
            outcome.written += u64::from(self.apply((!record.is_deletion).then_some(body)).await?);
            self.give_turn(body.len()).await;
        }
        self.unsaved += outcome.received;
        outcome.unsaved = self.unsaved;
        Ok(outcome)
    }

    /// From now on everything is read again, after only changes were: what is written from here on is the drift. What came
    /// before counts as seen.
    pub fn reconcile(&mut self) {
        self.tally.figures.drift = Some(0);
    }

    /// Not everything could be read: nothing can be said of the drift.
    pub fn give_up_reconciling(&mut self) {
        self.tally.figures.drift = None;
    }

    /// The key of a record of a page.
    ///
    /// # Errors
    /// Those of [`StreamWriter::push`] for a key.
    pub fn key_of(&mut self, page: &Page, record: &RecordSlice) -> Result<RecordKey> {
        self.read_key(page, record).map_err(|error| error.with("stream", &self.spec.name))?;
        Ok(RecordKey::trusted(&self.current.key))
    }

    /// What was read and written so far.
    pub fn figures(&self) -> StreamFigures {
        let mut figures = self.tally.figures;
        figures.bytes_stored = self.outbox.made.values().sum();
        figures
    }

    /// Reads the key of a record, and where its values stand in the body. What is missing counts as null.
    fn read_key(&mut self, page: &Page, record: &RecordSlice) -> Result<()> {
        let Current { key, places, .. } = &mut self.current;
        key.clear();
        places.clear();
        let (slices, arity) = (record.key.as_slice(), self.spec.primary_key.len());
        let mut is_whole = arity > 0 && slices.len() == arity;
        if is_whole {
            for slice in slices {
                let value = page.slice(slice);
                is_whole &= value.trim_ascii() != b"null";
                key::encode(value, key)?;
                let is_inside = record.body.start <= slice.start && slice.end <= record.body.end;
                let is_tight = value.trim_ascii_start().len() == value.len();
                places.push(if is_inside && is_tight { slice.start - record.body.start } else { NOT_IN_BODY });
            }
        } else {
            (0..arity).try_for_each(|_| key::encode(b"null", key))?;
        }
        if !is_whole {
            // Such records are told apart by their content, so that two of them do not pass for one.
            places.clear();
            key::encode_digest(self.segments.ring.hashers().identity(&canonical(page.record_body(record))?), key);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(key::too_long(key.len()));
        }
        Ok(())
    }

    /// Lets other tasks run after a share of work.
    async fn give_turn(&mut self, bytes: usize) {
        self.since_turn_bytes += bytes;
        if self.since_turn_bytes >= TURN_BYTES {
            self.since_turn_bytes = 0;
            tokio::task::yield_now().await;
        }
    }
}

fn canonical(body: &[u8]) -> Result<Vec<u8>> {
    let mut canonical = Vec::with_capacity(body.len());
    json::canonicalise(body, &mut canonical)
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "a record is not JSON, or is nested too deeply"))?;
    Ok(canonical)
}
