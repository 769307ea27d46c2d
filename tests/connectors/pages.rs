//! Pages: how the next one is found, and what a page must not be.

use listbackup_connectors::ErrorKind;
use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::kit::{at, connect, json_answer, manifest, product, query, read};

fn stream(paginator: &str) -> String {
    manifest(&format!(
        "  - type: DeclarativeStream\n    name: things\n    primary_key: id\n    retriever:\n      type: SimpleRetriever\n      \
         requester: {{type: HttpRequester, url_base: \"{{{{ config['base_url'] }}}}\", path: /things}}\n      record_selector: {{type: \
         RecordSelector, extractor: {{type: DpathExtractor, field_path: [data]}}}}\n      paginator:\n        type: DefaultPaginator\n{paginator}"
    ))
}

const PAGES: &str = "        page_size_option: {type: RequestOption, inject_into: request_parameter, field_name: size}
        page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: page}
        pagination_strategy: {type: PageIncrement, page_size: 2, start_from_page: 1}";
const OFFSETS: &str =
    "        page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: offset}
        pagination_strategy: {type: OffsetIncrement, page_size: \"2\", inject_on_first_request: true}";
const CURSORS: &str = "        page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: after}
        pagination_strategy: {type: CursorPagination, cursor_value: \"{{ response.next }}\", stop_condition: \"{{ not response.next }}\"}";
const NEXT_URLS: &str = "        page_token_option: {type: RequestPath}
        pagination_strategy: {type: CursorPagination, cursor_value: \"{{ headers['link']['next']['url'] }}\"}";

fn thing(id: u64) -> Value {
    json!({"id": id})
}

fn items(from: u64, size: u64, total: u64) -> Vec<Value> {
    (from..(from + size).min(total)).map(thing).collect()
}

#[tokio::test]
async fn numbered_pages_are_read_until_one_is_short() {
    let server = product(|request| {
        assert_eq!(query(request, "size").as_deref(), Some("2"));
        let page: u64 = query(request, "page").map_or(1, |page| page.parse().unwrap());
        json_answer(json!({"data": items((page - 1) * 2, 2, 5)}))
    })
    .await;
    let reading = read(&connect(&stream(PAGES), at(&server)).unwrap(), "things", None, None).await;
    assert_eq!(reading.ids(), ["0", "1", "2", "3", "4"]);
    let end = reading.end.unwrap();
    assert!(end.is_full && end.state.is_none() && end.requests == 3, "{end:?}");
}

#[tokio::test]
async fn offsets_grow_by_the_records_received() {
    let server = product(|request| {
        let offset: u64 = query(request, "offset").unwrap().parse().unwrap();
        json_answer(json!({"data": items(offset, 2, 4)}))
    })
    .await;
    let reading = read(&connect(&stream(OFFSETS), at(&server)).unwrap(), "things", None, None).await;
    assert_eq!(reading.ids(), ["0", "1", "2", "3"]);
    assert_eq!(reading.end.unwrap().requests, 3, "an empty page ends it");
}

fn cursor_answer(request: &wiremock::Request) -> ResponseTemplate {
    let from: u64 = query(request, "after").map_or(0, |after| after.parse().unwrap());
    let next = if from + 2 < 7 { json!((from + 2).to_string()) } else { Value::Null };
    json_answer(json!({"data": items(from, 2, 7), "next": next}))
}

#[tokio::test]
async fn cursors_are_followed_and_every_position_leads_to_the_same_rest() {
    let server = product(cursor_answer).await;
    let connector = connect(&stream(CURSORS), at(&server)).unwrap();
    let whole = read(&connector, "things", None, None).await;
    assert_eq!(whole.ids(), ["0", "1", "2", "3", "4", "5", "6"]);
    for (index, page) in whole.pages.iter().enumerate() {
        let rest = read(&connector, "things", None, page.position.clone()).await;
        let before: usize = whole.pages[..=index].iter().map(|page| page.records.len()).sum();
        assert_eq!(rest.ids(), whole.ids()[before..], "after page {index}");
        assert!(rest.end.unwrap().is_full);
    }
}

#[tokio::test]
async fn links_to_the_next_page_are_followed_within_the_product_only() {
    let server = product(|request| match query(request, "p").as_deref() {
        None => {
            let link = format!("<http://{}/things?p=2>; rel=\"next\"", request.headers["host"].to_str().unwrap());
            json_answer(json!({"data": [thing(1)]})).insert_header("link", link.as_str())
        }
        Some("2") => json_answer(json!({"data": [thing(2)]}))
            .insert_header("link", "<https://elsewhere.example/?p=3>; rel=\"next\""),
        _ => ResponseTemplate::new(500),
    })
    .await;
    let reading = read(&connect(&stream(NEXT_URLS), at(&server)).unwrap(), "things", None, None).await;
    assert_eq!(reading.ids(), ["1", "2"]);
    let error = reading.end.unwrap_err();
    assert!(error.kind() == ErrorKind::Denied && error.to_string().contains("elsewhere.example"), "{error}");
}

#[tokio::test]
async fn a_page_token_that_comes_twice_is_an_error() {
    let server = product(|_| json_answer(json!({"data": [thing(1)], "next": "again"}))).await;
    let reading = read(&connect(&stream(CURSORS), at(&server)).unwrap(), "things", None, None).await;
    let error = reading.end.unwrap_err();
    assert!(error.kind() == ErrorKind::BadAnswer && error.to_string().contains("twice"), "{error}");
    assert_eq!(reading.records.len(), 1, "the page with the repeated token is not sent");
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_an_error_and_never_nothing() {
    for body in ["<html>login</html>", "", "{\"data\": [{\"id\": 1}", "{\"data\": 5}"] {
        let server = product(move |_| ResponseTemplate::new(200).set_body_string(body)).await;
        let reading = read(&connect(&stream(CURSORS), at(&server)).unwrap(), "things", None, None).await;
        assert_eq!(reading.end.unwrap_err().kind(), ErrorKind::BadAnswer, "{body}");
    }
}

#[tokio::test]
async fn records_arrive_as_they_were_sent_with_their_keys() {
    let body = r#"{"data": [ {"n": 1.0, "id": 12345678901234567890123, "t": "\u00e9"} ], "next": null}"#;
    let server = product(move |_| ResponseTemplate::new(200).set_body_string(body)).await;
    let reading = read(&connect(&stream(CURSORS), at(&server)).unwrap(), "things", None, None).await;
    let page = &reading.pages[0];
    let record = &page.records[0];
    assert_eq!(page.record_body(record), br#"{"n": 1.0, "id": 12345678901234567890123, "t": "\u00e9"}"#);
    assert_eq!(page.slice(&record.key.as_slice()[0]), b"12345678901234567890123");
}
