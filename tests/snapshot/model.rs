//! Change detection against a plain map: any sequence of runs, full or incremental, with repetitions, deletions,
//! records written another way, checkpoints, and crashes that resume from them.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use listbackup_engine::snapshot::{
    Bodies, Change, Difference, FinishedStream, KeyRange, LoadedManifest, SourceStore, StreamCheckpoint, StreamFigures,
    StreamState, StreamWriter, VerifyLevel, WriterSpec,
};
use proptest::prelude::*;

use crate::store::{World, end, manifest, page, run_id, small_settings, stream};

/// Keys `0..KEYS`.
const KEYS: u8 = 60;

/// Something that happens in a run.
#[derive(Clone, Debug)]
enum Step {
    /// A record comes: key, value, way of writing.
    Record(u8, u8, u8),
    /// The product says that a record is gone.
    Deletion(u8),
    /// The run saves a checkpoint.
    Checkpoint,
    /// The worker dies; another resumes from the last checkpoint.
    Crash,
}

#[derive(Clone, Debug)]
struct Run {
    is_full: bool,
    steps: Vec<Step>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        30 => (0..KEYS, 0..3u8, 0..3u8).prop_map(|(key, value, form)| Step::Record(key, value, form)),
        4 => (0..KEYS).prop_map(Step::Deletion),
        5 => Just(Step::Checkpoint),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 0..160)
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    let run = (any::<bool>(), steps()).prop_map(|(is_full, steps)| Run { is_full, steps });
    prop::collection::vec(run, 1..9)
}

/// A snapshot, and the values that it must hold.
type Snapshot = (LoadedManifest, BTreeMap<u8, u8>);

/// The key's JSON text: strings and integers, so that order and encoding matter.
fn key_text(key: u8) -> String {
    if key.is_multiple_of(3) { format!("\"k{key}\"") } else { (i32::from(key) - 20).to_string() }
}

/// A body of that value, written in one of several ways with one meaning.
fn body_text(key: u8, value: u8, form: u8) -> String {
    let (id, filler) = (key_text(key), "x".repeat(usize::from(key) % 7 * 10));
    match form {
        0 => format!("{{\"id\":{id},\"value\":{value},\"filler\":\"{filler}\"}}"),
        1 => format!("{{\"filler\":\"{filler}\",\"id\":{id},\"value\":{value}}}"),
        _ => format!("{{\n  \"id\": {id},\n  \"filler\": \"{filler}\",\n  \"value\": {value}\n}}"),
    }
}

/// What the figures must be after a run that took `parent` to `now`, having touched the keys in `came`.
fn expected_figures(
    parent: &BTreeMap<u8, u8>,
    now: &BTreeMap<u8, u8>,
    came: &BTreeMap<u8, bool>,
) -> (u64, u64, u64, u64) {
    let live: Vec<u8> = came.iter().filter(|(_, is_live)| **is_live).map(|(key, _)| *key).collect();
    let count = |wanted: &dyn Fn(&u8) -> bool| live.iter().filter(|key| wanted(key)).count() as u64;
    let added = count(&|key| !parent.contains_key(key));
    let unchanged = count(&|key| parent.contains_key(key) && parent.get(key) == now.get(key));
    let changed = count(&|key| parent.contains_key(key) && parent.get(key) != now.get(key));
    let removed = parent.keys().filter(|key| !now.contains_key(key)).count() as u64;
    (added, changed, removed, unchanged)
}

fn figures_of(figures: &StreamFigures) -> (u64, u64, u64, u64) {
    (figures.added, figures.changed, figures.removed, figures.unchanged)
}

async fn open(store: &SourceStore, number: u8, parent: Option<&StreamState>, resume: Option<&String>) -> StreamWriter {
    let resume = resume.map(|text| serde_json::from_str::<StreamCheckpoint>(text).unwrap());
    let spec = WriterSpec { stream: stream("contacts", 1), run_id: run_id(number), parent: parent.cloned(), resume };
    store.stream_writer(spec).await.unwrap()
}

/// Executes a run against the store, and tells which keys came, and how they stood at last.
async fn execute(
    store: &SourceStore,
    number: u8,
    parent: Option<&StreamState>,
    run: &Run,
    content: &mut BTreeMap<u8, u8>,
) -> (FinishedStream, BTreeMap<u8, bool>) {
    let mut writer = open(store, number, parent, None).await;
    let mut saved: (usize, Option<String>) = (0, None);
    let mut crashed = Vec::new();
    let mut at = 0;
    while at < run.steps.len() {
        match &run.steps[at] {
            Step::Record(key, value, form) => {
                let (id, body) = (key_text(*key), body_text(*key, *value, *form));
                writer.push(page([(vec![&*id], &*body, false)])).await.unwrap();
            }
            Step::Deletion(key) => {
                let (id, body) = (key_text(*key), body_text(*key, 9, 0));
                writer.push(page([(vec![&*id], &*body, true)])).await.unwrap();
            }
            Step::Checkpoint => {
                let checkpoint = writer.checkpoint().await.unwrap();
                saved = (at + 1, Some(serde_json::to_string(&checkpoint).unwrap()));
            }
            Step::Crash if !crashed.contains(&at) => {
                crashed.push(at);
                drop(writer);
                writer = open(store, number, parent, saved.1.as_ref()).await;
                at = saved.0;
                continue;
            }
            Step::Crash => {}
        }
        at += 1;
    }
    let mut came = BTreeMap::new();
    let before = content.clone();
    for step in &run.steps {
        match step {
            Step::Record(key, value, _) => {
                content.insert(*key, *value);
                came.insert(*key, true);
            }
            Step::Deletion(key) => {
                let was_live = content.remove(key).is_some();
                if was_live || before.contains_key(key) {
                    came.insert(*key, false);
                }
            }
            Step::Checkpoint | Step::Crash => {}
        }
    }
    if run.is_full {
        content.retain(|key, _| came.get(key) == Some(&true));
    }
    (writer.finish(end(run.is_full)).await.unwrap(), came)
}

/// The stored state, by key, read through a scan.
async fn stored(store: &SourceStore, loaded: &LoadedManifest) -> BTreeMap<String, serde_json::Value> {
    let scan = store.reader(&loaded.manifest).scan("contacts").unwrap();
    let records: Vec<_> = scan.try_collect().await.unwrap();
    assert!(records.is_sorted_by(|a, b| a.key < b.key), "records come in key order, each once");
    records.iter().map(|record| (record.key.to_json(), serde_json::from_slice(&record.body).unwrap())).collect()
}

async fn check_runs(runs: &[Run]) {
    let world = World::new(small_settings());
    let store = world.source(1, 1).await.unwrap();
    let mut parent: Option<LoadedManifest> = None;
    let mut content = BTreeMap::new();
    let mut snapshots = Vec::new();
    for (number, run) in runs.iter().enumerate() {
        let before = content.clone();
        let parent_state = parent.as_ref().map(|parent| parent.manifest.streams["contacts"].clone());
        let (finished, came) = execute(&store, number as u8, parent_state.as_ref(), run, &mut content).await;
        let figures = finished.figures;
        assert_eq!(figures_of(&figures), expected_figures(&before, &content, &came), "run {number}");
        assert_eq!(figures.records, figures.added + figures.changed + figures.unchanged);
        assert_eq!(finished.state.records, content.len() as u64);
        let reference = parent.as_ref().map(LoadedManifest::as_parent);
        let loaded = store
            .put_manifest(&manifest(1, 1, number as u8, reference, [("contacts", finished.state.clone())]))
            .await
            .unwrap();
        store.delete_superseded(&finished.superseded, &loaded.manifest).await.unwrap();
        let expected = content.iter().map(|(key, value)| {
            let body = serde_json::from_str(&body_text(*key, *value, 0)).unwrap();
            (format!("[{}]", key_text(*key)), body)
        });
        assert_eq!(stored(&store, &loaded).await, expected.collect(), "run {number}");
        let report = store.reader(&loaded.manifest).verify(VerifyLevel::Data).await.unwrap();
        assert!(report.is_sound(), "run {number}: {:?}", report.damages);
        // Segments that only older snapshots use are read as well.
        assert!(report.records >= content.len() as u64);
        assert_eq!(report.manifests, number as u64 + 1);
        check_digest_of_copy(&world, &store, &loaded, number as u8).await;
        snapshots.push((loaded.clone(), content.clone()));
        parent = Some(loaded);
    }
    for (first, second) in snapshots.iter().flat_map(|a| snapshots.iter().map(move |b| (a, b))) {
        check_diff(&store, first, second).await;
    }
}

/// What differs between two snapshots is what differs between two maps, with the bodies of both; and the short form says
/// the same.
async fn check_diff(store: &SourceStore, first: &Snapshot, second: &Snapshot) {
    let (a, b) = (store.reader(&first.0.manifest), store.reader(&second.0.manifest));
    let whole: Vec<_> =
        a.diff(&b, "contacts", &KeyRange::default(), Bodies::Wanted).unwrap().try_collect().await.unwrap();
    assert!(whole.is_sorted_by(|a, b| a.key < b.key));
    let value = |body: &bytes::Bytes| serde_json::from_slice::<serde_json::Value>(body).unwrap()["value"].as_u64();
    let told: BTreeMap<_, _> = whole
        .iter()
        .map(|one| (one.key.to_json(), (one.change, one.before.as_ref().map(value), one.after.as_ref().map(value))))
        .collect();
    let mut expected = BTreeMap::new();
    for key in 0..KEYS {
        let (before, after) = (first.1.get(&key), second.1.get(&key));
        let change = match (before, after) {
            (None, Some(_)) => Change::Added,
            (Some(_), None) => Change::Removed,
            (Some(before), Some(after)) if before != after => Change::Changed,
            _ => continue,
        };
        let value = |value: Option<&u8>| value.map(|value| Some(u64::from(*value)));
        expected.insert(format!("[{}]", key_text(key)), (change, value(before), value(after)));
    }
    assert_eq!(told, expected);
    check_apply(store, first, second, &whole).await;
    let short: Vec<_> =
        a.diff(&b, "contacts", &KeyRange::default(), Bodies::Left).unwrap().try_collect().await.unwrap();
    let brief = |all: &[Difference]| all.iter().map(|one| (one.key.clone(), one.change)).collect::<Vec<_>>();
    assert_eq!(brief(&short), brief(&whole));
    let summary = a.diff_summary(&b).await.unwrap();
    let count = |change| told.values().filter(|one| one.0 == change).count() as u64;
    assert_eq!(
        (summary[0].added, summary[0].changed, summary[0].removed),
        (count(Change::Added), count(Change::Changed), count(Change::Removed))
    );
    assert_eq!(summary[0].unchanged, first.1.len() as u64 - summary[0].changed - summary[0].removed);
}

/// The differences, applied to the records of the first snapshot, give those of the second.
async fn check_apply(store: &SourceStore, first: &Snapshot, second: &Snapshot, differences: &[Difference]) {
    let (mut records, target) = (stored(store, &first.0).await, stored(store, &second.0).await);
    for one in differences {
        let key = one.key.to_json();
        let value = |body: &bytes::Bytes| serde_json::from_slice::<serde_json::Value>(body).unwrap();
        let before = match &one.after {
            Some(body) => records.insert(key, value(body)),
            None => records.remove(&key),
        };
        assert_eq!(before, one.before.as_ref().map(value));
    }
    assert_eq!(records, target);
}

/// The same records, pushed backwards into another source of the account, give the same content digest.
async fn check_digest_of_copy(world: &World, store: &SourceStore, loaded: &LoadedManifest, number: u8) {
    let scan = store.reader(&loaded.manifest).scan("contacts").unwrap();
    let records: Vec<_> = scan.try_collect().await.unwrap();
    let mut writer = open(&world.source(1, 100 + number).await.unwrap(), number, None, None).await;
    for record in records.iter().rev() {
        let (key, body) = (record.key.to_json(), std::str::from_utf8(&record.body).unwrap());
        writer.push(page([(vec![&key[1..key.len() - 1]], body, false)])).await.unwrap();
    }
    let copy = writer.finish(end(true)).await.unwrap().state;
    assert_eq!(copy.content_digest, loaded.manifest.streams["contacts"].content_digest);
    assert_eq!(copy.body_bytes, records.iter().map(|record| record.body.len() as u64).sum::<u64>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_runs_leaves_what_a_map_would_hold_and_counts_right(runs in runs()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check_runs(&runs));
    }
}
