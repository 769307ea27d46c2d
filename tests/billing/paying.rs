//! Subscribing, paying, failing to pay, cancelling, resuming.

use jiff::SignedDuration;
use listbackup_engine::{
    model::{Job, Run, RunStatus, run::Trigger},
    ports::{Condition, Query, SortRange},
    run::due,
    store::{key, put},
    tables::RUNS,
};
use serde_json::{Value, json};

use crate::{
    kit::Person,
    shop::{Shop, until},
};

async fn kinds(of: &Person) -> Vec<String> {
    let listed = of.caller.get("/activity?limit=200").await;
    let items = listed.expect(200)["items"].as_array().unwrap().clone();
    let kind = |item: &Value| item["kind"].as_str().unwrap().to_owned();
    items.iter().map(kind).filter(|kind| kind.starts_with("billing.")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_pays_at_the_checkout_has_the_plan_and_sees_what_was_paid() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let shown = ada.caller.get("/billing/subscription").await;
    assert_eq!((&shown.expect(200)["plan"]["name"], &shown.body["payments"]), (&"free".into(), &true.into()));
    ada.caller.post("/billing/portal", &json!({})).await.expect(409);
    assert_eq!(ada.caller.get("/billing/invoices").await.expect(200)["items"], json!([]));

    shop.subscribed(&ada.caller, "team").await;
    let shown = ada.caller.get("/billing/subscription").await;
    assert_eq!((&shown.expect(200)["status"], &shown.body["is_payer"]), (&"active".into(), &true.into()));
    assert_eq!(shown.body["plan"]["limits"]["sources"], 4);
    assert_eq!(ada.caller.get("/billing/contacts").await.expect(200), &json!({ "emails": [ada.email] }));
    let invoices = ada.caller.get("/billing/invoices?limit=1").await;
    let invoice = &invoices.expect(200)["items"][0];
    assert_eq!(
        (&invoice["status"], &invoice["total"], &invoice["currency"]),
        (&"paid".into(), &990.into(), &"eur".into())
    );
    let cards = ada.caller.get("/billing/payment-methods").await;
    assert_eq!(
        (&cards.expect(200)["items"][0]["brand"], &cards.body["items"][0]["last4"]),
        (&"visa".into(), &"4242".into())
    );
    let portal = ada.caller.post("/billing/portal", &json!({ "return_path": "/billing" })).await;
    assert!(portal.expect(200)["url"].as_str().unwrap().starts_with("https://billing.stripe.com/"));
    let again = ada.caller.post("/billing/checkout", &json!({ "plan": "firm" })).await;
    assert_eq!(again.expect(409)["code"], "already_subscribed");
    assert_eq!(kinds(&ada).await, ["billing.subscription_changed"]);
    shop.letter(&ada.email, "From now on the plan team holds.").await;
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_names_its_version_and_what_repeats_is_done_once() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let once = ada.caller.with("idempotency-key", "1");
    let body = json!({ "plan": "team" });
    let first = once.post("/billing/checkout", &body).await;
    assert_eq!(first.expect(200), once.post("/billing/checkout", &body).await.expect(200));
    let other = ada.caller.post("/billing/checkout", &body).await;
    assert_ne!(first.body, *other.expect(200));
    let requests = shop.stripe.requests().await;
    let ours: Vec<_> = requests.iter().filter(|request| !request[2].is_null()).collect();
    assert!(ours.len() >= 4 && ours.iter().all(|request| request[2] == "2024-06-20"), "{ours:?}");
    assert!(ours.iter().all(|request| (request[0] == "POST") == request[3].is_string()), "{ours:?}");
    assert_eq!(ours.iter().filter(|request| request[1] == "/v1/customers").count(), 1);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_elsewhere_after_paying_and_wrong_plans_are_named() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    for path in ["https://evil.example/", "//evil.example/", "billing", "/\\evil.example"] {
        let refused = ada.caller.post("/billing/checkout", &json!({ "plan": "team", "return_path": path })).await;
        assert_eq!(refused.pointers(), ["/return_path"], "{path}");
    }
    for plan in ["free", "none"] {
        let refused = ada.caller.post("/billing/checkout", &json!({ "plan": plan })).await;
        assert_eq!(refused.pointers(), ["/plan"], "{plan}");
    }
    let none = ada.caller.post("/billing/subscription", &json!({ "plan": "team" })).await;
    assert_eq!(none.expect(409)["code"], "no_subscription");
    assert_eq!(ada.caller.delete("/billing/subscription").await.expect(409)["code"], "no_subscription");
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_is_changed_cancelled_resumed_and_ends() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let id = shop.subscribed(&ada.caller, "team").await;
    let changed = ada.caller.post("/billing/subscription", &json!({ "plan": "firm" })).await;
    assert_eq!((&changed.expect(200)["plan"]["name"], &changed.body["cancels"]), (&"firm".into(), &false.into()));
    let cancelled = ada.caller.delete("/billing/subscription").await;
    assert_eq!((&cancelled.expect(200)["plan"]["name"], &cancelled.body["cancels"]), (&"firm".into(), &true.into()));
    assert!(cancelled.body["period_ends_at"].is_string());
    assert_eq!(shop.stripe.get(&format!("subscriptions/{id}")).await["cancel_at_period_end"], true);
    let resumed = ada.caller.post("/billing/subscription", &json!({ "plan": "firm" })).await;
    assert_eq!((&resumed.expect(200)["plan"]["name"], &resumed.body["cancels"]), (&"firm".into(), &false.into()));

    shop.stripe.delete(&format!("subscriptions/{id}")).await;
    let over = until(&ada.caller, "/billing/subscription", |shown| shown["plan"]["name"] == "free").await;
    assert_eq!((&over["status"], &over["is_payer"]), (&Value::Null, &true.into()));
    assert_eq!(kinds(&ada).await.len(), 5);
    assert_eq!(ada.caller.get("/billing/invoices").await.expect(200)["items"].as_array().unwrap().len(), 1);
    shop.subscribed(&ada.caller, "team").await;
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_account_keeps_its_data_and_backups_stop_after_a_week_until_it_is_paid() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let id = shop.subscribed(&ada.caller, "team").await;
    let (source_id, job) = shop.job(&ada).await;
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    shop.stripe.door(&format!("customers/{customer}/card"), &[("card", "pm_card_chargeCustomerFail")]).await;
    shop.stripe.door(&format!("subscriptions/{id}/renew"), &[]).await;
    let unpaid = until(&ada.caller, "/billing/subscription", |shown| shown["status"] == "past_due").await;
    assert!(unpaid["runs_stop_at"].is_string() && unpaid["plan"]["name"] == "team", "{unpaid}");
    shop.letter(&ada.email, "A payment for ListBackup failed").await;
    ada.caller.post(&format!("{job}/run"), &json!({})).await.expect(202);

    shop.unpaid_for(ada.account_id, SignedDuration::from_hours(7 * 24 + 1)).await;
    let refused = ada.caller.post(&format!("{job}/run"), &json!({})).await;
    assert_eq!(refused.expect(402)["code"], "payment_overdue", "{}", refused.text);
    assert_eq!(fired(&shop, &ada, &job).await, (RunStatus::Skipped, Some("payment_overdue".to_owned())));
    let export = json!({ "source_id": source_id, "format": "jsonl" });
    for path in ["/sources", "/data/snapshots", "/data/exports", "/data/restores"] {
        ada.caller.get(path).await.expect(200);
    }
    assert_ne!(ada.caller.post("/data/exports", &export).await.status, 402);

    shop.stripe.door(&format!("customers/{customer}/card"), &[("card", "pm_card_visa")]).await;
    shop.stripe.door(&format!("subscriptions/{id}/pay"), &[]).await;
    until(&ada.caller, "/billing/subscription", |shown| shown["status"] == "active").await;
    ada.caller.post(&format!("{job}/run"), &json!({})).await.expect(202);
    assert_eq!(fired(&shop, &ada, &job).await, (RunStatus::Queued, None));
    let kinds = kinds(&ada).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "billing.payment_failed").count(), 1, "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| *kind == "billing.payment_made").count(), 1, "{kinds:?}");
    shop.app.stop().await;
}

/// What becomes of the next time of a job's schedule.
pub async fn fired(shop: &Shop, of: &Person, job: &str) -> (RunStatus, Option<String>) {
    let interval = json!({ "schedule": { "kind": "interval", "every_seconds": 3600 }, "overlap": "cancel_running" });
    of.caller.patch(job, &interval).await.expect(200);
    let (app, job_id) = (&shop.app, job.rsplit('/').next().unwrap());
    let mut found = app.store.get::<Job>(&app.system, key(of.account_id, job_id)).await.unwrap();
    let due_ms = app.ports.clock.now().as_millisecond() - 1;
    (found.row.due_at_ms, found.row.next_due_ms) = (Some(due_ms), Some(due_ms));
    let write = put(&found.row, Condition::Version(found.version)).unwrap();
    app.store.transact(&app.system, vec![write]).await.unwrap();
    due::fire_due(&app.ports, &app.system, app.plans()).await.unwrap();
    let query = Query {
        table: &RUNS,
        index: None,
        partition: job_id.to_owned(),
        sort: SortRange::All,
        descending: true,
        limit: 1000,
        after: None,
    };
    let runs: Vec<Run> = app.store.all(&app.system, query).await.unwrap();
    let is_it =
        |run: &&Run| matches!(&run.trigger, Trigger::Schedule { due_at, .. } if due_at.as_millisecond() == due_ms);
    let run = runs.iter().find(is_it).unwrap();
    (run.status, run.error.as_ref().map(|error| error.code.clone()))
}
