//! A person, who knows nothing but the API.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    kit::{PATIENCE, client::Caller, token},
    place::Place,
};

const PASSWORD: &str = "correct horse battery";

/// Somebody who is signed in.
pub struct Customer {
    pub caller: Caller,
    /// Their account.
    pub account: String,
    refresh_token: String,
}

impl Customer {
    /// Registers, proves the address by the letter, and signs in.
    pub async fn register(place: &Place, email: &str) -> Self {
        let nobody = Caller::new(place.url());
        let registration = json!({ "email": email, "password": PASSWORD, "name": email });
        nobody.post("/auth/register", &registration).await.expect(202);
        nobody.post("/auth/verify", &json!({ "email": email, "code": place.code_for(email) })).await.expect(200);
        let signed_in = nobody.post("/auth/login", &json!({ "email": email, "password": PASSWORD })).await;
        let text = |name: &str| signed_in.expect(200)[name].as_str().expect("a text").to_owned();
        Self {
            caller: nobody.with_token(token(signed_in.expect(200))),
            account: text("account_id"),
            refresh_token: text("refresh_token"),
        }
    }

    /// GET, answered well.
    pub async fn get(&self, path: &str) -> Value {
        self.caller.get(path).await.expect(200).clone()
    }

    /// POST, answered so.
    pub async fn post(&self, path: &str, body: &Value, status: u16) -> Value {
        self.caller.post(path, body).await.expect(status).clone()
    }

    /// The same person at work in another account.
    pub async fn at_work_in(&self, account: &str) -> Caller {
        let body = json!({ "refresh_token": self.refresh_token });
        self.caller.with_token(token(&self.post(&format!("/accounts/{account}/switch"), &body, 200).await))
    }

    /// Connects the product by OAuth; the source's id.
    pub async fn connect(&self, place: &Place, name: &str) -> String {
        let source = self.post("/sources", &place.by_oauth(name), 201).await;
        let started = self.post("/integrations/sandbox/oauth/start", &json!({ "source_id": source["id"] }), 200).await;
        let authorize = started["authorize_url"].as_str().expect("an address").to_owned();
        // The person approves at the product, whose answer sends them back.
        let (product, page) = authorize.split_at(authorize[8..].find('/').expect("a path") + 8);
        let sent_back = Caller::new(product.to_owned()).get(page).await.header("location").to_owned();
        let path = &sent_back[sent_back.find("/integrations/").expect("the callback")..];
        let answer = Caller::new(place.url()).get(path).await;
        assert!(answer.status < 400, "{}", answer.text);
        source["id"].as_str().expect("an id").to_owned()
    }

    /// Orders a run, watches it live to its end, and returns the snapshot that it made.
    pub async fn run(&self, job: &str) -> String {
        let run = self.post(&format!("/jobs/{job}/run"), &json!({}), 202).await;
        let run = run["id"].as_str().expect("an id").to_owned();
        let follow = self.caller.request(Method::GET, &format!("/runs/{run}/events")).send().await.expect("events");
        let told = timeout(PATIENCE, follow.text()).await.expect("the run ends").expect("events to the end");
        assert!(told.contains("run.succeeded"), "{told}");
        let run = self.get(&format!("/runs/{run}")).await;
        run["snapshot_id"].as_str().expect("a snapshot").to_owned()
    }

    /// Downloads a stream of a snapshot: its records by the text of their id.
    pub async fn export(&self, snapshot: &str, stream: &str) -> BTreeMap<String, Value> {
        let order = json!({ "snapshot_id": snapshot, "streams": [stream] });
        let export = self.post("/data/exports", &order, 201).await;
        let path = format!("/data/exports/{}/download", export["id"].as_str().expect("an id"));
        let file = self.caller.get(&path).await;
        assert_eq!(file.status, 200, "{}", file.text);
        let records = file.text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        records.map(|record| (record["id"].to_string(), record)).collect()
    }

    /// Subscribes to a plan and pays.
    pub async fn subscribe(&self, place: &Place, plan: &str) {
        let begun = self.post("/billing/checkout", &json!({ "plan": plan }), 200).await;
        place.pay(begun["url"].as_str().expect("an address")).await;
    }
}

/// The kind of an event, from a line of the log.
pub fn kind_of(line: &str) -> String {
    let event: Value = serde_json::from_str(line).expect("an event");
    event["kind"].as_str().unwrap_or_default().to_owned()
}
