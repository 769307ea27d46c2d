//! An account whose data keys were destroyed stands still: nothing of it runs any more, and nobody else waits for it.

use std::time::Duration;

use futures::StreamExt;
use listbackup_engine::{
    ErrorKind,
    actors::{Drain, Engine, Roles},
    billing::Plans,
    model::{ActivityEvent, ActivityKind, Job, JobState, RunStatus, job::Schedule, run::Trigger},
    ports::Condition,
    run::{due, keys, order, upkeep},
    store::{self, Store, key},
    tables::ACTIVITY,
};

use crate::{
    crash_points::rows,
    rules::{STREAM, finished, product},
    world::World,
};

async fn schedule(world: &World) -> Job {
    let store = Store::new(world.ports.tables.clone());
    let place = key(world.scope.account_id(), world.job.job_id);
    let mut job = store.get::<Job>(&world.scope, place).await.expect("the job");
    job.row.schedule = Schedule::Interval { every_seconds: 60 };
    due::reschedule(&mut job.row, world.ports.clock.now()).expect("a schedule");
    let write = store::put(&job.row, Condition::Version(job.version)).expect("a row");
    store.transact(&world.scope, vec![write]).await.expect("written");
    job.row
}

async fn stored_job(world: &World) -> Job {
    let store = Store::new(world.ports.tables.clone());
    store.get::<Job>(&world.scope, key(world.scope.account_id(), world.job.job_id)).await.expect("the job").row
}

/// How often it was told that a job was paused.
async fn pauses(world: &World) -> usize {
    let account = world.scope.account_id().to_string();
    let events: Vec<ActivityEvent> = rows(world, &ACTIVITY, Some("by-account"), account).await;
    events.iter().filter(|event| event.kind == ActivityKind::JobUpdated && event.details["state"] == "paused").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn its_schedules_are_off_its_orders_are_refused_and_upkeep_leaves_it_alone() {
    let world = World::new(1, product(20)).await;
    let worker = world.worker();
    let run = world.order().await;
    assert_eq!(finished(&worker, &run).await.status, RunStatus::Succeeded);
    let job = schedule(&world).await;
    let queued = world.order().await;
    keys::destroy(&worker, &world.scope, "grace", "the customer left").await.expect("destroyed");
    assert_eq!(world.run(&queued).await.status, RunStatus::Cancelled);
    let stopped = stored_job(&world).await;
    assert_eq!((stopped.state, stopped.next_due_ms), (JobState::Paused, None));

    let trigger = Trigger::Manual { by: "test".to_owned() };
    let refused = order::order_run(&world.ports, &world.scope, &job, trigger, None).await.expect_err("an order");
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(refused.to_string().contains("the customer left"), "{refused}");
    let again = order::retry_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await;
    assert_eq!(again.expect_err("an order").kind(), ErrorKind::Denied);

    // A schedule that comes back all the same, as of a job that was written at that moment, is taken out when it is due.
    let store = Store::new(world.ports.tables.clone());
    let now = store.get::<Job>(&world.scope, key(job.account_id, job.job_id)).await.expect("the job").version;
    let write = store::put(&job, Condition::Version(now)).expect("a row");
    store.transact(&world.scope, vec![write]).await.expect("written");
    world.clock.advance(Duration::from_secs(3600));
    let told = pauses(&world).await;
    assert_eq!(due::fire_due(&world.ports, &world.system, &Plans::default()).await.expect("a look").runs, 0);
    assert_eq!(stored_job(&world).await.next_due_ms, None);
    assert_eq!(pauses(&world).await, told + 1, "it is told");

    world.clock.advance(Duration::from_secs(7 * 24 * 3600));
    upkeep::look_after_due(&worker).await.expect("a look");
    assert_eq!(world.source().await.upkeep_due_ms, None);
    assert_eq!(upkeep::look_after_due(&worker).await.expect("a look"), 0);
}

#[test]
fn a_run_under_way_stops_and_one_event_tells_of_all_of_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    actix::System::with_tokio_rt(|| runtime.expect("a runtime")).block_on(async {
        let world = World::new(2, product(100)).await;
        world.product.hold_after(4);
        let worker = world.worker();
        let engine = Engine::start(worker.clone(), Roles::All);
        let run = world.order().await;
        while world.run(&run).await.progress.streams.get(STREAM).map_or(0, |stream| stream.records) < 40 {
            tokio::task::yield_now().await;
        }
        let mut events = world.ports.events.follow(&world.scope);
        keys::destroy(&worker, &world.scope, "grace", "the customer left").await.expect("destroyed");
        let mut told = Vec::new();
        while let Some(event) = events.next().await {
            if event.run_id == Some(run.run_id) && event.kind == ActivityKind::RunCancelled {
                break;
            }
            told.push(event);
        }
        assert_eq!(world.run(&run).await.status, RunStatus::Cancelled);
        told.retain(|event| event.kind == ActivityKind::AccountKeyDestroyed);
        let details = told.iter().map(|event| &event.details).collect::<Vec<_>>();
        assert_eq!(details.len(), 1);
        assert_eq!((&details[0]["runsCancelled"], &details[0]["jobsPaused"]), (&1.into(), &1.into()));
        engine.send(Drain).await.expect("the root answers");
    });
}
