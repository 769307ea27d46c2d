//! An order that was given up may be put back at any later time: what has happened since decides what comes of it.

use std::time::Duration;

use listbackup_engine::{
    actors::{Engine, Roles},
    model::{ActivityEvent, EventId, Run, RunStatus},
    ports::QueueName,
    tables::ACTIVITY,
};

use crate::{
    crash_points::rows,
    rules::{STREAM, finished, product},
    simulation::simulate,
    supervision::drained,
    world::World,
};

/// Receives the messages so often that they are given up.
async fn given_up(world: &World) -> Vec<String> {
    for _ in 0..6 {
        world.ports.queue.receive(QueueName::Jobs, 10, Duration::ZERO, Duration::ZERO).await.expect("a queue");
    }
    let letters = world.ports.queue.dead_letters(QueueName::Jobs, None, 10).await.expect("a queue");
    letters.into_iter().map(|letter| letter.id).collect()
}

/// Puts them back before a worker, and waits until it has nothing to do any more.
async fn redriven(world: &World, letters: Vec<String>) {
    for letter in letters {
        assert!(world.ports.queue.redrive(QueueName::Jobs, &letter).await.expect("a queue"));
    }
    let engine = Engine::start(world.worker(), Roles::All);
    tokio::time::sleep(Duration::from_secs(600)).await;
    drained(&engine).await;
    let dead = world.ports.queue.dead_letters(QueueName::Jobs, None, 10).await.expect("a queue");
    assert!(dead.is_empty(), "it is not given up again");
    world.clock.advance(Duration::from_secs(3600));
    let left = world.ports.queue.receive(QueueName::Jobs, 10, Duration::ZERO, Duration::ZERO).await.expect("a queue");
    assert!(left.is_empty(), "its message is gone");
}

/// What was told of a run, wherever it is in the chain of events by now.
async fn told(world: &World, run: &Run) -> Vec<EventId> {
    let all: Vec<ActivityEvent> =
        rows(world, &ACTIVITY, Some("by-account"), world.scope.account_id().to_string()).await;
    all.into_iter().filter(|event| event.run_id == Some(run.run_id)).map(|event| event.event_id).collect()
}

#[test]
fn a_dead_letter_whose_run_has_ended_changes_nothing() {
    simulate(async {
        let world = World::simulated(1, product(25)).await;
        let run = world.order().await;
        finished(&world.worker(), &run).await;
        let (ended, head, events) = (world.run(&run).await, world.source().await.head, told(&world, &run).await);
        let letters = given_up(&world).await;
        assert_eq!(letters.len(), 1);
        world.product.put(STREAM, [1], "second");
        redriven(&world, letters).await;
        assert_eq!(world.run(&run).await, ended);
        assert_eq!(world.source().await.head, head);
        assert_eq!(told(&world, &run).await, events);
    });
}

#[test]
fn a_dead_letter_whose_run_waits_has_it_made() {
    simulate(async {
        let world = World::simulated(2, product(25)).await;
        let run = world.order().await;
        let letters = given_up(&world).await;
        redriven(&world, letters).await;
        assert_eq!(world.run(&run).await.status, RunStatus::Succeeded);
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    });
}
