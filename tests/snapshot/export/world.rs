//! A snapshot with one stream of given records, and its exports.

use listbackup_engine::{
    Result,
    export::{ExportSpec, Format, Selection, Written},
    snapshot::{SnapshotReader, StreamState, WriterSpec},
};

use crate::store::{World, end, manifest, page, run_id, small_settings, stream};

/// Backs records up that begin with `{"id":n`, numbered from 0.
pub async fn stream_of(world: &World, name: &str, records: &[String]) -> StreamState {
    let store = world.source(1, 1).await.unwrap();
    let spec = WriterSpec { stream: stream(name, 1), run_id: run_id(1), parent: None, resume: None };
    let mut writer = store.stream_writer(spec).await.unwrap();
    for (chunk, first) in records.chunks(7).zip((0..).step_by(7)) {
        let ids: Vec<String> = (first..first + chunk.len()).map(|id| id.to_string()).collect();
        let rows = ids.iter().zip(chunk).map(|(id, body)| (vec![id.as_str()], body.as_str(), false));
        writer.push(page(rows)).await.unwrap();
    }
    writer.finish(end(true)).await.unwrap().state
}

/// A reader of a snapshot with these streams.
pub async fn snapshot(world: &World, streams: &[(&'static str, &[String])]) -> SnapshotReader {
    let mut states = Vec::new();
    for (name, records) in streams {
        states.push((*name, stream_of(world, name, records).await));
    }
    let store = world.source(1, 1).await.unwrap();
    let loaded = store.put_manifest(&manifest(1, 1, 1, None, states)).await.unwrap();
    store.reader(&loaded.manifest)
}

/// The stream `contacts` of these records.
pub async fn contacts(records: &[String]) -> SnapshotReader {
    snapshot(&World::new(small_settings()), &[("contacts", records)]).await
}

/// Exports `contacts`.
pub async fn export(reader: &SnapshotReader, format: Format) -> Result<(Vec<u8>, Written)> {
    let selection = Selection::Stream("contacts".to_owned());
    ExportSpec { selection, format }.write(reader.clone(), Vec::new()).await
}

/// Records with these members after the id.
pub fn records(members: &[&str]) -> Vec<String> {
    let with_id = |(id, members): (usize, &&str)| match members.len() {
        0 => format!("{{\"id\":{id}}}"),
        _ => format!("{{\"id\":{id},{members}}}"),
    };
    members.iter().enumerate().map(with_id).collect()
}

/// A runtime as exports need it.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
}
