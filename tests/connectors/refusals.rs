//! Refusals that a manifest ignores: what they leave unread is told, and nothing is taken for gone because of them.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use wiremock::{Request, ResponseTemplate};

use crate::kit::{at, connect, json_answer, manifest, product, query, read};

/// Days of January 2024 in windows of ten days; things of owners.
const STREAMS: &str = r#"
  - type: DeclarativeStream
    name: things
    primary_key: id
    incremental_sync:
      type: DatetimeBasedCursor
      cursor_field: at
      datetime_format: '%Y-%m-%d'
      start_datetime: '2024-01-01'
      end_datetime: '2024-01-30'
      step: P10D
      cursor_granularity: P1D
      start_time_option: {type: RequestOption, inject_into: request_parameter, field_name: since}
    retriever:
      type: SimpleRetriever
      requester: &requester
        type: HttpRequester
        url_base: "{{ config['base_url'] }}"
        path: /things
        error_handler:
          type: DefaultErrorHandler
          response_filters: [{type: HttpResponseFilter, action: IGNORE, http_codes: [403, 404]}]
      record_selector: &records {type: RecordSelector, extractor: {type: DpathExtractor, field_path: []}}
  - &owners
    type: DeclarativeStream
    name: owners
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: {<<: *requester, path: /owners}
      record_selector: *records
  - type: DeclarativeStream
    name: pets
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: {<<: *requester, path: "/owners/{{ stream_partition.owner }}/pets"}
      record_selector: *records
      partition_router:
        type: SubstreamPartitionRouter
        parent_stream_configs: [{stream: *owners, parent_key: id, partition_field: owner}]
"#;

fn window(request: &Request) -> ResponseTemplate {
    let since = query(request, "since").unwrap();
    json_answer(json!([{"id": since, "at": since}]))
}

#[tokio::test]
async fn a_window_whose_refusal_was_ignored_is_told_and_read_again_next_time() {
    static IS_REFUSED: AtomicBool = AtomicBool::new(true);
    let server = product(|request| {
        let is_middle = query(request, "since").unwrap() == "2024-01-11";
        if is_middle && IS_REFUSED.load(Ordering::SeqCst) { ResponseTemplate::new(403) } else { window(request) }
    })
    .await;
    let connector = connect(&manifest(STREAMS), at(&server)).unwrap();
    let first = read(&connector, "things", None, None).await;
    assert_eq!(first.state(), json!({"at": "2024-01-01"}), "the state does not pass what was not read");
    let end = first.end.unwrap();
    assert!(!end.is_full && end.failed_items.len() == 1, "{end:?}");
    assert!(end.failed_items[0].item.contains("2024-01-11"), "{end:?}");

    IS_REFUSED.store(false, Ordering::SeqCst);
    let second = read(&connector, "things", end.state, None).await;
    assert!(second.ids().contains(&"\"2024-01-11\"".to_owned()), "{:?}", second.ids());
    assert_eq!(second.state(), json!({"at": "2024-01-21"}));
}

#[tokio::test]
async fn children_of_a_refused_parent_are_told_and_not_gone() {
    let server = product(|_| ResponseTemplate::new(403)).await;
    let connector = connect(&manifest(STREAMS), at(&server)).unwrap();
    let end = read(&connector, "pets", None, None).await.end.unwrap();
    assert!(!end.is_full && end.failed_items.len() == 1, "{end:?}");
    assert!(end.failed_items[0].item.contains("stream owners"), "{end:?}");
}

#[tokio::test]
async fn what_the_product_does_not_know_is_gone_as_a_partition_and_a_failure_as_a_whole_stream() {
    let server = product(|request| match request.url.path() {
        "/owners" => json_answer(json!([{"id": 1}, {"id": 2}])),
        "/owners/1/pets" => json_answer(json!([{"id": 10}])),
        _ => ResponseTemplate::new(404),
    })
    .await;
    let connector = connect(&manifest(STREAMS), at(&server)).unwrap();
    let pets = read(&connector, "pets", None, None).await;
    assert_eq!(pets.ids(), ["10"]);
    let end = pets.end.unwrap();
    assert!(end.is_full && end.failed_items.is_empty(), "an owner without pets is no failure: {end:?}");
    let end = read(&connector, "things", None, None).await.end.unwrap();
    assert!(!end.is_full && !end.failed_items.is_empty(), "a stream that is not there is one: {end:?}");
}
