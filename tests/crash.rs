//! Pull the plug: `kill -9` of the running program at random moments of backups, again and again. Nothing is lost, nothing comes
//! twice, what is stored verifies, and what was checkpointed is not read again.
//!
//! `LISTBACKUP_KILLS=100` kills more often, over more work; `LISTBACKUP_TEST_SEED` sets the moments.

#[path = "crash/jobs.rs"]
mod jobs;
#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;

use std::time::Duration;

use program::Program;
use rand::{Rng, SeedableRng, rngs::StdRng};
use running::{Api, Running, sandbox};
use serde_json::{Value, json};

/// Times that the program is killed.
const KILLS: u32 = 8;
/// Contacts in the product. With the limit below a backup takes a good while longer than a life of the program.
const CONTACTS: u64 = 10_000;
/// Requests a second that the product allows.
const RATE_LIMIT: u32 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn kills_while_the_product_changes_lose_nothing_and_the_snapshot_equals_the_source() {
    let seed = seed();
    println!("seed {seed} (LISTBACKUP_TEST_SEED sets it)");
    let mut random = StdRng::seed_from_u64(seed);
    let product = sandbox(CONTACTS, RATE_LIMIT);
    let program = Program::new();

    let mut up = Running::up(&program);
    let source = up.api().connect_sandbox(&product.url()).await;
    let mut run = up.api().sync(&source).await;
    let mut backups = 0;
    for kill in 0..KILLS {
        // Some die while they start, some in the middle of a read.
        let life = Duration::from_millis(random.random_range(0..1_500));
        if up.api().ends_within(&run, life).await {
            backups += 1;
            product_changes(&product.url(), kill.into()).await;
            run = up.api().sync(&source).await;
        }
        up.kill();
        up = Running::up(&program);
    }
    println!("{backups} backups ended between the kills");
    let ended = up.api().ended(&run).await;
    assert_eq!(ended["status"], "succeeded", "seed {seed}: {ended}");
    up.kill();

    let verified = program.json("verify", &["--data"]).await;
    assert_eq!(verified["clean"], true, "seed {seed}: {verified}");
    let snapshot = ended["snapshot_id"].as_str().expect("a run that succeeded names its snapshot");
    for stream in ["contacts", "companies", "events"] {
        let stored = program.export(snapshot, stream, "id").await;
        let truth = running::truth(&product.url(), stream).await;
        assert_eq!(stored.len(), truth.len(), "seed {seed}: records of {stream}");
        assert!(stored == truth, "seed {seed}: {stream} differs from the source");
    }
}

async fn product_changes(product: &str, seed: u64) {
    let body = json!({ "change": 0.01, "insert": 0.005, "delete": 0.002, "seed": seed });
    let _: Value = Api::post(&format!("{product}/_sandbox/mutate"), &body).await;
}

fn seed() -> u64 {
    match std::env::var("LISTBACKUP_TEST_SEED") {
        Ok(seed) => seed.parse().expect("LISTBACKUP_TEST_SEED is a number"),
        Err(_) => rand::rng().random(),
    }
}

/// Runs where the data directory is a disk of 6 MiB: `$0` the program, `$1` the data directory, `$2` the product.
const ON_A_SMALL_DISK: &str = r#"
mount -t tmpfs -o size=6m,mode=700 none "$1" || exit 77
backup() { "$0" backup --json --data-dir "$1" --integration sandbox --set "base_url=$2" \
  --set credentials.auth_type=api_key --set credentials.api_key=sandbox-key $3; echo "exit $?"; }
backup "$1" "$2" '--streams tags'
backup "$1" "$2"
"$0" verify --data --json --data-dir "$1"; echo "exit $?"
"$0" snapshots --json --data-dir "$1"; echo "exit $?"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_fails_the_run_clearly_and_the_store_still_verifies() {
    let product = sandbox(CONTACTS, 10_000);
    let program = Program::new();
    std::fs::create_dir(program.data_dir()).expect("a place for the small disk");
    let mut command = tokio::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK]);
    command.arg(program::binary()).arg(program.data_dir()).arg(product.url());
    let output = match command.output().await {
        Ok(output) if output.status.success() => output,
        _ => return println!("skipped: this machine lets tests make no small disk"),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    let steps = steps(&printed);
    let codes: Vec<_> = steps.iter().map(|(_, code)| *code).collect();
    assert_eq!(codes, ["exit 0", "exit 1", "exit 0", "exit 0"], "{printed}\n{told}");
    let told = steps[1].0["error"]["message"].as_str().expect("a reason");
    assert!(told.contains("no space left") && told.contains("free some"), "{told}");
    assert_eq!(steps[2].0["clean"], true, "{printed}");
    let snapshots = steps[3].0.as_array().expect("a list");
    assert_eq!(snapshots.len(), 1, "the snapshot before is the only one: {printed}");
    assert_eq!(snapshots[0]["snapshot_id"], steps[0].0["snapshot_id"], "{printed}");
}

/// What each step printed, with its line `exit CODE`.
fn steps(printed: &str) -> Vec<(Value, &str)> {
    let mut steps = Vec::new();
    let mut document = String::new();
    for line in printed.lines() {
        if line.starts_with("exit ") {
            steps.push((serde_json::from_str(&document).unwrap_or_default(), line));
            document.clear();
        } else {
            document.push_str(line);
        }
    }
    steps
}
