//! Reading a content, or a range of it, in constant memory: two chunks at a time.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use futures::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};

use super::{Content, PackRef, Spot, corrupt, store::Chunks};
use crate::error::Result;

/// Packs that something needs, each with how many bytes of it are needed at least.
pub(crate) type NeededPacks = BTreeMap<PackRef, u64>;

/// Chunks read ahead of who takes them.
const AHEAD: usize = 2;
/// No list of chunks is longer when it is read: that of ten terabytes.
const LIST_BYTES_MAX: u64 = 512 << 20;
/// Lists of lists of lists are more than anybody writes.
const DEPTH_MAX: u8 = 8;

impl Chunks {
    /// The chunks of a content, lists of lists resolved.
    ///
    /// # Errors
    /// `Corrupt` when a list is damaged.
    pub(crate) async fn places(&self, content: &Content) -> Result<Vec<(PackRef, Spot)>> {
        let mut content = content.clone();
        while let Some(inner) = self.inner(&content).await? {
            content = inner;
        }
        content.places()
    }

    /// Adds the packs that a content needs, those of its lists included, each with how many bytes of it are needed at least.
    ///
    /// # Errors
    /// `Corrupt` when a list is damaged.
    pub(crate) async fn packs(&self, content: &Content, found: &mut NeededPacks) -> Result<()> {
        for (pack, spot) in self.all_places(content).await? {
            let needed = found.entry(pack).or_default();
            *needed = spot.end().max(*needed);
        }
        Ok(())
    }

    /// The chunks of a content, and those of its lists.
    ///
    /// # Errors
    /// `Corrupt` when a list is damaged.
    pub(crate) async fn all_places(&self, content: &Content) -> Result<Vec<(PackRef, Spot)>> {
        let mut places = content.places()?;
        let mut list = self.inner(content).await?;
        while let Some(content) = list {
            places.extend(content.places()?);
            list = self.inner(&content).await?;
        }
        Ok(places)
    }

    /// The content that a list holds; `None` for one that is no list.
    async fn inner(&self, content: &Content) -> Result<Option<Content>> {
        if content.depth == 0 {
            return Ok(None);
        }
        let places = content.places()?;
        let bytes: u64 = places.iter().map(|(_, spot)| u64::from(spot.plain_bytes)).sum();
        if bytes > LIST_BYTES_MAX || content.depth > DEPTH_MAX {
            return Err(corrupt("a list of chunks is larger than any that is written"));
        }
        let list: Vec<Bytes> = self.stream(parts(&places, 0..bytes)).try_collect().await?;
        let inner: Content = serde_json::from_slice(&list.concat())
            .map_err(|error| corrupt("a list of chunks has another shape").caused_by(error))?;
        if inner.depth + 1 != content.depth {
            return Err(corrupt("a list of chunks has another depth than was said"));
        }
        Ok(Some(inner))
    }

    /// The bytes of a content of `size_bytes` within a range that lies in it.
    ///
    /// # Errors
    /// `Corrupt` when the chunks do not add up to that size. The stream ends with its first error.
    pub(crate) async fn bytes(
        &self,
        content: &Content,
        size_bytes: u64,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes>>> {
        let places = self.places(content).await?;
        let sum: u64 = places.iter().map(|(_, spot)| u64::from(spot.plain_bytes)).sum();
        if sum != size_bytes {
            return Err(corrupt("the chunks of an attachment do not add up to its size"));
        }
        Ok(self.stream(parts(&places, range)).boxed())
    }

    fn stream(&self, parts: Vec<Part>) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let chunks = self.clone();
        let read = move |part: Part| {
            let chunks = chunks.clone();
            async move { Ok(chunks.read(part.pack, part.spot).await?.slice(part.within)) }
        };
        stream::iter(parts).map(read).buffered(AHEAD)
    }
}

/// What of a chunk is wanted.
struct Part {
    pack: PackRef,
    spot: Spot,
    within: Range<usize>,
}

fn parts(places: &[(PackRef, Spot)], range: Range<u64>) -> Vec<Part> {
    let mut start = 0u64;
    let mut parts = Vec::new();
    for (pack, spot) in places {
        let end = start + u64::from(spot.plain_bytes);
        let (from, to) = (range.start.max(start), range.end.min(end));
        if from < to {
            let within = (from - start) as usize..(to - start) as usize;
            parts.push(Part { pack: *pack, spot: *spot, within });
        }
        start = end;
    }
    parts
}
