//! A crash between any two steps of forgetting or collecting leaves a store that verifies, and goes on when it is repeated.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{
        KeyRange, SourceStore, VerifyLevel,
        retain::{Collectable, Collection, LiveRuns},
    },
};

use crate::{
    retain::{GRACE, Hands, act, snapshots},
    store::{World, small_settings, snapshot_id},
    tapped::{Call, Tapped, When},
};

/// Lets the `n`-th call fail, and all calls after it: the process is gone. `when` says whether the last one had its effect.
fn dying_at(world: &World, n: u64, when: When) -> Tapped {
    let calls = Arc::new(AtomicU64::new(0));
    let tap = move |now, _: &Call| -> futures::future::BoxFuture<'static, Result<()>> {
        let call =
            if now == When::Before { calls.fetch_add(1, Ordering::SeqCst) } else { calls.load(Ordering::SeqCst) - 1 };
        let is_dead = call > n || (call == n && now == when);
        Box::pin(async move { if is_dead { Err(Error::new(ErrorKind::Retry, "the process is gone")) } else { Ok(()) } })
    };
    Tapped { inner: world.blobs.clone(), tap: Box::new(tap) }
}

/// Forgets two snapshots and collects what only they needed.
async fn work(store: &SourceStore, clock: &Hands) -> Result<()> {
    for id in store.unfinished_forgets().await? {
        store.finish_forgetting(id).await?;
    }
    for number in [0, 2] {
        if store.tombstone(snapshot_id(number)).await?.is_none() {
            store.decide_to_forget(snapshot_id(number), snapshot_id(3), act(clock)).await?;
            store.finish_forgetting(snapshot_id(number)).await?;
        }
    }
    let look = || -> futures::future::BoxFuture<'_, _> { Box::pin(async { Ok(LiveRuns::default()) }) };
    let collection = Collection {
        what: Collectable::Segments(store.clone()),
        live: &look,
        clock,
        grace: GRACE,
        is_sole_worker: true,
        by: "test".to_owned(),
    };
    for _ in 0..3 {
        collection.advance().await?;
        clock.advance(GRACE);
    }
    Ok(())
}

async fn assert_sound(world: &World, what: &str) {
    let store = world.source(1, 1).await.unwrap();
    let head = store.load(snapshot_id(3)).await.unwrap();
    let report = store.reader(&head.manifest).verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{what}: {:?}", report.damages);
    for id in store.list(None, 10).await.unwrap() {
        let kept = store.load(id).await.unwrap();
        let records =
            store.reader(&kept.manifest).browse("contacts", &KeyRange::default(), &[], 100).await.unwrap().records;
        assert_eq!(records.len(), 20, "{what}: {id}");
    }
}

/// The stored objects without the documents that tell times.
fn lasting(world: &World) -> Vec<String> {
    let objects = world.blobs.objects();
    objects.keys().filter(|path| path.ends_with(".seg") || path.contains("/snapshots/")).cloned().collect()
}

async fn prepared() -> World {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    snapshots(&store, 4).await;
    // Left behind by a run that failed.
    let orphan =
        world.blobs.objects().iter().find(|(path, _)| path.ends_with(".seg")).map(|(p, b)| (p.clone(), b.clone()));
    let (path, bytes) = orphan.unwrap();
    let (folder, _) = path.rsplit_once('/').unwrap();
    let orphan = format!("{folder}/{}.seg", "0123456789".repeat(4));
    world.blobs.objects().insert(orphan, bytes);
    world
}

#[tokio::test]
async fn a_crash_at_any_call_is_made_up_for_by_the_next_attempt() {
    let world = prepared().await;
    work(&world.source(1, 1).await.unwrap(), &Hands::new()).await.unwrap();
    assert_sound(&world, "undisturbed").await;
    let expected = lasting(&world);
    assert!(!expected.iter().any(|path| path.contains("0123456789")), "the orphan is gone");
    for when in [When::Before, When::After] {
        let mut n = 0;
        loop {
            let (world, clock) = (prepared().await, Hands::new());
            let dying = Arc::new(dying_at(&world, n, when));
            let died = match world.source_over(dying, 1, 1).await {
                Ok(store) => work(&store, &clock).await.is_err(),
                Err(_) => true,
            };
            let what = format!("call {n}, {when:?}");
            assert_sound(&world, &what).await;
            work(&world.source(1, 1).await.unwrap(), &clock).await.unwrap();
            assert_sound(&world, &format!("{what}, repeated")).await;
            assert_eq!(lasting(&world), expected, "{what}");
            if !died {
                assert!(n > 30, "there are more steps than {n}");
                break;
            }
            n += 1;
        }
    }
}
