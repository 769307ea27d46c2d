//! Damage to an object of any kind: bytes flipped, cut off, added, the object gone, or another of its kind in its place. What is
//! read is right, or refused as damaged or missing, whatever the kind; and verifying names each object that a snapshot needs.
//!
//! By the format itself nobody finds that the last entries of a snapshot's marks are gone: nothing else knows how many there were.

use std::{collections::BTreeSet, fs};

use bytes::Bytes;
use futures::{TryStreamExt, future::BoxFuture};
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::{EmbeddedStores, OpenMode},
    connectors::registry::Registry,
    export::Export,
    model::Source,
    ports::Ports,
    run::{connect::integration_of, restore::RestoreOrder},
    snapshot::{
        AccountStore, Signed, StoredAttachment, VerifyLevel, paths,
        retain::{Collectable, Collection, LiveRuns},
    },
};
use serde_json::{Value, json};

use crate::{
    damage::damaged,
    doomed::is_listed,
    every_kind::{self, FILES, FORGOTTEN, HEAD},
    retain::{GRACE, Hands},
    store::{World, scope, snapshot_id, source_id},
};

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    DataKey,
    Segment,
    Manifest,
    Tombstone,
    Mark,
    Doomed,
    Waits,
    Rescue,
    Sweeping,
    Collected,
    Drill,
    Verification,
    Checkpoint,
    Pack,
    PackList,
    Integration,
    Export,
    Restore,
    Outcomes,
}

/// By the endings of their paths.
const KINDS: [(&str, Kind); 19] = [
    ("key", Kind::DataKey),
    ("seg", Kind::Segment),
    ("snap", Kind::Manifest),
    ("forgotten", Kind::Tombstone),
    ("mark", Kind::Mark),
    ("doomed", Kind::Doomed),
    ("waits", Kind::Waits),
    ("rescue", Kind::Rescue),
    ("sweeping", Kind::Sweeping),
    ("collected", Kind::Collected),
    ("drill", Kind::Drill),
    ("verification", Kind::Verification),
    ("checkpoint", Kind::Checkpoint),
    ("pack", Kind::Pack),
    ("packs", Kind::PackList),
    ("yaml", Kind::Integration),
    ("export", Kind::Export),
    ("restore", Kind::Restore),
    ("outcomes", Kind::Outcomes),
];

fn ending(path: &str) -> &str {
    path.rsplit('.').next().unwrap()
}

fn kind_of(path: &str) -> Kind {
    let found = KINDS.iter().find(|(known, _)| *known == ending(path));
    found.unwrap_or_else(|| panic!("{path} is of a kind that is not in the sweep")).1
}

impl Kind {
    /// Verifying a snapshot must find its damage.
    fn is_of_snapshots(self) -> bool {
        matches!(self, Self::DataKey | Self::Segment | Self::Manifest | Self::Tombstone | Self::Pack)
    }
}

/// A store whose objects are all there twice and more: in another source, and in another account.
async fn whole_world() -> World {
    let world = World::new(every_kind::settings());
    for ids in [(1, 1), (1, 2), (2, 1)] {
        every_kind::write(&world, ids, 20_000).await;
    }
    world
}

/// What the program reads through an object of its kind, as text to compare.
async fn read(world: &World, path: &str) -> Result<String> {
    let number = || (0..=HEAD).find(|number| path.contains(&snapshot_id(*number).to_string())).unwrap();
    match kind_of(path) {
        Kind::Segment if is_stray(world, path).await => {
            let store = world.source(1, 1).await?;
            let id = paths::parse_segment(path).unwrap();
            let segment = match store.loose_segment(id, Some("strays")).await {
                Ok(segment) => segment,
                Err(_) => store.loose_segment(id, Some("strays@attachments")).await?,
            };
            Ok(format!("{:?}", segment.entries().try_collect::<Vec<_>>().await?))
        }
        Kind::DataKey | Kind::Segment => records(world).await,
        Kind::Pack => contents(world).await,
        Kind::Manifest => Ok(format!("{:?}", world.source(1, 1).await?.load(snapshot_id(number())).await?)),
        Kind::Tombstone => {
            let store = world.source(1, 1).await?;
            assert!(store.load(snapshot_id(number())).await.is_err(), "a forgotten snapshot is back");
            let tombstone = store.tombstone(snapshot_id(number())).await?.ok_or_else(missing)?;
            Ok(format!("{tombstone:?}"))
        }
        Kind::Mark => Ok(format!("{:?}", world.source(1, 1).await?.all_marks().await?)),
        Kind::Doomed | Kind::Waits => {
            let text = account(world).await?.document(path).await?;
            Ok(format!("{} {text:?}", collection(world, path).await?))
        }
        // Only that they are there counts, or nobody reads them again.
        Kind::Rescue | Kind::Sweeping | Kind::Collected | Kind::PackList => {
            Ok(format!("{:?}", account(world).await?.document(path).await?))
        }
        Kind::Drill => {
            let account = account(world).await?;
            let signed: Signed = serde_json::from_slice(&account.document(path).await?).unwrap();
            signed.check(&account.public_key()?)?;
            Ok(signed.report.get().to_owned())
        }
        Kind::Verification => {
            let progress = world.source(1, 1).await?.verify_progress().await?;
            progress.map(|progress| format!("{progress:?}")).ok_or_else(missing)
        }
        Kind::Checkpoint => Ok(world.source(1, 1).await?.load_checkpoint::<Value>(path).await?.to_string()),
        Kind::Integration => integration(world, path).await,
        Kind::Export => {
            let id = paths::parse_export(path).unwrap();
            Ok(format!("{:?}", account(world).await?.load_export::<Export>(id).await?))
        }
        Kind::Restore => {
            let id = paths::parse_restore(path).unwrap();
            Ok(format!("{:?}", account(world).await?.load_restore::<RestoreOrder>(id).await?))
        }
        Kind::Outcomes => {
            let id = path.rsplit('/').nth(1).unwrap().parse().unwrap();
            let number = paths::parse_restore_log(path).unwrap();
            let part = account(world).await?.find_restore_log::<Value>(id, number).await?;
            part.map(|part| part.to_string()).ok_or_else(missing)
        }
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::NotFound, "it is not there")
}

async fn account(world: &World) -> Result<AccountStore> {
    world.store().account(&scope(1)).await
}

/// The snapshots that are kept.
fn kept() -> impl Iterator<Item = u8> {
    (0..=HEAD).filter(|number| !FORGOTTEN.contains(number))
}

/// All records of all snapshots.
async fn records(world: &World) -> Result<String> {
    let store = world.source(1, 1).await?;
    let mut all = String::new();
    for number in kept() {
        let reader = store.reader(&store.load(snapshot_id(number)).await?.manifest);
        for stream in ["contacts", FILES, "notes", "orders"] {
            let records: Vec<_> = reader.scan(stream)?.try_collect().await?;
            all += &format!("{number} {stream} {records:?}\n");
        }
    }
    Ok(all)
}

/// All attachments of all snapshots.
async fn contents(world: &World) -> Result<String> {
    let store = world.source(1, 1).await?;
    let mut all = String::new();
    for number in kept() {
        let reader = store.reader(&store.load(snapshot_id(number)).await?.manifest);
        let files: Vec<StoredAttachment> = reader.attachments(FILES)?.try_collect().await?;
        for file in files {
            let bytes: Vec<Bytes> = reader.open_attachment(&file, 0..file.size_bytes).await?.try_collect().await?;
            all += &format!("{number} {file:?} {}\n", blake3::hash(&bytes.concat()));
        }
    }
    Ok(all)
}

/// Where the open collection stands.
async fn collection(world: &World, path: &str) -> Result<String> {
    let look = || -> BoxFuture<'_, _> { Box::pin(async { Ok(LiveRuns::default()) }) };
    let what = match path.contains("/sources/") {
        true => Collectable::Segments(world.source(1, 1).await?),
        false => Collectable::Packs(account(world).await?),
    };
    let clock = Hands::new();
    let (by, is_sole_worker) = ("test".to_owned(), true);
    let state = Collection { what, live: &look, clock: &clock, grace: GRACE, is_sole_worker, by }.look().await?;
    Ok(format!("{state:?}"))
}

/// Whether a source's own integration is taken; what it says is not looked at here.
async fn integration(world: &World, path: &str) -> Result<String> {
    let directory = tempfile::tempdir().unwrap();
    let stores = EmbeddedStores::open(directory.path(), OpenMode::Write).unwrap();
    let ports = Ports { blobs: world.blobs.clone(), ..stores.ports() };
    let digest = path.rsplit('/').next().unwrap().strip_suffix(".yaml").unwrap();
    let source: Source = serde_json::from_value(json!({
        "accountId": scope(1).account_id(), "sourceId": source_id(1), "name": "Test", "integration": "own",
        "manifestDigest": digest, "settings": {}, "state": "active", "lease": {"epoch": 0},
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
    }))
    .unwrap();
    match integration_of(&ports, &Registry::of(Vec::new()), &scope(1), &source).await {
        Err(error) if error.kind() != ErrorKind::Invalid => Err(error),
        _ => Ok("taken".to_owned()),
    }
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

/// True for what only runs left that made no snapshot.
async fn is_stray(world: &World, path: &str) -> bool {
    if kind_of(path) == Kind::Pack {
        return !is_listed(world, path).await;
    }
    let Some(id) = paths::parse_segment(path) else { return false };
    let Ok(store) = world.source(1, 1).await else { return false };
    for number in kept() {
        let Ok(loaded) = store.load(snapshot_id(number)).await else { return false };
        if loaded.manifest.streams.values().any(|state| state.segments.iter().any(|segment| segment.id == id)) {
            return false;
        }
    }
    true
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
