//! The event bus in memory.

use async_trait::async_trait;
use futures::{StreamExt, stream, stream::BoxStream};
use listbackup_engine::{
    Result,
    latest::{Follower, Latest},
    model::{ActivityEvent, scope::AccountScope},
    ports::Events,
};
use tokio::sync::broadcast::{self, error::RecvError};

/// Hands events to whoever follows now.
pub struct MemoryEvents {
    bus: broadcast::Sender<ActivityEvent>,
    nudges: Latest<()>,
}

impl MemoryEvents {
    pub fn new() -> Self {
        Self { bus: broadcast::Sender::new(4096), nudges: Latest::new(()) }
    }
}

#[async_trait]
impl Events for MemoryEvents {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        // An error only says that nobody follows.
        events.iter().for_each(|event| drop(self.bus.send(event.clone())));
        Ok(())
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        let account_id = scope.account_id();
        let all = stream::unfold(self.bus.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        all.filter(move |event| std::future::ready(event.account_id == account_id)).boxed()
    }

    fn nudge(&self) {
        self.nudges.set_if(Some);
    }

    fn nudges(&self) -> Follower<()> {
        self.nudges.follow()
    }
}
