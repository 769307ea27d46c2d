//! Which requests the adapters for AWS make for a call of a port, and what AWS bills of each. The adapters say so themselves, in the first
//! lines of `engine/src/adapters/aws/{tables,queue,blobs,events,keys}.rs` and in `blobs/parts.rs`: whoever changes them changes this.
//! `tests/permissions/costs.rs` counts what really is sent; ARCHITECTURE.md has both, side by side.
//!
//! Left out: what a process asks once (addresses of queues, whether the tables are there), and what is sent again.

use listbackup_engine::{
    model::scope::Scope,
    ports::{Condition, Item, Query, QueueName, Write},
    tables::{Attribute, TableSchema},
};
use serde_json::{Map, Value};

/// How long whoever has to be sure waits for indexes of DynamoDB: `INDEX_DELAY` in `tables.rs` there.
pub const INDEX_DELAY: std::time::Duration = std::time::Duration::from_secs(2);
/// The longest that one ReceiveMessage waits: `MAX_WAIT` in `queue.rs` there.
const WAIT_MAX_S: u64 = 20;
/// Entries of a request to SQS or EventBridge, and messages of one that receives.
const BATCH: usize = 10;
/// Bytes of such a request.
const BATCH_BYTES: usize = 256 * 1024;
/// Keys of one BatchGetItem.
const BATCH_KEYS: usize = 100;
/// Bytes of one page of a Query.
const QUERY_BYTES: usize = 1024 * 1024;
/// Objects of one page of a listing.
const LISTED: usize = 1000;
/// Objects above this size go up in parts of half of it.
const LARGE_BYTES: usize = 32 * 1024 * 1024;
const PART_BYTES: usize = 16 * 1024 * 1024;
/// What an item has beside its row: `version` and `writeId`, and the name of `body`.
const BESIDE_BYTES: usize = 60;
/// What an entry of an index takes when it is read.
const ENTRY_BYTES: usize = 200;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    DynamoDb,
    S3,
    Sqs,
    Kms,
    EventBridge,
}

impl Service {
    pub const ALL: [Self; 5] = [Self::DynamoDb, Self::S3, Self::Sqs, Self::Kms, Self::EventBridge];
}

/// What a request is billed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Billed {
    /// Writes of 1 KB of DynamoDB; in a transaction each counts twice.
    Writes,
    /// Reads of 4 KB of DynamoDB; from an index half as many.
    Reads,
    /// Puts and listings of S3.
    Puts,
    /// Other reads of S3.
    Gets,
    /// By the request, or by the event.
    Each,
    /// Deletions of S3.
    Nothing,
}

/// Requests of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub service: Service,
    /// Such as `GetItem`.
    pub operation: &'static str,
    /// Of what: a table, perhaps with its index; a queue.
    pub of: String,
    pub requests: usize,
    pub billed: Billed,
    /// So much is billed.
    pub units: f64,
}

fn asked(service: Service, operation: &'static str, of: &str, requests: usize, billed: Billed, units: f64) -> Asked {
    Asked { service, operation, of: of.to_owned(), requests, billed, units }
}

fn of_dynamo_db(operation: &'static str, of: &str, requests: usize, billed: Billed, units: f64) -> Asked {
    asked(Service::DynamoDb, operation, of, requests, billed, units)
}

/// Where an index has a row, as text; `None` where it has not.
fn place(body: &Map<String, Value>, partition: Attribute, sort: Option<Attribute>) -> Option<String> {
    let partition = body.get(partition.name)?;
    let sort = sort.map_or(Some(String::new()), |sort| Some(body.get(sort.name)?.to_string()))?;
    Some(format!("{partition} {sort}"))
}

/// Of a row as an item of DynamoDB.
fn item_bytes(table: &TableSchema, body: &Map<String, Value>) -> usize {
    let sorts = table.indexes.iter().filter_map(|index| index.sort);
    let partitions = table.indexes.iter().map(|index| index.partition);
    let mut names: Vec<&str> =
        std::iter::once(table.partition).chain(table.sort).chain(partitions).chain(sorts).map(|of| of.name).collect();
    names.extend(["accountId"].into_iter().chain(table.expires));
    names.sort_unstable();
    names.dedup();
    let copied = names.iter().filter_map(|name| Some(name.len() + body.get(*name)?.to_string().len()));
    serde_json::to_string(body).expect("a row is JSON").len() + copied.sum::<usize>() + BESIDE_BYTES
}

fn reads(bytes: usize) -> f64 {
    bytes.div_ceil(4096).max(1) as f64
}

/// One row by its key.
pub fn get(table: &'static TableSchema, found: Option<&Item>) -> Asked {
    let bytes = found.map_or(0, |found| item_bytes(table, &found.body));
    of_dynamo_db("GetItem", table.name, 1, Billed::Reads, reads(bytes))
}

/// A page of rows.
pub fn page(query: &Query, items: &[Item]) -> Vec<Asked> {
    let sizes = items.iter().map(|item| item_bytes(query.table, &item.body));
    let Some(index) = query.index else {
        let bytes: usize = sizes.sum();
        let requests = bytes.div_ceil(QUERY_BYTES).max(1);
        return vec![of_dynamo_db("Query", query.table.name, requests, Billed::Reads, reads(bytes))];
    };
    let name = format!("{}.{index}", query.table.name);
    let mut all = vec![of_dynamo_db("Query", &name, 1, Billed::Reads, reads(items.len() * ENTRY_BYTES) / 2.0)];
    if !items.is_empty() {
        let requests = items.len().div_ceil(BATCH_KEYS);
        all.push(of_dynamo_db("BatchGetItem", &name, requests, Billed::Reads, sizes.map(reads).sum()));
    }
    all
}

/// Writes of one call, with the rows that they meet.
pub fn transact(scope: Scope<'_>, writes: &[(Write, Option<Item>)]) -> Option<Asked> {
    // Without an account, nothing is to be checked of a row that may be anything.
    let is_sent =
        |write: &Write| !matches!((write, scope), (Write::Check { condition: Condition::Any, .. }, Scope::System(_)));
    let writes: Vec<_> = writes.iter().filter(|(write, _)| is_sent(write)).collect();
    let (operation, times) = match writes.as_slice() {
        [] => return None,
        [(Write::Put { .. }, _)] => ("UpdateItem", 1.0),
        [(Write::Delete { condition: Condition::Any, .. }, _)] => ("DeleteItem", 1.0),
        _ => ("TransactWriteItems", 2.0),
    };
    let units: f64 = writes.iter().map(|(write, old)| of_write(write, old.as_ref(), times)).sum();
    let mut tables: Vec<_> = writes.iter().map(|(write, _)| table_of(write).name).collect();
    tables.dedup();
    Some(of_dynamo_db(operation, &tables.join("+"), 1, Billed::Writes, units))
}

/// The table of a write.
pub fn table_of(write: &Write) -> &'static TableSchema {
    match write {
        Write::Put { table, .. } | Write::Delete { table, .. } | Write::Check { table, .. } => table,
    }
}

/// The row as it was or as it will be, whichever is larger, and each entry of an index that comes, goes or moves.
fn of_write(write: &Write, old: Option<&Item>, times: f64) -> f64 {
    let table = table_of(write);
    let old = old.map(|old| &old.body);
    let (new, changes) = match write {
        Write::Put { body, .. } => (Some(body), true),
        Write::Delete { .. } => (None, true),
        Write::Check { .. } => (old, false),
    };
    let bytes = [old, new].into_iter().flatten().map(|body| item_bytes(table, body)).max().unwrap_or(0);
    let entries = table.indexes.iter().map(|index| {
        let at = |body: Option<&Map<String, Value>>| body.and_then(|body| place(body, index.partition, index.sort));
        let (before, after) = (at(old), at(new));
        if before == after { 0 } else { usize::from(before.is_some()) + usize::from(after.is_some()) }
    });
    let entries: usize = if changes { entries.sum() } else { 0 };
    bytes.div_ceil(1024).max(1) as f64 * times + entries as f64
}

/// How many requests take entries of these sizes.
fn batches(sizes_bytes: impl IntoIterator<Item = usize>) -> usize {
    let (mut requests, mut entries, mut room_bytes) = (0, 0, 0);
    for size_bytes in sizes_bytes {
        if requests == 0 || entries == BATCH || size_bytes > room_bytes {
            (requests, entries, room_bytes) = (requests + 1, 0, BATCH_BYTES);
        }
        (entries, room_bytes) = (entries + 1, room_bytes.saturating_sub(size_bytes));
    }
    requests
}

fn of_sqs(operation: &'static str, queue: QueueName, requests: usize) -> Asked {
    asked(Service::Sqs, operation, queue.as_str(), requests, Billed::Each, requests as f64)
}

/// Messages that are sent.
pub fn send(queue: QueueName, bodies: &[Value]) -> Asked {
    of_sqs("SendMessageBatch", queue, batches(bodies.iter().map(|body| body.to_string().len())))
}

/// The first request of those that receive; none for no messages.
pub fn receive(queue: QueueName, max: usize) -> Asked {
    of_sqs("ReceiveMessage", queue, usize::from(max > 0))
}

/// Those after the first one, when it took so long until so many came.
pub fn receive_more(queue: QueueName, max: usize, waited_s: u64, received: usize) -> Asked {
    let of_waiting = usize::try_from(waited_s.saturating_sub(1) / WAIT_MAX_S).expect("a short time");
    // A full one is followed by another, as long as more are wanted.
    let of_full = if received < max { received / BATCH } else { received.div_ceil(BATCH).saturating_sub(1) };
    of_sqs("ReceiveMessage", queue, of_waiting + of_full)
}

/// A message is hidden for longer.
pub fn extend(queue: QueueName) -> Asked {
    of_sqs("ChangeMessageVisibility", queue, 1)
}

/// A message is done.
pub fn acknowledge(queue: QueueName) -> Asked {
    of_sqs("DeleteMessage", queue, 1)
}

/// A queue and its dead letters are measured.
pub fn depth(queue: QueueName) -> Asked {
    of_sqs("GetQueueAttributes", queue, 2)
}

/// So many dead letters are listed.
pub fn dead_letters(queue: QueueName, listed: usize) -> Asked {
    of_sqs("ReceiveMessage and ChangeMessageVisibilityBatch", queue, 2 * listed.div_ceil(BATCH) + 1)
}

/// A dead letter is looked for among so many, and sent anew.
pub fn redrive(queue: QueueName, listed: usize) -> Asked {
    of_sqs("ReceiveMessage, SendMessageBatch and DeleteMessage", queue, 2 * listed.div_ceil(BATCH) + 3)
}

/// The kind of an object: what its name ends with, or the folder in which it is.
fn kind(path: &str) -> &str {
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    name.rsplit_once('.').map_or_else(|| folders.rsplit('/').next().unwrap_or_default(), |(_, ending)| ending)
}

fn of_s3(operation: &'static str, path: &str, requests: usize, billed: Billed) -> Asked {
    let units = if billed == Billed::Nothing { 0.0 } else { requests as f64 };
    asked(Service::S3, operation, kind(path), requests, billed, units)
}

/// An object is put; a large one goes up in parts, unless there is one.
pub fn put(path: &str, size_bytes: usize, is_there: bool) -> Vec<Asked> {
    if size_bytes <= LARGE_BYTES {
        return vec![of_s3("PutObject", path, 1, Billed::Puts)];
    }
    let mut all = vec![head(path)];
    if !is_there {
        all.push(of_s3("CreateMultipartUpload", path, 1, Billed::Puts));
        all.push(of_s3("UploadPart", path, size_bytes.div_ceil(PART_BYTES), Billed::Puts));
        all.push(of_s3("CompleteMultipartUpload", path, 1, Billed::Puts));
    }
    all
}

/// An object, or a range of it.
pub fn get_object(path: &str) -> Asked {
    of_s3("GetObject", path, 1, Billed::Gets)
}

/// Whether an object is there, how large it is, until when it is locked.
pub fn head(path: &str) -> Asked {
    of_s3("HeadObject", path, 1, Billed::Gets)
}

/// A listing of so many.
pub fn list(prefix: &str, max: usize, listed: usize) -> Asked {
    let full = listed / LISTED;
    let pages = if listed == max { listed.div_ceil(LISTED) } else { full + 1 };
    of_s3("ListObjectsV2", prefix, if max == 0 { 0 } else { pages.max(1) }, Billed::Puts)
}

/// A lock is looked at, and set where it is shorter.
pub fn retain(path: &str, is_set: bool) -> Vec<Asked> {
    let set = is_set.then(|| of_s3("PutObjectRetention", path, 1, Billed::Puts));
    [head(path)].into_iter().chain(set).collect()
}

/// An object is looked for, and removed where it is.
pub fn delete(path: &str, is_there: bool) -> Vec<Asked> {
    let removed = is_there.then(|| of_s3("DeleteObject", path, 1, Billed::Nothing));
    [head(path)].into_iter().chain(removed).collect()
}

/// Events with a place, of these sizes, go to the bus.
pub fn publish(sizes_bytes: &[usize]) -> Asked {
    let events = sizes_bytes.len() as f64;
    asked(Service::EventBridge, "PutEvents", "bus", batches(sizes_bytes.iter().copied()), Billed::Each, events)
}

/// A key is made, wrapped or opened.
pub fn key(operation: &'static str) -> Asked {
    asked(Service::Kms, operation, "key", 1, Billed::Each, 1.0)
}
