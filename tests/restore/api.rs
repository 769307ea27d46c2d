//! Over the API.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Place, running::Running};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_over_the_api_is_a_run_that_plans_first_and_tells_every_outcome() {
    let place = Place::new(1000, 0);
    let up = Running::up(&place.program);
    let api = up.api();
    let source = api.connect_sandbox(&place.sandbox.url()).await;
    let run = api.sync(&source).await;
    let snapshot = api.ended(&run).await["snapshot_id"].as_str().expect("a snapshot").to_owned();
    place.delete("/companies/2").await;
    let writes = place.writes().await;

    let path = format!("/data/snapshots/{snapshot}/restore");
    let plan = ordered(&up, &path, &json!({})).await;
    assert_eq!(
        (plan["dry_run"].clone(), plan["figures"]["deals"]["created"].clone()),
        (json!(true), json!(25)),
        "{plan}"
    );
    assert_eq!(place.writes().await, writes);

    let done =
        ordered(&up, &path, &json!({ "dry_run": false, "streams": [{ "name": "companies" }, { "name": "deals" }] }))
            .await;
    assert_eq!((&done["status"], &done["figures"]["deals"]["created"]), (&json!("succeeded"), &json!(25)), "{done}");
    assert_eq!(place.writes().await["POST /companies/{id}/deals"], 25);

    let id = done["id"].as_str().expect("an id");
    let (mut outcomes, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.call(Method::GET, &format!("/data/restores/{id}/records?limit=10{cursor}"), None).await;
        outcomes.extend(page["items"].as_array().expect("a list").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(outcomes.len(), 26);
    assert!(outcomes.iter().all(|outcome| outcome["outcome"] == "created" && outcome["new_key"].is_string()));
    assert_eq!((&outcomes[0]["stream"], &outcomes[0]["key"]), (&json!("companies"), &json!("2")));

    let list = api.call(Method::GET, "/data/restores", None).await;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(list["items"][0], done, "the newest comes first");
    let log = api.call(Method::GET, "/activity?limit=200", None).await;
    let told = log["items"].as_array().expect("a list").iter().filter(|event| event["details"]["restore"].is_object());
    assert_eq!(told.count(), 2, "the end of each restore is told: {log}");
}

/// Orders a restore and waits for its run; the restore after it.
async fn ordered(up: &Running, path: &str, body: &Value) -> Value {
    let api = up.api();
    let restore = api.call(Method::POST, path, Some(body)).await;
    let run = api.ended(restore["run_id"].as_str().expect("a run")).await;
    assert_eq!(run["restore_id"], restore["id"]);
    api.call(Method::GET, &format!("/data/restores/{}", restore["id"].as_str().expect("an id")), None).await
}
