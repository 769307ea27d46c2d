//! The guard of one message in flight: keeps it invisible to others while its work lives, and settles it afterwards.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{
    RunContext,
    claim::defer,
    order::{RunOrder, send_order},
};
use crate::{
    error::{ErrorKind, Result},
    ports::{Queue, QueueName},
};

/// A message in hand. Dropping it stops the guard; the message becomes visible again when its time is over.
pub struct Delivery {
    queue: Arc<dyn Queue>,
    name: QueueName,
    receipt: String,
    received_at: Instant,
    guard: JoinHandle<()>,
}

/// What becomes of the message of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// The work is done: it goes.
    Acknowledge,
    /// Somebody else should have it, now.
    GiveBack,
    /// The order goes on through a fresh message: a queue keeps one in flight for a limited time only.
    Renew,
    /// The order cannot be carried out yet: it comes again after this, and nothing waits for it.
    Defer(Duration),
}

impl Delivery {
    /// Guards a message that was received with this visibility.
    pub fn guard(queue: Arc<dyn Queue>, name: QueueName, receipt: String, visibility: Duration) -> Self {
        let guard = tokio::spawn(extend(queue.clone(), name, receipt.clone(), visibility));
        Self { queue, name, receipt, received_at: Instant::now(), guard }
    }

    /// Time since it was received.
    pub fn age(&self) -> Duration {
        self.received_at.elapsed()
    }

    /// Settles the message. Where that fails it becomes visible by itself, comes once more, and finds what the rows say.
    pub async fn settle(self, ctx: &RunContext, order: &RunOrder, settling: Settling) {
        self.guard.abort();
        if let Err(error) = self.try_to_settle(ctx, order, settling).await {
            tracing::warn!(%error, ?settling, "a message was not settled; it will come again");
        }
    }

    async fn try_to_settle(&self, ctx: &RunContext, order: &RunOrder, settling: Settling) -> Result<()> {
        match settling {
            Settling::Acknowledge => {}
            Settling::GiveBack => return self.queue.extend(self.name, &self.receipt, Duration::ZERO).await,
            Settling::Renew => send_order(&ctx.ports, order).await?,
            Settling::Defer(wait) => defer(ctx, order, wait).await?,
        }
        self.queue.acknowledge(self.name, &self.receipt).await
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.guard.abort();
    }
}

async fn extend(queue: Arc<dyn Queue>, name: QueueName, receipt: String, visibility: Duration) {
    loop {
        sleep(visibility / 3).await;
        match queue.extend(name, &receipt, visibility).await {
            Err(error) if error.kind() == ErrorKind::Fenced => return,
            Err(error) => tracing::warn!(%error, "a message's visibility was not extended; trying again"),
            Ok(()) => {}
        }
    }
}
