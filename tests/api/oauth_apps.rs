//! OAuth apps: given once for an account and all below it, or by the operator for all, and kept from whoever names hosts or manifests.

use listbackup::sandbox::{Sandbox, SandboxSettings};
use listbackup_engine::{model::Role, run::oauth_apps::PlatformApps};
use reqwest::Method;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{
    data::{approved, by_oauth, id, product, run_to_its_end, source, truth},
    families::{at_work_in, child},
    kit::{
        App, Person,
        client::{Answer, Caller, send},
    },
};

const APP: &str = "/integrations/sandbox/oauth/app";
const CLIENT: &str = "sandbox-client";
const SECRET: &str = "sandbox-secret";

/// Settings that say OAuth and name no client.
fn without_client(base_url: &str) -> Value {
    json!({ "base_url": base_url, "credentials": { "auth_type": "oauth" } })
}

fn host(product: &Sandbox) -> String {
    product.url().trim_start_matches("http://").to_owned()
}

fn app_of(client_id: &str, client_secret: &str, host: &str) -> Value {
    json!({ "client_id": client_id, "client_secret": client_secret, "hosts": [host] })
}

/// Another client, or another secret of the same, at the product.
async fn set_client(product: &Sandbox, client_id: &str, client_secret: &str) {
    let body = json!({ "client_id": client_id, "client_secret": client_secret });
    Caller::new(product.url()).put("/_sandbox/client", &body).await.expect(204);
}

async fn expire_access_tokens(product: &Sandbox) {
    Caller::new(product.url()).delete("/_sandbox/access_tokens").await.expect(204);
}

async fn state_of(of: &Person, source: &Value) -> Value {
    of.caller.get(&format!("/sources/{}", id(source))).await.expect(200)["state"].clone()
}

async fn test_of(of: &Caller, source: &Value) -> Answer {
    of.post(&format!("/sources/{}/test", id(source)), &json!({})).await
}

async fn sign_in(app: &App, of: &Person, source: &Value) {
    let callback = approved(of, source).await;
    app.nobody().get(&callback).await.expect(200);
}

/// A source that is signed in by the account's app, with the product behind it.
async fn signed_in(app: &App, of: &Person) -> (Sandbox, Value) {
    let product = product().await;
    of.caller.put(APP, &app_of(CLIENT, SECRET, &host(&product))).await.expect(200);
    let source = source(of, "Shop", &without_client(&product.url())).await;
    assert_eq!(source["state"], "needs_authorisation");
    sign_in(app, of, &source).await;
    (product, source)
}

async fn told(of: &Caller) -> Vec<Value> {
    let page = of.get("/activity?kind=integration&limit=200").await;
    let mut items = page.expect(200)["items"].as_array().unwrap().clone();
    items.reverse();
    items.iter().map(|event| json!([event["kind"], event["details"]["client_id"]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_client_is_backed_up_by_the_accounts_app_and_goes_on_with_its_next_secret() {
    let app = App::start().await;
    let worker = app.worker();
    let ada = app.person("ada").await;
    assert_eq!(ada.caller.get("/integrations/sandbox").await.expect(200)["has_oauth_app"], false);
    let (product, source) = signed_in(&app, &ada).await;
    let detail = ada.caller.get("/integrations/sandbox").await;
    assert_eq!(detail.expect(200)["has_oauth_app"], true);
    let all = ada.caller.get("/integrations").await;
    let of =
        |name: &str| all.body["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap().clone();
    assert_eq!((&of("sandbox")["has_oauth_app"], &of("hubspot")["has_oauth_app"]), (&json!(true), &json!(false)));
    assert!(of("stripe").get("has_oauth_app").is_none());

    let run = run_to_its_end(&ada, &source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let snapshot = ada.caller.get(&format!("/data/snapshots/{}", run["snapshot_id"].as_str().unwrap())).await;
    assert_eq!(snapshot.expect(200)["streams"]["contacts"]["records"], truth(&product, "contacts").await.len());

    // Another secret of the same client: nobody has to sign in again.
    set_client(&product, CLIENT, "rotated-secret").await;
    expire_access_tokens(&product).await;
    ada.caller.put(APP, &app_of(CLIENT, "rotated-secret", &host(&product))).await.expect(200);
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    let stats = Caller::new(product.url()).get("/_sandbox/stats").await;
    assert_eq!(stats.expect(200)["tokens_issued"], 2, "the sign-in's, and those that were renewed");

    for path in [APP, "/activity?limit=200", &format!("/sources/{}", id(&source))] {
        let shown = ada.caller.get(path).await;
        assert_eq!(shown.status, 200, "{path}: {}", shown.text);
        assert!(!shown.text.contains(SECRET) && !shown.text.contains("rotated-secret"), "{path}: {}", shown.text);
    }
    app.assert_not_stored(SECRET);
    app.assert_not_stored("rotated-secret");
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_another_app_or_none_a_source_asks_for_a_new_sign_in_which_then_works() {
    let app = App::start().await;
    let worker = app.worker();
    let ada = app.person("ada").await;
    let (product, source) = signed_in(&app, &ada).await;
    assert_eq!(test_of(&ada.caller, &source).await.expect(200)["ok"], true);
    // Replaced.
    set_client(&product, "other-client", "other-secret").await;
    ada.caller.put(APP, &app_of("other-client", "other-secret", &host(&product))).await.expect(200);
    let tested = test_of(&ada.caller, &source).await;
    assert_eq!(
        (&tested.expect(200)["ok"], &tested.body["code"]),
        (&json!(false), &json!("reauthorise")),
        "{}",
        tested.text
    );
    assert!(tested.text.contains("replaced or removed: sign in again"), "{}", tested.text);
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("reauthorise")), "{run}");
    assert_eq!(state_of(&ada, &source).await, "needs_authorisation");
    sign_in(&app, &ada, &source).await;
    assert_eq!(state_of(&ada, &source).await, "active");
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    // Removed.
    ada.caller.delete(APP).await.expect(204);
    let run = run_to_its_end(&ada, &source).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("reauthorise")), "{run}");
    assert_eq!(state_of(&ada, &source).await, "needs_authorisation");
    let begun = ada.caller.post(&format!("/sources/{}/reconnect", id(&source)), &json!({})).await;
    assert!(begun.expect(422)["problems"][0]["pointer"].as_str().unwrap().ends_with("/client_id"), "{}", begun.text);
    // Settings of its own take its place, by a sign-in of their own.
    let own = json!({ "settings": { "base_url": product.url(), "credentials": { "auth_type": "oauth",
        "client_id": "other-client", "client_secret": "other-secret" } } });
    ada.caller.patch(&format!("/sources/{}", id(&source)), &own).await.expect(200);
    sign_in(&app, &ada, &source).await;
    assert_eq!(test_of(&ada.caller, &source).await.expect(200)["ok"], true);
    let kinds = told(&ada.caller).await;
    let set = |client: &str| json!(["integration.app_set", client]);
    assert_eq!(kinds, [set(CLIENT), set("other-client"), json!(["integration.app_removed", "other-client"])]);
    worker.stop();
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_app_counts_and_the_platforms_where_no_account_has_one() {
    let product = product().await;
    let of_all = json!({ "sandbox": app_of(CLIENT, SECRET, &host(&product)) });
    let app = App::start_with_apps(PlatformApps::read(&of_all.to_string()).unwrap()).await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let below = child(&ada.caller, &ada.account_id.to_string(), "below").await;
    let there =
        Person { account_id: below.parse().unwrap(), caller: at_work_in(&app, &ada, &below).await, ..ada.clone() };
    // The platform's.
    let shown = there.caller.get(APP).await;
    assert_eq!(shown.expect(200), &json!({ "client_id": CLIENT, "hosts": [host(&product)], "origin": "platform" }));
    let source = source(&there, "Shop", &without_client(&product.url())).await;
    sign_in(&app, &there, &source).await;
    assert_eq!(test_of(&there.caller, &source).await.expect(200)["ok"], true);
    there.caller.delete(APP).await.expect(404);
    // The parent's goes before it, and the account's own before that.
    let begun_with = async |client: &str| {
        let begun = there.caller.post(&format!("/sources/{}/reconnect", id(&source)), &json!({})).await;
        let url = begun.expect(200)["authorize_url"].as_str().unwrap().to_owned();
        assert!(url.contains(&format!("client_id={client}&")), "{url}");
    };
    ada.caller.put(APP, &app_of("above", "secret-above", &host(&product))).await.expect(200);
    let shown = there.caller.get(APP).await;
    let (origin, account_id) = (&shown.expect(200)["origin"], &shown.body["account_id"]);
    assert_eq!(
        (origin, account_id, &shown.body["client_id"]),
        (&json!("above"), &json!(ada.account_id), &json!("above"))
    );
    begun_with("above").await;
    there.caller.delete(APP).await.expect(404);
    there.caller.put(APP, &app_of("own", "secret-own", "api.example.com")).await.expect(200);
    assert_eq!(there.caller.get(APP).await.expect(200)["origin"], "account");
    assert_eq!(ada.caller.get(APP).await.expect(200)["client_id"], "above");
    begun_with("own").await;
    // A stranger sees, changes and removes none of it.
    assert_eq!(eve.caller.get(APP).await.expect(200)["origin"], "platform");
    eve.caller.delete(APP).await.expect(404);
    there.caller.delete(APP).await.expect(204);
    ada.caller.delete(APP).await.expect(204);
    // The one that it was signed in by counts again.
    assert_eq!(test_of(&there.caller, &source).await.expect(200)["ok"], true);
    app.stop().await;
    product.stop().await.unwrap();
}

/// A server that answers everything, for whoever wants a secret sent there.
async fn receiver() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_is_sent_to_no_host_that_the_app_does_not_name_whatever_settings_say() {
    let (app, evil) = (App::start().await, receiver().await);
    let ada = app.person("ada").await;
    let (product, signed_in) = signed_in(&app, &ada).await;
    let below = child(&ada.caller, &ada.account_id.to_string(), "below").await;
    let there =
        Person { account_id: below.parse().unwrap(), caller: at_work_in(&app, &ada, &below).await, ..ada.clone() };
    // At the sign-in: the browser comes back with a code for a token endpoint elsewhere.
    let made = source(&there, "Trap", &without_client(&evil.uri())).await;
    let begun = there.caller.post(&format!("/sources/{}/reconnect", id(&made)), &json!({})).await;
    let url: url::Url = begun.expect(200)["authorize_url"].as_str().unwrap().parse().unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let refused = app.nobody().get(&format!("/integrations/oauth/callback?state={state}&code=x")).await;
    let detail = refused.expect(403)["detail"].as_str().unwrap();
    assert!(detail.contains("hosts") && detail.contains("not sent"), "{detail}");
    assert!(evil.received_requests().await.unwrap().is_empty(), "nothing is sent");
    // At a renewal: a source that was signed in is pointed elsewhere.
    let moved = json!({ "settings": without_client(&evil.uri()) });
    ada.caller.patch(&format!("/sources/{}", id(&signed_in)), &moved).await.expect(200);
    let tested = test_of(&ada.caller, &signed_in).await;
    assert_eq!((&tested.expect(200)["ok"], &tested.body["code"]), (&json!(false), &json!("denied")), "{}", tested.text);
    let requests = evil.received_requests().await.unwrap();
    assert!(requests.iter().all(|request| request.method == "GET"), "no token is asked for: {requests:?}");
    assert!(!requests.iter().any(|request| format!("{request:?}").contains(SECRET)), "{requests:?}");
    for answer in [refused, tested] {
        assert!(!answer.text.contains(SECRET), "{}", answer.text);
    }
    app.stop().await;
    product.stop().await.unwrap();
}

/// A manifest of the account's own that signs in by OAuth at `base_url`, with `more` in the address that the browser is sent to.
fn crm(more: &str) -> String {
    let text = json!({ "type": "string" });
    let secret = json!({ "type": "string", "airbyte_secret": true });
    let place = |name: &str| json!({ "type": "string", "path_in_connector_config": [name] });
    json!({
        "version": "7.0.0", "type": "DeclarativeSource", "check": { "type": "CheckStream", "stream_names": ["tags"] },
        "streams": [{ "type": "DeclarativeStream", "name": "tags", "primary_key": "id", "retriever": {
            "type": "SimpleRetriever",
            "requester": { "type": "HttpRequester", "url_base": "{{ config['base_url'] }}/", "path": "tags",
                "authenticator": { "type": "OAuthAuthenticator", "token_refresh_endpoint": "{{ config['base_url'] }}/oauth/token",
                    "client_id": "{{ config['client_id'] }}", "client_secret": "{{ config['client_secret'] }}",
                    "refresh_token": "{{ config['refresh_token'] }}" } },
            "record_selector": { "type": "RecordSelector",
                "extractor": { "type": "DpathExtractor", "field_path": ["tags"] } } } }],
        "spec": { "type": "Spec",
            "connection_specification": { "type": "object", "required": ["base_url", "client_id", "client_secret"],
                "properties": { "base_url": text, "client_id": text, "client_secret": text, "refresh_token": secret,
                    "access_token": secret } },
            "advanced_auth": { "auth_flow_type": "oauth2.0", "oauth_config_specification": {
                "oauth_connector_input_specification": {
                    "consent_url": format!("{{{{ config['base_url'] }}}}/oauth/authorize?{{{{ client_id_key }}}}={{{{ client_id_value }}}}{more}"),
                    "access_token_url": "{{ config['base_url'] }}/oauth/token" },
                "complete_oauth_output_specification": { "type": "object",
                    "properties": { "access_token": place("access_token"), "refresh_token": place("refresh_token") } },
                "complete_oauth_server_output_specification": { "type": "object",
                    "properties": { "client_id": place("client_id"), "client_secret": place("client_secret") } } } } },
    })
    .to_string()
}

async fn upload(of: &Caller, manifest: &str) {
    of.post("/integrations", &json!({ "name": "crm", "manifest": manifest })).await.expect(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_own_manifest_gets_no_app_from_above_it() {
    const PATH: &str = "/integrations/crm/oauth/app";
    let product = product().await;
    let of_all = json!({ "crm": app_of("of-all", "secret-of-all", &host(&product)) });
    let app = App::start_with_apps(PlatformApps::read(&of_all.to_string()).unwrap()).await;
    let ada = app.person("ada").await;
    let below = child(&ada.caller, &ada.account_id.to_string(), "below").await;
    let there = at_work_in(&app, &ada, &below).await;
    upload(&ada.caller, &crm("")).await;
    ada.caller.get(PATH).await.expect(404);
    ada.caller.put(PATH, &app_of(CLIENT, SECRET, &host(&product))).await.expect(200);
    // By the manifest of whoever has the app, sources below use it.
    assert_eq!(there.get(PATH).await.expect(200)["origin"], "above");
    let body = json!({ "name": "One", "integration": "crm", "settings": { "base_url": product.url() } });
    let one = there.post("/sources", &body).await;
    assert_eq!(one.expect(201)["state"], "needs_authorisation");
    let begun = there.post(&format!("/sources/{}/reconnect", id(&one.body)), &json!({})).await;
    assert!(begun.expect(200)["authorize_url"].as_str().unwrap().contains(CLIENT), "{}", begun.text);
    // Not even its manifest shows the secret to whoever signs in.
    upload(&ada.caller, &crm("&x={{ config['client_secret'] }}")).await;
    let refused = there.post(&format!("/sources/{}/reconnect", id(&one.body)), &json!({})).await;
    assert!(refused.expect(403)["detail"].as_str().unwrap().contains("would show the secret"), "{}", refused.text);
    assert!(!refused.text.contains(SECRET), "{}", refused.text);
    // By a manifest from below they do not, though it has the same name.
    upload(&there, &crm("")).await;
    there.get(PATH).await.expect(404);
    let detail = there.get("/integrations/crm").await;
    assert_eq!(detail.expect(200)["has_oauth_app"], false);
    let body = json!({ "name": "Two", "integration": "crm", "settings": { "base_url": product.url() } });
    let refused = there.post("/sources", &body).await;
    assert_eq!(refused.pointers(), ["/settings/client_id", "/settings/client_secret"]);
    let begun = there.post(&format!("/sources/{}/reconnect", id(&one.body)), &json!({})).await;
    assert_eq!(begun.expect(422)["problems"][0]["pointer"], "/client_id", "{}", begun.text);
    let tested = test_of(&there, &one.body).await;
    assert_eq!(tested.expect(200)["ok"], false, "{}", tested.text);
    // One of its own it gets.
    there.put(PATH, &app_of("below", "secret-below", &host(&product))).await.expect(200);
    assert_eq!(there.get("/integrations/crm").await.expect(200)["has_oauth_app"], true);
    let begun = there.post(&format!("/sources/{}/reconnect", id(&one.body)), &json!({})).await;
    assert!(begun.expect(200)["authorize_url"].as_str().unwrap().contains("below"), "{}", begun.text);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_with_a_client_of_their_own_take_nothing_of_an_app() {
    let app = App::start().await;
    let product = product().await;
    let ada = app.person("ada").await;
    ada.caller.put(APP, &app_of("wrong-client", "wrong-secret", "api.example.com")).await.expect(200);
    let own = source(&ada, "Own", &by_oauth(&product)).await;
    sign_in(&app, &ada, &own).await;
    assert_eq!(test_of(&ada.caller, &own).await.expect(200)["ok"], true);
    // Half a client is not made whole with half an app.
    let mut half = by_oauth(&product);
    half["credentials"].as_object_mut().unwrap().remove("client_secret");
    let body = json!({ "name": "Half", "integration": "sandbox", "settings": half });
    let refused = ada.caller.post("/sources", &body).await;
    refused.expect(422);
    assert!(refused.text.contains("client_secret"), "{}", refused.text);
    // A key is no OAuth.
    let by_key = json!({ "base_url": product.url(), "credentials": { "auth_type": "api_key", "api_key": SandboxSettings::default().api_key } });
    let by_key = source(&ada, "Key", &by_key).await;
    assert_eq!(by_key["state"], "active");
    assert_eq!(test_of(&ada.caller, &by_key).await.expect(200)["ok"], true);
    app.stop().await;
    product.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_see_and_change_an_app_and_nobody_its_secret() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let wanted = app_of("client", "a-canary-secret", "*.Example.com");
    ada.caller.get(APP).await.expect(404);
    let set = ada.caller.put(APP, &wanted).await;
    assert_eq!((&set.expect(200)["hosts"], &set.body["origin"]), (&json!(["*.example.com"]), &json!("account")));
    let first = set.header("etag").to_owned();
    let again = ada.caller.put(APP, &wanted).await;
    assert_eq!((again.expect(200), again.header("etag")), (&set.body, &*first), "the same once more changes nothing");
    assert_eq!(told(&ada.caller).await, [json!(["integration.app_set", "client"])]);
    for (name, role) in [("bob", Role::Operator), ("cy", Role::Viewer)] {
        let member = app.member(name, &ada, role).await;
        member.caller.get(APP).await.expect(403);
        member.caller.put(APP, &wanted).await.expect(403);
        member.caller.delete(APP).await.expect(403);
        assert_eq!(member.caller.get("/integrations/sandbox").await.expect(200)["has_oauth_app"], true);
    }
    eve.caller.get(APP).await.expect(404);
    // Whoever changes it under a tag has seen what it is now.
    let under = async |tag: &str| {
        let other = app_of("client", "another-canary", "a.example.com");
        send(ada.caller.request(Method::PUT, APP).header("if-match", tag).json(&other)).await
    };
    assert_eq!(under("\"0\"").await.expect(412)["code"], "stale");
    let changed = under(&first).await;
    changed.expect(200);
    under(&first).await.expect(412);
    for answer in [&set, &changed, &ada.caller.get(APP).await, &ada.caller.get("/activity").await] {
        assert!(!answer.text.contains("canary"), "{}", answer.text);
    }
    for (path, status) in [("/integrations/stripe/oauth/app", 409), ("/integrations/nothing/oauth/app", 404)] {
        ada.caller.put(path, &wanted).await.expect(status);
    }
    let wrong = json!({ "client_id": " ", "client_secret": "canary", "hosts": ["a.example", "https://a.example"] });
    let refused = ada.caller.put(APP, &wrong).await;
    refused.expect(422);
    assert!(!refused.text.contains("canary"), "{}", refused.text);
    let wrong =
        json!({ "client_id": " x", "client_secret": "canary-canary\n", "hosts": ["a.example", "https://a.example"] });
    let refused = ada.caller.put(APP, &wrong).await;
    assert_eq!(refused.pointers(), ["/client_id", "/client_secret", "/hosts/1"]);
    assert!(!refused.text.contains("canary"), "{}", refused.text);
    app.assert_not_stored("canary");
    app.stop().await;
}
