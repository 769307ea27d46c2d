//! A fleet on AWS: processes of one role each share the work, and any of them may die at any time.
//!
//! `LISTBACKUP_KILLS=100` kills more often, over more work; `LISTBACKUP_TEST_SEED` sets the moments.

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "these tests have no data directory")]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "support/servers/mod.rs"]
mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fleet::Fleet;
use rand::{Rng, SeedableRng, rngs::StdRng};
use running::{Api, Running, sandbox, truth};
use serde_json::{Value, json};

const JOBS: usize = 20;
/// Kills of a run of the tests.
const KILLS: u32 = 10;
/// Contacts of the product for each kill: so many that the jobs outlast the kills.
const CONTACTS_PER_KILL: u64 = 60;
/// Requests a second that the product allows.
const RATE_LIMIT: u32 = 60;
/// Streams that are compared.
const STREAMS: [&str; 3] = ["contacts", "companies", "events"];
/// Workers, and after them the scheduler.
const MORTALS: [&str; 4] = ["worker", "worker", "worker", "scheduler"];
/// How long people wait for what comes by itself soon.
const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_survives_kills_and_every_job_makes_its_snapshot_once() {
    if let Err(reason) = servers::aws::installed() {
        return println!("skipped: {reason}");
    }
    let (seed, kills) =
        (number("LISTBACKUP_TEST_SEED", rand::rng().random()), number("LISTBACKUP_KILLS", KILLS.into()));
    println!("{kills} kills (LISTBACKUP_KILLS), seed {seed} (LISTBACKUP_TEST_SEED)");
    let mut random = StdRng::seed_from_u64(seed);
    let product = sandbox(CONTACTS_PER_KILL * kills, RATE_LIMIT);
    let fleet = Fleet::new().await;
    let servers = [fleet.process("serve"), fleet.process("serve")];
    let key = fleet.access_key(&servers[0]).await;
    // What one of them wrote the other one knows.
    let [one, other] = [&servers[0], &servers[1]].map(|server| server.api_of(&key));
    let indexer = fleet.process("indexer");
    let mut mortals: Vec<Option<Running>> = MORTALS.iter().map(|role| Some(fleet.process(role))).collect();
    let mut runs = Vec::new();
    for job in 0..JOBS {
        let source = one.connect_sandbox_as(&format!("Sandbox {job}"), &product.url(), None).await;
        runs.push(other.sync(&source).await);
    }
    for _ in 0..kills {
        let life = Duration::from_millis(random.random_range(0..1_500));
        let _has_ended = one.ends_within(runs.last().expect("there are runs"), life).await;
        let victim = random.random_range(0..MORTALS.len());
        mortals[victim].take().expect("it lives").kill();
        mortals[victim] = Some(fleet.process(MORTALS[victim]));
    }
    println!("{} of {JOBS} runs have not ended after the last kill", live(&one, &runs).await);
    for run in &runs {
        let ended = one.ended(run).await;
        assert_eq!(ended["status"], "succeeded", "seed {seed}: {ended}");
    }
    assert_each_once_and_whole(&other, &product.url(), seed).await;
    for process in mortals.into_iter().flatten().chain([indexer]).chain(servers) {
        assert!(process.stop().success(), "each role ends in good order");
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().expect("it is a number"))
}

async fn live(api: &Api, runs: &[String]) -> usize {
    let mut live = 0;
    for run in runs {
        let run = api.call(reqwest::Method::GET, &format!("/runs/{run}"), None).await;
        live += usize::from(matches!(run["status"].as_str(), Some("queued" | "running")));
    }
    live
}

/// One snapshot of each source, all of them sound, equal to the product, and in the index of files.
async fn assert_each_once_and_whole(api: &Api, product: &str, seed: u64) {
    let snapshots = api.all("/data/snapshots").await;
    let sources: BTreeSet<&str> = snapshots.iter().filter_map(|snapshot| snapshot["source_id"].as_str()).collect();
    assert_eq!((snapshots.len(), sources.len()), (JOBS, JOBS), "seed {seed}: one snapshot of each source");
    let mut truths = BTreeMap::new();
    for stream in STREAMS {
        truths.insert(stream, truth(product, stream).await);
    }
    assert!(truths.values().all(|records| !records.is_empty()));
    for snapshot in &snapshots {
        let id = snapshot["id"].as_str().expect("an id");
        let verification = json!({ "level": "data", "max_seconds": 120 });
        let path = format!("/data/snapshots/{id}/verify");
        let verified = api.call(reqwest::Method::POST, &path, Some(&verification)).await;
        assert_eq!(
            (&verified["sound"], &verified["complete"]),
            (&json!(true), &json!(true)),
            "seed {seed}: {verified}"
        );
        for stream in STREAMS {
            let held = api.all(&format!("/data/snapshots/{id}/streams/{stream}/records")).await;
            let held: BTreeMap<String, Value> =
                held.into_iter().map(|found| (found["record"]["id"].to_string(), found["record"].clone())).collect();
            assert!(held == truths[stream], "seed {seed}: {stream} of {id} differs from the source");
        }
    }
    tokio::time::timeout(SOON, indexed(api, &snapshots)).await.expect("all snapshots are indexed");
    println!("{JOBS} of {JOBS} snapshots equal the source, none came twice, all verify and are indexed");
}

/// Returns once each snapshot has its files in the index.
async fn indexed(api: &Api, snapshots: &[Value]) {
    let wanted: BTreeSet<&str> = snapshots.iter().filter_map(|snapshot| snapshot["id"].as_str()).collect();
    loop {
        let files = api.all("/data/files").await;
        let found: BTreeSet<&str> = files.iter().filter_map(|file| file["snapshot_id"].as_str()).collect();
        if found.is_superset(&wanted) {
            return;
        }
    }
}
