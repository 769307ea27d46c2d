//! The tree of accounts: who may do what where, members, invitations, accounts below accounts.
//!
//! A role in an account holds for all below it. Nearer ones count before farther ones, so that a role can be lowered, but whoever owns an
//! account owns all below it. So a tree has an owner everywhere as long as its root has one, and only there is it asked for.

pub mod ending;
pub mod invitations;
pub mod letters;
pub mod letters_sent;
pub mod members;
pub mod recipients;
pub mod roles;
pub mod roots;
pub mod tree;

use crate::{
    billing::{Allowance, Plans},
    error::{Error, ErrorKind, Result},
    model::{
        AccountId, ActivityEvent, ActivityKind,
        scope::{AccountScope, SystemScope},
    },
    ports::{Ports, Write},
    run::event::{self, Subject},
    store::Store,
};
use serde_json::Value;

/// Writers of the same rows that lose this often in a row are not racing, something is wrong.
const ATTEMPTS_MAX: u32 = 32;

/// Where changes to accounts are made.
#[derive(Clone, Copy)]
pub struct Office<'a> {
    /// The outside.
    pub ports: &'a Ports,
    /// Typed rows.
    pub store: &'a Store,
    /// Roles come from accounts above the one that is changed.
    pub system: &'a SystemScope,
    /// How many members accounts may have.
    pub plans: &'a Plans,
}

impl Office<'_> {
    /// Writes with the gate of who pays, which may be a row of another account.
    async fn transact(&self, acting: Acting<'_>, mut writes: Vec<Write>, gate: Vec<Write>) -> Result<()> {
        if gate.is_empty() {
            return self.store.transact(acting.scope, writes).await;
        }
        writes.extend(gate);
        self.store.transact(self.system, writes).await
    }

    fn allowance(&self) -> Allowance<'_> {
        Allowance { plans: self.plans, store: self.store, system: self.system, now: self.ports.clock.now() }
    }
}

/// Somebody who changes an account, after their role there was looked up.
#[derive(Clone, Copy)]
pub struct Acting<'a> {
    /// The account.
    pub scope: &'a AccountScope,
    /// A user's or key's id.
    pub actor: &'a str,
    /// Whether they may give and take ownership.
    pub may_own: bool,
}

/// A row as it is now, and the events that tell what was done; they are kept, and are to be published.
pub struct Changed<R> {
    /// The row.
    pub row: R,
    /// None when nothing had to be done.
    pub events: Vec<ActivityEvent>,
}

impl Acting<'_> {
    fn account_id(&self) -> AccountId {
        self.scope.account_id()
    }

    /// The event of a change to this account.
    fn told<const N: usize>(&self, ports: &Ports, kind: ActivityKind, details: [(&str, Value); N]) -> ActivityEvent {
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        event::event(ports, self.account_id(), kind, self.actor, Subject::default(), details)
    }
}

/// True for a write that lost against another one; other errors and successes are results.
fn lost<T>(done: &Result<T, Error>) -> bool {
    done.as_ref().err().is_some_and(|error| error.kind() == ErrorKind::Conflict)
}

fn never_still() -> Error {
    Error::new(ErrorKind::Conflict, "the account changed under every attempt to write it; try again")
}
