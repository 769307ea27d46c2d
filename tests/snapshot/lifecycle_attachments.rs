//! The whole life of an account's attachments against plain maps: two sources whose workers live on while collections come and go,
//! so that each knows chunks that may be gone; runs that stand still at a checkpoint, go on, or are given up; and processes that
//! die in the middle of anything. What a kept snapshot held comes back byte for byte, and no pack that nothing names stays.

mod process;
mod steps;

use std::collections::BTreeSet;

use futures::TryStreamExt;
use listbackup_engine::{
    ErrorKind, Result,
    snapshot::{
        AttachmentsCheckpoint, AttachmentsWriter, LoadedManifest, NewAttachment, Record, SourceStore, StoreSettings,
        VerifyLevel, paths,
        retain::{LiveRuns, Shelf},
    },
};
use proptest::prelude::*;

use self::{
    process::{Fate, Process},
    steps::{Act, Edits, SOURCES, Step, content, name, steps},
};
use crate::{
    attachments::{Files, read_all},
    doomed::{advance, advance_packs},
    retain::{GRACE, Hands, act},
    store::{World, end, manifest, run_id, scope, small_settings, stream},
};

const STREAM: &str = "contacts@attachments";

fn number(source: usize) -> u8 {
    source as u8 + 1
}

/// A snapshot, and what it must hold.
struct Snapshot {
    loaded: LoadedManifest,
    held: Files,
    is_forgotten: bool,
}

/// A run that has not ended.
#[derive(Clone)]
struct Run {
    number: u8,
    is_full: bool,
    pauses: bool,
    edits: Edits,
    /// Where it stands, and how many of its edits are in that.
    checkpoint: Option<(AttachmentsCheckpoint, usize)>,
}

struct Source {
    process: Process,
    made: Vec<Snapshot>,
    run: Option<Run>,
}

impl Source {
    fn kept(&self) -> impl Iterator<Item = &Snapshot> {
        self.made.iter().filter(|snapshot| !snapshot.is_forgotten)
    }
}

struct Life {
    world: World,
    clock: Hands,
    runs: u8,
    sources: Vec<Source>,
}

impl Life {
    async fn new() -> Self {
        // A pack takes a few chunks.
        let world = World::new(StoreSettings { chunk_bytes: 1024, pack_bytes: 3000, ..small_settings() });
        let mut sources = Vec::new();
        for source in 0..SOURCES {
            sources.push(Source { process: Process::start(&world, number(source)).await, made: Vec::new(), run: None });
        }
        Self { world, clock: Hands::new(), runs: 0, sources }
    }

    /// The store as a process opens it that does nothing else.
    async fn store(&self, source: usize) -> SourceStore {
        self.world.source(1, number(source)).await.unwrap()
    }

    async fn step(&mut self, step: &Step) {
        let at = step.source;
        let fate = step.dies_at.map_or(Fate::Lives, |(n, has_effect)| Fate::Dies(n, has_effect));
        if let Act::Collect { is_later } = step.act {
            // Another worker's affair: those of the sources live on.
            let collector = Process::start(&self.world, number(at)).await;
            collector.meet(fate);
            let outcome = self.collect(&collector, is_later).await;
            assert!(outcome.is_ok() || collector.is_dead(), "{step:?}: {outcome:?}");
            return;
        }
        self.sources[at].process.meet(fate);
        let outcome = match &step.act {
            Act::Put { is_full, pauses, meanwhile, edits } => {
                let new = Run {
                    number: self.runs,
                    is_full: *is_full,
                    pauses: *pauses,
                    edits: edits.clone(),
                    checkpoint: None,
                };
                self.put(at, new, *meanwhile).await
            }
            Act::Forget(index) => self.forget(at, *index).await,
            Act::GiveUp | Act::Collect { .. } => {
                self.sources[at].run = None;
                Ok(())
            }
        };
        if self.sources[at].process.is_dead() {
            self.sources[at].process = Process::start(&self.world, number(at)).await;
        } else {
            self.sources[at].process.meet(Fate::Lives);
            outcome.unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
        }
        self.settle(at).await;
    }

    async fn put(&mut self, at: usize, new: Run, meanwhile: bool) -> Result<()> {
        if self.sources[at].run.is_none() {
            self.runs += 1;
            self.sources[at].run = Some(new);
        }
        let first = self.go_on(at, meanwhile).await;
        let outcome = match first {
            // A pack that it had found was swept: it begins again at its checkpoint, and does not find it any more.
            Err(error) if error.kind() == ErrorKind::Retry && !self.sources[at].process.is_dead() => {
                self.go_on(at, false).await
            }
            other => other,
        };
        let Err(error) = outcome else { return Ok(()) };
        if self.sources[at].run.as_ref().is_some_and(|run| run.checkpoint.is_none()) {
            self.sources[at].run = None;
        }
        // A sweeper that died: whoever needs one of its candidates waits for the next one.
        let is_sweeping = self.world.blobs.objects().keys().any(|path| path.ends_with(".sweeping"));
        if is_sweeping && error.kind() == ErrorKind::Retry { Ok(()) } else { Err(error) }
    }

    /// A run goes on from where it stands to its end, or to where it stands still.
    async fn go_on(&mut self, at: usize, meanwhile: bool) -> Result<()> {
        let store = self.sources[at].process.store.clone();
        let Some(mut run) = self.sources[at].run.clone() else { return Ok(()) };
        let parent = match self.sources[at].made.last() {
            Some(parent) => Some(store.load(parent.loaded.manifest.snapshot_id).await?),
            None => None,
        };
        let before = parent.as_ref().map(|parent| parent.manifest.streams[STREAM].clone());
        let mut held = self.sources[at].made.last().map(|parent| parent.held.clone()).unwrap_or_default();
        let (resume, done) = run.checkpoint.clone().unzip();
        let done = done.unwrap_or(0);
        let spec = stream("contacts", 1);
        let mut writer = AttachmentsWriter::open(&store, &spec, run_id(run.number), before, resume).await?;
        if run.is_full && done == 0 {
            for (record, attachment) in held.keys() {
                let is_edited = run.edits.keys().any(|key| name(*key) == (record.clone(), attachment.clone()));
                if !is_edited {
                    let kept = writer.before(record, attachment).await?.expect("the parent has it");
                    writer.keep(&[kept]).await?;
                }
            }
        }
        for (i, (key, to)) in run.edits.clone().into_iter().enumerate() {
            if i >= done {
                if run.pauses && i > done {
                    self.collect_meanwhile(at, meanwhile).await;
                    run.checkpoint = Some((writer.checkpoint().await?, i));
                    run.pauses = false;
                    self.sources[at].run = Some(run);
                    return Ok(());
                }
                write(&mut writer, &run, key, to, &held).await?;
            }
            match to {
                Some(n) => held.insert(name(key), content(n)),
                None => held.remove(&name(key)),
            };
        }
        self.collect_meanwhile(at, meanwhile).await;
        let finished = writer.finish(end(run.is_full)).await?;
        let reference = parent.as_ref().map(LoadedManifest::as_parent);
        let manifest = manifest(1, number(at), run.number, reference, [(STREAM, finished.state)]);
        let outcome = store.put_manifest(&manifest).await;
        // Whoever died may have put it all the same.
        match (self.store(at).await.load(manifest.snapshot_id).await, &outcome) {
            (Ok(loaded), _) => {
                self.sources[at].made.push(Snapshot { loaded, held, is_forgotten: false });
                self.sources[at].run = None;
            }
            (Err(error), Ok(_)) => panic!("{error} although it was put"),
            (Err(_), Err(_)) => {}
        }
        outcome.map(drop)
    }

    async fn collect_meanwhile(&self, at: usize, is_due: bool) {
        if is_due {
            self.collect(&Process::start(&self.world, number(at)).await, true).await.unwrap();
        }
    }

    async fn forget(&self, at: usize, index: prop::sample::Index) -> Result<()> {
        let source = &self.sources[at];
        let Some((head, older)) = source.made.split_last() else { return Ok(()) };
        let older: Vec<&Snapshot> = older.iter().filter(|snapshot| !snapshot.is_forgotten).collect();
        if older.is_empty() {
            return Ok(());
        }
        let id = older[index.index(older.len())].loaded.manifest.snapshot_id;
        let store = &source.process.store;
        store.decide_to_forget(id, head.loaded.manifest.snapshot_id, act(&self.clock)).await?;
        store.finish_forgetting(id).await.map(drop)
    }

    /// A step of the packs' collection, and one of the segments' of a source.
    async fn collect(&self, collector: &Process, is_later: bool) -> Result<()> {
        if is_later {
            self.clock.advance(GRACE);
        }
        let runs = || self.sources.iter().filter_map(|source| source.run.as_ref());
        let checkpoints = || runs().filter_map(|run| run.checkpoint.as_ref());
        let live = LiveRuns {
            runs: runs().map(|run| run_id(run.number)).collect(),
            segments: checkpoints().flat_map(|(checkpoint, _)| checkpoint.segments()).collect(),
            packs: checkpoints().flat_map(|(checkpoint, _)| checkpoint.packs()).collect(),
        };
        advance(&collector.store, &self.clock, live.clone()).await?;
        advance_packs(&collector.account, &self.clock, live).await
    }

    /// Forgettings that were cut off are carried out, as a worker does at its start. What was forgotten stays so.
    async fn settle(&mut self, at: usize) {
        let store = self.store(at).await;
        for id in store.unfinished_forgets().await.unwrap() {
            store.finish_forgetting(id).await.unwrap();
        }
        for snapshot in &mut self.sources[at].made {
            let is_forgotten = store.tombstone(snapshot.loaded.manifest.snapshot_id).await.unwrap().is_some();
            assert!(is_forgotten || !snapshot.is_forgotten, "it is no longer forgotten");
            snapshot.is_forgotten = is_forgotten;
        }
    }

    /// Every attachment of every kept snapshot comes back.
    async fn check(&self) {
        for (at, source) in self.sources.iter().enumerate() {
            let store = self.store(at).await;
            for snapshot in source.kept() {
                let id = snapshot.loaded.manifest.snapshot_id;
                let reader = store.reader(&store.load(id).await.unwrap().manifest);
                let found = read_all(&reader).await.unwrap_or_else(|error| panic!("{id}: {error:?}"));
                assert!(found == snapshot.held, "{id} of source {at}: other attachments came back");
            }
        }
    }

    /// Collections, until there is nothing more to do, leave what the kept snapshots name.
    async fn check_end(&mut self) {
        for source in &mut self.sources {
            source.run = None;
        }
        for _ in 0..6 {
            for at in 0..SOURCES {
                let collector = Process::start(&self.world, number(at)).await;
                self.collect(&collector, true).await.unwrap();
            }
        }
        let mut named = BTreeSet::new();
        for (at, source) in self.sources.iter().enumerate() {
            let store = self.store(at).await;
            for snapshot in source.kept() {
                let reader = store.reader(&snapshot.loaded.manifest);
                let records: Vec<Record> = reader.scan(STREAM).unwrap().try_collect().await.unwrap();
                named.extend(records.iter().flat_map(|record| packs_of(&record.body)));
            }
            let Some(head) = source.made.last() else { continue };
            let report = store.reader(&head.loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
            assert!(report.is_sound(), "{:?}", report.damages);
        }
        let objects = self.world.blobs.objects().clone();
        let stored = objects.keys().filter_map(|path| path.rsplit('/').next()?.strip_suffix(".pack"));
        assert_eq!(stored.map(str::to_owned).collect::<BTreeSet<_>>(), named);
        let open = paths::collections(Shelf::Packs(scope(1).account_id()));
        assert!(!objects.keys().any(|path| path.starts_with(&open)), "a collection is left open");
        self.check().await;
    }
}

/// The packs that an attachment names, as FORMAT.md says.
fn packs_of(body: &[u8]) -> Vec<String> {
    let record: serde_json::Value = serde_json::from_slice(body).unwrap();
    let packs = record["content"]["packs"].as_array().unwrap();
    packs.iter().map(|pack| pack[0].as_str().unwrap().to_owned()).collect()
}

/// One attachment of a run.
async fn write(writer: &mut AttachmentsWriter, run: &Run, key: (u8, u8), to: Option<u8>, held: &Files) -> Result<()> {
    let (record, attachment) = name(key);
    let Some(n) = to else {
        // A full read leaves out what is gone.
        if !run.is_full && held.contains_key(&(record.clone(), attachment.clone())) {
            writer.remove(&[(record, attachment)]).await?;
        }
        return Ok(());
    };
    let mut sink = writer.sink();
    sink.push(&content(n)).await?;
    let taken = sink.finish().await?;
    let name = format!("{attachment}.bin");
    let new = NewAttachment { record, attachment, name, media_type: None, version: Some(n.to_string()) };
    writer.add(new, taken).await
}

async fn live(steps: &[Step]) {
    let mut life = Life::new().await;
    for step in steps {
        life.step(step).await;
        life.check().await;
    }
    life.check_end().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_attachments_of_kept_snapshots_stay_and_packs_that_nothing_names_go(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(live(&steps));
    }
}
