//! An account's data keys: a new one, and the end of all of them, each with the event that tells it.

use serde_json::{Map, Value, json};

use super::{
    RunContext,
    event::{self, Subject, event},
};
use crate::{
    error::Result,
    model::{ActivityKind, scope::AccountScope},
    snapshot::{KeyDestruction, KeyRotation, retain::Act},
};

/// What destroying came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destroyed {
    /// Who decided it, why and when; an earlier decision stays.
    pub destruction: KeyDestruction,
    /// Data keys that were deleted now; 0 when all were gone already.
    pub keys: usize,
}

/// Gives the account a new data key for everything that is stored from now on. Nothing that is stored changes.
///
/// # Errors
/// `Denied` when the account's keys were destroyed; those of the stores.
pub async fn rotate(ctx: &RunContext, scope: &AccountScope, by: &str) -> Result<KeyRotation> {
    let rotation = ctx.snapshots.rotate_key(scope).await?;
    if !rotation.by_another {
        let details = [("from", json!(rotation.from)), ("to", json!(rotation.to))];
        tell(ctx, scope, ActivityKind::AccountKeyRotated, by, details).await?;
    }
    Ok(rotation)
}

/// Destroys the account's data keys, for ever: nothing stored of the account can be read any more, nor anything be stored.
/// Repeated, it finishes what was cut off. The event is kept before the first key goes.
///
/// # Errors
/// `Denied`, with all of them, while snapshots are held or locked; those of the stores.
pub async fn destroy(ctx: &RunContext, scope: &AccountScope, by: &str, reason: &str) -> Result<Destroyed> {
    let act = Act { by: by.to_owned(), reason: reason.to_owned(), at: ctx.ports.clock.now() };
    let doom = ctx.snapshots.decide_to_destroy_keys(scope, act).await?;
    if doom.keys > 0 {
        let decided = &doom.destruction.act;
        let details = [("reason", json!(decided.reason)), ("decidedBy", json!(decided.by)), ("keys", json!(doom.keys))];
        tell(ctx, scope, ActivityKind::AccountKeyDestroyed, by, details).await?;
    }
    let keys = ctx.snapshots.destroy_keys(scope).await?;
    Ok(Destroyed { destruction: doom.destruction, keys })
}

async fn tell<const N: usize>(
    ctx: &RunContext,
    scope: &AccountScope,
    kind: ActivityKind,
    by: &str,
    details: [(&str, Value); N],
) -> Result<()> {
    let details: Map<_, _> = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let told = event(&ctx.ports, scope.account_id(), kind, by, Subject::default(), details);
    ctx.store.transact(scope, vec![event::keep(&told)?]).await?;
    event::publish(&ctx.ports, scope, &[told]).await;
    Ok(())
}
