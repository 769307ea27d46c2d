//! Attachments in runs: only what changed is downloaded, what fails fails alone, and every byte is there.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    model::{FileEntry, Run, RunStatus},
    ports::{Query, SortRange},
    run::{RunContext, index::Indexed},
    snapshot::{StoredAttachment, VerifyLevel},
    tables::FILES,
};
use serde_json::json;

use crate::{
    rules::{STREAM, finished, indexed, killed_after, product},
    scripted::File,
    world::World,
};

const FILES_STREAM: &str = "contacts@attachments";

pub fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

/// What the head holds: record, id, bytes.
pub async fn held(world: &World, worker: &Arc<RunContext>) -> Vec<(String, String, Vec<u8>)> {
    let store = worker.snapshots.source(&world.scope, world.source_id).await.unwrap();
    let head = world.source().await.head.expect("a head").snapshot_id;
    let reader = store.reader(&store.load(head).await.unwrap().manifest);
    assert!(reader.verify(VerifyLevel::Data).await.unwrap().is_sound());
    let mut held = Vec::new();
    let attachments: Vec<StoredAttachment> = reader.attachments(FILES_STREAM).unwrap().try_collect().await.unwrap();
    for attachment in attachments {
        let range = 0..attachment.size_bytes;
        let pieces: Vec<Bytes> = reader.open_attachment(&attachment, range).await.unwrap().try_collect().await.unwrap();
        held.push((attachment.record, attachment.attachment, pieces.concat()));
    }
    held
}

pub fn item(record: &str, id: &str, bytes: &[u8]) -> (String, String, Vec<u8>) {
    (record.to_owned(), id.to_owned(), bytes.to_vec())
}

async fn files_rows(world: &World, worker: &RunContext) -> Vec<FileEntry> {
    let query = Query {
        table: &FILES,
        index: Some("by-account"),
        partition: world.scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 100,
        after: None,
    };
    worker.store.query::<FileEntry>(&world.scope, query).await.unwrap().rows.into_iter().map(|row| row.row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn attachments_are_downloaded_once_and_again_only_when_they_changed() {
    let world = World::new(41, product(25)).await;
    let (product, worker) = (&world.product, world.worker());
    let (one, two, big) = (bytes(1, 100), bytes(2, 20_000), bytes(3, 3 << 20));
    product.attach(1, "a", File::new(1, one.clone()));
    product.attach(12, "b", File::new(1, two.clone()));
    product.attach(12, "empty", File::new(1, Vec::new()));
    product.attach(20, "c", File::new(1, big.clone()));
    let first = finished(&worker, &world.order().await).await;
    assert_eq!(first.status, RunStatus::Succeeded);
    let figures = &first.progress.streams[FILES_STREAM];
    assert_eq!((figures.added, figures.records, figures.failed_items.len()), (4, 4, 0));
    assert!(first.progress.bytes_stored > 3 << 20 && first.progress.bytes_read > 3 << 20, "{:?}", first.progress);
    let expected = [item("1", "a", &one), item("12", "b", &two), item("12", "empty", &[]), item("20", "c", &big)];
    assert!(held(&world, &worker).await == expected);
    assert_eq!(product.take_opened().len(), 4);

    let changed = bytes(4, 150);
    product.attach(1, "a", File::new(2, changed.clone()));
    product.detach(12, "b");
    let second = finished(&worker, &world.order().await).await;
    assert_eq!(product.take_opened(), [("a".to_owned(), 0)], "what did not change is not downloaded");
    let figures = &second.progress.streams[FILES_STREAM];
    assert_eq!((figures.added, figures.changed, figures.removed, figures.unchanged), (0, 1, 1, 2));
    assert!(held(&world, &worker).await == [item("1", "a", &changed), item("12", "empty", &[]), item("20", "c", &big)]);

    assert_eq!(indexed(&world, &worker, &second).await, Indexed::Rows(2 + 3));
    let rows = files_rows(&world, &worker).await;
    let c = rows.iter().find(|row| row.path == "contacts/20/c/c.bin").expect("a row for each attachment");
    assert_eq!((c.size_bytes, c.stream.as_str()), (3 << 20, STREAM));
    assert_eq!(c.content_digest, blake3::hash(&big).to_hex().to_string());
    product.remove(STREAM, [12, 20]);
    finished(&worker, &world.order().await).await;
    assert!(held(&world, &worker).await == [item("1", "a", &changed)], "attachments go with their records");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    let world = World::new(42, product(5)).await;
    let (product, worker) = (&world.product, world.worker());
    let content = bytes(1, 100_000);
    product.attach(1, "a", File { cuts: 1, ..File::new(1, content.clone()) });
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    assert_eq!(product.take_opened(), [("a".to_owned(), 0), ("a".to_owned(), 50_000)]);
    assert!(held(&world, &worker).await == [item("1", "a", &content)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attachment_that_cannot_be_read_fails_alone_and_keeps_what_was_stored() {
    let world = World::new(43, product(5)).await;
    let (product, worker) = (&world.product, world.worker());
    let (old, good) = (bytes(1, 1000), bytes(2, 1000));
    product.attach(1, "a", File::new(1, old.clone()));
    finished(&worker, &world.order().await).await;
    product.attach(1, "a", File { failing: Some(ConnectorError::Denied), ..File::new(2, bytes(3, 1000)) });
    product.attach(2, "b", File { failing: Some(ConnectorError::Denied), ..File::new(1, good.clone()) });
    product.attach(3, "c", File::new(1, good.clone()));
    product.attach(4, "gone", File { failing: Some(ConnectorError::NotFound), ..File::new(1, Vec::new()) });
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Partial);
    assert_eq!(run.progress.streams[STREAM].error, None, "the stream itself is whole");
    let failed = &run.progress.streams[FILES_STREAM].failed_items;
    let items: Vec<&str> = failed.iter().map(|failed| failed.item.as_str()).collect();
    assert_eq!(items, ["attachment a of record 1", "attachment b of record 2"]);
    assert!(held(&world, &worker).await == [item("1", "a", &old), item("3", "c", &good)]);

    product.attach(1, "a", File::new(2, good.clone()));
    product.attach(2, "b", File::new(1, good.clone()));
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    assert!(held(&world, &worker).await.len() == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_of_another_length_than_the_product_says_is_not_taken() {
    let world = World::new(44, product(5)).await;
    let worker = world.worker();
    // The product ends the download early, and says that all is well.
    world.product.attach(1, "a", File { is_short: true, ..File::new(1, bytes(1, 10)) });
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Partial);
    assert!(held(&world, &worker).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_read_brings_a_failed_attachment_again_and_leaves_the_others_alone() {
    let product = product(5);
    product.be_incremental();
    let world = World::new(45, product).await;
    let (product, worker) = (&world.product, world.worker());
    let content = bytes(1, 1000);
    product.attach(1, "a", File::new(1, content.clone()));
    product.attach(2, "b", File::new(1, content.clone()));
    finished(&worker, &world.order().await).await;
    product.take_opened();

    // Record 3 comes with a file that fails; record 1 comes without its file.
    product.set(STREAM, 3, json!({ "id": 3, "new": true }));
    product.set(STREAM, 1, json!({ "id": 1, "new": true }));
    product.detach(1, "a");
    product.attach(3, "c", File { failing: Some(ConnectorError::Denied), ..File::new(1, content.clone()) });
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Partial);
    assert!(held(&world, &worker).await == [item("2", "b", &content)]);
    product.attach(3, "c", File::new(1, content.clone()));
    product.take_opened();
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    assert_eq!(product.take_opened(), [("c".to_owned(), 0)]);
    assert!(held(&world, &worker).await == [item("2", "b", &content), item("3", "c", &content)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_attachments_of_checkpointed_pages_are_not_downloaded_again() {
    let world = World::new(46, product(40)).await;
    for id in 1..=40 {
        world.product.attach(id, &format!("f{id:02}"), File::new(1, bytes(id as u8, 5000)));
    }
    let run: Run = world.order().await;
    killed_after(&world, &world.worker(), &run, 2).await;
    assert_eq!(world.product.take_opened().len(), 20);
    world.clock.advance(std::time::Duration::from_secs(31));
    let worker = world.worker();
    let ended = finished(&worker, &run).await;
    assert_eq!(ended.status, RunStatus::Succeeded);
    assert_eq!(world.product.take_opened().len(), 20, "only what no checkpoint covers is downloaded again");
    assert_eq!(ended.progress.streams[FILES_STREAM].added, 40);
    let held = held(&world, &worker).await;
    assert_eq!(held.len(), 40);
    assert!((1..=40u8).all(|id| held.contains(&item(&id.to_string(), &format!("f{id:02}"), &bytes(id, 5000)))));
    assert!(ended.progress.bytes_stored < 40 * 5000 + 60_000, "{}", ended.progress.bytes_stored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_a_reserved_name_is_refused() {
    let product = product(1);
    product.put("x@attachments", [1], "first");
    let world = World::new(47, product).await;
    let worker = world.worker();
    let claim = crate::rules::claimed(&worker, &world.order().await).await;
    let refused = listbackup_engine::run::session::Session::begin(
        worker.clone(),
        claim,
        listbackup_engine::run::stop::StopSwitch::new(),
    );
    let error = refused.await.err().expect("the name is refused");
    assert!(error.to_string().contains("x@attachments"), "{error}");
}
