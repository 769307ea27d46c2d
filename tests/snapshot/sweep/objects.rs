//! The kinds of objects, and what the program makes of each.

use bytes::Bytes;
use futures::{TryStreamExt, future::BoxFuture};
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::{EmbeddedStores, OpenMode},
    export::Export,
    ports::Ports,
    run::{connect::kept_manifest, restore::RestoreOrder},
    snapshot::{
        AccountStore, Signed, StoredAttachment, paths,
        retain::{Collectable, Collection, LiveRuns},
    },
};
use serde_json::Value;

use crate::{
    doomed::is_listed,
    every_kind::{FILES, FORGOTTEN, HEAD},
    retain::{GRACE, Hands},
    store::{World, scope, snapshot_id},
};

/// The kinds of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
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
pub const KINDS: [(&str, Kind); 19] = [
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

pub fn ending(path: &str) -> &str {
    path.rsplit('.').next().unwrap()
}

pub fn kind_of(path: &str) -> Kind {
    let found = KINDS.iter().find(|(known, _)| *known == ending(path));
    found.unwrap_or_else(|| panic!("{path} is of a kind that is not in the sweep")).1
}

impl Kind {
    /// Verifying a snapshot must find its damage.
    pub fn is_of_snapshots(self) -> bool {
        matches!(self, Self::DataKey | Self::Segment | Self::Manifest | Self::Tombstone | Self::Pack)
    }
}

/// What the program reads through an object of its kind, as text to compare.
pub async fn read(world: &World, path: &str) -> Result<String> {
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
pub fn kept() -> impl Iterator<Item = u8> {
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
    match kept_manifest(&ports, &scope(1), "own", digest).await {
        Err(error) if error.kind() != ErrorKind::Invalid => Err(error),
        _ => Ok("taken".to_owned()),
    }
}

/// True for what only runs left that made no snapshot.
pub async fn is_stray(world: &World, path: &str) -> bool {
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
