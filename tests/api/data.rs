//! From connecting a product to holding its records: OAuth, a run by a real worker, and every way to look at the result.

use std::collections::BTreeMap;

use listbackup::sandbox::{Sandbox, SandboxSettings};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::kit::{
    App, PATIENCE, Person,
    client::{Caller, send},
};

/// The product, small enough to compare whole.
pub async fn product() -> Sandbox {
    Sandbox::start(SandboxSettings { records: 120, ..SandboxSettings::default() }).await.unwrap()
}

pub fn by_oauth(product: &Sandbox) -> Value {
    let settings = SandboxSettings::default();
    json!({ "base_url": product.url(), "credentials": { "auth_type": "oauth", "client_id": settings.client_id,
        "client_secret": settings.client_secret } })
}

pub fn by_key(product: &Sandbox, key: &str) -> Value {
    json!({ "base_url": product.url(), "credentials": { "auth_type": "api_key", "api_key": key } })
}

pub async fn source(of: &Person, name: &str, settings: &Value) -> Value {
    let body = json!({ "name": name, "integration": "sandbox", "settings": settings });
    of.caller.post("/sources", &body).await.expect(201).clone()
}

pub fn id(thing: &Value) -> &str {
    thing["id"].as_str().unwrap()
}

/// Begins a sign-in and approves it at the product: the callback's path and query.
pub async fn approved(of: &Person, source: &Value) -> String {
    let body = json!({ "source_id": source["id"] });
    let started = of.caller.post("/integrations/sandbox/oauth/start", &body).await;
    let authorize = started.expect(200)["authorize_url"].as_str().unwrap().to_owned();
    assert!(authorize.contains("code_challenge_method=S256"));
    let (base, path) = authorize.split_at(authorize[8..].find('/').unwrap() + 8);
    let sent_back = Caller::new(base.to_owned()).get(path).await;
    let location = sent_back.header("location").to_owned();
    location[location.find("/integrations/").unwrap()..].to_owned()
}

pub async fn run_to_its_end(of: &Person, source: &Value) -> Value {
    let ordered = of.caller.post(&format!("/sources/{}/sync", id(source)), &json!({})).await;
    let run = ordered.expect(202)["id"].as_str().unwrap().to_owned();
    // The stream of a run ends with it.
    let follow = of.caller.request(Method::GET, &format!("/runs/{run}/events")).send().await.unwrap();
    timeout(PATIENCE, follow.text()).await.expect("the run ends").unwrap();
    of.caller.get(&format!("/runs/{run}")).await.expect(200).clone()
}

pub async fn truth(product: &Sandbox, stream: &str) -> BTreeMap<String, Value> {
    by_id(&Caller::new(product.url()).get(&format!("/_sandbox/truth/{stream}")).await.text)
}

pub fn by_id(lines: &str) -> BTreeMap<String, Value> {
    let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.map(|record| (record["id"].to_string(), record)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_connected_by_oauth_is_backed_up_browsed_and_downloaded() {
    let app = App::start().await;
    let worker = app.worker();
    let product = product().await;
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_oauth(&product)).await;
    assert_eq!(source["state"], "needs_authorisation");
    let callback = approved(&ada, &source).await;
    app.nobody().get(&callback).await.expect(200);
    let source = ada.caller.get(&format!("/sources/{}", id(&source))).await;
    assert_eq!(source.expect(200)["state"], "active");
    assert!(!source.text.contains("sandbox-secret"), "{}", source.text);
    let tested = ada.caller.post(&format!("/sources/{}/test", id(&source.body)), &json!({})).await;
    assert_eq!(tested.expect(200)["ok"], true, "{}", tested.text);

    let run = run_to_its_end(&ada, &source.body).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let snapshot = run["snapshot_id"].as_str().unwrap();
    let listed = ada.caller.get("/data/snapshots").await;
    assert_eq!(listed.expect(200)["items"][0]["id"], snapshot);
    let detail = ada.caller.get(&format!("/data/snapshots/{snapshot}")).await;
    let contacts = truth(&product, "contacts").await;
    assert_eq!(detail.expect(200)["streams"]["contacts"]["records"], contacts.len());

    let path = format!("/data/snapshots/{snapshot}/streams/contacts/records");
    assert_eq!(browse(&ada, &path).await, contacts);
    let (key, record) = contacts.first_key_value().unwrap();
    let one = ada.caller.get(&format!("{path}/{}", key.trim_matches('"'))).await;
    assert_eq!(one.expect(200)["record"], *record);
    ada.caller.get(&format!("{path}/999999999")).await.expect(404);
    ada.caller.get(&format!("/data/snapshots/{snapshot}/streams/nonsense/records")).await.expect(404);

    let file = file_of(&ada, id(&source.body), "contacts").await;
    let download = ada.caller.get(&format!("/data/files/{}/download", id(&file))).await;
    assert_eq!(download.status, 200);
    assert!(download.header("content-disposition").contains("contacts.jsonl"));
    assert_eq!(by_id(&download.text), contacts);

    others_see_nothing_of_it(&app, snapshot, id(&file)).await;
    let log = ada.caller.get("/activity?kind=data").await;
    let kinds: Vec<_> = log.expect(200)["items"].as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds[0], "data.exported");
    assert!(kinds[1..].iter().all(|kind| *kind == "data.read") && kinds.len() >= 3);
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}

/// All records of a stream, page by page, which come in the order of their keys.
async fn browse(of: &Person, path: &str) -> BTreeMap<String, Value> {
    let mut records = BTreeMap::new();
    let mut next = format!("{path}?limit=50");
    loop {
        let page = of.caller.get(&next).await;
        for item in page.expect(200)["items"].as_array().unwrap() {
            let is_new = records.insert(item["record"]["id"].to_string(), item["record"].clone()).is_none();
            assert!(is_new, "{item} came twice");
        }
        match page.body["next_cursor"].as_str() {
            Some(cursor) => {
                let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                next = format!("{path}?limit=50&cursor={cursor}");
            }
            None => return records,
        }
    }
}

/// The indexer follows the commit at its own pace.
pub async fn file_of(of: &Person, source: &str, stream: &str) -> Value {
    let path = format!("/data/files?source_id={source}&path={stream}.jsonl");
    let indexed = async {
        loop {
            let files = of.caller.get(&path).await;
            if let Some(file) = files.expect(200)["items"].as_array().unwrap().first() {
                return file.clone();
            }
        }
    };
    timeout(PATIENCE, indexed).await.expect("the snapshot is indexed")
}

async fn others_see_nothing_of_it(app: &App, snapshot: &str, file: &str) {
    let eve = app.person("eve").await;
    for path in [
        format!("/data/snapshots/{snapshot}"),
        format!("/data/snapshots/{snapshot}/streams/contacts/records"),
        format!("/data/snapshots/{snapshot}/streams/contacts/records/1"),
        format!("/data/files/{file}"),
        format!("/data/files/{file}/download"),
    ] {
        assert_eq!(eve.caller.get(&path).await.expect(404)["code"], "not_found", "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_is_finished_once_and_only_by_who_began_it() {
    let app = App::start().await;
    let product = product().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let source = source(&ada, "Shop", &by_oauth(&product)).await;
    ada.caller.post(&format!("/sources/{}/sync", id(&source)), &json!({})).await.expect(409);
    app.nobody().get("/integrations/oauth/callback?state=guess&code=x").await.expect(400);
    app.nobody().get("/integrations/oauth/callback").await.expect(400);

    let theirs = approved(&ada, &source).await;
    assert_eq!(eve.caller.get(&theirs).await.expect(400)["code"], "sign_in_lost");
    let refused = approved(&ada, &source).await.replace("code=", "error=access_denied&not_code=");
    assert_eq!(app.nobody().get(&refused).await.expect(400)["code"], "sign_in_refused");

    let callback = approved(&ada, &source).await;
    let nobody = app.nobody();
    let tries = futures::future::join_all((0..8).map(|_| nobody.get(&callback))).await;
    let mut statuses: Vec<_> = tries.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
    nobody.get(&callback).await.expect(400);

    let body = json!({ "source_id": source["id"] });
    assert_eq!(eve.caller.post("/integrations/sandbox/oauth/start", &body).await.pointers(), ["/source_id"]);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_connected_by_key_is_ready_at_once_and_its_key_is_never_shown() {
    let app = App::start().await;
    let product = product().await;
    let ada = app.person("ada").await;
    let source = source(&ada, "Shop", &by_key(&product, "wrong-key-1234")).await;
    assert_eq!(source["state"], "active");
    let path = format!("/sources/{}", id(&source));
    let tested = ada.caller.post(&format!("{path}/test"), &json!({})).await;
    assert_eq!(tested.expect(200)["ok"], false);
    assert!(!tested.text.contains("wrong-key-1234"));

    let changed = ada.caller.patch(&path, &json!({ "settings": by_key(&product, "sandbox-key") })).await;
    assert!(!changed.text.contains("sandbox-key"), "{}", changed.text);
    let mut shown = changed.expect(200)["settings"].clone();
    assert_eq!(ada.caller.post(&format!("{path}/test"), &json!({})).await.expect(200)["ok"], true);
    // What was shown, sent back with another field, keeps the key.
    shown["start_date"] = json!("2025-01-01T00:00:00Z");
    ada.caller.patch(&path, &json!({ "settings": shown })).await.expect(200);
    assert_eq!(ada.caller.post(&format!("{path}/test"), &json!({})).await.expect(200)["ok"], true);

    let streams = ada.caller.get(&format!("{path}/streams")).await;
    let names: Vec<_> = streams.expect(200)["items"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert!(names.contains(&&json!("contacts")), "{names:?}");
    let narrowed = ada.caller.patch(&path, &json!({ "streams": ["contacts"] })).await;
    assert_eq!(narrowed.expect(200)["streams"], json!(["contacts"]));
    assert_eq!(ada.caller.patch(&path, &json!({ "streams": ["contacts", "x"] })).await.pointers(), ["/streams/1"]);
    assert!(ada.caller.patch(&path, &json!({ "streams": null })).await.expect(200)["streams"].is_null());
    let log = ada.caller.get("/activity").await;
    assert!(!log.text.contains("sandbox-key"));
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_told_where_they_are_wrong() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let make = |body: Value| send(ada.caller.request(Method::POST, "/sources").json(&body));
    let wrong = json!({ "base_url": "ftp://x", "credentials": { "auth_type": "api_key" }, "start_date": "soon" });
    let answer = make(json!({ "name": "Shop", "integration": "sandbox", "settings": wrong })).await;
    assert!(answer.pointers().contains(&"/settings/base_url"), "{}", answer.text);
    assert!(answer.pointers().contains(&"/settings/credentials/api_key"), "{}", answer.text);
    let unknown = make(json!({ "name": "Shop", "integration": "none", "settings": {} })).await;
    assert_eq!(unknown.pointers(), ["/integration"]);
    let taken = by_name(&app, &ada).await;
    assert_eq!(make(taken).await.pointers(), ["/name"]);
    app.stop().await;
}

async fn by_name(app: &App, of: &Person) -> Value {
    app.source(of, "Taken").await;
    json!({ "name": "Taken", "integration": "sandbox", "settings": {} })
}

#[tokio::test(flavor = "multi_thread")]
async fn integrations_are_listed_with_what_they_must_be_told() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let all = ada.caller.get("/integrations").await;
    let names: Vec<_> = all.expect(200)["items"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert!(names.contains(&json!("sandbox")), "{names:?}");
    let one = ada.caller.get("/integrations/sandbox").await;
    assert_eq!(one.expect(200)["sign_in"], "oauth2");
    assert!(one.body["settings_schema"]["properties"]["base_url"].is_object());
    ada.caller.get("/integrations/nonsense").await.expect(404);
    app.stop().await;
}
