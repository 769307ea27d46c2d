//! One reading of a stream, and all that it sent.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{sync::mpsc, time::timeout};

use crate::{
    Attachment, Connector, Error, ErrorKind, Page, ReadEnd, ReadRequest, Result, StreamSpec, http::injector::DRIFTED,
};

/// A reading must end within this time, trying again included.
const DEADLINE: Duration = Duration::from_secs(150);
/// Pages that may wait.
const PAGE_SLOTS: usize = 4;
/// Texts of records that are kept.
const SAMPLES_MAX: usize = 3;

/// How a reading ended.
pub(super) enum Outcome {
    /// As it should.
    Ended(ReadEnd),
    /// With an error.
    Failed(Error),
    /// It panicked.
    Panicked,
    /// It did not end; why it was ended.
    Endless(String),
}

impl Outcome {
    fn of(joined: std::result::Result<Result<ReadEnd>, tokio::task::JoinError>) -> Self {
        match joined {
            Ok(Ok(end)) => Self::Ended(end),
            Ok(Err(error)) => Self::Failed(error),
            Err(_) => Self::Panicked,
        }
    }

    /// In a few words.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Ended(end) if end.failed_items.is_empty() => "it ended".to_owned(),
            Self::Ended(end) => format!("it ended with {} parts unread", end.failed_items.len()),
            Self::Failed(error) => format!("{}: {}", error.kind().code(), error.message()),
            Self::Panicked => "it panicked".to_owned(),
            Self::Endless(why) => why.clone(),
        }
    }

    /// The kind of its error.
    pub(super) fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed(error) => Some(error.kind()),
            _ => None,
        }
    }
}

/// A record: a hash of its value, and the texts of its key.
pub(super) type Record = (u64, Vec<String>);

/// An attachment that a page named.
pub(super) struct Named {
    /// How many records had come before its record.
    pub(super) record: usize,
    /// Its record, by what it is, and its id.
    pub(super) identity: (String, String),
    /// As it was named.
    pub(super) attachment: Attachment,
}

/// What one reading sent.
pub(super) struct Reading {
    /// Every record, in order.
    pub(super) records: Vec<Record>,
    /// The texts of the first records that are no deletions.
    pub(super) samples: Vec<Vec<u8>>,
    /// The natural keys of the records that have one.
    pub(super) natural_keys: Vec<String>,
    /// The attachments.
    pub(super) attachments: Vec<Named>,
    /// True when a record has the field that no schema knows.
    pub(super) has_drifted: bool,
    /// After how many records each position stood.
    pub(super) positions: Vec<(usize, Value)>,
    /// What of the pages is no page: slices outside, records that are no objects, marks that are none.
    pub(super) faults: Vec<(u8, String)>,
    /// Records that were marked as deleted.
    pub(super) deletions: usize,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Pages that came.
    pub(super) pages: usize,
}

impl Reading {
    fn new() -> Self {
        let outcome = Outcome::Endless("it was not begun".to_owned());
        Self {
            records: Vec::new(),
            samples: Vec::new(),
            natural_keys: Vec::new(),
            attachments: Vec::new(),
            has_drifted: false,
            positions: Vec::new(),
            faults: Vec::new(),
            deletions: 0,
            outcome,
            pages: 0,
        }
    }

    /// One that could not begin.
    pub(super) fn failed(error: Error) -> Self {
        Self { outcome: Outcome::Failed(error), ..Self::new() }
    }

    /// How often each record came.
    pub(super) fn counted(&self) -> BTreeMap<u64, usize> {
        counted(&self.records)
    }

    /// How it ended, if it did.
    pub(super) fn end(&self) -> Option<&ReadEnd> {
        match &self.outcome {
            Outcome::Ended(end) => Some(end),
            _ => None,
        }
    }

    fn take(&mut self, page: &Page, stream: &StreamSpec) {
        self.pages += 1;
        self.attachments_of(page);
        for record in &page.records {
            let length = page.body.len();
            let is_inside = |range: &std::ops::Range<u32>| range.start <= range.end && range.end as usize <= length;
            if !is_inside(&record.body) || !record.key.as_slice().iter().all(is_inside) {
                self.faults.push((13, "a slice lies outside of its page".to_owned()));
                continue;
            }
            let body = page.record_body(record);
            let value: Option<Value> = serde_json::from_slice(body).ok().filter(Value::is_object);
            let Some(value) = value else {
                self.faults.push((13, "a record is no JSON object".to_owned()));
                continue;
            };
            self.deletion(record.is_deletion, &value, stream);
            let key = record.key.as_slice().iter().map(|range| String::from_utf8_lossy(page.slice(range)).into_owned());
            if self.samples.len() < SAMPLES_MAX && !record.is_deletion {
                self.samples.push(body.to_vec());
            }
            self.natural_keys.extend(natural_key(&value, stream).filter(|_| !record.is_deletion));
            self.has_drifted |= memchr::memmem::find(body, DRIFTED.as_bytes()).is_some();
            self.records.push((hash(&value), key.collect()));
        }
        if let Some(position) = &page.position {
            self.positions.push((self.records.len(), position.clone()));
        }
    }

    fn attachments_of(&mut self, page: &Page) {
        for attachment in &page.attachments {
            let Some(record) = page.records.get(attachment.record as usize) else {
                self.faults.push((27, "an attachment hangs on a record that its page does not have".to_owned()));
                continue;
            };
            let keys: Vec<_> = record.key.as_slice().iter().map(|range| page.slice(range)).collect();
            let text = if keys.is_empty() { page.record_body(record).to_vec() } else { keys.join(&b' ') };
            self.attachments.push(Named {
                record: self.records.len() + attachment.record as usize,
                identity: (String::from_utf8_lossy(&text).into_owned(), attachment.id.clone()),
                attachment: attachment.clone(),
            });
        }
    }

    /// Line 11: what is marked in the record is a deletion, and nothing else.
    fn deletion(&mut self, is_deletion: bool, record: &Value, stream: &StreamSpec) {
        self.deletions += usize::from(is_deletion);
        let mark = match &stream.deletions {
            crate::Deletions::Marked { field } => field.iter().try_fold(record, |value, step| value.get(step)),
            _ => None,
        };
        let is_marked = mark.is_some_and(|mark| !matches!(mark, Value::Null | Value::Bool(false)));
        if is_marked != is_deletion {
            self.faults.push((11, "a record's mark and its deletion differ".to_owned()));
        }
    }
}

/// The natural key of a record, as one text.
fn natural_key(record: &Value, stream: &StreamSpec) -> Option<String> {
    let fields = &stream.write.as_ref()?.natural_key;
    let at = |path: &Vec<String>| path.iter().try_fold(record, |value, step| value.get(step));
    let values: Option<Vec<&Value>> = fields.iter().map(at).collect();
    let values = values.filter(|values| !values.is_empty() && values.iter().all(|value| !value.is_null()))?;
    serde_json::to_string(&values).ok()
}

/// Of its value: a spoilt answer was written anew.
fn hash(record: &Value) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(record.to_string())
}

/// How often each record stands in a list.
pub(super) fn counted(records: &[Record]) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for (body, _) in records {
        *counts.entry(*body).or_default() += 1;
    }
    counts
}

/// Reads to the end, to the deadline, or until more than `pages_max` pages came.
pub(super) async fn read(
    connector: Arc<dyn Connector>,
    stream: Arc<StreamSpec>,
    state: Option<Value>,
    position: Option<Value>,
    pages_max: usize,
) -> Reading {
    let mut reading = Reading::new();
    let (sender, mut pages) = mpsc::channel(PAGE_SLOTS);
    let request = ReadRequest { stream: Arc::clone(&stream), state, position };
    let mut task = tokio::spawn(async move { connector.read(request, sender).await });
    let whole = async {
        while let Some(page) = pages.recv().await {
            reading.take(&page, &stream);
            if reading.pages > pages_max {
                return Outcome::Endless(format!("it went on after {pages_max} pages"));
            }
        }
        Outcome::of((&mut task).await)
    };
    let outcome = timeout(DEADLINE, whole).await;
    task.abort();
    reading.outcome =
        outcome.unwrap_or_else(|_| Outcome::Endless(format!("it did not end within {} s", DEADLINE.as_secs())));
    reading
}

/// Reads one page and goes away; how the read ended.
pub(super) async fn leave(connector: Arc<dyn Connector>, stream: Arc<StreamSpec>) -> Outcome {
    let (sender, mut pages) = mpsc::channel(1);
    let request = ReadRequest { stream, state: None, position: None };
    let mut task = tokio::spawn(async move { connector.read(request, sender).await });
    pages.recv().await;
    drop(pages);
    let outcome = timeout(DEADLINE, &mut task).await;
    task.abort();
    outcome.map_or_else(|_| Outcome::Endless("it reads on although nobody listens".to_owned()), Outcome::of)
}
