//! Who pays for whom in a tree of accounts.

use futures::future::join_all;
use listbackup_engine::model::AccountId;
use serde_json::{Value, json};

use crate::{
    kit::{Person, client::Caller, token},
    shop::{Shop, new_source, until},
};

async fn child(shop: &Shop, of: &Person, parent: &str, name: &str) -> (String, Caller) {
    let made = of.caller.post(&format!("/accounts/{parent}/children"), &json!({ "name": name })).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    let account_id: AccountId = id.parse().unwrap();
    let signed_in = shop.app.login(&of.email, Some(account_id)).await;
    (id, of.caller.with_token(token(signed_in.expect(200))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_pays_for_its_children_and_they_share_its_plan() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let root = ada.account_id.to_string();
    let (north, in_north) = child(&shop, &ada, &root, "North").await;
    let (_, in_cellar) = child(&shop, &ada, &north, "Cellar").await;
    let shown = in_cellar.get("/billing/subscription").await;
    assert_eq!((&shown.expect(200)["payer_id"], &shown.body["is_payer"]), (&root.as_str().into(), &false.into()));

    // Two sources in the whole tree, whoever is first.
    let body = new_source("Shop");
    let everywhere = [&ada.caller, &in_north, &in_cellar].into_iter().cycle().take(12);
    let answers = join_all(everywhere.map(|caller| caller.post("/sources", &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2, "{answers:?}");

    shop.subscribed(&ada.caller, "team").await;
    assert_eq!(in_cellar.get("/billing/subscription").await.expect(200)["plan"]["name"], "team");
    for number in 0..2 {
        in_cellar.post("/sources", &new_source(&format!("More {number}"))).await.expect(201);
    }
    let refused = in_north.post("/sources", &new_source("One more")).await;
    assert!(refused.expect(402)["detail"].as_str().unwrap().contains(&root), "{}", refused.text);
    shop.app.settled().await;
    assert_eq!(in_north.get("/billing/usage").await.expect(200)["sources"], 4);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_told_who_pays_and_may_have_a_subscription_of_its_own() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let root = ada.account_id.to_string();
    let (north, in_north) = child(&shop, &ada, &root, "North").await;
    let (_, in_cellar) = child(&shop, &ada, &north, "Cellar").await;
    let plan = json!({ "plan": "team" });
    let is_told = |answer: Value| {
        assert_eq!(answer["code"], "paid_elsewhere");
        assert!(answer["detail"].as_str().unwrap().contains(&root), "{answer}");
    };
    is_told(in_north.post("/billing/checkout", &plan).await.expect(409).clone());
    is_told(in_north.post("/billing/portal", &json!({})).await.expect(409).clone());
    is_told(in_north.post("/billing/subscription", &plan).await.expect(409).clone());
    is_told(in_north.delete("/billing/subscription").await.expect(409).clone());

    shop.subscribed(&in_north, "team").await;
    let shown = in_cellar.get("/billing/subscription").await;
    assert_eq!((&shown.expect(200)["payer_id"], &shown.body["plan"]["name"]), (&north.as_str().into(), &"team".into()));
    assert_eq!(ada.caller.get("/billing/subscription").await.expect(200)["plan"]["name"], "free");
    // What the child pays for is not counted above it.
    for number in 0..4 {
        in_cellar.post("/sources", &new_source(&format!("Shop {number}"))).await.expect(201);
    }
    in_cellar.post("/sources", &new_source("Fifth")).await.expect(402);
    shop.app.settled().await;
    assert_eq!(ada.caller.get("/billing/usage").await.expect(200)["sources"], 0);
    for name in ["One", "Two"] {
        ada.caller.post("/sources", &new_source(name)).await.expect(201);
    }
    ada.caller.post("/sources", &new_source("Three")).await.expect(402);

    let customer = shop.standing(north.parse().unwrap()).await.row.customer_id;
    let listed = shop.stripe.get(&format!("subscriptions?customer={customer}")).await;
    let id = listed["data"][0]["id"].as_str().unwrap();
    shop.stripe.delete(&format!("subscriptions/{id}")).await;
    until(&in_cellar, "/billing/subscription", |shown| shown["payer_id"] == root.as_str()).await;
    shop.app.stop().await;
}
