//! Data keys change while everything goes on: what was stored stays readable and comparable, what is new is sealed under the new
//! key, and nobody ever seals two things alike.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::future::join_all;
use listbackup_engine::{
    Error, ErrorKind,
    connectors::Page,
    snapshot::{KeyRange, KeyRotation, LoadedManifest, SnapshotStore, SourceStore, VerifyLevel, WriterSpec, paths},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    attachments::{Files, files, noise, read_all, save},
    retain::{Hands, collect, forget},
    store::{
        MemoryBlobs, World, back_up, end, manifest, page, run_id, scope, small_settings, snapshot_id, source_id, stream,
    },
    tapped::{Call, Tapped, When},
};

/// What the records of a snapshot say, by id.
type Contents = BTreeMap<u32, u32>;

fn pages(contents: &Contents) -> Vec<Page> {
    let texts: Vec<(String, String)> = contents
        .iter()
        .map(|(id, edit)| (id.to_string(), format!("{{\"id\":{id},\"name\":\"Contact {id}\",\"edit\":{edit}}}")))
        .collect();
    texts.chunks(25).map(|texts| page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))).collect()
}

fn even(count: u32) -> Contents {
    (0..count).map(|id| (id, 0)).collect()
}

async fn read(store: &SourceStore, loaded: &LoadedManifest) -> Contents {
    let reader = store.reader(&loaded.manifest);
    let page = reader.browse("contacts", &KeyRange::default(), &[], 10_000).await.unwrap();
    let number = |body: &serde_json::Value, name: &str| u32::try_from(body[name].as_u64().unwrap()).unwrap();
    let bodies = page.records.iter().map(|record| serde_json::from_slice::<serde_json::Value>(&record.body).unwrap());
    bodies.map(|body| (number(&body, "id"), number(&body, "edit"))).collect()
}

async fn assert_sound(store: &SourceStore, loaded: &LoadedManifest) {
    let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.damages);
}

fn epochs(loaded: &LoadedManifest) -> BTreeSet<u32> {
    loaded.manifest.streams["contacts"].segments.iter().map(|segment| segment.epoch).collect()
}

fn process(world: &World) -> SnapshotStore {
    SnapshotStore::new(world.blobs.clone(), world.keys.clone(), world.settings.clone())
}

#[tokio::test]
async fn after_a_rotation_an_unchanged_backup_stores_nothing_and_a_change_is_sealed_under_the_new_key() {
    let world = World::new(small_settings());
    let (here, there) = (process(&world), process(&world));
    let before = here.source(&scope(1), source_id(1)).await.unwrap();
    let mut contents = even(200);
    let (first, _) = back_up(&before, (1, 1, 1), None, pages(&contents)).await;
    // Another process rotates; this one has the account open.
    let rotation = there.rotate_key(&scope(1)).await.unwrap();
    assert_eq!(rotation, KeyRotation { from: 1, to: 2, by_another: false });
    let store = here.source(&scope(1), source_id(1)).await.unwrap();
    let (second, finished) = back_up(&store, (1, 1, 2), Some(&first), pages(&contents)).await;
    assert_eq!(finished.figures.bytes_stored, 0);
    assert_eq!(second.manifest.streams["contacts"].segments, first.manifest.streams["contacts"].segments);
    contents.insert(7, 1);
    let (third, finished) = back_up(&store, (1, 1, 3), Some(&second), pages(&contents)).await;
    assert_eq!((finished.figures.added, finished.figures.changed), (0, 1));
    assert_eq!(third.manifest.streams["contacts"].segments.last().unwrap().epoch, 2);
    let fresh = process(&world).source(&scope(1), source_id(1)).await.unwrap();
    assert_eq!(read(&fresh, &first).await, even(200));
    assert_eq!(read(&fresh, &third).await, contents);
    assert_sound(&fresh, &third).await;
    // The same state read anew, all of it under the new key, has the digest of the one under the old key.
    let (anew, _) = back_up(&store, (1, 1, 4), None, pages(&even(200))).await;
    assert_eq!((epochs(&first), epochs(&anew)), (BTreeSet::from([1]), BTreeSet::from([2])));
    let digest = |loaded: &LoadedManifest| loaded.manifest.streams["contacts"].content_digest;
    assert_eq!(digest(&anew), digest(&first));
    assert_ne!(digest(&third), digest(&first));
}

#[tokio::test]
async fn attachments_stored_under_an_older_key_are_found_again_and_not_stored_twice() {
    let world = World::new(small_settings());
    let (here, there) = (process(&world), process(&world));
    let wanted = files([("1", "a", noise(1, 30_000)), ("2", "b", noise(2, 9000))]);
    let store = here.source(&scope(1), source_id(1)).await.unwrap();
    let (first, _) = save(&store, (1, 1, 1), None, &wanted).await;
    there.rotate_key(&scope(1)).await.unwrap();
    // Another source of the account, with the same files.
    let other = here.source(&scope(1), source_id(2)).await.unwrap();
    world.blobs.take_puts();
    let (second, _) = save(&other, (1, 2, 2), None, &wanted).await;
    let puts = world.blobs.take_puts();
    assert!(puts.iter().all(|path| !path.ends_with(".pack")), "{puts:?}");
    assert_eq!(read_all(&store.reader(&first.manifest)).await.unwrap(), wanted);
    assert_eq!(read_all(&other.reader(&second.manifest)).await.unwrap(), wanted);
}

#[tokio::test]
async fn a_run_that_a_rotation_meets_halfway_ends_and_so_does_one_that_goes_on_after_it() {
    let world = World::new(small_settings());
    let (here, there) = (process(&world), process(&world));
    let store = here.source(&scope(1), source_id(1)).await.unwrap();
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec.clone()).await.unwrap();
    let contents = even(300);
    let mut pages = pages(&contents).into_iter();
    for page in pages.by_ref().take(6) {
        writer.push(page).await.unwrap();
    }
    let checkpoint = writer.checkpoint().await.unwrap();
    let path = store.put_checkpoint(run_id(1), 1, 0, &checkpoint).await.unwrap().unwrap();
    there.rotate_key(&scope(1)).await.unwrap();
    // What comes after the checkpoint is lost with the worker, then another one goes on.
    let store = there.source(&scope(1), source_id(1)).await.unwrap();
    let resume = Some(store.load_checkpoint(&path).await.unwrap());
    let mut writer = store.stream_writer(WriterSpec { resume, ..spec }).await.unwrap();
    for page in pages {
        writer.push(page).await.unwrap();
    }
    let finished = writer.finish(end(true)).await.unwrap();
    let loaded = store.put_manifest(&manifest(1, 1, 1, None, [("contacts", finished.state)])).await.unwrap();
    assert!(epochs(&loaded).contains(&2));
    assert_eq!(read(&store, &loaded).await, contents);
    assert_sound(&store, &loaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_rotations_each_ends_well_and_every_epoch_has_one_key() {
    let world = World::new(small_settings());
    let processes: Vec<Arc<SnapshotStore>> = (0..8).map(|_| Arc::new(process(&world))).collect();
    let rotations = processes.iter().map(|process| {
        let process = process.clone();
        tokio::spawn(async move { process.rotate_key(&scope(1)).await.unwrap() })
    });
    let mut won = BTreeSet::new();
    for rotation in join_all(rotations).await {
        let rotation = rotation.unwrap();
        assert_eq!(rotation.to, rotation.from + 1);
        assert!(rotation.by_another || won.insert(rotation.to), "epoch {} was opened twice", rotation.to);
    }
    let stored = processes[0].stored_keys(&scope(1)).await.unwrap();
    assert_eq!(stored.epochs, (1..=won.len() as u32 + 1).collect());
    for (number, process) in (1..).zip(&processes) {
        let store = process.source(&scope(1), source_id(number)).await.unwrap();
        let (loaded, _) = back_up(&store, (1, number, 1), None, pages(&even(30))).await;
        assert_eq!(epochs(&loaded), stored.newest().into_iter().collect());
        assert_eq!(read(&store, &loaded).await, even(30));
    }
}

/// Everything that was ever to be stored, by what its key is derived from. Nonces count the parts of one object, so a nonce meets
/// a key twice only where two objects share this.
#[derive(Default)]
struct Seals(Mutex<HashMap<Vec<u8>, Bytes>>);

impl Seals {
    fn note(&self, path: &str, object: &Bytes) {
        let Some(key) = sealed_by(path, object) else { panic!("{path} is of no known kind") };
        let mut seals = self.0.lock().unwrap();
        let earlier = seals.entry(key).or_insert_with(|| object.clone());
        assert_eq!(earlier, object, "{path}: two objects under one key");
    }
}

fn sealed_by(path: &str, object: &Bytes) -> Option<Vec<u8>> {
    let name = path.rsplit_once('/')?.1;
    let (head, tail) = (object.get(..8)?, &object[object.len().saturating_sub(28)..]);
    Some(match head {
        b"LBKPDOC1" => [b"document", &object[8..44]].concat(),
        // The data key is new each time, and with it what is derived from it.
        b"LBKPKEY1" => [b"root", &object[8..object.len() - 48]].concat(),
        _ if tail.ends_with(b"LBKPSEG1") => [b"segment", &tail[12..16], name.as_bytes()].concat(),
        _ if tail.ends_with(b"LBKPPCK1") => [b"pack", &tail[12..16], name.as_bytes()].concat(),
        _ => return None,
    })
}

fn noting(world: &World, seals: &Arc<Seals>) -> Arc<SnapshotStore> {
    let (inner, seals) = (world.blobs.clone(), seals.clone());
    let tap = move |when, call: &Call| -> futures::future::BoxFuture<'static, listbackup_engine::Result<()>> {
        if (when, call.name) == (When::Before, "put_if_absent") {
            seals.note(&call.path, &call.object);
        }
        // Everybody else gets a turn.
        Box::pin(async {
            tokio::task::yield_now().await;
            Ok(())
        })
    };
    let blobs = Arc::new(Tapped { inner, tap: Box::new(tap) });
    Arc::new(SnapshotStore::new(blobs, world.keys.clone(), world.settings.clone()))
}

/// Snapshots that were made, with what they must say.
type Made = Arc<Mutex<Vec<(u8, LoadedManifest, Contents)>>>;

/// The grace of a collection is longer than any verification: it waits for those under way, which may have begun with a manifest
/// that is forgotten now.
type Grace = Arc<tokio::sync::RwLock<()>>;

/// Backs a source up again and again, each time through another process; lets go of what is old and collects its segments.
async fn write(processes: [Arc<SnapshotStore>; 2], source: u8, seed: u64, made: Made, grace: Grace) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (clock, mut contents) = (Hands::new(), even(120));
    let mut last: Option<LoadedManifest> = None;
    for number in 0..24u8 {
        let process = &processes[rng.random_range(0..2)];
        if number % 6 == 0 {
            // Beside the one that does nothing else: so it comes between, however the threads run.
            process.rotate_key(&scope(1)).await.unwrap();
        }
        let store = process.source(&scope(1), source_id(source)).await.unwrap();
        for _ in 0..rng.random_range(0..12) {
            contents.insert(rng.random_range(0..150), u32::from(number));
        }
        contents.remove(&rng.random_range(0..150));
        let (loaded, finished) = back_up(&store, (1, source, number), last.as_ref(), pages(&contents)).await;
        store.delete_superseded(&finished.superseded, &loaded.manifest).await.unwrap();
        made.lock().unwrap().push((source, loaded.clone(), contents.clone()));
        if number % 8 == 7 {
            let gone = snapshot_id(number - 3);
            made.lock().unwrap().retain(|(of, loaded, _)| *of != source || loaded.manifest.snapshot_id != gone);
            forget(&store, &clock, gone, loaded.manifest.snapshot_id).await;
            let _over = grace.write().await;
            collect(&store, &clock, &Default::default()).await;
        }
        last = Some(loaded);
    }
}

async fn attach(processes: [Arc<SnapshotStore>; 2], source: u8) {
    let mut wanted = Files::new();
    let mut last: Option<LoadedManifest> = None;
    for number in 0..10u8 {
        let process = &processes[usize::from(number % 2)];
        let store = process.source(&scope(1), source_id(source)).await.unwrap();
        wanted.insert((number.to_string(), "a".to_owned()), noise(u64::from(number), 12_000));
        let (loaded, _) = save(&store, (1, source, number), last.as_ref(), &wanted).await;
        assert_eq!(read_all(&store.reader(&loaded.manifest)).await.unwrap(), wanted);
        last = Some(loaded);
    }
}

/// Reads and verifies what was made, until there is no more to come.
async fn check(process: Arc<SnapshotStore>, seed: u64, made: Made, grace: Grace, is_over: Arc<AtomicBool>) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !is_over.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
        let picked = {
            let (made, wanted) = (made.lock().unwrap(), rng.random_range(1..=2));
            // Those that are let go of may be gone before they are read.
            let stays =
                |loaded: &LoadedManifest| (0..24).any(|n| n % 8 != 4 && loaded.manifest.snapshot_id == snapshot_id(n));
            made.iter().rev().find(|(source, loaded, _)| *source == wanted && stays(loaded)).cloned()
        };
        let Some((source, loaded, contents)) = picked else { continue };
        let _grace = grace.read().await;
        let store = process.source(&scope(1), source_id(source)).await.unwrap();
        assert_eq!(read(&store, &loaded).await, contents);
        assert_sound(&store, &loaded).await;
    }
}

async fn rotate(processes: [Arc<SnapshotStore>; 2], is_over: Arc<AtomicBool>) {
    for number in 0..60 {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        processes[number % 2].rotate_key(&scope(1)).await.unwrap();
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_rotate_while_writers_readers_collections_and_verifications_go_on_and_all_reads_back() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let (world, seals, made) = (World::new(small_settings()), Arc::<Seals>::default(), Made::default());
    let processes = [noting(&world, &seals), noting(&world, &seals)];
    let (grace, is_over) = (Grace::default(), Arc::new(AtomicBool::new(false)));
    let background: Vec<_> = [
        tokio::spawn(check(processes[0].clone(), seed, made.clone(), grace.clone(), is_over.clone())),
        tokio::spawn(check(processes[1].clone(), seed ^ 1, made.clone(), grace.clone(), is_over.clone())),
        tokio::spawn(rotate(processes.clone(), is_over.clone())),
    ]
    .into();
    let writers = [
        tokio::spawn(write(processes.clone(), 1, seed, made.clone(), grace.clone())),
        tokio::spawn(write(processes.clone(), 2, seed ^ 2, made.clone(), grace.clone())),
        tokio::spawn(attach(processes.clone(), 3)),
    ];
    join_all(writers).await.into_iter().for_each(|writer| writer.unwrap());
    is_over.store(true, Ordering::SeqCst);
    join_all(background).await.into_iter().for_each(|task| task.unwrap());
    assert_all_reads_back(&world, &made).await;
}

async fn assert_all_reads_back(world: &World, made: &Made) {
    let made = made.lock().unwrap().clone();
    let fresh = process(world);
    let used: BTreeSet<u32> = made.iter().flat_map(|(_, loaded, _)| epochs(loaded)).collect();
    assert!(used.len() > 3, "rotations were to come between: {used:?}");
    for (source, loaded, contents) in &made {
        let store = fresh.source(&scope(1), source_id(*source)).await.unwrap();
        assert_eq!(read(&store, loaded).await, *contents);
        assert_sound(&store, loaded).await;
    }
}

#[tokio::test]
async fn lost_keys_are_not_replaced_over_stored_data_nor_written_under() {
    let world = World::new(small_settings());
    let open = process(&world);
    let store = open.source(&scope(1), source_id(1)).await.unwrap();
    back_up(&store, (1, 1, 1), None, pages(&even(20))).await;
    let keys = paths::keys(scope(1).account_id());
    let lost = |blobs: &MemoryBlobs| blobs.objects().retain(|path, _| !path.starts_with(&keys));
    lost(&world.blobs);
    let is_corrupt = |error: Error| {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(
            error.message().contains("put their copy back") || error.message().contains("put its copy back"),
            "{error}"
        );
    };
    is_corrupt(process(&world).source(&scope(1), source_id(1)).await.err().unwrap());
    is_corrupt(open.source(&scope(1), source_id(1)).await.err().unwrap());
    is_corrupt(open.rotate_key(&scope(1)).await.unwrap_err());
    assert!(!world.blobs.objects().keys().any(|path| path.starts_with(&keys)), "no new key was made");
}
