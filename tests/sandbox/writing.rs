//! The shipped integration writes to the sandbox: once, with the product's reasons, and only what a manifest may say.

use listbackup::sandbox::SandboxSettings;
use listbackup_connectors::{
    Connector, ErrorKind, StreamSpec, WriteAction, WriteRequest, manifest, oauth::MemoryCredentials,
};
use serde_json::{Value, json};

use crate::{
    integration::{connect, key},
    site::Site,
};

async fn stream(connector: &dyn Connector, name: &str) -> StreamSpec {
    let catalog = connector.discover().await.unwrap();
    catalog.streams.into_iter().find(|stream| stream.name == name).unwrap()
}

fn create(key: &str, body: Value) -> WriteRequest {
    WriteRequest {
        action: WriteAction::Create,
        body: body.to_string().into_bytes().into(),
        idempotency_key: key.to_owned(),
    }
}

#[tokio::test]
async fn a_record_whose_answer_got_lost_is_made_once_and_read_back_digit_by_digit() {
    let site = Site::start(SandboxSettings::default()).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    let writer = connector.writer().expect("the sandbox can be written to");
    let contacts = stream(&*connector, "contacts").await;
    site.order(json!({ "path": "/contacts", "fault": { "kind": "cut" } })).await;
    site.order(json!({ "path": "/contacts", "nth": 2, "fault": { "kind": "status", "status": 503 } })).await;
    let body = r#"{"first_name":"Ada","score":1.50,"external_id":12345678901234567890123,"company_id":3}"#;
    let request = WriteRequest { body: body.into(), ..create("k1", json!({})) };
    let made = writer.write(&contacts, &request).await.unwrap();
    assert_eq!(made.key, ["1001"]);
    let found = writer.read_one(&contacts, &made.key).await.unwrap().expect("it is there");
    let text = std::str::from_utf8(&found).unwrap();
    assert!(text.contains(r#""score":1.50,"#) && text.contains("12345678901234567890123"), "{text}");
    let stats = site.stats().await;
    assert_eq!((stats.writes.get("POST /contacts"), stats.repeated_writes), (Some(&1), 2));

    let update = WriteAction::Update { key: made.key.clone() };
    let request = WriteRequest { action: update, body: r#"{"notes":"new"}"#.into(), idempotency_key: "k2".to_owned() };
    writer.write(&contacts, &request).await.unwrap();
    let found = writer.read_one(&contacts, &made.key).await.unwrap().expect("it is there");
    let record: Value = serde_json::from_slice(&found).unwrap();
    assert_eq!((&record["notes"], &record["version"]), (&json!("new"), &json!(2)));
    site.stop().await;
}

#[tokio::test]
async fn what_the_product_refuses_is_told_in_its_words_and_not_tried_again() {
    let site = Site::start(SandboxSettings::default()).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    let writer = connector.writer().expect("the sandbox can be written to");
    let contacts = stream(&*connector, "contacts").await;
    for (body, why) in [
        (json!({ "id": 5 }), "id: the product sets this field itself"),
        (json!({ "company_id": 4711 }), "company_id: there is no record 4711"),
        (json!({ "shoe_size": 45 }), "shoe_size: there is no such field"),
    ] {
        let error = writer.write(&contacts, &create(why, body)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
    assert_eq!(site.stats().await.requests["/contacts"], 3);
    let tags = stream(&*connector, "tags").await;
    let error = writer.write(&tags, &create("k", json!({}))).await.unwrap_err();
    assert!(error.to_string().contains("can only be read"), "{error}");
    assert_eq!(writer.read_one(&contacts, &["999999".to_owned()]).await.unwrap(), None);
    site.stop().await;
}

#[tokio::test]
async fn a_company_that_is_written_keeps_its_documents_and_one_that_is_made_has_none() {
    let site = Site::start(SandboxSettings::default()).await;
    let connector = connect(&site, key(), MemoryCredentials::empty());
    let writer = connector.writer().expect("the sandbox can be written to");
    let companies = stream(&*connector, "companies").await;
    let company = async |id: &str| -> Value {
        let found = writer.read_one(&companies, &[id.to_owned()]).await.unwrap().expect("it is there");
        serde_json::from_slice(&found).unwrap()
    };
    let before = company("15").await;
    let files = before["documents"].as_array().unwrap();
    assert_eq!(files.len(), 4, "{before}");
    let update = WriteRequest {
        action: WriteAction::Update { key: vec!["15".to_owned()] },
        ..create("k1", json!({ "about": "new" }))
    };
    writer.write(&companies, &update).await.unwrap();
    let after = company("15").await;
    assert_eq!((&after["about"], &after["name"]), (&json!("new"), &before["name"]));
    let kept = after["documents"].as_array().unwrap();
    assert_eq!(kept.len(), files.len(), "{after}");
    for (file, kept) in files.iter().zip(kept) {
        assert_eq!((&file["id"], &file["name"], &file["url"]), (&kept["id"], &kept["name"], &kept["url"]));
        let bytes = site.get(kept["url"].as_str().unwrap().trim_start_matches('/')).await.body;
        assert_eq!(json!(bytes.len()), kept["size"], "{kept}");
    }
    let made = writer.write(&companies, &create("k2", json!({ "name": "New" }))).await.unwrap();
    assert_eq!(company(&made.key[0]).await["documents"], json!([]));
    site.stop().await;
}

/// A manifest of one stream, with this `write`.
fn manifest_with(write: &str) -> String {
    format!(
        r#"
version: 6.0.0
type: DeclarativeSource
check: {{ type: CheckStream, stream_names: [things] }}
streams:
  - type: DeclarativeStream
    name: things
    primary_key: id
    x-listbackup: {{ write: {write} }}
    retriever:
      type: SimpleRetriever
      requester: {{ type: HttpRequester, url_base: "http://a.example", path: /things }}
      record_selector: {{ type: RecordSelector, extractor: {{ type: DpathExtractor, field_path: [] }} }}
spec: {{ type: Spec, connection_specification: {{ type: object }} }}
"#
    )
}

#[test]
fn a_manifest_that_could_make_records_twice_or_refers_to_nothing_is_refused() {
    let requester = r#"requester: { type: HttpRequester, url_base: "http://a.example", path: /things }"#;
    let read_one = format!("read_one: {{ {requester} }}");
    let twice = format!("{{ {read_one}, create: {{ {requester} }} }}");
    let nowhere = format!("{{ {read_one}, references: [{{ field: owner_id, stream: owners }}] }}");
    let misspelt = format!("{{ {read_one}, readonly: [id] }}");
    let blind = "{ read_only: [id] }".to_owned();
    for (write, why) in [
        (&twice, "`create` needs `idempotency_header`"),
        (&nowhere, "`owner_id` of the stream things refers to `owners`"),
        (&misspelt, "unknown field `readonly`"),
        (&blind, "read_one"),
    ] {
        let error = manifest::parse("things", "things.yaml", &manifest_with(write)).err().expect("it is refused");
        assert!(error.to_string().contains(why), "{write}: {error}");
    }
    assert!(manifest::parse("things", "things.yaml", &manifest_with(&format!("{{ {read_one} }}"))).is_ok());
}
