//! The guard of one message in flight: keeps it invisible to others while its work lives.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};

use crate::{
    error::ErrorKind,
    ports::{Queue, QueueName},
};

/// A message in hand. Dropping it stops the guard; the message becomes visible again when its time is over.
pub struct Delivery {
    queue: Arc<dyn Queue>,
    name: QueueName,
    receipt: String,
    guard: JoinHandle<()>,
}

impl Delivery {
    /// Guards a message that was received with this visibility.
    pub fn guard(queue: Arc<dyn Queue>, name: QueueName, receipt: String, visibility: Duration) -> Self {
        let guard = tokio::spawn(extend(queue.clone(), name, receipt.clone(), visibility));
        Self { queue, name, receipt, guard }
    }

    /// The work is done: the message goes. If that fails it comes once more and finds its run ended.
    pub async fn acknowledge(self) {
        self.guard.abort();
        if let Err(error) = self.queue.acknowledge(self.name, &self.receipt).await {
            tracing::warn!(%error, "a message was not acknowledged; it will come again");
        }
    }

    /// Somebody else should have it, now.
    pub async fn give_back(self) {
        self.guard.abort();
        if let Err(error) = self.queue.extend(self.name, &self.receipt, Duration::ZERO).await {
            tracing::debug!(%error, "a message was not given back; it becomes visible by itself");
        }
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
