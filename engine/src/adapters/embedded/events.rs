//! Live events within the process. What must last is in the activity table; this only wakes those who look.

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::{
    error::Result,
    latest::{Follower, Latest},
    model::{ActivityEvent, scope::AccountScope},
    ports::Events,
};

/// How many events a follower may be behind before it loses the oldest.
const BACKLOG: usize = 4096;

/// The event bus of one process.
pub(super) struct EmbeddedEvents {
    bus: broadcast::Sender<ActivityEvent>,
    nudges: Latest<()>,
}

impl EmbeddedEvents {
    pub(super) fn new() -> Self {
        Self { bus: broadcast::Sender::new(BACKLOG), nudges: Latest::new(()) }
    }
}

#[async_trait]
impl Events for EmbeddedEvents {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        for event in events {
            // An error only means that nobody follows at the moment.
            let _ = self.bus.send(event.clone());
        }
        Ok(())
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        let account_id = scope.account_id();
        stream::unfold(self.bus.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        })
        .filter(move |event| std::future::ready(event.account_id == account_id))
        .boxed()
    }

    fn nudge(&self) {
        self.nudges.set_if(Some);
    }

    fn nudges(&self) -> Follower<()> {
        self.nudges.follow()
    }
}
