//! The way of a new customer, from registering to leaving, over HTTP alone: a real program, a real product, a real localstripe.

#[path = "walkthrough/customer.rs"]
mod customer;
#[path = "support/api/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod kit;
#[path = "walkthrough/place.rs"]
mod place;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "support/servers/mod.rs"]
mod servers;

use serde_json::{Value, json};

use self::{customer::Customer, place::Place};

/// Asks until the answer is as wanted; what happens by itself happens soon.
async fn until(customer: &Customer, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asks = async {
        loop {
            let answer = customer.caller.get(path).await;
            if wanted(answer.expect(200)) {
                return answer.body;
            }
        }
    };
    tokio::time::timeout(kit::PATIENCE, asks).await.expect("it comes soon")
}

/// The plan's limit, a subscription, and a larger one.
async fn pays(place: &Place, ada: &Customer) {
    let refused = ada.caller.post("/sources", &place.by_key("More")).await;
    assert_eq!(refused.expect(402)["code"], "plan_limit");
    ada.subscribe(place, "team").await;
    until(ada, "/billing/subscription", |shown| shown["plan"]["name"] == "team").await;
    ada.post("/sources", &place.by_key("More"), 201).await;
    ada.caller.post("/sources", &place.by_key("Even more")).await.expect(402);
    ada.post("/billing/subscription", &json!({ "plan": "firm" }), 200).await;
    until(ada, "/billing/subscription", |shown| shown["plan"]["name"] == "firm").await;
    ada.post("/sources", &place.by_key("Even more"), 201).await;
    assert_eq!(ada.get("/billing/invoices").await["items"][0]["status"], "paid");
}

#[tokio::test]
async fn a_new_customer_registers_backs_up_pays_looks_back_and_leaves() {
    if let Err(reason) = servers::localstripe::installed() {
        return println!("skipped: {reason}");
    }
    let place = Place::open().await;
    let ada = Customer::register(&place, "ada@example.com").await;
    let account = ada.account.clone();

    // A family and a colleague.
    let child = ada.post(&format!("/accounts/{account}/children"), &json!({ "name": "Branch" }), 201).await;
    let listed = ada.get(&format!("/accounts/{account}/hierarchy")).await;
    assert_eq!(listed["items"][1]["id"], child["id"]);
    let invitation = json!({ "email": "bob@example.com", "role": "viewer" });
    ada.post(&format!("/accounts/{account}/invitations"), &invitation, 201).await;
    let invited = json!({ "code": place.code_for("bob@example.com") });
    let bob = Customer::register(&place, "bob@example.com").await;
    bob.post("/accounts/invitations/accept", &invited, 200).await;

    // The product, signed in by OAuth.
    let source = ada.connect(&place, "Shop").await;
    let tested = ada.post(&format!("/sources/{source}/test"), &Value::Null, 200).await;
    assert_eq!(tested["ok"], true, "{tested}");

    // A schedule, and a run that is watched live.
    let schedule = json!({ "kind": "cron", "expression": "0 3 * * *", "time_zone": "Europe/Berlin" });
    let preview = ada.post("/jobs/schedule/preview", &json!({ "schedule": schedule }), 200).await;
    assert_eq!(preview["next"].as_array().map(Vec::len), Some(5), "{preview}");
    let job = ada.post("/jobs", &json!({ "source_id": source, "name": "Nightly", "schedule": schedule }), 201).await;
    let job = job["id"].as_str().expect("an id").to_owned();
    let first = ada.run(&job).await;
    place.product_moves().await;
    let second = ada.run(&job).await;

    // What changed between the two, and all of it as a file.
    let diff = ada.get(&format!("/data/snapshots/{first}/diff/{second}")).await;
    let changed = diff["streams"].as_array().expect("streams").iter().find(|stream| stream["name"] == "contacts");
    assert!(changed.is_some_and(|stream| stream["added"].as_u64() > Some(0)), "{diff}");
    let file = ada.export(&second, "contacts").await;
    assert_eq!(file, place.truth("contacts").await);

    pays(&place, &ada).await;

    // What it came to.
    let overview = until(&ada, "/analytics/overview", |shown| shown["runs"]["succeeded"] == 2).await;
    assert_eq!(overview["success_percent"], 100, "{overview}");
    let usage = ada.get(&format!("/accounts/{account}/usage")).await;
    assert_eq!(usage["sources"], 3, "{usage}");
    let log = ada.caller.get("/activity/export").await;
    assert_eq!(log.status, 200, "{}", log.text);
    let kinds: Vec<String> = log.text.lines().map(customer::kind_of).collect();
    for kind in
        ["account.created", "member.added", "source.authorised", "run.succeeded", "billing.subscription_changed"]
    {
        assert!(kinds.iter().any(|told| told == kind), "{kind} is not in {kinds:?}");
    }
    assert_eq!(ada.get("/activity/verify").await["sound"], true);
    // The colleague sees all of that, and changes nothing.
    let there = bob.at_work_in(&account).await;
    assert_eq!(there.get(&format!("/data/snapshots/{second}")).await.status, 200);
    there.post("/sources", &place.by_key("Not theirs")).await.expect(403);

    // And leaves: nothing that was not named goes, and nobody pays for what is gone.
    let path = format!("/accounts/{account}");
    ada.caller.delete(&path).await.expect(409);
    ada.caller.delete(&format!("/accounts/{}", child["id"].as_str().expect("an id"))).await.expect(202);
    ada.caller.delete(&path).await.expect(409);
    ada.caller.delete("/billing/subscription").await.expect(200);
    let ended = ada.caller.delete(&path).await;
    assert!(ended.expect(202)["deletion"]["ends_at"].is_string());
    ada.caller.post("/billing/subscription", &json!({ "plan": "team" })).await.expect(409);
}
