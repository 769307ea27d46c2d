//! The port for the event bus.

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{
    error::Result,
    latest::Follower,
    model::{ActivityEvent, scope::AccountScope},
};

/// Hands events on to whoever listens. The durable copy is the row in the activity table, written before.
///
/// Where many processes share a bus, those of another process come to followers within about a second, and events without a place
/// (progress) only to followers in the process that publishes them.
#[async_trait]
pub trait Events: Send + Sync {
    /// Publishes, in order. A kept event may come twice, from this process or another, and is known by its sequence.
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()>;

    /// Events of an account from now on. A follower that falls behind loses the oldest and catches up from the table.
    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent>;

    /// Tells the relays of this process that events were kept. Never waits; many nudges may count as one.
    fn nudge(&self);

    /// Changes with each nudge.
    fn nudges(&self) -> Follower<()>;
}
