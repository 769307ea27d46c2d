//! What is promised of reads that cannot be trusted: a mass deletion is kept but marked, and what incremental reads miss is
//! found by a reconcile read.

use listbackup_engine::{
    model::{KeepRules, ReadGuard, Run, RunStatus},
    run::{RunContext, retention},
    snapshot::{Manifest, MassAbsence},
};
use serde_json::json;

use crate::{
    retention::{DAY, events, set},
    rules::{STREAM, finished, killed_at, product},
    scripted::File,
    world::World,
};

async fn manifest_of(world: &World, worker: &RunContext, run: &Run) -> Manifest {
    let store = worker.snapshots.source(&world.scope, world.source_id).await.expect("the store");
    store.load(run.snapshot_id.expect("a snapshot")).await.expect("it is there").manifest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_misses_much_of_a_stream_is_marked_told_and_the_last_good_snapshot_is_pinned() {
    let world = World::new(81, product(1000)).await;
    let worker = world.worker();
    let good = finished(&worker, &world.order().await).await;
    world.product.remove(STREAM, 1..=200);
    let fewer = finished(&worker, &world.order().await).await;
    assert!(!manifest_of(&world, &worker, &fewer).await.is_suspicious(), "a fifth is not more than a fifth");

    world.product.remove(STREAM, 201..=361);
    let bad = finished(&worker, &world.order().await).await;
    assert_eq!(bad.status, RunStatus::Succeeded);
    let absence = MassAbsence { removed: 161, before: 800 };
    assert_eq!(manifest_of(&world, &worker, &bad).await.suspicious_streams, [(STREAM.to_owned(), absence)].into());
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM), "what was read is kept as it is");
    let told = events(&world, "snapshot.suspicious").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].details["streams"], json!({ STREAM: { "removed": 161, "before": 800 } }));
    assert_eq!(told[0].details["pinnedSnapshotId"], json!(fewer.snapshot_id));

    // Worse and worse: the good one stays pinned, the bad one is not taken for it.
    world.product.remove(STREAM, 362..=900);
    let worse = finished(&worker, &world.order().await).await;
    assert_eq!(events(&world, "snapshot.suspicious").await[1].details["pinnedSnapshotId"], json!(fewer.snapshot_id));
    let rules = KeepRules { last: 1, ..KeepRules::default() };
    let source = world.source().await;
    let decisions = retention::judge(&worker, &world.scope, &source, &rules).await.expect("they are judged");
    let kept: Vec<_> = decisions.iter().filter(|one| one.is_kept()).map(|one| Some(one.snapshot_id)).collect();
    assert!(kept.contains(&fewer.snapshot_id) && kept.contains(&worse.snapshot_id), "{decisions:?}");
    assert!(!kept.contains(&good.snapshot_id), "{decisions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_sets_its_own_bounds_of_what_is_suspicious() {
    let world = World::new(82, product(300)).await;
    let worker = world.worker();
    finished(&worker, &world.order().await).await;
    set(&world, |source| source.guard = ReadGuard { absence_share_percent: 100, ..ReadGuard::default() }).await;
    world.product.remove(STREAM, 1..=250);
    let run = finished(&worker, &world.order().await).await;
    assert!(!manifest_of(&world, &worker, &run).await.is_suspicious());
    let strict = ReadGuard { absence_share_percent: 1, absence_records_min: 1, ..ReadGuard::default() };
    set(&world, |source| source.guard = strict).await;
    world.product.remove(STREAM, [300]);
    let run = finished(&worker, &world.order().await).await;
    assert!(manifest_of(&world, &worker, &run).await.is_suspicious());
}

/// A first snapshot of a stream that tells its changes; then a change that it tells, and three things that it does not.
async fn drifted(seed: u64) -> World {
    let world = World::new(seed, product(100)).await;
    world.product.tell_changes(STREAM);
    finished(&world.worker(), &world.order().await).await;
    world.product.change(STREAM, [7], "told");
    world.product.put(STREAM, [8, 200], "untold");
    world.product.remove(STREAM, [9]);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_read_finds_what_the_product_did_not_tell_and_says_how_much_it_was() {
    let world = drifted(83).await;
    let worker = world.worker();
    world.clock.advance(6 * DAY);
    let run = finished(&worker, &world.order().await).await;
    let figures = &run.progress.streams[STREAM];
    assert_eq!((figures.added, figures.changed, figures.removed, figures.drift), (0, 1, 0, None));

    world.clock.advance(DAY);
    world.product.change(STREAM, [10], "told");
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let figures = &run.progress.streams[STREAM];
    assert_eq!((figures.added, figures.changed, figures.removed, figures.drift), (1, 2, 1, Some(3)));
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));

    // The next one is due a week later, and finds nothing.
    world.clock.advance(DAY);
    assert_eq!(finished(&worker, &world.order().await).await.progress.streams[STREAM].drift, None);
    world.clock.advance(7 * DAY);
    assert_eq!(finished(&worker, &world.order().await).await.progress.streams[STREAM].drift, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconcile_read_that_a_crash_cut_off_goes_on_where_it_was() {
    let world = drifted(84).await;
    world.clock.advance(8 * DAY);
    let run = world.order().await;
    // A page of changes and a look for more of them, then three of the eleven pages of everything.
    killed_at(&world, &world.worker(), &run, 5, 30).await;
    world.product.forget_served();
    world.product.release();
    world.clock.advance(DAY);
    let run = finished(&world.worker(), &run).await;
    let figures = &run.progress.streams[STREAM];
    assert_eq!((figures.added, figures.changed, figures.removed, figures.drift), (1, 2, 1, Some(3)));
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    assert_eq!(world.product.pages_served(STREAM).first(), Some(&3), "the changes are not read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_kept_when_the_rest_of_a_reconcile_read_fails_and_the_next_run_tries_again() {
    let world = drifted(85).await;
    let worker = world.worker();
    world.clock.advance(8 * DAY);
    world.product.fail_whole(STREAM);
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Partial);
    let figures = &run.progress.streams[STREAM];
    assert_eq!((figures.changed, figures.removed, figures.drift), (1, 0, None));
    assert_eq!(figures.failed_items[0].item, "reconcile read");
    let again = finished(&worker, &world.order().await).await;
    assert_eq!(again.progress.streams[STREAM].failed_items.len(), 1, "it is still due");
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_that_vanish_while_their_records_stay_make_a_snapshot_suspicious() {
    let world = World::new(86, product(300)).await;
    let worker = world.worker();
    for id in 1..=200 {
        world.product.attach(id, &format!("f{id}"), File::new(1, vec![id as u8; 50]));
    }
    let good = finished(&worker, &world.order().await).await;
    (1..=30).for_each(|id| world.product.detach(id, &format!("f{id}")));
    let fewer = finished(&worker, &world.order().await).await;
    assert!(!manifest_of(&world, &worker, &fewer).await.is_suspicious(), "a few go every day");
    (31..=150).for_each(|id| world.product.detach(id, &format!("f{id}")));
    let bad = finished(&worker, &world.order().await).await;
    assert_eq!(bad.progress.streams[STREAM].removed, 0, "the records stay");
    let absence = MassAbsence { removed: 120, before: 170 };
    let stream = format!("{STREAM}@attachments");
    assert_eq!(manifest_of(&world, &worker, &bad).await.suspicious_streams, [(stream, absence)].into());
    let told = events(&world, "snapshot.suspicious").await;
    assert_eq!(told[0].details["pinnedSnapshotId"], json!(fewer.snapshot_id));
    let pins = events(&world, "snapshot.pinned").await;
    assert!(pins[0].details["reason"].to_string().contains("120 of 170 attachments of contacts"), "{pins:?}");
    assert!(good.snapshot_id.is_some());
}
