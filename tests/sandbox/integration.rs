//! The shipped integration reads the sandbox to the byte, signed in by key or by OAuth, through faults and changes.

use std::sync::Arc;

use listbackup::sandbox::SandboxSettings;
use listbackup_connectors::{
    Connector, CredentialStore, Deletions, ErrorKind, Link, Page, ReadEnd, ReadRequest, Settings, SignIn, Tokens,
    http::{AddressGuard, HttpClientBuilder, Method},
    oauth::MemoryCredentials,
    registry::Registry,
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::site::{Site, sorted};

const STREAMS: [&str; 5] = ["contacts", "companies", "deals", "events", "tags"];

#[tokio::test]
async fn every_stream_is_read_to_the_byte_with_a_key() {
    let site = Site::start(SandboxSettings { records: 450, ..SandboxSettings::default() }).await;
    site.mutate(json!({"change": 0.1, "insert": 0.1, "delete": 0.1})).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    connector.check().await.unwrap();
    for stream in STREAMS {
        let read = read(&*connector, stream, None).await.unwrap();
        assert_eq!(sorted(read.live), sorted(site.truth(stream).await), "{stream}");
        assert_eq!(read.deleted.is_empty(), stream != "contacts", "only contacts show their deletions");
    }
    site.stop().await;
}

#[tokio::test]
async fn an_incremental_read_brings_what_moved_and_marks_what_was_deleted() {
    let site = Site::start(SandboxSettings { records: 600, ..SandboxSettings::default() }).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    let first = read(&*connector, "contacts", None).await.unwrap();
    let moved = site.mutate(json!({"change": 0.05, "insert": 0.02, "delete": 0.01})).await.contacts;
    let second = read(&*connector, "contacts", first.end.state).await.unwrap();
    // One more than moved: the state's own second is read again.
    assert_eq!(second.live.len(), moved.changed.len() + moved.inserted.len() + 1);
    assert_eq!(second.deleted.len(), moved.deleted.len());
    let events = read(&*connector, "events", None).await.unwrap();
    let none = read(&*connector, "events", events.end.state).await.unwrap();
    assert!(none.live.len() <= 100, "only the last second: {}", none.live.len());
    site.stop().await;
}

#[tokio::test]
async fn a_person_connects_by_the_manifest_s_own_sign_in_and_reads_past_an_expiry() {
    let site = Site::start(SandboxSettings::default()).await;
    let integration = Registry::ours().unwrap().get("sandbox").unwrap();
    let SignIn::OAuth2(sign_in) = &integration.spec().sign_in else { panic!("{:?}", integration.spec().sign_in) };
    let (_, tokens) = site.sign_in_by(sign_in).await;
    let store = Arc::new(MemoryCredentials::new(tokens));
    let connector = connect_with(&site, oauth(store.load().await.unwrap().unwrap()), store.clone());
    assert_eq!(read(&*connector, "tags", None).await.unwrap().live.len(), 8);
    assert_eq!(site.stats().await.tokens_issued, 1, "the sign-in's own token is used");
    site.switch(Method::DELETE, "access_tokens").await;
    assert_eq!(read(&*connector, "contacts", None).await.unwrap().live.len(), 1000);
    assert_eq!(store.load().await.unwrap().unwrap().version, 1);
    site.switch(Method::DELETE, "grants").await;
    let error = read(&*connector, "events", None).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Reauthorise, "{error}");
    site.stop().await;
}

#[tokio::test]
async fn a_page_that_is_no_json_or_empty_is_an_error_and_never_zero_records() {
    let site = Site::start(SandboxSettings::default()).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    for kind in ["not_json", "empty"] {
        site.order(json!({"path": "/contacts", "nth": 2, "fault": {"kind": kind}})).await;
        let error = read(&*connector, "contacts", None).await.err().unwrap_or_else(|| panic!("{kind} went unnoticed"));
        assert_eq!(error.kind(), ErrorKind::BadAnswer, "{kind}: {error}");
    }
    site.stop().await;
}

#[test]
fn the_manifest_says_how_deletions_show() {
    let site = Settings::new(json!({"base_url": "http://127.0.0.1:9", "credentials": key()}));
    let http = HttpClientBuilder::new(AddressGuard::person()).build().unwrap();
    let link = Link { settings: site, http, credentials: Arc::new(MemoryCredentials::empty()) };
    let connector = Registry::ours().unwrap().get("sandbox").unwrap().connect(link).unwrap();
    let catalog = futures::executor::block_on(connector.discover()).unwrap();
    let shown: Vec<_> = catalog.streams.iter().map(|stream| (stream.name.as_str(), stream.deletions.clone())).collect();
    let marked = Deletions::Marked { field: vec!["deleted_at".to_owned()] };
    let absence = Deletions::Absence;
    let expected = [marked, absence.clone(), absence.clone(), Deletions::Never, absence];
    assert_eq!(shown, STREAMS.into_iter().zip(expected).collect::<Vec<_>>());
}

pub fn key() -> Value {
    json!({"auth_type": "api_key", "api_key": "sandbox-key"})
}

/// The settings of a signed-in source: its tokens stand where the manifest looks for them.
fn oauth(tokens: Tokens) -> Value {
    json!({
        "auth_type": "oauth",
        "client_id": "sandbox-client",
        "client_secret": "sandbox-secret",
        "access_token": tokens.access_token.expose_secret(),
        "refresh_token": tokens.refresh_token.unwrap().expose_secret(),
        "token_expiry_date": tokens.expires_at.unwrap().to_string(),
    })
}

pub fn connect(site: &Site, credentials: Value, store: MemoryCredentials) -> Arc<dyn Connector> {
    connect_with(site, credentials, Arc::new(store))
}

fn connect_with(site: &Site, credentials: Value, store: Arc<dyn CredentialStore>) -> Arc<dyn Connector> {
    let settings = Settings::new(json!({"base_url": site.sandbox.url(), "credentials": credentials}));
    let link = Link { settings, http: site.http.clone(), credentials: store };
    Registry::ours().unwrap().get("sandbox").unwrap().connect(link).unwrap_or_else(|error| panic!("{error}"))
}

/// What one read brought.
struct Read {
    live: Vec<String>,
    deleted: Vec<String>,
    end: ReadEnd,
}

async fn read(connector: &dyn Connector, stream: &str, state: Option<Value>) -> listbackup_connectors::Result<Read> {
    let catalog = connector.discover().await?;
    let stream = catalog.streams.into_iter().find(|known| known.name == stream).expect("a stream of the sandbox");
    let (sender, mut pages) = mpsc::channel::<Page>(4);
    let request = ReadRequest { stream: Arc::new(stream), state, position: None };
    let collect = async {
        let (mut live, mut deleted) = (Vec::new(), Vec::new());
        while let Some(page) = pages.recv().await {
            for record in &page.records {
                let text = String::from_utf8(page.record_body(record).to_vec()).expect("UTF-8");
                if record.is_deletion { deleted.push(text) } else { live.push(text) }
            }
        }
        (live, deleted)
    };
    let (end, (live, deleted)) = tokio::join!(connector.read(request, sender), collect);
    end.map(|end| Read { live, deleted, end })
}
