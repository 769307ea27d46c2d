//! Runs of one source come one after the other, whatever happens to their workers: snapshots are a chain.

use std::time::Duration;

use listbackup_engine::{
    ErrorKind,
    model::{RunStatus, Source, source::Lease},
    ports::Condition,
    run::{
        claim::{self, Claimed},
        commit, conclude,
        order::RunOrder,
        pipeline::{self, StreamOutcome},
        session::Session,
        stop::StopSwitch,
    },
    store::{self, Store},
};

use crate::{
    rules::{STREAM, begun, finished, killed_after, product, read_all},
    world::World,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_begun_goes_on_before_another_one_of_its_source() {
    let world = World::new(13, product(40)).await;
    let (begun, later) = (world.order().await, world.order().await);
    killed_after(&world, &world.worker(), &begun, 2).await;
    world.clock.advance(Duration::from_secs(31));
    let worker = world.worker();
    let first = claim::claim(&worker, &RunOrder::of(&later)).await.expect("the stores answer");
    assert!(matches!(&first, Claimed::First(order) if *order == RunOrder::of(&begun)), "{first:?}");
    let (begun, later) = (finished(&worker, &begun).await, finished(&worker, &later).await);
    assert_eq!((begun.status, later.status), (RunStatus::Succeeded, RunStatus::Succeeded));
    assert_eq!(later.progress.streams[STREAM].unchanged, 40, "it is compared with the snapshot of the one before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_over_an_older_one_never_becomes_the_newest() {
    let world = World::new(14, product(40)).await;
    let worker = world.worker();
    let (left, later) = (world.order().await, world.order().await);
    let session = begun(&worker, &left).await;
    let manifest = commit::manifest(&session, &read_all(&session).await);
    session.source_store.put_manifest(&manifest).await.expect("the object is written");
    // As if nothing had told that it was begun.
    let source = world.source().await;
    let lease = Lease { epoch: source.lease.epoch, ..Lease::default() };
    let put = store::put(&Source { lease, ..source }, Condition::Any).expect("a row");
    Store::new(world.ports.tables.clone()).transact(&world.scope, vec![put]).await.expect("the row is written");
    world.product.put(STREAM, [7], "second");
    let newest = finished(&worker, &later).await.snapshot_id;

    let session = begun(&worker, &left).await;
    let outcomes = read_all(&session).await;
    let refused = conclude::conclude(&session, &outcomes).await.expect_err("its manifest is older than the head");
    assert!(
        refused.kind() == ErrorKind::Invalid && refused.to_string().contains("order the backup again"),
        "{refused}"
    );
    assert_eq!(world.source().await.head.map(|head| head.snapshot_id), newest);
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_attempt_under_the_same_lease_leaves_the_checkpoints_of_the_first_alone() {
    let product = product(40);
    product.put("deals", 1..=40, "first of deals");
    let world = World::new(15, product).await;
    let worker = world.worker();
    let run = world.order().await;
    let first = begun(&worker, &run).await;
    let read = pipeline::read_stream(&first, &first.plans[0]).await;
    assert!(matches!(read, StreamOutcome::Done(_)), "{read:?}");

    let attempt = || async {
        let claim = conclude::refreshed(&worker, &first.claim).await.expect("the stores answer");
        Session::begin(worker.clone(), claim, StopSwitch::new()).await.expect("the product connects")
    };
    let second = attempt().await;
    let read = pipeline::read_stream(&second, &second.plans[1]).await;
    assert!(matches!(read, StreamOutcome::Done(_)), "{read:?}");

    let third = attempt().await;
    conclude::conclude(&third, &read_all(&third).await).await.expect("the run concludes");
    for stream in [STREAM, "deals"] {
        assert_eq!(world.head_records(stream).await, world.product.truth(stream), "{stream}");
    }
}
