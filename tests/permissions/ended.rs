//! The end of an account.

use listbackup_engine::{
    model::{Account, AccountId},
    store::key1,
};
use serde_json::{Value, json};

use crate::{
    caller::text,
    day::{Day, SOON, by_key, ids},
};

impl Day {
    /// An account below this one has something of everything, and is to be deleted: its grace is over at once. Its id.
    pub async fn leaves(&mut self) -> String {
        let above = self.account.clone();
        let made = self.api.call("POST", "/accounts/{id}/children", &[&above], json!({ "name": "West" })).await;
        let account = text(&made["id"]).to_owned();
        let (person, key) = (self.api.person.clone().expect("somebody is signed in"), self.api.key.take());
        self.api.person = Some((person.0.clone(), account.clone()));
        self.settles().await;
        (self.api.person, self.api.key) = (Some(person), key);
        self.api.call("DELETE", "/accounts/{id}", &[&account], Value::Null).await;
        self.grace_is_over(&account).await;
        account
    }

    /// A row in every table.
    async fn settles(&mut self) {
        let made = self.api.call("POST", "/auth/keys", &[], json!({ "name": "west", "role": "owner" })).await;
        self.api.key = Some(text(&made["secret"]).to_owned());
        let account = self.api.person.as_ref().expect("somebody is signed in").1.clone();
        let product = self.product();
        let body = json!({ "name": "West", "integration": "sandbox", "settings": by_key(&product) });
        let source = text(&self.api.call("POST", "/sources", &[], body).await["id"]).to_owned();
        let run = self.api.call("POST", "/sources/{id}/sync", &[&source], json!({})).await;
        let ended = self.api.api("/runs/x").ended(text(&run["id"])).await;
        assert!(matches!(ended["status"].as_str(), Some("succeeded" | "partial")), "{ended}");
        let webhook = json!({ "url": product, "kinds": ["webhook.*"] });
        self.api.call("POST", "/webhooks", &[], webhook).await;
        let host = product.trim_start_matches("http://");
        let app = json!({ "client_id": "sandbox-client", "client_secret": "sandbox-secret", "hosts": [host] });
        self.api.call("PUT", "/integrations/{name}/oauth/app", &["sandbox"], app).await;
        self.api.call("PUT", "/billing/contacts", &[], json!({ "emails": ["books@example.com"] })).await;
        let whom = json!({ "email": "west@example.com", "role": "viewer" });
        self.api.call("POST", "/accounts/{id}/invitations", &[&account], whom).await;
    }

    async fn grace_is_over(&self, account: &str) {
        let account: AccountId = account.parse().expect("an id");
        let now = self.ports.clock.now();
        let over = |row: &mut Account| {
            row.ending.as_mut().expect("an end").ends_at = now;
            row.ends_ms = Some(now.as_millisecond());
        };
        self.altered(key1(account), over).await;
    }

    /// Returns once the account, which is looked at each minute, is gone.
    pub async fn has_left(&mut self, account: &str) {
        let goes = async { while ids(&self.api.get("/accounts", &[], "").await).iter().any(|id| id == account) {} };
        tokio::time::timeout(2 * SOON, goes).await.expect("the account goes");
    }
}
