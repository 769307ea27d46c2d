//! The outside of a worker that dies at its n-th effect: just before it, or just after, when the effect is there and the
//! worker never learns of it. From then on nothing that it does has an effect, and nothing comes back to it.

use std::{
    future::{Future, pending},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    model::{
        ActivityEvent,
        scope::{AccountScope, Scope},
    },
    ports::{
        BlobEntry, Blobs, DeadLetter, Events, Item, ItemPage, Key, Message, Ports, PutOutcome, Query, Queue, QueueName,
        Tables, Write,
    },
    tables::TableSchema,
};
use serde_json::Value;
use tokio::sync::watch;

/// On which side of an effect a worker dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It is not there.
    Before,
    /// It is there, and nobody was told.
    After,
}

/// One life of a worker; clones share it.
#[derive(Clone)]
pub struct Life(Arc<Inner>);

struct Inner {
    effects: AtomicU64,
    ends_at: Option<(u64, Side)>,
    /// The effect at which it ended.
    ended: watch::Sender<Option<String>>,
    /// Effects in the order in which they began.
    seen: Mutex<Vec<String>>,
}

impl Life {
    /// Ends at that effect, counted from 1; without one it goes on for ever.
    pub fn new(ends_at: Option<(u64, Side)>) -> Self {
        Self(Arc::new(Inner {
            effects: AtomicU64::new(0),
            ends_at,
            ended: watch::channel(None).0,
            seen: Mutex::default(),
        }))
    }

    /// The world as this worker meets it.
    pub fn ports(&self, outside: &Ports) -> Ports {
        let (life, to) = (self.clone(), outside.clone());
        let mortal = Arc::new(Mortal { life, to });
        Ports {
            tables: mortal.clone(),
            queue: mortal.clone(),
            blobs: mortal.clone(),
            events: mortal,
            ..outside.clone()
        }
    }

    /// Waits for the end, and says at which effect it came.
    pub async fn end(&self) -> String {
        let mut ended = self.0.ended.subscribe();
        let end = ended.wait_for(Option::is_some).await.expect("a life outlives who waits for its end");
        end.clone().unwrap_or_default()
    }

    /// What it did so far.
    pub fn effects(&self) -> Vec<String> {
        self.0.seen.lock().expect("no test panics in here").clone()
    }

    fn has_ended(&self) -> bool {
        self.0.ended.borrow().is_some()
    }

    async fn alive<T>(&self, act: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let answer = act.await;
        if self.has_ended() { pending().await } else { answer }
    }

    async fn effect<T>(&self, what: String, act: impl Future<Output = T>) -> T {
        if self.has_ended() {
            return pending().await;
        }
        let number = self.0.effects.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.seen.lock().expect("no test panics in here").push(what.clone());
        let is_last = |side| self.0.ends_at == Some((number, side));
        if is_last(Side::Before) {
            self.0.ended.send_replace(Some(what));
            return pending().await;
        }
        let answer = act.await;
        if is_last(Side::After) {
            self.0.ended.send_replace(Some(what));
        }
        if self.has_ended() { pending().await } else { answer }
    }
}

struct Mortal {
    life: Life,
    to: Ports,
}

fn told(writes: &[Write]) -> String {
    let one = |write: &Write| match write {
        Write::Put { table, .. } => format!("put {}", table.name),
        Write::Delete { table, .. } => format!("delete {}", table.name),
        Write::Check { table, .. } => format!("check {}", table.name),
    };
    writes.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[async_trait]
impl Tables for Mortal {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        self.life.alive(self.to.tables.get(scope, table, key)).await
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        self.life.effect(told(&writes), self.to.tables.transact(scope, writes)).await
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        self.life.alive(self.to.tables.query(scope, query)).await
    }
}

#[async_trait]
impl Queue for Mortal {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        self.life.effect(format!("send to {}", queue.as_str()), self.to.queue.send(queue, bodies, delay)).await
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let received = self.life.alive(self.to.queue.receive(queue, max, visibility, wait)).await?;
        if received.is_empty() {
            return Ok(received);
        }
        // An empty answer changes nothing. The side makes no difference either: what was received is hidden.
        self.life.effect(format!("receive from {}", queue.as_str()), async { Ok(received) }).await
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        let what = format!("extend in {}", queue.as_str());
        self.life.effect(what, self.to.queue.extend(queue, receipt, visibility)).await
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        let what = format!("acknowledge in {}", queue.as_str());
        self.life.effect(what, self.to.queue.acknowledge(queue, receipt)).await
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        self.life.alive(self.to.queue.dead_letters(queue, after, max)).await
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        self.life.effect(format!("redrive in {}", queue.as_str()), self.to.queue.redrive(queue, id)).await
    }
}

/// The kind of an object: what comes after its last point, or its folder.
fn kind(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or_else(|| path.to_owned(), |(_, ending)| format!(".{ending}"))
}

#[async_trait]
impl Blobs for Mortal {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.life.effect(format!("put {}", kind(path)), self.to.blobs.put_if_absent(scope, path, bytes)).await
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.life.alive(self.to.blobs.get(scope, path)).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.life.alive(self.to.blobs.get_range(scope, path, range)).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.life.alive(self.to.blobs.size(scope, path)).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        self.life.alive(self.to.blobs.list(scope, prefix, after, max)).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.life.effect(format!("lock {}", kind(path)), self.to.blobs.retain_until(scope, path, until)).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.life.alive(self.to.blobs.retained_until(scope, path)).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.life.effect(format!("delete {}", kind(path)), self.to.blobs.delete(scope, path)).await
    }
}

#[async_trait]
impl Events for Mortal {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        self.life.effect("publish".to_owned(), self.to.events.publish(events)).await
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        self.to.events.follow(scope)
    }
}
