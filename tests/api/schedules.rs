//! When jobs run, and what becomes of their times: set, bounded, previewed, shown.

use jiff::{SignedDuration, Timestamp};
use listbackup_engine::{
    model::{AccountId, Job, run::Trigger, scope::SystemScope},
    ports::Condition,
    run::order::order_run,
    store::{key, put},
};
use serde_json::{Value, json};

use crate::kit::App;

fn nightly() -> Value {
    json!({ "kind": "cron", "expression": "30 2 * * *", "time_zone": "Europe/Berlin" })
}

fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap_or_else(|| panic!("a time: {value}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_job_has_policies_that_spread_load_and_lose_nothing() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let make = |schedule: Value| {
        let (caller, body) = (ada.caller.clone(), json!({ "source_id": source, "name": "j", "schedule": schedule }));
        async move { caller.post("/jobs", &body).await.expect(201).clone() }
    };
    let job = make(nightly()).await;
    assert_eq!((&job["overlap"], &job["catch_up"]["kind"]), (&"queue_one".into(), &"latest".into()));
    assert_eq!(job["jitter_seconds"], 300);
    let delay = time(&job["next_start_at"]).duration_since(time(&job["next_due_at"]));
    assert!((SignedDuration::ZERO..=SignedDuration::from_secs(300)).contains(&delay), "{delay:?}");
    let every = make(json!({ "kind": "interval", "every_seconds": 3600 })).await;
    assert_eq!((&every["jitter_seconds"], &every["next_start_at"]), (&0.into(), &every["next_due_at"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_set_and_every_wrong_one_is_named() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let wrong = json!({ "source_id": source, "name": "j", "schedule": nightly(), "overlap": "sometimes",
        "catch_up": { "kind": "all", "window_seconds": 59 }, "jitter_seconds": 21_601 });
    let refused = ada.caller.post("/jobs", &wrong).await;
    assert_eq!(refused.pointers(), ["/overlap", "/catch_up/window_seconds", "/jitter_seconds"], "{}", refused.text);
    let right = json!({ "source_id": source, "name": "j", "schedule": nightly(), "overlap": "skip",
        "catch_up": { "kind": "all", "window_seconds": 86_400 }, "jitter_seconds": 0 });
    let job = ada.caller.post("/jobs", &right).await.expect(201).clone();
    assert_eq!((&job["overlap"], &job["catch_up"]["window_seconds"]), (&"skip".into(), &86_400.into()));
    assert_eq!(job["next_start_at"], job["next_due_at"]);

    let path = format!("/jobs/{}", job["id"].as_str().unwrap());
    let wrong = json!({ "overlap": 1, "catch_up": { "kind": "all" }, "jitter_seconds": -1 });
    let pointers = ["/overlap", "/catch_up/window_seconds", "/jitter_seconds"];
    assert_eq!(ada.caller.patch(&path, &wrong).await.pointers(), pointers);
    let changed =
        ada.caller.patch(&path, &json!({ "overlap": "cancel_running", "catch_up": { "kind": "none" } })).await;
    assert_eq!(changed.expect(200)["overlap"], "cancel_running");
    assert_eq!((&changed.body["catch_up"], &changed.body["jitter_seconds"]), (&json!({ "kind": "none" }), &0.into()));
    assert_eq!(changed.body["next_due_at"], job["next_due_at"], "what is due stays");
    let spread = ada.caller.patch(&path, &json!({ "jitter_seconds": 21_600 })).await;
    assert_eq!(spread.expect(200)["next_due_at"], job["next_due_at"]);
    assert!(time(&spread.body["next_start_at"]) > time(&spread.body["next_due_at"]));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_tells_when_a_job_is_due_and_when_it_starts() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let trial = |jitter: Value| {
        let (caller, body) = (ada.caller.clone(), json!({ "schedule": nightly(), "jitter_seconds": jitter }));
        async move { caller.post("/jobs/schedule/preview", &body).await }
    };
    assert_eq!(trial(21_601.into()).await.pointers(), ["/jitter_seconds"]);
    for (jitter, most) in [(Value::from(0), 0), (Value::from(60), 60), (Value::Null, 300)] {
        let preview = trial(jitter.clone()).await;
        let next = preview.expect(200)["next"].as_array().unwrap().clone();
        assert_eq!(next.len(), 5);
        for due in next {
            let delay = time(&due["starts_by"]).duration_since(time(&due["due_at"]));
            assert_eq!(delay.as_secs(), most, "{due}");
        }
    }
    let source = app.source(&ada, "Shop").await;
    let body = json!({ "source_id": source, "name": "j", "schedule": nightly() });
    let job = ada.caller.post("/jobs", &body).await.expect(201).clone();
    let saved = ada.caller.get(&format!("/jobs/{}/schedule", job["id"].as_str().unwrap())).await;
    let next = saved.expect(200)["next"].as_array().unwrap().clone();
    assert_eq!(
        (next.len(), &next[0]["due_at"], &next[0]["starts_at"]),
        (5, &job["next_due_at"], &job["next_start_at"])
    );
    app.stop().await;
}

/// The job as stored, and a write that says its time came a second ago.
async fn overdue(app: &App, account_id: AccountId, job_id: &str) -> Timestamp {
    let (ctx, scope) = (app.ctx(), SystemScope::of_this_process().account(account_id));
    let mut job = ctx.store.get::<Job>(&scope, key(account_id, job_id)).await.unwrap();
    let due_ms = ctx.ports.clock.now().as_millisecond() - 1000;
    (job.row.due_at_ms, job.row.next_due_ms) = (Some(due_ms), Some(due_ms));
    ctx.store.transact(&scope, vec![put(&job.row, Condition::Version(job.version)).unwrap()]).await.unwrap();
    Timestamp::from_millisecond(due_ms).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_has_come_keeps_its_run_whatever_is_changed() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let changes = [
        ("", json!({ "name": "Other" }), false),
        ("", json!({ "overlap": "skip", "catch_up": { "kind": "none" } }), false),
        ("", json!({ "schedule": { "kind": "interval", "every_seconds": 7200 } }), true),
        ("", json!({ "jitter_seconds": 0 }), true),
        ("/pause", json!({}), true),
    ];
    for (action, change, moves_times) in changes {
        let body = json!({ "source_id": source, "name": "j", "schedule": nightly() });
        let made = ada.caller.post("/jobs", &body).await.expect(201).clone();
        let id = made["id"].as_str().unwrap();
        let due_at = overdue(&app, ada.account_id, id).await;
        let changed = match action {
            "" => ada.caller.patch(&format!("/jobs/{id}"), &change).await,
            action => ada.caller.post(&format!("/jobs/{id}{action}"), &change).await,
        };
        let still_due = changed.expect(200).get("next_due_at").map(time) == Some(due_at);
        let runs = ada.caller.get(&format!("/jobs/{id}/runs")).await.expect(200)["items"].as_array().unwrap().clone();
        let of_time: Vec<_> = runs.iter().filter(|run| time(&run["trigger"]["due_at"]) == due_at).collect();
        assert_eq!((still_due, of_time.len()), (!moves_times, usize::from(moves_times)), "{change}{action}: {runs:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_run_says_how_late_it_is() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    let made = app.job(&ada, source).await;
    let ctx = app.ctx();
    let scope = SystemScope::of_this_process().account(ada.account_id);
    let place = key(ada.account_id, made["id"].as_str().unwrap());
    let job = ctx.store.get::<Job>(&scope, place).await.unwrap().row;
    for late_seconds in [0, 95] {
        let due_at = job.created_at + SignedDuration::from_secs(i64::try_from(late_seconds).unwrap());
        let trigger = Trigger::Schedule { due_at, late_seconds };
        let run = order_run(&ctx.ports, &scope, &job, trigger, None).await.unwrap();
        let shown = ada.caller.get(&format!("/runs/{}", run.run_id)).await;
        let late = (late_seconds > 0).then(|| Value::from(late_seconds));
        assert_eq!(shown.expect(200)["trigger"].get("late_seconds"), late.as_ref());
    }
    app.stop().await;
}
