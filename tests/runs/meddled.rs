//! The outside as one worker meets it, when something meddles with each of its effects and reads.

use std::{
    future::{Future, ready},
    ops::Range,
    sync::Arc,
    time::Duration,
};

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
        BlobEntry, Blobs, DeadLetter, Events, Item, ItemPage, Key, Message, Ports, PutOutcome, Query, Queue,
        QueueDepth, QueueName, Tables, Write,
    },
    tables::TableSchema,
};
use serde_json::Value;

use crate::{faults::Faults, mortal::Life};

/// What meddles.
#[derive(Clone)]
pub enum Fate {
    /// It dies at one effect.
    Mortal(Life),
    /// Faults strike by chance.
    Faulty(Faults),
}

impl Fate {
    /// The world as this worker meets it.
    pub fn ports(self, outside: &Ports) -> Ports {
        let meddled = Arc::new(Meddled { fate: self, to: outside.clone() });
        Ports {
            tables: meddled.clone(),
            queue: meddled.clone(),
            blobs: meddled.clone(),
            events: meddled,
            ..outside.clone()
        }
    }

    /// Comes back when the worker can do something again; never, when it is dead.
    pub async fn alive(&self) {
        match self {
            Self::Mortal(life) => life.read(ready(())).await,
            Self::Faulty(faults) => faults.alive().await,
        }
    }

    /// Comes back unless the worker is dead.
    pub async fn unless_dead(&self) {
        match self {
            Self::Mortal(life) => life.read(ready(())).await,
            Self::Faulty(faults) => faults.unless_dead().await,
        }
    }

    /// How often the worker was stopped so far, for a while or for ever.
    pub fn disturbances(&self) -> u64 {
        match self {
            Self::Mortal(life) => life.has_ended().into(),
            Self::Faulty(faults) => faults.disturbances(),
        }
    }

    async fn read<T>(&self, act: impl Future<Output = Result<T>>) -> Result<T> {
        match self {
            Self::Mortal(life) => life.read(act).await,
            Self::Faulty(faults) => faults.read(act).await,
        }
    }

    async fn effect<T>(&self, what: String, act: impl Future<Output = Result<T>>) -> Result<T> {
        match self {
            Self::Mortal(life) => life.effect(what, act).await,
            Self::Faulty(faults) => faults.effect(act).await,
        }
    }
}

struct Meddled {
    fate: Fate,
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
impl Tables for Meddled {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        self.fate.read(self.to.tables.get(scope, table, key)).await
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let writes = match &self.fate {
            Fate::Faulty(faults) => faults.conditions(writes),
            Fate::Mortal(_) => writes,
        };
        self.fate.effect(told(&writes), self.to.tables.transact(scope, writes)).await
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        self.fate.read(self.to.tables.query(scope, query)).await
    }

    fn index_delay(&self) -> Duration {
        self.to.tables.index_delay()
    }
}

#[async_trait]
impl Queue for Meddled {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        let what = format!("send to {}", queue.as_str());
        let Fate::Faulty(faults) = &self.fate else {
            return self.fate.effect(what, self.to.queue.send(queue, bodies, delay)).await;
        };
        // A message may come late, and it may come twice.
        let (again, late) = (faults.strikes(), faults.delay());
        let sent = self.fate.effect(what, self.to.queue.send(queue, bodies.clone(), delay + late)).await?;
        if again {
            self.to.queue.send(queue, bodies, delay + faults.delay()).await?;
        }
        Ok(sent)
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let received = self.fate.read(self.to.queue.receive(queue, max, visibility, wait)).await?;
        if received.is_empty() {
            return Ok(received);
        }
        // An empty answer changes nothing. The side makes no difference either: what was received is hidden.
        self.fate.effect(format!("receive from {}", queue.as_str()), async { Ok(received) }).await
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        let what = format!("extend in {}", queue.as_str());
        self.fate.effect(what, self.to.queue.extend(queue, receipt, visibility)).await
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        let what = format!("acknowledge in {}", queue.as_str());
        self.fate.effect(what, self.to.queue.acknowledge(queue, receipt)).await
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        self.fate.read(self.to.queue.dead_letters(queue, after, max)).await
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        self.fate.effect(format!("redrive in {}", queue.as_str()), self.to.queue.redrive(queue, id)).await
    }

    async fn depth(&self, queue: QueueName) -> Result<QueueDepth> {
        self.fate.read(self.to.queue.depth(queue)).await
    }
}

/// The kind of an object: what comes after its last point, or its folder.
fn kind(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or_else(|| path.to_owned(), |(_, ending)| format!(".{ending}"))
}

#[async_trait]
impl Blobs for Meddled {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.fate.effect(format!("put {}", kind(path)), self.to.blobs.put_if_absent(scope, path, bytes)).await
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.fate.read(self.to.blobs.get(scope, path)).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.fate.read(self.to.blobs.get_range(scope, path, range)).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.fate.read(self.to.blobs.size(scope, path)).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        self.fate.read(self.to.blobs.list(scope, prefix, after, max)).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.fate.effect(format!("lock {}", kind(path)), self.to.blobs.retain_until(scope, path, until)).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.fate.read(self.to.blobs.retained_until(scope, path)).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.fate.effect(format!("delete {}", kind(path)), self.to.blobs.delete(scope, path)).await
    }
}

#[async_trait]
impl Events for Meddled {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        self.fate.effect("publish".to_owned(), self.to.events.publish(events)).await
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        self.to.events.follow(scope)
    }

    fn nudge(&self) {
        self.to.events.nudge();
    }

    /// Of one that dies at an effect never: its relay looks every five seconds only, so that no effect depends on who is faster.
    fn nudges(&self) -> Follower<()> {
        match &self.fate {
            Fate::Mortal(_) => Latest::new(()).follow(),
            Fate::Faulty(_) => self.to.events.nudges(),
        }
    }
}
