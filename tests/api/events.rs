//! Following a run and an account live.

use futures::StreamExt;
use listbackup_engine::{
    model::Run,
    ports::Condition,
    store::{self, key},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::kit::{App, PATIENCE, client::Caller};

/// One event: its id, its name, its data.
#[derive(Debug)]
struct Event(Option<String>, String, Value);

/// Reads events of a stream until it ends, or `wanted` have come.
async fn read(caller: &Caller, path: &str, wanted: usize) -> Vec<Event> {
    let answer = caller.request(Method::GET, path).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut pieces = answer.bytes_stream();
    let mut text = String::new();
    while events(&text).len() < wanted {
        match timeout(PATIENCE, pieces.next()).await.expect("an event or the end") {
            Some(piece) => text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap()),
            None => break,
        }
    }
    events(&text)
}

fn events(text: &str) -> Vec<Event> {
    let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
    let field = |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let blocks = whole.split("\n\n").filter(|block| block.contains("data: "));
    blocks
        .map(|block| {
            let data = serde_json::from_str(&field(block, "data: ").unwrap()).unwrap();
            Event(field(block, "id: "), field(block, "event: ").unwrap(), data)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_followed_from_its_beginning_to_its_end() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let run = ada.caller.post(&format!("/jobs/{}/run", job["id"].as_str().unwrap()), &json!({})).await;
    let run = run.expect(202)["id"].as_str().unwrap().to_owned();
    let path = format!("/runs/{run}/events");
    let follower = tokio::spawn({
        let (caller, path) = (ada.caller.clone(), path.clone());
        async move { read(&caller, &path, usize::MAX).await }
    });
    let cancelled = ada.caller.post(&format!("/runs/{run}/cancel"), &json!({})).await;
    assert_eq!(cancelled.expect(202)["status"], "cancelled");
    let seen = timeout(PATIENCE, follower).await.expect("the stream ends with the run").unwrap();
    let kinds: Vec<_> = seen.iter().map(|event| event.1.as_str()).collect();
    assert_eq!(kinds, ["run.queued", "run.cancelled"]);
    assert!(seen.iter().all(|event| event.2["run_id"] == *run));

    // Coming back with the last id gives what came after it.
    let after_first = ada.caller.with("Last-Event-ID", seen[0].0.clone().unwrap());
    let rest = read(&after_first, &path, usize::MAX).await;
    assert_eq!(rest.iter().map(|event| event.1.as_str()).collect::<Vec<_>>(), ["run.cancelled"]);
    app.stop().await;
}

/// Its bus is not heard here; its row is read.
#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_a_run_that_another_process_executes_is_told() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let run = ada.caller.post(&format!("/jobs/{}/run", job["id"].as_str().unwrap()), &json!({})).await;
    let run = run.expect(202)["id"].as_str().unwrap().to_owned();
    let scope = app.system.account(ada.account_id);
    let place = key(job["id"].as_str().unwrap(), &run);
    let mut found = app.store.get::<Run>(&scope, place).await.unwrap();
    found.row.progress.requests = 7;
    let write = store::put(&found.row, Condition::Version(found.version)).unwrap();
    app.store.transact(&scope, vec![write]).await.unwrap();
    let seen = read(&ada.caller, &format!("/runs/{run}/events"), 2).await;
    let kinds: Vec<_> = seen.iter().map(|event| event.1.as_str()).collect();
    assert_eq!(kinds, ["run.queued", "run.progress"]);
    assert_eq!((&seen[1].0, &seen[1].2["details"]["progress"]["requests"]), (&None, &json!(7)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_followed_live_and_hears_nothing_of_others() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let eve = app.person("eve").await;
    let source = app.source(&ada, "Shop").await;
    let theirs = app.source(&eve, "Shop").await;
    let follower = tokio::spawn({
        let caller = eve.caller.clone();
        async move { read(&caller, "/activity/stream", 1).await }
    });
    // Until the follower is there, nothing is promised: make events until it has heard one.
    while !follower.is_finished() {
        app.job(&ada, source).await;
        app.job(&eve, theirs).await;
    }
    let heard = follower.await.unwrap();
    assert!(heard.iter().all(|event| event.2["source_id"] == theirs.to_string()), "{heard:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_ends_its_streams() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let answer = ada.caller.request(Method::GET, "/activity/stream").send().await.unwrap();
    let reader = tokio::spawn(answer.bytes());
    timeout(PATIENCE, app.stop()).await.expect("the server stops");
    timeout(PATIENCE, reader).await.expect("the stream ends").unwrap().unwrap();
}
