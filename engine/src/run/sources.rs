//! Finding sources.

use crate::{
    error::Result,
    model::{Source, scope::AccountScope},
    ports::{Query, SortRange},
    store::{Store, Versioned},
    tables::SOURCES,
};

/// Rows of one read.
const PAGE: usize = 200;

/// The source of that name in an account, where names are unique.
///
/// # Errors
/// Those of [`Store::query`].
pub async fn named(store: &Store, scope: &AccountScope, name: &str) -> Result<Option<Versioned<Source>>> {
    let mut query = of_account(scope);
    loop {
        let page = store.query::<Source>(scope, query.clone()).await?;
        let found = page.rows.into_iter().find(|source| source.row.name == name);
        query.after = page.next;
        if found.is_some() || query.after.is_none() {
            return Ok(found);
        }
    }
}

/// All sources of an account.
///
/// # Errors
/// Those of [`Store::query`].
pub async fn all(store: &Store, scope: &AccountScope) -> Result<Vec<Source>> {
    let (mut query, mut sources) = (of_account(scope), Vec::new());
    loop {
        let page = store.query::<Source>(scope, query.clone()).await?;
        sources.extend(page.rows.into_iter().map(|source| source.row));
        query.after = page.next;
        if query.after.is_none() {
            return Ok(sources);
        }
    }
}

fn of_account(scope: &AccountScope) -> Query {
    Query {
        table: &SOURCES,
        index: None,
        partition: scope.account_id().to_string(),
        sort: SortRange::All,
        descending: false,
        limit: PAGE,
        after: None,
    }
}
