//! The ports of one process, each of which counts what it would ask of AWS, and lets as much time pass as AWS about takes.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    latest::{Follower, Latest},
    model::{
        ActivityEvent,
        scope::{AccountScope, Scope},
    },
    ports::{
        BlobEntry, Blobs, DataKey, DeadLetter, Events, Item, ItemPage, Key, Keys, Message, Ports, PutOutcome, Query,
        Queue, QueueDepth, QueueName, Tables, Write,
    },
    tables::TableSchema,
};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::{
    map::{self, Asked, Service},
    meter::Meter,
};

/// All ports of a process.
struct Counted {
    to: Ports,
    role: &'static str,
    meter: Meter,
    /// A nudge reaches the relays of its own process only.
    nudges: Latest<()>,
}

/// The stores as a process of that role meets them. Identity and mail stay as they are: runs do not ask them.
pub fn ports(to: &Ports, role: &'static str, meter: &Meter) -> Ports {
    let counted = Arc::new(Counted { to: to.clone(), role, meter: meter.clone(), nudges: Latest::new(()) });
    Ports {
        tables: counted.clone(),
        queue: counted.clone(),
        blobs: counted.clone(),
        events: counted.clone(),
        keys: counted,
        ..to.clone()
    }
}

/// About how long an answer takes within a region; only what happens at the same time depends on it.
fn latency(service: Service) -> Duration {
    Duration::from_millis(match service {
        Service::DynamoDb => 5,
        Service::Sqs | Service::Kms | Service::EventBridge => 10,
        Service::S3 => 25,
    })
}

impl Counted {
    fn count(&self, asked: Asked) {
        self.meter.add(self.role, asked);
    }

    /// Counts, and waits for the answers, one after the other.
    async fn ask(&self, asked: impl IntoIterator<Item = Asked>) {
        let mut wait = Duration::ZERO;
        for asked in asked {
            wait += latency(asked.service) * u32::try_from(asked.requests).expect("few requests");
            self.count(asked);
        }
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    async fn old_row(&self, scope: Scope<'_>, write: &Write) -> Result<Option<Item>> {
        let table = map::table_of(write);
        let key = match write {
            Write::Put { body, .. } => Key {
                partition: text(body, table.partition.name),
                sort: table.sort.map_or_else(String::new, |sort| text(body, sort.name)),
            },
            Write::Delete { key, .. } | Write::Check { key, .. } => key.clone(),
        };
        self.to.tables.get(scope, table, &key).await
    }
}

/// A part of a key.
fn text(body: &Map<String, Value>, name: &str) -> String {
    match body.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[async_trait]
impl Tables for Counted {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        let found = self.to.tables.get(scope, table, key).await;
        self.ask([map::get(table, found.as_ref().ok().and_then(Option::as_ref))]).await;
        found
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let mut met = Vec::with_capacity(writes.len());
        for write in &writes {
            met.push((write.clone(), self.old_row(scope, write).await.unwrap_or_default()));
        }
        let done = self.to.tables.transact(scope, writes).await;
        self.ask(map::transact(scope, &met)).await;
        done
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let page = self.to.tables.query(scope, query.clone()).await?;
        self.ask(map::page(&query, &page.items)).await;
        Ok(page)
    }

    fn index_delay(&self) -> Duration {
        map::INDEX_DELAY
    }
}

#[async_trait]
impl Queue for Counted {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        self.ask([map::send(queue, &bodies)]).await;
        self.to.queue.send(queue, bodies, delay).await
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let began = Instant::now();
        self.count(map::receive(queue, max));
        let received = self.to.queue.receive(queue, max, visibility, wait).await?;
        self.count(map::receive_more(queue, max, began.elapsed().as_secs(), received.len()));
        Ok(received)
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        self.ask([map::extend(queue)]).await;
        self.to.queue.extend(queue, receipt, visibility).await
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        self.ask([map::acknowledge(queue)]).await;
        self.to.queue.acknowledge(queue, receipt).await
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        let listed = self.to.queue.dead_letters(queue, after, max).await?;
        self.ask([map::dead_letters(queue, listed.len())]).await;
        Ok(listed)
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        let dead = usize::try_from(self.to.queue.depth(queue).await?.dead).expect("few letters");
        self.ask([map::redrive(queue, dead)]).await;
        self.to.queue.redrive(queue, id).await
    }

    async fn depth(&self, queue: QueueName) -> Result<QueueDepth> {
        self.ask([map::depth(queue)]).await;
        self.to.queue.depth(queue).await
    }
}

#[async_trait]
impl Blobs for Counted {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        let size_bytes = bytes.len();
        let outcome = self.to.blobs.put_if_absent(scope, path, bytes).await;
        self.ask(map::put(path, size_bytes, matches!(outcome, Ok(PutOutcome::Exists)))).await;
        outcome
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.ask([map::get_object(path)]).await;
        self.to.blobs.get(scope, path).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.ask([if range.is_empty() { map::head(path) } else { map::get_object(path) }]).await;
        self.to.blobs.get_range(scope, path, range).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.ask([map::head(path)]).await;
        self.to.blobs.size(scope, path).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        let listed = self.to.blobs.list(scope, prefix, after, max).await?;
        self.ask([map::list(prefix, max, listed.len())]).await;
        Ok(listed)
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        let locked = self.to.blobs.retained_until(scope, path).await?;
        self.ask(map::retain(path, locked.is_none_or(|locked| locked < until))).await;
        self.to.blobs.retain_until(scope, path, until).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.ask([map::head(path)]).await;
        self.to.blobs.retained_until(scope, path).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        let is_there = self.to.blobs.size(scope, path).await?.is_some();
        self.ask(map::delete(path, is_there)).await;
        self.to.blobs.delete(scope, path).await
    }
}

#[async_trait]
impl Events for Counted {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        let kept = events.iter().filter(|event| event.sequence.is_some());
        let sizes: Vec<usize> = kept.map(|event| serde_json::to_string(event).expect("JSON").len()).collect();
        self.ask([map::publish(&sizes)]).await;
        self.to.events.publish(events).await
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        self.to.events.follow(scope)
    }

    fn nudge(&self) {
        self.nudges.set_if(Some);
    }

    fn nudges(&self) -> Follower<()> {
        self.nudges.follow()
    }
}

#[async_trait]
impl Keys for Counted {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        self.ask([map::key("GenerateDataKey")]).await;
        self.to.keys.generate(context).await
    }

    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>> {
        self.ask([map::key("Encrypt")]).await;
        self.to.keys.wrap(context, plain).await
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        self.ask([map::key("Decrypt")]).await;
        self.to.keys.unwrap(context, wrapped).await
    }
}
