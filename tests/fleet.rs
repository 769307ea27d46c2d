//! A fleet on AWS: processes of one role each share the work, and any of them may die at any time.
//!
//! `LISTBACKUP_KILLS=100` kills more often, over more work; `LISTBACKUP_TEST_SEED` sets the moments.

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "support/servers/mod.rs"]
mod servers;

use std::time::Duration;

use fleet::Fleet;
use running::sandbox;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_backs_a_product_up_and_people_see_its_records() {
    if let Err(reason) = servers::aws::installed() {
        return println!("skipped: {reason}");
    }
    let fleet = Fleet::new().await;
    let product = sandbox(500, 1_000);
    let processes = ["worker", "scheduler", "indexer"].map(|role| fleet.process(role));
    let server = fleet.process("serve");
    let api = server.api_of(&fleet.access_key(&server).await);
    let source = api.connect_sandbox(&product.url()).await;
    let run = api.sync(&source).await;
    let ended = api.ended(&run).await;
    assert_eq!(ended["status"], "succeeded", "{ended}");
    println!("{ended}");
    for process in processes.into_iter().chain([server]) {
        assert!(process.stop().success(), "each role ends in good order");
    }
}
