//! Integrations of an account's own: manifests that it uploads.

use std::net::TcpListener;

use futures::future::join_all;
use listbackup_engine::{
    model::{Role, integration::IntegrationGate},
    ports::{Query, SortRange},
    run::own_integrations::{OWN_MAX, VERSIONS_KEPT},
    tables::INTEGRATIONS,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::{
    data::{id, run_to_its_end},
    families::{at_work_in, child},
    kit::{App, Person, client::Caller},
};

pub const CANARY: &str = "CANARY-8d41b7";

/// A product: pages of `/things` and `/others`.
async fn product() -> MockServer {
    let server = MockServer::start().await;
    let answer = |request: &Request| {
        let next = format!("http://{}/next", request.headers["host"].to_str().unwrap());
        ResponseTemplate::new(200)
            .set_body_json(json!({ "data": [{ "id": 1, "home": next }, { "id": 2, "home": next }] }))
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// A stream that reads `path`, with more in its requester.
pub fn stream(name: &str, more: Value) -> Value {
    let mut requester = json!({
        "type": "HttpRequester", "url_base": "{{ config['base_url'] }}/", "path": name,
        "authenticator": { "type": "BearerAuthenticator", "api_token": "{{ config['api_key'] }}" },
    });
    requester.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "type": "DeclarativeStream", "name": name, "primary_key": "id", "retriever": {
        "type": "SimpleRetriever", "requester": requester,
        "record_selector": { "type": "RecordSelector", "extractor": { "type": "DpathExtractor", "field_path": ["data"] } },
    } })
}

/// A manifest of these streams, the first of which is the one to be checked.
pub fn manifest(title: &str, streams: &[Value]) -> String {
    let text = json!({ "type": "string" });
    let secret = json!({ "type": "string", "airbyte_secret": true });
    json!({
        "version": "7.0.0", "type": "DeclarativeSource", "streams": streams, "metadata": { "title": title },
        "check": { "type": "CheckStream", "stream_names": [streams[0]["name"]] },
        "spec": { "type": "Spec", "connection_specification": { "title": title, "type": "object",
            "required": ["base_url", "api_key"], "properties": { "base_url": text, "api_key": secret } } },
    })
    .to_string()
}

pub async fn upload(of: &Caller, name: &str, manifest: &str) -> crate::kit::client::Answer {
    of.post("/integrations", &json!({ "name": name, "manifest": manifest })).await
}

pub async fn connected(of: &Caller, name: &str, integration: &str, base_url: &str) -> Value {
    let settings = json!({ "base_url": base_url, "api_key": CANARY });
    let body = json!({ "name": name, "integration": integration, "settings": settings });
    of.post("/sources", &body).await.expect(201).clone()
}

async fn kinds(of: &Caller) -> Vec<String> {
    let page = of.get("/activity?kind=integration&limit=200").await;
    let items = page.expect(200)["items"].as_array().unwrap().clone();
    let mut told: Vec<_> = items
        .iter()
        .map(|event| {
            format!("{} {} {}", event["kind"].as_str().unwrap(), event["details"]["name"], event["details"]["version"])
        })
        .collect();
    told.sort();
    told
}

async fn streams_of(of: &Person, run: &Value) -> Vec<String> {
    assert_eq!(run["status"], "succeeded", "{run}");
    let snapshot = of.caller.get(&format!("/data/snapshots/{}", run["snapshot_id"].as_str().unwrap())).await;
    snapshot.expect(200)["streams"].as_object().unwrap().keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_was_uploaded_is_connected_and_backed_up_and_its_next_version_by_the_next_run() {
    let (app, product) = (App::start().await, product().await);
    let worker = app.worker();
    let ada = app.person("ada").await;
    let first = manifest("Shop of ours", &[stream("things", json!({}))]);
    let made = upload(&ada.caller, "shop", &first).await;
    assert_eq!(made.expect(201)["version"], 1);
    assert_eq!(made.body["streams"], json!(["things"]));
    assert_eq!(
        upload(&ada.caller, "shop", &first).await.expect(200)["version"],
        1,
        "the same text is the same version"
    );

    let all = ada.caller.get("/integrations").await;
    let items = all.expect(200)["items"].as_array().unwrap();
    let shop = items.iter().find(|item| item["name"] == "shop").unwrap();
    assert_eq!(
        shop,
        &json!({ "name": "shop", "title": "Shop of ours", "description": "", "sign_in": "settings", "origin": "account",
            "account_id": ada.account_id, "version": 1 })
    );
    assert!(items.iter().filter(|item| item["name"] != "shop").all(|item| item["origin"] == "builtin"), "{items:?}");
    let one = ada.caller.get("/integrations/shop").await;
    assert_eq!(one.expect(200)["settings_schema"]["properties"]["api_key"]["airbyte_secret"], true);
    assert_eq!((&one.body["streams"], &one.body["version"]), (&json!(["things"]), &json!(1)));

    let source = connected(&ada.caller, "Mine", "shop", &product.uri()).await;
    let tested = ada.caller.post(&format!("/sources/{}/test", id(&source)), &json!({})).await;
    assert_eq!(tested.expect(200)["ok"], true, "{}", tested.text);
    assert_eq!(streams_of(&ada, &run_to_its_end(&ada, &source).await).await, ["things"]);

    let second = manifest("Shop of ours", &[stream("things", json!({})), stream("others", json!({}))]);
    assert_eq!(upload(&ada.caller, "shop", &second).await.expect(201)["version"], 2);
    assert_eq!(streams_of(&ada, &run_to_its_end(&ada, &source).await).await, ["others", "things"]);
    assert_eq!(kinds(&ada.caller).await, ["integration.added \"shop\" 1", "integration.updated \"shop\" 2"]);

    let shown = ada.caller.get(&format!("/sources/{}", id(&source))).await;
    assert!(!shown.text.contains(CANARY), "{}", shown.text);
    app.assert_not_stored(CANARY);
    worker.stop();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_holds_for_accounts_below_until_one_has_its_own_and_for_no_other_account() {
    let (app, product) = (App::start().await, product().await);
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let below = child(&ada.caller, &ada.account_id.to_string(), "below").await;
    let there = at_work_in(&app, &ada, &below).await;
    upload(&ada.caller, "shop", &manifest("Above", &[stream("things", json!({}))])).await.expect(201);
    assert_eq!(there.get("/integrations/shop").await.expect(200)["title"], "Above");
    let source = connected(&there, "Mine", "shop", &product.uri()).await;
    let tested = there.post(&format!("/sources/{}/test", id(&source)), &json!({})).await;
    assert_eq!(tested.expect(200)["ok"], true, "{}", tested.text);

    // It is the account's above: not to be removed from below, nor above while somebody below uses it.
    there.delete("/integrations/shop").await.expect(404);
    let refused = ada.caller.delete("/integrations/shop").await;
    assert!(refused.expect(409)["detail"].as_str().unwrap().contains("of an account below"), "{}", refused.text);
    upload(&there, "shop", &manifest("Below", &[stream("others", json!({}))])).await.expect(201);
    assert_eq!(there.get("/integrations/shop").await.expect(200)["title"], "Below");
    assert_eq!(ada.caller.get("/integrations/shop").await.expect(200)["title"], "Above");
    // What is used below is the one there.
    ada.caller.delete("/integrations/shop").await.expect(204);

    eve.caller.get("/integrations/shop").await.expect(404);
    eve.caller.delete("/integrations/shop").await.expect(404);
    assert!(!eve.caller.get("/integrations").await.text.contains("shop\""));
    let body = json!({ "name": "Mine", "integration": "shop", "settings": {} });
    assert_eq!(eve.caller.post("/sources", &body).await.pointers(), ["/integration"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_a_source_uses_is_not_removed_and_one_that_is_removed_begins_anew() {
    let (app, product) = (App::start().await, product().await);
    let ada = app.person("ada").await;
    let text = manifest("Shop", &[stream("things", json!({}))]);
    upload(&ada.caller, "shop", &text).await.expect(201);
    let source = connected(&ada.caller, "Mine", "shop", &product.uri()).await;
    let refused = ada.caller.delete("/integrations/shop").await;
    assert!(refused.expect(409)["detail"].as_str().unwrap().contains(id(&source)), "{}", refused.text);
    ada.caller.delete(&format!("/sources/{}", id(&source))).await.expect(204);
    ada.caller.delete("/integrations/shop").await.expect(204);
    ada.caller.delete("/integrations/shop").await.expect(404);
    ada.caller.get("/integrations/shop").await.expect(404);
    ada.caller.delete("/integrations/stripe").await.expect(409);
    assert_eq!(rows(&app, &ada).await, 0);
    assert_eq!(upload(&ada.caller, "shop", &text).await.expect(201)["version"], 1);
    let told = kinds(&ada.caller).await;
    assert_eq!(
        told,
        ["integration.added \"shop\" 1", "integration.added \"shop\" 1", "integration.removed \"shop\" 1"]
    );
    app.stop().await;
}

/// Rows of integrations and their versions.
async fn rows(app: &App, of: &Person) -> usize {
    let query = Query {
        table: &INTEGRATIONS,
        index: None,
        partition: of.account_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 1000,
        after: None,
    };
    let items = app.store.page(&app.system, query).await.unwrap().items;
    items.iter().filter(|item| item.body["integrationKey"] != IntegrationGate::KEY).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_refused_with_all_that_is_wrong_and_a_broken_stream_is_a_warning() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let broken = stream("broken", json!({ "type": "SomethingElse" }));
    let none = upload(&ada.caller, "Shop #1", &manifest("Shop", std::slice::from_ref(&broken))).await;
    let pointers = none.pointers();
    assert!(pointers.len() >= 2 && pointers[0] == "/name" && pointers[1] == "/manifest", "{}", none.text);
    assert!(none.body["problems"][1]["detail"].as_str().unwrap().starts_with("manifest.yaml:1:"), "{}", none.text);
    assert!(none.text.contains("SomethingElse"), "{}", none.text);
    for (text, told) in [("a: [", "manifest.yaml:2:1: not YAML"), ("streams: 1", "manifest.yaml:1:"), ("", "/manifest")]
    {
        let refused = upload(&ada.caller, "shop", text).await;
        assert!(refused.pointers().iter().all(|pointer| *pointer == "/manifest"), "{}", refused.text);
        assert!(refused.text.contains(told), "{}", refused.text);
    }
    let sound = manifest("Shop", &[stream("things", json!({})), broken]);
    let taken = upload(&ada.caller, "shop", &sound).await;
    assert_eq!(taken.expect(201)["streams"], json!(["things"]));
    let warning =
        taken.body["warnings"].as_array().unwrap().iter().find(|one| one["severity"] == "unsupported").unwrap();
    assert!(warning["path"].as_str().unwrap().starts_with("streams[1]") && warning["line"] == 1, "{warning}");
    assert_eq!(upload(&ada.caller, "stripe", &sound).await.pointers(), ["/name"]);
    assert_eq!(upload(&ada.caller, "shop", &" ".repeat(600_000)).await.pointers(), ["/manifest"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_so_many_and_of_each_the_newest_versions() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let text = |n: u32| manifest(&format!("Shop {n}"), &[stream("things", json!({}))]);
    for n in 1..=VERSIONS_KEPT + 2 {
        assert_eq!(upload(&ada.caller, "shop", &text(n)).await.expect(201)["version"], n);
    }
    assert_eq!(rows(&app, &ada).await, VERSIONS_KEPT as usize + 1);
    assert_eq!(ada.caller.get("/integrations/shop").await.expect(200)["title"], "Shop 22");
    for n in 1..OWN_MAX {
        upload(&ada.caller, &format!("shop{n}"), &text(1)).await.expect(201);
    }
    assert_eq!(upload(&ada.caller, "more", &text(1)).await.pointers(), ["/manifest"]);
    ada.caller.delete("/integrations/shop").await.expect(204);
    upload(&ada.caller, "more", &text(1)).await.expect(201);

    // However many come at once for the last places, and each of another name.
    for n in 0..4 {
        ada.caller.delete(&format!("/integrations/shop{}", n + 1)).await.expect(204);
    }
    let (text, names) = (text(1), (0..12).map(|n| format!("late{n}")).collect::<Vec<_>>());
    let answers = join_all(names.iter().map(|name| upload(&ada.caller, name, &text))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(422)), (4, 8), "{answers:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_uploads_at_once_each_that_is_taken_is_a_version_of_its_own() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let texts: Vec<_> = (0..8).map(|n| manifest(&format!("{n}"), &[stream("things", json!({}))])).collect();
    let answers = join_all(texts.iter().map(|text| upload(&ada.caller, "shop", text))).await;
    let mut versions: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|made| made.body["version"].as_u64().unwrap())
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
    assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "{answers:?}");
    assert_eq!(ada.caller.get("/integrations/shop").await.expect(200)["version"], versions.len());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_upload_and_remove_and_everybody_who_reads_sees_them() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let text = manifest("Shop", &[stream("things", json!({}))]);
    upload(&ada.caller, "shop", &text).await.expect(201);
    for (name, role) in [("bob", Role::Operator), ("cy", Role::Viewer)] {
        let member = app.member(name, &ada, role).await;
        upload(&member.caller, "other", &text).await.expect(403);
        member.caller.delete("/integrations/shop").await.expect(403);
        member.caller.get("/integrations/shop").await.expect(200);
    }
    app.stop().await;
}

/// Requests that reached a server.
async fn reached(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_from_outside_reaches_nothing_inside_and_carries_no_secret_away() {
    let (app, product, evil) = (App::start().await, product().await, product().await);
    let inside = TcpListener::bind("127.0.0.2:0").unwrap();
    let private = format!("http://{}", inside.local_addr().unwrap());
    let worker = app.worker();
    let ada = app.person("ada").await;
    // Where the manifest's own address leads inside, also where a person's commands may go.
    let fixed = stream("things", json!({ "url_base": private }));
    upload(&ada.caller, "inside", &manifest("Inside", &[fixed])).await.expect(201);
    let source = connected(&ada.caller, "Inside", "inside", &product.uri()).await;
    let tested = ada.caller.post(&format!("/sources/{}/test", id(&source)), &json!({})).await;
    assert_eq!((&tested.expect(200)["ok"], &tested.body["code"]), (&json!(false), &json!("denied")), "{}", tested.text);
    // Where an answer names a host of its own.
    let mut told = stream("things", json!({ "url_base": "{{ stream_partition.place }}" }));
    let parents = json!({ "type": "ParentStreamConfig", "parent_key": "home", "partition_field": "place",
        "stream": stream("parents", json!({ "url_base": evil.uri(), "authenticator": { "type": "NoAuth" } })) });
    told["retriever"]["partition_router"] =
        json!({ "type": "SubstreamPartitionRouter", "parent_stream_configs": [parents] });
    told["retriever"]["requester"]["url_base"] =
        json!("{{ stream_partition.place | replace('127.0.0.1', 'localhost') }}");
    upload(&ada.caller, "carrier", &manifest("Carrier", &[told])).await.expect(201);
    let source = connected(&ada.caller, "Carrier", "carrier", &product.uri()).await;
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert_eq!(reached(&evil).await, 1, "the parents were read, without a secret");
    let sent = evil.received_requests().await.unwrap();
    assert!(!sent.iter().any(|request| format!("{request:?}").contains(CANARY)), "{sent:?}");
    // Where a message of the manifest's own would say it.
    let rule = json!({ "type": "DefaultErrorHandler", "max_retries": 0, "response_filters": [
        { "type": "HttpResponseFilter", "action": "FAIL", "http_codes": [200], "error_message": "{{ config['api_key'] }} is refused" }] });
    let talker = stream("things", json!({ "error_handler": rule }));
    upload(&ada.caller, "talker", &manifest("Talker", &[talker])).await.expect(201);
    let source = connected(&ada.caller, "Talker", "talker", &product.uri()).await;
    let run = run_to_its_end(&ada, &source).await;
    assert!(run["status"] == "failed" && !run.to_string().contains(CANARY), "{run}");
    assert!(!ada.caller.get("/activity?limit=200").await.text.contains(CANARY));
    app.assert_not_stored(CANARY);
    worker.stop();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_grows_without_end_is_refused_when_it_is_uploaded() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let aliases: String = (0..30).map(|n| format!("  l{0}: &l{0} [*l{n}, *l{n}]\n", n + 1)).collect();
    let grown = format!("definitions:\n  l0: &l0 x\n{aliases}version: 7.0.0\n");
    let deep = format!("definitions: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    for (text, told) in [(grown, "grows without end"), (deep, "recursion limit")] {
        let refused = upload(&ada.caller, "shop", &text).await;
        assert!(refused.pointers().contains(&"/manifest") && refused.text.contains(told), "{}", refused.text);
    }
    app.stop().await;
}
