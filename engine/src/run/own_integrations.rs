//! Integrations of an account's own: manifests that somebody uploaded, in versions.
//!
//! One holds for its account and for all accounts below; of several with one name the nearest on the way up counts. Sources name it and
//! pin no version: whatever connects takes the current one. Who wrote it is not known to be well-meaning, so it is connected with
//! [`RunContext::http_for_own`], which reaches no private address that the operator of a server has not listed.

use std::{
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::TryStreamExt;
use jiff::Timestamp;
use listbackup_connectors::{self as connectors, Integration, manifest::ManifestIntegration};

use super::RunContext;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Account, AccountId, ManifestVersion, OwnIntegration, Source,
        integration::{CURRENT, IntegrationGate},
        scope::SystemScope,
    },
    offload::offload,
    ports::{Condition, Query, SortRange, Write},
    store::{self, Store, Versioned, key, key1},
    tables::{INTEGRATIONS, SOURCES},
};

/// The longest text of a manifest, in bytes.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;
/// The longest one as it is stored, so that it fits into a row beside its keys.
const PACKED_BYTES_MAX: usize = 380 * 1024;
/// Integrations of its own that an account may have.
pub const OWN_MAX: usize = 100;
/// Versions that are kept of each, the current one among them.
pub const VERSIONS_KEPT: u32 = 20;
/// Loaded manifests that a process keeps.
const LOADED_MAX: usize = 32;
/// Rows of one look.
const PAGE: usize = 200;
/// How hard the text is compressed.
const LEVEL: i32 = 9;

/// Manifests that a process has loaded, by name and digest; those that were not asked for longest go first.
#[derive(Default)]
pub struct Loaded(Mutex<Vec<(String, Arc<dyn Integration>)>>);

impl Loaded {
    fn get(&self, key: &str) -> Option<Arc<dyn Integration>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().position(|(of, _)| of == key)?;
        let entry = all.remove(found);
        let integration = entry.1.clone();
        all.push(entry);
        Some(integration)
    }

    fn keep(&self, key: String, integration: Arc<dyn Integration>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(of, _)| *of != key);
        if all.len() >= LOADED_MAX {
            all.remove(0);
        }
        all.push((key, integration));
    }
}

/// The account and all above it, nearest first; none for an account that there is not.
pub(super) async fn way_up(store: &Store, system: &SystemScope, account_id: AccountId) -> Result<Vec<AccountId>> {
    let Some(account) = store.find::<Account>(system, key1(account_id)).await? else { return Ok(Vec::new()) };
    let way = account.row.path.split('/').rev().filter(|segment| !segment.is_empty());
    way.map(|segment| {
        let corrupt = |_| Error::new(ErrorKind::Corrupt, "an account's path does not name accounts");
        segment.parse().map_err(corrupt)
    })
    .collect()
}

/// The own integration of that name that holds in an account: its own one, or the nearest of an account above.
///
/// # Errors
/// Those of the store.
pub async fn find(
    store: &Store,
    system: &SystemScope,
    account_id: AccountId,
    name: &str,
) -> Result<Option<Versioned<OwnIntegration>>> {
    for holder in way_up(store, system, account_id).await? {
        let place = key(holder, OwnIntegration::sort_key(name));
        if let Some(found) = store.find::<OwnIntegration>(&system.account(holder), place).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// All own integrations that hold in an account, by name.
///
/// # Errors
/// Those of the store.
pub async fn all(store: &Store, system: &SystemScope, account_id: AccountId) -> Result<Vec<OwnIntegration>> {
    let mut all: Vec<OwnIntegration> = Vec::new();
    for holder in way_up(store, system, account_id).await? {
        let further = of_account(store, system, holder).await?;
        let is_new = |own: &OwnIntegration| !all.iter().any(|nearer| nearer.name == own.name);
        let further: Vec<_> = further.into_iter().filter(is_new).collect();
        all.extend(further);
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// Those that an account itself has.
///
/// # Errors
/// Those of the store.
pub async fn of_account(store: &Store, system: &SystemScope, account_id: AccountId) -> Result<Vec<OwnIntegration>> {
    let query = Query {
        table: &INTEGRATIONS,
        index: None,
        partition: account_id.to_string(),
        sort: SortRange::Prefix(CURRENT.to_owned()),
        descending: false,
        limit: PAGE,
        after: None,
    };
    store.all(&system.account(account_id), query).await
}

/// The current version of an own integration, loaded.
///
/// # Errors
/// `NotFound` when it was removed meanwhile; `Corrupt` when the stored text was altered; `Invalid` when this version of the program does
/// not run it any more.
pub async fn load(ctx: &RunContext, own: &OwnIntegration) -> Result<Arc<dyn Integration>> {
    let cached = format!("{} {}", own.name, own.digest);
    if let Some(integration) = ctx.loaded.get(&cached) {
        return Ok(integration);
    }
    let place = key(own.account_id, ManifestVersion::sort_key(&own.name, own.version));
    let stored = ctx.store.get::<ManifestVersion>(&ctx.system.account(own.account_id), place).await?.row;
    let (name, digest) = (own.name.clone(), own.digest.clone());
    let loaded = offload("loading a manifest", move || {
        let text = unpack(&stored.packed).filter(|text| digest_of(text) == digest).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the stored manifest is not the one that was given").with("name", &name)
        })?;
        Ok::<_, Error>(connectors::manifest::parse(&name, "manifest.yaml", &text)?)
    });
    let integration: Arc<dyn Integration> = Arc::new(loaded.await??);
    ctx.loaded.keep(cached, integration.clone());
    Ok(integration)
}

/// A manifest that somebody uploads, after it was checked.
#[derive(Clone)]
pub struct Upload {
    /// The integration's name.
    pub name: String,
    /// The manifest.
    pub text: String,
    /// What it says of itself.
    pub title: String,
    /// What it says of itself.
    pub description: String,
    /// How a person signs in.
    pub sign_in: String,
}

/// An upload as it is to be written.
pub struct NewVersion {
    /// The integration as it will be.
    pub own: OwnIntegration,
    /// The writes; none when that text is the current version already.
    pub writes: Vec<Write>,
}

/// The next version of an account's own integration, or its first.
///
/// # Errors
/// `Invalid` for a text that is too long, and for more integrations than an account may have; those of the store.
pub async fn next_version(
    store: &Store,
    system: &SystemScope,
    account_id: AccountId,
    upload: Upload,
    now: Timestamp,
) -> Result<NewVersion> {
    let Upload { name, text, title, description, sign_in } = upload;
    let place = key(account_id, OwnIntegration::sort_key(&name));
    let found = store.find::<OwnIntegration>(&system.account(account_id), place).await?;
    let digest = digest_of(&text);
    let (before, condition) = match found {
        Some(found) if found.row.digest == digest => return Ok(NewVersion { own: found.row, writes: Vec::new() }),
        Some(found) => (Some(found.row), Condition::Version(found.version)),
        None => (None, Condition::Absent),
    };
    let mut writes = Vec::with_capacity(4);
    if before.is_none() {
        writes.push(place_for_one_more(store, system, account_id).await?);
    }
    let version = before.as_ref().map_or(1, |before| before.version.saturating_add(1));
    let created_at = before.map_or(now, |before| before.created_at);
    let integration_key = OwnIntegration::sort_key(&name);
    let stored = ManifestVersion {
        account_id,
        integration_key: ManifestVersion::sort_key(&name, version),
        digest: digest.clone(),
        packed: offload("packing a manifest", move || pack(&text)).await??,
        created_at: now,
    };
    writes.push(store::put(&stored, Condition::Any)?);
    if let Some(oldest) = version.checked_sub(VERSIONS_KEPT).filter(|oldest| *oldest > 0) {
        writes.push(forget(account_id, &name, oldest));
    }
    let own = OwnIntegration {
        account_id,
        integration_key,
        name,
        version,
        digest,
        title,
        description,
        sign_in,
        created_at,
        updated_at: now,
    };
    writes.push(store::put(&own, condition)?);
    Ok(NewVersion { own, writes })
}

/// The gate through which one more integration of an account comes.
async fn place_for_one_more(store: &Store, system: &SystemScope, account_id: AccountId) -> Result<Write> {
    let scope = system.account(account_id);
    let gate = IntegrationGate::new(account_id);
    let gate = store.gate(&scope, key(account_id, IntegrationGate::KEY), gate).await?;
    if of_account(store, system, account_id).await?.len() < OWN_MAX {
        return Ok(gate);
    }
    let message = format!("an account may have {OWN_MAX} integrations of its own; remove one that nothing uses");
    Err(Error::new(ErrorKind::Invalid, message))
}

/// What removes an own integration with all its versions.
pub fn removal(own: &Versioned<OwnIntegration>) -> Vec<Write> {
    let Versioned { row, version } = own;
    let first_kept = row.version.saturating_sub(VERSIONS_KEPT - 1).max(1);
    let current = Write::Delete {
        table: &INTEGRATIONS,
        key: key(row.account_id, &row.integration_key),
        condition: Condition::Version(*version),
    };
    let versions = (first_kept..=row.version).map(|version| forget(row.account_id, &row.name, version));
    std::iter::once(current).chain(versions).collect()
}

fn forget(account_id: AccountId, name: &str, version: u32) -> Write {
    let key = key(account_id, ManifestVersion::sort_key(name, version));
    Write::Delete { table: &INTEGRATIONS, key, condition: Condition::Any }
}

/// A source that an own integration stands behind, in its account or below it. Where indexes are behind, one that was made just now may
/// be missed: its next run then says that there is no such integration.
///
/// # Errors
/// Those of the store.
pub async fn user_of(store: &Store, system: &SystemScope, own: &OwnIntegration) -> Result<Option<Source>> {
    let query = Query {
        table: &SOURCES,
        index: Some("by-integration"),
        partition: own.name.clone(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    };
    let mut sources = std::pin::pin!(store.sound_rows::<Source>(system, query));
    // Accounts of strangers may have sources of that name too.
    let mut others: Vec<AccountId> = Vec::new();
    while let Some(source) = sources.try_next().await? {
        if source.manifest_digest.is_some() || others.contains(&source.account_id) {
            continue;
        }
        let holds = find(store, system, source.account_id, &own.name).await?;
        if holds.is_some_and(|found| found.row.account_id == own.account_id) {
            return Ok(Some(source));
        }
        others.push(source.account_id);
    }
    Ok(None)
}

/// Loads a manifest that somebody wants to upload, on a thread for it, and says all there is to say of it.
///
/// # Errors
/// `Cancelled` when the process is ending.
pub async fn examine(
    name: String,
    text: String,
) -> Result<(connectors::Result<ManifestIntegration>, connectors::manifest::compat::Report)> {
    offload("checking a manifest", move || {
        const FILE: &str = "manifest.yaml";
        (connectors::manifest::parse(&name, FILE, &text), connectors::manifest::compat::compat(FILE, &text))
    })
    .await
}

/// BLAKE3 of a manifest's text, in hex.
pub(super) fn digest_of(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn pack(text: &str) -> Result<String> {
    let too_long = |what: String| Error::new(ErrorKind::Invalid, what);
    if text.len() > TEXT_BYTES_MAX {
        return Err(too_long(format!("a manifest may have at most {TEXT_BYTES_MAX} bytes")));
    }
    let packed = zstd::bulk::compress(text.as_bytes(), LEVEL)
        .map_err(|error| Error::new(ErrorKind::Bug, "a manifest could not be compressed").caused_by(error))?;
    let packed = STANDARD.encode(packed);
    if packed.len() > PACKED_BYTES_MAX {
        let message = format!("the manifest has more than {PACKED_BYTES_MAX} bytes even when it is compressed");
        return Err(too_long(message));
    }
    Ok(packed)
}

/// `None` when it is not what [`pack`] makes.
fn unpack(packed: &str) -> Option<String> {
    let bytes = STANDARD.decode(packed).ok()?;
    let mut text = String::new();
    let longest = u64::try_from(TEXT_BYTES_MAX).ok()?;
    zstd::Decoder::new(&*bytes).ok()?.take(longest + 1).read_to_string(&mut text).ok()?;
    (text.len() <= TEXT_BYTES_MAX).then_some(text)
}
