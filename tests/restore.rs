//! Restoring: what was deleted and altered in a product comes back, once, whatever happens on the way; and a snapshot goes
//! whole into files, into another data directory and into a bucket. The product is the sandbox, over HTTP.

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;
#[cfg(feature = "aws")]
#[path = "support/servers/mod.rs"]
mod servers;

#[path = "restore/api.rs"]
mod api;
#[cfg(feature = "aws")]
#[path = "restore/bucket.rs"]
mod bucket;
#[path = "restore/elsewhere.rs"]
mod elsewhere;
#[path = "restore/interrupted.rs"]
mod interrupted;
#[path = "restore/out.rs"]
mod out;
#[path = "restore/product.rs"]
mod product;

use std::{collections::BTreeMap, time::Duration};

use program::Program;
use reqwest::{Method, StatusCode};
use running::Running;
use serde_json::{Value, json};

/// Fields that the sandbox sets itself.
const STAMPS: [&str; 6] = ["documents", "id", "version", "created_at", "updated_at", "deleted_at"];
/// Records of a stream by the text of their id.
type Records = BTreeMap<String, Value>;

/// A sandbox, and a program that backs it up.
struct Place {
    sandbox: Running,
    program: Program,
}

impl Place {
    fn new(contacts: u64, rate_limit: u32) -> Self {
        Self { sandbox: running::sandbox(contacts, rate_limit), program: Program::new() }
    }

    /// A request to the product that must succeed, sent when the product's limit lets it.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let url = format!("{}{path}", self.sandbox.url());
        let request = reqwest::Client::new().request(method, url).header("X-Api-Key", "sandbox-key").json(&body);
        loop {
            let answer = request.try_clone().expect("a body in memory").send().await.expect("the sandbox answers");
            let wait = answer.headers().get("retry-after").and_then(|seconds| seconds.to_str().ok()?.parse().ok());
            let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
            if let Some(wait) = wait.filter(|_| status == StatusCode::TOO_MANY_REQUESTS) {
                tokio::time::sleep(Duration::from_secs(wait)).await;
                continue;
            }
            assert!(status.is_success(), "{path}: {status}: {text}");
            return serde_json::from_str(&text).unwrap_or(Value::Null);
        }
    }

    async fn patch(&self, path: &str, body: Value) {
        self.call(Method::PATCH, path, body).await;
    }

    async fn delete(&self, path: &str) {
        self.call(Method::DELETE, path, json!({})).await;
    }

    async fn truth(&self, stream: &str) -> Records {
        running::truth(&self.sandbox.url(), stream).await
    }

    /// Records that were made, changed and deleted so far, by method and path.
    async fn writes(&self) -> Value {
        self.call(Method::GET, "/_sandbox/stats", Value::Null).await["writes"].clone()
    }

    /// Backs the product up; the snapshot's id.
    async fn backup(&self) -> String {
        self.backup_of(&self.sandbox.url(), "sandbox").await
    }

    /// Backs up the product at an address as a source of that name; the snapshot's id.
    async fn backup_of(&self, url: &str, source: &str) -> String {
        let base_url = format!("base_url={url}");
        let settings = ["credentials.auth_type=api_key", "credentials.api_key=sandbox-key", &base_url];
        let mut arguments = vec!["--integration", "sandbox", "--source", source];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        let report = self.program.json("backup", &arguments).await;
        report["snapshot_id"].as_str().expect("a snapshot").to_owned()
    }

    /// Restores, with these arguments; what it reports, and its exit code.
    async fn restore(&self, arguments: &[&str]) -> (Value, Option<i32>) {
        let output = self.program.command("restore").arg("--json").args(arguments).output().await.expect("it starts");
        let printed = String::from_utf8_lossy(&output.stdout);
        let report = serde_json::from_str(&printed)
            .unwrap_or_else(|error| panic!("{error}: {printed}{}", String::from_utf8_lossy(&output.stderr)));
        (report, output.status.code())
    }
}

/// The keys that records of a stream have now, by their keys in the snapshot.
fn moved(outcomes: &str, stream: &str) -> BTreeMap<String, String> {
    let outcomes = outcomes.lines().map(|line| serde_json::from_str::<Value>(line).expect("one outcome a line"));
    let of_stream = outcomes.filter(|outcome| outcome["stream"] == stream && outcome["new_key"].is_string());
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    of_stream.map(|outcome| (text(&outcome["key"]), text(&outcome["new_key"]))).collect()
}

/// Asserts that the product holds a stream as it was before, but for what the product sets itself, under the keys that the
/// restored records have now.
fn assert_restored(stream: &str, before: &Records, now: &Records, ids: &BTreeMap<&str, BTreeMap<String, String>>) {
    let new_id = |stream: &str, id: &str| ids.get(stream).and_then(|ids| ids.get(id)).cloned().unwrap_or(id.to_owned());
    assert_eq!(before.len(), now.len(), "as many {stream} as before");
    for (id, record) in before {
        let mut expected = record.clone();
        for (field, target) in
            [("company_id", "companies"), ("main_contact_id", "contacts"), ("contact_id", "contacts")]
        {
            if let Some(key) = expected.get(field).filter(|key| !key.is_null()) {
                expected[field] = serde_json::from_str(&new_id(target, &key.to_string())).expect("a number");
            }
        }
        let found = now.get(&new_id(stream, id)).unwrap_or_else(|| panic!("{stream} {id} is not there"));
        assert_eq!(without_stamps(found), without_stamps(&expected), "{stream} {id}");
    }
}

fn without_stamps(record: &Value) -> Value {
    let mut record = record.clone();
    if let Some(members) = record.as_object_mut() {
        members.retain(|name, _| !STAMPS.contains(&name.as_str()));
    }
    record
}
