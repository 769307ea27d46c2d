//! What is written and what is not.

use listbackup_engine::{
    ErrorKind,
    connectors::Page,
    snapshot::{KeyRange, StoreSettings, StreamCheckpoint, StreamEnd, VerifyLevel, WriterSpec},
};

use crate::store::{World, back_up, end, manifest, page, run_id, small_settings, stream};

/// A page of contacts with these ids; `edit` makes their content.
fn contacts(ids: impl IntoIterator<Item = u32>, edit: u32) -> Page {
    let texts: Vec<(String, String)> = ids
        .into_iter()
        .map(|id| (id.to_string(), format!("{{\"id\":{id},\"name\":\"Contact {id}\",\"edit\":{edit}}}")))
        .collect();
    page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))
}

#[tokio::test]
async fn an_unchanged_second_run_stores_only_its_manifest() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, finished) = back_up(&store, (1, 1, 1), None, vec![contacts(0..500, 0)]).await;
    assert_eq!(finished.figures.added, 500);
    assert!(world.blobs.take_puts().len() > 3, "several segments, the key and the manifest");
    let (second, finished) = back_up(&store, (1, 1, 2), Some(&first), vec![contacts((0..500).rev(), 0)]).await;
    assert_eq!((finished.figures.unchanged, finished.figures.bytes_stored), (500, 0));
    let puts = world.blobs.take_puts();
    assert!(puts.len() == 1 && puts[0].ends_with(".snap"), "{puts:?}");
    let (first, second) = (&first.manifest.streams["contacts"], &second.manifest.streams["contacts"]);
    assert_eq!(first.content_digest, second.content_digest);
    assert_eq!(first.segments, second.segments);
    assert_eq!(first.body_bytes, second.body_bytes);
}

#[tokio::test]
async fn a_run_stores_about_as_much_as_changed() {
    let world = World::new(StoreSettings { segment_bytes: 64 << 10, block_bytes: 4 << 10, ..StoreSettings::default() });
    let store = world.source(1, 1).await.unwrap();
    let (first, finished) = back_up(&store, (1, 1, 1), None, vec![contacts(0..20_000, 0)]).await;
    let all_bytes = finished.figures.bytes_stored;
    let edited = (0..20_000).map(|id| contacts([id], u32::from(id.is_multiple_of(100)))).collect();
    let (_, finished) = back_up(&store, (1, 1, 2), Some(&first), edited).await;
    assert_eq!((finished.figures.changed, finished.figures.unchanged), (200, 19_800));
    assert!(finished.figures.bytes_stored < all_bytes / 30, "{} of {all_bytes}", finished.figures.bytes_stored);
}

#[tokio::test]
async fn key_order_and_white_space_are_no_change_and_everything_else_is() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let one = |body: &'static str| vec![page([(vec!["\"k\""], body, false)])];
    let (first, _) = back_up(&store, (1, 1, 1), None, one(r#"{"id":"k","a":1.0,"b":[10,2]}"#)).await;
    for (number, (body, is_changed)) in [
        (r#"{ "b": [10, 2], "a": 1.0, "id": "k" }"#, false),
        (r#"{"id":"k","a":0.1,"b":[10,2]}"#, true),
        (r#"{"id":"k","a":1.0,"b":[2,10]}"#, true),
        (r#"{"id":"k","a":1,"b":[10,2]}"#, true),
    ]
    .into_iter()
    .enumerate()
    {
        let (second, finished) = back_up(&store, (1, 1, 2 + number as u8), Some(&first), one(body)).await;
        assert_eq!(finished.figures.changed == 1, is_changed, "{body}");
        let digests = [&first, &second].map(|loaded| loaded.manifest.streams["contacts"].content_digest);
        assert_eq!(digests[0] != digests[1], is_changed, "{body}");
    }
}

#[tokio::test]
async fn what_a_full_read_does_not_see_is_gone_and_stays_cheap_afterwards() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..300, 0)]).await;
    let kept = || vec![contacts((0u32..300).filter(|id| !id.is_multiple_of(10)), 0)];
    let (second, finished) = back_up(&store, (1, 1, 2), Some(&first), kept()).await;
    assert_eq!((finished.figures.removed, finished.figures.unchanged), (30, 270));
    assert_eq!(finished.state.records, 270);
    let (third, finished) = back_up(&store, (1, 1, 3), Some(&second), kept()).await;
    assert_eq!((finished.figures.removed, finished.figures.bytes_stored), (0, 0));
    let (_, finished) = back_up(&store, (1, 1, 4), Some(&third), vec![contacts(0..300, 0)]).await;
    assert_eq!((finished.figures.added, finished.figures.unchanged), (30, 270));
}

#[tokio::test]
async fn a_record_that_comes_twice_is_stored_and_counted_once() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let once = back_up(&store, (1, 1, 1), None, vec![contacts(0..200, 0)]).await.1;
    let store = world.source(1, 2).await.unwrap();
    let twice = back_up(&store, (1, 2, 1), None, vec![contacts(0..200, 0), contacts(0..200, 0)]).await.1;
    assert_eq!((twice.figures.records, twice.figures.added), (200, 200));
    assert_eq!(twice.state.content_digest, once.state.content_digest);
    assert_eq!(twice.figures.bytes_stored, once.figures.bytes_stored);
    let store = world.source(1, 3).await.unwrap();
    let edited = back_up(&store, (1, 3, 1), None, vec![contacts(0..200, 7), contacts(0..200, 0)]).await.1;
    assert_eq!((edited.figures.records, edited.state.content_digest), (200, once.state.content_digest));
}

#[tokio::test]
async fn small_segments_of_many_checkpoints_are_merged_into_full_ones() {
    let world = World::new(StoreSettings { block_bytes: 2000, segment_bytes: 40_000, ..StoreSettings::default() });
    let store = world.source(1, 1).await.unwrap();
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    for start in (0..1000).step_by(20) {
        writer.push(contacts(start..start + 20, 0)).await.unwrap();
        writer.checkpoint().await.unwrap();
    }
    let finished = writer.finish(end(true)).await.unwrap();
    assert!(finished.state.segments.len() < 8, "{} segments", finished.state.segments.len());
    let loaded = store.put_manifest(&manifest(1, 1, 1, None, [("contacts", finished.state)])).await.unwrap();
    let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.damages);
    assert_eq!(report.records, 1000);
}

#[tokio::test]
async fn merging_small_segments_keeps_the_newest_of_what_came_twice() {
    let world = World::new(StoreSettings { block_bytes: 2000, segment_bytes: 20_000, ..StoreSettings::default() });
    let store = world.source(1, 1).await.unwrap();
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    let save_each = [contacts([5], 1), contacts([6], 1)];
    for page in save_each {
        writer.push(page).await.unwrap();
        writer.checkpoint().await.unwrap();
    }
    writer.push(contacts(0..400, 2)).await.unwrap();
    for id in 1000..1010 {
        writer.push(contacts([id], 3)).await.unwrap();
        writer.checkpoint().await.unwrap();
    }
    let finished = writer.finish(end(true)).await.unwrap();
    assert_eq!((finished.figures.added, finished.state.records), (410, 410));
    let loaded = store.put_manifest(&manifest(1, 1, 1, None, [("contacts", finished.state)])).await.unwrap();
    let reader = store.reader(&loaded.manifest);
    let report = reader.verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.damages);
    let record = reader.find("contacts", "5").await.unwrap().unwrap();
    assert!(record.line().ends_with(b"\"edit\":2}"));
}

#[tokio::test]
async fn a_checkpoint_serves_only_the_parent_it_was_made_over() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..50, 0)]).await;
    let spec = |parent, resume| WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent, resume };
    let mut writer = store.stream_writer(spec(None, None)).await.unwrap();
    writer.push(contacts(0..10, 1)).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    let path = store.put_checkpoint(run_id(1), 3, 1, &checkpoint).await.unwrap().unwrap();
    let checkpoint: StreamCheckpoint = store.load_checkpoint(&path).await.unwrap();
    assert_eq!(checkpoint.figures().added, 10);
    let parent = Some(first.manifest.streams["contacts"].clone());
    let error = store.stream_writer(spec(parent, Some(checkpoint))).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    store.delete_checkpoint(&path).await.unwrap();
    assert_eq!(store.load_checkpoint::<StreamCheckpoint>(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
    let foreign = world.source(1, 2).await.unwrap();
    assert_eq!(foreign.delete_checkpoint(&path).await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_run_makes_at_most_one_snapshot_and_adopts_the_one_it_made() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, finished) = back_up(&store, (1, 1, 1), None, vec![contacts(0..50, 0)]).await;
    let mut again = manifest(1, 1, 1, None, [("contacts", finished.state)]);
    again.epoch = 2;
    assert_eq!(store.put_manifest(&again).await.unwrap(), first);
    assert_eq!(store.list(None, 10).await.unwrap(), [first.manifest.snapshot_id]);
    assert_eq!(store.list(Some(first.manifest.snapshot_id), 10).await.unwrap(), []);
}

#[tokio::test]
async fn another_primary_key_needs_a_full_read() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..5, 0)]).await;
    let parent = Some(first.manifest.streams["contacts"].clone());
    let spec = WriterSpec { stream: stream("contacts", 2), run_id: run_id(1), parent, resume: None };
    let body = r#"{"id":1,"part":"a"}"#;
    for (is_full, outcome) in [(false, None), (true, Some((1, 5)))] {
        let mut writer = store.stream_writer(spec.clone()).await.unwrap();
        writer.push(page([(vec!["1", "\"a\""], body, false)])).await.unwrap();
        let finished = writer.finish(end(is_full)).await;
        assert_eq!(finished.ok().map(|finished| (finished.figures.added, finished.figures.removed)), outcome);
    }
}

#[tokio::test]
async fn a_stream_that_never_deletes_keeps_what_a_full_read_no_longer_shows() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..5, 0)]).await;
    let parent = Some(first.manifest.streams["contacts"].clone());
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    writer.push(contacts(3..8, 0)).await.unwrap();
    let finished = writer.finish(StreamEnd { keeps_absent: true, ..end(true) }).await.unwrap();
    assert_eq!((finished.figures.added, finished.figures.removed, finished.state.records), (3, 0, 8));
}

#[tokio::test]
async fn records_that_lack_their_key_are_all_kept_and_found_again() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let records = || {
        page([
            (vec!["null"], r#"{"id":null,"name":"a"}"#, false),
            (vec!["null"], r#"{"id":null,"name":"b"}"#, false),
            (vec![], r#"{"name":"c"}"#, false),
            (vec!["7"], r#"{"id":7}"#, false),
        ])
    };
    let (first, finished) = back_up(&store, (1, 1, 1), None, vec![records()]).await;
    assert_eq!(finished.figures.added, 4);
    let (second, finished) = back_up(&store, (1, 1, 2), Some(&first), vec![records()]).await;
    assert_eq!((finished.figures.unchanged, finished.figures.bytes_stored), (4, 0));
    let reader = store.reader(&second.manifest);
    for record in reader.browse("contacts", &KeyRange::default(), &[], 10).await.unwrap().records {
        let text = record.key.to_string();
        assert_eq!(reader.find("contacts", &text).await.unwrap().as_ref(), Some(&record), "{text}");
    }
}

#[tokio::test]
async fn records_that_cannot_be_kept_are_refused_by_name() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    for (arity, key, body) in [(1, vec!["nonsense"], "{}"), (0, vec![], "{\"a\":"), (2, vec!["1"], "{\"a\":")] {
        let spec = WriterSpec { stream: stream("contacts", arity), run_id: run_id(1), parent: None, resume: None };
        let mut writer = store.stream_writer(spec).await.unwrap();
        let error = writer.push(page([(key, body, false)])).await.unwrap_err();
        assert!(error.to_string().contains("contacts"), "{error}");
    }
}
