//! Parts of the language that few manifests use. What is expected was taken from running the reference on the same answers.

use std::io::Write as _;

use serde_json::{Value, json};
use wiremock::{MockServer, Request, ResponseTemplate};

use super::kit::{Reading, at, connect, json_answer, product, query, read};

/// A request to `path` of the product.
fn requester(path: &str, more: &Value) -> Value {
    let mut requester = json!({"type": "HttpRequester", "url_base": "{{ config['base_url'] }}/", "path": path});
    requester.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    requester
}

fn selector(path: &[&str]) -> Value {
    json!({"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": path}})
}

/// The stream `things` with this retriever and further fields; JSON is YAML.
fn manifest(retriever: Value, more: &Value) -> String {
    let mut whole = json!({"type": "SimpleRetriever", "record_selector": selector(&["data"])});
    whole.as_object_mut().unwrap().extend(retriever.as_object().unwrap().clone());
    let mut stream = json!({
        "type": "DeclarativeStream", "name": "things", "primary_key": "id", "retriever": whole,
        "schema_loader": {"type": "InlineSchemaLoader", "schema": {"type": "object"}},
    });
    stream.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "version": "7.0.0", "type": "DeclarativeSource", "streams": [stream],
        "check": {"type": "CheckStream", "stream_names": ["things"]},
    })
    .to_string()
}

async fn things(server: &MockServer, text: &str) -> Reading {
    read(&connect(text, at(server)).unwrap(), "things", None, None).await
}

fn option(name: &str) -> Value {
    json!({"type": "RequestOption", "inject_into": "request_parameter", "field_name": name})
}

fn filter(action: &str, code: u16) -> Value {
    json!({"error_handler": {"type": "DefaultErrorHandler", "response_filters": [
        {"type": "HttpResponseFilter", "action": action, "http_codes": [code]},
    ]}})
}

fn number(request: &Request, name: &str) -> usize {
    query(request, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

async fn asked(server: &MockServer) -> Vec<String> {
    let requests = server.received_requests().await.unwrap();
    requests
        .iter()
        .map(|request| match request.url.query() {
            Some(query) => format!("{}?{query}", request.url.path()),
            None => request.url.path().to_owned(),
        })
        .collect()
}

fn kids(parent: &str, page: usize) -> Value {
    let next = (page < 2).then(|| format!("/kids/{parent}?page={}", page + 1));
    json!({"data": [{"id": format!("{parent}-{page}-0")}, {"id": format!("{parent}-{page}-1")}], "next": next})
}

#[tokio::test]
async fn children_that_come_inside_their_parent_are_asked_for_from_their_second_page_on() {
    let server = product(|request| match request.url.path().strip_prefix("/kids/") {
        Some(parent) => json_answer(kids(parent, number(request, "page"))),
        None => json_answer(json!({"data": [{"id": "p0", "kids": kids("p0", 0)}, {"id": "p9"}]})),
    })
    .await;
    let parent = json!({
        "type": "DeclarativeStream", "name": "parents",
        "retriever": {"type": "SimpleRetriever", "requester": requester("parents", &json!({})), "record_selector": selector(&["data"])},
    });
    let text = manifest(
        json!({
            "requester": requester("kids/{{ stream_partition.parent }}", &json!({})),
            "paginator": {"type": "DefaultPaginator", "page_token_option": {"type": "RequestPath"},
                "pagination_strategy": {"type": "CursorPagination", "cursor_value": "{{ response.get('next') }}"}},
            "partition_router": {"type": "SubstreamPartitionRouter", "parent_stream_configs": [{
                "type": "ParentStreamConfig", "parent_key": "id", "partition_field": "parent", "stream": parent,
                "lazy_read_pointer": ["kids"],
            }]},
        }),
        &json!({}),
    );
    let reading = things(&server, &text).await;
    assert_eq!(
        reading.ids(),
        ["p0-0-0", "p0-0-1", "p0-1-0", "p0-1-1", "p0-2-0", "p0-2-1"].map(|id| format!("\"{id}\""))
    );
    assert_eq!(asked(&server).await, ["/parents", "/kids/p0?page=1", "/kids/p0?page=2"]);
}

#[tokio::test]
async fn a_login_may_answer_in_xml() {
    let server = product(|request| match request.url.path() {
        "/login" => ResponseTemplate::new(200).set_body_string("<r><auth id='1'><tok>T-1</tok></auth></r>"),
        _ => {
            assert_eq!(request.headers.get("authorization").unwrap(), "Bearer T-1");
            json_answer(json!({"data": [{"id": 1}]}))
        }
    })
    .await;
    let auth = json!({"authenticator": {
        "type": "SessionTokenAuthenticator", "decoder": {"type": "XmlDecoder"}, "session_token_path": ["r", "auth", "tok"],
        "login_requester": requester("login", &json!({})), "request_authentication": {"type": "Bearer"},
    }});
    assert_eq!(things(&server, &manifest(json!({"requester": requester("x", &auth)}), &json!({}))).await.ids(), ["1"]);
}

#[tokio::test]
async fn every_file_of_an_archive_is_read() {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, text) in [("a.csv", "id,n\n1,a\n2,\"b,c\"\n"), ("b.csv", "id,n\n3,\n")] {
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    let body = archive.finish().unwrap().into_inner();
    let server = product(move |_| ResponseTemplate::new(200).set_body_bytes(body.clone())).await;
    let decoder = json!({"type": "ZipfileDecoder", "decoder": {"type": "CsvDecoder"}});
    let retriever =
        json!({"requester": requester("x", &json!({})), "decoder": decoder, "record_selector": selector(&[])});
    let reading = things(&server, &manifest(retriever, &json!({}))).await;
    let expected = [json!({"id": "1", "n": "a"}), json!({"id": "2", "n": "b,c"}), json!({"id": "3", "n": ""})];
    assert_eq!(reading.records, expected);
}

#[tokio::test]
async fn a_product_that_refuses_large_pages_is_asked_for_smaller_ones() {
    let server = product(|request| {
        let (size, offset) = (number(request, "size"), number(request, "offset"));
        if size > 3 {
            return ResponseTemplate::new(400);
        }
        let rows: Vec<Value> = (offset..(offset + size).min(8)).map(|id| json!({ "id": id })).collect();
        json_answer(json!({ "data": rows }))
    })
    .await;
    let retriever = json!({
        "requester": requester("x", &filter("REDUCE_PAGE_SIZE", 400)),
        "page_size_reduction": {"type": "PageSizeReduction", "backoff_seconds": 0},
        "paginator": {"type": "DefaultPaginator", "page_token_option": option("offset"), "page_size_option": option("size"),
            "pagination_strategy": {"type": "OffsetIncrement", "page_size": 8}},
    });
    let reading = things(&server, &manifest(retriever, &json!({}))).await;
    assert_eq!(reading.records.len(), 8);
    let sent = asked(&server).await;
    let expected = [
        "/x?size=8",
        "/x?size=4",
        "/x?size=2",
        "/x?offset=2&size=2",
        "/x?offset=4&size=2",
        "/x?offset=6&size=2",
        "/x?offset=8&size=2",
    ];
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_product_that_refuses_pages_of_every_size_ends_the_stream() {
    let server = product(|_| ResponseTemplate::new(400)).await;
    let retriever = json!({
        "requester": requester("x", &filter("REDUCE_PAGE_SIZE", 400)),
        "page_size_reduction": {"type": "PageSizeReduction", "backoff_seconds": 0, "failure_message": "Ask for less."},
        "paginator": {"type": "DefaultPaginator", "page_size_option": option("size"),
            "pagination_strategy": {"type": "OffsetIncrement", "page_size": 4}},
    });
    let error = things(&server, &manifest(retriever, &json!({}))).await.end.unwrap_err().to_string();
    assert!(error.contains("down to 1 records a page. Ask for less."), "{error}");
    let missing = manifest(json!({"requester": requester("x", &filter("REDUCE_PAGE_SIZE", 400))}), &json!({}));
    let error = things(&server, &missing).await.end.unwrap_err().to_string();
    assert!(error.contains("needs `page_size_reduction` in the retriever"), "{error}");
}

/// The first twelve days of a month, from `from` on.
fn days(from: &str, until: &str) -> Vec<Value> {
    let days = (1..=12).map(|day| format!("2024-01-{day:02}"));
    days.filter(|day| **day >= *from && **day <= *until).map(|day| json!({"id": day, "at": day})).collect()
}

fn cursor(more: &Value) -> Value {
    let mut cursor = json!({
        "type": "DatetimeBasedCursor", "cursor_field": "at", "datetime_format": "%Y-%m-%d",
        "start_datetime": "2024-01-01", "end_datetime": "2024-01-12", "start_time_option": option("from"),
    });
    cursor.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "incremental_sync": cursor })
}

#[tokio::test]
async fn a_product_that_refuses_deep_pages_is_asked_from_the_last_record_on() {
    let server = product(|request| {
        let page = number(request, "page");
        if page >= 2 {
            return ResponseTemplate::new(400);
        }
        let rows = days(&query(request, "from").unwrap(), "2024-01-12");
        json_answer(json!({"data": rows.into_iter().skip(page * 3).take(3).collect::<Vec<_>>()}))
    })
    .await;
    let retriever = json!({
        "requester": requester("x", &filter("RESET_PAGINATION", 400)),
        "pagination_reset": {"type": "PaginationReset", "action": "SPLIT_USING_CURSOR"},
        "paginator": {"type": "DefaultPaginator", "page_token_option": option("page"),
            "pagination_strategy": {"type": "PageIncrement", "page_size": 3}},
    });
    let reading = things(&server, &manifest(retriever, &cursor(&json!({})))).await;
    assert_eq!(reading.records.len(), 14, "two are sent again");
    assert_eq!(reading.state(), json!({"at": "2024-01-12"}));
    let expected = [
        "from=2024-01-01",
        "page=1&from=2024-01-01",
        "page=2&from=2024-01-01",
        "from=2024-01-06",
        "page=1&from=2024-01-06",
        "page=2&from=2024-01-06",
        "from=2024-01-11",
    ];
    assert_eq!(asked(&server).await, expected.map(|query| format!("/x?{query}")));
}

#[tokio::test]
async fn a_product_that_refuses_long_windows_is_asked_for_their_halves() {
    let server = product(|request| {
        let rows = days(&query(request, "from").unwrap(), &query(request, "to").unwrap());
        if rows.len() > 4 { ResponseTemplate::new(413) } else { json_answer(json!({ "data": rows })) }
    })
    .await;
    let retriever = json!({
        "requester": requester("x", &filter("SPLIT_REQUEST_WINDOW", 413)),
        "request_window_splitting": {"type": "RequestWindowSplitting"},
    });
    let stepped = cursor(&json!({"step": "P30D", "cursor_granularity": "P1D", "end_time_option": option("to")}));
    let reading = things(&server, &manifest(retriever, &stepped)).await;
    assert_eq!(reading.records.len(), 12);
    assert_eq!(reading.state(), json!({"at": "2024-01-12"}));
    let windows = [(1, 12), (1, 6), (1, 3), (4, 6), (7, 12), (7, 9), (10, 12)];
    assert_eq!(asked(&server).await, windows.map(|(from, to)| format!("/x?from=2024-01-{from:02}&to=2024-01-{to:02}")));
}

#[tokio::test]
async fn the_properties_that_a_product_lists_are_asked_for_in_parts_and_records_put_together() {
    let server = product(|request| {
        if request.url.path() == "/fields" {
            return json_answer(json!({"fields": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}));
        }
        let names = query(request, "fields").unwrap();
        let row = |id: usize| {
            let mut row = serde_json::Map::from_iter([("id".to_owned(), json!(id.to_string()))]);
            let wanted = names.split(',').filter(|name| *name != "id");
            row.extend(wanted.map(|name| (name.to_owned(), json!({"v": format!("{name}{id}")}))));
            Value::Object(row)
        };
        json_answer(json!({"data": [row(0), row(1)]}))
    })
    .await;
    let list = json!({"type": "PropertiesFromEndpoint", "property_field_path": ["name"], "retriever":
        {"type": "SimpleRetriever", "requester": requester("fields", &json!({})), "record_selector": selector(&["fields"])}});
    let properties = json!({"request_parameters": {"fields": {
        "type": "QueryProperties", "always_include_properties": ["id"], "property_list": list,
        "property_chunking": {"type": "PropertyChunking", "property_limit_type": "property_count", "property_limit": 2},
    }}});
    let reading = things(&server, &manifest(json!({"requester": requester("x", &properties)}), &json!({}))).await;
    let whole = |id: usize| json!({"id": id.to_string(), "a": {"v": format!("a{id}")}, "b": {"v": format!("b{id}")}, "c": {"v": format!("c{id}")}});
    assert_eq!(reading.records, [whole(0), whole(1)]);
    assert_eq!(asked(&server).await, ["/fields", "/x?fields=id%2Ca%2Cb", "/x?fields=id%2Cc"]);
}

#[tokio::test]
async fn requests_carry_a_token_that_we_sign() {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let server = product(|request| {
        let token = request.headers.get("x-jwt").unwrap().to_str().unwrap().strip_prefix("Token ").unwrap().to_owned();
        let parts: Vec<Value> = token
            .split('.')
            .take(2)
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        let mut claims = parts[1].clone();
        let lasts = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        claims.as_object_mut().unwrap().retain(|name, _| !["iat", "exp", "nbf"].contains(&name.as_str()));
        json_answer(json!({"data": [{"id": 1, "header": parts[0], "claims": claims, "lasts": lasts}]}))
    })
    .await;
    let auth = json!({"authenticator": {
        "type": "JwtAuthenticator", "secret_key": "a secret of thirty-two bytes or more", "algorithm": "HS256", "token_duration": 600,
        "header_prefix": "Token", "jwt_headers": {"kid": "k"}, "jwt_payload": {"iss": "me", "aud": "{{ config['base_url'][:4] }}"},
        "additional_jwt_payload": {"n": "{{ 5 }}"},
        "request_option": {"type": "RequestOption", "inject_into": "header", "field_name": "X-Jwt"},
    }});
    let reading = things(&server, &manifest(json!({"requester": requester("x", &auth)}), &json!({}))).await;
    let expected = json!({
        "id": 1, "lasts": 600, "header": {"kid": "k", "typ": "JWT", "alg": "HS256"}, "claims": {"n": 5, "iss": "me", "aud": "http"},
    });
    assert_eq!(reading.records, [expected]);
}

#[tokio::test]
async fn of_several_tokens_one_with_something_left_of_its_quota_is_used() {
    let server = product(|request| {
        let token = request.headers.get("authorization").unwrap().to_str().unwrap().to_owned();
        if request.url.path() == "/quota" {
            let remaining = if token == "token a" { 2 } else { 900 };
            return json_answer(json!({"core": {"remaining": remaining, "reset": 4_102_444_800_u64, "limit": 1000}}));
        }
        let page = number(request, "page");
        let rows: Vec<Value> = if page < 4 { vec![json!({"id": page, "token": token})] } else { Vec::new() };
        // The product counts differently: after the first page nothing is left of the first token.
        json_answer(json!({ "data": rows })).insert_header("x-left", if page == 0 { "0" } else { "500" })
    })
    .await;
    let auth = json!({"authenticator": {
        "type": "RateLimitedMultipleTokenAuthenticator", "tokens": "a, b", "auth_method": "token",
        "quota_status_source": {"url": "{{ config['base_url'] }}/quota"},
        "quotas": [{"name": "core", "remaining_path": ["core", "remaining"], "reset_path": ["core", "reset"],
            "limit_path": ["core", "limit"], "remaining_header": "x-left"}],
    }});
    let retriever = json!({
        "requester": requester("x", &auth),
        "paginator": {"type": "DefaultPaginator", "page_token_option": option("page"), "pagination_strategy": {"type": "PageIncrement"}},
    });
    let reading = things(&server, &manifest(retriever, &json!({}))).await;
    let used: Vec<&str> = reading.records.iter().map(|record| record["token"].as_str().unwrap()).collect();
    assert_eq!(used, ["token a", "token b", "token b", "token b"], "{:?}", reading.end);
    assert_eq!(asked(&server).await.iter().filter(|path| *path == "/quota").count(), 2, "once a token");
}

#[tokio::test]
async fn when_no_token_has_anything_left_the_wait_is_told() {
    let server = product(|_| json_answer(json!({"core": {"remaining": 0, "reset": "2100-01-01T00:00:00Z"}}))).await;
    let auth = json!({"authenticator": {
        "type": "RateLimitedMultipleTokenAuthenticator", "tokens": ["a"], "max_wait_time": "PT1S",
        "quota_status_source": {"url": "{{ config['base_url'] }}/quota"},
        "quotas": [{"name": "core", "remaining_path": ["core", "remaining"], "reset_path": ["core", "reset"]}],
    }});
    let error =
        things(&server, &manifest(json!({"requester": requester("x", &auth)}), &json!({}))).await.end.unwrap_err();
    assert_eq!(error.kind(), listbackup_connectors::ErrorKind::RateLimited, "{error}");
    assert!(error.retry_after().is_some());
}
