//! Repeats, concurrent edits, and what a change leaves behind.

use listbackup_engine::model::Role;
use serde_json::json;

use crate::kit::App;

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_key_makes_nothing_new() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let body = json!({ "source_id": source, "name": "Nightly", "schedule": { "kind": "manual" } });
    let once = ada.caller.with("Idempotency-Key", "k-1");
    let repeats = futures::future::join_all((0..8).map(|_| once.post("/jobs", &body))).await;
    let ids: Vec<_> = repeats.iter().map(|answer| answer.expect(201)["id"].clone()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(ada.caller.get("/jobs").await.expect(200)["items"].as_array().unwrap().len(), 1);

    let other = json!({ "source_id": source, "name": "Other", "schedule": { "kind": "manual" } });
    assert_eq!(once.post("/jobs", &other).await.expect(422)["code"], "idempotency_key_reused");
    let next = ada.caller.with("Idempotency-Key", "k-2").post("/jobs", &body).await;
    assert_ne!(next.expect(201)["id"], ids[0]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_a_share_of_its_product_s_rates_and_gives_it_back() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let path = format!("/sources/{}", app.source(&ada, "Shop").await);
    for wrong in [0, 101] {
        let refused = ada.caller.patch(&path, &json!({ "rate_share_percent": wrong })).await;
        assert_eq!(refused.pointers(), ["/rate_share_percent"], "{wrong}");
    }
    let shared = ada.caller.patch(&path, &json!({ "rate_share_percent": 60 })).await;
    assert_eq!(shared.expect(200)["rate_share_percent"], 60);
    let kept = ada.caller.patch(&path, &json!({ "name": "Store" })).await;
    assert_eq!(kept.expect(200)["rate_share_percent"], 60);
    let whole = ada.caller.patch(&path, &json!({ "rate_share_percent": null })).await;
    assert!(whole.expect(200)["rate_share_percent"].is_null());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_order_answers_with_the_first_run() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let path = format!("/jobs/{}/run", job["id"].as_str().unwrap());
    let once = ada.caller.with("Idempotency-Key", "k-1");
    let (first, second) = (once.post(&path, &json!({})).await, once.post(&path, &json!({})).await);
    assert_eq!(first.expect(202)["id"], second.expect(202)["id"]);
    let third = ada.caller.post(&path, &json!({})).await;
    assert_ne!(third.expect(202)["id"], first.body["id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_access_key_does_not_show_its_secret_again() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let once = ada.caller.with("Idempotency-Key", "k-1");
    let body = json!({ "name": "ci", "role": "viewer" });
    let (first, second) = (once.post("/auth/keys", &body).await, once.post("/auth/keys", &body).await);
    assert_eq!(first.expect(201)["id"], second.expect(201)["id"]);
    assert!(first.body["secret"].is_string() && second.body["secret"].is_null());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_a_stale_state_is_refused() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let paths = [
        "/auth/me".to_owned(),
        format!("/accounts/{}", ada.account_id),
        format!("/sources/{source}"),
        format!("/jobs/{}", job["id"].as_str().unwrap()),
    ];
    for path in paths {
        let read = ada.caller.get(&path).await;
        let based_on_it = ada.caller.with("If-Match", read.header("etag"));
        let changed = based_on_it.patch(&path, &json!({ "name": "New name" })).await;
        assert_eq!(changed.expect(200)["name"], "New name", "{path}");
        let stale = based_on_it.patch(&path, &json!({ "name": "Lost update" })).await;
        assert_eq!(stale.expect(412)["code"], "stale", "{path}");
        let fresh = ada.caller.with("If-Match", changed.header("etag"));
        fresh.patch(&path, &json!({ "name": "Newer" })).await.expect(200);
        ada.caller.patch(&path, &json!({ "name": "Without a word" })).await.expect(200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_in_the_activity_log_with_who_made_them() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Operator).await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&bob, source).await;
    let job = job["id"].as_str().unwrap();
    bob.caller.post(&format!("/jobs/{job}/pause"), &json!({})).await.expect(200);
    bob.caller.post(&format!("/jobs/{job}/pause"), &json!({})).await.expect(200);
    bob.caller.delete(&format!("/jobs/{job}")).await.expect(204);
    let log = ada.caller.get(&format!("/activity?job_id={job}&actor={}", bob.user_id)).await;
    let kinds: Vec<_> = log.expect(200)["items"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["job.deleted", "job.updated", "job.created"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_source_resumes_and_a_removed_one_takes_its_jobs_along() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = app.job(&ada, source).await;
    let path = format!("/sources/{source}");
    assert_eq!(ada.caller.post(&format!("{path}/pause"), &json!({})).await.expect(200)["state"], "paused");
    assert_eq!(ada.caller.post(&format!("{path}/resume"), &json!({})).await.expect(200)["state"], "active");
    ada.caller.delete(&path).await.expect(204);
    ada.caller.get(&path).await.expect(404);
    ada.caller.get(&format!("/jobs/{}", job["id"].as_str().unwrap())).await.expect(404);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn syncing_a_source_without_jobs_makes_one_job_for_it() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let path = format!("/sources/{source}/sync");
    let body = json!({});
    let (first, second) = tokio::join!(ada.caller.post(&path, &body), ada.caller.post(&path, &body));
    assert_eq!(first.expect(202)["job_id"], second.expect(202)["job_id"]);
    assert_ne!(first.body["id"], second.body["id"]);
    assert_eq!(ada.caller.get("/jobs").await.expect(200)["items"].as_array().unwrap().len(), 1);
    app.stop().await;
}
