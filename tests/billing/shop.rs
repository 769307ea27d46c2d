//! A server that sells, and the account at Stripe that it is paid by.

use std::future::Future;

use jiff::SignedDuration;
use listbackup_engine::{
    billing::{Plans, stripe::StripeSettings},
    model::{AccountId, SourceId, billing::PayingAccount},
    ports::Condition,
    store::{Versioned, key, put},
};
use serde_json::{Value, json};

use crate::{
    kit::{App, PATIENCE, Person, client::Caller},
    servers::{
        billing_stripe::BillingStripe,
        localstripe::{self, API_KEY},
    },
};

/// What webhooks are signed with.
pub const SECRET: &str = "whsec_of_tests";

/// Three plans: small, middle and without limits.
pub const PLANS: &str = r#"{"plans": [
    {"name": "free", "title": "Free", "default": true, "limits": {"sources": 2, "members": 2, "runs_a_month": 3, "retention_days": 30}},
    {"name": "team", "title": "Team", "stripe_price": "price_team",
        "limits": {"sources": 4, "members": 5, "runs_a_month": 50, "storage_bytes": 1000}},
    {"name": "firm", "title": "Firm", "stripe_price": "price_firm"}]}"#;

/// A server that sells.
pub struct Shop {
    pub app: App,
    pub stripe: BillingStripe,
}

impl Shop {
    /// One whose webhooks come; none where localstripe is missing, which is said.
    pub async fn open() -> Option<Self> {
        let shop = Self::without_webhooks().await?;
        shop.stripe.tells(&format!("{}/billing/webhooks", shop.app.url()), SECRET).await;
        Some(shop)
    }

    /// One whose webhooks do not come.
    pub async fn without_webhooks() -> Option<Self> {
        if let Err(reason) = localstripe::installed() {
            println!("skipped: {reason}");
            return None;
        }
        let stripe = BillingStripe::start();
        stripe.price("price_team", "990").await;
        stripe.price("price_firm", "9900").await;
        let settings = StripeSettings {
            key: API_KEY.into(),
            webhook_secret: Some(SECRET.into()),
            api_url: stripe.url().parse().unwrap(),
        };
        let app = App::start_selling(Plans::read(PLANS).unwrap(), Some(settings)).await;
        Some(Self { app, stripe })
    }

    /// Subscribes as people do: a checkout, and a card on its page. Returns the subscription's id at Stripe.
    pub async fn subscribe(&self, caller: &Caller, plan: &str) -> String {
        let checkout = self.checkout(caller, plan).await;
        self.finish(&checkout).await
    }

    /// Begins a checkout. Returns its id at Stripe.
    pub async fn checkout(&self, caller: &Caller, plan: &str) -> String {
        let begun = caller.post("/billing/checkout", &json!({ "plan": plan, "own": true })).await;
        let url = begun.expect(200)["url"].as_str().unwrap();
        url.rsplit('/').next().unwrap().to_owned()
    }

    /// Enters a card on the page of a checkout. Returns the subscription's id at Stripe.
    pub async fn finish(&self, checkout: &str) -> String {
        let paid = self.stripe.door(&format!("checkouts/{checkout}/pay"), &[("card", "pm_card_visa")]).await;
        paid["id"].as_str().unwrap().to_owned()
    }

    /// Subscribes, and waits until the plan holds.
    pub async fn subscribed(&self, caller: &Caller, plan: &str) -> String {
        let id = self.subscribe(caller, plan).await;
        until(caller, "/billing/subscription", |shown| shown["plan"]["name"] == plan).await;
        id
    }

    /// Waits for a letter that says this: letters go out after what they tell is written.
    pub async fn letter(&self, email: &str, words: &str) {
        let asks = async {
            while !self.app.letters_to(email).iter().any(|letter| letter.contains(words)) {
                tokio::task::yield_now().await;
            }
        };
        soon(asks).await;
    }

    /// The row of an account's standing.
    pub async fn standing(&self, account_id: AccountId) -> Versioned<PayingAccount> {
        self.app.store.get(&self.app.system, key(account_id, PayingAccount::KEY)).await.unwrap()
    }

    /// As if the payment that is missing had failed so long ago.
    pub async fn unpaid_for(&self, account_id: AccountId, time: SignedDuration) {
        let Versioned { mut row, version } = self.standing(account_id).await;
        row.subscription.as_mut().unwrap().unpaid_since = Some(self.app.ports.clock.now() - time);
        let write = put(&row, Condition::Version(version)).unwrap();
        self.app.store.transact(&self.app.system, vec![write]).await.unwrap();
    }

    /// A source and a job of it; the path that orders a run.
    pub async fn job(&self, of: &Person) -> (SourceId, String) {
        let source_id = self.app.source(of, "Shop").await;
        let job = self.app.job(of, source_id).await;
        (source_id, format!("/jobs/{}", job["id"].as_str().unwrap()))
    }
}

/// What `POST /sources` takes.
pub fn new_source(name: &str) -> Value {
    let credentials = json!({ "auth_type": "api_key", "api_key": "sandbox-key" });
    json!({ "name": name, "integration": "sandbox",
        "settings": { "base_url": "http://127.0.0.1:9", "credentials": credentials } })
}

/// Asks until the answer is as wanted.
pub async fn until(caller: &Caller, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let asks = async {
        loop {
            let answer = caller.get(path).await;
            if wanted(answer.expect(200)) {
                return answer.body;
            }
        }
    };
    soon(asks).await
}

/// What comes by itself soon.
pub async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it comes soon")
}
