//! Attachments: every byte comes back, nothing is stored twice, accounts share nothing, and damage is found, named, and never
//! returned.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt;
use listbackup_engine::{
    ErrorKind, Result,
    snapshot::{
        AttachmentsWriter, FinishedStream, LoadedManifest, NewAttachment, SnapshotReader, SourceStore, StoreSettings,
        StoredAttachment, VerifyLevel,
    },
};
use proptest::prelude::*;
use rand::{RngCore, SeedableRng, rngs::StdRng};

use crate::store::{MemoryBlobs, World, end, manifest, run_id, small_settings, stream};

const STREAM: &str = "contacts@attachments";

/// Bytes that do not compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Attachments by record and id.
pub type Files = BTreeMap<(String, String), Vec<u8>>;

pub fn files<'a>(files: impl IntoIterator<Item = (&'a str, &'a str, Vec<u8>)>) -> Files {
    files.into_iter().map(|(record, id, bytes)| ((record.to_owned(), id.to_owned()), bytes)).collect()
}

async fn add(writer: &mut AttachmentsWriter, files: &Files) {
    for ((record, id), bytes) in files {
        let mut sink = writer.sink();
        // However they come, they are cut alike.
        for piece in bytes.chunks(1 + (bytes.len() / 3).min(9000)) {
            sink.push(piece).await.unwrap();
        }
        let content = sink.finish().await.unwrap();
        let new = NewAttachment {
            record: record.clone(),
            attachment: id.clone(),
            name: format!("{id}.bin"),
            media_type: None,
            version: Some("1".to_owned()),
        };
        writer.add(new, content).await.unwrap();
    }
}

/// Writes attachments as the snapshot `number` of a source.
pub async fn save(
    store: &SourceStore,
    (account, source, number): (u8, u8, u8),
    parent: Option<&LoadedManifest>,
    files: &Files,
) -> (LoadedManifest, FinishedStream) {
    let before = parent.map(|parent| parent.manifest.streams[STREAM].clone());
    let mut writer = AttachmentsWriter::open(store, &stream("contacts", 1), run_id(1), before, None).await.unwrap();
    add(&mut writer, files).await;
    let finished = writer.finish(end(true)).await.unwrap();
    let reference = parent.map(LoadedManifest::as_parent);
    let manifest = manifest(account, source, number, reference, [(STREAM, finished.state.clone())]);
    (store.put_manifest(&manifest).await.unwrap(), finished)
}

async fn content(reader: &SnapshotReader, attachment: &StoredAttachment) -> Result<Vec<u8>> {
    let pieces: Vec<Bytes> = reader.open_attachment(attachment, 0..attachment.size_bytes).await?.try_collect().await?;
    Ok(pieces.concat())
}

pub async fn read_all(reader: &SnapshotReader) -> Result<Files> {
    let attachments: Vec<StoredAttachment> = reader.attachments(STREAM)?.try_collect().await?;
    let mut all = Files::new();
    for attachment in attachments {
        let bytes = content(reader, &attachment).await?;
        all.insert((attachment.record, attachment.attachment), bytes);
    }
    Ok(all)
}

fn packs(world: &World) -> BTreeMap<String, Bytes> {
    world
        .blobs
        .objects()
        .iter()
        .filter(|(path, _)| path.ends_with(".pack"))
        .map(|(p, o)| (p.clone(), o.clone()))
        .collect()
}

fn stored_bytes(world: &World) -> usize {
    packs(world).values().map(Bytes::len).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_attachment_comes_back_and_every_range_of_it_is_the_slice(
        sizes in proptest::collection::vec(prop_oneof![Just(0usize), 1usize..3000, 3000usize..120_000], 1..6),
        is_text: bool,
        seed: u64,
        cuts: (u64, u64),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new(small_settings());
            let store = world.source(1, 1).await.unwrap();
            let mut all = Files::new();
            for (i, size) in sizes.iter().enumerate() {
                let bytes = if is_text { b"text, again ".iter().copied().cycle().take(*size).collect() } else { noise(seed ^ i as u64, *size) };
                all.insert((format!("r{}", i / 2), format!("a{i}")), bytes);
            }
            let (loaded, finished) = save(&store, (1, 1, 1), None, &all).await;
            prop_assert_eq!(finished.figures.added, all.len() as u64);
            let reader = world.source(1, 1).await.unwrap().reader(&loaded.manifest);
            prop_assert_eq!(&read_all(&reader).await.unwrap(), &all);
            let attachments: Vec<StoredAttachment> = reader.attachments(STREAM).unwrap().try_collect().await.unwrap();
            for attachment in attachments {
                let bytes = &all[&(attachment.record.clone(), attachment.attachment.clone())];
                prop_assert_eq!(attachment.digest.clone(), blake3::hash(bytes).to_hex().to_string());
                let (a, b) = (cuts.0 % (attachment.size_bytes + 1), cuts.1 % (attachment.size_bytes + 1));
                let range = a.min(b)..a.max(b);
                let pieces: Vec<Bytes> = reader.open_attachment(&attachment, range.clone()).await.unwrap().try_collect().await.unwrap();
                prop_assert_eq!(pieces.concat(), &bytes[range.start as usize..range.end as usize]);
            }
            prop_assert!(reader.verify(VerifyLevel::Data).await.unwrap().is_sound());
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn an_insertion_into_a_big_file_stores_only_the_chunks_around_it() {
    let world = World::new(StoreSettings::default());
    let store = world.source(1, 1).await.unwrap();
    let mut bytes = noise(1, 40 << 20);
    let (first, finished) = save(&store, (1, 1, 1), None, &files([("1", "a", bytes.clone())])).await;
    let before = stored_bytes(&world);
    assert!(before > 40 << 20 && before < 41 << 20, "{before}");
    assert!(packs(&world).values().all(|pack| pack.len() < 21 << 20), "a pack is too large");
    assert!(finished.figures.bytes_stored > 40 << 20);
    bytes.splice(20_000_000..20_000_000, *b"ten bytes!");
    let second = save(&store, (1, 1, 2), Some(&first), &files([("1", "a", bytes.clone())])).await;
    let added = stored_bytes(&world) - before;
    // The chunk that holds them, and at most the next one.
    assert!(added > 0 && added < 8 << 20, "{added}");
    assert_eq!(second.1.figures.changed, 1);
    let reader = store.reader(&second.0.manifest);
    assert!(read_all(&reader).await.unwrap().values().next().unwrap() == &bytes, "other bytes came back");
}

#[tokio::test]
async fn the_same_content_is_stored_once_in_an_account_and_shared_with_no_other() {
    let world = World::new(small_settings());
    let bytes = noise(2, 100_000);
    let one = files([("1", "a", bytes.clone()), ("2", "b", bytes.clone())]);
    let (first, _) = save(&world.source(1, 1).await.unwrap(), (1, 1, 1), None, &one).await;
    let once = packs(&world);
    assert!(stored_bytes(&world) < 102_000, "{}", stored_bytes(&world));
    // Again, under another name, by another process, from another source of the account.
    let again = files([("1", "a", bytes.clone()), ("3", "c", bytes.clone())]);
    save(&world.source(1, 1).await.unwrap(), (1, 1, 2), Some(&first), &again).await;
    save(&world.source(1, 2).await.unwrap(), (1, 2, 3), None, &again).await;
    assert_eq!(packs(&world), once);
    // Another account learns nothing: neither names nor the sizes of chunks agree.
    save(&world.source(2, 1).await.unwrap(), (2, 1, 1), None, &one).await;
    let others: Vec<(String, Bytes)> = packs(&world).into_iter().filter(|(path, _)| !once.contains_key(path)).collect();
    assert!(!others.is_empty());
    let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
    assert!(others.iter().all(|(path, _)| !once.keys().any(|known| name(known) == name(path))));
    assert!(others.iter().all(|(_, pack)| once.values().all(|known| known.len() != pack.len())), "equal cuts");
}

#[tokio::test]
async fn a_list_of_very_many_chunks_is_kept_beside_its_record() {
    let world = World::new(StoreSettings { chunk_bytes: 1024, pack_bytes: 1 << 20, ..small_settings() });
    let store = world.source(1, 1).await.unwrap();
    let all = files([("1", "big", noise(3, 5 << 20)), ("1", "small", noise(4, 10_000))]);
    let (loaded, _) = save(&store, (1, 1, 1), None, &all).await;
    let reader = store.reader(&loaded.manifest);
    let big =
        &reader.browse(STREAM, &listbackup_engine::snapshot::KeyRange::default(), &[], 9).await.unwrap().records[0];
    assert!(big.body.len() < 50_000, "the record takes {} bytes", big.body.len());
    let body = String::from_utf8_lossy(&big.body).into_owned();
    assert!(!body.contains("\"depth\":0"), "{body}");
    assert!(read_all(&reader).await.unwrap() == all, "other bytes came back");
    let attachment: StoredAttachment = StoredAttachment::from_body(&big.body).unwrap();
    let pieces: Vec<Bytes> =
        reader.open_attachment(&attachment, 4_000_000..4_000_100).await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), &all[&("1".to_owned(), "big".to_owned())][4_000_000..4_000_100]);
    // The same file again: its list too is there already.
    let before = packs(&world);
    save(&world.source(1, 1).await.unwrap(), (1, 1, 2), Some(&loaded), &all).await;
    assert_eq!(packs(&world).len(), before.len());
}

#[tokio::test]
async fn an_interrupted_run_goes_on_without_storing_anything_twice() {
    let whole = World::new(small_settings());
    let all = files([("1", "a", noise(5, 90_000)), ("2", "b", noise(6, 70_000)), ("3", "c", noise(7, 500))]);
    let (uninterrupted, _) = save(&whole.source(1, 1).await.unwrap(), (1, 1, 1), None, &all).await;

    let world = World { blobs: Arc::default(), keys: whole.keys.clone(), settings: whole.settings.clone() };
    let store = world.source(1, 1).await.unwrap();
    let spec = stream("contacts", 1);
    let mut writer = AttachmentsWriter::open(&store, &spec, run_id(1), None, None).await.unwrap();
    let (first, rest): (Files, Files) = all.clone().into_iter().partition(|((record, _), _)| record == "1");
    add(&mut writer, &first).await;
    let checkpoint = writer.checkpoint().await.unwrap();
    // What comes after the checkpoint is partly stored when the process dies.
    add(&mut writer, &rest).await;
    drop(writer);
    let at_death = packs(&world);

    let store = world.source(1, 1).await.unwrap();
    let mut writer = AttachmentsWriter::open(&store, &spec, run_id(1), None, Some(checkpoint)).await.unwrap();
    add(&mut writer, &rest).await;
    let finished = writer.finish(end(true)).await.unwrap();
    let after = packs(&world);
    assert!(at_death.keys().all(|path| after.contains_key(path)));
    let bytes: usize = all.values().map(Vec::len).sum();
    assert!(stored_bytes(&world) < bytes + 3000, "{} bytes for {bytes}", stored_bytes(&world));
    assert_eq!(finished.figures.added, 3);
    let manifest = manifest(1, 1, 1, None, [(STREAM, finished.state)]);
    let reader = store.reader(&store.put_manifest(&manifest).await.unwrap().manifest);
    let expected = read_all(&whole.source(1, 1).await.unwrap().reader(&uninterrupted.manifest)).await.unwrap();
    assert!(read_all(&reader).await.unwrap() == expected, "other bytes came back");
}

#[tokio::test]
async fn what_a_record_no_longer_has_is_gone_and_what_it_had_is_known() {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let all = files([("1", "a", noise(8, 100)), ("1", "b", noise(9, 100)), ("10", "a", noise(10, 100))]);
    let (first, _) = save(&store, (1, 1, 1), None, &all).await;
    let before = Some(first.manifest.streams[STREAM].clone());
    let mut writer = AttachmentsWriter::open(&store, &stream("contacts", 1), run_id(1), before, None).await.unwrap();
    assert_eq!(writer.ids_before("1").await.unwrap(), ["a", "b"]);
    assert_eq!(writer.ids_before("10").await.unwrap(), ["a"]);
    assert!(writer.ids_before("2").await.unwrap().is_empty());
    let kept = writer.before("10", "a").await.unwrap().unwrap();
    assert_eq!((kept.size_bytes, kept.version.as_deref()), (100, Some("1")));
    writer.keep(&[kept]).await.unwrap();
    writer.remove(&[("1".to_owned(), "a".to_owned())]).await.unwrap();
    let finished = writer.finish(end(false)).await.unwrap();
    let figures = finished.figures;
    assert_eq!((figures.removed, figures.unchanged, figures.added), (1, 1, 0));
    assert_eq!(finished.state.records, 2);
}

/// A world with attachments in several packs, and what reading it gives.
async fn damage_world() -> (World, LoadedManifest, Files) {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let all = files([
        ("1", "text", b"words and words ".iter().copied().cycle().take(3000).collect()),
        ("2", "noise", noise(11, 60_000)),
        ("3", "empty", Vec::new()),
    ]);
    let (loaded, _) = save(&store, (1, 1, 1), None, &all).await;
    assert!(packs(&world).len() > 1, "the damage needs a pack to swap with");
    (world, loaded, all)
}

/// Reading gives the right bytes or an error, and verifying names the pack.
async fn check_found(world: &World, loaded: &LoadedManifest, good: &Files, path: &str, what: &str) {
    let reader = world.source(1, 1).await.unwrap().reader(&loaded.manifest);
    match read_all(&reader).await {
        Ok(read) => assert!(&read == good, "{path} {what}: wrong bytes were returned"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{path} {what}: {error}"),
    }
    let report = reader.verify(VerifyLevel::Data).await.unwrap();
    assert!(report.damages.iter().any(|damage| damage.path == path), "{path} {what}: {:?}", report.damages);
    let damage = &report.damages[0];
    assert_eq!(damage.stream.as_deref(), Some(STREAM));
    assert!(damage.keys.is_some() && damage.what.contains("attachment"), "{damage:?}");
}

fn damaged(world: &World, path: &str, object: Option<Bytes>) -> World {
    let blobs: Arc<MemoryBlobs> = world.blobs.copy();
    match object {
        Some(object) => blobs.objects().insert(path.to_owned(), object),
        None => blobs.objects().remove(path),
    };
    World { blobs, keys: world.keys.clone(), settings: world.settings.clone() }
}

#[tokio::test]
async fn damage_of_a_pack_is_found_named_and_never_returned() {
    let (world, loaded, good) = damage_world().await;
    let all = packs(&world);
    for (path, object) in &all {
        let len = object.len();
        // Of the chunks every 97th byte, of the index and the trailer every one.
        let places = (0..len.saturating_sub(400)).step_by(97).chain(len.saturating_sub(400)..len);
        for at in places {
            let mut bytes = object.to_vec();
            bytes[at] ^= 1 << (at % 8);
            let world = damaged(&world, path, Some(bytes.into()));
            check_found(&world, &loaded, &good, path, &format!("flipped at {at} of {len}")).await;
        }
        for cut in [0, 1, 27, 28, len / 2, len - 29, len - 1] {
            let world = damaged(&world, path, Some(object.slice(..cut)));
            check_found(&world, &loaded, &good, path, &format!("cut at {cut}")).await;
        }
        check_found(&damaged(&world, path, None), &loaded, &good, path, "removed").await;
        let (_, other) = all.iter().find(|(other, _)| *other != path).unwrap();
        check_found(&damaged(&world, path, Some(other.clone())), &loaded, &good, path, "swapped").await;
    }
}

#[tokio::test]
async fn a_missing_pack_is_found_by_its_structure_alone() {
    let (world, loaded, _) = damage_world().await;
    for path in packs(&world).keys() {
        let world = damaged(&world, path, None);
        let report =
            world.source(1, 1).await.unwrap().reader(&loaded.manifest).verify(VerifyLevel::Structure).await.unwrap();
        assert!(report.damages.iter().any(|damage| damage.path == *path), "{:?}", report.damages);
        assert_eq!(report.attachments, 3);
    }
}

#[tokio::test]
async fn a_damaged_pack_is_not_used_for_new_snapshots() {
    let (world, loaded, good) = damage_world().await;
    let (path, object) = packs(&world).into_iter().next().unwrap();
    let mut bytes = object.to_vec();
    let at = bytes.len() - 40;
    bytes[at] ^= 1;
    let world = damaged(&world, &path, Some(bytes.into()));
    world.blobs.objects().insert("note".to_owned(), Bytes::new());
    let store = world.source(1, 1).await.unwrap();
    // Its chunks would go into a pack of the same name were it filled alike: so another file comes first.
    let mut all = good.clone();
    all.insert(("0".to_owned(), "new".to_owned()), noise(12, 1000));
    let (second, _) = save(&store, (1, 1, 2), Some(&loaded), &all).await;
    let reader = store.reader(&second.manifest);
    assert!(read_all(&reader).await.unwrap() == all, "other bytes came back");
}

#[tokio::test]
async fn a_range_past_the_end_is_refused() {
    let (world, loaded, _) = damage_world().await;
    let reader = world.source(1, 1).await.unwrap().reader(&loaded.manifest);
    let attachments: Vec<StoredAttachment> = reader.attachments(STREAM).unwrap().try_collect().await.unwrap();
    let outcome = reader.open_attachment(&attachments[0], 0..attachments[0].size_bytes + 1).await;
    assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Invalid));
}

#[tokio::test]
async fn an_archive_holds_every_attachment_under_its_path() {
    use std::io::Read;

    use listbackup_engine::export::{ExportSpec, Format, Selection};

    let (world, loaded, good) = damage_world().await;
    let reader = world.source(1, 1).await.unwrap().reader(&loaded.manifest);
    let spec = ExportSpec { selection: Selection::Archive(vec![STREAM.to_owned()]), format: Format::Jsonl };
    let (out, written) = spec.clone().write(reader, std::io::Cursor::new(Vec::new())).await.unwrap();
    assert_eq!(written.records, 3);
    let mut archive = zip::ZipArchive::new(out).unwrap();
    for ((record, id), bytes) in &good {
        let mut found = Vec::new();
        archive.by_name(&format!("files/contacts/{record}/{id}/{id}.bin")).unwrap().read_to_end(&mut found).unwrap();
        assert_eq!(&found, bytes);
    }
    let path = packs(&world).into_keys().next().unwrap();
    let reader = damaged(&world, &path, None).source(1, 1).await.unwrap().reader(&loaded.manifest);
    let error = spec.write(reader, std::io::Cursor::new(Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
