//! One API in front of the services, as the gateway is, and whether all of its routes were called.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use futures::StreamExt;
use listbackup::{routes::served, state::Service};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::running::Running;

/// The services by their paths.
pub struct Gateway {
    services: BTreeMap<String, Running>,
    paths: Vec<(String, String)>,
    called: BTreeSet<(String, String)>,
    /// An access token, and the account that it is for.
    pub person: Option<(String, String)>,
    /// An access key.
    pub key: Option<String>,
    client: reqwest::Client,
    claims: u32,
}

impl Gateway {
    /// In front of these processes, by `deploy/services.json`.
    pub fn of(services: BTreeMap<String, Running>) -> Self {
        let table: Value =
            serde_json::from_str(&fs::read_to_string("deploy/services.json").expect("a file")).expect("JSON");
        let mut paths = Vec::new();
        for (name, about) in table.as_object().expect("services") {
            let patterns = about["Paths"].as_str().expect("paths").split(',');
            paths.extend(patterns.map(|pattern| (pattern.to_owned(), name.clone())));
        }
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { services, paths, called: BTreeSet::new(), person: None, key: None, client, claims: 0 }
    }

    fn url(&self, path: &str) -> String {
        let takes = |pattern: &str| match pattern.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == pattern,
        };
        let name = self.paths.iter().find(|(pattern, _)| takes(pattern)).map_or("system", |(_, name)| &**name);
        self.services[name].url()
    }

    /// The API of one service, as who has the access key.
    pub fn api(&self, path: &str) -> crate::running::Api {
        crate::running::Api::at(self.url(path), self.key.clone().expect("there is a key"))
    }

    fn request(&self, method: &str, path: &str, by_key: bool) -> reqwest::RequestBuilder {
        let request = self.client.request(
            method.parse::<Method>().expect("a verb"),
            format!("{}{path}", self.url(path.split('?').next().unwrap_or(path))),
        );
        match (&self.key, &self.person) {
            (Some(key), _) if by_key => request.bearer_auth(key),
            (_, Some((token, account))) => request.bearer_auth(token).header("listbackup-account", account),
            _ => request,
        }
    }

    /// Fills `{names}` of a route of the table, in their order, and notes that it was called.
    fn fill(&mut self, method: &str, route: &str, ids: &[&str]) -> String {
        self.called.insert((method.to_owned(), route.to_owned()));
        let mut path = route.to_owned();
        for id in ids {
            let (from, to) = (path.find('{').expect("a name"), path.find('}').expect("a name"));
            path.replace_range(from..=to, id);
        }
        path
    }

    /// A read, once as a person and once with the access key, if there is one.
    pub async fn get(&mut self, route: &str, ids: &[&str], query: &str) -> Value {
        let path = self.fill("GET", route, ids) + query;
        let mut found = Value::Null;
        for by_key in [false, true] {
            found = answered(&path, self.request("GET", &path, by_key)).await;
        }
        found
    }

    /// A read by nobody in particular, once.
    pub async fn once(&mut self, route: &str, query: &str) -> Value {
        let path = self.fill("GET", route, &[]) + query;
        answered(&path, self.client.get(format!("{}{path}", self.url(route)))).await
    }

    /// Anything else, as a person.
    pub async fn call(&mut self, method: &str, route: &str, ids: &[&str], body: Value) -> Value {
        let path = self.fill(method, route, ids);
        let mut request = self.request(method, &path, false);
        if method == "POST" && self.person.is_some() {
            self.claims += 1;
            request = request.header("idempotency-key", format!("claim-{}", self.claims));
        }
        answered(&path, if body.is_null() { request } else { request.json(&body) }).await
    }

    /// A body that its signature speaks for, from nobody in particular.
    pub async fn signed(&mut self, route: &str, signature: (&str, String), body: String) -> Value {
        let path = self.fill("POST", route, &[]);
        let request = self.client.post(format!("{}{path}", self.url(route))).header(signature.0, signature.1);
        answered(&path, request.header("content-type", "application/json").body(body)).await
    }

    /// As [`Self::call`], and the same request once more, as who did not hear the answer sends it: nothing is made twice.
    pub async fn call_twice(&mut self, method: &str, route: &str, ids: &[&str], body: Value) -> Value {
        let first = self.call(method, route, ids, body.clone()).await;
        self.claims -= 1;
        let again = self.call(method, route, ids, body).await;
        assert_eq!(first["id"], again["id"], "{method} {route}");
        first
    }

    /// The first piece of an answer that goes on.
    pub async fn begin(&mut self, route: &str, ids: &[&str]) {
        let path = self.fill("GET", route, ids);
        let answer = self.request("GET", &path, true).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let piece = tokio::time::timeout(std::time::Duration::from_secs(60), answer.bytes_stream().next()).await;
        piece.expect("it begins").expect("it is not empty").expect("it is whole");
    }

    /// Whether each process reaches all its stores, as a load balancer may ask it.
    pub async fn all_ready(&self) {
        for service in self.services.values() {
            let path = format!("{}/system/ready", service.url());
            answered(&path, self.client.get(&path)).await;
        }
    }

    /// What every route of the table must have.
    pub fn assert_all_called(&self) {
        let all = served(&Service::ALL.into_iter().collect());
        let all: BTreeSet<_> = all.iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
        let missing: Vec<_> = all.difference(&self.called).collect();
        assert!(missing.is_empty(), "routes that no test calls on a deployed fleet: {missing:?}");
        let unknown: Vec<_> = self.called.difference(&all).collect();
        assert!(unknown.is_empty(), "no routes: {unknown:?}");
    }

    /// The processes, to be stopped.
    pub fn into_processes(self) -> impl Iterator<Item = Running> {
        self.services.into_values()
    }
}

async fn answered(path: &str, request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    let (status, bytes) = (answer.status(), answer.bytes().await.expect("a whole answer"));
    assert!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&bytes));
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

/// A text in an answer.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}
