//! Collecting what nothing refers to, in two phases, beside live writers and without any lock: the segments of a source, or the
//! packs of an account. Each of these is a [`Shelf`] with collections of its own; what is said here holds for both.
//!
//! Collections of a shelf are numbered; at most one is open. The documents of number *n*, each made by put-if-absent, in
//! this order:
//!
//! | document | says |
//! |---|---|
//! | `collections/<n>.doomed` | the candidates: objects of the shelf that no manifest and no checkpoint of a live run names |
//! | `collections/<n>.waits` | the runs that were live **after** that, and since when the grace counts |
//! | `collections/<n>.<id>.rescue` | a writer needs this candidate |
//! | `collections/<n>.sweeping` | deleting has begun |
//! | `collected/<n>.collected` | it has ended: the collection is closed, and the documents above are of no more use |
//!
//! The manifests and live runs are those of the source, or those of **all** sources of the account. A manifest names the segments
//! that it lists, and the packs that hold the attachments of its streams ([`super::named`]).
//!
//! A **writer** puts segments and packs, and finds chunks in packs that are there. Before it names any of them for the first time in
//! a checkpoint or manifest it *confirms* them ([`super::confirm`]): it looks for an open collection that has one of them as
//! candidate; of such a one it puts a rescue and then looks whether sweeping has begun, or even ended: if so it does not name it, but
//! fails and begins again at its last checkpoint. For collections that are closed by then, segments and packs differ:
//! * Of a segment, which it has always put itself, it remembers which collection was open when it began, and looks whether its
//!   segments are still there when that is closed.
//! * Of a pack, which it may only have found, in a table that is older than it is itself, it looks last of all whether it is there.
//!
//! The **collector** sweeps when the grace is over and no run of `waits` is live: it puts `sweeping`, and then looks for
//! rescues, for the checkpoints of live runs, and for the manifests, in this order. It deletes the candidates that none of
//! them names, and only then closes the collection.
//!
//! **Why no manifest ever misses a segment or pack.** Let a run name the candidate *x* of collection *n* for the first time, and look
//! at its confirmation.
//!
//! 1. It found *n* not yet there. Then the run was live before the candidates were put, and `waits`, read after them, has it,
//!    unless it had ended by then. Either way it has ended before the sweep, and its manifest, if it made one, was there
//!    when the sweeper read the manifests. That holds for a run of another source too, also of one that is new: what `waits` has are
//!    the runs of the account, and its sources are listed anew whenever manifests are read.
//! 2. It found *n* open and not sweeping, after it had put a rescue. Then the rescue was there before `sweeping`, and the
//!    sweeper, who looks for rescues after `sweeping`, keeps *x*. (That `sweeping` was not yet there, rather than there no
//!    more, the writer knows from looking for `collected` after it: `sweeping` is removed only once that is there.)
//! 3. It found *n* sweeping, or closed since it had put the rescue: it did not name *x*.
//! 4. It found *n* closed, and *x* is a pack. It saw *x* after all deletions of *n*.
//! 5. It found *n* closed, and *x* is a segment. If *n* was not open when the run's writer began, then either it was closed before, so
//!    that *x* was put, and lasts, after all of its deletions; or it was opened later, and 1 holds. If it was open then, the
//!    writer saw *x* after all deletions of *n*.
//!
//! **What a run has named once stays named**: by its checkpoint while it is live (the next checkpoint names it too), then by its
//! manifest. The sweeper reads the checkpoints before the manifests, so that a run that commits in between is in one of them.
//! A run that names *x* not for the first time, but since its parent does, relies on the parent: the parent is the head and stays
//! while the run is live. A forgotten manifest names nothing, so one that is forgotten while manifests are read may take with it
//! the only name that was to be read of *x*, although a newer one, which was put after they were listed, names it again. Then they
//! are listed again, until none of those in the last listing was forgotten: a manifest that was put after that has a
//! parent which was in it.
//!
//! **A pack of which something is needed stays whole.** How much that can cost stands in FORMAT.md.
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

use super::{
    documents::{Candidate, Collected, Doomed, Waits},
    named::Collectable,
    shelf::{ItemId, Shelf},
};
use crate::{
    error::Result,
    model::RunId,
    ports::Clock,
    snapshot::{PackId, SegmentId, documents::Documents, paths},
};

/// A sweeper deletes for so long, then it closes the collection; what is left is found again by the next one.
pub(super) const SWEEP_MAX: Duration = Duration::from_secs(10 * 60);
/// A sweeper that has not closed its collection after so long is dead.
pub(super) const TAKE_OVER_AFTER: Duration = Duration::from_secs(60 * 60);
/// Manifests read, and objects deleted, at a time.
pub(super) const AT_A_TIME: usize = 8;

/// The live runs of a source or account, and what they rely on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveRuns {
    /// Runs that a worker has begun and that have not ended.
    pub runs: BTreeSet<RunId>,
    /// Segments that their checkpoints name.
    pub segments: BTreeSet<SegmentId>,
    /// Packs that their checkpoints name.
    pub packs: BTreeSet<PackId>,
}

impl LiveRuns {
    /// What of a shelf their checkpoints name.
    pub(super) fn named(&self, shelf: Shelf) -> BTreeSet<ItemId> {
        match shelf {
            Shelf::Segments(..) => self.segments.iter().map(|id| ItemId::from(*id)).collect(),
            Shelf::Packs(_) => self.packs.iter().map(|id| ItemId::from(*id)).collect(),
        }
    }
}

/// Looks for the live runs of the source or account now.
pub type LiveLook<'a> = dyn Fn() -> BoxFuture<'a, Result<LiveRuns>> + Send + Sync + 'a;

/// Collecting on one shelf.
pub struct Collection<'a> {
    /// What is collected.
    pub what: Collectable,
    /// The live runs that may name it.
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

/// Where the collection of a shelf stands.
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
                let found = self.find_candidates(false).await?;
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
                let doomed = Doomed { at: self.clock.now(), candidates: self.find_candidates(true).await? };
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

    /// What nothing refers to and nobody has locked. `keeps`: see [`Collectable::named`].
    async fn find_candidates(&self, keeps: bool) -> Result<Vec<Candidate>> {
        let (documents, shelf) = (self.documents(), self.shelf());
        let stored = documents.list_all(&paths::items(shelf)).await?;
        let stored = stored.iter().filter_map(|entry| Some((paths::parse_item(shelf, &entry.path)?, entry.size_bytes)));
        let mut unnamed: BTreeMap<ItemId, u64> = stored.collect();
        let live = (self.live)().await?.named(shelf);
        unnamed.retain(|id, _| !live.contains(id));
        if unnamed.is_empty() {
            return Ok(Vec::new());
        }
        let named = self.what.named(keeps).await?;
        unnamed.retain(|id, _| !named.contains(id));
        let (documents, now) = (&documents, self.clock.now());
        let unlocked = stream::iter(unnamed)
            .map(|(id, size_bytes)| async move {
                let path = paths::item(shelf, id);
                let locked = documents.blobs.retained_until(&documents.scope, &path).await?;
                Ok(locked.is_none_or(|until| until <= now).then_some(Candidate { id, size_bytes }))
            })
            .buffered(AT_A_TIME);
        unlocked.try_filter_map(|candidate| async move { Ok(candidate) }).try_collect().await
    }

    /// The number of the open collection, or of the next one.
    async fn next_number(&self) -> Result<u32> {
        let closed = self.documents().list_all(&paths::all_collected(self.shelf())).await?;
        Ok(closed.last().and_then(|entry| paths::parse_collection(&entry.path)).map_or(0, |(last, _)| last + 1))
    }

    /// Removes the documents of closed collections.
    async fn tidy(&self, number: u32) -> Result<()> {
        let documents = self.documents();
        for entry in documents.list_all(&paths::collections(self.shelf())).await? {
            if paths::parse_collection(&entry.path).is_some_and(|(of, _)| of < number) {
                documents.blobs.delete(&documents.scope, &entry.path).await?;
            }
        }
        Ok(())
    }

    pub(super) fn shelf(&self) -> Shelf {
        self.what.shelf()
    }

    pub(super) fn documents(&self) -> Documents {
        self.what.documents()
    }

    pub(super) fn path(&self, number: u32, kind: &str) -> String {
        paths::collection(self.shelf(), number, kind)
    }

    pub(super) async fn document<T: serde::de::DeserializeOwned>(&self, number: u32, kind: &str) -> Result<Option<T>> {
        self.documents().find_document(&self.path(number, kind)).await
    }

    /// Puts a document; when another worker was faster, theirs holds.
    async fn agree<T>(&self, number: u32, kind: &str, document: T) -> Result<T>
    where
        T: serde::Serialize + serde::de::DeserializeOwned + Sync,
    {
        let path = self.path(number, kind);
        if self.documents().put_document(&path, &document).await? {
            return Ok(document);
        }
        self.documents().read_document(&path).await
    }
}
