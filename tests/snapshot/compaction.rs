//! However many snapshots, checkpoints or orders of keys: a read touches few segments, and nothing is left behind.

use std::collections::BTreeSet;

use listbackup_engine::{
    connectors::Page,
    snapshot::{KeyRange, LoadedManifest, RecordKey, StoreSettings, VerifyLevel, WriterSpec},
};

use crate::store::{World, back_up, end, manifest, page, run_id, small_settings, snapshot_id, stream};

fn contacts(ids: impl IntoIterator<Item = u32>, edit: u32) -> Page {
    let texts: Vec<(String, String)> = ids
        .into_iter()
        .map(|id| (id.to_string(), format!("{{\"id\":{id},\"name\":\"Contact {id}\",\"edit\":{edit}}}")))
        .collect();
    page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))
}

fn key(id: u32) -> RecordKey {
    RecordKey::from_json([id.to_string().as_bytes()]).unwrap()
}

/// How many of a stream's segments may hold this key.
fn depth(loaded: &LoadedManifest, key: &RecordKey) -> usize {
    let segments = &loaded.manifest.streams["contacts"].segments;
    segments.iter().filter(|segment| segment.first_key <= *key && *key <= segment.last_key).count()
}

#[tokio::test]
async fn a_hundred_small_changes_leave_few_segments_to_a_read_and_every_snapshot_readable() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (mut last, _) = back_up(&store, (1, 1, 0), None, vec![contacts(0..300, 0)]).await;
    let first = last.clone();
    for number in 1..100u32 {
        let edited = |id: u32| id % 100 == number;
        let pages =
            vec![contacts((0..300).filter(|id| !edited(*id)), 0), contacts((0..300).filter(|id| edited(*id)), number)];
        (last, _) = back_up(&store, (1, 1, number as u8), Some(&last), pages).await;
        assert!((0..300).all(|id| depth(&last, &key(id)) <= 4), "snapshot {number}");
    }
    for loaded in [&first, &last, &store.load(snapshot_id(50)).await.unwrap()] {
        let reader = store.reader(&loaded.manifest);
        let page = reader.browse("contacts", &KeyRange::default(), &[], 1000).await.unwrap();
        assert_eq!(page.records.len(), 300);
    }
    assert!(store.reader(&last.manifest).verify(VerifyLevel::Data).await.unwrap().is_sound());
}

#[tokio::test]
async fn records_in_any_order_of_keys_are_merged_before_a_snapshot_names_them() {
    let world =
        World::new(StoreSettings { block_bytes: 2000, segment_bytes: 20_000, lookup_bytes: 1000, ..small_settings() });
    let store = world.source(1, 1).await.unwrap();
    let scattered = |page: u32| contacts((0..20).map(|i| (page * 20 + i) * 7919 % 10_007), 0);
    let (loaded, finished) = back_up(&store, (1, 1, 1), None, (0..100).map(scattered).collect()).await;
    assert_eq!(finished.figures.added, 2000);
    assert!((0..10_007).all(|id| depth(&loaded, &key(id)) <= 2));
    assert!(store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap().is_sound());
}

#[tokio::test]
async fn segments_of_checkpoints_that_were_merged_are_named_for_removal_and_not_counted() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec.clone()).await.unwrap();
    for start in 0..30u32 {
        writer.push(contacts((0..10).map(|i| i * 30 + start), 0)).await.unwrap();
        let checkpoint = writer.checkpoint().await.unwrap();
        if start == 15 {
            // Another worker goes on: what the first one made is this run's as well.
            writer = store.stream_writer(WriterSpec { resume: Some(checkpoint), ..spec.clone() }).await.unwrap();
        }
    }
    let finished = writer.finish(end(true)).await.unwrap();
    let named: BTreeSet<_> = finished.state.segments.iter().map(|segment| segment.id).collect();
    assert!(finished.superseded.len() >= 30 && finished.superseded.iter().all(|id| !named.contains(id)));
    let stored: u64 = finished.state.segments.iter().map(|segment| segment.size_bytes).sum();
    assert_eq!(finished.figures.bytes_stored, stored);
    let loaded = store.put_manifest(&manifest(1, 1, 1, None, [("contacts", finished.state)])).await.unwrap();
    store.delete_superseded(&finished.superseded, &loaded.manifest).await.unwrap();
    let segments = world.blobs.objects().keys().filter(|path| path.ends_with(".seg")).count();
    assert_eq!(segments, named.len(), "nothing but what the snapshot names is left");
    assert!(store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap().is_sound());
}

#[tokio::test]
async fn one_record_costs_two_reads_and_one_more_for_each_newer_segment_that_could_hold_it() {
    let world = World::new(StoreSettings { block_bytes: 2000, segment_bytes: 1 << 20, ..small_settings() });
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..1000, 0)]).await;
    let pages = vec![contacts([0, 999], 1), contacts(1..999, 0)];
    let (second, _) = back_up(&store, (1, 1, 2), Some(&first), pages).await;
    for (loaded, id, reads) in [(&first, 500, 2), (&second, 0, 2), (&second, 500, 3)] {
        let fresh = world.source(1, 1).await.unwrap();
        let before = world.blobs.ranged_reads();
        assert!(fresh.reader(&loaded.manifest).get("contacts", &key(id)).await.unwrap().is_some());
        assert_eq!(world.blobs.ranged_reads() - before, reads, "record {id}");
    }
}
