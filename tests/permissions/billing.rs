//! What people pay for.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::{caller::text, day::Day, servers::billing_stripe::BillingStripe};

/// What webhooks are signed with.
pub const SECRET: &str = "whsec_of_tests";

impl Day {
    /// A subscription, from the checkout to its end.
    pub async fn pays(&mut self, stripe: &BillingStripe) {
        for price in ["price_team", "price_firm"] {
            stripe.price(price, "990").await;
        }
        for route in ["/billing/plans", "/billing/subscription", "/billing/usage"] {
            self.api.get(route, &[], "").await;
        }
        let begun = self.api.call("POST", "/billing/checkout", &[], json!({ "plan": "team" })).await;
        let session = text(&begun["url"]).rsplit('/').next().expect("a session").to_owned();
        let paid = stripe.door(&format!("checkouts/{session}/pay"), &[("card", "pm_card_visa")]).await;
        // The first brings the plan, the second nothing new.
        for id in ["evt_1", "evt_2"] {
            let object = json!({ "object": "checkout.session", "customer": paid["customer"] });
            let event = json!({ "id": id, "type": "checkout.session.completed", "data": { "object": object } });
            let answer = self.told(&event).await;
            assert_eq!(answer["had_effect"], true, "{answer}");
        }
        let shown = self.api.get("/billing/subscription", &[], "").await;
        assert_eq!(shown["plan"]["name"], "team", "{shown}");
        for route in ["/billing/invoices", "/billing/payment-methods", "/billing/contacts"] {
            self.api.get(route, &[], "").await;
        }
        self.api.call("PUT", "/billing/contacts", &[], json!({ "emails": ["books@example.com"] })).await;
        self.api.call("POST", "/billing/portal", &[], json!({})).await;
        self.api.call("POST", "/billing/subscription", &[], json!({ "plan": "firm" })).await;
        self.api.call("DELETE", "/billing/subscription", &[], Value::Null).await;
    }

    async fn told(&mut self, event: &Value) -> Value {
        let seconds = jiff::Timestamp::now().as_second();
        let body = event.to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, format!("{seconds}.{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.api.signed("/billing/webhooks", ("stripe-signature", format!("t={seconds},v1={hex}")), body).await
    }
}
