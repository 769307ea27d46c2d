//! What takes long: runs longer than a queue keeps a message, runs without end, and orders that have to wait for others.

use std::time::Duration;

use listbackup_engine::{
    actors::{Engine, Roles},
    model::{Run, RunStatus},
    ports::QueueName,
    run::claim,
};
use tokio::time::sleep;

use crate::{
    broken_off::{assert_made, ended, half_read, world},
    rules::{STREAM, claimed},
    simulation::simulate,
    world::World,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A world in which hours pass without much ado.
async fn slow(seed: u64) -> World {
    let mut world = world(seed).await;
    world.settings.progress_every = Duration::from_secs(30);
    world.settings.stream_attempts_max = 100;
    world
}

async fn running(world: &World, run: &Run) {
    while world.run(run).await.status != RunStatus::Running {
        sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn a_run_longer_than_a_queue_keeps_its_message_goes_on_through_a_fresh_one_and_reads_no_page_twice() {
    simulate(async {
        let mut world = slow(1).await;
        world.settings.message_life = 2 * HOUR;
        let _engine = Engine::start(world.worker(), Roles::All);
        let run = half_read(&world).await;
        sleep(5 * HOUR).await;
        let handed_over = world.run(&run).await;
        assert_eq!((handed_over.epoch, handed_over.attempts), (3, 1), "twice, and neither was a failed attempt");
        world.product.release();
        assert_made(&world, &run).await;
        assert_eq!(world.product.pages_served(STREAM), [2, 3]);
        sleep(Duration::from_secs(120)).await;
        let queue = &world.ports.queue;
        let left = queue.receive(QueueName::Jobs, 10, Duration::ZERO, Duration::ZERO).await.expect("a queue");
        assert!(left.is_empty(), "{left:?}");
        assert!(queue.dead_letters(QueueName::Jobs, None, 10).await.expect("a queue").is_empty());
    });
}

#[test]
fn the_lease_of_a_run_that_stands_still_goes_to_another_worker_even_if_its_own_goes_on_beating() {
    simulate(async {
        let world = slow(8).await;
        let worker = world.worker();
        let run = world.order().await;
        let claim = claimed(&worker, &run).await;
        let mut beats = 0;
        while claim::heartbeat(&worker, &claim).await.is_ok() {
            beats += 1;
            sleep(worker.settings.heartbeat).await;
        }
        assert_eq!(beats, 183, "half an hour and a lease, by ten seconds");
        sleep(worker.settings.lease).await;
        assert_eq!(claimed(&world.worker(), &run).await.epoch, 2);
    });
}

#[test]
fn a_stream_whose_time_is_over_fails_and_what_the_others_brought_is_kept() {
    simulate(async {
        let mut world = slow(2).await;
        world.settings.stream_deadline = 3 * HOUR;
        world.product.put("deals", 1..=10, "first");
        world.product.hang_on("deals");
        let _engine = Engine::start(world.worker(), Roles::All);
        let run = world.order().await;
        let ended = ended(&world, &run, 24 * HOUR).await;
        assert_eq!(ended.status, RunStatus::Partial);
        let reason = ended.progress.streams["deals"].error.clone().expect("a reason");
        assert_eq!(reason.code, "deadline", "{}", reason.message);
        let took = ended.finished_at.expect("an end").duration_since(ended.started_at.expect("a beginning"));
        assert!((180..=182).contains(&took.as_mins()), "{took}");
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    });
}

#[test]
fn a_run_whose_time_is_over_keeps_what_it_has_read() {
    simulate(async {
        let mut world = slow(3).await;
        world.settings.run_deadline = 2 * HOUR;
        world.product.put("deals", 1..=10, "first");
        world.product.hang_on("deals");
        let _engine = Engine::start(world.worker(), Roles::All);
        let ended = ended(&world, &world.order().await, 24 * HOUR).await;
        assert_eq!(ended.status, RunStatus::Partial);
        assert_eq!(ended.progress.streams["deals"].error.as_ref().expect("a reason").code, "deadline");
        assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
    });
}

#[test]
fn an_order_that_waits_for_another_workers_run_takes_no_place_and_comes_again_soon_after_it() {
    simulate(async {
        let mut world = world(4).await;
        world.settings.slots = 1;
        world.product.hold_after(2);
        let _first = Engine::start(world.worker(), Roles::All);
        let long = world.order().await;
        running(&world, &long).await;
        let waiting = world.order().await;
        let _second = Engine::start(world.worker(), Roles::All);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(world.run(&waiting).await.status, RunStatus::Queued);

        let other = world.order_of(&world.another_job().await).await;
        running(&world, &other).await;
        world.product.release();
        assert_made(&world, &long).await;
        let until = world.run(&long).await.finished_at.expect("an end");
        assert_made(&world, &waiting).await;
        let waited = world.run(&waiting).await.started_at.expect("a beginning").duration_since(until);
        assert!(waited.as_secs() <= 35, "{waited}");
        assert_eq!(ended(&world, &other, HOUR).await.status, RunStatus::Succeeded);
    });
}

#[test]
fn orders_that_wait_for_a_run_of_their_source_leave_places_for_others() {
    simulate(async {
        let mut world = world(5).await;
        world.settings.slots = 3;
        world.product.hold_after(2);
        let _engine = Engine::start(world.worker(), Roles::All);
        let mut waiting = Vec::new();
        for _ in 0..6 {
            waiting.push(world.order().await);
            sleep(Duration::from_secs(5)).await;
        }
        let other = world.order_of(&world.another_job().await).await;
        running(&world, &other).await;
        world.product.release();
        for run in &waiting {
            assert_made(&world, run).await;
        }
    });
}

#[test]
fn an_account_with_all_of_its_places_taken_leaves_the_others_to_others_and_goes_on_when_one_is_free() {
    simulate(async {
        let mut world = world(6).await;
        world.settings.slots_per_integration = Some(1);
        world.product.hold_after(2);
        let _engine = Engine::start(world.worker(), Roles::All);
        let first = world.order().await;
        running(&world, &first).await;
        let second = world.order_of(&world.another_job().await).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(world.run(&second).await.status, RunStatus::Queued, "one at a time");
        world.product.release();
        assert_made(&world, &first).await;
        assert_eq!(ended(&world, &second, HOUR).await.status, RunStatus::Succeeded);
        let waited = world.run(&second).await.started_at.expect("a beginning");
        let since = waited.duration_since(world.run(&first).await.finished_at.expect("an end"));
        assert!((0..=20).contains(&since.as_secs()), "{since}");
    });
}

#[test]
fn a_run_tells_how_far_it_is_and_when_it_will_be_through() {
    simulate(async {
        let world = world(7).await;
        let _engine = Engine::start(world.worker(), Roles::All);
        let first = half_read(&world).await;
        assert_eq!(world.run(&first).await.progress.estimate, None, "nothing is known of a first backup");
        world.product.release();
        assert_made(&world, &first).await;

        let second = half_read(&world).await;
        let estimate = world.run(&second).await.progress.estimate.expect("the last snapshot tells");
        assert_eq!(estimate.records_expected, 40);
        world.product.release();
        assert_made(&world, &second).await;
        assert_eq!(world.run(&second).await.progress.estimate, None);
    });
}
