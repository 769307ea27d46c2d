//! A small store with an object of every kind and every feature of the format, written the same way each time: what the golden
//! files hold, and what is damaged.

use std::{collections::BTreeMap, time::Duration};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};
use bytes::Bytes;
use jiff::Timestamp;
use listbackup_engine::{
    export::{Export, Format},
    model::{ExportId, JobId, RestoreId, UserId},
    ports::{Blobs, Clock, PutOutcome},
    run::{
        drill::{DrillSpec, drill},
        restore::{Against, RestoreOrder, Selection},
    },
    snapshot::{
        AccountStore, AttachmentsWriter, LoadedManifest, MassAbsence, NewAttachment, RecordKey, SnapshotStatus,
        SourceStore, StoreSettings, StreamState, VerifyLimits, VerifyProgress, WriterSpec, paths, retain::LiveRuns,
    },
};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use zeroize::Zeroizing;

use crate::{
    doomed::{leave_a_collection_open, leave_packs_doomed},
    retain::{Hands, act, collect},
    store::{World, end, manifest, page, run_id, scope, small_settings, snapshot_id, source_id, stream},
};

/// The snapshot that everything else is about; the others are `0..HEAD`.
pub const HEAD: u8 = 5;
/// Of these, forgotten.
pub const FORGOTTEN: [u8; 2] = [2, 3];
/// The stream of the attachments.
pub const FILES: &str = "contacts@attachments";

/// Small parts everywhere, and the smallest chunks.
pub fn settings() -> StoreSettings {
    StoreSettings { chunk_bytes: 1024, ..small_settings() }
}

/// So many zeros are more chunks than a record lists.
pub const MANY_ZEROS: usize = 1100 * 4 * 1024;

/// Bodies of a stream, sorted.
pub type Bodies = Vec<String>;
/// What a snapshot must hold, by stream; without the attachments.
pub type Held = BTreeMap<&'static str, Bodies>;

/// Records of one stream by the JSON texts of their keys.
type Records = BTreeMap<Vec<String>, String>;

/// One kind of key each. The last one has no whole key: its record is told apart by its content.
const KEYS: [&str; 15] = [
    "-7",
    "-0",
    "1.5",
    "1e3",
    "123456789012345678901234567890",
    "true",
    "false",
    "\"\"",
    "\"\u{fc}ber\"",
    "\"12\"",
    "\"a\\u0000b\"",
    "\"\\ud800\"",
    "[1,\"x\"]",
    "{\"b\":1,\"a\":2}",
    "null",
];

/// Writes everything for one source, in place of what was there.
///
/// `zeros_bytes` is the size of one of the attachments.
pub async fn write(world: &World, ids: (u8, u8), zeros_bytes: usize) -> Vec<Held> {
    let (account, source) = ids;
    let mut made: Vec<(LoadedManifest, Held)> = Vec::new();
    let mut store = world.source(account, source).await.unwrap();
    for number in 0..=HEAD {
        if number == 4 {
            add_second_epoch(world, account).await;
            wrap_first_epoch_anew(world, account).await;
            store = world.source(account, source).await.unwrap();
        }
        let next = snapshot(&store, ids, number, zeros_bytes, made.last()).await;
        made.push(next);
    }
    let clock = Hands::new();
    keep_and_forget(&store, &clock).await;
    collect(&store, &clock, &LiveRuns::default()).await.expect("what only forgotten snapshots named goes");
    leave_a_collection_open(world, ids, &store, &clock).await;
    leave_packs_doomed(world, ids, &store, &clock).await;
    let account_store = world.store().account(&scope(account)).await.unwrap();
    keep_documents(&store, &account_store, ids, &clock, &made[usize::from(HEAD)].0).await;
    let manifest = Bytes::from_static(b"# An account's own integration.\nversion: 1\n");
    let path = paths::integration(scope(account).account_id(), &blake3::hash(&manifest).to_hex());
    world.blobs.put_if_absent(&scope(account), &path, manifest).await.unwrap();
    made.into_iter().map(|(_, held)| held).collect()
}

/// Contacts have keys of all kinds, orders have composite keys, notes have none. `edit` stands in what a snapshot changes.
fn content(number: u8) -> BTreeMap<&'static str, Records> {
    let edit = |i: u8| (1..=number).rev().find(|by| i % 8 == *by).unwrap_or(0);
    let mut contacts = Records::new();
    // Each snapshot from the third on takes one away and adds one; the fourth brings the first back.
    for i in (0..24 + number).filter(|i| *i != 23 - number) {
        let filler = "some text ".repeat(usize::from(i % 4) + 1);
        contacts.insert(vec![i.to_string()], format!("{{\"id\":{i},\"name\":\"{filler}\",\"edit\":{}}}", edit(i)));
    }
    for (key, i) in KEYS.iter().zip(0u8..) {
        // Some are written over several lines, so that their block has lengths.
        let body = format!("{{\n  \"id\": {key},\n  \"kind\": {i},\n  \"edit\": {}\n}}", edit(i));
        contacts.insert(vec![(*key).to_owned()], body);
    }
    let orders = (0..12u8).filter(|i| *i != number).map(|i| {
        let (id, part) = (i / 3, format!("\"p{}\"", i % 3));
        let body = format!("{{\"part\":{part},\"id\":{id},\"edit\":{}}}", edit(i));
        (vec![id.to_string(), part], body)
    });
    let notes = (0..6u8).map(|i| (vec![i.to_string()], format!("{{\"note\":\"text {i} {}\"}}", edit(i))));
    BTreeMap::from([("contacts", contacts), ("notes", notes.collect()), ("orders", orders.collect())])
}

fn arity(name: &str) -> usize {
    match name {
        "contacts" => 1,
        "orders" => 2,
        _ => 0,
    }
}

async fn snapshot(
    store: &SourceStore,
    (account, source): (u8, u8),
    number: u8,
    zeros_bytes: usize,
    parent: Option<&(LoadedManifest, Held)>,
) -> (LoadedManifest, Held) {
    let (now, before) = (content(number), parent.map(|_| content(number - 1)));
    let (mut states, mut held) = (Vec::new(), Held::new());
    // The last one could not read the orders: they stay as they were.
    let failed = if number == HEAD { "orders" } else { "" };
    for (name, records) in &now {
        let state = parent.map(|(parent, _)| &parent.manifest.streams[*name]);
        match (state, parent) {
            (Some(state), Some((_, was))) if *name == failed => {
                states.push((*name, state.clone()));
                held.insert(name, was[name].clone());
            }
            _ => {
                let before = before.as_ref().map(|before| &before[name]);
                states.push((*name, stream_state(store, name, number, state, before, records).await));
                let mut bodies: Bodies = records.values().cloned().collect();
                bodies.sort();
                held.insert(name, bodies);
            }
        }
    }
    let files = parent.map(|(parent, _)| parent.manifest.streams[FILES].clone());
    states.push((FILES, attachments(store, number, zeros_bytes, files).await));
    let reference = parent.map(|(parent, _)| parent.as_parent());
    let mut manifest = manifest(account, source, number, reference, states);
    manifest.created_at = Timestamp::from_second(i64::from(number) * 3600).unwrap();
    if number == HEAD {
        manifest.status = SnapshotStatus::Partial;
        manifest.failed_streams.insert("orders".to_owned(), "the product gave no answer".to_owned());
        manifest.suspicious_streams.insert("notes".to_owned(), MassAbsence { removed: 5, before: 6 });
    }
    (store.put_manifest(&manifest).await.unwrap(), held)
}

/// Writes one stream of a snapshot: the second in part, the others in full. The fifth is interrupted, and writes something else
/// first.
async fn stream_state(
    store: &SourceStore,
    name: &str,
    number: u8,
    parent: Option<&StreamState>,
    before: Option<&Records>,
    records: &Records,
) -> StreamState {
    let spec =
        WriterSpec { stream: stream(name, arity(name)), run_id: run_id(number), parent: parent.cloned(), resume: None };
    // Without keys absence is how a record goes.
    let is_full = number != 1 || arity(name) == 0;
    let mut writer = store.stream_writer(spec.clone()).await.unwrap();
    let push = |keys: &Vec<String>, body: &str, is_deletion: bool| {
        let keys = keys[..arity(name)].iter().map(String::as_str).collect();
        page([(keys, body, is_deletion)])
    };
    if number == 4 {
        for (keys, body) in records.iter().filter(|_| arity(name) == 1).take(5) {
            writer.push(push(keys, &body.replace("\"edit\"", "\"other\""), false)).await.unwrap();
        }
        let checkpoint = writer.checkpoint().await.unwrap();
        store.put_checkpoint(run_id(number), 1, number.into(), &checkpoint).await.unwrap();
        writer = store.stream_writer(WriterSpec { resume: Some(checkpoint), ..spec }).await.unwrap();
    }
    let is_news = |keys: &Vec<String>, body: &String| before.and_then(|before| before.get(keys)) != Some(body);
    for (keys, body) in records.iter().filter(|(keys, body)| is_full || is_news(keys, body)) {
        writer.push(push(keys, body, false)).await.unwrap();
    }
    let gone = before.into_iter().flatten().filter(|(keys, body)| match keys[0].as_str() {
        // What has no whole key went when it changed.
        "null" => records.get(*keys) != Some(*body),
        _ => !records.contains_key(*keys),
    });
    for (keys, body) in gone.filter(|_| !is_full) {
        writer.push(push(keys, body, true)).await.unwrap();
    }
    let finished = writer.finish(end(is_full)).await.unwrap();
    assert_eq!(finished.state.records, records.len() as u64, "{name} of {number}");
    finished.state
}

/// Text, noise, nothing, and a file of so many chunks that their list is stored by itself. Changes with every third snapshot.
async fn attachments(store: &SourceStore, number: u8, zeros_bytes: usize, before: Option<StreamState>) -> StreamState {
    if let Some(before) = before.clone().filter(|_| !number.is_multiple_of(3)) {
        return before;
    }
    let mut noise = vec![0; 6000];
    StdRng::seed_from_u64(number.into()).fill_bytes(&mut noise);
    let files = [
        ("1", "text", format!("attached by {number} ").repeat(300).into_bytes()),
        ("1", "noise", noise),
        ("2", "nothing", Vec::new()),
        ("2", "zeros", vec![0; zeros_bytes]),
    ];
    let spec = stream("contacts", 1);
    let mut writer = AttachmentsWriter::open(store, &spec, run_id(number), before, None).await.unwrap();
    for (record, name, bytes) in files {
        let mut sink = writer.sink();
        sink.push(&bytes).await.unwrap();
        let content = sink.finish().await.unwrap();
        let new = NewAttachment {
            record: record.to_owned(),
            attachment: name.to_owned(),
            name: format!("{name}.bin"),
            media_type: Some("application/octet-stream".to_owned()),
            version: Some(number.to_string()),
        };
        writer.add(new, content).await.unwrap();
    }
    writer.finish(end(true)).await.unwrap().state
}

async fn keep_and_forget(store: &SourceStore, clock: &Hands) {
    let until = clock.now() + Duration::from_secs(1_000_000_000);
    store.pin(snapshot_id(0), act(clock)).await.unwrap();
    store.unpin(snapshot_id(0), act(clock)).await.unwrap();
    store.pin(snapshot_id(0), act(clock)).await.unwrap();
    store.hold(snapshot_id(1), act(clock), Some(until)).await.unwrap();
    store.release(snapshot_id(1), act(clock)).await.unwrap();
    store.hold(snapshot_id(1), act(clock), Some(until)).await.unwrap();
    store.hold(snapshot_id(1), act(clock), None).await.unwrap();
    for number in FORGOTTEN {
        crate::retain::forget(store, clock, snapshot_id(number), snapshot_id(HEAD)).await;
    }
}

/// How far a verification came, a drill, orders of an export and a restore, and the log of the restore.
async fn keep_documents(
    store: &SourceStore,
    account: &AccountStore,
    ids: (u8, u8),
    clock: &Hands,
    head: &LoadedManifest,
) {
    let reader = store.reader(&head.manifest);
    let limits = VerifyLimits { bytes_max: Some(1), deadline: None };
    let at = clock.now();
    let report = reader.verify_within(&limits, None).await.unwrap();
    let progress = VerifyProgress::after(&report, snapshot_id(HEAD), None, at);
    store.keep_verify_progress(&progress).await.unwrap();
    let spec = DrillSpec { seed: [7; 16], sample_size: 10, program: "test 1".to_owned() };
    let scratch = tempfile::tempdir().unwrap();
    let report = drill(&reader, head, &spec, scratch.path(), clock).await.unwrap();
    store.put_drill(snapshot_id(HEAD), at, &account.sign(&report).unwrap()).await.unwrap();
    let (ms, mark) = (i64::from(ids.1) * 1000, [ids.1; 10]);
    let export = Export {
        export_id: ExportId::derived(ms, mark),
        source_id: source_id(ids.1),
        snapshot_id: snapshot_id(HEAD),
        streams: vec!["contacts".to_owned()],
        format: Format::Jsonl,
        is_archive: true,
        user_id: UserId::derived(ms, mark),
        created_at: at,
        expires_at: Export::end(at),
    };
    export.keep(account).await.unwrap();
    let restore_id = RestoreId::derived(ms, mark);
    let key = RecordKey::from_json([&b"1"[..]]).unwrap();
    let order = RestoreOrder {
        restore_id,
        source_id: source_id(ids.1),
        origin: None,
        job_id: JobId::derived(ms, mark),
        snapshot_id: snapshot_id(1),
        selections: vec![Selection { keys: vec![key.clone()], ..Selection::all("contacts") }],
        against: Against::Head,
        overwrite: true,
        dry_run: false,
        base: Some(snapshot_id(HEAD)),
        by: "tester".to_owned(),
        created_at: at,
    };
    order.keep(account).await.unwrap();
    for number in 0..2 {
        let part = serde_json::json!({"records": [
            {"stream": "contacts", "key": key, "outcome": "created", "newKey": key, "deferred": [["owner", "id"]]},
            {"stream": "contacts", "key": key, "outcome": "conflict", "reason": format!("part {number}")},
        ]});
        assert_eq!(account.put_restore_log(restore_id, number, &part).await.unwrap(), PutOutcome::Created);
    }
}

/// Adds a data key as FORMAT.md says, which carries the root on.
async fn add_second_epoch(world: &World, account: u8) {
    let account_id = scope(account).account_id();
    let second_path = paths::key(account_id, 2);
    if world.blobs.objects().contains_key(&second_path) {
        return;
    }
    let first = first_data_key(world, account).await;
    let second = world.keys.generate(&format!("account={account_id};epoch=2")).await.unwrap();
    let sealing = derive(&second.plain, "root", &[]);
    let object = key_object(b"LBKPKEY1", account, 2, &second.wrapped, &sealing, derive(&first, "first root", &[]));
    world.blobs.objects().insert(second_path, object);
}

/// Leaves the first data key in another form, as FORMAT.md says of a change of the master key. Here both are the same one.
async fn wrap_first_epoch_anew(world: &World, account: u8) {
    let account_id = scope(account).account_id();
    if !world.blobs.objects().contains_key(&paths::key(account_id, 1)) {
        return;
    }
    let first = first_data_key(world, account).await;
    let wrapped = world.keys.wrap(&format!("account={account_id};epoch=1"), &first).await.unwrap();
    let sealing = derive(&first, "root", blake3::hash(&wrapped).as_bytes());
    let object = key_object(b"LBKPKEY2", account, 1, &wrapped, &sealing, derive(&first, "first root", &[]));
    world.blobs.objects().insert(paths::key_form(account_id, 1, 1), object);
    world.blobs.objects().remove(&paths::key(account_id, 1));
}

async fn first_data_key(world: &World, account: u8) -> Zeroizing<[u8; 32]> {
    let account_id = scope(account).account_id();
    let object = world.blobs.objects()[&paths::key(account_id, 1)].clone();
    let wrapped = &object[9..9 + usize::from(object[8])];
    world.keys.unwrap(&format!("account={account_id};epoch=1"), wrapped).await.unwrap()
}

fn key_object(magic: &[u8; 8], account: u8, epoch: u8, wrapped: &[u8], sealing: &[u8; 32], root: [u8; 32]) -> Bytes {
    let mut sealed = root.to_vec();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, sealing).unwrap());
    let nonce = Nonce::assume_unique_for_key([5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, epoch]);
    let place = [scope(account).account_id().as_bytes(), wrapped].concat();
    key.seal_in_place_append_tag(nonce, Aad::from(place), &mut sealed).unwrap();
    [&magic[..], &[wrapped.len() as u8], wrapped, &sealed].concat().into()
}

fn derive(data_key: &[u8; 32], label: &str, context: &[u8]) -> [u8; 32] {
    struct Bytes32;
    impl KeyType for Bytes32 {
        fn len(&self) -> usize {
            32
        }
    }
    let prk: Prk = Salt::new(HKDF_SHA256, b"listbackup 1").extract(data_key);
    let mut key = [0; 32];
    prk.expand(&[&[label.len() as u8], label.as_bytes(), context], Bytes32).unwrap().fill(&mut key).unwrap();
    key
}
