//! A running sandbox, and a client and a browser for it.

use std::{collections::HashMap, time::Duration};

use listbackup::sandbox::{Moved, Sandbox, SandboxSettings, Stats};
use listbackup_connectors::{
    OAuth2SignIn, Settings, Tokens,
    http::{AddressGuard, HttpClient, HttpClientBuilder, Method, Request, Response, RetryPolicy},
    oauth::{AuthorizationFlow, PkceVerifier},
};
use reqwest::Url;
use serde_json::{Value, json, value::RawValue};

/// A running sandbox and a client for it.
pub struct Site {
    pub sandbox: Sandbox,
    pub http: HttpClient,
}

impl Site {
    pub async fn start(settings: SandboxSettings) -> Self {
        let http = HttpClientBuilder::new(AddressGuard::person()).build().unwrap();
        Self { sandbox: Sandbox::start(settings).await.unwrap(), http }
    }

    pub async fn stop(self) {
        self.sandbox.stop().await.unwrap();
    }

    pub fn request(&self, path: &str) -> Request {
        Request::get(Url::parse(&format!("{}/{path}", self.sandbox.url())).unwrap())
    }

    pub async fn get(&self, path: &str) -> Response {
        self.get_with(&self.http, path).await
    }

    pub async fn get_with(&self, http: &HttpClient, path: &str) -> Response {
        let request = self.request(path).with_secret("x-api-key".parse().unwrap(), "sandbox-key").unwrap();
        let policy = RetryPolicy { first_wait: Duration::from_millis(1), ..RetryPolicy::default() };
        http.send(request, &policy).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// All contacts by cursor, deleted ones too when asked for those that moved `since`.
    pub async fn contacts(&self, since: Option<&str>) -> Vec<String> {
        let filter = since.map(|since| format!("&include_deleted=true&updated_since={since}")).unwrap_or_default();
        let (mut all, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("contacts?limit=300&cursor={cursor}{filter}")).await;
            all.extend(records(&page, "data"));
            match serde_json::from_slice::<Value>(&page.body).unwrap()["paging"]["next"].as_str() {
                Some(next) => cursor = next.to_owned(),
                None => return all,
            }
        }
    }

    /// All records of a stream whose pages are counted by number or offset.
    pub async fn numbered(&self, stream: &str, parameter: &str, first: usize, size: usize) -> Vec<String> {
        let (mut all, mut place) = (Vec::new(), first);
        loop {
            let page = self.get(&format!("{stream}?{parameter}={place}&limit={size}&per_page={size}")).await;
            let records = records(&page, stream);
            if records.is_empty() {
                return all;
            }
            place += if parameter == "page" { 1 } else { records.len() };
            all.extend(records);
        }
    }

    pub async fn truth(&self, stream: &str) -> Vec<String> {
        let body = self.get(&format!("_sandbox/truth/{stream}")).await.body;
        String::from_utf8(body.to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    pub async fn mutate(&self, mutation: Value) -> Moved {
        let answer = self.post("mutate", &mutation).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub async fn order(&self, fault: Value) {
        assert_eq!(self.post("faults", &fault).await.status, 204);
    }

    pub async fn post(&self, switch: &str, body: &Value) -> Response {
        let url = self.request(&format!("_sandbox/{switch}")).url;
        self.http.send_once(Request::post(url, "application/json", body.to_string())).await.unwrap()
    }

    pub async fn switch(&self, method: Method, switch: &str) {
        let request = Request { method, ..self.request(&format!("_sandbox/{switch}")) };
        assert_eq!(self.http.send_once(request).await.unwrap().status, 204);
    }

    pub async fn stats(&self) -> Stats {
        let answer = self.http.send_once(self.request("_sandbox/stats")).await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    pub fn flow(&self) -> AuthorizationFlow {
        self.flow_with("sandbox-secret")
    }

    pub fn flow_with(&self, client_secret: &str) -> AuthorizationFlow {
        let path = |field: &str| vec!["credentials".to_owned(), field.to_owned()];
        let sign_in = OAuth2SignIn {
            authorize_url: "{{ config['base_url'] }}/oauth/authorize".to_owned(),
            token_url: "{{base_url}}/oauth/token".to_owned(),
            scopes: vec!["crm.read".to_owned()],
            client_id_path: path("client_id"),
            client_secret_path: path("client_secret"),
            access_token_path: path("access_token"),
            refresh_token_path: path("refresh_token"),
            expires_at_path: path("token_expiry_date"),
            chosen_by: None,
        };
        self.flow_by(&sign_in, client_secret)
    }

    fn flow_by(&self, sign_in: &OAuth2SignIn, client_secret: &str) -> AuthorizationFlow {
        let credentials = json!({"client_id": "sandbox-client", "client_secret": client_secret});
        let settings = Settings::new(json!({"base_url": self.sandbox.url(), "credentials": credentials}));
        AuthorizationFlow::new(sign_in, &settings, self.http.clone()).unwrap()
    }

    pub fn redirect(&self) -> String {
        format!("{}/callback", self.sandbox.url())
    }

    /// Does what a browser would: the code comes back in the address of the last answer.
    pub async fn approve(&self, flow: &AuthorizationFlow) -> (String, PkceVerifier) {
        let (page, verifier) = flow.start(&self.redirect(), "state of 256 bits").unwrap();
        let back = self.http.send_once(Request::get(page)).await.unwrap().url;
        let query: HashMap<_, _> = back.query_pairs().into_owned().collect();
        assert_eq!(query["state"], "state of 256 bits");
        (query["code"].clone(), verifier)
    }

    pub async fn sign_in(&self) -> (AuthorizationFlow, Tokens) {
        self.signed_in(self.flow()).await
    }

    /// Signs in as an integration says.
    pub async fn sign_in_by(&self, sign_in: &OAuth2SignIn) -> (AuthorizationFlow, Tokens) {
        self.signed_in(self.flow_by(sign_in, "sandbox-secret")).await
    }

    async fn signed_in(&self, flow: AuthorizationFlow) -> (AuthorizationFlow, Tokens) {
        let (code, verifier) = self.approve(&flow).await;
        let tokens = flow.exchange(&code, verifier, &self.redirect()).await.unwrap_or_else(|error| panic!("{error}"));
        (flow, tokens)
    }
}

/// The records of a page, as their bytes.
pub fn records(page: &Response, field: &str) -> Vec<String> {
    let page: HashMap<String, Box<RawValue>> = serde_json::from_slice(&page.body).unwrap();
    let records: Vec<Box<RawValue>> = serde_json::from_str(page[field].get()).unwrap();
    records.iter().map(|record| record.get().to_owned()).collect()
}

/// In an order of their own, for comparing what comes in different orders.
pub fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}
