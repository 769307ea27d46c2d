//! A store that was written once and is kept in the tree: what is read from it must stay the same, whatever becomes of the code.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use listbackup_engine::{
    Result,
    adapters::embedded::{LooseObjects, key_file},
    ports::{DataKey, Keys},
    snapshot::{
        Bodies, KeyRange, Signed, SnapshotReader, SourceStore, StoredAttachment, VerifyLevel, paths, retain::Mark,
    },
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    every_kind::{self, FILES, FORGOTTEN, HEAD},
    store::{World, scope, snapshot_id},
};

/// One folder each for all versions of the format that were ever released.
const VERSIONS: [&str; 2] = ["tests/snapshot/golden/v1", "tests/snapshot/golden/v2"];

/// A master key that wraps the data keys of the golden files and of nothing else: everybody can read it here. Objects of a
/// new version get the keys that its key objects hold, so that the same bytes come out each time.
struct GoldenKeys {
    master: Arc<dyn Keys>,
    wrapped: BTreeMap<String, Vec<u8>>,
}

#[async_trait]
impl Keys for GoldenKeys {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        match self.wrapped.get(context) {
            Some(wrapped) => Ok(DataKey { plain: self.unwrap(context, wrapped).await?, wrapped: wrapped.clone() }),
            None => self.master.generate(context).await,
        }
    }

    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>> {
        match self.wrapped.get(context) {
            Some(wrapped) => Ok(wrapped.clone()),
            None => self.master.wrap(context, plain).await,
        }
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        self.master.unwrap(context, wrapped).await
    }
}

/// All files below a folder, by their path from there.
fn files(folder: &Path) -> BTreeMap<String, Bytes> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(&next) else { continue };
        for entry in entries {
            let path: PathBuf = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    found.insert(name, fs::read(&path).unwrap().into());
                }
            }
        }
    }
    found
}

/// The master key of a version, in a file that only its owner can read; git keeps no such thing.
fn master_key(version: &Path, scratch: &Path) -> Arc<dyn Keys> {
    let file = scratch.join("master.key");
    fs::copy(version.join("master.key"), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    key_file(&file).unwrap()
}

/// Writes what every_kind writes, with the keys of the version where it has some.
async fn written(version: &Path, scratch: &Path) -> (World, Vec<every_kind::Held>) {
    let account_id = scope(1).account_id();
    let objects = files(&version.join("objects"));
    let wrapped = [1, 2].into_iter().filter_map(|epoch| {
        let forms = [0, 1].map(|form| paths::key_form(account_id, epoch, form));
        let object = forms.iter().find_map(|path| objects.get(path))?;
        let wrapped = object[9..9 + usize::from(object[8])].to_vec();
        Some((format!("account={account_id};epoch={epoch}"), wrapped))
    });
    let keys = GoldenKeys { wrapped: wrapped.collect(), master: master_key(version, scratch) };
    let mut world = World::new(every_kind::settings());
    world.keys = Arc::new(keys);
    let held = every_kind::write(&world, (1, 1), every_kind::MANY_ZEROS).await;
    (world, held)
}

/// Everything that can be read, in plain JSON.
async fn described(world: &World) -> Value {
    let store = world.source(1, 1).await.unwrap();
    let (mut snapshots, mut forgotten, mut marks) = (json!({}), json!({}), json!({}));
    let mut last: Option<SnapshotReader> = None;
    for id in store.list(None, 100).await.unwrap() {
        let reader = store.reader(&store.load(id).await.unwrap().manifest);
        snapshots[id.to_string()] = snapshot(&reader).await;
        if let Some(last) = last {
            snapshots[id.to_string()]["changes"] = changes(&last, &reader).await;
        }
        last = Some(reader);
    }
    for number in FORGOTTEN {
        let tombstone = store.tombstone(snapshot_id(number)).await.unwrap().unwrap();
        forgotten[tombstone.snapshot_id.to_string()] = serde_json::to_value(&tombstone).unwrap();
    }
    for (id, log) in store.all_marks().await.unwrap() {
        let texts = |marks: &[Mark]| serde_json::to_value(marks).unwrap();
        let forget: Vec<Mark> = log.forgotten.clone().into_iter().collect();
        marks[id.to_string()] =
            json!({"pins": texts(&log.pins), "holds": texts(&log.holds), "forgotten": texts(&forget)});
    }
    json!({"snapshots": snapshots, "forgotten": forgotten, "marks": marks, "documents": documents(world).await})
}

async fn snapshot(reader: &SnapshotReader) -> Value {
    let manifest = reader.manifest();
    let mut streams = json!({});
    for (name, state) in &manifest.streams {
        let records: Vec<_> = reader.scan(name).unwrap().try_collect().await.unwrap();
        assert_eq!(state.records, records.len() as u64);
        let text = |body: &Bytes| String::from_utf8(body.to_vec()).unwrap();
        streams[name] = match name == FILES {
            true => attachments(reader).await,
            false => records.iter().map(|record| json!([record.key.to_json(), text(&record.body)])).collect(),
        };
    }
    json!({
        "createdAt": manifest.created_at, "status": manifest.status, "failedStreams": manifest.failed_streams,
        "suspiciousStreams": manifest.suspicious_streams, "streams": streams,
    })
}

async fn attachments(reader: &SnapshotReader) -> Value {
    let all: Vec<StoredAttachment> = reader.attachments(FILES).unwrap().try_collect().await.unwrap();
    let mut told = Vec::new();
    for file in all {
        let bytes: Vec<Bytes> =
            reader.open_attachment(&file, 0..file.size_bytes).await.unwrap().try_collect().await.unwrap();
        let digest = blake3::hash(&bytes.concat()).to_hex().to_string();
        told.push(json!([file.record, file.attachment, file.name, file.media_type, file.version, digest]));
    }
    told.into()
}

/// What changed in the contacts since the snapshot before.
async fn changes(before: &SnapshotReader, after: &SnapshotReader) -> Value {
    let all: Vec<_> =
        before.diff(after, "contacts", &KeyRange::default(), Bodies::Left).unwrap().try_collect().await.unwrap();
    all.iter().map(|one| json!([one.key.to_json(), format!("{:?}", one.change)])).collect()
}

/// All other documents.
async fn documents(world: &World) -> Value {
    let account = world.store().account(&scope(1)).await.unwrap();
    let paths: Vec<String> = world.blobs.objects().keys().cloned().collect();
    let mut texts = json!({});
    for path in paths {
        let ending = path.rsplit('.').next().unwrap();
        match ending {
            "seg" | "pack" | "key" | "snap" | "mark" | "forgotten" | "yaml" => continue,
            _ => {
                let text: Value = serde_json::from_slice(&account.document(&path).await.unwrap()).unwrap();
                if ending == "drill" {
                    let signed: Signed = serde_json::from_value(text.clone()).unwrap();
                    signed.check(&account.public_key().unwrap()).unwrap();
                }
                texts[path] = text;
            }
        }
    }
    texts
}

async fn assert_sound(store: &SourceStore) {
    let head = store.load(snapshot_id(HEAD)).await.unwrap();
    let report = store.reader(&head.manifest).verify(VerifyLevel::Data).await.unwrap();
    assert!(report.is_sound(), "{:?}", report.damages);
    assert_eq!((report.manifests, report.forgotten), (u64::from(HEAD) - 1, FORGOTTEN.len() as u64));
    let survey = store.survey().await.unwrap();
    assert!(survey.chain.len() == usize::from(HEAD) - 1 && survey.damages.is_empty(), "{survey:?}");
}

#[tokio::test]
async fn every_version_of_the_format_is_read_as_it_was_written() {
    for version in VERSIONS.map(Path::new) {
        let scratch = tempfile::tempdir().unwrap();
        let mut world = World::new(every_kind::settings());
        world.keys = master_key(version, scratch.path());
        world.blobs.objects().extend(files(&version.join("objects")));
        let count = world.blobs.objects().len();
        let text = fs::read_to_string(version.join("content.json")).unwrap();
        let expected: Value = serde_json::from_str(&text).unwrap();
        let found = described(&world).await;
        assert_eq!(found, expected, "{}: other content than content.json says", version.display());
        // Also from files, by the adapter that reads copies.
        let below = Arc::new(LooseObjects::below(Some(version.join("objects"))));
        for store in [world.source(1, 1).await.unwrap(), world.source_over(below, 1, 1).await.unwrap()] {
            assert_sound(&store).await;
        }
        assert_eq!(world.blobs.objects().len(), count, "reading writes nothing");
    }
}

#[tokio::test]
async fn the_format_on_disk_does_not_change_unnoticed() {
    let version = Path::new(VERSIONS[VERSIONS.len() - 1]);
    let scratch = tempfile::tempdir().unwrap();
    let (world, held) = written(version, scratch.path()).await;
    let store = world.source(1, 1).await.unwrap();
    for (number, held) in (0..).zip(held).filter(|(number, _)| !FORGOTTEN.contains(number)) {
        let reader = store.reader(&store.load(snapshot_id(number)).await.unwrap().manifest);
        for (stream, bodies) in held {
            let records: Vec<_> = reader.scan(stream).unwrap().try_collect().await.unwrap();
            let mut found: Vec<&[u8]> = records.iter().map(|record| &record.body[..]).collect();
            found.sort_unstable();
            assert_eq!(found, bodies.iter().map(String::as_bytes).collect::<Vec<_>>(), "{stream} of {number}");
        }
    }
    let (stored, today) = (files(&version.join("objects")), world.blobs.objects().clone());
    let differs = |path: &&String| stored.get(*path) != today.get(*path);
    let paths: std::collections::BTreeSet<&String> = stored.keys().chain(today.keys()).filter(differs).collect();
    if paths.is_empty() {
        return;
    }
    let folder = scratch.keep();
    for (path, object) in &today {
        let file = folder.join("objects").join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, object).unwrap();
    }
    let content = serde_json::to_string_pretty(&described(&world).await).unwrap();
    fs::write(folder.join("content.json"), content + "\n").unwrap();
    panic!(
        "the code writes other bytes than {} holds: {paths:#?}\n\
         Stores of users hold what the older code wrote. If this is meant, leave that folder as it is, move what was written \
         now from {} to a new folder beside it and add that to VERSIONS: see tests/snapshot/golden/README.md.",
        version.display(),
        folder.display(),
    );
}
