//! Events sent to other programs.

pub mod receiver;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use listbackup_connectors::http::{AddressGuard, HttpClientBuilder};
use listbackup_engine::{
    ports::Clock,
    run::{
        RunContext,
        deliveries::Courier,
        relay::{self, Relay},
    },
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};

use self::receiver::{Received, Receiver};
use crate::kit::{self, App, Person};

/// Waits until what happened so far is linked, and its deliveries are there.
pub async fn settled(app: &App, person: &Person) {
    let scope = app.system.account(person.account_id);
    loop {
        Relay::default().look(&app.ports, &app.system).await.unwrap();
        let pending = person.caller.get("/activity/verify").await.expect(200)["pending"].clone();
        let head = relay::head(&app.store, &scope).await.unwrap();
        if pending == 0 && head.is_some_and(|head| head.outbox_shard.is_none()) {
            return;
        }
    }
}

/// Sends what is due, until nothing is.
pub async fn send(ctx: &RunContext) {
    let courier = Courier::new(ctx).unwrap();
    while courier.look(ctx).await.unwrap().attempts > 0 {}
}

pub async fn webhook(person: &Person, url: &str, kinds: &[&str]) -> Value {
    person.caller.post("/webhooks", &json!({ "url": url, "kinds": kinds })).await.expect(201).clone()
}

pub async fn deliveries(person: &Person, webhook: &Value) -> Vec<Value> {
    let path = format!("/webhooks/{}/deliveries", webhook["id"].as_str().unwrap());
    person.caller.get(&path).await.expect(200)["items"].as_array().unwrap().clone()
}

fn secret(webhook: &Value) -> Vec<u8> {
    STANDARD.decode(webhook["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap()).unwrap()
}

/// HMAC-SHA256 by its definition (RFC 2104), so that it is not the product's own that checks it.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let padded = |pad: u8| block.map(|byte| byte ^ pad).to_vec();
    let inner = digest(&SHA256, &[padded(0x36), text.to_vec()].concat());
    digest(&SHA256, &[padded(0x5c), inner.as_ref().to_vec()].concat()).as_ref().to_vec()
}

fn is_signed_by(received: &Received, secret: &[u8]) -> bool {
    let text = [received.header("webhook-id"), received.header("webhook-timestamp"), &received.body].join(".");
    let expected = format!("v1,{}", STANDARD.encode(hmac(secret, text.as_bytes())));
    received.header("webhook-signature").split(' ').any(|signature| signature == expected)
}

/// The system's clock, set ahead by so many seconds.
struct Ahead(Arc<dyn Clock>, AtomicI64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        self.0.now() + SignedDuration::from_secs(self.1.load(Ordering::Relaxed))
    }
}

/// A worker over the same stores, with a clock that can be set.
fn worker(app: &App) -> (RunContext, Arc<Ahead>) {
    let clock = Arc::new(Ahead(app.ports.clock.clone(), AtomicI64::new(0)));
    let mut ports = app.ports.clone();
    ports.clock = clock.clone();
    (kit::world(&ports, app.system), clock)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_exactly_the_events_that_it_wants_signed_so_that_it_can_check_them() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let eve = app.person("eve").await;
    let receiver = Receiver::start().await;
    let source = app.source(&ada, "Shop").await;
    app.job(&ada, source).await;
    let hook = webhook(&ada, &receiver.url(), &["job.*", "key.created"]).await;
    webhook(&eve, &receiver.url(), &["member.*"]).await;
    let job = app.job(&ada, source).await["id"].as_str().unwrap().to_owned();
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    ada.caller.patch(&format!("/jobs/{job}"), &json!({ "name": "Other" })).await.expect(200);
    ada.caller.delete(&format!("/jobs/{job}")).await.expect(204);
    let eves = app.source(&eve, "Hers").await;
    app.job(&eve, eves).await;
    settled(&app, &ada).await;
    let listed = deliveries(&ada, &hook).await;
    let kinds: Vec<_> = listed.iter().rev().map(|delivery| delivery["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["job.created", "key.created", "job.updated", "job.deleted"], "in the chain's order");
    send(app.ctx()).await;
    let received = receiver.all();
    assert_eq!(received.len(), 4);
    let log = ada.caller.get("/activity").await.expect(200)["items"].as_array().unwrap().clone();
    for delivery in deliveries(&ada, &hook).await {
        assert_eq!((&delivery["state"], &delivery["attempts"]), (&json!("delivered"), &json!(1)), "{delivery}");
        let sent = received.iter().find(|it| it.header("webhook-id") == delivery["id"]).unwrap();
        assert!(is_signed_by(sent, &secret(&hook)) && !is_signed_by(sent, b"another"), "{sent:?}");
        assert_eq!(sent.header("content-type"), "application/json");
        let told = log.iter().find(|event| event["id"] == delivery["event_id"]).unwrap();
        let body = sent.json();
        assert_eq!((&body["type"], &body["timestamp"]), (&told["kind"], &told["at"]));
        for name in ["id", "actor", "job_id", "source_id", "sequence", "details"] {
            assert_eq!(body["data"][name], told[name], "{name}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_shown_once_kept_sealed_and_for_a_day_beside_the_next_one() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let receiver = Receiver::start().await;
    let hook = webhook(&ada, &receiver.url(), &["key.*"]).await;
    let path = format!("/webhooks/{}", hook["id"].as_str().unwrap());
    let rotated = ada.caller.patch(&path, &json!({ "rotate_secret": true })).await.expect(200).clone();
    assert_ne!(hook["secret"], rotated["secret"]);
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    settled(&app, &ada).await;
    let (later, clock) = worker(&app);
    send(&later).await;
    let delivery = deliveries(&ada, &hook).await.remove(0);
    let again = format!("{path}/deliveries/{}/redeliver", delivery["id"].as_str().unwrap());
    clock.1.store(25 * 60 * 60, Ordering::Relaxed);
    ada.caller.post(&again, &json!({})).await.expect(200);
    send(&later).await;
    let [first, second] = &receiver.all()[..] else { panic!("sent twice: {:?}", receiver.all()) };
    assert!(is_signed_by(first, &secret(&hook)) && is_signed_by(first, &secret(&rotated)));
    assert!(!is_signed_by(second, &secret(&hook)) && is_signed_by(second, &secret(&rotated)));
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"), "ordered again, it keeps its id");
    for path in [path.as_str(), "/webhooks", "/activity"] {
        let shown = ada.caller.get(path).await;
        assert!(!shown.text.contains("whsec_"), "{}", shown.text);
        assert!(path != "/activity" || !shown.text.contains("path-secret"), "an address may hold a secret too");
    }
    for shown in [&hook, &rotated] {
        let text = shown["secret"].as_str().unwrap()[6..].to_owned();
        assert_eq!(stored(app.data_dir(), &[text.as_bytes(), &secret(shown)]), [""; 0]);
    }
    app.stop().await;
}

/// Files under a directory that hold any of these bytes.
fn stored(directory: &std::path::Path, needles: &[&[u8]]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(stored(&entry.path(), needles));
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            let holds = |needle: &&[u8]| bytes.windows(needle.len()).any(|window| window == *needle);
            found.extend(needles.iter().any(holds).then(|| entry.path().display().to_string()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_arrive_is_sent_again_after_longer_waits_until_the_webhook_is_disabled() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let receiver = Receiver::start().await;
    let hook = webhook(&ada, &receiver.url(), &["key.*"]).await;
    let path = format!("/webhooks/{}", hook["id"].as_str().unwrap());
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    settled(&app, &ada).await;
    receiver.answers(Some("500 Broken"));
    let (later, clock) = worker(&app);
    for (number, wait) in [0, 5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400].into_iter().enumerate() {
        // Each time another process sends, as after a restart.
        if wait > 0 {
            clock.1.fetch_add(wait - 4, Ordering::Relaxed);
            send(&later).await;
            assert_eq!(receiver.all().len(), number, "not before its time");
        }
        clock.1.fetch_add(wait / 5 + 5, Ordering::Relaxed);
        send(&later).await;
        assert_eq!(receiver.all().len(), number + 1, "attempt {number}");
    }
    let received = receiver.all();
    assert!(received.iter().all(|it| it.header("webhook-id") == received[0].header("webhook-id")));
    assert!(received.iter().all(|it| is_signed_by(it, &secret(&hook))), "also with another time");
    let shown = ada.caller.get(&path).await.expect(200).clone();
    assert_eq!(shown["state"], "disabled", "{shown}");
    let delivery = deliveries(&ada, &hook).await.remove(0);
    let told = [&delivery["state"], &delivery["last_status"], &delivery["attempts"]];
    assert_eq!(told, [&json!("failed"), &json!(500), &json!(10)]);
    settled(&app, &ada).await;
    let log = ada.caller.get("/activity?kind=webhook.disabled").await.expect(200).clone();
    assert_eq!(log["items"][0]["details"]["webhookId"], hook["id"], "{log}");
    let again = format!("{path}/deliveries/{}/redeliver", delivery["id"].as_str().unwrap());
    ada.caller.post(&again, &json!({})).await.expect(409);
    ada.caller.patch(&path, &json!({ "state": "active" })).await.expect(200);
    ada.caller.post(&again, &json!({})).await.expect(200);
    receiver.answers(Some("200 OK"));
    send(&later).await;
    assert_eq!(deliveries(&ada, &hook).await[0]["state"], "delivered");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_may_ask_for_a_wait_is_not_followed_elsewhere_and_may_say_that_it_is_gone() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let hook = webhook(&ada, &receiver.url(), &["key.*"]).await;
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    settled(&app, &ada).await;
    let (later, clock) = worker(&app);
    receiver.answers(Some("429 Slower\r\nretry-after: 600"));
    send(&later).await;
    clock.1.store(590, Ordering::Relaxed);
    send(&later).await;
    assert_eq!(receiver.all().len(), 1);
    receiver.answers(Some(&format!("307 Over there\r\nlocation: {}", elsewhere.url())));
    clock.1.store(610, Ordering::Relaxed);
    send(&later).await;
    assert_eq!((receiver.all().len(), elsewhere.all().len()), (2, 0));
    receiver.answers(Some("410 Gone"));
    clock.1.store(4000, Ordering::Relaxed);
    send(&later).await;
    let shown = ada.caller.get(&format!("/webhooks/{}", hook["id"].as_str().unwrap())).await.expect(200).clone();
    assert!(shown["disabled_reason"].as_str().unwrap().contains("410"), "{shown}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_does_not_answer_holds_up_no_other() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    for receiver in [&slow, &quick] {
        webhook(&ada, &receiver.url(), &["key.*"]).await;
    }
    slow.answers(None);
    let make = || async {
        ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
        settled(&app, &ada).await;
    };
    make().await;
    let courier = Courier::new(app.ctx()).unwrap();
    let meanwhile = async {
        slow.wait_for(1).await;
        quick.wait_for(1).await;
        make().await;
        courier.look(app.ctx()).await.unwrap();
        quick.wait_for(2).await;
    };
    tokio::select! {
        _ = courier.look(app.ctx()) => panic!("the slow one was waited for no longer"),
        () = meanwhile => {}
    }
    assert_eq!(slow.all().len(), 1, "what is being sent is not sent by another look");
    app.stop().await;
}

/// A name that stands for this machine by the time it is asked.
struct Rebound;

impl Resolve for Rebound {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Ok(Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0)))) as Addrs) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_private_networks_are_refused_when_a_webhook_is_made_and_when_it_is_sent_to() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let receiver = Receiver::start().await;
    let hook = webhook(&ada, &format!("http://rebound.example:{}/", receiver.port), &["key.*"]).await;
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    settled(&app, &ada).await;
    let (mut later, _) = worker(&app);
    let guard = AddressGuard::public_only().resolving_with(Arc::new(Rebound));
    later.http = HttpClientBuilder::new(guard).build().unwrap();
    send(&later).await;
    assert!(receiver.all().is_empty());
    let delivery = deliveries(&ada, &hook).await.remove(0);
    assert!(delivery["last_error"].as_str().unwrap().contains("not public"), "{delivery}");
    app.stop().await;

    let app = App::start_behind(AddressGuard::public_only()).await;
    let ada = app.person("ada").await;
    for url in [
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "https://10.1.2.3/in",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://0x7f.1/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "example.com",
    ] {
        let refused = ada.caller.post("/webhooks", &json!({ "url": url })).await;
        assert_eq!(refused.pointers(), ["/url"], "{url}");
    }
    let refused =
        ada.caller.post("/webhooks", &json!({ "url": "https://93.184.216.34/", "kinds": ["run.*", "runs"] })).await;
    assert_eq!(refused.pointers(), ["/kinds/1"]);
    for _ in 0..20 {
        webhook(&ada, "https://93.184.216.34/", &[]).await;
    }
    ada.caller.post("/webhooks", &json!({ "url": "https://93.184.216.34/" })).await.expect(409);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_twenty_webhooks_however_many_are_made_at_one_time() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    for _ in 0..15 {
        webhook(&ada, "http://127.0.0.1:9/", &["run.failed"]).await;
    }
    let body = json!({ "url": "http://127.0.0.1:9/", "kinds": ["run.failed"] });
    let answers = join_all((0..20).map(|_| ada.caller.post("/webhooks", &body))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (5, 15), "{answers:?}");
    let listed = ada.caller.get("/webhooks?limit=100").await.expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(listed.len(), 20);

    // Repeats under one key at one time are one webhook, and one of the answers has its secret.
    ada.caller.delete(&format!("/webhooks/{}", listed[0]["id"].as_str().unwrap())).await.expect(204);
    let same = ada.caller.with("idempotency-key", "1");
    let answers = join_all((0..10).map(|_| same.post("/webhooks", &body))).await;
    assert!(answers.iter().all(|answer| answer.expect(201)["id"] == answers[0].body["id"]), "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.body["secret"].is_string()).count(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_exported_as_lines_that_prove_their_order_and_as_csv() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let source = app.source(&ada, "Shop").await;
    for _ in 0..3 {
        app.job(&ada, source).await;
    }
    settled(&app, &ada).await;
    let answer = ada.caller.get("/activity/export").await;
    answer.expect(200);
    let (mut before, mut count) = (listbackup_engine::model::chain::beginning(), 0);
    for line in answer.text.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        count += 1;
        assert_eq!(row["sequence"], count);
        before = listbackup_engine::model::chain::digest(row.as_object().unwrap(), &before);
        assert_eq!(row["chainDigest"], before.to_hex().as_str());
    }
    assert!(count >= 4, "{}", answer.text);
    let csv = ada.caller.with("accept", "text/csv").get("/activity/export?kind=job").await;
    let lines: Vec<_> = csv.text.lines().collect();
    assert_eq!(lines.len(), 4, "{}", csv.text);
    assert!(lines[0].starts_with("sequence,at,kind,") && lines[1].contains(",job.created,"), "{}", csv.text);
    let log = ada.caller.get("/activity?kind=activity.exported").await.expect(200).clone();
    let filter = &log["items"][0]["details"];
    assert_eq!((&filter["format"], &filter["filter"]["kind"]), (&json!("csv"), &json!("job")), "{log}");
    app.stop().await;
}
