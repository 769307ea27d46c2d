//! What is known only once the product was asked: streams, schemas, and reports that it makes first.

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use super::kit::{at, connect, json_answer, manifest, product, read};

/// A manifest in which the product describes its fields.
fn described(loaders: &str) -> String {
    manifest(&format!(
        r#"  - type: DeclarativeStream
    name: things
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: {{ type: HttpRequester, url_base: "{{{{ config['base_url'] }}}}", path: things }}
      record_selector:
        type: RecordSelector
        schema_normalization: Default
        extractor: {{ type: DpathExtractor, field_path: [] }}
    schema_loader: {loaders}"#
    ))
}

const DESCRIBED: &str = r#"
      - type: InlineSchemaLoader
        schema: { type: object, properties: { id: { type: string } } }
      - type: DynamicSchemaLoader
        retriever:
          type: SimpleRetriever
          requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: fields }
          record_selector: { type: RecordSelector, extractor: { type: DpathExtractor, field_path: [] } }
        schema_filter: { type: RecordFilter, condition: "{{ 'hidden' not in record }}" }
        schema_transformations: [{ type: KeysToLower }]
        schema_type_identifier:
          schema_pointer: [fields]
          key_pointer: [key]
          type_pointer: [type]
          types_mapping:
            - { target_type: string, current_type: text }
            - { target_type: number, current_type: decimal, condition: "{{ raw_schema['precise'] }}" }
            - { target_type: integer, current_type: decimal }
            - { target_type: [string, integer], current_type: [a, b] }
            - { target_type: { field_type: array, items: string }, current_type: list }"#;

/// Facts taken from the reference's DynamicSchemaLoader and CompositeSchemaLoader.
#[tokio::test]
async fn a_schema_that_the_product_describes_is_the_streams_and_normalises_its_records() {
    let server = product(|request| match request.url.path() {
        "/fields" => json_answer(json!({ "fields": [
            {"key": "Id", "type": "decimal"}, {"key": "Name", "type": "text"}, {"key": "hidden", "type": "text"},
            {"key": "Size", "type": "decimal", "precise": true}, {"key": "Count", "type": "decimal"},
            {"key": "Mixed", "type": ["a", "b"]}, {"key": "Tags", "type": "list"}, {"key": "Plain"},
        ]})),
        _ => json_answer(json!([{"id": 1, "name": 5, "size": "1.5", "count": "7", "hidden": 3}])),
    })
    .await;
    let connector = connect(&described(DESCRIBED), at(&server)).unwrap();
    let catalog = connector.discover().await.unwrap();
    let nullable = |kind: &str| json!({"type": ["null", kind]});
    let expected = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": ["null", "object"],
        "properties": {
            "id": {"type": "string"},
            "name": nullable("string"),
            "size": nullable("number"),
            "count": nullable("integer"),
            "mixed": {"oneOf": [nullable("string"), nullable("integer")]},
            "tags": {"type": ["null", "array"], "items": nullable("string")},
            "plain": nullable("string"),
        },
    });
    assert_eq!(catalog.streams[0].json_schema, expected);
    let reading = read(&connector, "things", None, None).await;
    assert_eq!(reading.records, [json!({"id": "1", "name": "5", "size": 1.5, "count": 7, "hidden": 3})]);
    let asked = server.received_requests().await.unwrap().iter().filter(|sent| sent.url.path() == "/fields").count();
    assert_eq!(asked, 1, "a schema is asked for once a connector");
}

#[tokio::test]
async fn a_kind_of_field_that_the_manifest_does_not_name_is_told() {
    let server = product(|_| json_answer(json!({"fields": [{"key": "x", "type": "strange"}]}))).await;
    let connector = connect(&described(DESCRIBED), at(&server)).unwrap();
    let error = connector.discover().await.unwrap_err().to_string();
    assert!(error.contains("gives `x` the kind \"strange\", which `types_mapping` does not name"), "{error}");
}

const TABLES: &str = r##"
version: 6.0.0
type: DeclarativeSource
check: { type: CheckDynamicStream, stream_count: 1 }
dynamic_streams:
  - type: DynamicDeclarativeStream
    stream_template:
      type: DeclarativeStream
      name: none
      primary_key: id
      $parameters: { table: none }
      retriever:
        type: SimpleRetriever
        requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: "tables/{{ parameters['table'] }}" }
        record_selector: { type: RecordSelector, extractor: { type: DpathExtractor, field_path: [rows] } }
      schema_loader: { type: InlineSchemaLoader, schema: { type: object } }
    components_resolver:
      type: HttpComponentsResolver
      retriever:
        type: SimpleRetriever
        requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: tables }
        record_selector: { type: RecordSelector, extractor: { type: DpathExtractor, field_path: [tables] } }
      components_mapping:
        - { type: ComponentMappingDefinition, field_path: [name], value: "{{ components_values['name'] }}" }
        - { type: ComponentMappingDefinition, field_path: [$parameters, table], value: "{{ components_values['id'] }}" }
"##;

#[tokio::test]
async fn streams_that_the_product_names_are_discovered_checked_and_read() {
    let server = product(|request| match request.url.path() {
        "/tables" => json_answer(json!({"tables": [{"id": "t1", "name": "one"}, {"id": "t2", "name": "two"}]})),
        "/tables/t1" => json_answer(json!({"rows": [{"id": 1}]})),
        "/tables/t2" => json_answer(json!({"rows": [{"id": 2}, {"id": 3}]})),
        other => ResponseTemplate::new(404).set_body_string(other.to_owned()),
    })
    .await;
    let connector = connect(TABLES, at(&server)).unwrap();
    let catalog = connector.discover().await.unwrap();
    assert_eq!(catalog.streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    connector.check().await.unwrap();
    let reading = read(&connector, "two", None, None).await;
    assert_eq!(reading.ids(), ["2", "3"]);
}

#[tokio::test]
async fn two_streams_of_one_name_are_told_and_no_stream_fails_the_check() {
    let server =
        product(|_| json_answer(json!({"tables": [{"id": "1", "name": "x"}, {"id": "2", "name": "x"}]}))).await;
    let error = connect(TABLES, at(&server)).unwrap().discover().await.unwrap_err().to_string();
    assert!(error.contains("several streams have the name `x`"), "{error}");
    let empty = product(|_| json_answer(json!({"tables": []}))).await;
    assert!(connect(TABLES, at(&empty)).unwrap().check().await.is_err());
}

#[tokio::test]
async fn what_is_wrong_with_a_template_is_told_when_the_manifest_is_loaded() {
    let text = TABLES.replace("type: DpathExtractor, field_path: [rows]", "type: StrangeExtractor");
    let error = connect(&text, json!({"base_url": "http://127.0.0.1:9"})).err().unwrap().to_string();
    assert!(error.contains("manifest.yaml:15:") && error.contains("StrangeExtractor"), "{error}");
}

/// A report with two parts, ready at the third question, whose first job fails.
const REPORT: &str = r#"  - type: DeclarativeStream
    name: things
    primary_key: id
    schema_loader: { type: InlineSchemaLoader, schema: { type: object } }
    retriever:
      type: AsyncRetriever
      status_mapping: { running: [busy], completed: [done], failed: [broken], timeout: [], skipped: [nothing] }
      status_extractor: { type: DpathExtractor, field_path: [state] }
      download_target_extractor: { type: DpathExtractor, field_path: [parts] }
      creation_requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: jobs, http_method: POST }
      polling_requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: "jobs/{{ creation_response['id'] }}" }
      download_requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}/{{ download_target }}/{{ polling_response['version'] }}" }
      delete_requester: { type: HttpRequester, url_base: "{{ config['base_url'] }}", path: "jobs/{{ creation_response['id'] }}/done", http_method: POST }
      download_decoder: { type: CsvDecoder }
      record_selector: { type: RecordSelector, extractor: { type: DpathExtractor, field_path: [] } }"#;

/// A product that makes reports: what each job's state is at each question.
async fn reports(states: &'static [&'static [&'static str]]) -> wiremock::MockServer {
    let asked = std::sync::Mutex::new(vec![0; 9]);
    let made = std::sync::atomic::AtomicUsize::new(0);
    product(move |request| {
        let path = request.url.path();
        if path == "/jobs" {
            return json_answer(json!({"id": made.fetch_add(1, std::sync::atomic::Ordering::SeqCst)}));
        }
        if let Some(job) = path.strip_prefix("/jobs/").and_then(|job| job.parse::<usize>().ok()) {
            let mut asked = asked.lock().unwrap();
            let state = states[job][asked[job].min(states[job].len() - 1)];
            asked[job] += 1;
            return json_answer(json!({"state": state, "version": "v1", "parts": ["p1", "p2"]}));
        }
        match path {
            "/p1/v1" => ResponseTemplate::new(200).set_body_string("id,name\n1,a\n2,\n"),
            "/p2/v1" => ResponseTemplate::new(200).set_body_string("id,name\n3,\"c,d\"\n"),
            _ => json_answer(json!({})),
        }
    })
    .await
}

/// Waits pass at once: nothing here depends on the time of day.
async fn read_report(server: &wiremock::MockServer) -> super::kit::Reading {
    let connector = connect(&manifest(REPORT), at(server)).unwrap();
    read(&connector, "things", None, None).await
}

fn paths(requests: &[wiremock::Request]) -> Vec<String> {
    requests.iter().map(|request| format!("{} {}", request.method, request.url.path())).collect()
}

#[tokio::test]
async fn a_report_is_made_downloaded_in_all_its_parts_and_deleted() {
    let server = reports(&[&["done"]]).await;
    let reading = read_report(&server).await;
    let expected: [Value; 3] =
        [json!({"id": "1", "name": "a"}), json!({"id": "2", "name": ""}), json!({"id": "3", "name": "c,d"})];
    assert_eq!(reading.records, expected);
    assert!(reading.end.unwrap().is_full);
    let sent = paths(&server.received_requests().await.unwrap());
    assert_eq!(sent, ["POST /jobs", "GET /jobs/0", "GET /p1/v1", "GET /p2/v1", "POST /jobs/0/done"]);
}

#[tokio::test]
async fn a_report_with_nothing_in_it_is_no_failure_and_an_unknown_state_is() {
    let empty = read_report(&reports(&[&["nothing"]]).await).await;
    assert!(empty.records.is_empty() && empty.end.unwrap().is_full);
    let error = read_report(&reports(&[&["strange"]]).await).await.end.unwrap_err().to_string();
    assert!(error.contains("the state `strange` of a job, which `status_mapping` does not name"), "{error}");
}

#[tokio::test]
async fn a_report_that_fails_again_and_again_is_a_part_that_could_not_be_read() {
    let server = reports(&[&["broken"], &["broken"], &["broken"]]).await;
    let end = read_report(&server).await.end.unwrap();
    assert!(!end.is_full && end.failed_items.len() == 1, "{end:?}");
    assert!(end.failed_items[0].reason.contains("failed 3 times (state `broken`)"), "{end:?}");
    assert_eq!(
        paths(&server.received_requests().await.unwrap()).iter().filter(|path| *path == "POST /jobs").count(),
        3
    );
}
