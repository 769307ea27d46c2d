//! Rows that are made anew from what is stored: each is told, wherever the one who makes them dies.

use listbackup_engine::{
    model::{Account, Job, Run, Source},
    ports::{Condition, Write},
    run::rebuild,
    store::{Store, key, key1},
    tables::{JOBS, RUNS, SOURCES},
};

use crate::{
    crash_points::rows,
    meddled::Fate,
    mortal::{Life, Side},
    retention::events,
    rules::{finished, product},
    world::World,
};

/// A world with a snapshot whose rows are lost.
async fn without_rows() -> World {
    let world = World::new(95, product(20)).await;
    let run = finished(&world.worker(), &world.order().await).await;
    let account_id = world.scope.account_id();
    let places = [
        (&SOURCES, key(account_id, world.source_id)),
        (&JOBS, key(account_id, run.job_id)),
        (&RUNS, key(run.job_id, run.run_id)),
    ];
    let delete = |(table, key)| Write::Delete { table, key, condition: Condition::Any };
    let writes = places.map(delete).into();
    world.ports.tables.transact((&world.scope).into(), writes).await.expect("the rows are gone");
    world
}

/// How many rows there are, and events that tell of them: of accounts, sources, jobs, runs.
async fn rows_and_events(world: &World) -> [(usize, usize); 4] {
    let store = Store::new(world.ports.tables.clone());
    let account_id = world.scope.account_id();
    let accounts = usize::from(store.find::<Account>(&world.scope, key1(account_id)).await.expect("a store").is_some());
    let sources: Vec<Source> = rows(world, &SOURCES, None, account_id.to_string()).await;
    let jobs: Vec<Job> = rows(world, &JOBS, None, account_id.to_string()).await;
    let runs: Vec<Run> = rows(world, &RUNS, Some("by-account"), account_id.to_string()).await;
    let told = async |kind| events(world, kind).await.len();
    [
        (accounts, told("account.rebuilt").await),
        (sources.len(), told("source.rebuilt").await),
        (jobs.len(), told("job.created").await),
        (runs.len(), told("run.rebuilt").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_rebuild_is_cut_off_every_row_that_it_made_is_told_and_the_next_one_makes_the_others() {
    let mut points = 0;
    for (number, side) in (1..).flat_map(|number| [(number, Side::Before), (number, Side::After)]) {
        let world = without_rows().await;
        let life = Life::new(Some((number, side)));
        let mortal = world.worker_with(Fate::Mortal(life.clone()).ports(&world.ports));
        let has_ended = tokio::select! {
            _ = life.end() => false,
            done = rebuild::rebuild(&mortal, &world.scope, "Local") => done.is_ok(),
        };
        if has_ended {
            break;
        }
        points += 1;
        for (made, told) in rows_and_events(&world).await {
            assert_eq!(made, told, "{:?}", life.effects());
        }
        rebuild::rebuild(&world.worker(), &world.scope, "Local").await.expect("a rebuild");
        assert_eq!(rows_and_events(&world).await, [(1, 1); 4], "{:?}", life.effects());
    }
    assert!(points >= 8, "{points} points");
}
