//! Two checkouts of one account that are both finished: one subscription stays, and nobody pays twice.

use futures::future::join_all;
use listbackup_engine::{ports::Condition, store::put};
use serde_json::Value;

use crate::{
    kit::Person,
    shop::{Shop, soon, until},
    webhooks::event,
};

const SECOND: &str = "/activity?kind=billing.second_subscription_cancelled";

/// The subscriptions of the account that go on at Stripe.
async fn at_stripe(shop: &Shop, of: &Person) -> Vec<String> {
    let customer = shop.standing(of.account_id).await.row.customer_id;
    let list = shop.stripe.get(&format!("subscriptions?customer={customer}&status=all")).await;
    let going_on = list["data"].as_array().unwrap().iter().filter(|one| one["status"] != "canceled");
    going_on.map(|one| one["id"].as_str().unwrap().to_owned()).collect()
}

async fn told(of: &Person) -> Vec<Value> {
    of.caller.get(SECOND).await.expect(200)["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_checkouts_that_are_finished_at_one_time_one_subscription_stays() {
    let Some(shop) = Shop::open().await else { return };
    let ada = shop.app.person("ada").await;
    let checkouts = [shop.checkout(&ada.caller, "team").await, shop.checkout(&ada.caller, "firm").await];
    let made = join_all(checkouts.iter().map(|checkout| shop.finish(checkout))).await;
    until(&ada.caller, SECOND, |log| log["items"].as_array().is_some_and(|items| !items.is_empty())).await;
    let cancelled = async {
        while at_stripe(&shop, &ada).await.len() > 1 || !shop.standing(ada.account_id).await.row.surplus.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon(cancelled).await;
    let kept = shop.standing(ada.account_id).await.row.subscription.unwrap().subscription_id;
    assert_eq!(at_stripe(&shop, &ada).await, std::slice::from_ref(&kept));
    let over = made.iter().find(|id| **id != kept).unwrap();
    let told = told(&ada).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let details = &told[0]["details"];
    assert_eq!((&details["subscriptionId"], &details["keptSubscriptionId"]), (&over.as_str().into(), &kept.into()));
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_that_was_first_stays_whatever_comes_in_whatever_order() {
    let Some(shop) = Shop::without_webhooks().await else { return };
    let ada = shop.app.person("ada").await;
    let (first, second) = (shop.checkout(&ada.caller, "team").await, shop.checkout(&ada.caller, "firm").await);
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    let first = shop.finish(&first).await;
    shop.told(&event("evt_1", "customer.subscription.created", &customer)).await.expect(200);
    let second = shop.finish(&second).await;
    let notices = (0..30).map(|n| event(&format!("evt_2_{n}"), "checkout.session.completed", &customer));
    let notices: Vec<_> = notices.collect();
    for answer in join_all(notices.iter().map(|notice| shop.told(notice))).await {
        assert_eq!(answer.expect(200)["had_effect"], true);
    }
    assert_eq!(at_stripe(&shop, &ada).await, std::slice::from_ref(&first));
    let row = shop.standing(ada.account_id).await.row;
    assert_eq!((row.subscription.unwrap().subscription_id, row.surplus), (first, Vec::new()));
    let told = told(&ada).await;
    assert_eq!((told.len(), &told[0]["details"]["subscriptionId"]), (1, &second.into()));
    assert_eq!(ada.caller.get("/billing/subscription").await.expect(200)["plan"]["name"], "team");
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_subscription_that_was_told_before_a_crash_is_cancelled_after_it_and_what_is_no_plan_stays() {
    let Some(shop) = Shop::without_webhooks().await else { return };
    let ada = shop.app.person("ada").await;
    let (first, second) = (shop.checkout(&ada.caller, "team").await, shop.checkout(&ada.caller, "firm").await);
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    shop.stripe.door(&format!("customers/{customer}/card"), &[("card", "pm_card_visa")]).await;
    shop.stripe.price("price_of_advice", "5000").await;
    let advice = [("customer", customer.as_str()), ("items[0][plan]", "price_of_advice")];
    let advice = shop.stripe.post("subscriptions", &advice).await["id"].as_str().unwrap().to_owned();
    let first = shop.finish(&first).await;
    shop.told(&event("evt_1", "customer.subscription.created", &customer)).await.expect(200);
    let second = shop.finish(&second).await;
    let mut found = shop.standing(ada.account_id).await;
    found.row.surplus = vec![second];
    let noted = put(&found.row, Condition::Version(found.version)).unwrap();
    shop.app.store.transact(&shop.app.system, vec![noted]).await.unwrap();
    shop.told(&event("evt_2", "checkout.session.completed", &customer)).await.expect(200);
    let mut left = at_stripe(&shop, &ada).await;
    left.sort();
    let mut expected = vec![first, advice];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(told(&ada).await, Vec::<Value>::new(), "it was told before the crash");
    assert_eq!(shop.standing(ada.account_id).await.row.surplus, Vec::<String>::new());
    shop.app.stop().await;
}
