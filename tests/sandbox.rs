//! The sandbox keeps its promises, and our client and OAuth keep theirs against it.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use listbackup::sandbox::{Moved, Sandbox, SandboxSettings, Stats};
use listbackup_connectors::{
    CredentialStore, ErrorKind, OAuth2SignIn, Settings, Tokens,
    http::{
        AddressGuard, HttpClient, HttpClientBuilder, Method, QuotaHeaders, Rate, RateBudget, Request, Response,
        RetryPolicy,
    },
    oauth::{AuthorizationFlow, MemoryCredentials, TokenSource},
};
use reqwest::Url;
use serde_json::{Value, json, value::RawValue};

#[tokio::test]
async fn contacts_are_read_by_cursor_byte_for_byte() {
    let site = Site::start(SandboxSettings { records: 1234, ..SandboxSettings::default() }).await;
    let read = site.contacts(None).await;
    assert_eq!(read.len(), 1234);
    assert_eq!(read, site.truth("contacts").await);
    site.stop().await;
}

#[tokio::test]
async fn companies_deals_events_and_tags_are_read_in_full() {
    let site = Site::start(SandboxSettings { records: 500, ..SandboxSettings::default() }).await;
    site.mutate(json!({"change": 0.2, "insert": 0.3, "delete": 0.2, "seed": 5})).await;
    let companies = site.numbered("companies", "page", 1, 3).await;
    assert_eq!(companies, site.truth("companies").await);
    let mut deals = Vec::new();
    for company in &companies {
        let id = serde_json::from_str::<Value>(company).unwrap()["id"].as_u64().unwrap();
        deals.extend(records(&site.get(&format!("companies/{id}/deals")).await, "deals"));
    }
    assert_eq!(sorted(deals), sorted(site.truth("deals").await));
    let events = site.numbered("events", "offset", 0, 100).await;
    assert_eq!(events, site.truth("events").await);
    let tags: Vec<Value> = serde_json::from_slice(&site.get("tags").await.body).unwrap();
    assert_eq!(tags.len(), site.truth("tags").await.len());
    site.stop().await;
}

#[tokio::test]
async fn what_moved_since_is_exactly_what_a_mutation_says() {
    let site = Site::start(SandboxSettings { records: 2000, ..SandboxSettings::default() }).await;
    let newest = last_moved(&site.contacts(None).await);
    let moved = site.mutate(json!({"change": 0.05, "insert": 0.02, "delete": 0.01, "seed": 3})).await;
    let delta = site.contacts(Some(&newest)).await;
    let deleted: BTreeSet<u64> = ids(delta.iter().filter(|record| !record.contains(r#""deleted_at":null"#)));
    // The filter includes its own second, so the newest contact of before comes again.
    let seen: BTreeSet<u64> = ids(delta.iter().skip(1));
    let ids = &moved.contacts;
    let expected = ids.changed.iter().chain(&ids.inserted).chain(&ids.deleted).copied().collect();
    assert_eq!(seen, expected);
    assert_eq!(deleted, ids.deleted.iter().copied().collect());
    site.stop().await;
}

#[tokio::test]
async fn a_million_contacts_cost_nothing_until_they_are_read() {
    let site = Site::start(SandboxSettings { records: 1_000_000, ..SandboxSettings::default() }).await;
    let moved = site.mutate(json!({"change": 0.001})).await;
    assert_eq!(moved.contacts.changed.len(), 1000);
    let last = site.get("contacts?limit=1000&updated_since=2024-01-12T13:46:40Z").await;
    assert_eq!(records(&last, "data").len(), 1000);
    site.stop().await;
}

#[tokio::test]
async fn faults_strike_once_and_are_overcome() {
    let site = Site::start(SandboxSettings::default()).await;
    for fault in [
        json!({"kind": "status", "status": 503, "retry_after_s": 0}),
        json!({"kind": "status", "status": 429, "retry_after_s": 0}),
        json!({"kind": "cut"}),
        json!({"kind": "slow", "delay_ms": 30}),
    ] {
        site.order(json!({"path": "/contacts", "fault": fault})).await;
        let page = site.get("contacts?limit=50").await;
        assert_eq!(records(&page, "data").len(), 50, "{fault}");
    }
    site.order(json!({"path": "/tags", "fault": {"kind": "not_json"}})).await;
    let page = site.get("tags").await;
    assert!(serde_json::from_slice::<Value>(&page.body).is_err());
    site.stop().await;
}

#[tokio::test]
async fn a_budget_keeps_many_readers_within_the_rate_limit() {
    let site = Site::start(SandboxSettings { rate_limit_per_second: 40, ..SandboxSettings::default() }).await;
    let rate = Rate { requests: 40, window: Duration::from_secs(1) };
    // The limit counts arrivals, the budget departures; a share below 1 leaves room for what lies between.
    let budget = RateBudget::new(&[rate], 0.9, QuotaHeaders::default()).unwrap();
    let http = site.http.clone().with_budget(budget);
    futures::future::join_all((0..60).map(|_| site.get_with(&http, "tags"))).await;
    assert_eq!(site.stats().await.rate_limited, 0);
    futures::future::join_all((0..60).map(|_| site.get("tags"))).await;
    assert!(site.stats().await.rate_limited > 0, "without a budget the limit is met, and waited for");
    site.stop().await;
}

#[tokio::test]
async fn a_person_connects_and_the_token_is_refreshed_with_rotation() {
    let site = Site::start(SandboxSettings::default()).await;
    let (flow, first) = site.sign_in().await;
    assert!(first.refresh_token.is_some() && first.expires_at.is_some() && first.version == 0);
    let store = Arc::new(MemoryCredentials::new(first.clone()));
    let source = flow.token_source(store.clone());
    assert_eq!(source.send(&site.http, site.request("tags")).await.unwrap().status, 200);
    assert_eq!(site.stats().await.tokens_issued, 1, "a fresh token is not refreshed");
    site.switch(Method::DELETE, "access_tokens").await;
    assert_eq!(source.send(&site.http, site.request("tags")).await.unwrap().status, 200);
    let stored = store.load().await.unwrap().unwrap();
    assert_eq!((stored.version, site.stats().await.tokens_issued), (1, 2));
    site.stop().await;
}

#[tokio::test]
async fn fifty_requests_after_an_expiry_cause_one_refresh() {
    let site = Site::start(SandboxSettings::default()).await;
    let (flow, tokens) = site.sign_in().await;
    let source = flow.token_source(Arc::new(MemoryCredentials::new(tokens)));
    site.switch(Method::DELETE, "access_tokens").await;
    let answers = (0..50).map(|_| source.send(&site.http, site.request("tags")));
    for answer in futures::future::join_all(answers).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(site.stats().await.tokens_issued, 2);
    site.stop().await;
}

#[tokio::test]
async fn using_a_spent_refresh_token_revokes_the_sign_in_and_is_told_as_reauthorise() {
    let site = Site::start(SandboxSettings::default()).await;
    let (flow, first) = site.sign_in().await;
    let second = flow.refresh(&first).await.unwrap();
    assert_eq!(flow.refresh(&first).await.err().unwrap().kind(), ErrorKind::Reauthorise);
    let error = flow.refresh(&second).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Reauthorise, "the whole family is revoked");
    assert!(!format!("{error} {error:?}").contains("sandbox-"), "no secret in {error:?}");
    site.stop().await;
}

#[tokio::test]
async fn a_revoked_sign_in_asks_for_a_person_once_and_never_loops() {
    let site = Site::start(SandboxSettings::default()).await;
    let (flow, tokens) = site.sign_in().await;
    let source = flow.token_source(Arc::new(MemoryCredentials::new(tokens)));
    site.switch(Method::DELETE, "grants").await;
    for _ in 0..5 {
        let error = source.send(&site.http, site.request("tags")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Reauthorise);
    }
    assert_eq!(site.stats().await.tokens_refused, 1);
    site.stop().await;
}

#[tokio::test]
async fn a_code_works_once_with_its_verifier_and_its_redirect() {
    let site = Site::start(SandboxSettings::default()).await;
    let (flow, redirect) = (site.flow(), site.redirect());
    for (spoil_verifier, spoil_redirect) in [(true, false), (false, true)] {
        let (code, verifier) = site.approve(&flow).await;
        let verifier = if spoil_verifier { "wrong".repeat(10).into() } else { verifier };
        let redirect = if spoil_redirect { format!("{redirect}/other") } else { redirect.clone() };
        let error = flow.exchange(&code, verifier, &redirect).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Reauthorise);
    }
    let (code, verifier) = site.approve(&flow).await;
    let tokens = flow.exchange(&code, verifier.clone(), &redirect).await.ok().unwrap();
    assert!(flow.exchange(&code, verifier, &redirect).await.is_err());
    assert!(flow.refresh(&tokens).await.is_err(), "a code used twice revokes what came from it");
    site.stop().await;
}

#[tokio::test]
async fn a_wrong_client_secret_is_a_setting_to_fix() {
    let site = Site::start(SandboxSettings::default()).await;
    let (_, tokens) = site.sign_in().await;
    let flow = site.flow_with("not the secret");
    assert_eq!(flow.refresh(&tokens).await.err().unwrap().kind(), ErrorKind::Invalid);
    site.stop().await;
}

#[tokio::test]
async fn a_client_gets_tokens_for_itself() {
    let site = Site::start(SandboxSettings::default()).await;
    let source: TokenSource = site.flow().client_token_source(Arc::new(MemoryCredentials::empty()));
    assert_eq!(source.send(&site.http, site.request("tags")).await.unwrap().status, 200);
    site.switch(Method::DELETE, "access_tokens").await;
    assert_eq!(source.send(&site.http, site.request("tags")).await.unwrap().status, 200);
    site.stop().await;
}

/// A running sandbox and a client for it.
struct Site {
    sandbox: Sandbox,
    http: HttpClient,
}

impl Site {
    async fn start(settings: SandboxSettings) -> Self {
        let http = HttpClientBuilder::new(AddressGuard::person()).build().unwrap();
        Self { sandbox: Sandbox::start(settings).await.unwrap(), http }
    }

    async fn stop(self) {
        self.sandbox.stop().await.unwrap();
    }

    fn request(&self, path: &str) -> Request {
        Request::get(Url::parse(&format!("{}/{path}", self.sandbox.url())).unwrap())
    }

    async fn get(&self, path: &str) -> Response {
        self.get_with(&self.http, path).await
    }

    async fn get_with(&self, http: &HttpClient, path: &str) -> Response {
        let request = self.request(path).with_secret("x-api-key".parse().unwrap(), "sandbox-key").unwrap();
        let policy = RetryPolicy { first_wait: Duration::from_millis(1), ..RetryPolicy::default() };
        http.send(request, &policy).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// All contacts by cursor, deleted ones too when asked for those that moved `since`.
    async fn contacts(&self, since: Option<&str>) -> Vec<String> {
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
    async fn numbered(&self, stream: &str, parameter: &str, first: usize, size: usize) -> Vec<String> {
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

    async fn truth(&self, stream: &str) -> Vec<String> {
        let body = self.get(&format!("_sandbox/truth/{stream}")).await.body;
        String::from_utf8(body.to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    async fn mutate(&self, mutation: Value) -> Moved {
        let answer = self.post("mutate", &mutation).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn order(&self, fault: Value) {
        assert_eq!(self.post("faults", &fault).await.status, 204);
    }

    async fn post(&self, switch: &str, body: &Value) -> Response {
        let url = self.request(&format!("_sandbox/{switch}")).url;
        self.http.send_once(Request::post(url, "application/json", body.to_string())).await.unwrap()
    }

    async fn switch(&self, method: Method, switch: &str) {
        let request = Request { method, ..self.request(&format!("_sandbox/{switch}")) };
        assert_eq!(self.http.send_once(request).await.unwrap().status, 204);
    }

    async fn stats(&self) -> Stats {
        let answer = self.http.send_once(self.request("_sandbox/stats")).await.unwrap();
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn flow(&self) -> AuthorizationFlow {
        self.flow_with("sandbox-secret")
    }

    fn flow_with(&self, client_secret: &str) -> AuthorizationFlow {
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
        };
        let credentials = json!({"client_id": "sandbox-client", "client_secret": client_secret});
        let settings = Settings::new(json!({"base_url": self.sandbox.url(), "credentials": credentials}));
        AuthorizationFlow::new(&sign_in, &settings, self.http.clone()).unwrap()
    }

    fn redirect(&self) -> String {
        format!("{}/callback", self.sandbox.url())
    }

    /// Does what a browser would: the code comes back in the address of the last answer.
    async fn approve(&self, flow: &AuthorizationFlow) -> (String, secrecy::SecretString) {
        let (page, verifier) = flow.start(&self.redirect(), "state of 256 bits").unwrap();
        let back = self.http.send_once(Request::get(page)).await.unwrap().url;
        let query: std::collections::HashMap<_, _> = back.query_pairs().into_owned().collect();
        assert_eq!(query["state"], "state of 256 bits");
        (query["code"].clone(), verifier)
    }

    async fn sign_in(&self) -> (AuthorizationFlow, Tokens) {
        let flow = self.flow();
        let (code, verifier) = self.approve(&flow).await;
        let tokens = flow.exchange(&code, verifier, &self.redirect()).await.unwrap_or_else(|error| panic!("{error}"));
        (flow, tokens)
    }
}

/// The records of a page, as their bytes.
fn records(page: &Response, field: &str) -> Vec<String> {
    let page: std::collections::HashMap<String, Box<RawValue>> = serde_json::from_slice(&page.body).unwrap();
    let records: Vec<Box<RawValue>> = serde_json::from_str(page[field].get()).unwrap();
    records.iter().map(|record| record.get().to_owned()).collect()
}

fn ids<'a>(records: impl Iterator<Item = &'a String>) -> BTreeSet<u64> {
    records.map(|record| serde_json::from_str::<Value>(record).unwrap()["id"].as_u64().unwrap()).collect()
}

fn last_moved(records: &[String]) -> String {
    let last: Value = serde_json::from_str(records.last().unwrap()).unwrap();
    last["updated_at"].as_str().unwrap().to_owned()
}

fn sorted(mut records: Vec<String>) -> Vec<String> {
    records.sort();
    records
}
