//! Finding things in a data directory for the person who owns it: across all of its accounts.

use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::Problem,
    model::{Run, SnapshotId, Source, id::kind, scope::AccountScope},
    run::{RunContext, sources::all},
    snapshot::{KeyDestruction, LoadedManifest, Manifest, SnapshotReader, SourceStore, StreamState},
};

use crate::local;

/// A snapshot with its place.
pub struct Found {
    /// Its account.
    pub scope: AccountScope,
    /// The source's part of the store.
    pub store: SourceStore,
    /// The snapshot.
    pub loaded: LoadedManifest,
}

impl Found {
    /// Reads its records.
    pub fn reader(&self) -> SnapshotReader {
        self.store.reader(&self.loaded.manifest)
    }
}

/// The sources that can be read, and the accounts that cannot.
#[derive(Default)]
pub struct Living {
    /// The sources, with their accounts.
    pub sources: Vec<(AccountScope, Source)>,
    /// Accounts whose keys were destroyed: nothing of them can be read.
    pub destroyed: Vec<KeyDestruction>,
}

/// The sources of the owner's accounts: one account, unless the tables were made anew from objects of several.
///
/// # Errors
/// `Retry` when the store cannot be read; `Corrupt` when the mark of a destruction is damaged.
pub async fn sources(ctx: &RunContext) -> Result<Living> {
    let mut living = Living::default();
    for scope in local::scopes(&ctx.ports, &ctx.system).await? {
        match KeyDestruction::of(&*ctx.ports.blobs, &scope).await? {
            Some(destruction) => living.destroyed.push(destruction),
            None => living.sources.extend(all(&ctx.store, &scope).await?.into_iter().map(|source| (scope, source))),
        }
    }
    Ok(living)
}

/// The sources of that name in the owner's accounts; every one without a name.
///
/// # Errors
/// `Denied` when it is in an account whose keys were destroyed; `NotFound` when there is no source of that name.
pub async fn named_sources(ctx: &RunContext, name: Option<&str>) -> Result<Living> {
    let mut found = sources(ctx).await?;
    if let Some(name) = name {
        found.sources.retain(|(_, source)| source.name == name);
        if found.sources.is_empty() {
            for destruction in &found.destroyed {
                let there = all(&ctx.store, &ctx.system.account(destruction.account_id)).await?;
                if there.iter().any(|source| source.name == name) {
                    return Err(destruction.error());
                }
            }
            let message = "there is no source of that name; `listbackup snapshots` shows them";
            return Err(Error::new(ErrorKind::NotFound, message).with("source", name));
        }
    }
    Ok(found)
}

/// The snapshots of a source, oldest first: its head, and from parent to parent; forgotten ones are left out.
///
/// # Errors
/// `Corrupt` when one is damaged.
pub async fn chain(store: &SourceStore, source: &Source) -> Result<Vec<LoadedManifest>> {
    let mut chain = store.back_from(source.head.as_ref().map(|head| head.snapshot_id), usize::MAX).await?;
    chain.reverse();
    Ok(chain)
}

/// The snapshot of that id; the run that made it tells where it is.
///
/// # Errors
/// `Invalid` for text that is no snapshot's id, `NotFound`, `Corrupt`.
pub async fn snapshot(ctx: &RunContext, id: &str) -> Result<Found> {
    let snapshot_id: SnapshotId = id.parse()?;
    let found = ctx.store.find_by::<Run>(&ctx.system, "by-id", snapshot_id.of::<kind::Run>()).await?;
    let run = found.map(|run| run.row).filter(|run| run.snapshot_id == Some(snapshot_id)).ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "there is no such snapshot; `listbackup snapshots` lists them").with("id", id)
    })?;
    let scope = ctx.system.account(run.account_id);
    let store = ctx.snapshots.source(&scope, run.source_id).await?;
    let loaded = store.load(snapshot_id).await?;
    Ok(Found { scope, store, loaded })
}

/// The snapshot of that id, or a manifest that was stored and never committed: of that no row tells.
///
/// # Errors
/// Those of [`snapshot`].
pub async fn stored_snapshot(ctx: &RunContext, id: &str) -> Result<Found> {
    let not_found = match snapshot(ctx, id).await {
        Err(error) if error.kind() == ErrorKind::NotFound => error,
        found => return found,
    };
    let snapshot_id: SnapshotId = id.parse()?;
    for (scope, source) in sources(ctx).await?.sources {
        let store = ctx.snapshots.source(&scope, source.source_id).await?;
        match store.load(snapshot_id).await {
            Ok(loaded) => return Ok(Found { scope, store, loaded }),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(not_found)
}

/// A stream of a snapshot.
///
/// # Errors
/// `Invalid` with the names that there are.
pub fn stream<'a>(manifest: &'a Manifest, name: &str) -> Result<&'a StreamState> {
    manifest.streams.get(name).ok_or_else(|| {
        let known = manifest.streams.keys().cloned().collect::<Vec<_>>().join(", ");
        let problem = Problem { place: format!("stream {name}"), message: format!("there are: {known}") };
        Error::invalid("the snapshot has no such stream", vec![problem])
    })
}
