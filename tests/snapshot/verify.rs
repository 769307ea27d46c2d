//! A verification in parts covers what one in a single go does: whatever the limits, and whatever is damaged.

use std::collections::BTreeSet;

use jiff::Timestamp;
use listbackup_engine::{
    ErrorKind,
    ports::Clock,
    snapshot::{Damage, SnapshotReader, VerifyLevel, VerifyLimits, VerifyPosition, VerifyProgress, VerifyReport},
};
use proptest::prelude::*;

use crate::{
    damage::{damaged, is_of_first_source, small_world},
    store::{World, snapshot_id},
};

/// A clock that always shows the same.
struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

async fn reader(world: &World, number: u8) -> Result<SnapshotReader, listbackup_engine::Error> {
    let store = world.source(1, 1).await?;
    Ok(store.reader(&store.load(snapshot_id(number)).await?.manifest))
}

/// Calls until all is covered, each time with the next of the limits. Positions go through their stored form.
async fn in_parts(reader: &SnapshotReader, limits: &[u64]) -> (Vec<VerifyReport>, VerifyProgress) {
    let (mut reports, mut progress): (Vec<VerifyReport>, Option<VerifyProgress>) = (Vec::new(), None);
    for bytes_max in limits.iter().cycle() {
        let position = progress.as_ref().and_then(|progress| progress.position.as_ref());
        let text = position.map(|position| serde_json::to_string(position).unwrap());
        let position: Option<VerifyPosition> = text.map(|text| serde_json::from_str(&text).unwrap());
        let limits = VerifyLimits { bytes_max: Some(*bytes_max), deadline: None };
        let report = reader.verify_within(&limits, position.as_ref()).await.unwrap();
        progress = Some(VerifyProgress::after(&report, snapshot_id(2), progress, Timestamp::UNIX_EPOCH));
        reports.push(report);
        if reports[reports.len() - 1].is_complete() {
            break;
        }
        assert!(reports.len() < 10_000, "it comes to no end");
    }
    (reports, progress.unwrap())
}

fn set(damages: &[Damage]) -> BTreeSet<String> {
    damages.iter().map(|damage| format!("{damage:?}")).collect()
}

#[tokio::test]
async fn each_part_keeps_to_its_limit_and_the_last_one_has_covered_everything() {
    let world = small_world().await;
    let reader = reader(&world, 2).await.unwrap();
    let whole = reader.verify(VerifyLevel::Data).await.unwrap();
    assert!(whole.is_sound() && whole.is_complete());
    let covered = whole.covered;
    assert_eq!((covered.segments, covered.bytes, covered.streams), (covered.segments_total, covered.bytes_total, 2));
    for limit in [1, 700, 2000, u64::MAX] {
        let (reports, progress) = in_parts(&reader, &[limit]).await;
        assert!(progress.position.is_none() && progress.damages.is_empty());
        let last = &reports[reports.len() - 1];
        assert!(last.is_sound() && last.covered == covered, "{limit}: {last:?}");
        assert!(limit < u64::MAX || reports.len() == 1, "{limit}");
        assert!(limit > 1 || reports.len() as u64 > covered.segments, "{limit}");
        assert!(reports.is_sorted_by_key(|report| (report.covered.bytes, report.covered.streams)));
        // One unit is read whatever the limit is; here none is larger than 1,500 bytes.
        assert!(reports.iter().all(|report| report.bytes_read <= limit.max(1500)), "{limit}: {reports:?}");
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_leaves_time_for_one_step_only() {
    let world = small_world().await;
    let reader = reader(&world, 2).await.unwrap();
    let clock = StoppedClock;
    let mut position = None;
    let mut calls = 0;
    loop {
        let limits = VerifyLimits { bytes_max: None, deadline: Some((&clock, Timestamp::UNIX_EPOCH)) };
        let report = reader.verify_within(&limits, position.as_ref()).await.unwrap();
        calls += 1;
        assert!(report.is_sound() && calls < 100);
        position = report.next;
        if position.is_none() {
            break;
        }
    }
    assert!(calls > 3, "{calls}");
    let limits = VerifyLimits { bytes_max: None, deadline: Some((&clock, Timestamp::MAX)) };
    assert!(reader.verify_within(&limits, None).await.unwrap().is_complete());
}

#[tokio::test]
async fn a_position_is_of_use_only_with_the_snapshot_that_it_came_from() {
    let world = small_world().await;
    let limits = VerifyLimits { bytes_max: Some(1), deadline: None };
    let report = reader(&world, 2).await.unwrap().verify_within(&limits, None).await.unwrap();
    let older = reader(&world, 1).await.unwrap();
    let refused = older.verify_within(&limits, report.next.as_ref()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn what_is_kept_of_a_verification_is_the_newest_and_lost_only_to_damage() {
    let world = small_world().await;
    let store = world.source(1, 1).await.unwrap();
    assert!(store.verify_progress().await.unwrap().is_none());
    let limits = VerifyLimits { bytes_max: Some(1), deadline: None };
    let report = reader(&world, 2).await.unwrap().verify_within(&limits, None).await.unwrap();
    for second in 0..3 {
        let at = Timestamp::from_second(second).unwrap();
        let progress = VerifyProgress::after(&report, snapshot_id(2), None, at);
        store.keep_verify_progress(&progress).await.unwrap();
        assert_eq!(world.source(1, 1).await.unwrap().verify_progress().await.unwrap(), Some(progress));
    }
    let kept: Vec<String> =
        world.blobs.objects().keys().filter(|path| path.ends_with(".verification")).cloned().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    world.blobs.objects().insert(kept[0].clone(), "x".into());
    assert!(store.verify_progress().await.unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn in_parts_the_same_damage_is_found_as_in_one_go(
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8u8), 1..5),
        limits in prop::collection::vec(1..3000u64, 1..6),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let mut world = small_world().await;
            let objects = world.blobs.objects().clone();
            let paths: Vec<&String> = objects
                .keys()
                .filter(|path| is_of_first_source(path) && !path.contains("/keys/"))
                .collect();
            for (object, byte, bit) in hits {
                let path = paths[object.index(paths.len())];
                let Some(stored) = world.blobs.objects().get(path).cloned() else { continue };
                let mut bytes = stored.to_vec();
                let at = byte.index(bytes.len());
                bytes[at] ^= 1 << bit;
                // Some are cut short, some are gone.
                let object = match bit {
                    6 => Some(bytes[..at].to_vec().into()),
                    7 if path.ends_with(".seg") => None,
                    _ => Some(bytes.into()),
                };
                world = damaged(&world, path, object);
            }
            // Where the newest manifest itself is damaged there is nothing to begin with.
            let Ok(reader) = reader(&world, 2).await else { return };
            let whole = reader.verify(VerifyLevel::Data).await.unwrap();
            let (reports, progress) = in_parts(&reader, &limits).await;
            assert_eq!(set(&progress.damages), set(&whole.damages));
            assert_eq!(reports[reports.len() - 1].is_sound(), whole.is_sound());
            assert_eq!(reports[reports.len() - 1].covered, whole.covered);
        });
    }
}
