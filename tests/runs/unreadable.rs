//! A stored row that cannot be read costs nobody else their turn, and no look goes on for ever because of it.

use std::{sync::Arc, time::Duration};

use listbackup_engine::{
    billing::Plans,
    model::{
        ActivityKind, Job, JobId, Run, RunId, RunStatus, SourceId,
        activity::OUTBOX_SHARD,
        job::{Overlap, Policies, Schedule},
    },
    ports::{Condition, QueueName, Write},
    run::{RunContext, due, freshness::Gaps, order, relay::Relay, upkeep, watch},
    store::{self, key},
    tables::{ACTIVITY, JOBS, RUNS, SOURCES, TableSchema},
};
use serde_json::{Value, json};

use crate::{
    activity,
    due_times::Scheduled,
    rules::{finished, product, received},
    world::{World, source_of},
};

const HOUR: u64 = 3600;
const DAY: Duration = Duration::from_secs(24 * HOUR);

/// Puts a row as some other program could.
async fn put_raw(world: &World, table: &'static TableSchema, body: Value) {
    let Value::Object(body) = body else { panic!("a row is an object") };
    let write = Write::Put { table, body, condition: Condition::Any };
    world.ports.tables.transact((&world.scope).into(), vec![write]).await.expect("the row is written");
}

/// Rows of no shape, more than a look reads at once, all due before any other.
async fn put_broken(world: &World, table: &'static TableSchema, count: usize, due: &Value) {
    for _ in 0..count {
        let (clock, random) = (&*world.ports.clock, &*world.ports.random);
        let mut body = json!({
            "accountId": world.scope.account_id(),
            "jobId": JobId::new(clock, random),
            "sourceId": SourceId::new(clock, random),
            "runId": RunId::new(clock, random),
            "name": 4711,
        });
        let attributes = due.as_object().expect("attributes").clone();
        body.as_object_mut().expect("a row").extend(attributes);
        put_raw(world, table, body).await;
    }
}

async fn hourly() -> Scheduled {
    Scheduled::new(91, Schedule::Interval { every_seconds: HOUR }, Policies::default()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_behind_rows_that_cannot_be_read_are_fired() {
    let scheduled = hourly().await;
    put_broken(&scheduled.world, &JOBS, 230, &json!({ "dueShard": due::DUE_SHARD, "nextDueMs": 1 })).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    assert_eq!(scheduled.look().await, 0);
    scheduled.end_live().await;
    assert_eq!(scheduled.look_after(HOUR).await, 1, "and the next time as well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_source_or_run_cannot_be_read_is_put_off_and_keeps_its_due_time() {
    let scheduled = hourly().await;
    let world = &scheduled.world;
    let other = world.another_job().await;
    let policies = Policies { overlap: Overlap::Skip, ..Policies::default() };
    let mut other = Job { schedule: Schedule::Interval { every_seconds: HOUR }, policies, ..other };
    let created_at = other.created_at;
    due::reschedule(&mut other, created_at).expect("a schedule");
    scheduled.store(&other).await;
    let broken = json!({ "accountId": world.scope.account_id(), "sourceId": other.source_id, "name": 4711 });
    put_raw(world, &SOURCES, broken).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1, "the other job has its turn");
    let tables = scheduled.tables();
    let place = || key(world.scope.account_id(), other.job_id);
    let waits = tables.get::<Job>(&world.scope, place()).await.expect("the job").row;
    assert_eq!((waits.pending(), waits.open_runs.len()), (other.pending(), 0), "nothing was decided about its time");
    assert!(waits.next_due_ms > Some(world.ports.clock.now().as_millisecond()), "it is looked at later");
    let refused = due::settle(&world.ports, &world.system, &world.scope, other.job_id, &Plans::default())
        .await
        .expect_err("it cannot be judged");
    assert_eq!(refused.kind(), listbackup_engine::ErrorKind::Corrupt, "who changes it is told why that does not work");

    // Once somebody put the row right, the time gets its outcome.
    let mended =
        listbackup_engine::model::Source { source_id: other.source_id, ..source_of(&world.ports, &world.scope) };
    let put = store::put(&mended, Condition::Any).expect("a row");
    tables.transact(&world.scope, vec![put]).await.expect("the row is written");
    scheduled.look_after(HOUR + 1).await;
    let told = scheduled.events(ActivityKind::RunQueued).await;
    assert!(told.iter().any(|event| event.job_id == Some(other.job_id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_behind_rows_that_cannot_be_read_are_sent_again() {
    let world = World::new(92, product(10)).await;
    put_broken(&world, &RUNS, 510, &json!({ "liveShard": order::LIVE_SHARD, "leaseExpiresMs": 1 })).await;
    let run = world.order().await;
    assert_eq!(received(&*world.ports.queue).await.len(), 1);
    world.clock.advance(Duration::from_secs(61));
    let now = world.ports.clock.now();
    assert_eq!(order::resend_lost(&world.ports, &world.system, now).await.expect("a sweep"), 1);
    assert_eq!(world.run(&run).await.status, RunStatus::Queued);
    let sent = world.ports.queue.receive(QueueName::Jobs, 10, DAY, Duration::ZERO).await.expect("messages");
    assert!(sent.iter().any(|message| message.body["runId"] == json!(run.run_id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_behind_rows_that_cannot_be_read_are_watched_and_looked_after() {
    let world = World::new(93, product(10)).await;
    let worker: Arc<RunContext> = world.worker();
    let run: Run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let due = json!({ "watchShard": "watched", "watchDueMs": 1, "upkeepShard": "upkeep", "upkeepDueMs": 1 });
    put_broken(&world, &SOURCES, 210, &due).await;
    put_broken(&world, &SOURCES, 1, &json!({ "watchShard": "stale", "watchDueMs": 1 })).await;
    // And a job of the good one.
    let broken =
        json!({ "accountId": world.scope.account_id(), "jobId": "job_x", "sourceId": world.source_id, "name": 4711 });
    world.clock.advance(DAY);
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a look"), 1);
    assert_eq!(watch::count_stale(&worker).await.expect("a count").0, 0);
    assert_eq!(upkeep::look_after_due(&worker).await.expect("a look"), 1);

    put_raw(&world, &JOBS, broken).await;
    world.clock.advance(DAY);
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a look"), 1);
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a look"), 0, "it is looked at later");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beside_one_of_nobody_get_their_places() {
    let world = World::new(94, product(10)).await;
    let nobody = json!({
        "eventId": "evt_00000000000000000000000000", "timestamp": 1, "accountId": "nobody", "outboxShard": OUTBOX_SHARD,
    });
    let Value::Object(body) = nobody else { panic!("a row is an object") };
    let write = Write::Put { table: &ACTIVITY, body, condition: Condition::Absent };
    world.ports.tables.transact((&world.system).into(), vec![write]).await.expect("the row is written");
    activity::keep(&world.ports, &world.scope, 3).await;
    assert_eq!(Relay::default().look(&world.ports, &world.system).await.expect("a look"), 3);
    assert_eq!(Relay::default().look(&world.ports, &world.system).await.expect("a look"), 0);
    activity::assert_settled(&world.ports, &world.scope, 3, "beside one of nobody").await;
}
