//! What Stripe tells: only what is signed, once each, in whatever order.

use aws_lc_rs::hmac;
use futures::future::join_all;
use listbackup_engine::{
    model::billing::{PayingAccount, StripeNotice},
    ports::{Query, SortRange},
    tables::BILLING,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    kit::client::{Answer, send},
    shop::{SECRET, Shop},
};

fn signed(secret: &str, seconds: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

impl Shop {
    fn now(&self) -> i64 {
        self.app.ports.clock.now().as_second()
    }

    async fn deliver(&self, signature: String, body: &str) -> Answer {
        let request = self.app.nobody().request(Method::POST, "/billing/webhooks");
        let request = request.header("stripe-signature", signature).header("content-type", "application/json");
        send(request.body(body.to_owned())).await
    }

    /// Tells the program an event as Stripe does.
    pub async fn told(&self, event: &Value) -> Answer {
        let body = event.to_string();
        self.deliver(signed(SECRET, self.now(), &body), &body).await
    }

    async fn notices(&self, account_id: impl ToString) -> Vec<StripeNotice> {
        let query = Query {
            table: &BILLING,
            index: None,
            partition: account_id.to_string(),
            sort: SortRange::Prefix("notice#".to_owned()),
            descending: false,
            limit: 1000,
            after: None,
        };
        self.app.store.all(&self.app.system, query).await.unwrap()
    }
}

pub fn event(id: &str, kind: &str, customer: &str) -> Value {
    json!({ "id": id, "object": "event", "type": kind, "data": { "object": { "object": "thing", "customer": customer } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_signed_now_and_whole_is_taken() {
    let Some(shop) = Shop::without_webhooks().await else { return };
    let ada = shop.app.person("ada").await;
    shop.subscribe(&ada.caller, "team").await;
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    let body = event("evt_1", "customer.subscription.created", &customer).to_string();
    let now = shop.now();
    for (signature, sent) in [
        (signed("whsec_wrong", now, &body), body.clone()),
        (signed(SECRET, now, &body), body.replace("evt_1", "evt_2")),
        (signed(SECRET, now - 301, &body), body.clone()),
        (signed(SECRET, now + 330, &body), body.clone()),
        (String::new(), body.clone()),
        (signed(SECRET, now - 301, "{"), "{".to_owned()),
    ] {
        let refused = shop.deliver(signature, &sent).await;
        assert_eq!(refused.expect(400)["code"], "bad_signature");
    }
    assert_eq!(shop.notices(ada.account_id).await, []);
    assert_eq!(shop.standing(ada.account_id).await.row.subscription, None);
    assert_eq!(shop.deliver(signed(SECRET, now, "{"), "{").await.expect(400)["code"], "malformed");

    let both = signed(SECRET, now, &body).replace(",v1=", &format!(",v1={},v1=", "0".repeat(64)));
    assert_eq!(shop.deliver(both, &body).await.expect(200)["had_effect"], true);
    let notices = shop.notices(ada.account_id).await;
    let life = notices[0].expires_at - now;
    assert!((30 * 86_400..30 * 86_400 + 60).contains(&life), "{life}");
    assert_eq!(ada.caller.get("/billing/subscription").await.expect(200)["plan"]["name"], "team");
    for (kind, customer) in [("invoice.paid", "cus_of_others"), ("charge.succeeded", customer.as_str())] {
        assert_eq!(shop.told(&event("evt_3", kind, customer)).await.expect(200)["had_effect"], false, "{kind}");
    }
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_at_once_one_has_an_effect() {
    let Some(shop) = Shop::without_webhooks().await else { return };
    let ada = shop.app.person("ada").await;
    shop.subscribe(&ada.caller, "team").await;
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    let told = event("evt_1", "checkout.session.completed", &customer);
    let answers = join_all((0..100).map(|_| shop.told(&told))).await;
    let effects = answers.iter().filter(|answer| answer.expect(200)["had_effect"] == true).count();
    assert_eq!((effects, shop.notices(ada.account_id).await.len()), (1, 1));
    let changed = ada.caller.get("/activity?kind=billing.subscription_changed").await;
    assert_eq!(changed.expect(200)["items"].as_array().unwrap().len(), 1);
    shop.app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_order_of_five_events_ends_in_the_same_state() {
    const KINDS: [&str; 5] = [
        "checkout.session.completed",
        "customer.subscription.created",
        "invoice.payment_succeeded",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ];
    let Some(shop) = Shop::without_webhooks().await else { return };
    let ada = shop.app.person("ada").await;
    let id = shop.subscribe(&ada.caller, "team").await;
    let customer = shop.standing(ada.account_id).await.row.customer_id;
    shop.stripe.door(&format!("customers/{customer}/card"), &[("card", "pm_card_chargeCustomerFail")]).await;
    let orders = orders(&KINDS);
    assert_eq!(orders.len(), 120);
    let mut states: Vec<PayingAccount> = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        // In every second one the payment that failed comes between the others.
        if number == 60 {
            shop.stripe.door(&format!("subscriptions/{id}/renew"), &[]).await;
        }
        for (place, kind) in order.iter().enumerate() {
            let told = event(&format!("evt_{number}_{place}"), kind, &customer);
            assert_eq!(shop.told(&told).await.expect(200)["had_effect"], true);
        }
        states.push(shop.standing(ada.account_id).await.row);
    }
    let subscription = |state: &PayingAccount| state.subscription.clone().unwrap();
    assert!(states[..60].iter().all(|state| state == &states[0] && subscription(state).unpaid_since.is_none()));
    assert!(states[60..].iter().all(|state| state == &states[60] && subscription(state).unpaid_since.is_some()));
    shop.app.stop().await;
}

fn orders<'a>(of: &[&'a str]) -> Vec<Vec<&'a str>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (number, first) in of.iter().enumerate() {
        let rest: Vec<_> = of.iter().enumerate().filter(|(other, _)| *other != number).map(|(_, kind)| *kind).collect();
        all.extend(orders(&rest).into_iter().map(|order| [&[*first], &order[..]].concat()));
    }
    all
}
