//! What people do, so that every route of the table is called at least once.

use std::time::Duration;

use listbackup_engine::{
    adapters::{
        aws,
        embedded::{SystemClock, SystemRandom},
    },
    model::{AccountId, Job, JobId, Source, SourceId},
    ports::Ports,
    store::key,
};
use serde_json::{Value, json};

use crate::{
    caller::{Gateway, text},
    record::Record,
    running::{Running, sandbox},
};

/// Who makes the account.
pub const EMAIL: &str = "owner@example.com";
/// How long people wait for what comes by itself soon.
pub const SOON: Duration = Duration::from_secs(150);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// A person at work in an account of their own.
pub struct Day {
    pub api: Gateway,
    pub record: Record,
    product: Running,
    pub account: String,
    /// The tables, for what only time brings otherwise.
    pub ports: Ports,
    pub endpoint_url: String,
    source: String,
    snapshots: Vec<String>,
}

/// Where in the record the two runs and the idle time are that are counted.
pub struct Marks {
    pub changed: std::ops::Range<usize>,
    pub unchanged: std::ops::Range<usize>,
    pub idle: std::ops::Range<usize>,
}

impl Day {
    pub async fn begin(mut api: Gateway, record: Record, settings: &aws::AwsSettings, endpoint_url: String) -> Self {
        let (clock, random) = (std::sync::Arc::new(SystemClock), std::sync::Arc::new(SystemRandom));
        let ports = aws::open(settings, clock, random).await.expect("stores");
        let account = registered(&mut api, EMAIL).await;
        let made = api.call("POST", "/auth/keys", &[], json!({ "name": "fleet", "role": "owner" })).await;
        api.key = Some(text(&made["secret"]).to_owned());
        let product = sandbox(60, 0);
        Self { api, record, product, account, ports, endpoint_url, source: String::new(), snapshots: Vec::new() }
    }

    /// Connects the product and backs it up three times; the second time with changes, the third without.
    pub async fn back_up(&mut self) -> Marks {
        let settings = by_key(&self.product.url());
        let made = self.api.call(
            "POST",
            "/sources",
            &[],
            json!({ "name": "Shop", "integration": "sandbox", "settings": settings }),
        );
        self.source = text(&made.await["id"]).to_owned();
        self.run().await;
        let start = self.record.quiet().await;
        self.change(2).await;
        self.run().await;
        let changed = self.record.quiet().await;
        self.run().await;
        let unchanged = self.record.quiet().await;
        let idle = self.record.quiet().await;
        let listed = self.api.get("/data/snapshots", &[], "?limit=50").await;
        self.snapshots = ids(&listed);
        assert!(self.snapshots.len() >= 2, "{listed}");
        Marks { changed: start..changed, unchanged: changed..unchanged, idle: unchanged..idle }
    }

    async fn change(&self, seed: u64) {
        let body = json!({ "change": 0.1, "insert": 0.1, "delete": 0.05, "seed": seed });
        let _moved: Value = crate::running::Api::post(&format!("{}/_sandbox/mutate", self.product.url()), &body).await;
    }

    /// A backup to its end.
    async fn run(&mut self) -> String {
        let source = self.source.clone();
        let run = self.api.call("POST", "/sources/{id}/sync", &[&source], json!({})).await;
        self.ended(text(&run["id"])).await
    }

    async fn ended(&self, run: &str) -> String {
        let ended = self.api.api("/runs/x").ended(run).await;
        assert!(matches!(ended["status"].as_str(), Some("succeeded" | "partial")), "{ended}");
        run.to_owned()
    }

    /// Who may sign in, and with what.
    pub async fn people(&mut self) {
        let account = self.account.clone();
        let api = &mut self.api;
        api.get("/auth/me", &[], "").await;
        api.call("PATCH", "/auth/me", &[], json!({ "name": "Other" })).await;
        api.get("/auth/accounts", &[], "").await;
        api.get("/auth/keys", &[], "").await;
        let made = api.call_twice("POST", "/auth/keys", &[], json!({ "name": "old", "role": "viewer" })).await;
        api.call("DELETE", "/auth/keys/{id}", &[text(&made["id"])], Value::Null).await;
        api.get("/.well-known/jwks.json", &[], "").await;
        api.get("/accounts", &[], "").await;
        for route in ["/accounts/{id}", "/accounts/{id}/keys", "/accounts/{id}/members"] {
            api.get(route, &[&account], "").await;
        }
        api.call("PATCH", "/accounts/{id}", &[&account], json!({ "name": "Firm" })).await;
        api.call("POST", "/accounts/{id}/keys/rotate", &[&account], json!({})).await;
    }

    /// Sources: by key and by OAuth.
    pub async fn sources(&mut self) {
        let source = self.source.clone();
        let api = &mut self.api;
        api.get("/integrations", &[], "").await;
        api.get("/integrations/{name}", &["sandbox"], "").await;
        api.get("/sources", &[], "").await;
        api.get("/sources", &[], "?integration=sandbox").await;
        api.get("/sources/health", &[], "").await;
        for route in ["/sources/{id}", "/sources/{id}/health", "/sources/{id}/streams"] {
            api.get(route, &[&source], "").await;
        }
        api.call(
            "PATCH",
            "/sources/{id}",
            &[&source],
            json!({ "name": "Store", "settings": by_key(&self.product.url()) }),
        )
        .await;
        for route in ["/sources/{id}/test", "/sources/{id}/pause", "/sources/{id}/resume"] {
            api.call("POST", route, &[&source], json!({})).await;
        }
        let host = self.product.url().trim_start_matches("http://").to_owned();
        let app = json!({ "client_id": "sandbox-client", "client_secret": "sandbox-secret", "hosts": [host] });
        api.call("PUT", "/integrations/{name}/oauth/app", &["sandbox"], app).await;
        api.get("/integrations/{name}/oauth/app", &["sandbox"], "").await;
        let settings = json!({ "base_url": self.product.url(), "credentials": { "auth_type": "oauth" } });
        let other = json!({ "name": "Signed in", "integration": "sandbox", "settings": settings });
        let other = text(&api.call_twice("POST", "/sources", &[], other).await["id"]).to_owned();
        api.call("POST", "/integrations/{name}/oauth/start", &["sandbox"], json!({ "source_id": other })).await;
        let begun = api.call("POST", "/sources/{id}/reconnect", &[&other], json!({})).await;
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let sent_back = browser.get(text(&begun["authorize_url"])).send().await.expect("an answer");
        let place = sent_back.headers()["location"].to_str().expect("an address").to_owned();
        let (_, query) = place.split_once('?').expect("a code");
        api.once("/integrations/oauth/callback", &format!("?{query}")).await;
        let run = api.call_twice("POST", "/sources/{id}/sync", &[&other], json!({})).await;
        self.ended(text(&run["id"])).await;
        self.api.call("DELETE", "/sources/{id}", &[&other], Value::Null).await;
        self.api.call("DELETE", "/integrations/{name}/oauth/app", &["sandbox"], Value::Null).await;
    }

    /// An integration of the account's own: uploaded, backed up with, removed.
    pub async fn integration(&mut self) {
        let stream = json!({ "type": "DeclarativeStream", "name": "tags", "primary_key": "id", "retriever": {
            "type": "SimpleRetriever",
            "requester": { "type": "HttpRequester", "url_base": "{{ config['base_url'] }}", "path": "/tags", "authenticator":
                { "type": "BearerAuthenticator", "api_token": "{{ config['api_key'] }}" } },
            "record_selector": { "type": "RecordSelector", "extractor":
                { "type": "DpathExtractor", "field_path": ["data"] } } } });
        let manifest = json!({ "version": "7.0.0", "type": "DeclarativeSource", "streams": [stream],
            "check": { "type": "CheckStream", "stream_names": ["tags"] },
            "spec": { "type": "Spec", "connection_specification": { "type": "object", "properties": {
                "base_url": { "type": "string" }, "api_key": { "type": "string", "airbyte_secret": true } } } } });
        let upload = json!({ "name": "own", "manifest": manifest.to_string() });
        self.api.call_twice("POST", "/integrations", &[], upload).await;
        self.api.get("/integrations", &[], "").await;
        self.api.get("/integrations/{name}", &["own"], "").await;
        let settings = json!({ "base_url": self.product.url(), "api_key": "sandbox-key" });
        let body = json!({ "name": "Own", "integration": "own", "settings": settings });
        let source = text(&self.api.call("POST", "/sources", &[], body).await["id"]).to_owned();
        let run = self.api.call("POST", "/sources/{id}/sync", &[&source], json!({})).await;
        self.ended(text(&run["id"])).await;
        self.api.call("DELETE", "/sources/{id}", &[&source], Value::Null).await;
        self.api.call("DELETE", "/integrations/{name}", &["own"], Value::Null).await;
    }

    /// Jobs, their runs, and orders that were given up.
    pub async fn jobs(&mut self) {
        let nightly = json!({ "kind": "cron", "expression": "30 2 * * *", "time_zone": "Europe/Berlin" });
        let source = self.source.clone();
        let body = json!({ "source_id": source, "name": "Nightly", "schedule": nightly, "jitter_seconds": 0 });
        let job = text(&self.api.call_twice("POST", "/jobs", &[], body).await["id"]).to_owned();
        self.api.call("POST", "/jobs/schedule/preview", &[], json!({ "schedule": nightly })).await;
        self.api.get("/jobs", &[], "").await;
        self.api.get("/jobs", &[], &format!("?source_id={source}")).await;
        for route in ["/jobs/{id}", "/jobs/{id}/schedule", "/jobs/{id}/runs"] {
            self.api.get(route, &[&job], "").await;
        }
        self.api.call("PATCH", "/jobs/{id}", &[&job], json!({ "name": "Late" })).await;
        for route in ["/jobs/{id}/pause", "/jobs/{id}/resume"] {
            self.api.call("POST", route, &[&job], json!({})).await;
        }
        let run = self.api.call("POST", "/jobs/{id}/run", &[&job], json!({})).await;
        let run = self.ended(text(&run["id"])).await;
        self.api.get("/runs/{id}", &[&run], "").await;
        self.api.begin("/runs/{id}/events", &[&run]).await;
        self.dead_letter(&job, &run).await;
        // The second time it looks at what the first one made.
        for _ in 0..2 {
            self.fires(&job).await;
        }
        self.cancelled().await;
        self.api.call("DELETE", "/jobs/{id}", &[&job], Value::Null).await;
    }

    /// An order that was given up comes back.
    async fn dead_letter(&mut self, job: &str, run: &str) {
        let order = json!({ "accountId": self.account, "sourceId": self.source, "jobId": job, "runId": run });
        let body = json!({ "MessageBody": order.to_string(),
            "QueueUrl": format!("{}/000000000000/listbackup-test-jobs-dead", self.endpoint_url) });
        let sent = reqwest::Client::new()
            .post(&self.endpoint_url)
            .header("x-amz-target", "AmazonSQS.SendMessage")
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", "AWS4-HMAC-SHA256 Credential=test/20261122/us-east-1/sqs/aws4_request")
            .body(body.to_string());
        let sent = sent.send().await.expect("an answer");
        assert!(sent.status().is_success(), "{}", sent.text().await.expect("a text"));
        let listed = self.api.get("/jobs/dead-letters", &[], "").await;
        let letter = ids(&listed).pop().unwrap_or_else(|| panic!("no letter: {listed}"));
        self.api.call("POST", "/jobs/dead-letters/{id}/redrive", &[&letter], json!({})).await;
    }

    /// The time of a job comes.
    async fn fires(&mut self, job: &str) {
        let before = self.api.get("/jobs/{id}/runs", &[job], "").await["items"].as_array().map_or(0, Vec::len);
        let id: JobId = job.parse().expect("an id");
        let due_ms = Some(self.ports.clock.now().as_millisecond() - 1000);
        let due = |row: &mut Job| (row.due_at_ms, row.next_due_ms) = (due_ms, due_ms);
        self.altered(key(self.account_id(), id), due).await;
        let fires = async {
            loop {
                let runs = self.api.get("/jobs/{id}/runs", &[job], "").await;
                if ids(&runs).len() > before {
                    return ids(&runs).remove(0);
                }
            }
        };
        let fired = tokio::time::timeout(SOON, fires).await.expect("the job fires");
        self.ended(&fired).await;
    }

    /// A run that takes long is cancelled, and tried again.
    async fn cancelled(&mut self) {
        let slow = sandbox(3_000, 1);
        let body = json!({ "name": "Slow", "integration": "sandbox", "settings": by_key(&slow.url()) });
        let source = text(&self.api.call("POST", "/sources", &[], body).await["id"]).to_owned();
        let run = self.api.call("POST", "/sources/{id}/sync", &[&source], json!({})).await;
        let mut run = text(&run["id"]).to_owned();
        for is_last in [false, true] {
            self.api.call("POST", "/runs/{id}/cancel", &[&run], json!({})).await;
            let ended = self.api.api("/runs/x").ended(&run).await;
            assert_eq!(ended["status"], "cancelled", "{ended}");
            if !is_last {
                let again = self.api.call("POST", "/runs/{id}/retry", &[&run], json!({})).await;
                run = text(&again["id"]).to_owned();
            }
        }
        self.api.call("DELETE", "/sources/{id}", &[&source], Value::Null).await;
    }

    /// Retention is to let snapshots go: its time comes at once instead of a day later.
    pub async fn retention_is_due(&mut self) {
        let source = self.source.clone();
        let rules = json!({ "retention": { "last": 1 } });
        self.api.call("PATCH", "/sources/{id}", &[&source], rules).await;
        let id: SourceId = source.parse().expect("an id");
        let due_ms = self.ports.clock.now().as_millisecond() - 1000;
        self.altered(key(self.account_id(), id), |row: &mut Source| row.upkeep_due_ms = Some(due_ms)).await;
    }

    fn account_id(&self) -> AccountId {
        self.account.parse().expect("an id")
    }

    /// Returns once retention, which looks each minute, has let go of all but one snapshot.
    pub async fn retention_was_there(&mut self) {
        let source = self.source.clone();
        let goes = async {
            let query = format!("?limit=50&source_id={source}");
            while ids(&self.api.get("/data/snapshots", &[], &query).await).len() > 1 {}
        };
        tokio::time::timeout(2 * SOON, goes).await.expect("snapshots go");
    }

    /// What happened, and how the system is.
    pub async fn looks_around(&mut self) {
        for route in ["/activity/chain", "/activity/verify"] {
            self.api.get(route, &[], "").await;
        }
        let happened = self.api.get("/activity", &[], "?kind=run").await;
        for subject in ["source_id", "job_id", "run_id"] {
            let of = text(&happened["items"][0][subject]);
            self.api.get("/activity", &[], &format!("?{subject}={of}")).await;
        }
        self.api.begin("/activity/stream", &[]).await;
        for route in ["/analytics/overview", "/analytics/runs", "/analytics/storage"] {
            self.api.get(route, &[], "?subtree=true").await;
        }
        for query in ["", "?integration=sandbox", "?subtree=true"] {
            self.api.get("/analytics/sources", &[], query).await;
        }
        self.sends_events().await;
        self.api.get("/activity/export", &[], "").await;
        let account = self.account.clone();
        self.api.get("/accounts/{id}/usage", &[&account], "?subtree=true").await;
        for route in ["health", "ready", "status", "version", "openapi.json"] {
            self.api.get(&format!("/system/{route}"), &[], "").await;
        }
        self.api.once("/metrics", "").await;
        self.api.all_ready().await;
    }

    /// Events go to another program, here the product's, which wants none of them.
    async fn sends_events(&mut self) {
        let body = json!({ "url": self.product.url(), "kinds": ["webhook.*"] });
        let webhook = text(&self.api.call_twice("POST", "/webhooks", &[], body).await["id"]).to_owned();
        let change = json!({ "description": "Other", "rotate_secret": true });
        self.api.call("PATCH", "/webhooks/{id}", &[&webhook], change).await;
        let sent = async {
            loop {
                let listed = self.api.get("/webhooks/{id}/deliveries", &[&webhook], "").await;
                let all = listed["items"].as_array().cloned().unwrap_or_default();
                if let Some(sent) = all.iter().find(|delivery| delivery["attempts"].as_u64() > Some(0)) {
                    return text(&sent["id"]).to_owned();
                }
            }
        };
        let delivery = tokio::time::timeout(SOON, sent).await.expect("an event is sent");
        let path = "/webhooks/{id}/deliveries/{delivery}/redeliver";
        self.api.call("POST", path, &[&webhook, &delivery], json!({})).await;
        self.api.get("/webhooks", &[], "").await;
        self.api.get("/webhooks/{id}", &[&webhook], "").await;
        self.api.call("DELETE", "/webhooks/{id}", &[&webhook], Value::Null).await;
    }

    /// The end of it all: the account's keys.
    pub async fn ends(&mut self) {
        let account = self.account.clone();
        let body = json!({ "confirm": account, "reason": "contract ended" });
        self.api.call("POST", "/accounts/{id}/keys/destroy", &[&account], body).await;
        self.api.assert_all_called();
    }

    /// Snapshots, newest first, and the source that they are of.
    pub fn parts(&mut self) -> (&mut Gateway, &[String], &str) {
        (&mut self.api, &self.snapshots, &self.source)
    }

    /// Where the product is.
    pub fn product(&self) -> String {
        self.product.url()
    }
}

/// The ids of a page's items.
pub fn ids(page: &Value) -> Vec<String> {
    page["items"].as_array().expect("a page").iter().map(|item| text(&item["id"]).to_owned()).collect()
}

/// Settings of a source of the product.
pub fn by_key(url: &str) -> Value {
    json!({ "base_url": url, "credentials": { "auth_type": "api_key", "api_key": "sandbox-key" } })
}

/// Registers and signs in; the account.
pub async fn registered(api: &mut Gateway, email: &str) -> String {
    api.call("POST", "/auth/register", &[], json!({ "email": email, "password": PASSWORD, "name": "Owner" })).await;
    api.call("POST", "/auth/verify/resend", &[], json!({ "email": email })).await;
    // The stand-in sends no letter of its own, and takes any code.
    api.call("POST", "/auth/verify", &[], json!({ "email": email, "code": "123456" })).await;
    let first = signed_in(api, email, PASSWORD).await;
    api.person = None;
    let renewed = api.call("POST", "/auth/refresh", &[], json!({ "refresh_token": first["refresh_token"] })).await;
    api.call("POST", "/auth/logout", &[], json!({ "refresh_token": renewed["refresh_token"] })).await;
    text(&signed_in(api, email, PASSWORD).await["account_id"]).to_owned()
}

/// Signs in, and works in their account from now on.
pub async fn signed_in(api: &mut Gateway, email: &str, password: &str) -> Value {
    api.person = None;
    let signed_in = api.call("POST", "/auth/login", &[], json!({ "email": email, "password": password })).await;
    api.person = Some((text(&signed_in["access_token"]).to_owned(), text(&signed_in["account_id"]).to_owned()));
    signed_in
}
