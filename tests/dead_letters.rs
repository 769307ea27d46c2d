//! Messages that were given up, on the command line: who looks sees what they were for, and gives them another try.

#[allow(dead_code, reason = "each test binary uses a part of the kit")]
#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;

use std::time::Duration;

use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{Run, scope::SystemScope},
    ports::{Query, QueueName, SortRange},
    run::order::RunOrder,
    store::Store,
    tables::RUNS,
};
use program::{Program, binary, run};
use running::Running;
use serde_json::{Value, json};
use tokio::process::Command;

fn dead_letters(program: &Program, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.arg("dead-letters").args(arguments).arg("--data-dir").arg(program.data_dir()).kill_on_drop(true);
    command
}

async fn listed(program: &Program) -> Vec<Value> {
    let printed = run(dead_letters(program, &["list"]).arg("--json")).await;
    let document: Value = serde_json::from_slice(&printed).expect("one document");
    document["dead_letters"].as_array().expect("a list").clone()
}

/// A directory with an ended run, and three dead letters: the run's order, what is no order, and an object to index.
async fn world() -> (Program, Run) {
    let program = Program::new();
    let file = program.data_dir().with_file_name("orders.jsonl");
    std::fs::write(&file, "{\"id\":1}\n").expect("a file");
    run(program.command("import").args(["--source", "shop", "--stream", "orders", "--key", "id"]).arg(&file)).await;
    let keys = run(Command::new(binary()).args(["keys", "list", "--json", "--data-dir"]).arg(program.data_dir())).await;
    let keys: Value = serde_json::from_slice(&keys).expect("one document");
    let account = keys["accounts"][0]["account_id"].as_str().expect("an id").to_owned();

    let ports = EmbeddedStores::open(program.data_dir(), OpenMode::Write).expect("nobody else has it").ports();
    let query = Query {
        table: &RUNS,
        index: Some("by-account"),
        partition: account,
        sort: SortRange::All,
        descending: false,
        limit: 10,
        after: None,
    };
    let mut runs: Vec<Run> =
        Store::new(ports.tables.clone()).all(&SystemScope::of_this_process(), query).await.expect("rows");
    let order = serde_json::to_value(RunOrder::of(&runs[0])).expect("an order");
    // What waits there of the import itself is none of this.
    while !ports
        .queue
        .receive(QueueName::Data, 10, Duration::from_secs(600), Duration::ZERO)
        .await
        .expect("a queue")
        .is_empty()
    {}
    let bodies =
        [(QueueName::Jobs, order), (QueueName::Jobs, json!("nonsense")), (QueueName::Data, json!({ "path": "x" }))];
    for (queue, body) in bodies {
        ports.queue.send(queue, vec![body], Duration::ZERO).await.expect("sent");
        for _ in 0..6 {
            ports.queue.receive(queue, 10, Duration::ZERO, Duration::ZERO).await.expect("a queue");
        }
    }
    (program, runs.remove(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_sees_what_a_dead_letter_was_for_and_puts_it_back() {
    let (program, order) = world().await;
    let letters = listed(&program).await;
    let queues: Vec<_> = letters.iter().map(|letter| letter["queue"].as_str().unwrap_or_default()).collect();
    assert_eq!(queues, ["jobs", "jobs", "data"], "{letters:#?}");
    let first = &letters[0];
    assert_eq!(first["order"]["runId"], order.run_id.to_string());
    assert_eq!(
        (&first["source"], &first["run_status"], &first["deliveries"]),
        (&"shop".into(), &"succeeded".into(), &5.into())
    );
    let text = String::from_utf8(run(&mut dead_letters(&program, &["list"])).await).expect("text");
    assert!(
        text.contains(&format!("{} of shop: succeeded", order.run_id)) && text.contains("3 dead letters"),
        "{text}"
    );

    let id = first["id"].as_str().expect("an id");
    let text = String::from_utf8(run(&mut dead_letters(&program, &["redrive", id])).await).expect("text");
    assert!(text.contains("its run has ended, so nothing will come of it"), "{text}");
    assert_eq!(listed(&program).await, letters[1..]);
    let printed = run(&mut dead_letters(&program, &["redrive", "--all", "--json"])).await;
    let document: Value = serde_json::from_slice(&printed).expect("one document");
    assert_eq!(document["redriven"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed(&program).await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_one_is_refused_and_nothing_moves() {
    let (program, _) = world().await;
    let letters = listed(&program).await;
    let known = letters[0]["id"].as_str().expect("an id");
    let output = dead_letters(&program, &["redrive", known, "msg_999"]).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("msg_999") && told.contains("nothing was redriven"), "{told}");
    assert_eq!(listed(&program).await, letters);
    let output = dead_letters(&program, &["redrive"]).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(2), "say which");
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_process_they_are_listed_and_its_api_puts_them_back() {
    let (program, order) = world().await;
    let up = Running::up(&program);
    let letters = listed(&program).await;
    assert_eq!(letters.len(), 3);
    let id = letters[0]["id"].as_str().expect("an id");
    let output = dead_letters(&program, &["redrive", id]).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{told}");
    assert!(told.contains("another process writes") && told.contains("POST /jobs/dead-letters/{id}/redrive"), "{told}");
    let path = format!("/jobs/dead-letters/{id}/redrive");
    let back = up.api().call(reqwest::Method::POST, &path, None).await;
    assert_eq!(back["run_id"], order.run_id.to_string());
    assert_eq!(listed(&program).await.len(), 2);
}
