//! The engine with all of its actors on the embedded stores: how many runs it starts and ends a second, what sources cost that
//! only wait, and what many runs cost that live at once. `benches/README.md` says how to run it and what came out.
//!
//! A run here does nothing but run: its product refuses at once. What is measured is the row and the message of its order, the
//! intake, the claim under a lease, all actors, the end and every event, durable each.

#[path = "support/measure.rs"]
mod measure;
#[path = "../tests/support/servers/process.rs"]
mod process;
#[path = "support/slow_product.rs"]
mod slow_product;
#[path = "support/workers.rs"]
mod workers;

use std::{
    io,
    process::{Command, ExitCode},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use listbackup_engine::{
    actors::{Drain, Engine, Roles},
    model::{ActivityKind, Job, job::Schedule, run::Trigger},
    run::order,
};
use process::Server;
use tokio::{sync::Semaphore, task::JoinHandle};
use workers::World;

/// Requests under way at a time.
const REQUESTS: usize = 32;
const DISPATCHED: usize = 30_000;
const DUE: usize = 20_000;
/// Runs under way at a time, of those.
const DUE_SLOTS: usize = 256;
const IDLE_SOURCES: usize = 10_000;
const IDLE_TIME: Duration = Duration::from_secs(60);
const LIVE_RUNS: usize = 1_000;
const LIVE_TIME: Duration = Duration::from_secs(60);

const PARTS: [&str; 4] = ["dispatch", "due", "idle", "live"];
/// Makes this program the product of live runs.
const SERVE: &str = "serve";

fn main() -> io::Result<ExitCode> {
    let mut given = std::env::args().skip(1);
    let (part, product) = (given.next().unwrap_or_default(), given.next().filter(|given| given.starts_with("http")));
    match (part.as_str(), product) {
        (SERVE, _) => slow_product::serve()?,
        ("dispatch", Some(_)) => workers::on_system(dispatch()),
        ("due", Some(_)) => workers::on_system(due()),
        ("idle", Some(_)) => workers::on_system(idle()),
        ("live", Some(product)) => workers::on_system(live(&product)),
        (chosen, _) => measure_parts(chosen)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one part, or all, each in a process of its own beside the product's.
fn measure_parts(chosen: &str) -> io::Result<()> {
    let program = std::env::current_exe()?;
    let product = Server::start(&[program.as_os_str(), SERVE.as_ref()], &[]);
    for part in PARTS.iter().filter(|part| **part == chosen || !PARTS.contains(&chosen)) {
        let cost = measure::run(Command::new(&program).args([*part, &product.url()]))?;
        print!("{}", String::from_utf8_lossy(&cost.output));
        let peak_mib = cost.peak_rss_kib as f64 / 1024.0;
        println!("  whole process: {:.1} CPU s, peak {peak_mib:.0} MiB", cost.cpu_seconds);
    }
    Ok(())
}

/// Orders one run after another from many sides, and waits for the end of all.
async fn dispatch() {
    let world = World::new(REQUESTS).await;
    let jobs = world.jobs(2 * REQUESTS, &Schedule::Manual).await;
    let engine = Engine::start(world.ctx.clone(), Roles::All);
    let (ends, started) = (Arc::new(Semaphore::new(REQUESTS)), Instant::now());
    let follower = follow_ends(&world, DISPATCHED, &ends);
    for n in 0..DISPATCHED {
        ends.acquire().await.expect("open").forget();
        let (world, job) = (world.clone(), jobs[n % jobs.len()].clone());
        tokio::spawn(async move { order_one(&world, &job).await });
    }
    follower.await.expect("all ended");
    let elapsed = started.elapsed();
    let mut waits = world.product.waits();
    waits.sort_unstable();
    let at = |share: usize| waits[waits.len() * share / 100].as_secs_f64() * 1000.0;
    println!(
        "dispatch, one at a time from {REQUESTS} sides: {:.0} runs/s; from request to start p50 {:.1} ms, p99 {:.1} ms",
        DISPATCHED as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99)
    );
    engine.send(Drain).await.expect("the root answers");
}

/// Adds a permit for each run that has ended, from now on, until so many have.
fn follow_ends(world: &World, runs: usize, ends: &Arc<Semaphore>) -> JoinHandle<()> {
    let (mut events, ends) = (world.ctx.ports.events.follow(&world.scope), ends.clone());
    tokio::spawn(async move {
        let mut ended = 0;
        while ended < runs {
            let event = events.next().await.expect("the bus lives");
            if event.kind == ActivityKind::RunFailed {
                ended += 1;
                ends.add_permits(1);
            }
        }
    })
}

/// Runs that the scheduler orders in batches, since the jobs of all are due at the same time.
async fn due() {
    let world = World::new(DUE_SLOTS).await;
    world.due_jobs(DUE).await;
    let follower = follow_ends(&world, DUE, &Arc::new(Semaphore::new(0)));
    let started = Instant::now();
    let engine = Engine::start(world.ctx.clone(), Roles::All);
    follower.await.expect("all ended");
    println!("{DUE} jobs due at the same time: {:.0} runs/s", DUE as f64 / started.elapsed().as_secs_f64());
    engine.send(Drain).await.expect("the root answers");
}

async fn order_one(world: &World, job: &Job) {
    world.product.asked(job);
    let trigger = Trigger::Manual { by: "bench".to_owned() };
    order::order_run(&world.ctx.ports, &world.scope, job, trigger, None).await.expect("an order");
}

/// Sources with schedules that are not due.
async fn idle() {
    let world = World::new(4).await;
    world.jobs(IDLE_SOURCES, &Schedule::Interval { every_seconds: 24 * 60 * 60 }).await;
    let engine = Engine::start(world.ctx.clone(), Roles::All);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = workers::cpu_seconds();
    tokio::time::sleep(IDLE_TIME).await;
    let busy = (workers::cpu_seconds() - before) / IDLE_TIME.as_secs_f64();
    println!("{IDLE_SOURCES} idle sources: {:.2} % of a core, {:.0} MiB now", busy * 100.0, workers::rss_mib());
    engine.send(Drain).await.expect("the root answers");
}

/// Runs that live at once, of a product at `url` that takes half a second for a page of ten records.
async fn live(url: &str) {
    let world = World::new(LIVE_RUNS).await;
    world.product.be(slow_product::integration("slow", url));
    let jobs = world.jobs(LIVE_RUNS, &Schedule::Manual).await;
    let engine = Engine::start(world.ctx.clone(), Roles::All);
    for job in &jobs {
        order_one(&world, job).await;
    }
    while world.product.waits().len() < LIVE_RUNS {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (before, pages_before) = (workers::cpu_seconds(), world.pages_read().await);
    tokio::time::sleep(LIVE_TIME).await;
    let busy = (workers::cpu_seconds() - before) / LIVE_TIME.as_secs_f64();
    let pages = (world.pages_read().await - pages_before) as f64 / LIVE_TIME.as_secs_f64();
    println!(
        "{LIVE_RUNS} live runs: {pages:.0} pages/s, {:.0} % of a core, {:.0} MiB now, {} threads",
        busy * 100.0,
        workers::rss_mib(),
        workers::threads()
    );
    engine.send(Drain).await.expect("the root answers");
}
