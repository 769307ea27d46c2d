//! Damage is found, named, and never returned as good: every byte of a small store, every cut, every swap.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use listbackup_engine::{
    ErrorKind, Result,
    snapshot::{Record, SourceStore, VerifyLevel, VerifyReport, WriterSpec},
};

use crate::store::{
    MemoryBlobs, World, end, manifest, page, run_id, scope, small_settings, snapshot_id, source_id, stream,
};

/// A source with two streams and two snapshots, the second with a change and a deletion. It goes on from the first's contacts,
/// but holds the orders anew: their older segment is the first snapshot's alone.
pub async fn small_world() -> World {
    let world = World::new(small_settings());
    for (account, source) in [(1, 1), (1, 2), (2, 1)] {
        fill(&world.source(account, source).await.unwrap(), (account, source)).await;
    }
    world
}

async fn fill(store: &SourceStore, (account, source): (u8, u8)) {
    let mut parent = None;
    for number in 1..=2u8 {
        let mut states = Vec::new();
        for name in ["contacts", "orders"] {
            let before = parent
                .as_ref()
                .filter(|_| name == "contacts")
                .map(|parent: &listbackup_engine::snapshot::LoadedManifest| parent.manifest.streams[name].clone());
            let spec = WriterSpec { stream: stream(name, 1), run_id: run_id(1), parent: before, resume: None };
            let mut writer = store.stream_writer(spec).await.unwrap();
            for id in 0..10 - number {
                let (key, value) = (id.to_string(), if id == 3 { number } else { 0 });
                let body = format!("{{\"id\":{id},\"text\":\"some text that fills\",\"value\":{value}}}");
                writer.push(page([(vec![&*key], &*body, false)])).await.unwrap();
            }
            states.push((name, writer.finish(end(true)).await.unwrap().state));
        }
        let reference = parent.as_ref().map(listbackup_engine::snapshot::LoadedManifest::as_parent);
        parent = Some(store.put_manifest(&manifest(account, source, number, reference, states)).await.unwrap());
    }
}

/// Everything that reading the newest snapshot of source 1 of account 1 gives.
async fn read_all(world: &World) -> Result<Vec<Vec<Record>>> {
    let store = world.source(1, 1).await?;
    let reader = store.reader(&store.load(snapshot_id(2)).await?.manifest);
    let mut all = Vec::new();
    for name in ["contacts", "orders"] {
        all.push(reader.scan(name)?.try_collect().await?);
    }
    Ok(all)
}

async fn verify(world: &World) -> Result<VerifyReport> {
    let store = world.source(1, 1).await?;
    store.reader(&store.load(snapshot_id(2)).await?.manifest).verify(VerifyLevel::Data).await
}

/// A world with one object replaced.
pub fn damaged(world: &World, path: &str, object: Option<Bytes>) -> World {
    let blobs: Arc<MemoryBlobs> = world.blobs.copy();
    match object {
        Some(object) => blobs.objects().insert(path.to_owned(), object),
        None => blobs.objects().remove(path),
    };
    World { blobs, keys: world.keys.clone(), settings: world.settings.clone() }
}

/// Reading gives the right records or an error, never others; verifying names the object, or refuses as corrupt where it
/// cannot even begin.
async fn check_found(world: &World, good: &[Vec<Record>], path: &str, what: &str) {
    match read_all(world).await {
        Ok(read) => assert_eq!(read, good, "{path} {what}: wrong records were returned"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{path} {what}: {error}"),
    }
    match verify(world).await {
        Ok(report) => {
            let named = report.damages.iter().find(|damage| damage.path == path);
            let damage = named.unwrap_or_else(|| panic!("{path} {what}: not found, but {:?}", report.damages));
            if path.ends_with(".seg") {
                assert!(damage.stream.is_some() && damage.keys.is_some() && !damage.snapshots.is_empty(), "{damage:?}");
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{path} {what}: {error}");
            assert!(error.to_string().contains(path), "{path} {what}: {error}");
        }
    }
}

pub fn is_of_first_source(path: &str) -> bool {
    let account = scope(1).account_id().to_string();
    path.contains(&account) && (path.contains("/keys/") || path.contains(&source_id(1).to_string()))
}

#[tokio::test]
async fn every_flipped_byte_is_found_and_named() {
    let world = small_world().await;
    let good = read_all(&world).await.unwrap();
    assert!(verify(&world).await.unwrap().is_sound());
    let objects = world.blobs.objects().clone();
    for (path, object) in objects.iter().filter(|(path, _)| is_of_first_source(path)) {
        for at in 0..object.len() {
            let mut bytes = object.to_vec();
            bytes[at] ^= 1 << (at % 8);
            check_found(&damaged(&world, path, Some(bytes.into())), &good, path, &format!("byte {at}")).await;
        }
    }
}

#[tokio::test]
async fn every_cut_and_every_missing_object_is_found_and_named() {
    let world = small_world().await;
    let good = read_all(&world).await.unwrap();
    let objects = world.blobs.objects().clone();
    for (path, object) in objects.iter().filter(|(path, _)| is_of_first_source(path) && !path.contains("/keys/")) {
        for len in 0..object.len() {
            check_found(&damaged(&world, path, Some(object.slice(..len))), &good, path, &format!("cut at {len}")).await;
        }
        let longer = Bytes::from([object, &b"x"[..]].concat());
        check_found(&damaged(&world, path, Some(longer)), &good, path, "with a byte more").await;
        if path.ends_with(".seg") {
            check_found(&damaged(&world, path, None), &good, path, "missing").await;
        }
    }
}

#[tokio::test]
async fn objects_moved_between_streams_sources_and_accounts_are_refused() {
    let world = small_world().await;
    let good = read_all(&world).await.unwrap();
    let objects = world.blobs.objects().clone();
    let kind = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    for path in objects.keys().filter(|path| is_of_first_source(path)) {
        let others = objects.iter().filter(|(other, _)| *other != path && kind(other) == kind(path));
        for (other, object) in others {
            check_found(&damaged(&world, path, Some(object.clone())), &good, path, &format!("is {other}")).await;
        }
    }
}

#[tokio::test]
async fn a_manifest_replaced_by_an_older_truth_breaks_the_chain() {
    let world = small_world().await;
    let store = world.source(1, 1).await.unwrap();
    let second = store.load(snapshot_id(2)).await.unwrap();
    let path = world
        .blobs
        .objects()
        .keys()
        .find(|path| path.contains(&snapshot_id(1).to_string()) && is_of_first_source(path))
        .unwrap()
        .clone();
    world.blobs.objects().remove(&path);
    let mut forged = manifest(1, 1, 1, None, []);
    forged.epoch = 9;
    store.put_manifest(&forged).await.unwrap();
    let report = store.reader(&second.manifest).verify(VerifyLevel::Structure).await.unwrap();
    let damage = report.damages.iter().find(|damage| damage.path == path).unwrap();
    assert!(damage.snapshots.contains(&snapshot_id(1)), "{damage:?}");
}
