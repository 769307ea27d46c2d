//! Damage to an object of any kind: bytes flipped, cut off, added, the object gone, or another of its kind in its place. What is
//! read is right, or refused as damaged or missing, whatever the kind; and verifying names each object that a snapshot needs.
//!
//! By the format itself nobody finds that the last entries of a snapshot's marks are gone: nothing else knows how many there were.

mod objects;

use std::{collections::BTreeSet, fs};

use bytes::Bytes;
use listbackup_engine::{
    ErrorKind,
    snapshot::{VerifyLevel, paths},
};

use self::objects::{KINDS, Kind, ending, is_stray, kept, kind_of, read};
use crate::{
    damage::damaged,
    every_kind::{self, HEAD},
    store::{World, scope, snapshot_id, source_id},
};

/// A store whose objects are all there twice and more: in another source, and in another account.
async fn whole_world() -> World {
    let world = World::new(every_kind::settings());
    for ids in [(1, 1), (1, 2), (2, 1)] {
        every_kind::write(&world, ids, 20_000).await;
    }
    world
}

/// A verification of one of the snapshots names the object, or refuses to begin because of it.
async fn is_named(world: &World, path: &str) -> bool {
    let is_missing = !world.blobs.objects().contains_key(path);
    // Nobody knows which form a missing key had.
    let told = &if is_missing { path.replace(".1.key", ".key") } else { path.to_owned() };
    for number in kept().collect::<Vec<_>>().into_iter().rev() {
        let verified = async {
            let store = world.source(1, 1).await?;
            store.reader(&store.load(snapshot_id(number)).await?.manifest).verify(VerifyLevel::Data).await
        };
        let is_named = match verified.await {
            Ok(report) => report.damages.iter().any(|damage| damage.path == path),
            Err(error) => error.kind() == ErrorKind::Corrupt && error.to_string().contains(told),
        };
        // What is missing cannot be loaded; of a missing tombstone the snapshot's place is told.
        if is_named || is_missing && kind_of(path) == Kind::Manifest {
            return true;
        }
        let place = path.replace(".forgotten", ".snap");
        if is_missing && place != path && Box::pin(is_named_at(world, &place)).await {
            return true;
        }
    }
    false
}

async fn is_named_at(world: &World, path: &str) -> bool {
    let store = world.source(1, 1).await.unwrap();
    let head = store.load(snapshot_id(HEAD)).await.unwrap();
    let report = store.reader(&head.manifest).verify(VerifyLevel::Data).await.unwrap();
    report.damages.iter().any(|damage| damage.path == path)
}

/// Replaces one object, and asserts that this is found as it must be.
async fn check(world: &World, good: &str, path: &str, object: Option<Bytes>, what: &str) {
    let is_removed = object.is_none();
    let world = damaged(world, path, object);
    let kind = kind_of(path);
    match read(&world, path).await {
        Ok(found) if kind == Kind::Mark && is_removed => {
            assert!(is_last_mark(&world, path), "{path} {what}: read {found}")
        }
        Ok(found) => {
            assert!(found == good, "{path} {what}: something else was read");
            // Only what many readers share may be damaged where this one did not look.
            assert!(kind.is_of_snapshots(), "{path} {what}: the damage was not found");
        }
        Err(error) => {
            let is_told = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NotFound);
            assert!(is_told, "{path} {what}: {error:?}");
        }
    }
    if kind.is_of_snapshots() && !is_stray(&world, path).await {
        assert!(is_named(&world, path).await, "{path} {what}: no verification names it");
    }
}

/// True when no later entry of the snapshot's log is there.
fn is_last_mark(world: &World, path: &str) -> bool {
    let (folder, _) = path.rsplit_once('/').unwrap();
    !world.blobs.objects().keys().any(|other| other.starts_with(folder) && other.as_str() > path)
}

fn is_own(path: &str) -> bool {
    let (account, source) = (scope(1).account_id(), source_id(1).to_string());
    path.starts_with(&paths::account(account)) && (!path.contains("/sources/") || path.contains(&source))
}

/// Positions in an object: all of a small one, of others the ends and some between.
fn positions(len: usize, max: usize) -> BTreeSet<usize> {
    let step = (len / max).max(1);
    (0..len).step_by(step).chain(len.saturating_sub(max)..len).chain(0..len.min(10)).collect()
}

/// Damages every object of some kinds in every way, with up to about `max` places each.
async fn sweep(kinds: &[Kind], max: usize) {
    let world = whole_world().await;
    let objects = world.blobs.objects().clone();
    let own = objects.iter().filter(|(path, _)| is_own(path) && kinds.contains(&kind_of(path)));
    for (path, object) in own {
        let good = read(&world, path).await.unwrap();
        for at in positions(object.len(), max) {
            let mut bytes = object.to_vec();
            bytes[at] ^= 1 << (at % 8);
            check(&world, &good, path, Some(bytes.into()), &format!("byte {at} of {}", object.len())).await;
        }
        for at in positions(object.len(), max / 4) {
            check(&world, &good, path, Some(object.slice(..at)), &format!("cut at {at}")).await;
        }
        for more in [&b"x"[..], &object[..]] {
            let longer = Bytes::from([object, more].concat());
            check(&world, &good, path, Some(longer), &format!("with {} bytes more", more.len())).await;
        }
        check(&world, &good, path, None, "removed").await;
        let others = objects.iter().filter(|(other, bytes)| kind_of(other) == kind_of(path) && *bytes != object);
        let others: Vec<_> = others.collect();
        // Some of many, from all sources and accounts.
        for (other, bytes) in others.iter().step_by(1 + others.len() / 16) {
            check(&world, &good, path, Some((*bytes).clone()), &format!("is {other}")).await;
        }
    }
}

#[tokio::test]
async fn damage_to_keys_and_manifests_is_found_and_named() {
    sweep(&[Kind::DataKey, Kind::Manifest, Kind::Tombstone], 60).await;
}

#[tokio::test]
async fn damage_to_segments_is_found_and_named() {
    sweep(&[Kind::Segment], 16).await;
}

#[tokio::test]
async fn damage_to_attachments_is_found_and_named() {
    sweep(&[Kind::Pack], 60).await;
}

#[tokio::test]
async fn damage_to_everything_else_is_found_and_never_returned() {
    let kinds: Vec<Kind> = KINDS.iter().map(|(_, kind)| *kind).filter(|kind| !kind.is_of_snapshots()).collect();
    sweep(&kinds, 1000).await;
}

/// Endings of the paths that stand between quotes in a text.
fn endings(text: &str, quote: char) -> BTreeSet<String> {
    let quoted = text.split(quote).skip(1).step_by(2);
    let ends = quoted.filter_map(|part| part.rsplit_once('.')).map(|(_, ending)| ending.to_owned());
    ends.filter(|ending| !ending.is_empty() && ending.chars().all(|c| c.is_ascii_lowercase())).collect()
}

#[tokio::test]
async fn every_kind_of_object_is_damaged() {
    let format = fs::read_to_string("engine/src/snapshot/FORMAT.md").unwrap();
    let section = |name: &str| format.split(name).nth(1).unwrap().split("\n#").next().unwrap().to_owned();
    let documented: BTreeSet<String> =
        ["## Objects\n", "### Collections\n"].iter().flat_map(|name| endings(&section(name), '`')).collect();
    let code = fs::read_to_string("engine/src/snapshot/paths.rs").unwrap();
    let code: String = code.lines().filter(|line| line.contains("format!(")).collect();
    let swept: BTreeSet<String> = KINDS.iter().map(|(ending, _)| (*ending).to_owned()).collect();
    assert_eq!(documented.into_iter().filter(|ending| ending != "rs").collect::<BTreeSet<_>>(), swept);
    assert!(endings(&code, '"').is_subset(&swept), "{:?}", endings(&code, '"'));
    let world = whole_world().await;
    let stored: BTreeSet<String> =
        world.blobs.objects().keys().filter(|path| is_own(path)).map(|path| ending(path).to_owned()).collect();
    assert_eq!(stored, swept, "every kind has an object");
}
