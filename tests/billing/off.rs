//! A server without payments, and one without plans.

use listbackup_engine::{
    billing::Plans,
    model::SourceId,
    ports::{Query, SortRange},
    tables::BILLING,
};
use serde_json::{Value, json};

use crate::{
    kit::App,
    shop::{PLANS, new_source},
};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_default_plan_holds_and_what_needs_stripe_says_so() {
    let app = App::start_selling(Plans::read(PLANS).unwrap(), None).await;
    let ada = app.person("ada").await;
    for path in ["/billing/plans", "/billing/subscription", "/billing/usage"] {
        assert_eq!(ada.caller.get(path).await.expect(200)["payments"], false, "{path}");
    }
    assert_eq!(ada.caller.get("/billing/subscription").await.expect(200)["plan"]["name"], "free");
    for path in ["/billing/invoices", "/billing/payment-methods"] {
        assert_eq!(ada.caller.get(path).await.expect(409)["code"], "payments_off", "{path}");
    }
    for (path, body) in [
        ("/billing/checkout", json!({ "plan": "team" })),
        ("/billing/portal", json!({})),
        ("/billing/subscription", json!({ "plan": "team" })),
        ("/billing/webhooks", json!({})),
    ] {
        assert_eq!(ada.caller.post(path, &body).await.expect(409)["code"], "payments_off", "{path}");
    }
    assert_eq!(ada.caller.delete("/billing/subscription").await.expect(409)["code"], "payments_off");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_plans_nothing_is_limited_counted_or_written() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let plans = ada.caller.get("/billing/plans").await;
    let free = json!({ "name": "free", "title": "Free", "is_default": true, "limits": {} });
    assert_eq!(plans.expect(200), &json!({ "payments": false, "plans": [free] }));
    for number in 0..3 {
        ada.caller.post("/sources", &new_source(&format!("Shop {number}"))).await.expect(201);
    }
    let other = ada.caller.post("/sources", &new_source("Other")).await;
    let source_id: SourceId = other.expect(201)["id"].as_str().unwrap().parse().unwrap();
    let job = app.job(&ada, source_id).await;
    ada.caller.post(&format!("/jobs/{}/run", job["id"].as_str().unwrap()), &json!({})).await.expect(202);
    let invited = json!({ "email": "bob@example.com", "role": "viewer" });
    ada.caller.post(&format!("/accounts/{}/invitations", ada.account_id), &invited).await.expect(201);
    let query = Query {
        table: &BILLING,
        index: None,
        partition: ada.account_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 10,
        after: None,
    };
    assert!(app.store.page(&app.system, query).await.unwrap().items.is_empty());
    app.settled().await;
    let usage = ada.caller.get("/billing/usage").await;
    assert_eq!((&usage.expect(200)["sources"], &usage.body["members"]), (&4.into(), &2.into()));
    assert_eq!(usage.body["runs_this_month"], Value::Null);
    app.stop().await;
}
