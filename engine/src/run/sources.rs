//! Finding sources.

use std::pin::pin;

use futures::TryStreamExt;

use crate::{
    error::Result,
    model::{Source, scope::AccountScope},
    ports::{Query, SortRange},
    store::{Store, Versioned, key},
    tables::SOURCES,
};

/// Rows of one read.
const PAGE: usize = 200;

/// The source of that name in an account, where names are unique.
///
/// # Errors
/// Those of [`Store::query`].
pub async fn named(store: &Store, scope: &AccountScope, name: &str) -> Result<Option<Versioned<Source>>> {
    let mut sources = pin!(store.rows::<Source>(scope, of_account(scope)));
    while let Some(source) = sources.try_next().await? {
        if source.name == name {
            return store.find(scope, key(source.account_id, source.source_id)).await;
        }
    }
    Ok(None)
}

/// All sources of an account.
///
/// # Errors
/// Those of [`Store::query`].
pub async fn all(store: &Store, scope: &AccountScope) -> Result<Vec<Source>> {
    store.all(scope, of_account(scope)).await
}

pub(super) fn of_account(scope: &AccountScope) -> Query {
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
