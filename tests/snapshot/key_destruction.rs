//! Destroying an account's keys erases the account: nothing is read or written afterwards, no new key takes their place, no legal
//! hold is overrun, and whatever is cut off is finished by doing it again.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::Page,
    ports::Blobs,
    snapshot::{KeyRange, LoadedManifest, SnapshotStore, SourceStore, VerifyLevel, paths, retain::Act},
};

use crate::{
    store::{MemoryBlobs, World, back_up, end, page, run_id, scope, small_settings, snapshot_id, source_id, stream},
    tapped::{Call, Tapped, When},
};

fn records(edit: u32) -> Vec<Page> {
    let texts: Vec<(String, String)> =
        (0..40).map(|id| (id.to_string(), format!("{{\"id\":{id},\"edit\":{edit}}}"))).collect();
    vec![page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))]
}

fn act() -> Act {
    Act::new("grace", "the customer left", Timestamp::from_second(1_000).unwrap())
}

fn over(world: &World, blobs: Arc<dyn Blobs>) -> SnapshotStore {
    SnapshotStore::new(blobs, world.keys.clone(), world.settings.clone())
}

fn process(world: &World) -> SnapshotStore {
    over(world, world.blobs.clone())
}

async fn destroy(process: &SnapshotStore) -> Result<usize> {
    process.decide_to_destroy_keys(&scope(1), act()).await?;
    process.destroy_keys(&scope(1)).await
}

/// One snapshot each of two accounts.
async fn two_accounts(process: &SnapshotStore) -> [(SourceStore, LoadedManifest); 2] {
    let mut made = Vec::new();
    for account in [1, 2] {
        let store = process.source(&scope(account), source_id(1)).await.unwrap();
        let (loaded, _) = back_up(&store, (account, 1, 1), None, records(0)).await;
        made.push((store, loaded));
    }
    made.try_into().ok().unwrap()
}

fn key_objects(blobs: &MemoryBlobs) -> Vec<String> {
    let prefix = paths::keys(scope(1).account_id());
    blobs.objects().keys().filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned)).collect()
}

fn assert_destroyed<T>(result: Result<T>, what: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{what} worked"));
    assert_eq!(error.kind(), ErrorKind::Denied, "{what}: {error}");
    let text = error.message();
    assert!(text.contains("the account's key was destroyed") && text.contains("grace"), "{what}: {text}");
}

#[tokio::test]
async fn an_account_whose_keys_were_destroyed_is_neither_read_nor_written_and_other_accounts_are_untouched() {
    let world = World::new(small_settings());
    let (here, there) = (process(&world), process(&world));
    let [(store, loaded), (other, other_loaded)] = two_accounts(&here).await;
    here.rotate_key(&scope(1)).await.unwrap();
    let (reader, all) = (store.reader(&loaded.manifest), KeyRange::default());
    assert_eq!(
        reader.browse("contacts", &all, &[], 100).await.unwrap().records.len(),
        40,
        "read, and so in the caches"
    );
    there.source(&scope(1), source_id(1)).await.unwrap();
    assert_eq!(destroy(&here).await.unwrap(), 2);
    assert_eq!(key_objects(&world.blobs), ["destroyed"]);
    // What this process had open.
    assert_destroyed(reader.browse("contacts", &all, &[], 100).await, "reading on");
    assert_destroyed(reader.verify(VerifyLevel::Data).await, "verifying");
    assert_destroyed(store.load(snapshot_id(1)).await, "loading");
    assert_destroyed(store.pin(snapshot_id(1), act()).await, "pinning");
    // A process that had the account open, and one that begins.
    let before = world.blobs.objects().clone();
    for process in [&here, &there, &process(&world)] {
        assert_destroyed(process.source(&scope(1), source_id(1)).await, "opening");
        assert_destroyed(process.source(&scope(1), source_id(2)).await, "opening a new source");
        assert_destroyed(process.account(&scope(1)).await, "opening the account");
        assert_destroyed(process.rotate_key(&scope(1)).await, "rotating");
    }
    assert_eq!(*world.blobs.objects(), before, "nothing was written, no new key was made");
    assert_eq!(here.decide_to_destroy_keys(&scope(1), act()).await.unwrap().keys, 0, "once more is no harm");
    assert_eq!(destroy(&there).await.unwrap(), 0);
    let page = other.reader(&other_loaded.manifest).browse("contacts", &all, &[], 100).await.unwrap();
    assert_eq!(page.records.len(), 40);
    back_up(&here.source(&scope(2), source_id(1)).await.unwrap(), (2, 1, 2), Some(&other_loaded), records(1)).await;
}

#[tokio::test]
async fn a_run_that_another_process_meets_halfway_by_destroying_commits_nothing() {
    let world = World::new(small_settings());
    let (here, there) = (process(&world), process(&world));
    let [(store, first), _] = two_accounts(&here).await;
    let spec = listbackup_engine::snapshot::WriterSpec {
        stream: stream("contacts", 1),
        run_id: run_id(2),
        parent: Some(first.manifest.streams["contacts"].clone()),
        resume: None,
    };
    let mut writer = store.stream_writer(spec).await.unwrap();
    writer.push(records(1).remove(0)).await.unwrap();
    destroy(&there).await.unwrap();
    let finished = writer.finish(end(true)).await;
    let commit = async {
        let streams = [("contacts", finished?.state)];
        store.put_manifest(&crate::store::manifest(1, 1, 2, Some(first.as_parent()), streams)).await
    };
    assert_destroyed(commit.await, "committing");
    assert!(!world.blobs.objects().keys().any(|path| path.ends_with(&format!("{}.snap", snapshot_id(2)))));
}

#[tokio::test]
async fn while_a_snapshot_is_held_or_locked_the_keys_stay_and_the_refusal_names_each() {
    let world = World::new(small_settings());
    let here = process(&world);
    let [(store, first), _] = two_accounts(&here).await;
    let (second, _) = back_up(&store, (1, 1, 2), Some(&first), records(1)).await;
    store.hold(snapshot_id(1), Act { reason: "case 4711".to_owned(), ..act() }, None).await.unwrap();
    store.pin(snapshot_id(1), act()).await.unwrap();
    let refused = |error: Error, names: &[&str]| {
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = error.to_string();
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert_eq!(key_objects(&world.blobs), ["1.key"]);
    };
    refused(destroy(&here).await.unwrap_err(), &[&snapshot_id(1).to_string(), "case 4711"]);
    assert_eq!(here.destroy_keys(&scope(1)).await.unwrap_err().kind(), ErrorKind::Bug, "nobody decided it");
    store.release(snapshot_id(1), act()).await.unwrap();
    store.lock(&second.manifest, Timestamp::from_second(2_000).unwrap()).await.unwrap();
    refused(destroy(&here).await.unwrap_err(), &[&snapshot_id(2).to_string(), "locked until"]);
    let later = Act { at: Timestamp::from_second(3_000).unwrap(), ..act() };
    // The lock has run out; a pin stands against rules only.
    here.decide_to_destroy_keys(&scope(1), later).await.unwrap();
    assert_eq!(here.destroy_keys(&scope(1)).await.unwrap(), 1);
}

/// A process whose `n`-th call on the objects, before or after its effect, runs `then`.
fn with_tap(
    world: &World,
    tap: impl Fn(When, &Call) -> BoxFuture<'static, Result<()>> + Send + Sync + 'static,
) -> SnapshotStore {
    over(world, Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) }))
}

#[tokio::test]
async fn a_hold_at_any_moment_of_destroying_is_either_respected_or_refused() {
    let mut outcomes = [0, 0];
    for (n, when) in (0..200).flat_map(|n| [(n, When::Before), (n, When::After)]) {
        let world = World::new(small_settings());
        let holder = Arc::new(process(&world));
        two_accounts(&holder).await;
        let store = holder.source(&scope(1), source_id(1)).await.unwrap();
        let held = Arc::new(tokio::sync::OnceCell::new());
        let (calls, held_too) = (AtomicU64::new(0), held.clone());
        let destroyer = with_tap(&world, move |at, _| {
            let count = if at == When::Before {
                calls.fetch_add(1, Ordering::SeqCst)
            } else {
                calls.load(Ordering::SeqCst) - 1
            };
            let (store, held) = (store.clone(), held_too.clone());
            Box::pin(async move {
                if (count, at) == (n, when) {
                    held.set(store.hold(snapshot_id(1), act(), None).await).unwrap();
                }
                Ok(())
            })
        });
        let destroyed = destroy(&destroyer).await;
        let Some(held) = held.get() else { break };
        // One that comes between the two looks may be refused, and yet be the reason why the keys stay.
        assert!(held.is_err() || destroyed.is_err(), "call {n} {when:?}: {held:?} {destroyed:?}");
        if destroyed.is_err() {
            assert_eq!(key_objects(&world.blobs), ["1.key"], "call {n}");
            for process in [&process(&world), &*holder] {
                process.source(&scope(1), source_id(1)).await.unwrap().load(snapshot_id(1)).await.unwrap();
            }
        }
        outcomes[usize::from(held.is_ok())] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 3), "{outcomes:?}");
}

#[tokio::test]
async fn a_destruction_that_is_cut_off_anywhere_is_finished_by_the_next() {
    let mut cut = 0;
    for (n, when) in (0..200).flat_map(|n| [(n, When::Before), (n, When::After)]) {
        let world = World::new(small_settings());
        let here = process(&world);
        two_accounts(&here).await;
        here.rotate_key(&scope(1)).await.unwrap();
        here.rotate_key(&scope(1)).await.unwrap();
        let calls = AtomicU64::new(0);
        let dying = with_tap(&world, move |at, _| {
            let count = if at == When::Before {
                calls.fetch_add(1, Ordering::SeqCst)
            } else {
                calls.load(Ordering::SeqCst) - 1
            };
            let is_dead = count > n || (count, at) == (n, when);
            Box::pin(
                async move { if is_dead { Err(Error::new(ErrorKind::Retry, "the process is gone")) } else { Ok(()) } },
            )
        });
        if destroy(&dying).await.is_ok() {
            break;
        }
        cut += 1;
        let next = process(&world);
        destroy(&next).await.unwrap_or_else(|error| panic!("after call {n} {when:?}: {error}"));
        assert_eq!(key_objects(&world.blobs), ["destroyed"], "after call {n} {when:?}");
        assert_destroyed(here.source(&scope(1), source_id(1)).await, "opening");
    }
    assert!(cut > 10, "{cut}");
}

#[tokio::test]
async fn of_a_rotation_or_a_first_key_at_any_moment_of_destroying_no_key_is_left() {
    for is_new in [false, true] {
        for n in 0.. {
            let world = World::new(small_settings());
            if !is_new {
                two_accounts(&process(&world)).await;
            }
            let (inner, keys, settings) = (world.blobs.clone(), world.keys.clone(), world.settings.clone());
            let calls = AtomicU64::new(0);
            // The destruction happens in one go before a call of the other.
            let rotating = with_tap(&world, move |at, _| {
                let is_now = at == When::Before && calls.fetch_add(1, Ordering::SeqCst) == n;
                let destroyer = SnapshotStore::new(inner.clone(), keys.clone(), settings.clone());
                Box::pin(async move { if is_now { destroy(&destroyer).await.map(drop) } else { Ok(()) } })
            });
            let rotated = rotating.rotate_key(&scope(1)).await;
            if !key_objects(&world.blobs).contains(&"destroyed".to_owned()) {
                assert!(rotated.is_ok() && n > 5, "{n} calls");
                break;
            }
            assert_destroyed(rotated, "rotating");
            assert_eq!(key_objects(&world.blobs), ["destroyed"], "at call {n}");
        }
    }
}
