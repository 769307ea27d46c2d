//! Collecting segments that nothing refers to, in two phases, beside live writers and without any lock.
//!
//! Collections of a source are numbered; at most one is open. The documents of number *n*, each made by put-if-absent, in
//! this order:
//!
//! | document | says |
//! |---|---|
//! | `collections/<n>.doomed` | the candidates: segments that no manifest and no checkpoint of a live run names |
//! | `collections/<n>.waits` | the runs that were live **after** that, and since when the grace counts |
//! | `collections/<n>.<segment>.rescue` | a writer needs this candidate |
//! | `collections/<n>.sweeping` | deleting has begun |
//! | `collected/<n>.collected` | it has ended: the collection is closed, and the documents above are of no more use |
//!
//! A **writer** remembers which collection was open when it began, puts segments, and before it names them in a checkpoint or
//! manifest *confirms* them ([`super::confirm`]): it looks for an open collection that has one of them as candidate; of such
//! a one it puts a rescue and then looks whether sweeping has begun, or even ended: if so it does not name the segment, but
//! fails and begins again at its last checkpoint. Of a collection that was open when it began and is closed by now, it looks whether its
//! segments are still there.
//!
//! The **collector** sweeps when the grace is over and no run of `waits` is live: it puts `sweeping`, and then looks for
//! rescues, for the checkpoints of live runs, and for the manifests, in this order. It deletes the candidates that none of
//! them names, and only then closes the collection.
//!
//! **Why no manifest ever misses a segment.** Let a run name the candidate *x* of collection *n*, and look at its confirmation.
//!
//! 1. It found *n* not yet there. Then the run was live before the candidates were put, and `waits`, read after them, has it,
//!    unless it had ended by then. Either way it has ended before the sweep, and its manifest, if it made one, was there
//!    when the sweeper read the manifests.
//! 2. It found *n* open and not sweeping, after it had put a rescue. Then the rescue was there before `sweeping`, and the
//!    sweeper, who looks for rescues after `sweeping`, keeps *x*. (That `sweeping` was not yet there, rather than there no
//!    more, the writer knows from looking for `collected` after it: `sweeping` is removed only once that is there.)
//! 3. It found *n* sweeping, or closed since it had put the rescue: it did not name *x*.
//! 4. It found *n* closed. If *n* was not open when the run's writer began, then either it was closed before, so that *x*
//!    was put, and lasts, after all of its deletions; or it was opened later, and 1 holds. If it was open then, the writer
//!    saw *x* after all deletions of *n*.
//!
//! What a run has named once stays named: by its checkpoint while it is live (the next checkpoint names it too), then by its
//! manifest. The sweeper reads the checkpoints before the manifests, so that a run that commits in between is in one of them.
//! A forgotten manifest names nothing; but the head is never forgotten, and a live run's parent is the head.
//!
//! **Other sweepers.** Only one can make `sweeping`, and it deletes only for [`SWEEP_MAX`] after. When it dies, another takes
//! over after [`TAKE_OVER_AFTER`] (at once where no other worker can be alive), decides anew and closes the collection.
//! Until then writers that meet one of its candidates begin again. So the order of things is kept by documents, and the
//! clock decides only how long a sweeper that does not move counts as dead.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, future::BoxFuture, stream};
use jiff::Timestamp;

use super::documents::{Candidate, Collected, Doomed, Waits};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{RunId, SnapshotId},
    ports::Clock,
    snapshot::{SegmentId, SourceStore, paths},
};

/// A sweeper deletes for so long, then it closes the collection; what is left is found again by the next one.
pub(super) const SWEEP_MAX: Duration = Duration::from_secs(10 * 60);
/// A sweeper that has not closed its collection after so long is dead.
pub(super) const TAKE_OVER_AFTER: Duration = Duration::from_secs(60 * 60);
/// Manifests read, and objects deleted, at a time.
pub(super) const AT_A_TIME: usize = 8;

/// The live runs of a source, and what they rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveRuns {
    /// Runs that a worker has begun and that have not ended.
    pub runs: BTreeSet<RunId>,
    /// Segments that their checkpoints name.
    pub segments: BTreeSet<SegmentId>,
}

/// Looks for the live runs of the source now.
pub type LiveLook<'a> = dyn Fn() -> BoxFuture<'a, Result<LiveRuns>> + Send + Sync + 'a;

/// Collecting in one source.
pub struct Collection<'a> {
    /// The source.
    pub store: SourceStore,
    /// Its live runs.
    pub live: &'a LiveLook<'a>,
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Time between finding candidates and deleting them.
    pub grace: Duration,
    /// No other worker can be alive: a sweeper that has not ended is dead.
    pub is_sole_worker: bool,
    /// Tells this sweeper from others.
    pub by: String,
}

/// Where the collection of a source stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionState {
    /// Everything that is stored is referred to.
    Clean,
    /// These are referred to by nothing; the next collection will have them as candidates.
    Found(Vec<Candidate>),
    /// Candidates wait.
    Waiting {
        /// The candidates.
        candidates: Vec<Candidate>,
        /// Not deleted before then.
        until: Timestamp,
        /// And not before these runs have ended.
        runs: Vec<RunId>,
    },
    /// The next collection deletes those that are still referred to by nothing.
    Due(Vec<Candidate>),
    /// Another worker is deleting.
    Busy,
}

impl Collection<'_> {
    /// Where things stand; changes nothing.
    ///
    /// # Errors
    /// `Corrupt` when a manifest or a document cannot be read: nothing is a candidate then.
    pub async fn look(&self) -> Result<CollectionState> {
        let number = self.next_number().await?;
        match self.document::<Doomed>(number, "doomed").await? {
            None => {
                let found = self.find_candidates().await?;
                Ok(if found.is_empty() { CollectionState::Clean } else { CollectionState::Found(found) })
            }
            Some(doomed) => match self.document(number, "waits").await? {
                Some(waits) => Ok(self.standing(&doomed, &waits, &(self.live)().await?)),
                None => Ok(CollectionState::Found(doomed.candidates)),
            },
        }
    }

    /// Deletes the candidates of the open collection when their time has come, and finds new ones when none is open.
    /// Returns what was deleted, and where things stand.
    ///
    /// # Errors
    /// `Corrupt` when a manifest or a document cannot be read: nothing is deleted then. `Retry` from the port; going on
    /// later is safe.
    pub async fn advance(&self) -> Result<(Option<Collected>, CollectionState)> {
        let number = self.next_number().await?;
        self.tidy(number).await?;
        let state = self.wait(number).await?;
        let CollectionState::Due(_) = state else { return Ok((None, state)) };
        match self.sweep(number).await? {
            Some(collected) => {
                self.tidy(number + 1).await?;
                Ok((Some(collected), self.wait(number + 1).await?))
            }
            None => Ok((None, CollectionState::Busy)),
        }
    }

    /// First phase: candidates, then the runs to wait for.
    async fn wait(&self, number: u32) -> Result<CollectionState> {
        let doomed = match self.document::<Doomed>(number, "doomed").await? {
            Some(doomed) => doomed,
            None => {
                let doomed = Doomed { at: self.clock.now(), candidates: self.find_candidates().await? };
                if doomed.candidates.is_empty() {
                    return Ok(CollectionState::Clean);
                }
                self.agree(number, "doomed", doomed).await?
            }
        };
        // After the candidates are known to every writer that begins from now on.
        let live = (self.live)().await?;
        let waits = match self.document::<Waits>(number, "waits").await? {
            Some(waits) => waits,
            None => {
                let waits = Waits { at: self.clock.now(), runs: live.runs.iter().copied().collect() };
                self.agree(number, "waits", waits).await?
            }
        };
        Ok(self.standing(&doomed, &waits, &live))
    }

    fn standing(&self, doomed: &Doomed, waits: &Waits, live: &LiveRuns) -> CollectionState {
        let runs: Vec<RunId> = waits.runs.iter().filter(|run| live.runs.contains(run)).copied().collect();
        let (candidates, until) = (doomed.candidates.clone(), waits.at + self.grace);
        if runs.is_empty() && until <= self.clock.now() {
            return CollectionState::Due(candidates);
        }
        CollectionState::Waiting { candidates, until, runs }
    }

    /// Segments that nothing refers to and nobody has locked.
    async fn find_candidates(&self) -> Result<Vec<Candidate>> {
        let segments = &self.store.segments;
        let prefix = paths::segments(segments.scope.account_id(), segments.source_id);
        let stored = segments.list_all(&prefix).await?;
        let stored = stored.iter().filter_map(|entry| Some((paths::parse_segment(&entry.path)?, entry.size_bytes)));
        let mut unnamed: BTreeMap<SegmentId, u64> = stored.collect();
        let live = (self.live)().await?;
        unnamed.retain(|id, _| !live.segments.contains(id));
        let named = self.named_by_manifests().await?;
        unnamed.retain(|id, _| !named.contains(id));
        let now = self.clock.now();
        let unlocked = stream::iter(unnamed)
            .map(|(id, size_bytes)| async move {
                let path = paths::segment(segments.scope.account_id(), segments.source_id, id);
                let locked = segments.blobs.retained_until(&segments.scope, &path).await?;
                Ok(locked.is_none_or(|until| until <= now).then_some(Candidate { id, size_bytes }))
            })
            .buffered(AT_A_TIME);
        unlocked.try_filter_map(|candidate| async move { Ok(candidate) }).try_collect().await
    }

    /// Segments that any stored manifest names, also one that was never committed.
    pub(super) async fn named_by_manifests(&self) -> Result<BTreeSet<SegmentId>> {
        let read = stream::iter(self.store.stored_manifests().await?)
            .map(|snapshot_id| self.named_by(snapshot_id))
            .buffer_unordered(AT_A_TIME);
        read.try_fold(BTreeSet::new(), |mut all, named| async move {
            all.extend(named);
            Ok(all)
        })
        .await
    }

    async fn named_by(&self, snapshot_id: SnapshotId) -> Result<Vec<SegmentId>> {
        match self.store.load_stored(snapshot_id).await {
            Ok(loaded) => {
                let streams = loaded.manifest.streams.values();
                Ok(streams.flat_map(|stream| &stream.segments).map(|segment| segment.id).collect())
            }
            // It was forgotten since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound && self.store.tombstone(snapshot_id).await?.is_some() => {
                Ok(Vec::new())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let message = "a manifest vanished while segments were to be collected; nothing is deleted";
                Err(Error::new(ErrorKind::Corrupt, message).with("snapshot", snapshot_id))
            }
            Err(error) => Err(error),
        }
    }

    /// The number of the open collection, or of the next one.
    async fn next_number(&self) -> Result<u32> {
        let segments = &self.store.segments;
        let prefix = paths::all_collected(segments.scope.account_id(), segments.source_id);
        let closed = segments.list_all(&prefix).await?;
        Ok(closed.last().and_then(|entry| paths::parse_collection(&entry.path)).map_or(0, |(last, _)| last + 1))
    }

    /// Removes the documents of closed collections.
    async fn tidy(&self, number: u32) -> Result<()> {
        let segments = &self.store.segments;
        let prefix = paths::collections(segments.scope.account_id(), segments.source_id);
        for entry in segments.list_all(&prefix).await? {
            if paths::parse_collection(&entry.path).is_some_and(|(of, _)| of < number) {
                segments.blobs.delete(&segments.scope, &entry.path).await?;
            }
        }
        Ok(())
    }

    pub(super) fn path(&self, number: u32, kind: &str) -> String {
        let segments = &self.store.segments;
        paths::collection(segments.scope.account_id(), segments.source_id, number, kind)
    }

    pub(super) async fn document<T: serde::de::DeserializeOwned>(&self, number: u32, kind: &str) -> Result<Option<T>> {
        self.store.segments.find_document(&self.path(number, kind)).await
    }

    /// Puts a document; when another worker was faster, theirs holds.
    async fn agree<T>(&self, number: u32, kind: &str, document: T) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Sync,
    {
        let path = self.path(number, kind);
        if self.store.segments.put_document(&path, &document).await? {
            return Ok(document);
        }
        self.store.segments.read_document(&path).await
    }
}
