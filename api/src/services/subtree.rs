//! An account with all below it, as far as somebody may read there.

use futures::TryStreamExt;
use listbackup_engine::{
    accounts::roles::Roles,
    model::{Account, role::Action, scope::AccountScope},
    ports::{Query, SortRange},
    store::key1,
    tables::ACCOUNTS,
};

use crate::{caller::Caller, problem::Problem, state::AppState};

/// Accounts of one read.
const PAGE: usize = 500;
/// Most accounts of one sum.
const ACCOUNTS_MAX: usize = 2_000;

/// Accounts whose figures somebody may see.
pub struct Readable {
    /// Each with the right to read it.
    pub scopes: Vec<AccountScope>,
}

/// The account that a caller works in and those below it in which their role lets them read: one that was lowered there may not.
///
/// # Errors
/// 422 when there are too many.
pub async fn readable(state: &AppState, there: &Caller) -> Result<Readable, Problem> {
    let roles = Roles::of(&state.store, &state.system, there.user_id).await?;
    let top = state.store.get::<Account>(there.scope(), key1(there.account_id())).await?.row;
    let query = Query {
        table: &ACCOUNTS,
        index: Some("by-root"),
        partition: top.root_id.to_string(),
        sort: SortRange::Prefix(top.path),
        descending: false,
        limit: PAGE,
        after: None,
    };
    // The subtree belongs to other accounts; the prefix of this one's path is what keeps it inside.
    let found = state.store.rows::<Account>(&state.system, query);
    let mut found = std::pin::pin!(found);
    let mut scopes = vec![*there.scope()];
    while let Some(account) = found.try_next().await? {
        let may_read = roles.within(&account).is_some_and(|role| role.allows(Action::Read));
        if account.account_id == there.account_id() || !may_read {
            continue;
        }
        if scopes.len() == ACCOUNTS_MAX {
            let message = format!("there are more than {ACCOUNTS_MAX} accounts below: ask for parts of them");
            return Err(Problem::invalid_field("?subtree", message));
        }
        scopes.push(state.system.account(account.account_id));
    }
    Ok(Readable { scopes })
}
