//! What plans limit is refused where it is made, with what is used and how to raise it; also when many try at once.

use futures::future::join_all;
use listbackup_engine::model::{ActivityKind, Role, RunStatus};
use serde_json::{Value, json};

use crate::{
    kit::{Person, client::Answer},
    paying::fired,
    shop::{Shop, new_source},
};

#[track_caller]
fn assert_refused(answer: &Answer, limit: &str, payer: &Person) {
    let problem = answer.expect(402);
    assert_eq!(problem["code"], "plan_limit");
    let detail = problem["detail"].as_str().unwrap();
    for word in [limit, "`free`", "/billing/checkout", &payer.account_id.to_string()] {
        assert!(detail.contains(word), "{word} is not in {detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_sources_at_once_as_many_are_made_as_the_plan_allows() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let bodies: Vec<Value> = (0..20).map(|number| new_source(&format!("Shop {number}"))).collect();
    let answers = join_all(bodies.iter().map(|body| ada.caller.post("/sources", body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_refused(answer, "2 sources", &ada);
    }
    let listed = ada.caller.get("/sources").await;
    assert_eq!(listed.expect(200)["items"].as_array().unwrap().len(), 2);
    // One that goes makes place, and another plan makes more.
    let first = listed.body["items"][0]["id"].as_str().unwrap();
    ada.caller.delete(&format!("/sources/{first}")).await.expect(204);
    ada.caller.post("/sources", &new_source("Again")).await.expect(201);
    ada.caller.post("/sources", &new_source("More")).await.expect(402);
    shop.subscribed(&ada.caller, "team").await;
    ada.caller.post("/sources", &new_source("More")).await.expect(201);
    shop.app.settled().await;
    let usage = ada.caller.get("/billing/usage").await;
    assert_eq!((&usage.expect(200)["sources"], &usage.body["plan"]["name"]), (&3.into(), &"team".into()));
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_invitations_at_once_as_many_are_sent_as_there_are_places() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let path = format!("/accounts/{}/invitations", ada.account_id);
    let body = |number: usize| json!({ "email": format!("guest{number}@example.com"), "role": "viewer" });
    let bodies: Vec<Value> = (0..10).map(body).collect();
    let answers = join_all(bodies.iter().map(|body| ada.caller.post(&path, body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_refused(answer, "2 members", &ada);
    }
    // Who accepts takes the place of the invitation; who leaves makes place.
    let open = ada.caller.get(&path).await;
    let (id, email) = (&open.expect(200)["items"][0]["id"], open.body["items"][0]["email"].as_str().unwrap());
    let guest = shop.app.person(email.split('@').next().unwrap()).await;
    ada.caller.post(&format!("{path}/{}/resend", id.as_str().unwrap()), &Value::Null).await.expect(200);
    let code = json!({ "code": shop.app.code_for(&guest.email) });
    guest.caller.post("/accounts/invitations/accept", &code).await.expect(200);
    ada.caller.post(&path, &body(11)).await.expect(402);
    ada.caller.delete(&format!("/accounts/{}/members/{}", ada.account_id, guest.user_id)).await.expect(204);
    ada.caller.post(&path, &body(11)).await.expect(201);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_runs_at_once_as_many_are_ordered_as_the_month_has_and_a_schedule_skips() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let (source_id, job) = shop.job(&ada).await;
    let run = format!("{job}/run");
    let once = ada.caller.with("idempotency-key", "1");
    let first = once.post(&run, &json!({})).await;
    let body = json!({});
    let answers = join_all((0..10).map(|_| ada.caller.post(&run, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 2, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert_refused(answer, "3 runs", &ada);
    }
    assert_refused(&ada.caller.post(&format!("/sources/{source_id}/sync"), &body).await, "3 runs", &ada);
    assert_eq!(once.post(&run, &body).await.expect(202)["id"], first.expect(202)["id"], "a repeat is no further run");
    let id = first.body["id"].as_str().unwrap();
    ada.caller.post(&format!("/runs/{id}/cancel"), &body).await.expect(202);
    assert_refused(&ada.caller.post(&format!("/runs/{id}/retry"), &body).await, "3 runs", &ada);
    assert_eq!(fired(&shop, &ada, &job).await, (RunStatus::Skipped, Some("plan_limit".to_owned())));
    assert_eq!(ada.caller.get("/billing/usage").await.expect(200)["runs_this_month"], 3);
    shop.subscribed(&ada.caller, "team").await;
    ada.caller.post(&run, &body).await.expect(202);
    assert_eq!(fired(&shop, &ada, &job).await, (RunStatus::Queued, None));
    assert_eq!(ada.caller.get("/billing/usage").await.expect(200)["runs_this_month"], 5);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_stop_while_the_newest_snapshots_take_more_than_the_plan_has() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    shop.subscribed(&ada.caller, "team").await;
    let (source_id, job) = shop.job(&ada).await;
    for (live_bytes, status) in [(999, 202), (1000, 402)] {
        let figures = json!({ "liveRecords": 1, "liveBytes": live_bytes });
        shop.app.ended(ada.account_id, source_id, (ActivityKind::RunSucceeded, 0), figures).await;
        shop.app.settled().await;
        ada.caller.post(&format!("{job}/run"), &json!({})).await.expect(status);
    }
    assert_eq!(ada.caller.get("/billing/usage").await.expect(200)["storage_bytes"], 1000);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_kept_no_longer_than_the_plan_says() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let made = ada.caller.post("/sources", &new_source("Shop")).await;
    assert_eq!(made.expect(201)["retention"]["daily"], 30, "without rules of its own it has those of the plan");
    let path = format!("/sources/{}", made.body["id"].as_str().unwrap());
    let with = |changes: Value| {
        let mut source = new_source("Other");
        source.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        source
    };
    for wrong in [
        json!({ "retention": { "daily": 31 } }),
        json!({ "retention": { "monthly": 1 } }),
        json!({ "retention": {} }),
        json!({ "lock_days": 31 }),
    ] {
        assert_refused(&ada.caller.post("/sources", &with(wrong.clone())).await, "30 days", &ada);
        assert_refused(&ada.caller.patch(&path, &wrong).await, "30 days", &ada);
    }
    assert_refused(&ada.caller.patch(&path, &json!({ "retention": null })).await, "30 days", &ada);
    ada.caller
        .patch(&path, &json!({ "retention": { "hourly": 48, "weekly": 4 }, "name": "Renamed" }))
        .await
        .expect(200);
    shop.subscribed(&ada.caller, "team").await;
    ada.caller.patch(&path, &json!({ "retention": null })).await.expect(200);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_for_owners_admins_and_the_billing_role_and_plans_are_for_all() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    for (name, role, may) in [
        ("adm", Role::Admin, true),
        ("bil", Role::Billing, true),
        ("ope", Role::Operator, false),
        ("vie", Role::Viewer, false),
    ] {
        let member = shop.app.member(name, &ada, role).await;
        member.caller.get("/billing/plans").await.expect(200);
        for path in ["subscription", "usage", "invoices", "payment-methods", "contacts"] {
            let status = member.caller.get(&format!("/billing/{path}")).await.status;
            assert_eq!(status, if may { 200 } else { 403 }, "{name} {path}");
        }
        let contacts = member.caller.put("/billing/contacts", &json!({ "emails": ["Books@Example.com"] })).await;
        assert_eq!(contacts.status, if may { 200 } else { 403 }, "{name}");
    }
    let wrong = json!({ "emails": ["books", "books@example.com", "a@b@c"] });
    assert_eq!(ada.caller.put("/billing/contacts", &wrong).await.pointers(), ["/emails/0", "/emails/2"]);
    let kept = ada.caller.get("/billing/contacts").await;
    assert_eq!(kept.expect(200), &json!({ "emails": ["books@example.com"] }));
    shop.app.stop().await;
}
