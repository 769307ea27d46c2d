//! Messages in SQLite: the queue port. Rows of the tables and messages can share a transaction, for both are functions
//! over the same connection.

mod messages;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

use super::database::Database;
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{Clock, DeadLetter, Message, Queue, QueueDepth, QueueName, Random},
};

pub(super) use self::messages::{send as send_in, set_up};

/// The most that a message may be, in bytes of JSON.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The queues of one data directory; clones share them.
#[derive(Clone)]
pub(super) struct EmbeddedQueue {
    database: Database,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// Wakes those who wait in `receive`; what becomes visible by time alone they foresee themselves.
    arrivals: Arc<[Notify; 2]>,
    /// The group that had the last turn, of each queue.
    last_turns: Arc<[Mutex<String>; 2]>,
}

impl EmbeddedQueue {
    pub(super) fn new(database: Database, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { database, clock, random, arrivals: Arc::default(), last_turns: Arc::default() }
    }

    /// Wakes as many receivers as there are new messages; to be called once they are committed.
    pub(super) fn announce(&self, queue: QueueName, messages: usize) {
        for _ in 0..messages {
            self.arrival(queue).notify_one();
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    fn arrival(&self, queue: QueueName) -> &Notify {
        &self.arrivals[place(queue)]
    }

    async fn receive_now(&self, queue: QueueName, max: usize, visibility: Duration) -> Result<messages::Delivery> {
        let now_ms = self.now_ms();
        let random = self.random.clone();
        let times = messages::Times { now_ms, hidden_until_ms: after(now_ms, visibility) };
        let last_turns = self.last_turns.clone();
        self.database
            .write(move |connection| {
                let mut last_turn = last_turns[place(queue)].lock().unwrap_or_else(PoisonError::into_inner);
                messages::receive(connection, queue, max, times, &mut last_turn, &*random)
            })
            .await
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        let bodies = bodies.iter().map(encode).collect::<Result<Vec<_>>>()?;
        let now_ms = self.now_ms();
        let visible_at_ms = after(now_ms, delay);
        let ids = self
            .database
            .write_checked(move |connection| {
                let send = |body: &String| messages::send(connection, queue, body, now_ms, visible_at_ms);
                bodies.iter().map(send).collect::<Result<Vec<_>>>().map(Ok)
            })
            .await?;
        self.announce(queue, ids.len());
        Ok(ids)
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let deadline = Instant::now() + wait;
        loop {
            let delivery = self.receive_now(queue, max, visibility).await?;
            let now = Instant::now();
            if !delivery.messages.is_empty() || max == 0 || now >= deadline {
                return Ok(delivery.messages);
            }
            let next = delivery.next_visible_ms.map(|next_ms| now + between(self.now_ms(), next_ms));
            let until = next.map_or(deadline, |next| next.min(deadline));
            tokio::select! {
                () = self.arrival(queue).notified() => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        let (receipt, visible_at_ms) = (receipt.to_owned(), after(self.now_ms(), visibility));
        let extended = self
            .database
            .write_checked(move |connection| messages::extend(connection, queue, &receipt, visible_at_ms).map(Ok))
            .await?;
        if !extended {
            return Err(Error::new(
                ErrorKind::Fenced,
                "the message was delivered to somebody else meanwhile, or is done; stop working on it",
            )
            .with("queue", queue.as_str()));
        }
        // The sooner it is visible, the earlier those who wait must look.
        self.announce(queue, 1);
        Ok(())
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        let receipt = receipt.to_owned();
        self.database.write_checked(move |connection| messages::acknowledge(connection, queue, &receipt).map(Ok)).await
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        let after = after.map(messages::sequence_of).transpose()?;
        self.database.read(move |connection| messages::dead_letters(connection, queue, after, max)).await
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        let Ok(sequence) = messages::sequence_of(id) else { return Ok(false) };
        let now_ms = self.now_ms();
        let moved =
            self.database.write(move |connection| messages::redrive(connection, queue, sequence, now_ms)).await?;
        self.announce(queue, usize::from(moved));
        Ok(moved)
    }

    async fn depth(&self, queue: QueueName) -> Result<QueueDepth> {
        let now_ms = self.now_ms();
        self.database.read(move |connection| messages::depth(connection, queue, now_ms)).await
    }
}

fn place(queue: QueueName) -> usize {
    match queue {
        QueueName::Jobs => 0,
        QueueName::Data => 1,
    }
}

fn encode(body: &Value) -> Result<String> {
    let text = body.to_string();
    if text.len() > MAX_BODY_BYTES {
        return Err(Error::new(ErrorKind::Invalid, format!("a message is at most {MAX_BODY_BYTES} bytes of JSON"))
            .with("size in bytes", text.len()));
    }
    Ok(text)
}

fn after(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

/// At least a millisecond, so that a clock that stands still costs no busy loop.
fn between(now_ms: i64, then_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(then_ms.saturating_sub(now_ms)).unwrap_or(0).max(1))
}
