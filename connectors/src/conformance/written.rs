//! What shows of writing records back: what the catalog says of it, how one record is read, and, where records may be made
//! in the product, what comes of writing them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    Trial,
    reading::{Outcome, Reading},
};
use crate::{
    Error, ErrorKind, Result, StreamSpec, WriteAction, WriteRequest, WriteSpec, WrittenRecord, clock,
    http::injector::{Fault, Injector},
};

/// Why a write is refused for trial.
const REASON: &str = "refused for trial";

/// Numbers the writes of a process, so that each has a key of its own.
static WRITES: AtomicU64 = AtomicU64::new(0);

type Record = Map<String, Value>;

impl Trial<'_> {
    /// Line 35, of the whole catalog.
    pub(super) fn references(&self, streams: &[StreamSpec]) {
        for stream in streams {
            let Some(write) = &stream.write else { continue };
            for reference in &write.references {
                let keys = streams.iter().find(|other| other.name == reference.stream).map(|other| &other.primary_key);
                let is_kept = keys.is_some_and(|keys| keys.len() == 1);
                let seen = format!("{}: {} names {}", stream.name, reference.field.join("."), reference.stream);
                self.ledger.note(35, is_kept, &seen);
            }
        }
    }

    /// Lines 33 to 38, where the stream can be written.
    pub(super) async fn writing(&self, stream: &Arc<StreamSpec>, plain: &Reading) {
        let Some(write) = &stream.write else { return };
        self.natural_keys(stream, plain);
        let samples: Vec<Record> = plain.samples.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect();
        for sample in &samples {
            self.read_one(stream, sample).await;
        }
        let Some(sample) = samples.first() else { return };
        self.read_none(stream, sample).await;
        if self.subject.may_write && write.can_create {
            self.write_records(stream, write, sample).await;
        }
    }

    /// Line 37.
    fn natural_keys(&self, stream: &StreamSpec, plain: &Reading) {
        let different: BTreeSet<&String> = plain.natural_keys.iter().collect();
        let shared = plain.natural_keys.len() - different.len();
        if !plain.natural_keys.is_empty() {
            let seen = format!("{}: {} natural keys, {shared} shared", stream.name, plain.natural_keys.len());
            self.ledger.note(37, shared == 0, &seen);
        }
    }

    /// Line 36, of a record that is there.
    async fn read_one(&self, stream: &Arc<StreamSpec>, sample: &Record) {
        let Some(key) = key_of(stream, sample) else { return };
        let watcher = self.watcher(None);
        let found = self.one(&watcher, stream, &key).await;
        // Reading a stream does not read one record: most recordings hold no such request.
        if watcher.unrecorded().is_some() {
            return;
        }
        let is_kept = found.as_ref().is_ok_and(|found| found.as_ref() == Some(sample));
        let what = match &found {
            Ok(Some(_)) => "it is there".to_owned(),
            Ok(None) => "it is not there".to_owned(),
            Err(error) => told(error),
        };
        self.ledger.note(36, is_kept, &format!("{} {}, read by itself: {what}", stream.name, key.join(" ")));
    }

    /// Line 36, of a record that is not there.
    async fn read_none(&self, stream: &Arc<StreamSpec>, sample: &Record) {
        let Some(key) = key_of(stream, sample) else { return };
        let absent = |part: &String| if part.starts_with('"') { json!("no-such-record") } else { json!(999_999_999) };
        let key: Vec<String> = key.iter().map(|part| absent(part).to_string()).collect();
        let watcher = self.watcher(None);
        let found = self.one(&watcher, stream, &key).await;
        if watcher.unrecorded().is_some() {
            return;
        }
        let what =
            found.as_ref().map_or_else(told, |found| if found.is_some() { "a record" } else { "none" }.to_owned());
        let is_kept = matches!(found, Ok(None));
        self.ledger.note(36, is_kept, &format!("{}: a record that is not there, read by itself: {what}", stream.name));
    }

    async fn one(&self, watcher: &Arc<Injector>, stream: &StreamSpec, key: &[String]) -> Result<Option<Record>> {
        let connector = self.connect(watcher)?;
        let writer = connector.writer().ok_or_else(|| Error::new(ErrorKind::Bug, "it has no writer"))?;
        let Some(body) = writer.read_one(stream, key).await? else { return Ok(None) };
        let wrong = |_| Error::new(ErrorKind::BadAnswer, "the record read by itself is no JSON object");
        serde_json::from_slice(&body).map(Some).map_err(wrong)
    }

    /// Lines 33, 34 and 38: makes records that are copies of one, and changes one of them.
    async fn write_records(&self, stream: &Arc<StreamSpec>, write: &WriteSpec, sample: &Record) {
        let name = &stream.name;
        let before = self.count(stream).await;
        let body = self.fresh_body(stream, write, sample);
        let request = create(&body);
        let first = self.write(&self.watcher(None), stream, &request).await;
        let written = match first {
            Ok(written) => written,
            Err(error) => return self.ledger.broken(38, &format!("{name}: no record can be made: {}", told(&error))),
        };
        let watcher = self.watcher(None);
        let second = self.write(&watcher, stream, &request).await;
        let is_same = second.as_ref().is_ok_and(|second| *second == written);
        self.ledger.note(33, is_same, &format!("{name}: the same write twice: {}", told_written(&second)));
        self.kept_fields(stream, write, &body, &written).await;
        if write.can_update {
            self.change(stream, write, &body, &written).await;
        }
        let Some(place) = watcher.seen().last().map(|seen| seen.place.clone()) else { return };
        let made = 1 + self.broken_off(stream, write, sample, &place).await;
        self.refused_write(stream, write, sample, &place).await;
        if let (Some(before), Some(after)) = (before, self.count(stream).await) {
            let is_kept = after == before + made;
            self.ledger.note(
                33,
                is_kept,
                &format!("{name}: {made} records made by several tries, {} more", after - before),
            );
        }
    }

    /// Line 33: the connection breaks after the record was made, and the same write is sent again. How many were made.
    async fn broken_off(&self, stream: &Arc<StreamSpec>, write: &WriteSpec, sample: &Record, place: &str) -> usize {
        let request = create(&self.fresh_body(stream, write, sample));
        let watcher = self.watcher(Some((place.to_owned(), Fault::Cut)));
        let first = self.write(&watcher, stream, &request).await;
        let passes = first.as_ref().err().is_none_or(|error| is_passing(error.kind()));
        self.ledger.note(38, passes, &format!("{}, half an answer: {}", stream.name, told_written(&first)));
        let second = self.write(&self.watcher(None), stream, &request).await;
        self.ledger.note(33, second.is_ok(), &format!("{}: once more: {}", stream.name, told_written(&second)));
        usize::from(second.is_ok() || first.is_ok())
    }

    /// Line 38: what passes is told as such, and what was refused with the product's reason. Nothing is made.
    async fn refused_write(&self, stream: &Arc<StreamSpec>, write: &WriteSpec, sample: &Record, place: &str) {
        let request = create(&self.fresh_body(stream, write, sample));
        let fault = Fault::Status { status: 422, retry_after_s: None };
        let refused = self.write(&self.watcher(Some((place.to_owned(), fault))), stream, &request).await;
        let is_kept =
            refused.as_ref().is_err_and(|error| !is_passing(error.kind()) && error.message().contains(REASON));
        self.ledger.note(38, is_kept, &format!("{}, a 422: {}", stream.name, told_written(&refused)));
    }

    /// Line 34: what was sent stands in the product, and nothing else that is not called read-only.
    async fn kept_fields(&self, stream: &Arc<StreamSpec>, write: &WriteSpec, body: &Record, written: &WrittenRecord) {
        let Ok(Some(found)) = self.one(&self.watcher(None), stream, &written.key).await else {
            return self.ledger.broken(33, &format!("{}: the record that was made is not there", stream.name));
        };
        let different = differing(&self.writable(stream, write, &found), body);
        let seen = format!("{}: fields that the product set otherwise: [{}]", stream.name, different.join(", "));
        self.ledger.note(34, different.is_empty(), &seen);
    }

    /// Line 34 after a change of one field.
    async fn change(&self, stream: &Arc<StreamSpec>, write: &WriteSpec, body: &Record, written: &WrittenRecord) {
        let is_bound =
            |name: &str| write.references.iter().any(|reference| reference.field.first().is_some_and(|f| f == name));
        let is_text = |(name, value): &(&String, &Value)| value.is_string() && !is_bound(name);
        let Some((name, value)) = body.iter().find(is_text) else { return };
        let changed = json!(format!("{} changed", value.as_str().unwrap_or_default()));
        let part = Record::from_iter([(name.clone(), changed)]);
        let action = WriteAction::Update { key: written.key.clone() };
        let request = WriteRequest { action, ..create(&part) };
        let done = self.write(&self.watcher(None), stream, &request).await;
        // A product may refuse the very value: then nothing is seen.
        if done.is_err() {
            return;
        }
        let Ok(Some(found)) = self.one(&self.watcher(None), stream, &written.key).await else { return };
        let mut wanted = body.clone();
        wanted.extend(part);
        let different = differing(&self.writable(stream, write, &found), &wanted);
        let seen = format!("{}: after a change of {name}, otherwise: [{}]", stream.name, different.join(", "));
        self.ledger.note(34, different.is_empty(), &seen);
    }

    async fn write(
        &self,
        watcher: &Arc<Injector>,
        stream: &StreamSpec,
        request: &WriteRequest,
    ) -> Result<WrittenRecord> {
        let connector = self.connect(watcher)?;
        let writer = connector.writer().ok_or_else(|| Error::new(ErrorKind::Bug, "it has no writer"))?;
        writer.write(stream, request).await
    }

    async fn count(&self, stream: &Arc<StreamSpec>) -> Option<usize> {
        let reading = self.read(&self.watcher(None), stream, None, None).await;
        matches!(reading.outcome, Outcome::Ended(_)).then_some(reading.records.len())
    }

    /// What may be written of a record.
    fn writable(&self, stream: &StreamSpec, write: &WriteSpec, record: &Record) -> Record {
        let mut body = record.clone();
        stream.primary_key.iter().chain(&write.read_only).for_each(|path| take_out(&mut body, path));
        body
    }

    /// A record like `sample`, whose natural key nobody has.
    fn fresh_body(&self, stream: &StreamSpec, write: &WriteSpec, sample: &Record) -> Record {
        let mut body = self.writable(stream, write, sample);
        let mark = format!("trial-{}-", unique());
        for field in &write.natural_key {
            let text = field.iter().skip(1).try_fold(body.get_mut(&field[0]), |value, step| Some(value?.get_mut(step)));
            if let Some(Some(Value::String(text))) = text {
                text.insert_str(0, &mark);
            }
        }
        body
    }
}

fn create(body: &Record) -> WriteRequest {
    let body = Bytes::from(Value::Object(body.clone()).to_string());
    WriteRequest { action: WriteAction::Create, body, idempotency_key: format!("trial-{}", unique()) }
}

/// Unlike every other one, also in another process.
fn unique() -> String {
    format!("{}-{}", clock::now().as_microsecond(), WRITES.fetch_add(1, Ordering::Relaxed))
}

fn key_of(stream: &StreamSpec, record: &Record) -> Option<Vec<String>> {
    let record = Value::Object(record.clone());
    let at = |path: &Vec<String>| path.iter().try_fold(&record, |value, step| value.get(step)).map(Value::to_string);
    stream.primary_key.iter().map(at).collect()
}

/// Takes the member at `path` out.
fn take_out(record: &mut Record, path: &[String]) {
    match path {
        [] => {}
        [name] => drop(record.remove(name)),
        [name, rest @ ..] => {
            if let Some(Value::Object(inner)) = record.get_mut(name) {
                take_out(inner, rest);
            }
        }
    }
}

/// The names of the members that differ; one that is null is one that is not there.
fn differing(found: &Record, wanted: &Record) -> Vec<String> {
    let names: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let value = |record: &Record, name: &str| record.get(name).filter(|value| !value.is_null()).cloned();
    names.into_iter().filter(|name| value(found, name) != value(wanted, name)).cloned().collect()
}

fn is_passing(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Retry | ErrorKind::RateLimited | ErrorKind::BadAnswer)
}

fn told(error: &Error) -> String {
    format!("{}: {}", error.kind().code(), error.message())
}

fn told_written(written: &Result<WrittenRecord>) -> String {
    written.as_ref().map_or_else(told, |written| format!("record {}", written.key.join(" ")))
}
