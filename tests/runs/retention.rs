//! What retention and collection promise beside runs: kept is kept, gone is gone everywhere, and a live run loses nothing.

use std::{collections::BTreeSet, time::Duration};

use listbackup_engine::{
    ErrorKind,
    model::{ActivityEvent, FileEntry, KeepRules, Run, RunStatus, Source, activity::only_events},
    ports::{Condition, Query, SortRange},
    run::{
        RunContext,
        claim::{self, Claimed},
        collection::{self, Target},
        commit,
        conclude::{self, AttemptEnd},
        index::Indexed,
        order::{self, RunOrder},
        retention, upkeep,
    },
    snapshot::{
        VerifyLevel,
        retain::{Act, CollectionState, MarkKind},
    },
    store::{self, Store, key},
    tables::{ACTIVITY, FILES},
};

use crate::{
    meddled::Fate,
    mortal::{Life, Side},
    rules::{STREAM, begun, finished, indexed, killed_after, product, read_all},
    scripted::File,
    world::World,
};

pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A run a day; each finds some records changed.
async fn days(world: &World, worker: &std::sync::Arc<RunContext>, count: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    for day in 0..count {
        world.product.put(STREAM, 1..=20, &format!("day {day}"));
        runs.push(finished(worker, &world.order().await).await);
        assert_eq!(indexed(world, worker, runs.last().expect("a run")).await, Indexed::Rows(1));
        world.clock.advance(DAY);
    }
    runs
}

pub async fn set(world: &World, change: impl FnOnce(&mut Source)) {
    let mut source = world.source().await;
    change(&mut source);
    let write = store::put(&source, Condition::Any).expect("a row");
    Store::new(world.ports.tables.clone()).transact(&world.scope, vec![write]).await.expect("the row is written");
}

fn all(table: &'static listbackup_engine::tables::TableSchema, world: &World) -> Query {
    Query {
        table,
        index: Some("by-account"),
        partition: world.scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 1000,
        after: None,
    }
}

pub async fn events(world: &World, kind: &str) -> Vec<ActivityEvent> {
    let store = Store::new(world.ports.tables.clone());
    let query = Query { sort: only_events(), ..all(&ACTIVITY, world) };
    let rows = store.query::<ActivityEvent>(&world.scope, query).await.expect("events").rows;
    rows.into_iter().map(|found| found.row).filter(|event| event.kind.code() == kind).collect()
}

async fn assert_sound(world: &World, worker: &RunContext) -> (u64, u64) {
    let store = worker.snapshots.source(&world.scope, world.source_id).await.expect("the store");
    let head = world.source().await.head.expect("a head");
    let loaded = store.load(head.snapshot_id).await.expect("the head is there");
    let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.expect("it can be verified");
    assert!(report.is_sound(), "{:?}", report.damages);
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    (report.manifests, report.forgotten)
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_day_the_rules_of_a_source_are_applied_and_every_deletion_is_told() {
    let world = World::new(71, product(20)).await;
    let worker = world.worker();
    let runs = days(&world, &worker, 5).await;
    assert_eq!(upkeep::look_after_due(&worker).await.expect("the stores answer"), 1, "its time has come");
    assert_eq!(events(&world, "snapshot.forgotten").await, [], "without rules everything is kept");

    set(&world, |source| source.retention = Some(KeepRules { last: 2, ..KeepRules::default() })).await;
    let pinned = runs[0].snapshot_id.expect("a snapshot");
    let place = (world.source_id, pinned);
    retention::mark(&worker, &world.scope, place, MarkKind::Pin, "ada", "before the move").await.expect("a pin");
    assert_eq!(upkeep::look_after_due(&worker).await.expect("the stores answer"), 0, "once a day");
    world.clock.advance(DAY + Duration::from_secs(3600));
    upkeep::look_after_due(&worker).await.expect("the stores answer");

    let told = events(&world, "snapshot.forgotten").await;
    // Events of one instant have no order.
    let gone: BTreeSet<_> = told.iter().map(|event| event.details["snapshotId"].to_string()).collect();
    assert_eq!(gone, [&runs[1], &runs[2]].map(|run| serde_json::json!(run.snapshot_id).to_string()).into());
    assert!(told.iter().all(|event| event.actor == upkeep::ACTOR && event.details["reason"].is_string()));
    assert_eq!(world.run(&runs[1]).await.snapshot_id, None);
    let store = Store::new(world.ports.tables.clone());
    let files = store.query::<FileEntry>(&world.scope, all(&FILES, &world)).await.expect("rows").rows;
    assert_eq!(files.len(), 3);
    assert_eq!(indexed(&world, &worker, &runs[1]).await, Indexed::Never, "a late message brings nothing back");
    assert_eq!(assert_sound(&world, &worker).await, (3, 2));

    retention::mark(&worker, &world.scope, place, MarkKind::Unpin, "ada", "done").await.expect("no pin");
    world.clock.advance(DAY + Duration::from_secs(3600));
    upkeep::look_after_due(&worker).await.expect("the stores answer");
    assert_eq!(assert_sound(&world, &worker).await, (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_snapshot_and_all_its_segments_stay_until_the_lock_ends() {
    let world = World::new(72, product(20)).await;
    let worker = world.worker();
    set(&world, |source| source.lock_days = 2).await;
    let runs = days(&world, &worker, 2).await;
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let decisions =
        retention::judge(&worker, &world.scope, &world.source().await, &rules).await.expect("they are judged");
    assert!(decisions[0].kept_by[0].to_string().starts_with("locked until"), "{decisions:?}");
    let act = Act::new("ada", "space", world.ports.clock.now());
    let first = runs[0].snapshot_id.expect("a snapshot");
    let refused = retention::forget(&worker, &world.scope, world.source_id, first, act).await.expect_err("locked");
    assert_eq!(refused.kind(), ErrorKind::Denied);
    // The second snapshot names the segments of the first: their lock was extended with it.
    let prefix = format!("accounts/{}/sources/{}/segments/", world.scope.account_id(), world.source_id);
    let blobs = &world.ports.blobs;
    world.clock.advance(DAY);
    for segment in blobs.list(&world.scope, &prefix, None, 100).await.expect("segments") {
        let error = blobs.delete(&world.scope, &segment.path).await.expect_err("locked");
        assert_eq!(error.kind(), ErrorKind::Denied);
    }
    world.clock.advance(DAY);
    let act = Act::new("ada", "space", world.ports.clock.now());
    retention::forget(&worker, &world.scope, world.source_id, first, act).await.expect("the lock has ended");
    assert_eq!(assert_sound(&world, &worker).await, (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn collecting_beside_a_live_run_takes_nothing_that_the_run_needs() {
    let world = World::new(73, product(60)).await;
    let worker = world.worker();
    // Killed in the middle: its checkpoint names segments that no manifest does.
    let run = world.order().await;
    killed_after(&world, &worker, &run, 4).await;
    for _ in 0..3 {
        let (collected, state) = collection::advance(&worker, &world.scope, Target::Segments(world.source_id), "test")
            .await
            .expect("the stores answer");
        assert_eq!(collected, None, "the run is live");
        assert!(matches!(state, CollectionState::Clean | CollectionState::Waiting { .. }), "{state:?}");
        world.clock.advance(DAY);
    }
    let session = begun(&world.worker(), &run).await;
    let outcomes = read_all(&session).await;
    let AttemptEnd::Ended(ended) = conclude::conclude(&session, &outcomes).await.expect("it ends") else {
        panic!("nobody asked for the run back");
    };
    assert_eq!(ended.status, RunStatus::Succeeded);
    // Small segments of the checkpoints were merged: they go now, and nothing else does.
    for _ in 0..3 {
        collection::advance(&worker, &world.scope, Target::Segments(world.source_id), "test")
            .await
            .expect("the stores answer");
        world.clock.advance(DAY);
    }
    assert_eq!(assert_sound(&world, &worker).await, (1, 0));
    let look =
        collection::look(&worker, &world.scope, Target::Segments(world.source_id)).await.expect("the stores answer");
    assert_eq!(look, CollectionState::Clean);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_cancelled_run_left_is_collected_while_the_next_one_writes_the_same_records() {
    let world = World::new(74, product(30)).await;
    let worker = world.worker();
    // A run that is cancelled after all of its pages leaves segments that nothing names.
    let run = world.order().await;
    let session = begun(&worker, &run).await;
    read_all(&session).await;
    listbackup_engine::run::claim::end_without_snapshot(
        &worker,
        &session.claim,
        listbackup_engine::run::claim::Ending { status: RunStatus::Cancelled, error: None, progress: None },
    )
    .await
    .expect("it ends");
    let advance = async || {
        collection::advance(&worker, &world.scope, Target::Segments(world.source_id), "test")
            .await
            .expect("the stores answer")
            .0
    };
    assert_eq!(advance().await, None, "candidates were found");
    // The next run writes the same records, into segments of its own.
    let again = finished(&worker, &world.order().await).await;
    assert_eq!(again.status, RunStatus::Succeeded);
    world.clock.advance(DAY);
    let collected = advance().await.expect("the grace is over");
    assert!(collected.kept.is_empty() && !collected.deleted.is_empty(), "{collected:?}");
    assert_eq!(assert_sound(&world, &worker).await, (1, 0));
    let told = events(&world, "storage.collected").await;
    assert_eq!(told.len(), 1);
    assert!(told.iter().all(|event| event.details["bytes"].as_u64() == Some(collected.deleted_bytes())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_its_run_may_still_commit_is_not_forgotten_and_a_left_one_is() {
    let world = World::new(68, product(20)).await;
    let worker = world.worker();
    days(&world, &worker, 1).await;
    let run = world.order().await;
    let session = begun(&worker, &run).await;
    let outcomes = read_all(&session).await;
    let manifest = commit::manifest(&session, &outcomes);
    session.source_store.put_manifest(&manifest).await.expect("the object is written");
    let act = || Act::new("a person", "space", world.ports.clock.now());
    let forget = async |act| retention::forget(&worker, &world.scope, world.source_id, manifest.snapshot_id, act).await;
    let refused = forget(act()).await.expect_err("its run has not ended");
    assert!(refused.kind() == ErrorKind::Denied && refused.to_string().contains("cancel it"), "{refused}");

    order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("the wish is kept");
    world.clock.advance(DAY);
    let over = claim::claim(&worker, &RunOrder::of(&run)).await.expect("the stores answer");
    assert!(matches!(over, Claimed::Over(_)), "{over:?}");
    forget(act()).await.expect("nobody will commit it any more");
    let store = worker.snapshots.source(&world.scope, world.source_id).await.expect("the source's store");
    assert!(!store.list(None, 10).await.expect("a listing").contains(&manifest.snapshot_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgetting_that_was_cut_off_is_finished_by_the_next_upkeep() {
    let world = World::new(75, product(20)).await;
    let worker = world.worker();
    let runs = days(&world, &worker, 2).await;
    let (first, head) = (runs[0].snapshot_id.expect("a snapshot"), runs[1].snapshot_id.expect("a snapshot"));
    let store = worker.snapshots.source(&world.scope, world.source_id).await.expect("the store");
    let act = Act::new("ada", "space", world.ports.clock.now());
    store.decide_to_forget(first, head, act).await.expect("nothing protects it");
    // The process dies here; the rows still show the snapshot.
    assert_eq!(world.run(&runs[0]).await.snapshot_id, Some(first));
    retention::apply(&worker, &world.scope, world.source_id, upkeep::ACTOR).await.expect("the stores answer");
    assert_eq!(world.run(&runs[0]).await.snapshot_id, None);
    let told = events(&world, "snapshot.forgotten").await;
    assert_eq!(told.iter().map(|event| event.actor.as_str()).collect::<Vec<_>>(), ["ada"]);
    assert_eq!(assert_sound(&world, &worker).await, (1, 1));
    let source = key(world.scope.account_id(), world.source_id);
    assert!(Store::new(world.ports.tables.clone()).get::<Source>(&world.scope, source).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_frees_the_space_of_attachments_that_no_snapshot_holds_and_tells_it() {
    let world = World::new(76, product(20)).await;
    let worker = world.worker();
    set(&world, |source| source.retention = Some(KeepRules { last: 1, ..KeepRules::default() })).await;
    let packs = async || {
        let prefix = format!("accounts/{}/chunks/", world.scope.account_id());
        world.ports.blobs.list(&world.scope, &prefix, None, 100).await.expect("packs")
    };
    world.product.attach(1, "a", File::new(1, vec![1; 10_000]));
    finished(&worker, &world.order().await).await;
    let old = packs().await;
    world.product.attach(1, "a", File::new(2, vec![2; 10_000]));
    finished(&worker, &world.order().await).await;
    assert_eq!((old.len(), packs().await.len()), (1, 2));
    for _ in 0..2 {
        world.clock.advance(DAY + Duration::from_secs(3600));
        upkeep::look_after_due(&worker).await.expect("the stores answer");
    }
    let left = packs().await;
    assert_eq!(left.len(), 1);
    assert_ne!(left, old, "what the newest snapshot holds stays");
    assert_sound(&world, &worker).await;
    let told = events(&world, "storage.collected").await;
    let told: Vec<_> = told.iter().filter(|event| event.details.contains_key("packs")).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0].details["packs"], &told[0].details["bytes"]), (&1.into(), &old[0].size_bytes.into()));
    assert_eq!(told[0].source_id, None, "packs are the account's");
}

#[tokio::test(flavor = "multi_thread")]
async fn collecting_packs_beside_a_live_run_takes_nothing_that_the_run_needs() {
    let world = World::new(77, product(60)).await;
    let worker = world.worker();
    for id in 1..=60 {
        world.product.attach(id, &format!("f{id:02}"), File::new(1, vec![id as u8; 3000]));
    }
    let run = world.order().await;
    killed_after(&world, &worker, &run, 4).await;
    for _ in 0..3 {
        let (collected, state) =
            collection::advance(&worker, &world.scope, Target::Packs, "test").await.expect("the stores answer");
        assert_eq!(collected, None, "the run is live");
        assert!(matches!(state, CollectionState::Clean | CollectionState::Waiting { .. }), "{state:?}");
        world.clock.advance(DAY);
    }
    let ended = finished(&world.worker(), &run).await;
    assert_eq!(ended.status, RunStatus::Succeeded);
    for _ in 0..3 {
        collection::advance(&worker, &world.scope, Target::Packs, "test").await.expect("the stores answer");
        world.clock.advance(DAY);
    }
    assert_eq!(assert_sound(&world, &worker).await, (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_somebody_who_pins_or_holds_dies_the_mark_and_its_event_are_both_there_or_none() {
    let (mut points, mut between) = (0, 0);
    for mark in [MarkKind::Pin, MarkKind::Hold { until: None }] {
        for (number, side) in (1..).flat_map(|number| [(number, Side::Before), (number, Side::After)]) {
            let world = World::new(76, product(20)).await;
            let run = finished(&world.worker(), &world.order().await).await;
            let snapshot_id = run.snapshot_id.expect("a snapshot");
            let life = Life::new(Some((number, side)));
            let mortal = world.worker_with(Fate::Mortal(life.clone()).ports(&world.ports));
            let place = (world.source_id, snapshot_id);
            let has_ended = tokio::select! {
                _ = life.end() => false,
                marked = retention::mark(&mortal, &world.scope, place, mark, "ada", "case 4711") => marked.expect("a mark"),
            };
            if has_ended {
                assert!(life.effects().len() < number as usize, "{:?}", life.effects());
                break;
            }
            points += 1;
            let told = async || {
                let told = [events(&world, "snapshot.pinned").await, events(&world, "snapshot.held").await].concat();
                told.into_iter().map(|event| (event.actor, event.details["snapshotId"].clone())).collect::<Vec<_>>()
            };
            let worker = world.worker();
            let store = worker.snapshots.source(&world.scope, world.source_id).await.expect("the store");
            let is_marked = !store.mark_log(snapshot_id).await.expect("a log").is_empty();
            between += usize::from(is_marked && told().await.is_empty());
            world.clock.advance(DAY);
            assert_eq!(upkeep::look_after_due(&worker).await.expect("a look"), 1);
            let one = vec![("ada".to_owned(), serde_json::json!(snapshot_id))];
            assert_eq!(told().await, if is_marked { one.clone() } else { vec![] }, "{:?}", life.effects());
            // Whoever was told nothing tries again.
            retention::mark(&worker, &world.scope, place, mark, "ada", "case 4711").await.expect("a mark");
            assert_eq!(told().await, one, "{:?}", life.effects());
        }
    }
    assert!(points >= 8 && between >= 4, "{points} points, of which {between} lie between mark and event");
}
