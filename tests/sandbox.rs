//! The sandbox keeps its promises, and our client, our OAuth and our integration keep theirs against it.

#[path = "sandbox/demo.rs"]
mod demo;
#[path = "sandbox/integration.rs"]
mod integration;
#[path = "sandbox/site.rs"]
mod site;
#[path = "sandbox/writing.rs"]
mod writing;

#[path = "support/program.rs"]
mod program;
#[path = "support/running.rs"]
mod running;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use listbackup::sandbox::SandboxSettings;
use listbackup_connectors::{
    CredentialStore, ErrorKind,
    http::{Method, QuotaHeaders, Rate, RateBudget},
    oauth::{MemoryCredentials, TokenSource},
};
use serde_json::{Value, json};
use site::{Site, records, sorted};

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

fn ids<'a>(records: impl Iterator<Item = &'a String>) -> BTreeSet<u64> {
    records.map(|record| serde_json::from_str::<Value>(record).unwrap()["id"].as_u64().unwrap()).collect()
}

fn last_moved(records: &[String]) -> String {
    let last: Value = serde_json::from_str(records.last().unwrap()).unwrap();
    last["updated_at"].as_str().unwrap().to_owned()
}
