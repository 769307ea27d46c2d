//! Ordering exports and downloading them, in every form.

use std::io::{Cursor, Read};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use listbackup::{downloads::DownloadLimits, sandbox::Sandbox};
use listbackup_engine::{
    export::Export,
    model::{AccountId, ExportId},
    snapshot::{SnapshotStore, StoreSettings},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reqwest::Method;
use serde_json::{Value, json};
use zip::ZipArchive;

use crate::{
    data::{by_id, by_key, file_of, id, product, run_to_its_end, source, truth},
    kit::{App, Person},
};

/// A product that was backed up once.
struct BackedUp {
    app: App,
    product: Sandbox,
    ada: Person,
    source: String,
    snapshot: String,
}

impl BackedUp {
    async fn new() -> Self {
        let app = App::start().await;
        let worker = app.worker();
        let product = product().await;
        let ada = app.person("ada").await;
        let source = source(&ada, "Shop", &by_key(&product, "sandbox-key")).await;
        let run = run_to_its_end(&ada, &source).await;
        assert_eq!(run["status"], "succeeded", "{run}");
        file_of(&ada, id(&source), "contacts").await;
        worker.stop();
        let (source, snapshot) = (id(&source).to_owned(), run["snapshot_id"].as_str().unwrap().to_owned());
        Self { app, product, ada, source, snapshot }
    }

    async fn order(&self, more: Value) -> Value {
        let mut body = json!({ "snapshot_id": self.snapshot });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.ada.caller.post("/data/exports", &body).await.expect(201).clone()
    }

    /// The file of an export, with the headers that tell its name and type.
    async fn download(&self, export: &Value) -> (Bytes, String, String) {
        self.get(&format!("/data/exports/{}/download", id(export))).await
    }

    async fn get(&self, path: &str) -> (Bytes, String, String) {
        let answer = self.ada.caller.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let (name, media_type) = (header("content-disposition"), header("content-type"));
        (answer.bytes().await.unwrap(), name, media_type)
    }

    async fn end(self) {
        self.app.stop().await;
        self.product.stop().await.unwrap();
    }
}

fn rows(parquet: Bytes) -> usize {
    let batches = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap().build().unwrap();
    batches.map(|batch| batch.unwrap().num_rows()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_gives_the_streams_that_were_asked_for_in_the_form_that_was_asked_for() {
    let world = BackedUp::new().await;
    let contacts = truth(&world.product, "contacts").await;
    let export = world.order(json!({ "streams": ["contacts"] })).await;
    assert_eq!(
        (&export["zip"], &export["format"], &export["is_expired"]),
        (&json!(false), &json!("jsonl"), &json!(false))
    );
    assert_eq!(export["source_id"], world.source);
    let (lines, name, media_type) = world.download(&export).await;
    assert_eq!(by_id(std::str::from_utf8(&lines).unwrap()), contacts);
    assert!(name.contains("\"contacts.jsonl\"") && media_type == "application/jsonl", "{name} {media_type}");

    let (csv, name, media_type) =
        world.download(&world.order(json!({ "streams": ["contacts"], "format": "csv" })).await).await;
    assert!(
        csv.starts_with(b"id,") && name.contains("\"contacts.csv\"") && media_type.starts_with("text/csv"),
        "{name}"
    );
    let (parquet, ..) =
        world.download(&world.order(json!({ "streams": ["contacts"], "format": "parquet" })).await).await;
    assert_eq!(rows(parquet), contacts.len());

    let (zip, name, media_type) = world.download(&world.order(json!({})).await).await;
    assert!(name.contains(&format!("\"{}.zip\"", world.snapshot)) && media_type == "application/zip");
    let mut zip = ZipArchive::new(Cursor::new(zip)).unwrap();
    let detail = world.ada.caller.get(&format!("/data/snapshots/{}", world.snapshot)).await.body;
    let attachments = zip.file_names().filter(|name| name.as_ref().unwrap().starts_with("files/")).count();
    assert_eq!(attachments, detail["streams"]["companies@attachments"]["records"]);
    assert_eq!(zip.len() - attachments, detail["streams"].as_object().unwrap().len() + 1);
    let mut lines = String::new();
    zip.by_name("contacts.jsonl").unwrap().read_to_string(&mut lines).unwrap();
    assert_eq!(by_id(&lines), contacts);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_downloaded_in_every_form_and_each_download_is_told() {
    let world = BackedUp::new().await;
    let file = file_of(&world.ada, &world.source, "contacts").await;
    let path = format!("/data/files/{}/download", id(&file));
    let records = file["records"].as_u64().unwrap() as usize;
    assert_eq!(rows(world.get(&format!("{path}?format=parquet")).await.0), records);
    let (csv, name, _) = world.get(&format!("{path}?format=csv")).await;
    assert!(csv.starts_with(b"id,") && name.contains("contacts.csv"));
    assert_eq!(world.get(&path).await.0, world.get(&format!("{path}?format=jsonl")).await.0);
    assert_eq!(world.ada.caller.get(&format!("{path}?format=xlsx")).await.pointers(), ["?format"]);

    let export = world.order(json!({ "streams": ["contacts"], "zip": true })).await;
    world.download(&export).await;
    let log = world.ada.caller.get("/activity?kind=data.exported").await;
    let told = &log.expect(200)["items"];
    assert_eq!(told.as_array().unwrap().len(), 5, "{told}");
    assert_eq!(told[0]["details"]["exportId"], export["id"], "{told}");
    assert_eq!(told[0]["details"]["streams"], json!(["contacts"]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_exported_is_told_where_it_is_wrong() {
    let world = BackedUp::new().await;
    let caller = &world.ada.caller;
    let post = |body: Value| async move { caller.post("/data/exports", &body).await };
    let nowhere = json!({ "snapshot_id": "snap_00000000000000000000000000" });
    assert_eq!(post(nowhere).await.pointers(), ["/snapshot_id"]);
    let snapshot = world.snapshot.clone();
    let wrong = json!({ "snapshot_id": snapshot, "streams": ["contacts", "x", "contacts"], "zip": false });
    assert_eq!(post(wrong).await.pointers(), ["/streams/1", "/streams/2", "/zip"]);
    for (field, value) in [("format", json!("xlsx")), ("streams", json!([])), ("zip", json!("yes")), ("more", json!(1))]
    {
        let answer = post(json!({ "snapshot_id": snapshot, field: value })).await;
        assert_eq!(answer.pointers(), [format!("/{field}")], "{}", answer.text);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_listed_newest_first_each_once_and_only_in_their_account() {
    let world = BackedUp::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(id(&world.order(json!({})).await).to_owned());
    }
    let key = world.ada.caller.with("Idempotency-Key", "once");
    let body = json!({ "snapshot_id": world.snapshot });
    let ids =
        [key.post("/data/exports", &body).await, key.post("/data/exports", &body).await].map(|answer| answer.body);
    assert_eq!(ids[0], ids[1]);
    made.push(id(&ids[0]).to_owned());
    let mut listed = Vec::new();
    let mut next = "/data/exports?limit=4".to_owned();
    loop {
        let page = world.ada.caller.get(&next).await;
        listed.extend(page.expect(200)["items"].as_array().unwrap().iter().map(|item| id(item).to_owned()));
        match page.body["next_cursor"].as_str() {
            Some(cursor) => next = format!("/data/exports?limit=4&cursor={cursor}"),
            None => break,
        }
    }
    let instant = |id: &String| id.parse::<ExportId>().unwrap().instant_ms();
    assert!(listed.is_sorted_by_key(|id| std::cmp::Reverse(instant(id))), "{listed:?}");
    listed.sort_unstable();
    made.sort_unstable();
    assert_eq!(listed, made);
    assert_eq!(world.ada.caller.get("/data/exports?cursor=nonsense").await.pointers(), ["?cursor"]);
    assert_eq!(world.ada.caller.get(&format!("/data/exports/{}", made[0])).await.expect(200)["id"], made[0]);

    let eve = world.app.person("eve").await;
    assert_eq!(eve.caller.get("/data/exports").await.expect(200)["items"], json!([]));
    eve.caller.get(&format!("/data/exports/{}", made[0])).await.expect(404);
    eve.caller.get(&format!("/data/exports/{}/download", made[0])).await.expect(404);
    assert_eq!(eve.caller.post("/data/exports", &body).await.pointers(), ["/snapshot_id"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_ends_after_thirty_days() {
    let world = BackedUp::new().await;
    let made = world.order(json!({})).await;
    let time = |field: &str| made[field].as_str().unwrap().parse::<Timestamp>().unwrap();
    assert_eq!(time("expires_at").duration_since(time("created_at")), SignedDuration::from_hours(30 * 24));

    let ports = &world.app.ports;
    let scope = world.app.system.account(world.ada.account_id);
    let store = SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), StoreSettings::default());
    let store = store.account(&scope).await.unwrap();
    let fresh: Export = store.load_export(id(&made).parse().unwrap()).await.unwrap();
    let now = ports.clock.now();
    let old = Export { export_id: ExportId::new(&*ports.clock, &*ports.random), expires_at: now, ..fresh };
    let old = old.keep(&store).await.unwrap();
    let path = format!("/data/exports/{}", old.export_id);
    assert_eq!(world.ada.caller.get(&path).await.expect(200)["is_expired"], true);
    assert_eq!(world.ada.caller.get(&format!("{path}/download")).await.expect(410)["code"], "expired");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_downloads_at_a_time_than_allowed_are_refused_until_one_ends() {
    let world = BackedUp::new().await;
    let limits = DownloadLimits::DEFAULT;
    let export = world.order(json!({ "streams": ["contacts"] })).await;
    let path = format!("/data/exports/{}/download", id(&export));
    let refused = async |status: u16, code: &str| {
        let answer = world.ada.caller.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["retry-after"], "5");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code, "{problem}");
    };
    let place = |account_id| world.app.downloads.place(account_id).unwrap();
    // All places but one are taken: however many come one after another, each leaves its own.
    let mut taken: Vec<_> = (1..limits.per_account.get()).map(|_| place(world.ada.account_id)).collect();
    for _ in 0..limits.per_account.get() * 2 {
        world.download(&export).await;
    }
    taken.push(place(world.ada.account_id));
    refused(429, "too_many_downloads").await;
    let files = world.ada.caller.get("/data/files?limit=1").await;
    let file = format!("/data/files/{}/download", id(&files.expect(200)["items"][0]));
    world.ada.caller.get(&file).await.expect(429);
    taken.clear();

    for number in 0..limits.total.get() {
        let account_id = AccountId::derived(1, [u8::try_from(number).unwrap(); 10]);
        taken.push(place(account_id));
    }
    refused(503, "busy").await;
    taken.pop();
    world.download(&export).await;
    drop(taken);
    world.end().await;
}
