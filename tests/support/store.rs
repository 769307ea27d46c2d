//! A snapshot store over objects in memory, which counts what is written and lets a test damage it; and pages of small
//! records.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::{
        Deletions, Page, PageProgress, StreamSpec,
        page::{KeySlices, RecordSlice},
    },
    model::{
        AccountId, RunId, SnapshotId, SourceId,
        scope::{AccountScope, SystemScope},
    },
    ports::{BlobEntry, Blobs, DataKey, Keys, PutOutcome},
    snapshot::{
        FORMAT_VERSION, FinishedStream, LoadedManifest, Manifest, ParentRef, SnapshotStatus, SnapshotStore,
        SourceStore, StoreSettings, StreamEnd, StreamState,
    },
};
use zeroize::Zeroizing;

/// Objects in memory.
#[derive(Default)]
pub struct MemoryBlobs {
    objects: Mutex<BTreeMap<String, Bytes>>,
    puts: Mutex<Vec<String>>,
    /// Locks hold for ever: time stands still in here.
    locks: Mutex<BTreeMap<String, Timestamp>>,
    ranged_reads: AtomicU64,
}

impl MemoryBlobs {
    /// All objects, to look at or to damage.
    pub fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap()
    }

    /// Paths of the objects made since the last call.
    pub fn take_puts(&self) -> Vec<String> {
        std::mem::take(&mut self.puts.lock().unwrap())
    }

    /// How many ranges were read so far.
    pub fn ranged_reads(&self) -> u64 {
        self.ranged_reads.load(Ordering::Relaxed)
    }

    /// A copy with its own objects.
    pub fn copy(&self) -> Arc<Self> {
        let locks = Mutex::new(self.locks.lock().unwrap().clone());
        Arc::new(Self { objects: Mutex::new(self.objects().clone()), locks, ..Self::default() })
    }
}

#[async_trait]
impl Blobs for MemoryBlobs {
    async fn put_if_absent(&self, _: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        let mut objects = self.objects();
        if objects.contains_key(path) {
            return Ok(PutOutcome::Exists);
        }
        objects.insert(path.to_owned(), bytes);
        self.puts.lock().unwrap().push(path.to_owned());
        Ok(PutOutcome::Created)
    }

    async fn get(&self, _: &AccountScope, path: &str) -> Result<Bytes> {
        self.objects().get(path).cloned().ok_or_else(|| Error::new(ErrorKind::NotFound, "no such object"))
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.ranged_reads.fetch_add(1, Ordering::Relaxed);
        let object = self.get(scope, path).await?;
        if range.end > object.len() as u64 || range.start > range.end {
            return Err(Error::new(ErrorKind::Corrupt, "a range past the end"));
        }
        Ok(object.slice(range.start as usize..range.end as usize))
    }

    async fn size(&self, _: &AccountScope, path: &str) -> Result<Option<u64>> {
        Ok(self.objects().get(path).map(|object| object.len() as u64))
    }

    async fn list(&self, _: &AccountScope, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<BlobEntry>> {
        let objects = self.objects();
        let wanted =
            objects.iter().filter(|(path, _)| path.starts_with(prefix) && after.is_none_or(|a| path.as_str() > a));
        Ok(wanted
            .take(max)
            .map(|(path, object)| BlobEntry { path: path.clone(), size_bytes: object.len() as u64 })
            .collect())
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.get(scope, path).await?;
        let mut locks = self.locks.lock().unwrap();
        let lock = locks.entry(path.to_owned()).or_insert(until);
        *lock = until.max(*lock);
        Ok(())
    }

    async fn retained_until(&self, _: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        Ok(self.locks.lock().unwrap().get(path).copied())
    }

    async fn delete(&self, _: &AccountScope, path: &str) -> Result<()> {
        if self.locks.lock().unwrap().contains_key(path) {
            return Err(Error::new(ErrorKind::Denied, "the object is locked"));
        }
        self.objects().remove(path);
        Ok(())
    }
}

/// Data keys that count up, wrapped with their context and a checksum.
#[derive(Default)]
pub struct CountingKeys(AtomicU8);

#[async_trait]
impl Keys for CountingKeys {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        let plain = [self.0.fetch_add(1, Ordering::Relaxed); 32];
        Ok(DataKey { plain: Zeroizing::new(plain), wrapped: wrap(context, &plain) })
    }

    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>> {
        Ok(wrap(context, plain))
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let plain: Option<[u8; 32]> = wrapped.get(..32).and_then(|plain| plain.try_into().ok());
        plain
            .filter(|plain| wrapped == wrap(context, plain))
            .map(Zeroizing::new)
            .ok_or_else(|| Error::new(ErrorKind::Corrupt, "a wrapped key was altered"))
    }
}

fn wrap(context: &str, plain: &[u8]) -> Vec<u8> {
    let sum = plain.iter().chain(context.as_bytes()).fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
    [plain, &sum.to_le_bytes()].concat()
}

/// A store whose segments and blocks hold a few small records each, and which has next to no memory for fingerprints.
pub fn small_settings() -> StoreSettings {
    StoreSettings {
        block_bytes: 300,
        segment_bytes: 6000,
        lookup_bytes: 500,
        chunk_bytes: 4096,
        pack_bytes: 40_000,
        ..StoreSettings::default()
    }
}

/// A store in memory.
pub struct World {
    pub blobs: Arc<MemoryBlobs>,
    pub keys: Arc<dyn Keys>,
    pub settings: StoreSettings,
}

impl World {
    /// An empty store.
    pub fn new(settings: StoreSettings) -> Self {
        Self { blobs: Arc::default(), keys: Arc::new(CountingKeys::default()), settings }
    }

    /// The store of a source over other objects.
    pub async fn source_over(&self, blobs: Arc<dyn Blobs>, account: u8, source: u8) -> Result<SourceStore> {
        let store = SnapshotStore::new(blobs, self.keys.clone(), self.settings.clone());
        store.source(&scope(account), source_id(source)).await
    }

    /// The store, opened as by a new process.
    pub fn store(&self) -> SnapshotStore {
        SnapshotStore::new(self.blobs.clone(), self.keys.clone(), self.settings.clone())
    }

    /// The store of a source, opened as by a new process.
    pub async fn source(&self, account: u8, source: u8) -> Result<SourceStore> {
        self.source_over(self.blobs.clone(), account, source).await
    }
}

/// The scope of the test account `number`.
pub fn scope(number: u8) -> AccountScope {
    SystemScope::of_this_process().account(AccountId::derived(1, [number; 10]))
}

/// The id of the test source `number`.
pub fn source_id(number: u8) -> SourceId {
    SourceId::derived(1, [number; 10])
}

/// The id of the test snapshot `number`.
pub fn snapshot_id(number: u8) -> SnapshotId {
    run_id(number).of()
}

/// The id of the test run `number`.
pub fn run_id(number: u8) -> RunId {
    RunId::derived(i64::from(number) + 1, [number; 10])
}

/// A stream with the primary key `id`, or with another number of key fields.
pub fn stream(name: &str, arity: usize) -> Arc<StreamSpec> {
    let fields = ["id", "part", "other"];
    Arc::new(StreamSpec {
        name: name.to_owned(),
        primary_key: fields[..arity].iter().map(|field| vec![(*field).to_owned()]).collect(),
        cursor_field: Vec::new(),
        json_schema: serde_json::json!({"type": "object"}),
        parents: Vec::new(),
        deletions: Deletions::Absence,
        write: None,
    })
}

/// A page of records: key values (slices of the body's text), body, and whether it is a deletion.
pub fn page<'a>(records: impl IntoIterator<Item = (Vec<&'a str>, &'a str, bool)>) -> Page {
    let mut text = String::from("{\"results\":[");
    let mut slices = Vec::new();
    for (keys, body, is_deletion) in records {
        let start = text.len();
        text.push_str(body);
        let end = text.len();
        text.push(',');
        let ranges: Vec<_> = keys
            .iter()
            .map(|key| match body.find(key) {
                Some(at) => (start + at) as u32..(start + at + key.len()) as u32,
                None => {
                    text.push_str(key);
                    (text.len() - key.len()) as u32..text.len() as u32
                }
            })
            .collect();
        let key = match ranges.len() {
            0 => KeySlices::None,
            1 => KeySlices::One(ranges[0].clone()),
            _ => KeySlices::Many(ranges.into()),
        };
        slices.push(RecordSlice { body: start as u32..end as u32, key, is_deletion });
    }
    text.push_str("]}");
    Page {
        body: Bytes::from(text),
        records: slices,
        attachments: Vec::new(),
        position: None,
        progress: PageProgress::default(),
    }
}

/// The end of a read.
pub fn end(is_full: bool) -> StreamEnd {
    StreamEnd::new(is_full, None, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
}

/// A manifest of finished streams.
pub fn manifest(
    account: u8,
    source: u8,
    number: u8,
    parent: Option<ParentRef>,
    streams: impl IntoIterator<Item = (&'static str, StreamState)>,
) -> Manifest {
    let streams = streams.into_iter().map(|(name, state)| (name.to_owned(), state)).collect();
    Manifest {
        format: FORMAT_VERSION,
        snapshot_id: snapshot_id(number),
        account_id: scope(account).account_id(),
        source_id: source_id(source),
        source_name: "Test".to_owned(),
        integration: "test".to_owned(),
        run_id: run_id(number),
        epoch: 1,
        parent,
        created_at: Timestamp::UNIX_EPOCH,
        status: SnapshotStatus::Complete,
        totals: Manifest::totals_of(&streams),
        streams,
        failed_streams: BTreeMap::new(),
        suspicious_streams: BTreeMap::new(),
    }
}

/// Reads `pages` in full as the snapshot `number` of a source with one stream `contacts`.
pub async fn back_up(
    store: &SourceStore,
    ids: (u8, u8, u8),
    parent: Option<&LoadedManifest>,
    pages: Vec<Page>,
) -> (LoadedManifest, FinishedStream) {
    let before = parent.map(|parent| parent.manifest.streams["contacts"].clone());
    let spec = listbackup_engine::snapshot::WriterSpec {
        stream: stream("contacts", 1),
        run_id: run_id(ids.2),
        parent: before,
        resume: None,
    };
    let mut writer = store.stream_writer(spec).await.unwrap();
    for page in pages {
        writer.push(page).await.unwrap();
    }
    let finished = writer.finish(end(true)).await.unwrap();
    let parent = parent.map(LoadedManifest::as_parent);
    let manifest = manifest(ids.0, ids.1, ids.2, parent, [("contacts", finished.state.clone())]);
    (store.put_manifest(&manifest).await.unwrap(), finished)
}
