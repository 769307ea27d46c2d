//! The port for work to do.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::error::Result;

/// The queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// Runs to execute.
    Jobs,
    /// Objects to index.
    Data,
}

impl QueueName {
    /// The name without the stage: `jobs`, `data`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Data => "data",
        }
    }
}

/// A message as received.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Stays the same over deliveries.
    pub id: String,
    /// What was sent: at most 256 KiB of JSON.
    pub body: Value,
    /// Stands for this delivery; a later delivery makes it stale.
    pub receipt: String,
    /// How often it was delivered, this one included.
    pub receive_count: u32,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: String,
    /// What was sent.
    pub body: Value,
    /// How often it was delivered before it was given up.
    pub receive_count: u32,
    /// When it was first sent.
    pub sent_at: Timestamp,
}

/// Durable at-least-once delivery with visibility time-outs, as in SQS.
///
/// Messages whose bodies name one `accountId` are a group. Groups take turns, as in fair queues of SQS: who sends many messages
/// keeps nobody else waiting behind all of them.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds messages, each visible after its delay; durable on return. Returns their ids.
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>>;

    /// Up to `max` visible messages, hidden from others for `visibility`; waits up to `wait` for the first.
    /// A message delivered more than the queue's limit (5) goes to its dead letters instead.
    async fn receive(&self, queue: QueueName, max: usize, visibility: Duration, wait: Duration)
    -> Result<Vec<Message>>;

    /// Hides a message for `visibility` from now; zero makes it visible at once.
    ///
    /// # Errors
    /// `Fenced` when the receipt is stale.
    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()>;

    /// The work is done: removes the message. A stale receipt removes nothing and is no error.
    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()>;

    /// Dead letters, oldest first, after the one with id `after`.
    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>>;

    /// Moves a dead letter back, with its count at zero; false when it is not there.
    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool>;
}
