//! What retention leaves behind goes when nothing rests on it any more, and nothing else does.

use std::time::Duration;

use listbackup_engine::{
    ErrorKind,
    ports::Clock,
    snapshot::{
        SourceStore, WriterSpec,
        retain::{LiveRuns, THIN_AFTER, Thinned},
    },
};

use crate::{
    attachments::{files, noise, save},
    doomed::advance_packs,
    retain::{Hands, act, assert_sound, collect, forget, snapshots},
    store::{MemoryBlobs, World, page, run_id, scope, small_settings, snapshot_id, stream},
    tapped::{Call, Tapped, When},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn names(blobs: &MemoryBlobs, part: &str) -> Vec<String> {
    let objects = blobs.objects();
    let found = objects.keys().filter(|path| path.contains(part));
    found.map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// Two snapshots of six are forgotten, each collected at once; one that stays is pinned.
async fn used(store: &SourceStore, clock: &Hands) -> listbackup_engine::snapshot::LoadedManifest {
    let made = snapshots(store, 6).await;
    store.pin(snapshot_id(0), act(clock)).await.unwrap();
    store.pin(snapshot_id(1), act(clock)).await.unwrap();
    store.unpin(snapshot_id(1), act(clock)).await.unwrap();
    for gone in [1, 2] {
        forget(store, clock, snapshot_id(gone), snapshot_id(5)).await;
        collect(store, clock, &LiveRuns::default()).await.unwrap();
    }
    made.into_iter().next_back().unwrap()
}

#[tokio::test]
async fn after_four_hundred_days_only_what_proves_the_chain_and_what_counts_is_left() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let head = used(&store, &clock).await;
    let (marks, collected) = (names(&world.blobs, "/marks/").len(), names(&world.blobs, "/collected/").len());
    assert_eq!((marks, collected), (5, 2));
    clock.advance(THIN_AFTER - 3 * DAY);
    assert_eq!(store.thin(clock.now()).await.unwrap(), Thinned::default());
    clock.advance(4 * DAY);
    assert_eq!(store.thin(clock.now()).await.unwrap(), Thinned { marks: 4, collections: 1 });
    assert_eq!(names(&world.blobs, "/marks/"), ["000000.mark"], "the pin of the snapshot that stays");
    assert!(store.marks(snapshot_id(0)).await.unwrap().is_pinned());
    assert_eq!(names(&world.blobs, ".forgotten").len(), 2);
    assert_eq!(assert_sound(&store, &head).await, (4, 2));
    // What was forgotten stays forgotten, with its reason, and the next collection has the next number.
    let refused = store.pin(snapshot_id(1), act(&clock)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    assert!(refused.to_string().contains("the test says so"), "{refused}");
    // A run that ended without a snapshot: nothing names its segment.
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(9), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    writer.push(page([(vec!["1"], "{\"id\":1,\"of\":\"nobody\"}", false)])).await.unwrap();
    writer.checkpoint().await.unwrap();
    drop(writer);
    forget(&store, &clock, snapshot_id(3), snapshot_id(5)).await;
    collect(&store, &clock, &LiveRuns::default()).await.unwrap();
    assert_eq!(names(&world.blobs, "/collected/"), ["0000000001.collected", "0000000002.collected"]);
    assert_eq!(assert_sound(&store, &head).await, (3, 3));
}

#[tokio::test]
async fn what_collections_of_packs_left_behind_goes_as_that_of_segments() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let account = world.store().account(&scope(1)).await.unwrap();
    let mut last = None;
    for number in 0..4 {
        let held = files([("1", "a", noise(number.into(), 3000))]);
        last = Some(save(&store, (1, 1, number), last.as_ref(), &held).await.0);
    }
    let lose = async |number| {
        forget(&store, &clock, snapshot_id(number), snapshot_id(3)).await;
        advance_packs(&account, &clock, LiveRuns::default()).await.unwrap();
        clock.advance(DAY);
        advance_packs(&account, &clock, LiveRuns::default()).await.unwrap();
    };
    lose(0).await;
    lose(1).await;
    assert_eq!(names(&world.blobs, "/collected/"), ["0000000000.collected", "0000000001.collected"]);
    clock.advance(THIN_AFTER - 2 * DAY);
    assert_eq!(account.thin(clock.now()).await.unwrap(), 0, "the first is a day too young");
    clock.advance(2 * DAY);
    // A source's own thinning leaves what is the account's.
    store.thin(clock.now()).await.unwrap();
    assert_eq!(names(&world.blobs, "/collected/").len(), 2);
    assert_eq!(account.thin(clock.now()).await.unwrap(), 1);
    lose(2).await;
    assert_eq!(names(&world.blobs, "/collected/"), ["0000000001.collected", "0000000002.collected"]);
}

#[tokio::test]
async fn cut_off_anywhere_the_store_is_whole_and_the_next_one_finishes_it() {
    for at in 0.. {
        let (world, clock) = (World::new(small_settings()), Hands::new());
        let store = world.source(1, 1).await.unwrap();
        let head = used(&store, &clock).await;
        clock.advance(THIN_AFTER + DAY);
        let calls = std::sync::atomic::AtomicU64::new(0);
        let tap = move |when, _: &Call| -> futures::future::BoxFuture<'static, listbackup_engine::Result<()>> {
            let is_dead = when == When::After && calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= at + 2;
            let died = || listbackup_engine::Error::new(ErrorKind::Retry, "died");
            Box::pin(async move { if is_dead { Err(died()) } else { Ok(()) } })
        };
        let blobs = std::sync::Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) });
        let is_whole = match world.source_over(blobs, 1, 1).await {
            Ok(dying) => dying.thin(clock.now()).await.is_ok(),
            Err(_) => false,
        };
        let fresh = world.source(1, 1).await.unwrap();
        assert_eq!(fresh.unfinished_forgets().await.unwrap(), []);
        assert!(fresh.all_marks().await.unwrap()[&snapshot_id(0)].is_pinned());
        assert_eq!(assert_sound(&fresh, &head).await, (4, 2));
        fresh.thin(clock.now()).await.unwrap();
        assert_eq!(names(&world.blobs, "/marks/"), ["000000.mark"], "cut at call {at}");
        assert_eq!(names(&world.blobs, "/collected/").len(), 1, "cut at call {at}");
        if is_whole {
            assert!(at > 5, "only {at} points");
            break;
        }
    }
}
