//! Which snapshots are kept, what lets go of them, and that nothing else does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use jiff::{Timestamp, Zoned, tz::TimeZone};
use listbackup_engine::{
    ErrorKind,
    model::{KeepRules, SnapshotId},
    ports::Clock,
    snapshot::{
        KeyRange, LoadedManifest, SourceStore, VerifyLevel,
        retain::{
            Act, Collectable, Collected, Collection, CollectionState, ItemId, Judged, LiveRuns, Marks, Reason, decide,
        },
    },
};
use proptest::prelude::*;

use crate::store::{World, back_up, page, run_id, small_settings, snapshot_id};

pub const GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// Moves only when a test moves it.
pub struct Hands(pub AtomicI64);

impl Hands {
    pub fn new() -> Self {
        Self(AtomicI64::new(1_800_000_000))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs() as i64, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::SeqCst)).unwrap()
    }
}

pub fn act(clock: &Hands) -> Act {
    Act::new("tester", "the test says so", clock.now())
}

/// Snapshots of a source with one stream, each with records of its own: none needs another's segments.
pub async fn snapshots(store: &SourceStore, count: u8) -> Vec<LoadedManifest> {
    let mut made: Vec<LoadedManifest> = Vec::new();
    for number in 0..count {
        let records: Vec<(String, String)> = (0..20)
            .map(|key| (key.to_string(), format!("{{\"id\":{key},\"value\":\"{number}-{}\"}}", "x".repeat(50))))
            .collect();
        let pages = records.iter().map(|(key, body)| (vec![key.as_str()], body.as_str(), false));
        made.push(back_up(store, (1, 1, number), made.last(), vec![page(pages)]).await.0);
    }
    made
}

/// Deletes what may go, as a day after day would.
pub async fn collect(store: &SourceStore, clock: &Hands, live: &LiveRuns) -> Option<Collected> {
    let look = || -> futures::future::BoxFuture<'_, _> { Box::pin(async { Ok(live.clone()) }) };
    let collection = Collection {
        what: Collectable::Segments(store.clone()),
        live: &look,
        clock,
        grace: GRACE,
        is_sole_worker: true,
        by: "test".to_owned(),
    };
    let (first, _) = collection.advance().await.unwrap();
    clock.advance(GRACE);
    let (second, _) = collection.advance().await.unwrap();
    first.or(second)
}

pub async fn forget(store: &SourceStore, clock: &Hands, id: SnapshotId, head: SnapshotId) {
    store.decide_to_forget(id, head, act(clock)).await.unwrap();
    store.finish_forgetting(id).await.unwrap();
}

pub async fn assert_sound(store: &SourceStore, head: &LoadedManifest) -> (u64, u64) {
    let report = store.reader(&head.manifest).verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.damages);
    (report.manifests, report.forgotten)
}

#[tokio::test]
async fn a_forgotten_snapshot_leaves_a_chain_that_verifies_and_its_segments_go_a_grace_later() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let made = snapshots(&store, 4).await;
    // Every state is deleted and rewritten, so the head's stream still names older segments; the chain is what matters.
    let head = made.last().unwrap();
    for gone in [1, 2] {
        forget(&store, &clock, snapshot_id(gone), snapshot_id(3)).await;
    }
    assert_eq!(store.list(None, 10).await.unwrap(), [snapshot_id(0), snapshot_id(3)]);
    for max in 1..4 {
        assert_eq!(store.list(Some(snapshot_id(0)), max).await.unwrap(), [snapshot_id(3)], "{max} at a time");
    }
    let error = store.load(snapshot_id(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains("was forgotten on") && error.message().contains("the test says so"), "{error}");
    assert_eq!(assert_sound(&store, head).await, (2, 2));
    collect(&store, &clock, &LiveRuns::default()).await;
    assert_eq!(assert_sound(&store, head).await, (2, 2));
    let root = store.load(snapshot_id(0)).await.unwrap();
    assert_eq!(
        store.reader(&root.manifest).browse("contacts", &KeyRange::default(), &[], 100).await.unwrap().records.len(),
        20
    );
}

#[tokio::test]
async fn a_manifest_that_vanished_without_tombstone_is_still_found() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let made = snapshots(&store, 4).await;
    forget(&store, &clock, snapshot_id(2), snapshot_id(3)).await;
    world.blobs.objects().retain(|path, _| !path.ends_with(&format!("{}.snap", snapshot_id(1))));
    let report = store.reader(&made[3].manifest).verify(VerifyLevel::Structure).await.unwrap();
    assert_eq!(report.damages.len(), 1, "{:?}", report.damages);
    assert!(report.damages[0].path.contains(&snapshot_id(1).to_string()));
    // And nothing can take a forgotten one's place in the chain.
    world.blobs.objects().retain(|path, _| !path.ends_with(&format!("{}.forgotten", snapshot_id(2))));
    let report = store.reader(&made[3].manifest).verify(VerifyLevel::Structure).await.unwrap();
    assert!(report.damages[0].path.contains(&snapshot_id(2).to_string()), "{:?}", report.damages);
}

#[tokio::test]
async fn segments_that_nothing_names_are_deleted_and_the_others_are_not() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = back_up(&store, (1, 1, 0), None, vec![page([(vec!["1"], "{\"id\":1}", false)])]).await;
    // A run that failed: its segment is named by nothing.
    let spec = listbackup_engine::snapshot::WriterSpec {
        stream: crate::store::stream("contacts", 1),
        run_id: run_id(1),
        parent: Some(first.manifest.streams["contacts"].clone()),
        resume: None,
    };
    let mut writer = store.stream_writer(spec).await.unwrap();
    writer.push(page([(vec!["2"], "{\"id\":2}", false)])).await.unwrap();
    let checkpoint = writer.checkpoint().await.unwrap();
    let orphan: BTreeSet<_> = checkpoint.segments().collect();
    drop(writer);

    // While the run is live its checkpoint keeps them, and a run that was live is waited for.
    let live = LiveRuns { runs: [run_id(1)].into(), segments: orphan.clone(), ..LiveRuns::default() };
    assert_eq!(collect(&store, &clock, &live).await, None);
    let in_memory = LiveRuns { runs: [run_id(1)].into(), ..LiveRuns::default() };
    assert_eq!(collect(&store, &clock, &in_memory).await, None, "the run may hold it in memory");
    let collected = collect(&store, &clock, &LiveRuns::default()).await.expect("it has ended");
    let deleted: BTreeSet<_> = collected.deleted.iter().map(|gone| gone.id).collect();
    assert_eq!(deleted, orphan.into_iter().map(ItemId::from).collect());
    assert!(collected.kept.is_empty() && collected.deleted_bytes() > 0);
    assert!(!world.blobs.objects().keys().any(|path| path.contains("/collections/")), "documents of a closed one go");
    assert_sound(&store, &first).await;
}

#[tokio::test]
async fn pinned_held_locked_and_newest_snapshots_cannot_be_forgotten() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let made = snapshots(&store, 5).await;
    let head = snapshot_id(4);
    store.pin(snapshot_id(0), act(&clock)).await.unwrap();
    let until = clock.now() + Duration::from_secs(100);
    store.hold(snapshot_id(1), act(&clock), Some(until)).await.unwrap();
    store.hold(snapshot_id(2), act(&clock), None).await.unwrap();
    store.lock(&made[3].manifest, until).await.unwrap();
    let refused = async |number| {
        let error = store.decide_to_forget(snapshot_id(number), head, act(&clock)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{number}: {error}");
        assert!(error.message().contains("stays"), "{error}");
    };
    for number in 0..5 {
        refused(number).await;
    }
    assert_eq!(store.list(None, 9).await.unwrap().len(), 5);
    // A hold that ends, ends; the others only by an explicit act.
    clock.advance(Duration::from_secs(200));
    store.unpin(snapshot_id(0), act(&clock)).await.unwrap();
    forget(&store, &clock, snapshot_id(0), head).await;
    forget(&store, &clock, snapshot_id(1), head).await;
    refused(2).await;
    assert!(store.release(snapshot_id(2), act(&clock)).await.unwrap());
    assert!(!store.release(snapshot_id(2), act(&clock)).await.unwrap(), "nothing is left to release");
    forget(&store, &clock, snapshot_id(2), head).await;
    let late = store.pin(snapshot_id(2), act(&clock)).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::NotFound);
    assert!(late.message().contains("forgotten"), "{late}");
    assert_eq!(assert_sound(&store, &made[4]).await, (2, 3));
}

#[tokio::test]
async fn a_damaged_or_missing_mark_keeps_everything() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    snapshots(&store, 2).await;
    store.pin(snapshot_id(0), act(&clock)).await.unwrap();
    store.unpin(snapshot_id(0), act(&clock)).await.unwrap();
    let first = world.blobs.objects().keys().find(|path| path.ends_with("000000.mark")).cloned().unwrap();
    let copy = world.blobs.objects().remove(&first).unwrap();
    let missing = store.decide_to_forget(snapshot_id(0), snapshot_id(1), act(&clock)).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Corrupt);
    let mut damaged = copy.to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    world.blobs.objects().insert(first, damaged.into());
    let altered = store.decide_to_forget(snapshot_id(0), snapshot_id(1), act(&clock)).await.unwrap_err();
    assert_eq!(altered.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn of_a_pin_and_a_forgetting_at_the_same_time_exactly_one_holds() {
    for round in 0..50 {
        let (world, clock) = (World::new(small_settings()), Hands::new());
        let store = world.source(1, 1).await.unwrap();
        snapshots(&store, 2).await;
        let pin = tokio::spawn({
            let (store, act) = (store.clone(), act(&clock));
            async move { store.pin(snapshot_id(0), act).await }
        });
        let forgotten = store.decide_to_forget(snapshot_id(0), snapshot_id(1), act(&clock)).await;
        let pinned = pin.await.unwrap();
        assert_ne!(pinned.is_ok(), forgotten.is_ok(), "round {round}: {pinned:?} {forgotten:?}");
    }
}

#[tokio::test]
async fn locking_a_snapshot_locks_all_that_it_consists_of_and_only_extends() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let made = snapshots(&store, 2).await;
    let objects = made[1].manifest.streams["contacts"].segments.len() + 1;
    let until = clock.now() + Duration::from_secs(100);
    assert_eq!(store.lock(&made[1].manifest, until).await.unwrap(), objects);
    assert_eq!(store.lock(&made[1].manifest, until - Duration::from_secs(1)).await.unwrap(), 0);
    assert_eq!(store.lock(&made[1].manifest, until + Duration::from_secs(1)).await.unwrap(), objects);
}

#[tokio::test]
async fn a_dry_look_tells_what_would_go_and_changes_nothing() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    snapshots(&store, 2).await;
    let look = || -> futures::future::BoxFuture<'_, _> { Box::pin(async { Ok(LiveRuns::default()) }) };
    let collection = Collection {
        what: Collectable::Segments(store.clone()),
        live: &look,
        clock: &clock,
        grace: GRACE,
        is_sole_worker: true,
        by: "test".to_owned(),
    };
    assert_eq!(collection.look().await.unwrap(), CollectionState::Clean);
    world.blobs.objects().retain(|path, _| !path.ends_with(".snap"));
    let before = world.blobs.objects().clone();
    assert!(matches!(collection.look().await.unwrap(), CollectionState::Found(found) if !found.is_empty()));
    assert_eq!(*world.blobs.objects(), before);
    let (_, waiting) = collection.advance().await.unwrap();
    assert_eq!(collection.look().await.unwrap(), waiting);
    assert!(matches!(waiting, CollectionState::Waiting { until, .. } if until == clock.now() + GRACE));
    clock.advance(GRACE);
    assert!(matches!(collection.look().await.unwrap(), CollectionState::Due(_)));
}

// ---- rules

const ZONES: [&str; 4] = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu"];

fn rules() -> impl Strategy<Value = KeepRules> {
    let count = || prop_oneof![3 => Just(0u32), 2 => 1..4u32, 1 => 4..30u32];
    (count(), count(), count(), count(), count(), count(), 0..ZONES.len()).prop_map(
        |(last, hourly, daily, weekly, monthly, yearly, zone)| KeepRules {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            time_zone: ZONES[zone].to_owned(),
        },
    )
}

/// Gaps between snapshots, from minutes to months, across changes of the clocks and of the year.
fn instants() -> impl Strategy<Value = Vec<(Timestamp, bool)>> {
    let gap = prop_oneof![1..90i64, 60..2_000i64, 1_000..20_000i64, 20_000..300_000i64];
    let start: Timestamp = "2024-10-20T00:00:00Z".parse().unwrap();
    prop::collection::vec((gap, prop::bool::weighted(0.15)), 1..60).prop_map(move |gaps| {
        let mut at = start;
        gaps.into_iter()
            .map(|(minutes, is_suspicious)| {
                at += Duration::from_secs(minutes as u64 * 60);
                (at, is_suspicious)
            })
            .collect()
    })
}

/// What is kept, found the slow way: for every snapshot and rule, count the later periods.
fn oracle(rules: &KeepRules, snapshots: &[(Timestamp, bool)]) -> BTreeSet<usize> {
    let zone = TimeZone::get(&rules.time_zone).unwrap();
    let local = |index: usize| snapshots[index].0.to_zoned(zone.clone());
    let key = |rule: usize, time: Zoned| -> (i64, i64, i64) {
        let (date, week) = (time.date(), time.date().iso_week_date());
        let days = i64::from(date.day());
        match rule {
            0 => (
                i64::from(date.year()) * 366 + i64::from(date.day_of_year()),
                i64::from(time.hour()),
                i64::from(time.offset().seconds()),
            ),
            1 => (i64::from(date.year()), i64::from(date.month()), days),
            2 => (i64::from(week.year()), i64::from(week.week()), 0),
            3 => (i64::from(date.year()), i64::from(date.month()), 0),
            _ => (i64::from(date.year()), 0, 0),
        }
    };
    let counts = [rules.hourly, rules.daily, rules.weekly, rules.monthly, rules.yearly];
    let mut kept: BTreeSet<usize> = [snapshots.len() - 1].into();
    for good_only in [false, true] {
        let these: Vec<usize> = (0..snapshots.len()).filter(|index| !(good_only && snapshots[*index].1)).collect();
        kept.extend(these.iter().rev().take(rules.last as usize));
        for (rule, count) in counts.into_iter().enumerate() {
            let mut newest = BTreeMap::new();
            for index in &these {
                newest.insert(key(rule, local(*index)), *index);
            }
            let mut places: Vec<usize> = newest.into_values().collect();
            places.sort_unstable();
            kept.extend(places.iter().rev().take(count as usize));
        }
    }
    if [&[rules.last][..], &counts].concat().iter().all(|count| *count == 0) {
        kept.extend(0..snapshots.len());
    }
    kept
}

fn judged(instants: &[(Timestamp, bool)]) -> Vec<Judged> {
    let judge = |(number, (created_at, is_suspicious)): (usize, &(Timestamp, bool))| Judged {
        snapshot_id: snapshot_id(number as u8),
        created_at: *created_at,
        marks: Marks::default(),
        is_suspicious: *is_suspicious,
    };
    instants.iter().enumerate().map(judge).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn the_rules_keep_what_a_brute_force_oracle_keeps(rules in rules(), instants in instants()) {
        let decisions = decide(&rules, &judged(&instants), Timestamp::MAX).unwrap();
        let kept: BTreeSet<usize> =
            decisions.iter().enumerate().filter(|(_, decision)| decision.is_kept()).map(|(index, _)| index).collect();
        prop_assert_eq!(kept, oracle(&rules, &instants));
    }

    /// Applying the rules day by day loses nothing that applying them once would keep.
    #[test]
    fn letting_go_early_never_costs_what_the_rules_keep(rules in rules(), instants in instants()) {
        let mut left: Vec<Judged> = Vec::new();
        for snapshot in judged(&instants) {
            left.push(snapshot);
            let decisions = decide(&rules, &left, Timestamp::MAX).unwrap();
            let mut kept = decisions.iter().map(|decision| decision.is_kept());
            left.retain(|_| kept.next().unwrap());
        }
        let at_once = decide(&rules, &judged(&instants), Timestamp::MAX).unwrap();
        let wanted: BTreeSet<_> = at_once.iter().filter(|one| one.is_kept()).map(|one| one.snapshot_id).collect();
        let there: BTreeSet<_> = left.iter().map(|one| one.snapshot_id).collect();
        prop_assert!(there.is_superset(&wanted), "{there:?} lacks some of {wanted:?}");
    }
}

#[test]
fn every_rule_that_keeps_a_snapshot_is_told_and_an_unknown_zone_lets_nothing_go() {
    let instants: Vec<(Timestamp, bool)> = ["2026-11-22T10:00:00Z", "2026-11-22T12:00:00Z", "2026-11-23T12:00:00Z"]
        .map(|text| (text.parse().unwrap(), false))
        .into();
    let rules = KeepRules { last: 1, daily: 2, ..KeepRules::default() };
    let decisions = decide(&rules, &judged(&instants), Timestamp::UNIX_EPOCH).unwrap();
    let told: Vec<Vec<String>> =
        decisions.iter().map(|one| one.kept_by.iter().map(ToString::to_string).collect()).collect();
    assert_eq!(told[0], Vec::<String>::new());
    assert_eq!(told[1], ["daily 2026-11-22"]);
    assert_eq!(told[2], ["newest of the source", "last 1", "daily 2026-11-23"]);
    let nowhere = KeepRules { time_zone: "Mars/Olympus".to_owned(), ..rules };
    assert_eq!(decide(&nowhere, &judged(&instants), Timestamp::UNIX_EPOCH).unwrap_err().kind(), ErrorKind::Invalid);
    let none = decide(&KeepRules::default(), &judged(&instants), Timestamp::UNIX_EPOCH).unwrap();
    assert!(none.iter().all(|one| one.kept_by.contains(&Reason::NoRules)));
}
