//! A writer and a collector beside each other, in every order of their steps: no committed snapshot ever misses a segment.
//!
//! Every call on the objects, and every look at or change of the live runs, is a step that waits for its turn. A schedule says
//! whose turn it is; the search goes through all schedules, and leaves off where it has been before: what happens next
//! depends only on what each of the two has seen and on what is stored.

mod turns;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use listbackup_engine::{
    ErrorKind, Result,
    snapshot::{
        AccountStore, AttachmentsWriter, LoadedManifest, NewAttachment, SnapshotStore, SourceStore, VerifyLevel,
        WriterSpec,
        retain::{Collectable, Collection, LiveRuns},
    },
};
use tokio::task::JoinHandle;

use self::turns::Turns;
use crate::{
    retain::{GRACE, Hands},
    store::{World, end, manifest, page, run_id, scope, small_settings, source_id, stream},
};

const WRITER: usize = 0;
const COLLECTOR: usize = 1;

/// What is written and collected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Segments,
    Packs,
}

/// What is gone through.
#[derive(Clone, Copy)]
struct Bounds {
    /// What it is about.
    of: Of,
    /// How often the run tries.
    attempts: usize,
    /// Whether it saves a checkpoint.
    saves: bool,
    /// How often the turn passes from one to the other before the other has ended.
    switches_max: usize,
    /// When the collector's first day begins.
    starts_after: Duration,
}

type Live = Arc<Mutex<LiveRuns>>;

/// A run that writes a segment whose content is stored already, saves a checkpoint and commits.
async fn run(store: SourceStore, turns: Turns, live: Live, bounds: Bounds) -> Option<LoadedManifest> {
    turns.step(WRITER).await;
    live.lock().unwrap().runs.insert(run_id(7));
    let mut made = None;
    for _ in 0..bounds.attempts {
        let commits = Some((&turns, &live, bounds.saves));
        let made_now = match bounds.of {
            Of::Segments => attempt(&store, commits).await,
            Of::Packs => attempt_attachment(&store, commits).await,
        };
        match made_now {
            Ok(manifest) => {
                made = Some(manifest);
                break;
            }
            Err(error) if error.kind() == ErrorKind::Retry => {}
            Err(error) => panic!("{error}"),
        }
    }
    turns.step(WRITER).await;
    *live.lock().unwrap() = LiveRuns::default();
    turns.end(WRITER);
    made
}

async fn attempt(store: &SourceStore, commits: Option<(&Turns, &Live, bool)>) -> Result<LoadedManifest> {
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await?;
    writer.push(page([(vec!["1"], "{\"id\":1,\"value\":\"the same every time\"}", false)])).await?;
    if let Some((turns, live, true)) = commits {
        let checkpoint = writer.checkpoint().await?;
        turns.step(WRITER).await;
        live.lock().unwrap().segments.extend(checkpoint.segments());
    }
    let finished = writer.finish(end(true)).await?;
    let manifest = manifest(1, 1, 7, None, [("contacts", finished.state)]);
    match commits {
        Some(_) => store.put_manifest(&manifest).await,
        None => Ok(LoadedManifest { manifest, digest: String::new(), size_bytes: 0 }),
    }
}

/// The same with an attachment whose content is stored already.
async fn attempt_attachment(store: &SourceStore, commits: Option<(&Turns, &Live, bool)>) -> Result<LoadedManifest> {
    let mut writer = AttachmentsWriter::open(store, &stream("contacts", 1), run_id(1), None, None).await?;
    let mut sink = writer.sink();
    sink.push(b"the same every time").await?;
    let content = sink.finish().await?;
    let new = NewAttachment {
        record: "1".to_owned(),
        attachment: "a".to_owned(),
        name: "a".to_owned(),
        media_type: None,
        version: None,
    };
    writer.add(new, content).await?;
    if let Some((turns, live, true)) = commits {
        let checkpoint = writer.checkpoint().await?;
        turns.step(WRITER).await;
        live.lock().unwrap().packs.extend(checkpoint.packs());
    }
    let finished = writer.finish(end(true)).await?;
    let manifest = manifest(1, 1, 7, None, [("contacts@attachments", finished.state)]);
    match commits {
        Some(_) => store.put_manifest(&manifest).await,
        None => Ok(LoadedManifest { manifest, digest: String::new(), size_bytes: 0 }),
    }
}

/// Days of a worker that collects.
async fn days(what: Collectable, turns: Turns, live: Live, clock: Arc<Hands>, count: usize) -> Result<()> {
    let look = || -> BoxFuture<'_, _> {
        Box::pin(async {
            turns.step(COLLECTOR).await;
            let found = live.lock().unwrap().clone();
            turns.saw(COLLECTOR, &format!("{found:?}"));
            Ok(found)
        })
    };
    let collection = Collection {
        what,
        live: &look,
        clock: &*clock,
        grace: GRACE,
        is_sole_worker: true,
        by: format!("sweeper {count}"),
    };
    for _ in 0..count {
        collection.advance().await?;
        clock.advance(GRACE);
    }
    turns.end(COLLECTOR);
    Ok(())
}

/// A store with one orphan: what a run like [`run`] writes, named by nothing.
async fn with_orphan(of: Of) -> World {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    match of {
        Of::Segments => attempt(&store, None).await.unwrap(),
        Of::Packs => attempt_attachment(&store, None).await.unwrap(),
    };
    world
}

fn copy(world: &World) -> World {
    World { blobs: world.blobs.copy(), keys: world.keys.clone(), settings: world.settings.clone() }
}

struct Search {
    start: World,
    bounds: Bounds,
    seen: HashSet<u64>,
    schedules: Vec<Vec<usize>>,
    ends: usize,
    commits: usize,
}

impl Search {
    async fn everything(start: World, bounds: Bounds) -> Self {
        let mut search = Self { start, bounds, seen: HashSet::new(), schedules: vec![Vec::new()], ends: 0, commits: 0 };
        while let Some(schedule) = search.schedules.pop() {
            search.follow(schedule).await;
        }
        search
    }

    /// Follows a schedule to its end, and from there on the first new way; the other ways are noted.
    async fn follow(&mut self, mut schedule: Vec<usize>) {
        let (world, turns, live) = (copy(&self.start), Turns::default(), Live::default());
        let clock = Arc::new(Hands::new());
        clock.advance(self.bounds.starts_after);
        let (writer, collector) = actors(&world, &turns, &live, clock, self.bounds).await;
        let mut at = 0;
        loop {
            let able = turns.settled().await;
            if at == schedule.len() {
                if !self.seen.insert(self.state(&world, &turns, &live, &schedule)) {
                    writer.abort();
                    collector.abort();
                    return;
                }
                let last = schedule.last().copied();
                // Going on is free; passing the turn on while one could go on is what is bounded.
                let first = able.iter().copied().find(|actor| Some(*actor) == last).or(able.first().copied());
                let Some(first) = first else { break };
                if last != Some(first) || switches(&schedule) < self.bounds.switches_max {
                    let others = able.iter().filter(|other| **other != first);
                    self.schedules.extend(others.map(|other| [&schedule[..], &[*other]].concat()));
                }
                schedule.push(first);
            }
            turns.give(schedule[at]);
            at += 1;
        }
        collector.await.unwrap().unwrap();
        self.ends += 1;
        if let Some(made) = writer.await.unwrap() {
            self.commits += 1;
            let store = world.source(1, 1).await.unwrap();
            let report = store.reader(&made.manifest).verify(VerifyLevel::Data).await.unwrap();
            assert!(report.is_sound(), "{:?} after {schedule:?}", report.damages);
        }
    }
}

impl Search {
    /// Stands for all that decides what happens next.
    fn state(&self, world: &World, turns: &Turns, live: &Live, schedule: &[usize]) -> u64 {
        let mut hasher = DefaultHasher::new();
        let stage = turns.0.0.lock().unwrap();
        (&*world.blobs.objects(), &stage.seen, stage.done, format!("{:?}", live.lock().unwrap())).hash(&mut hasher);
        if self.bounds.switches_max < usize::MAX {
            (schedule.last(), switches(schedule)).hash(&mut hasher);
        }
        hasher.finish()
    }
}

async fn actors(
    world: &World,
    turns: &Turns,
    live: &Live,
    clock: Arc<Hands>,
    bounds: Bounds,
) -> (JoinHandle<Option<LoadedManifest>>, JoinHandle<Result<()>>) {
    let writer = opened(world, turns, WRITER).await.source(source_id(1));
    let collector = collectable(opened(world, turns, COLLECTOR).await, bounds.of);
    (
        tokio::spawn(run(writer, turns.clone(), live.clone(), bounds)),
        tokio::spawn(days(collector, turns.clone(), live.clone(), clock, 2)),
    )
}

/// Opening reads the account's keys; that is nobody's step.
async fn opened(world: &World, turns: &Turns, actor: usize) -> AccountStore {
    let store = SnapshotStore::new(turns.tapped(world, actor), world.keys.clone(), world.settings.clone());
    let account = scope(1);
    let opening = store.account(&account);
    tokio::pin!(opening);
    loop {
        tokio::select! {
            store = &mut opening => return store.unwrap(),
            () = turns.0.1.notified() => turns.give(actor),
        }
    }
}

fn collectable(account: AccountStore, of: Of) -> Collectable {
    match of {
        Of::Segments => Collectable::Segments(account.source(source_id(1))),
        Of::Packs => Collectable::Packs(account),
    }
}

fn switches(schedule: &[usize]) -> usize {
    schedule.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

#[tokio::test]
async fn in_every_order_of_steps_a_committed_snapshot_has_its_segments() {
    let bounds =
        Bounds { of: Of::Segments, attempts: 1, saves: false, switches_max: usize::MAX, starts_after: Duration::ZERO };
    let search = Search::everything(with_orphan(bounds.of).await, bounds).await;
    println!("{} states, {} ends, {} of them commits", search.seen.len(), search.ends, search.commits);
    assert!(search.seen.len() > 500 && search.commits > 10, "the two do meet");
}

#[tokio::test]
async fn also_when_the_run_saves_checkpoints_and_begins_again_in_all_orders_of_few_turns() {
    let bounds = Bounds { of: Of::Segments, attempts: 2, saves: true, switches_max: 3, starts_after: Duration::ZERO };
    let search = Search::everything(with_orphan(bounds.of).await, bounds).await;
    println!("{} states, {} ends, {} of them commits", search.seen.len(), search.ends, search.commits);
    assert!(search.seen.len() > 500 && search.commits > 10, "the two do meet");
}

#[tokio::test]
async fn in_every_order_of_few_turns_a_committed_snapshot_has_its_packs() {
    for (attempts, saves, switches_max) in [(1, false, 4), (2, true, 3)] {
        let bounds = Bounds { of: Of::Packs, attempts, saves, switches_max, starts_after: Duration::ZERO };
        let search = Search::everything(with_orphan(bounds.of).await, bounds).await;
        println!("{} states, {} ends, {} of them commits", search.seen.len(), search.ends, search.commits);
        assert!(search.seen.len() > 500 && search.commits > 10, "the two do meet");
    }
}

/// Lets a sweeper die at its `n`-th call; false when it came to its end.
async fn dies_at(world: &World, of: Of, n: usize) -> bool {
    let turns = Turns::default();
    let clock = Arc::new(Hands::new());
    let what = collectable(opened(world, &turns, COLLECTOR).await, of);
    let work = tokio::spawn(days(what, turns.clone(), Live::default(), clock, 2));
    turns.end(WRITER);
    for _ in 0..n {
        if turns.settled().await.is_empty() {
            return false;
        }
        turns.give(COLLECTOR);
    }
    turns.settled().await;
    work.abort();
    true
}

#[tokio::test]
async fn also_when_a_sweeper_died_before_and_another_goes_on() {
    sweepers_die(Of::Segments).await;
}

#[tokio::test]
async fn also_when_a_sweeper_of_packs_died_before_and_another_goes_on() {
    sweepers_die(Of::Packs).await;
}

async fn sweepers_die(of: Of) {
    let mut n = 1;
    let mut met = 0;
    loop {
        let world = with_orphan(of).await;
        if !dies_at(&world, of, n).await {
            break;
        }
        let is_sweeping = world.blobs.objects().keys().any(|path| path.ends_with(".sweeping"));
        if is_sweeping {
            let bounds = Bounds { of, attempts: 2, saves: false, switches_max: 2, starts_after: GRACE };
            let search = Search::everything(world, bounds).await;
            println!("died at {n}: {} states, {} ends, {} commits", search.seen.len(), search.ends, search.commits);
            met += 1;
        }
        n += 1;
    }
    assert!(met > 5, "a sweep has more steps than {met}");
}
