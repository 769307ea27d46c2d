//! Changes by a caller: written in one transaction with the activity event that tells them, then published.

use listbackup_engine::{
    Result,
    model::{ActivityEvent, ActivityKind, scope::AccountScope},
    ports::Write,
    run::event::{self, Subject},
};
use serde_json::{Map, Value};

use crate::{caller::Caller, state::AppState};

/// The event of a change by the caller in their account.
pub fn told<const N: usize>(
    state: &AppState,
    caller: &Caller,
    kind: ActivityKind,
    subject: Subject,
    details: [(&str, Value); N],
) -> ActivityEvent {
    let details: Map<_, _> = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    event::event(&state.ports, caller.account_id(), kind, &caller.actor(), subject, details)
}

/// Writes a change with its event, all or nothing, and publishes the event.
///
/// # Errors
/// Those of the store.
pub async fn commit(state: &AppState, scope: &AccountScope, writes: Vec<Write>, told: ActivityEvent) -> Result<()> {
    commit_gated(state, scope, writes, Vec::new(), told).await
}

/// As [`commit`], with the gate of who pays, which may be a row of another account.
///
/// # Errors
/// Those of the store; `Conflict` also when the gate was changed meanwhile.
pub async fn commit_gated(
    state: &AppState,
    scope: &AccountScope,
    mut writes: Vec<Write>,
    gate: Vec<Write>,
    told: ActivityEvent,
) -> Result<()> {
    writes.push(event::keep(&told)?);
    if gate.is_empty() {
        state.store.transact(scope, writes).await?;
    } else {
        writes.extend(gate);
        state.store.transact(&state.system, writes).await?;
    }
    publish(state, scope, &[told]);
    Ok(())
}

/// Hands events on that were kept in the transaction of their change.
pub fn publish(state: &AppState, scope: &AccountScope, events: &[ActivityEvent]) {
    event::publish(&state.ports, scope, events);
}
