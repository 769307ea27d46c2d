//! A Stripe account that sells, served by localstripe; what that lacks (prices, checkout, portal) is a stub of ours beside it.

use serde_json::Value;

use super::{localstripe::API_KEY, process::Server, python};

/// A running account.
pub struct BillingStripe {
    server: Server,
    http: reqwest::Client,
}

impl BillingStripe {
    /// An empty account.
    pub fn start() -> Self {
        let python = python().expect("`localstripe::installed` was asked before");
        let script = "tests/support/servers/serve_billing_stripe.py";
        let server = Server::start(&[python.as_os_str(), script.as_ref()], &[]);
        Self { server, http: reqwest::Client::new() }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Makes a price a month.
    pub async fn price(&self, id: &str, amount: &str) {
        let product = self.post("products", &[("name", id)]).await;
        let product = product["id"].as_str().expect("an id");
        let plan = [("id", id), ("product", product), ("amount", amount), ("currency", "eur"), ("interval", "month")];
        self.post("plans", &plan).await;
    }

    /// Sends webhooks there from now on.
    pub async fn tells(&self, address: &str, secret: &str) {
        self.door("webhooks/program", &[("url", address), ("secret", secret)]).await;
    }

    /// Opens a door for tests; `path` is below `/_config/`.
    pub async fn door(&self, path: &str, form: &[(&str, &str)]) -> Value {
        read(self.http.post(format!("{}/_config/{path}", self.url())).form(form)).await
    }

    /// The requests that it was asked: method, path, version, idempotency key.
    pub async fn requests(&self) -> Vec<[Value; 4]> {
        let asked = read(self.http.get(format!("{}/_config/requests", self.url()))).await;
        serde_json::from_value(asked).expect("requests")
    }

    /// Makes or changes an object; `path` is below `/v1/`.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Value {
        read(self.http.post(format!("{}/v1/{path}", self.url())).form(form).bearer_auth(API_KEY)).await
    }

    /// Reads an object.
    pub async fn get(&self, path: &str) -> Value {
        read(self.http.get(format!("{}/v1/{path}", self.url())).bearer_auth(API_KEY)).await
    }

    /// Ends an object.
    pub async fn delete(&self, path: &str) -> Value {
        read(self.http.delete(format!("{}/v1/{path}", self.url())).bearer_auth(API_KEY)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("localstripe answers");
    let (status, body) = (answer.status(), answer.text().await.expect("the answer has a body"));
    assert!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).unwrap_or_default()
}
