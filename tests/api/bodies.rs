//! What is wrong with a request is told, all of it at once, where it is.

use serde_json::json;

use crate::kit::{App, client::send};

#[tokio::test(flavor = "multi_thread")]
async fn every_problem_of_a_body_is_told_with_its_pointer() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let body = json!({ "name": "", "source_id": "job_1", "schedule": { "kind": "cron" }, "is_admin": true });
    let answer = ada.caller.post("/jobs", &body).await;
    let mut pointers = answer.pointers();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        ["/is_admin", "/name", "/schedule/expression", "/schedule/time_zone", "/source_id"],
        "{}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.body["code"], "invalid");
    assert_eq!(answer.body["request_id"], answer.header("x-request-id"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_fields_cannot_be_set_from_outside() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let stored = json!({ "accountId": "acc_x", "account_id": "acc_x", "role": "owner", "state": "active", "lease": {},
        "head": {}, "created_at": "2020-01-01T00:00:00Z", "createdAt": 1, "next_due_ms": 1 });
    let fields: Vec<String> = stored.as_object().unwrap().keys().map(|name| format!("/{name}")).collect();
    for path in ["/auth/me".to_owned(), format!("/sources/{source}"), format!("/accounts/{}", ada.account_id)] {
        assert_eq!(ada.caller.patch(&path, &stored).await.pointers(), fields, "{path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_cannot_be_read_is_refused_where_it_is_wrong() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let trial = |schedule| json!({ "schedule": schedule });
    let preview = |schedule| {
        let caller = ada.caller.clone();
        async move { caller.post("/jobs/schedule/preview", &trial(schedule)).await }
    };
    assert_eq!(preview(json!({ "kind": "weekly" })).await.pointers(), ["/schedule/kind"]);
    assert_eq!(
        preview(json!({ "kind": "interval", "every_seconds": 5 })).await.pointers(),
        ["/schedule/every_seconds"]
    );
    let wrong = preview(json!({ "kind": "cron", "expression": "99 * * * *", "time_zone": "Mars/Olympus" })).await;
    assert!(wrong.pointers().iter().all(|pointer| pointer.starts_with("/schedule")), "{}", wrong.text);
    let right = preview(json!({ "kind": "cron", "expression": "30 2 * * *", "time_zone": "Europe/Berlin" })).await;
    assert_eq!(right.expect(200)["next"].as_array().unwrap().len(), 5);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_is_refused_for_a_field_that_its_kind_does_not_have_and_a_policy_may_be_null() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let job = |schedule| json!({ "name": "Shop", "source_id": source, "schedule": schedule, "catch_up": null });
    let answer = ada.caller.post("/jobs", &job(json!({ "kind": "manual", "every_seconds": 60 }))).await;
    assert_eq!(answer.pointers(), ["/schedule/every_seconds"], "{}", answer.text);
    ada.caller.post("/jobs", &job(json!({ "kind": "manual" }))).await.expect(201);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_none_and_a_number_beyond_64_bits_are_refused_where_they_stand() {
    let app = App::start().await;
    let nobody = app.nobody();
    for path in ["/auth/reset", "/auth/verify/resend"] {
        assert_eq!(nobody.post(path, &json!({ "email": "ada" })).await.pointers(), ["/email"], "{path}");
    }
    let ada = app.person("ada").await;
    assert_eq!(ada.caller.get("/activity/chain?after=9223372036854775808").await.pointers(), ["?after"]);
    let keyed = ada.caller.with("idempotency-key", "with a space");
    assert_eq!(keyed.post("/accounts", &json!({ "name": "Mine" })).await.status, 400);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_fitting_json_body_is_refused() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let patch = |kind: &'static str, body: String| {
        let request = ada.caller.request(reqwest::Method::PATCH, "/auth/me").header("content-type", kind).body(body);
        async move { (request, send).0.send().await.unwrap() }
    };
    let json = "application/json";
    assert_eq!(patch("text/plain", "{}".to_owned()).await.status(), 415);
    assert_eq!(patch(json, "{\"name\":".to_owned()).await.status(), 400);
    assert_eq!(patch(json, "[1]".to_owned()).await.status(), 422);
    assert_eq!(patch(json, format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))).await.status(), 400);
    assert_eq!(patch(json, format!("{{\"name\":\"{}\"}}", "x".repeat(2_000_000))).await.status(), 413);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn query_parameters_are_checked_like_bodies() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let answer = ada.caller.get("/activity?limit=0&from=yesterday&job_id=x&nonsense=1").await;
    let mut pointers = answer.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers, ["?from", "?job_id", "?limit", "?nonsense"]);
    assert_eq!(ada.caller.get("/jobs?limit=5&limit=6").await.pointers(), ["?limit"]);
    app.stop().await;
}
