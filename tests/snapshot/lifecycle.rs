//! The whole life of a store against plain maps: snapshots made, pinned, forgotten and collected in any order, processes that
//! die in the middle of each of these, and objects that are damaged. What is kept is what was put; what is damaged is reported and
//! never returned as something else; what nobody needs is gone in the end.

mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{TryStreamExt, future::BoxFuture};
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::SnapshotId,
    snapshot::{
        LoadedManifest, SourceStore, VerifyLevel, WriterSpec, paths,
        retain::{LiveRuns, Shelf},
    },
};
use proptest::prelude::*;

use self::steps::{Act, Step, steps};
use crate::{
    doomed::advance,
    retain::{GRACE, Hands, act},
    store::{World, end, manifest, page, run_id, scope, small_settings, source_id, stream},
    tapped::{Call, Tapped, When},
};

/// What must be true of a snapshot.
struct Snapshot {
    loaded: LoadedManifest,
    /// Bodies by key.
    held: BTreeMap<u8, String>,
    is_pinned: bool,
    is_forgotten: bool,
}

struct Life {
    world: World,
    clock: Hands,
    runs: u8,
    /// In the order of their making; each is the parent of the next.
    made: Vec<Snapshot>,
    /// Damaged objects and their bytes.
    damaged: BTreeMap<String, Bytes>,
}

fn body(key: u8, value: u8) -> String {
    format!("{{\"id\":{key},\"value\":{value},\"filler\":\"{}\"}}", "x".repeat(usize::from(key) % 5 * 12))
}

impl Life {
    fn new() -> Self {
        let world = World::new(small_settings());
        Self { world, clock: Hands::new(), runs: 0, made: Vec::new(), damaged: BTreeMap::new() }
    }

    /// The store as a new process opens it, which may be about to die.
    async fn store(&self, dies_at: Option<(u64, bool)>) -> SourceStore {
        // Opening reads the keys; that is not what dies.
        let (calls, is_open) = (AtomicU64::new(0), Arc::new(AtomicBool::new(false)));
        let opened = is_open.clone();
        let tap = move |now: When, call: &Call| -> BoxFuture<'static, Result<()>> {
            let is_dead = dies_at.is_some_and(|(n, has_effect)| {
                let is_key = !opened.load(Ordering::SeqCst) || call.path.contains("/keys/");
                let before = calls.fetch_add(u64::from(now == When::Before && !is_key), Ordering::SeqCst);
                let current = if now == When::Before { before } else { before - u64::from(before > 0) };
                !is_key && (current > n || current == n && (now == When::After) == has_effect)
            });
            let gone = || Error::new(ErrorKind::Retry, "the process is gone");
            Box::pin(async move { if is_dead { Err(gone()) } else { Ok(()) } })
        };
        let blobs = Arc::new(Tapped { inner: self.world.blobs.clone(), tap: Box::new(tap) });
        let store = self.world.source_over(blobs, 1, 1).await.unwrap();
        is_open.store(true, Ordering::SeqCst);
        store
    }

    fn kept(&self) -> impl DoubleEndedIterator<Item = &Snapshot> {
        self.made.iter().filter(|snapshot| !snapshot.is_forgotten)
    }

    /// Does one step. Without a death and without damage everything succeeds that may.
    async fn step(&mut self, step: &Step) {
        let store = self.store(step.dies_at).await;
        let outcome = match &step.act {
            Act::Put { is_full, edits } => self.put(&store, *is_full, edits).await,
            Act::Pin(index) => self.mark(&store, *index, true).await,
            Act::Unpin(index) => self.mark(&store, *index, false).await,
            Act::Forget(index) => self.forget(&store, *index).await,
            Act::Collect { is_later } => self.collect(&store, *is_later).await,
            Act::Corrupt { object, byte, bit } => {
                self.corrupt(*object, *byte, *bit);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            let is_dead = step.dies_at.is_some() && error.kind() == ErrorKind::Retry;
            let is_damage = !self.damaged.is_empty() && matches!(error.kind(), ErrorKind::Corrupt);
            assert!(is_dead || is_damage, "{step:?}: {error:?}");
        }
        self.settle().await;
    }

    async fn put(&mut self, store: &SourceStore, is_full: bool, edits: &[(u8, Option<u8>)]) -> Result<()> {
        let number = self.runs;
        self.runs += 1;
        let parent = self.made.last();
        // What a run starts from is what the bucket says.
        let loaded = match parent {
            Some(parent) => Some(store.load(parent.loaded.manifest.snapshot_id).await?),
            None => None,
        };
        let mut held = parent.map(|parent| parent.held.clone()).unwrap_or_default();
        for (key, value) in edits {
            match value {
                Some(value) => held.insert(*key, body(*key, *value)),
                None => held.remove(key),
            };
        }
        let spec = WriterSpec {
            stream: stream("contacts", 1),
            run_id: run_id(number),
            parent: loaded.as_ref().map(|loaded| loaded.manifest.streams["contacts"].clone()),
            resume: None,
        };
        let mut writer = store.stream_writer(spec).await?;
        let all: Vec<(u8, Option<String>)> = match is_full {
            true => held.iter().map(|(key, body)| (*key, Some(body.clone()))).collect(),
            false => edits.iter().map(|(key, _)| (*key, held.get(key).cloned())).collect(),
        };
        for (key, now) in all {
            let (id, is_deletion) = (key.to_string(), now.is_none());
            let text = now.unwrap_or_else(|| body(key, 9));
            writer.push(page([(vec![&*id], &*text, is_deletion)])).await?;
        }
        let finished = writer.finish(end(is_full)).await?;
        let reference = loaded.as_ref().map(LoadedManifest::as_parent);
        let manifest = manifest(1, 1, number, reference, [("contacts", finished.state)]);
        let outcome = store.put_manifest(&manifest).await;
        // Whoever died may have put it all the same.
        let now = self.store(None).await.load(manifest.snapshot_id).await;
        match (now, &outcome) {
            (Ok(loaded), _) => {
                self.made.push(Snapshot { loaded, held, is_pinned: false, is_forgotten: false });
            }
            (Err(error), Ok(_)) => panic!("{error} although it was put"),
            (Err(_), Err(_)) => {}
        }
        outcome.map(drop)
    }

    fn pick(&self, index: prop::sample::Index) -> Option<(usize, SnapshotId)> {
        let at = (!self.made.is_empty()).then(|| index.index(self.made.len()))?;
        Some((at, self.made[at].loaded.manifest.snapshot_id))
    }

    async fn mark(&mut self, store: &SourceStore, index: prop::sample::Index, pins: bool) -> Result<()> {
        let Some((at, id)) = self.pick(index) else { return Ok(()) };
        let outcome = match pins {
            true => store.pin(id, act(&self.clock)).await,
            false => store.unpin(id, act(&self.clock)).await,
        };
        if self.made[at].is_forgotten {
            let error = outcome.expect_err("a forgotten snapshot was marked");
            return if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) };
        }
        let before = self.made[at].is_pinned;
        let Err(error) = outcome else {
            self.made[at].is_pinned = pins;
            return Ok(());
        };
        if let Ok(marks) = self.store(None).await.marks(id).await {
            if marks.forgotten.is_some() && error.kind() == ErrorKind::NotFound {
                return self.is_only_decided();
            }
            assert!([before, pins].contains(&marks.is_pinned()));
            self.made[at].is_pinned = marks.is_pinned();
        }
        Err(error)
    }

    async fn forget(&mut self, store: &SourceStore, index: prop::sample::Index) -> Result<()> {
        let Some((at, id)) = self.pick(index) else { return Ok(()) };
        let head = self.made[self.made.len() - 1].loaded.manifest.snapshot_id;
        let decided = store.decide_to_forget(id, head, act(&self.clock)).await;
        let snapshot = &self.made[at];
        let expected = match () {
            () if id == head || snapshot.is_pinned && !snapshot.is_forgotten => Some(ErrorKind::Denied),
            () if snapshot.is_forgotten => Some(ErrorKind::NotFound),
            () => None,
        };
        match (decided, expected) {
            (Err(error), Some(kind)) if error.kind() == kind => Ok(()),
            (Ok(()), Some(kind)) => panic!("forgot {id}, which is {kind:?}"),
            (Err(error), None) if error.kind() == ErrorKind::NotFound => self.is_only_decided(),
            (Err(error), _) => Err(error),
            (Ok(()), None) => store.finish_forgetting(id).await.map(drop),
        }
    }

    /// A forgetting is decided, and damage keeps it from being carried out: nothing else may.
    fn is_only_decided(&self) -> Result<()> {
        assert!(!self.damaged.is_empty(), "a forgetting that was decided was not carried out");
        Ok(())
    }

    async fn collect(&mut self, store: &SourceStore, is_later: bool) -> Result<()> {
        if is_later {
            self.clock.advance(GRACE);
        }
        let is_blind = self.kept().any(|snapshot| self.is_damaged(&manifest_path(snapshot)));
        let before = self.segments();
        let outcome = advance(store, &self.clock, LiveRuns::default()).await;
        assert!(!is_blind || self.segments() == before, "segments were deleted although a manifest cannot be read");
        outcome
    }

    fn corrupt(&mut self, object: prop::sample::Index, byte: prop::sample::Index, bit: u8) {
        let mut objects = self.world.blobs.objects();
        let paths: Vec<String> = objects.keys().filter(|path| !path.contains("/keys/")).cloned().collect();
        if paths.is_empty() {
            return;
        }
        let path = &paths[object.index(paths.len())];
        let mut bytes = objects[path].to_vec();
        let at = byte.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let bytes = Bytes::from(bytes);
        objects.insert(path.clone(), bytes.clone());
        self.damaged.insert(path.clone(), bytes);
    }

    fn is_damaged(&self, path: &str) -> bool {
        self.damaged.get(path).is_some_and(|bytes| self.world.blobs.objects().get(path) == Some(bytes))
    }

    fn segments(&self) -> BTreeSet<String> {
        self.world.blobs.objects().keys().filter(|path| path.ends_with(".seg")).cloned().collect()
    }

    /// As a worker does at its start: forgettings that were cut off are carried out. What was forgotten stays so.
    async fn settle(&mut self) {
        let store = self.store(None).await;
        let unfinished = store.unfinished_forgets().await;
        assert!(unfinished.is_ok() || !self.damaged.is_empty(), "{unfinished:?}");
        for id in unfinished.unwrap_or_default() {
            let finished = store.finish_forgetting(id).await;
            assert!(finished.is_ok() || !self.damaged.is_empty(), "{finished:?}");
        }
        let objects = self.world.blobs.objects().clone();
        let head = self.made.last().map(|snapshot| snapshot.loaded.manifest.snapshot_id);
        for snapshot in &mut self.made {
            let manifest = &snapshot.loaded.manifest;
            let tombstone = paths::tombstone(manifest.account_id, manifest.source_id, manifest.snapshot_id);
            let is_forgotten = objects.contains_key(&tombstone);
            assert!(is_forgotten || !snapshot.is_forgotten, "{} is no longer forgotten", manifest.snapshot_id);
            let is_new = is_forgotten && !snapshot.is_forgotten;
            assert!(!is_new || !snapshot.is_pinned && Some(manifest.snapshot_id) != head, "it was to be kept");
            snapshot.is_forgotten = is_forgotten;
        }
    }

    /// All that must be true at any time.
    async fn check(&self) {
        let store = self.store(None).await;
        let ids: Vec<SnapshotId> = self.kept().map(|snapshot| snapshot.loaded.manifest.snapshot_id).collect();
        assert_eq!(store.list(None, 1000).await.unwrap(), ids);
        for snapshot in &self.made {
            let id = snapshot.loaded.manifest.snapshot_id;
            let needs_damaged = self.needs(snapshot).iter().any(|path| self.is_damaged(path));
            match (read(&store, id).await, snapshot.is_forgotten) {
                (Ok(found), false) => assert_eq!(found, snapshot.held, "{id}"),
                (Ok(_), true) => panic!("{id} was forgotten and can be read"),
                (Err(error), true) if error.kind() == ErrorKind::NotFound => {}
                (Err(error), _) => {
                    assert!(needs_damaged && error.kind() == ErrorKind::Corrupt, "{id}: {error:?}");
                }
            }
        }
        self.check_verify(&store).await;
    }

    /// What is damaged of the chain is found from its head, and nothing else is.
    async fn check_verify(&self, store: &SourceStore) {
        let Some(head) = self.made.last() else { return };
        let damaged: BTreeSet<String> =
            self.made.iter().flat_map(|snapshot| self.needs(snapshot)).filter(|path| self.is_damaged(path)).collect();
        let loaded = match store.load(head.loaded.manifest.snapshot_id).await {
            Ok(loaded) => loaded,
            Err(error) => {
                assert!(damaged.contains(&manifest_path(head)), "{error:?}");
                return;
            }
        };
        let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
        let found: BTreeSet<String> = report.damages.iter().map(|damage| damage.path.clone()).collect();
        assert!(found.is_subset(&damaged), "{found:?} instead of {damaged:?}");
        // Behind a manifest or tombstone that cannot be read nothing older can be looked at.
        let is_cut = found.iter().any(|path| path.contains("/snapshots/"));
        assert!(found == damaged || is_cut, "{found:?} instead of {damaged:?}");
    }

    /// The objects that a snapshot consists of, or what is left of it.
    fn needs(&self, snapshot: &Snapshot) -> Vec<String> {
        let manifest = &snapshot.loaded.manifest;
        let (account, source) = (manifest.account_id, manifest.source_id);
        if snapshot.is_forgotten {
            return vec![paths::tombstone(account, source, manifest.snapshot_id)];
        }
        let segments = manifest.streams.values().flat_map(|state| &state.segments);
        let segments = segments.map(|segment| paths::segment(account, source, segment.id));
        segments.chain([manifest_path(snapshot)]).collect()
    }

    /// Collections, until there is nothing more to do, leave what the kept snapshots name.
    async fn check_end(&self) {
        let store = self.store(None).await;
        for _ in 0..6 {
            advance(&store, &self.clock, LiveRuns::default()).await.unwrap();
            self.clock.advance(GRACE);
        }
        let named: BTreeSet<String> =
            self.kept().flat_map(|kept| self.needs(kept)).filter(|path| path.ends_with(".seg")).collect();
        assert_eq!(self.segments(), named);
        let collections = paths::collections(Shelf::Segments(scope(1).account_id(), source_id(1)));
        assert!(!self.world.blobs.objects().keys().any(|path| path.starts_with(&collections)));
        self.check().await;
    }
}

fn manifest_path(snapshot: &Snapshot) -> String {
    let manifest = &snapshot.loaded.manifest;
    paths::snapshot(manifest.account_id, manifest.source_id, manifest.snapshot_id)
}

async fn read(store: &SourceStore, id: SnapshotId) -> Result<BTreeMap<u8, String>> {
    let reader = store.reader(&store.load(id).await?.manifest);
    let records: Vec<_> = reader.scan("contacts")?.try_collect().await?;
    let held = |record: &listbackup_engine::snapshot::Record| {
        let key = record.key.to_string().parse().unwrap();
        (key, String::from_utf8(record.body.to_vec()).unwrap())
    };
    Ok(records.iter().map(held).collect())
}

async fn live(steps: &[Step]) {
    let mut life = Life::new();
    for step in steps {
        life.step(step).await;
        life.check().await;
    }
    if life.damaged.is_empty() {
        life.check_end().await;
    }
}

fn run(steps: &[Step]) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(steps));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_kept_snapshots_stay_what_they_were_and_the_rest_goes(steps in steps(false)) {
        run(&steps);
    }

    #[test]
    fn whatever_is_damaged_is_reported_and_never_returned_as_something_else(steps in steps(true)) {
        run(&steps);
    }
}
