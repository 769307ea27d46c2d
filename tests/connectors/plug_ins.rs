//! Components of a manifest whose code is ours: Rust types by class name.

use std::sync::Arc;

use async_trait::async_trait;
use listbackup_connectors::{
    Authenticator, Error, ErrorKind, Integration, PageEnd, PaginationStrategy, PartitionRouter, RecordExtractor,
    RecordFilter, RecordTransformation, Result, Settings, StateMigration,
    http::HttpClient,
    manifest::{Components, ManifestIntegration},
};
use secrecy::SecretString;
use serde_json::{Map, Value, json};

use super::kit::{bind, json_answer, product, query, read};

/// Everything of the product in brackets of its own.
struct Wrapped {
    field: String,
}

impl RecordExtractor for Wrapped {
    fn extract(&self, body: &[u8], _: &Settings) -> Result<Vec<String>> {
        let page: Value = serde_json::from_slice(body).map_err(|_| Error::new(ErrorKind::BadAnswer, "no JSON"))?;
        let rows = page.get(&self.field).and_then(Value::as_array);
        let rows = rows.ok_or_else(|| Error::new(ErrorKind::BadAnswer, "the page has no rows"))?;
        Ok(rows.iter().map(|row| row["wrapped"].to_string()).collect())
    }
}

struct Shout;

impl RecordTransformation for Shout {
    fn transform(&self, record: &mut Map<String, Value>, slice: &Value, settings: &Settings) -> Result<()> {
        let name = record["name"].as_str().unwrap_or_default().to_uppercase();
        record.insert("name".into(), name.into());
        record.insert("board".into(), slice["board"].clone());
        record.insert("mark".into(), settings.expose()["mark"].clone());
        Ok(())
    }
}

struct Even;

impl RecordFilter for Even {
    fn keeps(&self, record: &Value, _: &Value, _: &Settings) -> Result<bool> {
        Ok(record["id"].as_i64().is_some_and(|id| id % 2 == 0))
    }
}

struct Doubled;

#[async_trait]
impl Authenticator for Doubled {
    async fn sign(&self, settings: &Settings, _: &HttpClient) -> Result<Vec<(String, SecretString)>> {
        let mark = settings.expose()["mark"].as_str().unwrap_or_default();
        Ok(vec![("X-Key".to_owned(), SecretString::from(format!("{mark}{mark}")))])
    }
}

struct Halves;

impl PaginationStrategy for Halves {
    fn next(&self, page: &PageEnd, _: &Settings) -> Result<Option<Value>> {
        Ok((page.token.is_none() && page.records > 0).then(|| json!("second")))
    }
}

struct Boards;

impl PartitionRouter for Boards {
    fn partitions(&self, parents: Vec<Map<String, Value>>, _: &Settings) -> Result<Vec<Map<String, Value>>> {
        assert!(parents.is_empty());
        Ok(["a", "b"].iter().map(|board| Map::from_iter([("board".to_owned(), json!(board))])).collect())
    }
}

struct OldState;

impl StateMigration for OldState {
    fn migrate(&self, state: Value, _: &Settings) -> Result<Value> {
        Ok(state.get("old").map_or_else(|| state.clone(), |at| json!({ "at": at })))
    }
}

fn components() -> Components {
    Components::new()
        .extractor(
            "Wrapped",
            Arc::new(|options: &Value| {
                let field =
                    options["field"].as_str().ok_or_else(|| Error::new(ErrorKind::Invalid, "`field` is missing"))?;
                Ok(Arc::new(Wrapped { field: field.to_owned() }))
            }),
        )
        .transformation("Shout", Arc::new(|_| Ok(Arc::new(Shout))))
        .filter("Even", Arc::new(|_| Ok(Arc::new(Even))))
        .authenticator("Doubled", Arc::new(|_| Ok(Arc::new(Doubled))))
        .pagination("Halves", Arc::new(|_| Ok(Arc::new(Halves))))
        .router("Boards", Arc::new(|_| Ok(Arc::new(Boards))))
        .migration("OldState", Arc::new(|_| Ok(Arc::new(OldState))))
}

const MANIFEST: &str = r##"
version: 6.0.0
type: DeclarativeSource
check: { type: CheckStream, stream_names: [things] }
streams:
  - type: DeclarativeStream
    name: things
    primary_key: id
    state_migrations: [{ type: CustomStateMigration, class_name: source_shop.components.OldState }]
    transformations: [{ type: CustomTransformation, class_name: source_shop.components.Shout }]
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: "{{ config['base_url'] }}"
        path: "/boards/{{ stream_partition['board'] }}"
        authenticator: { type: CustomAuthenticator, class_name: source_shop.components.Doubled }
      partition_router: { type: CustomPartitionRouter, class_name: source_shop.components.Boards }
      paginator:
        type: DefaultPaginator
        page_token_option: { type: RequestOption, inject_into: request_parameter, field_name: half }
        pagination_strategy: { type: CustomPaginationStrategy, class_name: source_shop.components.Halves }
      record_selector:
        type: RecordSelector
        extractor: { type: CustomRecordExtractor, class_name: source_shop.components.Wrapped, field: rows }
        record_filter: { type: CustomRecordFilter, class_name: source_shop.components.Even }
spec: { type: Spec, connection_specification: { type: object, properties: { mark: { type: string } } } }
"##;

#[tokio::test]
async fn components_with_their_own_code_plug_in_by_class_name() {
    let server = product(|request| {
        assert_eq!(request.headers.get("x-key").unwrap(), "xx");
        let start = if query(request, "half").as_deref() == Some("second") { 10 } else { 0 };
        let rows: Vec<Value> =
            (start..start + 3).map(|id| json!({"wrapped": {"id": id, "name": format!("n{id}")}})).collect();
        json_answer(json!({ "rows": rows }))
    })
    .await;
    let connector = ManifestIntegration::parse_with("test", "manifest.yaml", MANIFEST, &components()).unwrap();
    let connector = bind(&connector, json!({"base_url": server.uri(), "mark": "x"})).unwrap();
    let reading = read(&connector, "things", Some(json!({"old": "2024"})), None).await;
    assert!(reading.end.is_ok(), "{:?}", reading.end);
    let mut records = reading.records;
    records.sort_by_key(|record| (record["board"].to_string(), record["id"].as_i64()));
    let told: Vec<String> = records
        .iter()
        .map(|record| format!("{} {} {} {}", record["board"], record["id"], record["name"], record["mark"]))
        .collect();
    let expected = ["a 0 N0", "a 2 N2", "a 10 N10", "a 12 N12", "b 0 N0", "b 2 N2", "b 10 N10", "b 12 N12"];
    let expected = expected.map(|text| {
        let parts: Vec<&str> = text.split(' ').collect();
        format!("\"{}\" {} \"{}\" \"x\"", parts[0], parts[1], parts[2])
    });
    assert_eq!(told, expected);
}

#[test]
fn a_component_that_nobody_brought_is_named_with_its_line() {
    let error = ManifestIntegration::parse("test", "manifest.yaml", MANIFEST).err().unwrap().to_string();
    for (line, class_name) in
        [(9, "OldState"), (10, "Shout"), (17, "Doubled"), (18, "Boards"), (22, "Halves"), (25, "Wrapped")]
    {
        let found = error.lines().find(|told| told.contains(&format!("components.{class_name}`")));
        assert!(found.is_some_and(|told| told.contains(&format!("manifest.yaml:{line}:"))), "{class_name}: {error}");
    }
}

#[test]
fn a_component_that_cannot_be_made_says_why() {
    let text = MANIFEST.replace(", field: rows", "");
    let error =
        ManifestIntegration::parse_with("test", "manifest.yaml", &text, &components()).err().unwrap().to_string();
    assert!(error.contains("`source_shop.components.Wrapped` cannot be made: `field` is missing"), "{error}");
}

#[test]
fn the_manifest_is_whole_without_its_components() {
    let integration = ManifestIntegration::parse_with("test", "manifest.yaml", MANIFEST, &components()).unwrap();
    assert_eq!(integration.spec().name, "test");
}
