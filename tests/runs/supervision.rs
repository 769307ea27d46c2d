//! What the supervisors promise: orders are carried out, whatever happens below them, and the process ends in good order.

use std::{future::Future, time::Duration};

use actix::Addr;
use futures::StreamExt;
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    actors::{Deliver, Drain, Engine, Roles},
    model::{ActivityKind, Run, RunStatus},
    ports::QueueName,
    run::{order, order::RunOrder},
};
use tokio::sync::oneshot;

use crate::{scripted::Product, world::World};

const STREAM: &str = "contacts";

/// Runs a test as the program runs: actors on this thread, their work on a pool.
fn on_system(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    actix::System::with_tokio_rt(|| runtime.expect("a runtime")).block_on(test);
}

fn product(records: u64) -> Product {
    let product = Product::new(10);
    product.put(STREAM, 1..=records, "first");
    product
}

/// Waits until an event of that kind tells of the run.
async fn told(world: &World, run: &Run, kind: ActivityKind) {
    let mut events = world.ports.events.follow(&world.scope);
    if world.run(run).await.status.has_ended() {
        return;
    }
    while let Some(event) = events.next().await {
        if event.run_id == Some(run.run_id) && event.kind == kind {
            return;
        }
    }
}

pub async fn drained(engine: &Addr<Engine>) {
    engine.send(Drain).await.expect("the root answers");
}

#[test]
fn an_ordered_run_is_taken_from_the_queue_and_its_message_acknowledged() {
    on_system(async {
        let world = World::new(1, product(35)).await;
        let engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        told(&world, &run, ActivityKind::RunSucceeded).await;
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
        drained(&engine).await;
        world.clock.advance(Duration::from_secs(3600));
        let again = world.ports.queue.receive(QueueName::Jobs, 1, Duration::ZERO, Duration::ZERO).await;
        assert!(again.expect("a queue").is_empty(), "the message does not come again");
    });
}

#[test]
fn two_orders_of_one_source_are_carried_out_one_after_the_other() {
    on_system(async {
        let world = World::new(2, product(35)).await;
        let engine = Engine::start(world.worker(), Roles::All);
        let (first, second) = (world.order().await, world.order().await);
        told(&world, &first, ActivityKind::RunSucceeded).await;
        told(&world, &second, ActivityKind::RunSucceeded).await;
        let (first, second) = (world.run(&first).await, world.run(&second).await);
        assert_eq!(first.epoch + second.epoch, 3, "one under epoch 1, the other under epoch 2");
        let added = |run: &Run| run.progress.streams[STREAM].added;
        assert_eq!(added(&first) + added(&second), 35, "the later run finds nothing new");
        drained(&engine).await;
    });
}

#[test]
fn a_draining_process_checkpoints_lets_go_and_the_next_one_goes_on() {
    on_system(async {
        let world = World::new(3, product(100)).await;
        world.product.hold_after(4);
        let engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        while world.run(&run).await.progress.streams.get(STREAM).map_or(0, |stream| stream.records) < 40 {
            tokio::task::yield_now().await;
        }
        drained(&engine).await;
        let stopped = world.run(&run).await;
        assert_eq!(stopped.status, RunStatus::Running);
        assert!(world.source().await.lease.owner.is_none(), "the lease is free");

        world.product.release();
        world.product.forget_served();
        let next = Engine::start(world.worker(), Roles::All);
        told(&world, &run, ActivityKind::RunSucceeded).await;
        assert_eq!(world.product.pages_served(STREAM), vec![4, 5, 6, 7, 8, 9], "no page is read twice");
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
        drained(&next).await;
    });
}

#[test]
fn a_cancelled_run_stops_while_it_waits_for_the_product() {
    on_system(async {
        let world = World::new(4, product(100)).await;
        world.product.hold_after(2);
        let engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        told(&world, &run, ActivityKind::RunStarted).await;
        order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("the wish is kept");
        told(&world, &run, ActivityKind::RunCancelled).await;
        assert_eq!(world.run(&run).await.status, RunStatus::Cancelled);
        drained(&engine).await;
    });
}

#[test]
fn a_passing_fault_is_tried_again_until_the_product_answers() {
    on_system(async {
        let world = World::new(5, product(20)).await;
        world.product.fail(STREAM, Some(ConnectorError::RateLimited));
        let engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        told(&world, &run, ActivityKind::RunProgress).await;
        world.product.fail(STREAM, None);
        told(&world, &run, ActivityKind::RunSucceeded).await;
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
        drained(&engine).await;
    });
}

#[test]
fn a_connector_that_panics_fails_its_stream_and_nothing_else() {
    on_system(async {
        let world = World::new(6, product(20)).await;
        world.product.put("broken", 1..=5, "first");
        world.product.panic_on("broken");
        let engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        told(&world, &run, ActivityKind::RunPartial).await;
        let run = world.run(&run).await;
        assert_eq!(run.status, RunStatus::Partial);
        assert_eq!(run.error.expect("a reason").code, "bug");
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
        drained(&engine).await;
    });
}

#[test]
fn a_command_hears_how_its_own_order_ended() {
    on_system(async {
        let world = World::new(7, product(20)).await;
        let engine = Engine::start(world.worker(), Roles::OneShot);
        let run = world.order().await;
        let (done, ended) = oneshot::channel();
        engine.do_send(Deliver { order: RunOrder::of(&run), delivery: None, done: Some(done) });
        let ended = ended.await.expect("an answer").expect("a run");
        assert_eq!(ended.status, RunStatus::Succeeded);
        drained(&engine).await;
    });
}
