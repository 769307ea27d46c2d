//! Attachments under retention: what only forgotten snapshots held is gone with all of its bytes, and nothing else is.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use listbackup_engine::{
    ErrorKind, Result,
    ports::Clock,
    snapshot::{
        AccountStore, AttachmentsWriter, LoadedManifest, NewAttachment, SourceStore, VerifyLevel, VerifyLimits,
        retain::{Collectable, Collected, Collection, LiveRuns},
    },
};

use crate::{
    attachments::{Files, files, noise, read_all, save},
    retain::{GRACE, Hands, forget},
    store::{World, end, run_id, scope, small_settings, snapshot_id, stream},
    tapped::{Call, Tapped, When},
};

fn packs(world: &World) -> BTreeSet<String> {
    world.blobs.objects().keys().filter(|path| path.ends_with(".pack")).cloned().collect()
}

async fn account(world: &World) -> AccountStore {
    world.store().account(&scope(1)).await.unwrap()
}

/// One step of a collection of the account's packs.
async fn step(account: &AccountStore, clock: &Hands, live: LiveRuns) -> Result<Option<Collected>> {
    let look = || -> BoxFuture<'_, _> { Box::pin(async { Ok(live.clone()) }) };
    let what = Collectable::Packs(account.clone());
    let by = "test".to_owned();
    let collection = Collection { what, live: &look, clock, grace: GRACE, is_sole_worker: true, by };
    collection.advance().await.map(|(collected, _)| collected)
}

/// Two steps, a day apart.
async fn collect(world: &World, clock: &Hands) -> Option<Collected> {
    let account = account(world).await;
    let first = step(&account, clock, LiveRuns::default()).await.unwrap();
    clock.advance(GRACE);
    let second = step(&account, clock, LiveRuns::default()).await.unwrap();
    first.or(second)
}

fn one(seed: u64) -> Files {
    files([("1", "a", noise(seed, 30_000))])
}

async fn reads(store: &SourceStore, loaded: &LoadedManifest) -> Files {
    read_all(&store.reader(&loaded.manifest)).await.unwrap()
}

#[tokio::test]
async fn the_bytes_of_what_only_forgotten_snapshots_held_are_gone_and_all_others_still_come() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let (store, other) = (world.source(1, 1).await.unwrap(), world.source(1, 2).await.unwrap());
    let both = files([("1", "a", noise(1, 30_000)), ("2", "shared", noise(2, 30_000))]);
    let (first, _) = save(&store, (1, 1, 1), None, &both).await;
    let whole = packs(&world);
    let (second, _) = save(&store, (1, 1, 2), Some(&first), &one(3)).await;
    let (third, _) = save(&store, (1, 1, 3), Some(&second), &one(4)).await;
    // Another source of the account holds one of the first two files, in the same packs.
    let shared = files([("9", "b", noise(2, 30_000))]);
    let (others, _) = save(&other, (1, 2, 4), None, &shared).await;
    assert_eq!(collect(&world, &clock).await, None, "everything is held by a snapshot");

    let owner = Collectable::Packs(account(&world).await);
    let (count, bytes) = owner.named_only_by(&[snapshot_id(2)].into()).await.unwrap();
    assert_eq!(owner.named_only_by(&[snapshot_id(4), snapshot_id(1)].into()).await.unwrap().0, whole.len() as u64);
    forget(&store, &clock, snapshot_id(2), snapshot_id(3)).await;
    let before = packs(&world);
    let collected = collect(&world, &clock).await.expect("what only the second held goes");
    let gone = &before - &packs(&world);
    assert_eq!(gone.len(), collected.deleted.len());
    assert_eq!((gone.len() as u64, collected.deleted_bytes()), (count, bytes), "as was foretold");
    assert!(gone.iter().all(|path| !whole.contains(path)) && collected.deleted_bytes() > 30_000, "{collected:?}");
    assert!(reads(&store, &first).await == both && reads(&store, &third).await == one(4));

    forget(&store, &clock, snapshot_id(1), snapshot_id(3)).await;
    collect(&world, &clock).await;
    assert!(reads(&other, &others).await == shared && reads(&store, &third).await == one(4));
    for (store, loaded) in [(&store, &third), (&other, &others)] {
        let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
        assert!(report.is_sound(), "{:?}", report.damages);
    }
    // Of the lists only those of states that are still held stay.
    let lists = world.blobs.objects().keys().filter(|path| path.ends_with(".packs")).count();
    assert_eq!(lists, 2);
}

#[tokio::test]
async fn packs_of_locked_and_held_snapshots_stay() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = save(&store, (1, 1, 1), None, &one(1)).await;
    let (second, _) = save(&store, (1, 1, 2), Some(&first), &one(2)).await;
    save(&store, (1, 1, 3), Some(&second), &one(3)).await;
    store.lock(&first.manifest, clock.now() + Duration::from_secs(1_000_000_000)).await.unwrap();
    store.hold(snapshot_id(2), crate::retain::act(&clock), None).await.unwrap();
    for number in [1, 2] {
        let act = crate::retain::act(&clock);
        let refused = store.decide_to_forget(snapshot_id(number), snapshot_id(3), act).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
    }
    // Even when the manifest is lost, nobody deletes what is locked.
    world.blobs.objects().retain(|path, _| !path.ends_with(&format!("{}.snap", snapshot_id(1))));
    let before = packs(&world);
    assert_eq!(collect(&world, &clock).await, None);
    assert_eq!(packs(&world), before);
}

#[tokio::test]
async fn while_nobody_knows_what_a_snapshot_needs_no_pack_goes_and_a_person_is_told_the_way_out() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = save(&store, (1, 1, 1), None, &one(1)).await;
    let before = packs(&world);
    // A run stored its manifest and died before the commit; what lists its attachments is lost.
    let (uncommitted, _) = save(&store, (1, 1, 2), Some(&first), &one(2)).await;
    let (head, _) = save(&store, (1, 1, 3), Some(&first), &one(3)).await;
    let listed = |loaded: &LoadedManifest| -> BTreeSet<String> {
        let segments = loaded.manifest.streams.values().flat_map(|state| &state.segments);
        segments.map(|segment| segment.id.to_string()).collect()
    };
    let lost = &(&listed(&uncommitted) - &listed(&first)) - &listed(&head);
    world.blobs.objects().retain(|path, _| !lost.iter().any(|id| path.contains(id)));
    let all = packs(&world);

    let account = account(&world).await;
    for _ in 0..2 {
        let error = step(&account, &clock, LiveRuns::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let told = error.to_string();
        for part in [&*snapshot_id(2).to_string(), "listbackup forget --snapshot", ".seg"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        clock.advance(GRACE);
    }
    assert_eq!(packs(&world), all, "nothing was deleted");

    forget(&store, &clock, snapshot_id(2), snapshot_id(3)).await;
    let collected = collect(&world, &clock).await.expect("what only the lost one held goes");
    assert_eq!(packs(&world).len() + collected.deleted.len(), all.len());
    assert!(before.is_subset(&packs(&world)) && !collected.deleted.is_empty());
    assert!(reads(&store, &first).await == one(1) && reads(&store, &head).await == one(3));
}

/// Takes in the file of [`one`], to be confirmed with the next checkpoint.
async fn written(store: &SourceStore, seed: u64) -> AttachmentsWriter {
    let mut writer = AttachmentsWriter::open(store, &stream("contacts", 1), run_id(9), None, None).await.unwrap();
    let mut sink = writer.sink();
    sink.push(&noise(seed, 30_000)).await.unwrap();
    let content = sink.finish().await.unwrap();
    let new = NewAttachment {
        record: "1".to_owned(),
        attachment: "a".to_owned(),
        name: "a.bin".to_owned(),
        media_type: None,
        version: None,
    };
    writer.add(new, content).await.unwrap();
    writer
}

#[tokio::test]
async fn what_a_writer_finds_in_a_doomed_pack_stays_and_what_is_being_deleted_is_stored_again() {
    for sweeps_first in [false, true] {
        let (world, clock) = (World::new(small_settings()), Hands::new());
        // A run that failed left packs.
        drop(written(&world.source(1, 1).await.unwrap(), 1).await.checkpoint().await.unwrap());
        let left = packs(&world);
        assert_eq!(step(&account(&world).await, &clock, LiveRuns::default()).await.unwrap(), None, "doomed");
        clock.advance(GRACE);
        // The account is open in a process that knows their chunks; another process collects.
        let store = world.source(1, 2).await.unwrap();
        let mut writer = written(&store, 1).await;
        let sweep = async || step(&account(&world).await, &clock, LiveRuns::default()).await.unwrap().expect("due");
        if sweeps_first {
            assert_eq!(sweep().await.deleted.len(), left.len());
            let error = writer.checkpoint().await.expect_err("it is gone");
            assert_eq!(error.kind(), ErrorKind::Retry);
            // The same process tries again, and stores it anew.
            writer = written(&store, 1).await;
            writer.checkpoint().await.unwrap();
        } else {
            writer.checkpoint().await.unwrap();
            let collected = sweep().await;
            assert!(collected.deleted.is_empty() && collected.kept.len() == left.len(), "{collected:?}");
        }
        let finished = writer.finish(end(true)).await.unwrap();
        let manifest = crate::store::manifest(1, 2, 9, None, [("contacts@attachments", finished.state)]);
        let loaded = store.put_manifest(&manifest).await.unwrap();
        collect(&world, &clock).await;
        assert!(reads(&store, &loaded).await == one(1), "other bytes came back");
    }
}

#[tokio::test]
async fn a_live_run_of_any_source_is_waited_for_and_its_checkpoint_keeps_packs() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let checkpoint = written(&world.source(1, 1).await.unwrap(), 1).await.checkpoint().await.unwrap();
    let named = LiveRuns { packs: checkpoint.packs().collect(), runs: [run_id(9)].into(), ..LiveRuns::default() };
    let in_memory = LiveRuns { packs: BTreeSet::new(), ..named.clone() };
    let before = packs(&world);
    assert!(!before.is_empty());
    for live in [named.clone(), in_memory.clone(), in_memory.clone(), named] {
        assert_eq!(step(&account(&world).await, &clock, live).await.unwrap(), None);
        clock.advance(GRACE);
    }
    assert_eq!(packs(&world), before);
    let collected = collect(&world, &clock).await.expect("it has ended");
    assert_eq!(collected.deleted.len(), before.len());
}

#[tokio::test]
async fn a_snapshot_that_takes_its_parents_place_while_manifests_are_read_keeps_its_packs() {
    let (world, clock) = (World::new(small_settings()), Arc::new(Hands::new()));
    let store = world.source(1, 1).await.unwrap();
    // Doomed while nothing names it, then named by a snapshot for which the collection waited.
    drop(written(&store, 1).await.checkpoint().await.unwrap());
    let live = LiveRuns { runs: [run_id(1)].into(), ..LiveRuns::default() };
    step(&account(&world).await, &clock, live).await.unwrap();
    let (parent, _) = save(&store, (1, 1, 1), None, &one(1)).await;
    world.blobs.objects().retain(|path, _| !path.ends_with(".rescue"));
    clock.advance(GRACE);
    let is_due = Arc::new(AtomicBool::new(true));
    let tap = {
        let (store, clock, is_due, parent) = (store.clone(), clock.clone(), is_due.clone(), parent.clone());
        move |when, call: &Call| -> BoxFuture<'static, Result<()>> {
            let is_now = when == When::Before
                && call.name == "get"
                && call.path.ends_with(&format!("{}.snap", snapshot_id(1)))
                && is_due.swap(false, Ordering::SeqCst);
            let (store, clock, parent) = (store.clone(), clock.clone(), parent.clone());
            async move {
                if is_now {
                    // The manifests were listed: now a child comes that keeps the file, and the parent goes.
                    let state = parent.manifest.streams["contacts@attachments"].clone();
                    let child =
                        crate::store::manifest(1, 1, 2, Some(parent.as_parent()), [("contacts@attachments", state)]);
                    store.put_manifest(&child).await.unwrap();
                    forget(&store, &clock, snapshot_id(1), snapshot_id(2)).await;
                }
                Ok(())
            }
            .boxed()
        }
    };
    let tapped = Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) });
    let sweeper = listbackup_engine::snapshot::SnapshotStore::new(tapped, world.keys.clone(), world.settings.clone());
    let sweeper = sweeper.account(&scope(1)).await.unwrap();
    let collected = step(&sweeper, &clock, LiveRuns::default()).await.unwrap().expect("it is due");
    assert!(!is_due.load(Ordering::SeqCst), "the child came meanwhile");
    assert!(collected.deleted.is_empty(), "{collected:?}");
    let child = store.load(snapshot_id(2)).await.unwrap();
    assert!(reads(&store, &child).await == one(1));
}

#[tokio::test]
async fn a_damaged_list_of_packs_is_made_anew_and_damage_to_records_keeps_all_packs() {
    let (world, clock) = (World::new(small_settings()), Hands::new());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = save(&store, (1, 1, 1), None, &one(1)).await;
    let (second, _) = save(&store, (1, 1, 2), Some(&first), &one(2)).await;
    drop(written(&store, 3).await.checkpoint().await.unwrap());
    let list = |world: &World| {
        let lists: Vec<String> =
            world.blobs.objects().keys().filter(|path| path.ends_with(".packs")).cloned().collect();
        lists
    };
    step(&account(&world).await, &clock, LiveRuns::default()).await.unwrap();
    let lists = list(&world);
    assert_eq!(lists.len(), 2);
    for path in &lists {
        world.blobs.objects().insert(path.clone(), b"damage".to_vec().into());
    }
    clock.advance(GRACE);
    let before = packs(&world);
    let collected = step(&account(&world).await, &clock, LiveRuns::default()).await.unwrap().expect("it is due");
    assert_eq!((&before - &packs(&world)).len(), collected.deleted.len());
    assert!(!collected.deleted.is_empty());
    assert!(reads(&store, &first).await == one(1) && reads(&store, &second).await == one(2));
    // Without lists and with damaged segments nobody knows what is needed.
    drop(written(&store, 4).await.checkpoint().await.unwrap());
    let segments: Vec<String> = world.blobs.objects().keys().filter(|path| path.ends_with(".seg")).cloned().collect();
    for path in lists.iter().chain(&segments) {
        world.blobs.objects().remove(path);
    }
    let before = packs(&world);
    let error = step(&account(&world).await, &clock, LiveRuns::default()).await.expect_err("nobody knows");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(packs(&world), before);
}

#[tokio::test]
async fn damage_to_packs_that_only_older_snapshots_need_is_found_from_the_newest_and_named() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let (first, _) = save(&store, (1, 1, 1), None, &one(1)).await;
    let old = packs(&world);
    let (second, _) = save(&store, (1, 1, 2), Some(&first), &one(2)).await;
    let reader = store.reader(&second.manifest);
    let sound = reader.verify(VerifyLevel::Data).await.unwrap();
    assert!(sound.is_sound() && sound.older_packs == old.len() as u64, "{sound:?}");
    for path in &old {
        let object = world.blobs.objects()[path].clone();
        let mut flipped = object.to_vec();
        flipped[100] ^= 1;
        let damages = [(Some(flipped.into()), false), (Some(object.slice(..object.len() / 2)), true), (None, true)];
        for (damaged, shows_in_structure) in damages {
            match damaged {
                Some(damaged) => world.blobs.objects().insert(path.clone(), damaged),
                None => world.blobs.objects().remove(path),
            };
            let structure = reader.verify(VerifyLevel::Structure).await.unwrap();
            assert_eq!(!structure.is_sound(), shows_in_structure, "{:?}", structure.damages);
            let whole = reader.verify(VerifyLevel::Data).await.unwrap();
            let (mut position, mut bounded) = (None, Vec::new());
            loop {
                let limits = VerifyLimits { bytes_max: Some(1), deadline: None };
                let report = reader.verify_within(&limits, position.as_ref()).await.unwrap();
                bounded.extend(report.damages);
                position = report.next;
                if position.is_none() {
                    break;
                }
            }
            for damages in [&whole.damages, &bounded] {
                assert!(
                    damages.iter().any(|one| one.path == *path && one.snapshots == [snapshot_id(1)]),
                    "{damages:?}"
                );
                assert!(damages.iter().all(|one| one.path == *path), "{damages:?}");
            }
        }
        world.blobs.objects().insert(path.clone(), object);
    }
}
