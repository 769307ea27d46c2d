//! Full buffers on their way to the store: packed on threads for blocking work and put, a bounded number at a time,
//! collected in the order in which they were filled.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use tokio_util::task::AbortOnDropHandle;

use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{
        digest::Tag,
        segment::{SealedSegment, SegmentContext, SegmentId, SortBuffer},
        segments::Segments,
        store::Sealers,
    },
};

/// Buffers being stored.
pub(super) struct Outbox {
    segments: Segments,
    sealers: Arc<Sealers>,
    context: Arc<SegmentContext>,
    parcels: VecDeque<Parcel>,
    parcels_max: usize,
    /// Buffers to be used again.
    spare: Vec<SortBuffer>,
    /// Segments that this run made, with the bytes of their objects.
    pub(super) made: BTreeMap<SegmentId, u64>,
}

struct Parcel {
    buffer: Arc<SortBuffer>,
    task: AbortOnDropHandle<Result<SealedSegment>>,
}

impl Outbox {
    /// An empty one.
    pub(super) fn new(segments: Segments, sealers: Arc<Sealers>, context: SegmentContext, parcels_max: usize) -> Self {
        Self {
            segments,
            sealers,
            context: Arc::new(context),
            parcels: VecDeque::new(),
            parcels_max: parcels_max.max(1),
            spare: Vec::new(),
            made: BTreeMap::new(),
        }
    }

    /// From now on one buffer is under way at a time: merging reads about as fast as one thread seals.
    pub(super) fn narrow(&mut self) {
        self.parcels_max = 1;
        self.spare.truncate(1);
    }

    /// The newest entry of a key in the buffers under way.
    pub(super) fn find(&self, key: &[u8], tag: Tag) -> Option<(&SortBuffer, usize)> {
        self.parcels.iter().rev().find_map(|parcel| Some((&*parcel.buffer, parcel.buffer.find(key, tag)?)))
    }

    /// True when the oldest buffer must be received before another is sent: it arrived, or there is no more room.
    pub(super) fn has_to_receive(&self) -> bool {
        self.parcels.len() >= self.parcels_max || self.parcels.front().is_some_and(|parcel| parcel.task.is_finished())
    }

    /// Sends a buffer off once a sealer is free, and leaves an empty one.
    ///
    /// # Errors
    /// `Cancelled` when the store is going away.
    pub(super) async fn send(&mut self, buffer: &mut SortBuffer) -> Result<()> {
        let place = self.sealers.place().await?;
        let empty = self.spare.pop().unwrap_or_else(|| SortBuffer::new(buffer.arity()));
        let full = Arc::new(std::mem::replace(buffer, empty));
        let (segments, sealers, context) = (self.segments.clone(), self.sealers.clone(), self.context.clone());
        let packing = full.clone();
        let task = tokio::spawn(async move {
            let segment = sealers.pack(packing, context).await?;
            segments.put(&segment).await?;
            drop(place);
            Ok(segment)
        });
        self.parcels.push_back(Parcel { buffer: full, task: AbortOnDropHandle::new(task) });
        Ok(())
    }

    /// Waits for the oldest buffer under way; `None` when there is none.
    ///
    /// # Errors
    /// Those of making and putting the segment.
    pub(super) async fn receive(&mut self) -> Result<Option<SealedSegment>> {
        let Some(parcel) = self.parcels.front_mut() else { return Ok(None) };
        let mut segment = (&mut parcel.task)
            .await
            .map_err(|error| Error::new(ErrorKind::Cancelled, "storing a segment was stopped").caused_by(error))??;
        if let Some(parcel) = self.parcels.pop_front()
            && let Ok(mut buffer) = Arc::try_unwrap(parcel.buffer)
        {
            buffer.clear();
            self.spare.push(buffer);
        }
        self.made.insert(segment.reference.id, segment.reference.size_bytes);
        segment.object = bytes::Bytes::new();
        Ok(Some(segment))
    }
}
