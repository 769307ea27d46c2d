//! Windows of time, lists and parents; states and positions.

use serde_json::{Value, json};
use wiremock::{Request, ResponseTemplate};

use crate::kit::{at, connect, json_answer, manifest, product, query, read};

const REQUESTER: &str = "{type: HttpRequester, url_base: \"{{ config['base_url'] }}\", path: ";

/// A stream with windows of ten days in January 2024.
fn windows(rest: &str) -> String {
    format!(
        "  - type: DeclarativeStream\n    name: things\n    primary_key: id\n    incremental_sync:\n      type: DatetimeBasedCursor\n      \
         cursor_field: at\n      datetime_format: '%Y-%m-%d'\n      start_datetime: '2024-01-01'\n      end_datetime: '2024-01-31'\n      \
         step: P10D\n      cursor_granularity: P1D\n      start_time_option: {{type: RequestOption, inject_into: request_parameter, field_name: \
         since}}\n      end_time_option: {{type: RequestOption, inject_into: request_parameter, field_name: until}}\n    retriever:\n      type: \
         SimpleRetriever\n      requester: {REQUESTER}/things}}\n      record_selector: {{type: RecordSelector, extractor: {{type: \
         DpathExtractor, field_path: []}}}}\n{rest}"
    )
}

/// One record a day, of the days that are asked for.
fn days(request: &Request) -> ResponseTemplate {
    let bound = |name: &str| query(request, name).unwrap()[8..].parse::<u32>().unwrap();
    let owner = query(request, "owner");
    let record =
        |day: u32| json!({"id": format!("{}{day}", owner.as_deref().unwrap_or("")), "at": format!("2024-01-{day:02}")});
    json_answer((bound("since")..=bound("until")).filter(|day| day % 5 == 0).map(record).collect())
}

#[tokio::test]
async fn windows_are_read_and_the_state_is_the_last_value_seen() {
    let server = product(days).await;
    let connector = connect(&manifest(&windows("")), at(&server)).unwrap();
    let first = read(&connector, "things", None, None).await;
    assert_eq!(first.records.len(), 6);
    assert_eq!(first.state(), json!({"at": "2024-01-30"}));
    assert!(first.end.unwrap().is_full);
    let second = read(&connector, "things", Some(json!({"at": "2024-01-20"})), None).await;
    assert_eq!(second.ids(), ["\"20\"", "\"25\"", "\"30\""]);
    assert_eq!(second.state(), json!({"at": "2024-01-30"}));
    assert!(!second.end.unwrap().is_full, "absence means nothing in an incremental read");
}

#[tokio::test]
async fn lists_have_a_state_of_their_own_in_each_partition() {
    let router = "      partition_router: {type: ListPartitionRouter, values: [a, b], cursor_field: owner, request_option: {type: \
                  RequestOption, inject_into: request_parameter, field_name: owner}}";
    let server = product(days).await;
    let connector = connect(&manifest(&windows(router)), at(&server)).unwrap();
    let first = read(&connector, "things", None, None).await;
    assert_eq!(first.records.len(), 12);
    let mut state = first.state();
    assert!(state["lookback_window"].as_i64().is_some_and(|seconds| seconds >= 1));
    state["lookback_window"] = json!(0);
    let cursor = json!({"at": "2024-01-30"});
    let of = |owner: &str| json!({"partition": {"owner": owner}, "cursor": cursor});
    assert_eq!(
        state,
        json!({"use_global_cursor": false, "states": [of("a"), of("b")], "state": cursor, "lookback_window": 0})
    );
    let state = json!({"use_global_cursor": false, "states": [{"partition": {"owner": "a"}, "cursor": {"at": "2024-01-25"}}],
                       "state": {"at": "2024-01-30"}, "lookback_window": 0});
    let mut ids = read(&connector, "things", Some(state), None).await.ids();
    ids.sort();
    assert_eq!(ids, ["\"a25\"", "\"a30\"", "\"b30\""], "a new partition starts from the common state");
}

#[tokio::test]
async fn every_position_of_partitions_and_windows_leads_to_the_same_rest() {
    let router = "      partition_router: {type: ListPartitionRouter, values: [a, b, c], cursor_field: owner, request_option: {type: \
                  RequestOption, inject_into: request_parameter, field_name: owner}}";
    let server = product(days).await;
    let connector = connect(&manifest(&windows(router)), at(&server)).unwrap();
    let whole = read(&connector, "things", None, None).await;
    let mut all = whole.ids();
    all.sort();
    assert_eq!(all.len(), 18);
    for (index, page) in whole.pages.iter().enumerate() {
        let Some(position) = page.position.clone() else { continue };
        let rest = read(&connector, "things", None, Some(position)).await;
        let before: usize = whole.pages[..=index].iter().map(|page| page.records.len()).sum();
        let mut ids: Vec<String> = whole.ids()[..before].to_vec();
        ids.extend(rest.ids());
        ids.sort();
        assert_eq!(ids, all, "after page {index}");
        let without_clock = |mut state: Value| {
            state["lookback_window"] = json!(0);
            let mut states = state["states"].as_array().cloned().unwrap();
            states.sort_by_key(Value::to_string);
            state["states"] = json!(states);
            state
        };
        assert_eq!(without_clock(rest.state()), without_clock(whole.state()), "after page {index}");
    }
}

#[tokio::test]
async fn children_are_read_for_each_parent_and_products_for_each_combination() {
    let selector = "record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: []}}";
    let text = manifest(&format!(
        "  - type: DeclarativeStream\n    name: owners\n    retriever: &owners\n      type: SimpleRetriever\n      requester: \
         {REQUESTER}/owners}}\n      {selector}\n  - type: DeclarativeStream\n    name: things\n    retriever:\n      type: SimpleRetriever\n      \
         requester: {REQUESTER}\"/owners/{{{{ stream_partition.owner }}}}/things\", request_parameters: {{name: \"{{{{ \
         stream_slice.extra_fields['name'] }}}}\", nothing: \"{{{{ stream_partition.parent_slice.x }}}}\"}}}}\n      {selector}\n      \
         partition_router:\n        - type: SubstreamPartitionRouter\n          parent_stream_configs:\n            - {{stream: {{type: \
         DeclarativeStream, name: owners, retriever: *owners}}, parent_key: id, partition_field: owner, extra_fields: [[name]]}}\n        - \
         {{type: ListPartitionRouter, values: [x, y], cursor_field: kind, request_option: {{type: RequestOption, inject_into: \
         request_parameter, field_name: kind}}}}"
    ));
    let server = product(|request| match request.url.path() {
        "/owners" => json_answer(json!([{"id": 1, "name": "Ann"}, {"id": null, "name": "none"}, {"name": "missing"}, {"id": 2, "name": "Bob"}])),
        path => {
            let id = format!("{path} {:?} {:?}", query(request, "kind"), query(request, "nothing"));
            json_answer(json!([{"id": id, "name": query(request, "name")}]))
        }
    })
    .await;
    let reading = read(&connect(&text, at(&server)).unwrap(), "things", None, None).await;
    let mut ids: Vec<&str> = reading.records.iter().map(|record| record["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let expected =
        ["1", "2"].map(|owner| ["x", "y"].map(|kind| format!("/owners/{owner}/things Some(\"{kind}\") None")));
    assert_eq!(ids, expected.concat());
}
