//! Rates: what our integrations send in any stretch of time, over all their streams, is no more than their vendors allow.
//! On recordings and paused time: years of waiting take no time.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use listbackup_connectors::{
    Connector, Integration, Link, ReadRequest, Settings,
    http::{
        AddressGuard, HttpClientBuilder, Request, Wire,
        injector::{Injector, Seen},
        tape::{Replay, Secrets},
    },
    manifest::ManifestIntegration,
    oauth::MemoryCredentials,
};
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    kit::{manifest, read},
    tapes::Tape,
};

/// What each vendor documents for the settings of the fixtures: requests, seconds, and what of the address the rate is for.
const DOCUMENTED: &[(&str, usize, u64, &str)] = &[
    ("activecampaign", 5, 1, ""),
    ("gohighlevel", 100, 10, ""),
    ("hubspot", 110, 10, ""),
    ("keap", 25, 1, ""),
    ("keap", 1500, 60, ""),
    ("mailchimp", 10, 1, ""),
    ("shopify", 40, 20, ""),
    ("stripe", 25, 1, ""),
    ("stripe", 20, 1, "/v1/files"),
    ("zendesk", 10, 60, "/incremental/"),
    ("zendesk", 200, 60, ""),
];

/// Reads every stream at once, so many `times`, with connectors of their own that share one credential; what was asked.
async fn read_all(name: &str, share: f64, times: usize) -> Vec<Seen> {
    let tape = Tape::of(name);
    let watcher = Injector::new(None, Vec::new());
    let clients = |tape: &Tape| {
        let wire = tape.wire().unwrap().injecting(Arc::clone(&watcher));
        HttpClientBuilder { wire, ..HttpClientBuilder::new(AddressGuard::person()) }.build().unwrap()
    };
    let http = clients(&tape);
    let credentials = Arc::new(MemoryCredentials::empty());
    let connect = |_| {
        let http = http.for_credential("theirs", share).unwrap();
        let settings = Settings::new(tape.settings.clone());
        tape.integration.connect(Link { settings, http, credentials: credentials.clone() }).unwrap()
    };
    let connectors: Vec<Arc<dyn Connector>> = (0..times).map(connect).collect();
    let streams = connectors[0].discover().await.unwrap().streams;
    let reads = connectors.iter().flat_map(|connector| {
        streams.iter().map(move |stream| {
            let request = ReadRequest { stream: Arc::new(stream.clone()), state: None, position: None };
            let (to, mut from) = mpsc::channel(4);
            async move {
                let drained = async { while from.recv().await.is_some() {} };
                let (end, ()) = tokio::join!(connector.read(request, to), drained);
                end.map(|_| ()).map_err(|error| format!("{}: {error}", stream.name))
            }
        })
    });
    let failed: Vec<_> = join_all(reads).await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{name}: {failed:#?}");
    watcher.seen()
}

/// The most requests at `part` of addresses in any `window`.
fn busiest(seen: &[Seen], part: &str, window: Duration) -> usize {
    let mut at: Vec<_> = seen.iter().filter(|seen| seen.place.contains(part)).map(|seen| seen.asked_at).collect();
    at.sort();
    (0..at.len()).map(|from| at[from..].iter().take_while(|then| **then - at[from] < window).count()).max().unwrap_or(0)
}

async fn keeps_its_rates(name: &str, times: usize) {
    let whole = read_all(name, 1.0, times).await;
    let half = read_all(name, 0.5, times).await;
    for (_, allowed, window_s, part) in DOCUMENTED.iter().filter(|(of, ..)| *of == name) {
        let window = Duration::from_secs(*window_s);
        let asked = whole.iter().filter(|seen| seen.place.contains(part)).count();
        assert!(asked > *allowed, "{name}: only {asked} requests to {part:?}, fewer than may be sent at once");
        let most = busiest(&whole, part, window);
        assert!(most <= *allowed, "{name}: {most} of {allowed} requests in {window_s} s to {part:?}");
        let shared = busiest(&half, part, window);
        assert!(shared <= allowed.div_ceil(2), "{name}: {shared} requests in {window_s} s of a half of {allowed}");
    }
    let took = |seen: &[Seen]| seen.iter().map(|seen| seen.asked_at).max().unwrap() - seen[0].asked_at;
    assert!(took(&half) > took(&whole), "{name}: a half takes longer than the whole");
}

#[tokio::test(start_paused = true)]
async fn activecampaign_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("activecampaign", 3).await;
}

#[tokio::test(start_paused = true)]
async fn gohighlevel_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("gohighlevel", 6).await;
}

#[tokio::test(start_paused = true)]
async fn hubspot_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("hubspot", 6).await;
}

#[tokio::test(start_paused = true)]
async fn keap_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("keap", 26).await;
}

#[tokio::test(start_paused = true)]
async fn mailchimp_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("mailchimp", 6).await;
}

#[tokio::test(start_paused = true)]
async fn shopify_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("shopify", 6).await;
}

#[tokio::test(start_paused = true)]
async fn stripe_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("stripe", 12).await;
}

#[tokio::test(start_paused = true)]
async fn zendesk_is_never_asked_faster_than_it_allows() {
    keeps_its_rates("zendesk", 9).await;
}

/// Reads one stream whose product answers with these statuses in turn; how long it took, or the error's kind.
async fn read_after(answers: &[(u16, &str)]) -> Result<Duration, &'static str> {
    let stream = "
  - type: DeclarativeStream
    name: things
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: https://a.example
        path: /things
        error_handler: {type: DefaultErrorHandler, max_retries: 1}
      record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: []}}
";
    let folder = tempfile::tempdir().unwrap();
    for (number, (status, wait)) in answers.iter().enumerate() {
        let headers = if wait.is_empty() { json!({}) } else { json!({ "retry-after": wait }) };
        let exchange = json!({
            "request": { "method": "GET", "url": "https://a.example/things" },
            "response": { "status": status, "headers": headers, "body": [{ "id": 1 }] },
        });
        std::fs::write(folder.path().join(format!("{number:04}.json")), exchange.to_string()).unwrap();
    }
    let wire = Wire::default().replaying(Replay::read(folder.path(), Arc::new(Secrets::default())).unwrap());
    let http = HttpClientBuilder { wire, ..HttpClientBuilder::new(AddressGuard::person()) }.build().unwrap();
    let integration = ManifestIntegration::parse("test", "manifest.yaml", &manifest(stream)).unwrap();
    let settings = Settings::new(json!({ "base_url": "unused" }));
    let credentials = Arc::new(MemoryCredentials::empty());
    let connector = integration.connect(Link { settings, http, credentials }).unwrap();
    let began = tokio::time::Instant::now();
    let end = read(&connector, "things", None, None).await.end;
    end.map(|_| began.elapsed()).map_err(|error| error.kind().code())
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_product_asks_for_is_no_attempt_and_a_failure_is_one() {
    let paused = read_after(&[(429, "30"), (429, "30"), (429, "30"), (200, "")]).await.unwrap();
    assert!((90..93).contains(&paused.as_secs()), "{paused:?}");
    assert!(read_after(&[(503, ""), (200, "")]).await.is_ok(), "one more try");
    assert_eq!(read_after(&[(503, ""), (503, ""), (200, "")]).await, Err("retry"), "and no third one");
    assert_eq!(read_after(&[(429, ""), (429, ""), (200, "")]).await, Err("rate_limited"), "nobody said how long");
    assert_eq!(read_after(&[(429, "0")]).await, Err("rate_limited"), "a pause of nothing, for ever, has an end");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_rate_is_told_once_by_whoever_reads() {
    let http = HttpClientBuilder::new(AddressGuard::person()).build().unwrap();
    let (mine, other) = (http.for_credential("theirs", 1.0).unwrap(), http.for_credential("theirs", 1.0).unwrap());
    mine.budget().unwrap().pause(Duration::from_secs(30));
    let nowhere = Request::get("http://127.0.0.1:1/".parse().unwrap());
    mine.clone().send_once(nowhere).await.unwrap_err();
    let told = mine.take_waited_ms();
    assert!((30_000..31_000).contains(&told), "{told}");
    assert_eq!((mine.take_waited_ms(), other.take_waited_ms()), (0, 0));
}
