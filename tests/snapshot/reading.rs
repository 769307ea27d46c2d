//! What is read is what was written.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use listbackup_engine::{
    ErrorKind,
    snapshot::{KeyRange, Record, RecordKey, SnapshotReader, WriterSpec},
};
use proptest::prelude::*;

use crate::store::{World, back_up, end, manifest, page, run_id, small_settings, stream};

/// White space of a pretty-printed record.
const GAP: &str = "\n  ";

/// Pushes records into a new source and opens a reader of the snapshot, as a new process would.
async fn snapshot_of(arity: usize, records: &[(Vec<String>, String)]) -> SnapshotReader {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let spec = WriterSpec { stream: stream("contacts", arity), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    for chunk in records.chunks(7) {
        let records =
            chunk.iter().map(|(keys, body)| (keys.iter().map(String::as_str).collect(), body.as_str(), false));
        writer.push(page(records)).await.unwrap();
    }
    let state = writer.finish(end(true)).await.unwrap().state;
    store.put_manifest(&manifest(1, 1, 1, None, [("contacts", state)])).await.unwrap();
    let store = world.source(1, 1).await.unwrap();
    let id = store.list(None, 10).await.unwrap()[0];
    store.reader(&store.load(id).await.unwrap().manifest)
}

async fn all(reader: &SnapshotReader) -> Vec<Record> {
    reader.scan("contacts").unwrap().try_collect().await.unwrap()
}

async fn check_round_trip(arity: usize, records: &[(Vec<String>, String)]) {
    let reader = snapshot_of(arity, records).await;
    // Records with a whole key replace each other; others are told apart by their content.
    let (partial, whole): (Vec<_>, Vec<_>) = records.iter().partition(|(keys, _)| keys.iter().any(|key| key == "null"));
    let key = |keys: &[String]| RecordKey::from_json(keys.iter().map(|key| key.as_bytes())).unwrap();
    let expected: BTreeMap<RecordKey, &String> = whole.into_iter().map(|(keys, body)| (key(keys), body)).collect();
    let mut bodies: Vec<&[u8]> = expected.values().map(|body| body.as_bytes()).collect();
    let mut by_content: BTreeMap<String, &[u8]> = BTreeMap::new();
    for (_, body) in partial {
        by_content.entry(body.replace(GAP, "")).or_insert(body.as_bytes());
    }
    bodies.extend(by_content.values());
    let read = all(&reader).await;
    let mut found: Vec<&[u8]> = read.iter().map(|record| &record.body[..]).collect();
    bodies.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, bodies);
    assert!(read.is_sorted_by(|a, b| a.key < b.key));
    for record in &read {
        assert_eq!(&RecordKey::parse(&record.key.to_string(), arity).unwrap(), &record.key);
        assert_eq!(reader.get("contacts", &record.key).await.unwrap().as_ref(), Some(record));
    }
    for (key, body) in &expected {
        assert_eq!(&reader.get("contacts", key).await.unwrap().unwrap().body[..], body.as_bytes());
    }
    let mut browsed: Vec<Record> = Vec::new();
    loop {
        let range = KeyRange::after(browsed.last().map(|record: &Record| record.key.clone()));
        let more = reader.browse("contacts", &range, &[], 5).await.unwrap().records;
        if more.is_empty() {
            break;
        }
        browsed.extend(more);
    }
    assert_eq!(browsed, read);
}

fn json_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "[1-9][0-9]{20,40}",
        ".{0,20}".prop_map(|text| serde_json::Value::from(text).to_string()),
        Just("null".to_owned()),
        Just("1.50e3".to_owned()),
        Just("\"\\ud800\"".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_back_as_it_was_sent(
        arity in 1usize..4,
        rows in prop::collection::vec((prop::collection::vec(json_text(), 3), ".{0,60}", any::<bool>()), 0..60),
    ) {
        let records: Vec<(Vec<String>, String)> = rows
            .into_iter()
            .map(|(keys, text, is_pretty)| {
                let keys = keys[..arity].to_vec();
                let (gap, text) = (if is_pretty { GAP } else { "" }, serde_json::Value::from(text));
                let body = format!("{{{gap}\"keys\":[{}],{gap}\"text\":{text}}}", keys.join(","));
                (keys, body)
            })
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_round_trip(arity, &records));
    }
}

#[tokio::test]
async fn records_of_a_stream_without_key_are_found_by_their_digest() {
    let body = |i: usize| format!("{{\"at\":{i},\"what\":\"login\"}}");
    let mut records: Vec<(Vec<String>, String)> = (0..50).map(|i| (Vec::new(), body(i))).collect();
    records.push((Vec::new(), "{ \"what\": \"login\", \"at\": 7 }".to_owned()));
    let reader = snapshot_of(0, &records).await;
    let read = all(&reader).await;
    assert_eq!(read.len(), 50, "one record written in two ways is one record");
    let text = read[3].key.to_string();
    assert_eq!(text.len(), 32);
    let key = RecordKey::parse(&text, 0).unwrap();
    assert_eq!(reader.get("contacts", &key).await.unwrap().unwrap(), read[3]);
}

#[tokio::test]
async fn a_pretty_printed_record_is_exported_on_one_line_and_kept_as_received() {
    let pretty = "{\r\n  \"id\": 1,\n  \"text\": \"a\\nb  c\"\n}";
    let reader = snapshot_of(1, &[(vec!["1".to_owned()], pretty.to_owned())]).await;
    let records = all(&reader).await;
    assert_eq!(&records[0].body[..], pretty.as_bytes());
    let line = String::from_utf8(records[0].line().into_owned()).unwrap();
    assert!(!line.contains(['\n', '\r']));
    let values = [&line, pretty].map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap());
    assert_eq!(values[0], values[1]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let reader = snapshot_of(1, &[(vec!["5".to_owned()], "{\"id\":5}".to_owned())]).await;
    for text in ["4", "5x", "6", "[null]"] {
        let key = RecordKey::parse(text, 1).unwrap();
        assert_eq!(reader.get("contacts", &key).await.unwrap(), None, "{text}");
    }
    let error = reader.browse("orders", &KeyRange::default(), &[], 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(reader.streams().map(|(name, _)| name).collect::<Vec<_>>(), ["contacts"]);
}

#[tokio::test]
async fn an_older_snapshot_stays_as_it_was() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let one = |body: &'static str| vec![page([(vec!["1"], body, false)])];
    let (first, _) = back_up(&store, (1, 1, 1), None, one("{\"id\":1,\"v\":1}")).await;
    let (second, _) = back_up(&store, (1, 1, 2), Some(&first), one("{\"id\":1,\"v\":2}")).await;
    let (third, _) = back_up(&store, (1, 1, 3), Some(&second), vec![]).await;
    let key = RecordKey::parse("1", 1).unwrap();
    let mut bodies = Vec::new();
    for loaded in [&first, &second, &third] {
        let record = store.reader(&loaded.manifest).get("contacts", &key).await.unwrap();
        bodies.push(record.map(|record| String::from_utf8(record.body.to_vec()).unwrap()));
    }
    assert_eq!(bodies, [Some("{\"id\":1,\"v\":1}".to_owned()), Some("{\"id\":1,\"v\":2}".to_owned()), None]);
}
