//! Actors that break off in the middle of a handler: whoever is above them notices and builds them anew, and what they had to do is
//! done all the same. The handlers are made to panic from outside: by a log that does, when it hears a certain line.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::Addr;
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    actors::{Engine, GaveUp, Roles},
    model::{Run, RunStatus},
    run::{RunContext, order},
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{
    faults::Faults,
    meddled::Fate,
    rules::{STREAM, product},
    simulation::simulate,
    world::World,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A log that panics when an actor says one of these, so many times.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Vec<(&'static str, u32)>>>);

impl Trap {
    fn set(&self, line: &'static str, times: u32) {
        self.0.lock().expect("not poisoned").push((line, times));
    }

    /// True when nothing is left that it waits for.
    fn is_sprung(&self) -> bool {
        self.0.lock().expect("not poisoned").iter().all(|(_, left)| *left == 0)
    }

    fn springs(&self, said: &str) -> bool {
        let mut lines = self.0.lock().expect("not poisoned");
        let line = lines.iter_mut().find(|(line, left)| *left > 0 && said.contains(line));
        line.map(|(_, left)| *left -= 1).is_some()
    }
}

#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("listbackup_engine::actors")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        assert!(!self.springs(&said.0), "sprung on `{}`", said.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Runs a test on the paused clock, with a trap that is not set.
fn trapped<F: Future<Output = ()>>(test: impl FnOnce(Trap) -> F) {
    let trap = Trap::default();
    let _log = tracing::subscriber::set_default(trap.clone());
    simulate(test(trap));
}

fn started(worker: Arc<RunContext>) -> Addr<Engine> {
    Engine::start(worker, Roles::All)
}

/// The run, once it has ended.
pub async fn ended(world: &World, run: &Run, within: Duration) -> Run {
    let until = Instant::now() + within;
    while Instant::now() < until {
        let run = world.run(run).await;
        if run.status.has_ended() {
            return run;
        }
        sleep(Duration::from_secs(1)).await;
    }
    panic!("the run did not end within {within:?}: {:?}", world.run(run).await);
}

/// Nothing by chance: the stores can be reached until they are cut off.
fn outages() -> Faults {
    let faults = Faults::new(0, false);
    faults.calm();
    faults
}

pub async fn world(seed: u64) -> World {
    let mut world = World::in_memory(seed, product(40)).await;
    world.settings.progress_every = Duration::from_secs(1);
    world.settings.tick = Duration::from_secs(5);
    world
}

/// A run of which two of four pages are stored, while the product holds the others back.
pub async fn half_read(world: &World) -> Run {
    world.product.hold_after(2);
    let run = world.order().await;
    while world.run(&run).await.progress.streams.get(STREAM).map_or(0, |stream| stream.records) < 20 {
        sleep(Duration::from_secs(1)).await;
    }
    // What is told is stored a moment later.
    sleep(Duration::from_secs(2)).await;
    world.product.forget_served();
    run
}

pub async fn assert_made(world: &World, run: &Run) {
    let run = ended(world, run, DAY).await;
    assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.error);
    assert_eq!(world.head_records(STREAM).await, world.product.truth(STREAM));
}

/// A run that goes on to its end after something broke off on that line, while two of its four pages were stored and the stores
/// were away.
async fn gone_on_after(trap: Trap, seed: u64, line: &'static str) -> Run {
    let (mut world, outages) = (world(seed).await, outages());
    // Long enough for the stores to come back before all attempts are made.
    world.settings.retry_base = Duration::from_secs(10);
    world.settings.retry_cap = Duration::from_secs(10);
    trap.set(line, 1);
    let _engine = started(world.worker_with(Fate::Faulty(outages.clone()).ports(&world.ports)));
    let run = half_read(&world).await;
    outages.cut(true);
    sprung(&trap).await;
    outages.cut(false);
    world.product.release();
    assert_made(&world, &run).await;
    assert_eq!(world.product.pages_served(STREAM).first(), Some(&2), "it goes on from its checkpoint");
    world.run(&run).await
}

/// Waits until nothing is left that the trap waits for.
async fn sprung(trap: &Trap) {
    while !trap.is_sprung() {
        sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn parts_of_the_engine_that_break_off_are_built_anew_and_go_on() {
    trapped(|trap| async move {
        let world = world(1).await;
        let outages = outages();
        let _engine = started(world.worker_with(Fate::Faulty(outages.clone()).ports(&world.ports)));
        for line in [
            "the job queue could not be read",
            "due jobs could not be looked up",
            "the data queue could not be worked off",
            "it could not be looked how fresh sources are",
        ] {
            outages.cut(true);
            trap.set(line, 3);
            sprung(&trap).await;
            outages.cut(false);
            assert_made(&world, &world.order().await).await;
        }
    });
}

#[test]
fn an_engine_whose_parts_break_off_again_and_again_gives_up() {
    trapped(|trap| async move {
        let world = world(2).await;
        let outages = outages();
        outages.cut(true);
        trap.set("the job queue could not be read", u32::MAX);
        let engine = started(world.worker_with(Fate::Faulty(outages).ports(&world.ports)));
        let begun = Instant::now();
        let gave_up = timeout(Duration::from_secs(3600), engine.send(GaveUp)).await;
        gave_up.expect("within an hour").expect("the root answers");
        assert!(begun.elapsed() > Duration::from_secs(300), "after {:?}", begun.elapsed());
    });
}

#[test]
fn a_source_whose_actor_breaks_off_has_its_orders_carried_out_all_the_same() {
    trapped(|trap| async move {
        let run = gone_on_after(trap, 3, "a heartbeat failed").await;
        assert_eq!(run.epoch, 2, "under a lease of its own");
    });
}

#[test]
fn a_run_whose_actors_break_off_goes_on_under_the_same_lease() {
    trapped(|trap| async move {
        let world = world(4).await;
        world.product.refuse_to_connect(Some(ConnectorError::Retry));
        trap.set("an attempt failed; trying again", 2);
        let _engine = started(world.worker());
        let run = world.order().await;
        sprung(&trap).await;
        world.product.refuse_to_connect(None);
        assert_made(&world, &run).await;
        assert_eq!(world.run(&run).await.epoch, 1);
    });
}

#[test]
fn an_attempt_whose_actor_breaks_off_is_made_again() {
    trapped(|trap| async move {
        let run = gone_on_after(trap, 5, "progress was not written").await;
        assert_eq!(run.epoch, 1, "under the same lease");
    });
}

#[test]
fn a_run_in_which_nothing_moves_is_tried_again_and_fails_in_the_end() {
    trapped(|_| async move {
        let world = world(6).await;
        world.product.hang_when_asked(1);
        let _engine = started(world.worker());
        let begun = Instant::now();
        assert_made(&world, &world.order().await).await;
        assert!((1_800..1_900).contains(&begun.elapsed().as_secs()), "after {:?}", begun.elapsed());

        world.product.hang_when_asked(u32::MAX);
        let run = ended(&world, &world.order().await, DAY).await;
        let error = run.error.expect("a reason");
        assert_eq!((run.status, error.code.as_str()), (RunStatus::Failed, "retry"));
        assert!(error.message.contains("nothing has moved for 30 minutes"), "{}", error.message);
        world.product.hang_when_asked(0);
        assert_made(&world, &world.order().await).await;
    });
}

#[test]
fn a_run_is_cancelled_within_five_seconds_while_it_waits_for_another_attempt() {
    trapped(|_| async move {
        let mut world = world(7).await;
        world.settings.retry_base = Duration::from_secs(3600);
        world.settings.retry_cap = Duration::from_secs(3600);
        world.product.refuse_to_connect(Some(ConnectorError::RateLimited));
        let _engine = started(world.worker());
        let run = world.order().await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(world.run(&run).await.status, RunStatus::Running);
        order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("the wish is kept");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.run(&run).await.status, RunStatus::Cancelled);
    });
}

#[test]
fn a_run_is_cancelled_within_five_seconds_while_its_product_does_not_answer() {
    trapped(|_| async move {
        let world = world(8).await;
        world.product.hang_when_asked(1);
        let _engine = started(world.worker());
        let run = world.order().await;
        sleep(Duration::from_secs(60)).await;
        order::cancel_run(&world.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("the wish is kept");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.run(&run).await.status, RunStatus::Cancelled);
    });
}
