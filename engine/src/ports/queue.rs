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

/// How much is in a queue. In SQS the numbers are approximate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Messages that wait for a receiver.
    pub visible: u64,
    /// Messages that somebody works on, or that wait for their time.
    pub hidden: u64,
    /// Dead letters.
    pub dead: u64,
    /// How long ago the oldest message was sent that is no dead letter; `None` where there is none, and in SQS, which tells it to
    /// CloudWatch only (`ApproximateAgeOfOldestMessage`).
    pub oldest: Option<Duration>,
}

/// Durable at-least-once delivery with visibility time-outs, as in SQS.
///
/// Messages whose bodies name one `accountId` are a group. Groups take turns, as in fair queues of SQS: who sends many messages
/// keeps nobody else waiting behind all of them. SQS itself sees to that on the whole, and not message by message.
///
/// Messages are calls to look: they may come twice, early or late, and in another order. What must hold, conditional writes hold.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Adds messages, each visible after its delay, in SQS after 15 minutes at most; durable on return. Returns their ids.
    ///
    /// # Errors
    /// `Invalid`, and none is sent, when one is too large. `Retry` when not all could be sent; some may be.
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>>;

    /// Up to `max` visible messages, hidden from others for `visibility`; waits up to `wait` for the first.
    /// A message delivered more than the queue's limit (5) goes to its dead letters instead.
    async fn receive(&self, queue: QueueName, max: usize, visibility: Duration, wait: Duration)
    -> Result<Vec<Message>>;

    /// Hides a message for `visibility` from now; zero makes it visible at once.
    ///
    /// # Errors
    /// `Fenced` when the receipt is stale, in SQS also once its visibility is over. SQS may take a receipt that a later delivery made
    /// stale, until that one is acknowledged.
    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()>;

    /// The work is done: removes the message. A stale receipt removes nothing, except where SQS takes it, and is no error.
    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()>;

    /// Dead letters, oldest first, after the one with id `after`; with `max` zero none, but it shows whether the queue answers.
    ///
    /// SQS can only receive them. So there it takes a second or more, looks at a thousand at most, does not show those that another
    /// caller looks at just then, and gives nothing after a letter that is gone.
    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>>;

    /// Moves a dead letter back, with its count at zero; false when it is not there. In SQS it is sent anew, under another id, and then
    /// removed: cut in between, it is delivered twice.
    ///
    /// # Errors
    /// `Retry` when another caller may have it in hand.
    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool>;

    /// How much is in a queue.
    async fn depth(&self, queue: QueueName) -> Result<QueueDepth>;
}
