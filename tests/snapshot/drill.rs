//! A drill passes on what was backed up, and on nothing else.

use listbackup_engine::{
    adapters::embedded::SystemClock,
    connectors::Page,
    run::drill::{DrillReport, DrillSpec, Outcome, drill},
    snapshot::{LoadedManifest, StoreSettings},
};
use proptest::prelude::*;

use crate::store::{World, back_up, page, small_settings, snapshot_id};

fn contacts(ids: impl IntoIterator<Item = u32>, edit: u32) -> Page {
    let texts: Vec<(String, String)> = ids
        .into_iter()
        .map(|id| (id.to_string(), format!("{{\"id\":{id},\n \"name\":\"Contact {id}\",\"edit\":{edit}}}")))
        .collect();
    page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))
}

async fn drilled(world: &World, loaded: &LoadedManifest, seed: u8, sample_size: u64) -> DrillReport {
    let store = world.source(1, 1).await.unwrap();
    let spec = DrillSpec { seed: [seed; 16], sample_size, program: "test".to_owned() };
    let scratch = tempfile::tempdir().unwrap();
    drill(&store.reader(&loaded.manifest), loaded, &spec, scratch.path(), &SystemClock).await.unwrap()
}

/// Two snapshots of so many contacts, the second with changes, deletions and additions all over.
async fn two_snapshots(world: &World, count: u32) -> [LoadedManifest; 2] {
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 1), None, vec![contacts(0..count, 0)]).await;
    let kept = |id: &u32| !id.is_multiple_of(7);
    let pages = vec![
        contacts((0..count).filter(kept).filter(|id| !id.is_multiple_of(5)), 0),
        contacts((0..count + 50).filter(kept).filter(|id| id.is_multiple_of(5)), 1),
    ];
    let (second, _) = back_up(&store, (1, 1, 2), Some(&first), pages).await;
    [first, second]
}

#[tokio::test]
async fn small_streams_are_restored_whole_and_large_ones_all_over_their_keys() {
    let small = World::new(small_settings());
    for loaded in two_snapshots(&small, 300).await {
        let report = drilled(&small, &loaded, 1, 10).await;
        let stream = &report.streams["contacts"];
        assert_eq!((report.outcome, stream.is_whole), (Outcome::Passed, true), "{report:?}");
        assert_eq!((stream.restored, stream.records), (loaded.manifest.totals.records, stream.restored));
    }
    let large = World::new(StoreSettings { segment_bytes: 20_000, ..small_settings() });
    let [first, second] = two_snapshots(&large, 2000).await;
    let report = drilled(&large, &first, 1, 100).await;
    assert_eq!((report.outcome, report.streams["contacts"].restored), (Outcome::Passed, 100), "{report:?}");
    // Of older entries that were replaced the present record is restored, of deleted ones none.
    let report = drilled(&large, &second, 1, 400).await;
    let restored = report.streams["contacts"].restored;
    assert!(report.outcome == Outcome::Passed && (200..400).contains(&restored), "{report:?}");
    assert_eq!(drilled(&large, &second, 1, 400).await.streams, report.streams);
    assert_ne!(drilled(&large, &second, 2, 400).await.streams, report.streams);
    let all = drilled(&large, &first, 1, 1_000_000).await;
    assert_eq!(all.streams["contacts"].restored, 2000);
}

#[tokio::test]
async fn a_manifest_that_claims_other_content_fails_the_drill() {
    let world = World::new(small_settings());
    let [first, second] = two_snapshots(&world, 100).await;
    let mut forged = second.clone();
    let stream = forged.manifest.streams.get_mut("contacts").unwrap();
    stream.content_digest = first.manifest.streams["contacts"].content_digest;
    let report = drilled(&world, &forged, 1, 10).await;
    assert_eq!((report.outcome, report.snapshot_id), (Outcome::Failed, snapshot_id(2)));
    assert!(report.streams["contacts"].problems[0].contains("digest"), "{report:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_small_stream_with_any_damaged_byte_of_records_fails_the_drill(
        segment in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let world = World::new(small_settings());
            let [_, second] = two_snapshots(&world, 100).await;
            let named: Vec<String> =
                second.manifest.streams["contacts"].segments.iter().map(|segment| segment.id.to_string()).collect();
            let id = &named[segment.index(named.len())];
            {
                let mut objects = world.blobs.objects();
                let path = objects.keys().find(|path| path.contains(id)).unwrap().clone();
                let mut bytes = objects[&path].to_vec();
                let at = byte.index(bytes.len());
                bytes[at] ^= 0x40;
                objects.insert(path, bytes.into());
            }
            let report = drilled(&world, &second, 1, 10).await;
            assert_eq!(report.outcome, Outcome::Failed, "{report:?}");
            assert!(!report.streams["contacts"].is_whole && !report.streams["contacts"].problems.is_empty());
        });
    }
}
