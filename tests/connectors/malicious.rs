//! Manifests and answers that want a secret, or all of the memory.

use std::sync::Arc;

use listbackup_connectors::{Connector, ErrorKind, ReadRequest, manifest::ManifestIntegration};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::kit::{Answer, connect, json_answer, product, read};

const CANARY: &str = "CANARY-5f1c9e";

fn with(mut object: Value, more: Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

fn requester(more: Value) -> Value {
    with(json!({"type": "HttpRequester", "url_base": "{{ config['base_url'] }}/", "path": "things"}), more)
}

fn bearer() -> Value {
    json!({"authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['api_key'] }}"}})
}

fn stream(name: &str, requester: Value, retriever: Value) -> Value {
    let plain = json!({
        "type": "SimpleRetriever", "requester": requester,
        "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}},
    });
    json!({"type": "DeclarativeStream", "name": name, "primary_key": "id", "retriever": with(plain, retriever)})
}

/// One child of each record of a parent, at what `place` of the parent says.
fn child(place: &str, more: Value) -> Value {
    let parent = stream("parents", requester(json!({"path": "parents"})), json!({}));
    let config =
        json!({"type": "ParentStreamConfig", "parent_key": place, "partition_field": "place", "stream": parent});
    let router = json!({"type": "SubstreamPartitionRouter", "parent_stream_configs": [config]});
    stream("things", requester(more), json!({ "partition_router": router }))
}

fn manifest(streams: Value, more: Value) -> String {
    let secret = json!({"type": "string", "airbyte_secret": true});
    let whole = json!({
        "version": "7.0.0", "type": "DeclarativeSource", "streams": streams,
        "check": {"type": "CheckStream", "stream_names": ["things"]},
        "spec": {"type": "Spec", "connection_specification": {"type": "object", "properties": {"api_key": secret}}},
    });
    with(whole, more).to_string()
}

/// A server at another address, which nobody named.
async fn elsewhere() -> MockServer {
    let server = MockServer::builder().listener(std::net::TcpListener::bind("127.0.0.2:0").unwrap()).start().await;
    let all = |_: &Request| json_answer(json!({"data": [{"id": 9}]}));
    Mock::given(any()).respond_with(Answer(all)).mount(&server).await;
    server
}

fn settings(server: &MockServer) -> Value {
    json!({"base_url": server.uri(), "api_key": CANARY})
}

/// Everything that a server was sent.
async fn received(server: &MockServer) -> String {
    let requests = server.received_requests().await.unwrap();
    let shown = |request: &Request| {
        format!("{} {:?} {}\n", request.url, request.headers, String::from_utf8_lossy(&request.body))
    };
    requests.iter().map(shown).collect()
}

/// A product whose answers lead to `address`.
async fn product_that_leads_to(address: String) -> MockServer {
    product(move |request| match request.url.path() {
        "/parents" => json_answer(json!({"data": [{"id": 1, "home": address, "page": format!("{address}/x")}]})),
        "/moved" => ResponseTemplate::new(307).insert_header("location", format!("{address}/moved").as_str()),
        "/components" => json_answer(json!({"data": [
            {"id": "made", "home": format!("{address}/{{{{ config['api_key'] }}}}")},
        ]})),
        _ => json_answer(json!({"data": [{"id": 1}], "next": format!("{address}/next")})),
    })
    .await
}

/// A stream whose address is what the product says.
fn told(more: Value) -> Value {
    child("home", with(json!({"url_base": "{{ stream_partition.place }}"}), more))
}

/// Streams that the product describes, with their address.
fn described() -> Value {
    json!({"dynamic_streams": [{
        "type": "DynamicDeclarativeStream", "name": "made", "stream_template": stream("things", requester(json!({})), json!({})),
        "components_resolver": {
            "type": "HttpComponentsResolver", "retriever": {
                "type": "SimpleRetriever", "requester": requester(json!({"path": "components"})),
                "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}},
            },
            "components_mapping": [{
                "type": "ComponentMappingDefinition", "field_path": ["retriever", "requester", "url_base"],
                "value": "{{ components_values['home'] }}",
            }],
        },
    }]})
}

/// Streams that would carry the secret away.
fn carriers() -> Vec<(&'static str, Value)> {
    let key = "{{ config.api_key }}";
    let body = json!({"http_method": "POST", "request_body_json": { "k": key }});
    let by_link = json!({"paginator": {"type": "DefaultPaginator", "page_token_option": {"type": "RequestPath"},
        "pagination_strategy": {"type": "CursorPagination", "cursor_value": "{{ response.next }}"}}});
    let moved = with(with(bearer(), body.clone()), json!({"path": "moved"}));
    vec![
        ("a next page", stream("things", requester(bearer()), by_link)),
        ("a host from a record", told(bearer())),
        ("the same, and a header", told(json!({"request_headers": { "X": key }}))),
        ("the same, and a query", told(json!({"request_parameters": { "k": key }}))),
        ("the same, and a body", told(body)),
        ("the same, and the path", told(json!({ "path": key }))),
        ("an address from a record", child("page", with(bearer(), json!({"path": "{{ stream_partition.place }}"})))),
        ("a body that is redirected", stream("things", requester(moved), json!({}))),
    ]
}

#[tokio::test]
async fn a_secret_goes_to_no_host_that_only_an_answer_names() {
    let evil = elsewhere().await;
    let server = product_that_leads_to(evil.uri()).await;
    let described = manifest(json!([]), described()).replace("\"streams\":[],", "");
    let texts = carriers().into_iter().map(|(what, stream)| (what, manifest(json!([stream]), json!({}))));
    for (what, text) in texts.chain([("a stream that the product describes", described)]) {
        let connector = connect(&text, settings(&server)).unwrap_or_else(|error| panic!("{what}: {error}"));
        let error = read(&connector, "things", None, None).await.end.map(drop).expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Denied, "{what}: {error}");
        assert!(!error.to_string().contains(CANARY), "{what}: {error}");
        assert_eq!(received(&evil).await, "", "{what}");
    }
    // A redirect is followed, without what signs; and so is a host from an answer where nothing of the settings is sent.
    let moved = stream("things", requester(with(bearer(), json!({"path": "moved"}))), json!({}));
    for stream in [moved, told(json!({}))] {
        let connector = connect(&manifest(json!([stream]), json!({})), settings(&server)).unwrap();
        assert_eq!(read(&connector, "things", None, None).await.ids(), ["9"]);
    }
    let sent = received(&evil).await;
    assert!(sent.contains(&evil.address().to_string()) && !sent.contains(CANARY), "{sent}");
}

/// Streams that put the secret into an error.
fn talkers() -> Vec<(&'static str, Value)> {
    let rule = |action: &str, message: &str| {
        json!({"error_handler": {"type": "DefaultErrorHandler", "max_retries": 0, "response_filters": [
            {"type": "HttpResponseFilter", "action": action, "http_codes": [403], "error_message": message},
        ]}})
    };
    let login = json!({"authenticator": {
        "type": "SessionTokenAuthenticator", "login_requester": requester(json!({"path": "login"})), "session_token_path": ["token"],
        "request_authentication": {"type": "Bearer"},
    }});
    let list = |values: &str| json!({"partition_router": {"type": "ListPartitionRouter", "values": values, "cursor_field": "p"}});
    let size = json!({"paginator": {"type": "DefaultPaginator", "page_size_option":
        {"type": "RequestOption", "inject_into": "request_parameter", "field_name": "n"},
        "pagination_strategy": {"type": "PageIncrement", "page_size": "{{ config['api_key'] }}"}}});
    let (echo, fine) = (rule("FAIL", "{{ response.echo }}"), json!({"path": "fine"}));
    let host = with(json!({"url_base": "http://{{ config['api_key'] }}.invalid"}), rule("FAIL", ""));
    let none = json!({});
    [
        ("a message", rule("FAIL", "{{ config['api_key'] }} is refused"), none.clone()),
        ("an answer that repeats the header", with(bearer(), echo.clone()), none.clone()),
        ("an answer that repeats a login's token", with(login, echo), none.clone()),
        ("a path", json!({"path": "bot{{ config['api_key'] }}/things"}), none.clone()),
        ("a host", host, none),
        ("a list that is none", fine.clone(), list("{{ config['api_key'] }}")),
        ("a size that is none", fine, size),
        ("a part that is left out", rule("IGNORE", ""), list("{{ [config['api_key']] }}")),
    ]
    .map(|(what, more, retriever)| (what, stream("things", requester(more), retriever)))
    .to_vec()
}

#[tokio::test]
async fn no_error_holds_a_secret_whatever_the_manifest_puts_into_it() {
    let server = product(|request| {
        let authorization = request.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
        match request.url.path() {
            "/login" => json_answer(json!({"token": "session-7c2b"})),
            "/fine" => json_answer(json!({"data": []})),
            _ => ResponseTemplate::new(403).set_body_json(json!({"echo": authorization})),
        }
    })
    .await;
    for (what, stream) in talkers() {
        let connector = connect(&manifest(json!([stream]), json!({})), settings(&server)).unwrap();
        let told = match read(&connector, "things", None, None).await.end {
            Err(error) => format!("{error} {error:?}"),
            Ok(end) => format!("{:?}", end.failed_items),
        };
        let is_hidden = ![CANARY, &CANARY.to_lowercase(), "session-7c2b"].iter().any(|secret| told.contains(secret));
        assert!(is_hidden && told.contains("SECRET-"), "{what}: {told}");
    }
}

/// Loads it and says what is wrong with it.
fn refusal(text: &str) -> String {
    ManifestIntegration::parse("test", "manifest.yaml", text).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn a_manifest_that_grows_without_end_is_refused() {
    let growing = |entry: &dyn Fn(usize) -> String| -> String { (0..30).map(entry).collect() };
    let references = growing(&|n| format!("  l{}: [\"#/definitions/l{n}\", \"#/definitions/l{n}\"]\n", n + 1));
    let aliases = growing(&|n| format!("  l{0}: &l{0} [*l{n}, *l{n}]\n", n + 1));
    let handlers = growing(&|n| {
        format!(
            "  h{}: {{type: CompositeErrorHandler, error_handlers: [\"#/definitions/h{n}\", \"#/definitions/h{n}\"]}}\n",
            n + 1
        )
    });
    let rest = |handler: &str| {
        format!(
            "version: 7.0.0\ntype: DeclarativeSource\ncheck: {{type: CheckStream, stream_names: [a]}}\nstreams:\n  - {{type: \
             DeclarativeStream, name: a, retriever: {{type: SimpleRetriever, requester: {{type: HttpRequester, url_base: \
             \"http://a.example\", error_handler: {handler}}}, record_selector: {{type: RecordSelector, extractor: {{type: \
             DpathExtractor, field_path: []}}}}}}}}\n"
        )
    };
    let deep = format!("definitions: {}{}\n", "[".repeat(5_000), "]".repeat(5_000));
    for (what, text, told) in [
        ("references", format!("definitions:\n  l0: x\n{references}{}", rest("{}")), "grows without end"),
        ("aliases", format!("definitions:\n  l0: &l0 x\n{aliases}{}", rest("{}")), "grows without end"),
        (
            "components inside each other",
            format!("definitions:\n  h0: {{type: DefaultErrorHandler}}\n{handlers}{}", rest("\"#/definitions/h30\"")),
            "grows without end",
        ),
        ("depth", format!("{deep}{}", rest("{}")), "recursion limit"),
        (
            "a circle",
            format!("definitions:\n  a: \"#/definitions/b\"\n  b: \"#/definitions/a\"\n{}", rest("{}")),
            "back to itself",
        ),
    ] {
        assert!(refusal(&text).contains(told), "{what}: {}", refusal(&text));
    }
    assert_eq!(refusal(&rest("{}")), "");
}

#[tokio::test]
async fn a_product_of_lists_is_read_from_its_beginning_however_long_it_is() {
    let server = product(|request| json_answer(json!({"data": [{"id": request.url.query()}]}))).await;
    let numbers: Vec<String> = (0..1_000).map(|number| number.to_string()).collect();
    let router = |name: &str| {
        json!({"type": "ListPartitionRouter", "values": numbers, "cursor_field": name, "request_option":
            {"type": "RequestOption", "inject_into": "request_parameter", "field_name": name}})
    };
    // A quadrillion of combinations.
    let routers: Vec<Value> = ["a", "b", "c", "d", "e"].map(router).to_vec();
    let text =
        manifest(json!([stream("things", requester(json!({})), json!({ "partition_router": routers }))]), json!({}));
    let connector = connect(&text, settings(&server)).unwrap();
    let stream = Arc::new(connector.discover().await.unwrap().streams.remove(0));
    let (to, mut from) = mpsc::channel(2);
    let task =
        tokio::spawn(async move { connector.read(ReadRequest { stream, state: None, position: None }, to).await });
    for _ in 0..100 {
        assert!(from.recv().await.is_some());
    }
    drop(from);
    assert_eq!(task.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn settings_make_ten_thousand_streams_and_no_more() {
    let lists: Vec<Value> =
        ["a", "b", "c"].map(|name| json!({"type": "StreamConfig", "configs_pointer": [name]})).to_vec();
    let made = json!({"dynamic_streams": [{
        "type": "DynamicDeclarativeStream", "name": "made", "stream_template": stream("things", requester(json!({})), json!({})),
        "components_resolver": {"type": "ConfigComponentsResolver", "stream_config": lists, "components_mapping": [{
            "type": "ComponentMappingDefinition", "field_path": ["name"], "value": "{{ components_values }}",
        }]},
    }]});
    let text = manifest(json!([]), made).replace("\"streams\":[],", "");
    let many: Vec<u32> = (0..200).collect();
    let connector: Arc<dyn Connector> =
        connect(&text, json!({"base_url": "http://127.0.0.1", "a": many, "b": many, "c": many})).unwrap();
    let error = connector.discover().await.unwrap_err().to_string();
    assert!(error.contains("more than 10000 streams"), "{error}");
}
