//! The rules of a run, called as plain functions: one snapshot or none, whatever happens to the worker that makes it.

use std::{sync::Arc, time::Duration};

use crate::{retention, scripted::Product, world::World};
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    ErrorKind,
    model::{Job, Run, RunStatus, Source, SourceState, job::Schedule, run::StreamState},
    ports::{Condition, Queue, QueueName},
    run::{
        RunContext,
        claim::{self, Claim, Claimed},
        commit::Outcomes,
        conclude::{self, AttemptEnd},
        due,
        index::{self, Indexed, ObjectCreated},
        order,
        order::RunOrder,
        pipeline::{self, StreamOutcome},
        session::Session,
        stop::{Stop, StopSwitch},
    },
    snapshot,
    store::{self, Store, key},
};

pub const STREAM: &str = "contacts";

pub async fn claimed(worker: &RunContext, run: &Run) -> Claim {
    match claim::claim(worker, &RunOrder::of(run)).await.expect("the stores answer") {
        Claimed::Ours(claim) => *claim,
        other => panic!("the run was not to be had: {other:?}"),
    }
}

pub async fn begun(worker: &Arc<RunContext>, run: &Run) -> Session {
    let claim = claimed(worker, run).await;
    Session::begin(worker.clone(), claim, StopSwitch::new()).await.expect("the product connects")
}

pub async fn read_all(session: &Session) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for plan in &session.plans {
        outcomes.insert(plan.spec.name.clone(), pipeline::read_stream(session, plan).await);
    }
    outcomes
}

pub async fn finished(worker: &Arc<RunContext>, run: &Run) -> Run {
    let session = begun(worker, run).await;
    let outcomes = read_all(&session).await;
    match conclude::conclude(&session, &outcomes).await.expect("the run concludes") {
        AttemptEnd::Ended(run) => *run,
        AttemptEnd::HandedBack => panic!("nobody asked for the run back"),
    }
}

/// Reads until the product holds pages back, then goes away without a word, as a killed worker does.
pub async fn killed_after(world: &World, worker: &Arc<RunContext>, run: &Run, pages: usize) {
    killed_at(world, worker, run, pages, pages as u64 * 10).await;
}

/// As [`killed_after`], when these pages hold so many different records.
pub async fn killed_at(world: &World, worker: &Arc<RunContext>, run: &Run, pages: usize, wanted: u64) {
    world.product.hold_after(pages);
    let session = Arc::new(begun(worker, run).await);
    let reading = {
        let session = session.clone();
        tokio::spawn(async move { read_all(&session).await })
    };
    // Every page is checkpointed: the run's row tells how far it is.
    loop {
        let stored = world.run(run).await;
        let records = stored.progress.streams.get(STREAM).map_or(0, |stream| stream.records);
        if stored.checkpoints.contains_key(STREAM) && records >= wanted {
            break;
        }
        tokio::task::yield_now().await;
    }
    reading.abort();
    // Dead only when its end is told: until then it might take another page.
    assert!(reading.await.is_err(), "the read was cut off");
    world.product.release();
}

pub fn product(records: u64) -> Product {
    let product = Product::new(10);
    product.put(STREAM, 1..=records, "first");
    product
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_makes_a_snapshot_of_every_record_and_a_second_one_only_of_what_changed() {
    let world = World::new(1, product(55)).await;
    let worker = world.worker();
    let first = finished(&worker, &world.order().await).await;
    assert_eq!(first.status, RunStatus::Succeeded);
    assert_eq!(first.progress.streams[STREAM].added, 55);
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));

    world.product.put(STREAM, [7, 20], "second");
    world.product.put(STREAM, [100], "second");
    world.product.remove(STREAM, [3, 30, 55]);
    let second = finished(&worker, &world.order().await).await;
    let figures = &second.progress.streams[STREAM];
    assert_eq!((figures.added, figures.changed, figures.removed, figures.unchanged), (1, 2, 3, 50));
    assert_eq!(figures.records, 53);
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    assert!(second.progress.bytes_stored < first.progress.bytes_stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_another_worker_goes_on_from_the_last_checkpoint() {
    let world = World::new(2, product(100)).await;
    let run = world.order().await;
    killed_after(&world, &world.worker(), &run, 6).await;
    world.product.forget_served();

    let other = world.worker();
    let busy = claim::claim(&other, &RunOrder::of(&run)).await.expect("the stores answer");
    assert!(matches!(busy, Claimed::Busy(_)), "the lease of the dead worker still holds: {busy:?}");
    world.clock.advance(Duration::from_secs(31));
    let ended = finished(&other, &run).await;
    assert_eq!(ended.status, RunStatus::Succeeded);
    assert_eq!(ended.epoch, 2);
    assert_eq!(ended.progress.streams[STREAM].added, 100, "nothing is counted twice");
    assert_eq!(world.product.pages_served(STREAM), vec![6, 7, 8, 9], "only what no checkpoint covers is read again");
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_source_got_other_settings_meanwhile_reads_from_the_start() {
    let world = World::new(16, product(100)).await;
    let run = world.order().await;
    killed_after(&world, &world.worker(), &run, 6).await;
    world.product.forget_served();
    let store = Store::new(world.ports.tables.clone());
    let source = Source { settings: serde_json::json!({ "region": "eu" }), ..world.source().await };
    let put = store::put(&source, Condition::Any).expect("a row");
    store.transact(&world.scope, vec![put]).await.expect("the settings are written");

    world.clock.advance(Duration::from_secs(31));
    let ended = finished(&world.worker(), &run).await;
    assert_eq!(world.product.pages_served(STREAM), (0..10).collect::<Vec<_>>());
    assert_eq!((ended.status, ended.progress.streams[STREAM].added), (RunStatus::Succeeded, 100));
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_its_lease_cannot_commit() {
    let world = World::new(3, product(20)).await;
    let run = world.order().await;
    let slow = begun(&world.worker(), &run).await;
    let outcomes = read_all(&slow).await;
    world.clock.advance(Duration::from_secs(31));
    let winner = finished(&world.worker(), &run).await;
    let head = world.source().await.head;

    let error = conclude::conclude(&slow, &outcomes).await.expect_err("the epoch is stale");
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(world.source().await.head, head);
    assert_eq!(world.run(&run).await, winner, "the stale worker changed nothing");
    let error = claim::heartbeat(&slow.ctx, &slow.claim).await.expect_err("the lease is gone");
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_manifest_and_head_makes_one_snapshot_all_the_same() {
    let world = World::new(4, product(30)).await;
    let run = world.order().await;
    let dead = begun(&world.worker(), &run).await;
    let outcomes = read_all(&dead).await;
    let manifest = listbackup_engine::run::commit::manifest(&dead, &outcomes);
    let written = dead.source_store.put_manifest(&manifest).await.expect("the object is written");
    assert!(world.source().await.head.is_none(), "nothing is visible before the head moves");
    let worker = world.worker();
    assert_eq!(indexed(&world, &worker, &run).await, Indexed::NotYet);

    world.clock.advance(Duration::from_secs(31));
    let ended = finished(&worker, &run).await;
    assert_eq!(ended.snapshot_id, Some(written.manifest.snapshot_id));
    assert_eq!(world.source().await.head.expect("a head").manifest_digest, written.digest);
    assert_eq!(indexed(&world, &worker, &run).await, Indexed::Rows(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_run_ended_without_it_is_never_shown() {
    let world = World::new(15, product(30)).await;
    let worker = world.worker();
    let run = world.order().await;
    let session = begun(&worker, &run).await;
    let outcomes = read_all(&session).await;
    let manifest = listbackup_engine::run::commit::manifest(&session, &outcomes);
    session.source_store.put_manifest(&manifest).await.expect("the object is written");
    conclude::stop_run(&worker, &session.claim, Stop::Cancelled, None).await.expect("the run ends");
    assert_eq!(indexed(&world, &worker, &run).await, Indexed::Never);
}

/// What the indexer makes of the snapshot object of a run.
pub async fn indexed(world: &World, worker: &RunContext, run: &Run) -> Indexed {
    let snapshot_id = run.run_id.of::<listbackup_engine::model::id::kind::Snapshot>();
    let path = snapshot::paths::snapshot(world.scope.account_id(), world.source_id, snapshot_id);
    index::index_object(worker, &ObjectCreated { path }).await.expect("the object is there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_keeps_the_last_snapshot_as_head() {
    let world = World::new(5, product(40)).await;
    let worker = world.worker();
    finished(&worker, &world.order().await).await;
    let head = world.source().await.head;

    world.product.put(STREAM, 1..=40, "second");
    let run = world.order().await;
    let session = begun(&worker, &run).await;
    order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("the wish is kept");
    listbackup_engine::run::progress::report(&worker, &session.claim, &session.progress, &session.stop)
        .await
        .expect("progress is written");
    assert_eq!(session.stop.reason(), Some(Stop::Cancelled));
    let outcomes = read_all(&session).await;
    assert!(matches!(outcomes[STREAM], StreamOutcome::Stopped(Stop::Cancelled)));
    conclude::conclude(&session, &outcomes).await.expect("the run ends");
    assert_eq!(world.run(&run).await.status, RunStatus::Cancelled);
    assert_eq!(world.source().await.head, head);
    assert!(world.source().await.lease.owner.is_none(), "the lease is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_run_that_nobody_has_begun_ends_it_at_once() {
    let world = World::new(6, product(5)).await;
    let run = world.order().await;
    let run = order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("cancelled");
    assert_eq!(run.status, RunStatus::Cancelled);
    let over = claim::claim(&world.worker(), &RunOrder::of(&run)).await.expect("the stores answer");
    assert!(matches!(over, Claimed::Over(_)), "{over:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_run_is_free_at_once_and_loses_no_page() {
    let world = World::new(7, product(100)).await;
    let run = world.order().await;
    world.product.hold_after(4);
    let session = Arc::new(begun(&world.worker(), &run).await);
    let reading = {
        let session = session.clone();
        tokio::spawn(async move { read_all(&session).await })
    };
    while world.run(&run).await.progress.streams.get(STREAM).map_or(0, |stream| stream.records) < 40 {
        tokio::task::yield_now().await;
    }
    session.stop.stop(Stop::Draining);
    let outcomes = reading.await.expect("the read stops in good order");
    let end = conclude::conclude(&session, &outcomes).await.expect("the run is handed back");
    assert!(matches!(end, AttemptEnd::HandedBack));
    world.product.release();
    world.product.forget_served();

    let ended = finished(&world.worker(), &run).await;
    assert_eq!(ended.status, RunStatus::Succeeded);
    assert_eq!(world.product.pages_served(STREAM), vec![4, 5, 6, 7, 8, 9]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_stream_keeps_its_last_state_and_the_others_are_committed() {
    let world = World::new(8, product(10)).await;
    world.product.put("orders", 1..=10, "first");
    let worker = world.worker();
    finished(&worker, &world.order().await).await;

    world.product.put(STREAM, [1], "second");
    world.product.put("orders", [1], "second");
    world.product.fail("orders", Some(ConnectorError::BadAnswer));
    let orders_before = world.head_records("orders").await;
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Partial);
    let orders = &run.progress.streams["orders"];
    assert_eq!((orders.state, orders.records, orders.unchanged, orders.added), (StreamState::Failed, 10, 10, 0));
    assert!(run.error.expect("a reason").message.contains("stream orders"));
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    assert_eq!(world.head_records("orders").await, orders_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_every_stream_fails_makes_no_snapshot() {
    let world = World::new(9, product(10)).await;
    let worker = world.worker();
    finished(&worker, &world.order().await).await;
    let head = world.source().await.head;
    world.product.fail(STREAM, Some(ConnectorError::Denied));
    let run = finished(&worker, &world.order().await).await;
    assert_eq!((run.status, run.snapshot_id), (RunStatus::Failed, None));
    assert_eq!(world.source().await.head, head);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sign_in_pauses_the_source_until_a_person_signs_in_again() {
    let world = World::new(10, product(10)).await;
    world.product.fail(STREAM, Some(ConnectorError::Reauthorise));
    let worker = world.worker();
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Failed);
    assert_eq!(world.source().await.state, SourceState::NeedsAuthorisation);
    let next = world.order().await;
    let over = claim::claim(&worker, &RunOrder::of(&next)).await.expect("the stores answer");
    assert!(matches!(over, Claimed::Over(_)), "{over:?}");
    assert_eq!(world.run(&next).await.status, RunStatus::Skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_some_streams_lost_is_told_and_the_others_go_on() {
    let world = World::new(11, product(10)).await;
    world.product.put("deals", 1..=5, "first");
    world.product.fail("deals", Some(ConnectorError::Reauthorise));
    let worker = world.worker();
    let run = finished(&worker, &world.order().await).await;
    assert_eq!((run.status, world.source().await.state), (RunStatus::Partial, SourceState::Active));
    let lost = retention::events(&world, "source.authorisation_lost").await;
    assert_eq!((lost.len(), lost[0].run_id, lost[0].source_id), (1, Some(run.run_id), Some(world.source_id)));
    assert_eq!(lost[0].details["streams"], serde_json::json!(["deals"]));
    world.product.fail("deals", Some(ConnectorError::Denied));
    finished(&worker, &world.order().await).await;
    assert_eq!(
        retention::events(&world, "source.authorisation_lost").await,
        lost,
        "another failure asks for no sign-in"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_schedulers_make_one_run_of_one_due_time() {
    let world = World::new(11, product(5)).await;
    let mut job = Job { schedule: Schedule::Interval { every_seconds: 60 }, ..world.job.clone() };
    due::reschedule(&mut job, world.job.created_at).expect("a schedule");
    let store = Store::new(world.ports.tables.clone());
    let put = store::put(&job, Condition::Any).expect("a row");
    store.transact(&world.scope, vec![put]).await.expect("the job is written");
    world.clock.advance(Duration::from_secs(61));
    let looks = (0..10).map(|_| due::fire_due(&world.ports, &world.system, &crate::due_times::PLANS));
    for look in futures::future::join_all(looks).await {
        look.expect("every look succeeds");
    }
    let query = listbackup_engine::ports::Query {
        table: &listbackup_engine::tables::RUNS,
        index: None,
        partition: job.job_id.to_string(),
        sort: listbackup_engine::ports::SortRange::All,
        descending: false,
        limit: 100,
        after: None,
    };
    assert_eq!(store.query::<Run>(&world.scope, query).await.expect("runs").rows.len(), 1);
    let job: Job = store.get(&world.scope, key(job.account_id, job.job_id)).await.expect("the job").row;
    assert_eq!(job.next_due_ms, Some(world.job.created_at.as_millisecond() + 120_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_run_whose_message_was_lost_gets_a_new_one() {
    let world = World::new(12, product(5)).await;
    let trigger = listbackup_engine::model::run::Trigger::Manual { by: "test".to_owned() };
    // The row is written, and the process dies before the message is.
    let (run, _) = order::write_order(&world.ports, &world.scope, &world.job, trigger, None).await.expect("a row");
    assert!(received(&*world.ports.queue).await.is_empty());
    world.clock.advance(Duration::from_secs(61));
    let before = world.ports.clock.now();
    let sent = order::resend_lost(&world.ports, &world.system, before).await.expect("a sweep");
    assert_eq!(sent, 1);
    let order: RunOrder = serde_json::from_value(received(&*world.ports.queue).await.remove(0)).expect("an order");
    assert_eq!(order, RunOrder::of(&run));
    let again = order::resend_lost(&world.ports, &world.system, before).await.expect("a sweep");
    assert_eq!(again, 0, "it is looked after now");
}

pub async fn received(queue: &dyn Queue) -> Vec<serde_json::Value> {
    let messages = queue.receive(QueueName::Jobs, 10, Duration::from_secs(60), Duration::ZERO).await.expect("a queue");
    messages.into_iter().map(|message| message.body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_repeated_with_its_idempotency_key_is_one_run() {
    let world = World::new(13, product(5)).await;
    let trigger = || listbackup_engine::model::run::Trigger::Manual { by: "test".to_owned() };
    let order = |key: &'static str| order::order_run(&world.ports, &world.scope, &world.job, trigger(), Some(key));
    let first = order("a").await.expect("an order");
    world.clock.advance(Duration::from_secs(3600));
    assert_eq!(order("a").await.expect("the same order").run_id, first.run_id);
    assert_ne!(order("b").await.expect("another order").run_id, first.run_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_names_another_accounts_source_finds_nothing() {
    let world = World::new(14, product(5)).await;
    let run = world.order().await;
    let stranger = listbackup_engine::model::AccountId::new(&*world.ports.clock, &*world.ports.random);
    let forged = RunOrder { account_id: stranger, ..RunOrder::of(&run) };
    let error = claim::claim(&world.worker(), &forged).await.expect_err("not in that account");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(world.run(&run).await.status, RunStatus::Queued);
}
