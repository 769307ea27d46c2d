//! A Stripe account of its own, served by localstripe from memory.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Records, by_key, process::Server, python};

/// The secret key that the account takes.
pub const API_KEY: &str = "sk_test_12345";

/// A running account.
pub struct LocalStripe {
    server: Server,
    http: reqwest::Client,
}

/// Says what is missing, if anything is.
pub fn installed() -> Result<(), String> {
    python().map(drop)
}

impl LocalStripe {
    /// An empty account.
    pub fn start() -> Self {
        let python = python().expect("`installed` was asked before");
        let script = "tests/support/servers/serve_localstripe.py";
        let server = Server::start(&[python.as_os_str(), script.as_ref()], &[]);
        Self { server, http: reqwest::Client::new() }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes or changes an object; `path` is below `/v1/`. Returns the object's id.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> String {
        let answer = self.send(self.http.post(self.address(path)).form(form)).await;
        answer["id"].as_str().expect("an object has an id").to_owned()
    }

    /// Deletes an object.
    pub async fn delete(&self, path: &str) {
        let answer = self.send(self.http.delete(self.address(path))).await;
        assert_eq!(answer["deleted"], true, "{answer}");
    }

    /// What the account says is in each stream of `localstripe.yaml`, each list in one answer.
    pub async fn records(&self) -> BTreeMap<&'static str, Records> {
        let mut streams = BTreeMap::new();
        for name in ["customers", "products", "plans", "coupons", "tax_rates", "events"] {
            streams.insert(name, self.list(name).await);
        }
        let tax_ids: Vec<Value> = streams["customers"]
            .values()
            .flat_map(|customer| customer["tax_ids"]["data"].as_array().cloned().unwrap_or_default())
            .collect();
        streams.insert("tax_ids", by_key(tax_ids, "id"));
        streams
    }

    /// What the account says is in a list, in one answer; `path` is below `/v1/`.
    pub async fn list(&self, path: &str) -> Records {
        let answer = self.send(self.http.get(self.address(path)).query(&[("limit", 10_000)])).await;
        assert_eq!(answer["has_more"], false);
        by_key(answer["data"].as_array().cloned().unwrap_or_default(), "id")
    }

    fn address(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.url())
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.bearer_auth(API_KEY).send().await.expect("localstripe answers");
        let status = response.status();
        let body = response.text().await.expect("the answer has a body");
        assert!(status.is_success(), "{status}: {body}");
        serde_json::from_str(&body).expect("localstripe answers with JSON")
    }
}
