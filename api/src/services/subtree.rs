//! An account with all below it, as far as somebody may read there.

use futures::TryStreamExt;
use listbackup_engine::{
    accounts::roles::Roles,
    model::{Account, role::Action, scope::AccountScope},
    ports::{Query, SortRange},
    store::key1,
    tables::{ACCOUNTS, Row},
};

use crate::{caller::Caller, paging::PageParams, problem::Problem, state::AppState};

/// Accounts of one read.
const PAGE: usize = 500;
/// Most accounts of one sum.
const ACCOUNTS_MAX: usize = 2_000;
/// Accounts that are looked into to fill one page; then the page goes out as it is, with a cursor to go on.
const LOOKED_INTO: usize = 200;

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

/// Rows with the accounts that they are of, and the cursor that goes on after them.
pub type PageOfMany<R> = (Vec<(AccountScope, R)>, Option<String>);

impl Readable {
    /// A page of the rows that `query` finds in each of the accounts, one account after another.
    ///
    /// # Errors
    /// 422 for a cursor that is not of this list, or of an account that is not among these any more.
    pub async fn page<R: Row>(
        &self,
        state: &AppState,
        asked: &PageParams,
        query: impl Fn(&AccountScope, &PageParams) -> Query,
    ) -> Result<PageOfMany<R>, Problem> {
        let (first, mut after) = self.begin(asked.cursor.as_deref())?;
        let mut rows = Vec::new();
        for (looked_into, scope) in self.scopes.iter().skip(first).enumerate() {
            let room = asked.limit() - rows.len();
            if room == 0 || looked_into == LOOKED_INTO {
                return Ok((rows, Some(cursor(scope, ""))));
            }
            let page = PageParams::of(Some(room), after.take());
            let found = state.store.query::<R>(scope, query(scope, &page)).await?;
            rows.extend(found.rows.into_iter().take(room).map(|found| (*scope, found.row)));
            if let Some(next) = found.next {
                return Ok((rows, Some(cursor(scope, &next))));
            }
        }
        Ok((rows, None))
    }

    /// The account that a page begins in, and after which of its rows.
    fn begin(&self, cursor: Option<&str>) -> Result<(usize, Option<String>), Problem> {
        let Some(cursor) = cursor else { return Ok((0, None)) };
        let begin = cursor.split_once('.').and_then(|(account_id, after)| {
            let account_id = account_id.parse().ok()?;
            let number = self.scopes.iter().position(|scope| scope.account_id() == account_id)?;
            Some((number, Some(after.to_owned()).filter(|after| !after.is_empty())))
        });
        begin.ok_or_else(|| Problem::invalid_field("?cursor", "is not a cursor of this list"))
    }
}

fn cursor(scope: &AccountScope, after: &str) -> String {
    format!("{}.{after}", scope.account_id())
}
