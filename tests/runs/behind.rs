//! Stores whose indexes are behind, as DynamoDB's: what was written a moment ago is found, and not taken for lost.

use std::time::Duration;

use futures::StreamExt;
use listbackup_engine::{
    model::{Job, JobId, SourceId},
    ports::{Condition, Ports},
    run::relay::Relay,
    store::{self, Store},
};
use tokio::time::sleep;

use crate::{
    activity::{checked, head, keep},
    memory,
    scripted::Product,
    simulation::simulate,
    world::World,
};

const EVENTS: usize = 120;

async fn world(seed: u64) -> World {
    World::in_memory_with_indexes_behind(seed, Product::new(1)).await
}

#[test]
fn a_row_is_found_by_its_own_value_in_an_index_a_moment_after_it_was_written() {
    simulate(async {
        let world = World::in_memory(1, Product::new(1)).await;
        let ports = memory::stores_with_indexes_behind(&world.ports, Duration::from_millis(200));
        let store = Store::new(ports.tables.clone());
        let mut job = world.job.clone();
        for round in 0..50 {
            job.source_id = SourceId::new(&*ports.clock, &*ports.random);
            job.job_id = JobId::new(&*ports.clock, &*ports.random);
            store.transact(&world.scope, vec![store::put(&job, Condition::Absent).unwrap()]).await.unwrap();
            let found = store.find_by::<Job>(&world.scope, "by-source", job.source_id).await.unwrap();
            assert_eq!(found.map(|found| found.row.job_id), Some(job.job_id), "round {round}");
        }
    });
}

#[test]
fn the_check_of_the_chain_does_not_take_what_was_linked_just_now_for_missing() {
    for seed in 0..5 {
        simulate(async {
            let world = world(seed).await;
            keep(&world.ports, &world.scope, EVENTS).await;
            link_all(&world.ports, &world).await;
            let report = checked(&world.ports, &world.scope, None).await;
            assert!(report.is_sound(), "seed {seed}: {:?}", report.breaks);
            assert_eq!(report.checked, EVENTS as u64, "seed {seed}");
        });
    }
}

#[test]
fn a_relay_publishes_all_that_another_one_linked_just_now() {
    for seed in 0..5 {
        simulate(async {
            let world = world(seed).await;
            keep(&world.ports, &world.scope, EVENTS).await;
            // Of a process that ends before anybody has heard its events.
            let deaf = memory::stores(&world.ports).events;
            link_all(&Ports { events: deaf, ..world.ports.clone() }, &world).await;
            let published = head(&world.ports, &world.scope).await.published_sequence;
            assert!(published < EVENTS as u64, "the row of the head does not know of the last ones");
            let mut heard = world.ports.events.follow(&world.scope);
            keep(&world.ports, &world.scope, 1).await;
            let last = EVENTS as u64 + 1;
            let relay = async {
                let mut relay = Relay::default();
                loop {
                    relay.look(&world.ports, &world.system).await.expect("a look");
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let all = async {
                let mut places = Vec::new();
                while places.last() != Some(&last) {
                    places.extend(heard.next().await.expect("an event").sequence);
                }
                places
            };
            tokio::select! {
                () = relay => {}
                places = all => {
                    assert!(places.is_sorted(), "seed {seed}: {places:?}");
                    assert_eq!(places.first(), Some(&(published + 1)), "seed {seed}: {places:?}");
                    assert_eq!(places.windows(2).find(|two| two[1] != two[0] + 1), None, "seed {seed}: {places:?}");
                }
            }
        });
    }
}

/// Looks until all of them have their places.
async fn link_all(ports: &Ports, world: &World) {
    let (mut relay, mut linked) = (Relay::default(), 0);
    while linked < EVENTS {
        linked += relay.link(ports, &world.system).await.expect("a look");
        sleep(Duration::from_secs(1)).await;
    }
}
