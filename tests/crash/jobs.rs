//! Twenty jobs in one program that is killed in a loop, and what a single kill costs, counted by the product.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    time::{Duration, Instant},
};

use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{Run, SourceId, scope::SystemScope},
    ports::{Query, SortRange},
    run::{
        RunSettings,
        checkpoint::{Checkpoint, Stage},
    },
    snapshot::{SnapshotStore, StoreSettings},
    store::Store,
    tables::RUNS,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use zip::ZipArchive;

use crate::{
    program::{self, Program},
    running::{self, Running, sandbox},
    seed,
};

const JOBS: usize = 20;
/// Kills of a run of the tests.
const KILLS: u32 = 25;
/// Contacts of the product for each kill: so many that the jobs outlast the kills.
const CONTACTS_PER_KILL: u64 = 30;
/// Requests a second that the product allows.
const RATE_LIMIT: u32 = 60;
/// Streams that are compared.
const STREAMS: [&str; 3] = ["contacts", "companies", "events"];
/// Records of a page of contacts.
const PAGE: u64 = 200;

fn kills() -> u32 {
    match std::env::var("LISTBACKUP_KILLS") {
        Ok(kills) => kills.parse().expect("LISTBACKUP_KILLS is a number"),
        Err(_) => KILLS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_jobs_survive_kills_in_a_row_and_each_makes_its_snapshot_once() {
    let (seed, kills) = (seed(), kills());
    println!("{kills} kills (LISTBACKUP_KILLS), seed {seed} (LISTBACKUP_TEST_SEED)");
    let mut random = StdRng::seed_from_u64(seed);
    let product = sandbox(CONTACTS_PER_KILL * u64::from(kills), RATE_LIMIT);
    let program = Program::new();
    let mut up = Running::up(&program);
    let mut runs = Vec::new();
    for job in 0..JOBS {
        let source = up.api().connect_sandbox_as(&format!("Sandbox {job}"), &product.url(), None).await;
        runs.push(up.api().sync(&source).await);
    }
    let mut in_time = 0;
    for _ in 0..kills {
        // Some die while they start, some in the middle of several runs.
        let life = Duration::from_millis(random.random_range(0..1_500));
        in_time += u32::from(!up.api().ends_within(runs.last().expect("there are runs"), life).await);
        up.kill();
        up = Running::up(&program);
    }
    println!("{in_time} of {kills} kills came before the last run had ended");
    for run in &runs {
        let ended = up.api().ended(run).await;
        assert_eq!(ended["status"], "succeeded", "seed {seed}: {ended}");
    }
    up.kill();
    assert_each_once_and_whole(&program, &product.url(), seed).await;
}

/// One snapshot for each job, all of them sound, and equal to the product.
async fn assert_each_once_and_whole(program: &Program, product: &str, seed: u64) {
    let verified = program.json("verify", &["--data"]).await;
    assert_eq!(verified["clean"], true, "seed {seed}: {verified}");
    let listed = program.json("snapshots", &[]).await;
    let snapshots = listed.as_array().expect("a list");
    let sources: BTreeSet<&str> = snapshots.iter().filter_map(|snapshot| snapshot["source_id"].as_str()).collect();
    assert_eq!((snapshots.len(), sources.len()), (JOBS, JOBS), "seed {seed}: one snapshot of each source");
    let mut truth = BTreeMap::new();
    for stream in STREAMS {
        truth.insert(stream, running::truth(product, stream).await);
    }
    assert!(truth.values().all(|records| !records.is_empty()));
    for snapshot in snapshots {
        let snapshot = snapshot["snapshot_id"].as_str().expect("an id");
        let held = exported(program, snapshot).await;
        assert!(held == truth, "seed {seed}: {snapshot} differs from the source");
    }
    println!("{JOBS} of {JOBS} snapshots equal the source, none came twice, verify --data is clean");
}

/// The records of a snapshot, by stream and by the text of their id.
async fn exported(program: &Program, snapshot: &str) -> BTreeMap<&'static str, BTreeMap<String, Value>> {
    let file = program.data_dir().with_file_name(format!("{snapshot}.zip"));
    let mut command = program.command("export");
    command.args(["--snapshot", snapshot]).arg("--out").arg(&file);
    program::run(command.args(STREAMS.iter().flat_map(|stream| ["--stream", stream]))).await;
    let mut archive = ZipArchive::new(File::open(&file).expect("export wrote the file")).expect("an archive");
    let records = STREAMS.map(|stream| {
        let member = archive.by_name(&format!("{stream}.jsonl")).expect("a stream's file");
        let lines = BufReader::new(member).lines().map(|line| line.expect("text"));
        let records = lines.map(|line| serde_json::from_str::<Value>(&line).expect("each line is a record"));
        (stream, records.map(|record| (record["id"].to_string(), record)).collect())
    });
    BTreeMap::from(records)
}

/// Requests for pages of contacts that the product has answered.
async fn pages(product: &str) -> u64 {
    let answer = reqwest::get(format!("{product}/_sandbox/stats")).await.expect("the sandbox answers");
    let stats: Value = answer.json().await.expect("JSON");
    let of_contacts = |(path, count): (&String, &Value)| path.contains("/contacts").then(|| count.as_u64()).flatten();
    let asked: u64 = stats["requests"].as_object().into_iter().flatten().filter_map(of_contacts).sum();
    asked - stats["rate_limited"].as_u64().expect("a number")
}

/// Records that the checkpoint of the one live run covers, as a process finds it that is about to go on.
async fn checkpointed(program: &Program) -> u64 {
    let stores = EmbeddedStores::open(program.data_dir(), OpenMode::Read).expect("nobody writes there");
    let (ports, system) = (stores.ports(), SystemScope::of_this_process());
    let live = Query {
        table: &RUNS,
        index: Some("live"),
        partition: "live".to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: 10,
        after: None,
    };
    let runs: Vec<Run> = Store::new(ports.tables.clone()).all(&system, live).await.expect("rows");
    let [run] = runs.as_slice() else { panic!("one run is live: {runs:?}") };
    let source_id: SourceId = run.source_id;
    let snapshots = SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), StoreSettings::default());
    let store = snapshots.source(&system.account(run.account_id), source_id).await.expect("the source's store");
    let path = run.checkpoints.get("contacts").expect("there is a checkpoint");
    match store.load_checkpoint::<Checkpoint>(path).await.expect("it is whole").stage {
        Stage::Reading { writer, .. } => writer.figures().records,
        Stage::Done { .. } => panic!("the stream was read to its end before the kill"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_run_goes_on_at_once_and_what_was_checkpointed_is_not_read_again() {
    let contacts = 100 * PAGE;
    let product = sandbox(contacts, RATE_LIMIT / 3);
    let program = Program::new();
    let up = Running::up(&program);
    let source = up.api().connect_sandbox_as("Sandbox", &product.url(), Some(&["contacts"])).await;
    let run = up.api().sync(&source).await;
    while pages(&product.url()).await < 60 {
        assert!(!up.api().ends_within(&run, Duration::from_millis(50)).await, "it is killed in the middle");
    }
    up.kill();
    let (before, covered) = (pages(&product.url()).await, checkpointed(&program).await);

    let killed = Instant::now();
    let up = Running::up(&program);
    while pages(&product.url()).await == before {
        assert!(!up.api().ends_within(&run, Duration::from_millis(20)).await, "it has something left to read");
    }
    let pause = killed.elapsed();
    let RunSettings { lease, .. } = RunSettings::default();
    assert!(pause < lease + Duration::from_secs(5), "the next process goes on after {pause:?}");
    let ended = up.api().ended(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");

    let (pages_left, read) = ((contacts - covered).div_ceil(PAGE), pages(&product.url()).await - before);
    let again = read.saturating_sub(pages_left);
    let covered_pages = covered / PAGE;
    println!(
        "{before} pages before the kill, {covered_pages} of them covered by a checkpoint; {read} after it, {again} of them \
         covered before; the next process asked for its first page after {pause:?}"
    );
    assert!(covered_pages >= 20, "it was killed before it had checkpointed much");
    assert!(again * 100 <= covered_pages, "{again} of {covered_pages} covered pages were read again");
}
