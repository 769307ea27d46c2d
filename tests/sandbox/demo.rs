//! `listbackup up --sandbox`, again and again over one data directory.

use std::net::TcpListener;

use reqwest::Method;
use serde_json::Value;

use crate::{
    program::Program,
    running::{Running, truth},
};

/// The sandbox's source, once a backup of it that the start ordered has ended; and how that ended.
async fn started(program: &Program) -> (Running, Value, Value) {
    let running = Running::up_with(program, &["--sandbox"]);
    let api = running.api();
    let sources = api.call(Method::GET, "/sources", None).await;
    let named = |source: &&Value| source["name"] == "Sandbox";
    let source = sources["items"].as_array().expect("sources").iter().find(named).expect("the sandbox's").clone();
    let jobs = api.call(Method::GET, &format!("/jobs?source_id={}", source["id"].as_str().expect("an id")), None).await;
    let job = jobs["items"][0]["id"].as_str().expect("the start ordered a backup");
    let runs = api.call(Method::GET, &format!("/jobs/{job}/runs?limit=1"), None).await;
    let run = api.ended(runs["items"][0]["id"].as_str().expect("an id")).await;
    (running, source, run)
}

#[tokio::test]
async fn the_sandbox_is_where_it_was_and_another_address_is_taken_up_by_its_source() {
    let program = Program::new();
    let (running, source, run) = started(&program).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let url = source["settings"]["base_url"].as_str().expect("an address").to_owned();
    let other = running.api().connect_sandbox_as("Another", &url, Some(&["companies"])).await;
    running.kill();

    let (running, again, run) = started(&program).await;
    assert_eq!((&again["id"], &again["settings"]["base_url"]), (&source["id"], &url.clone().into()));
    assert_eq!(run["status"], "succeeded", "{run}");
    let api = running.api();
    let other = api.ended(&api.sync(&other).await).await;
    assert_eq!(other["status"], "succeeded", "a source that a person made goes on: {other}");
    let stored = program.export(other["snapshot_id"].as_str().expect("a snapshot"), "companies", "id").await;
    assert_eq!(stored, truth(&url, "companies").await);
    running.kill();

    let taken = TcpListener::bind(url.trim_start_matches("http://")).expect("nothing listens there any more");
    let (running, moved, run) = started(&program).await;
    assert_eq!(moved["id"], source["id"]);
    assert_ne!(moved["settings"]["base_url"], *url);
    assert_eq!(run["status"], "succeeded", "{run}");
    drop((running, taken));
}
