//! Reading an account's chain of events by their places, also where indexes are behind.

use super::relay;
use crate::{
    error::Result,
    model::{chain, scope::AccountScope},
    ports::{ItemPage, Query, SortRange},
    store::Store,
    tables::ACTIVITY,
};

/// Linked events as they are stored, by their places: from `first` on, and before `end` where that is given.
pub fn linked(scope: &AccountScope, first: u64, end: Option<u64>) -> Query {
    let place = |place: u64| i64::try_from(place).unwrap_or(i64::MAX);
    Query {
        table: &ACTIVITY,
        index: Some("chain"),
        partition: scope.account_id().to_string(),
        sort: SortRange::Numbers(Some(place(first)), end.map(place)),
        descending: false,
        limit: relay::PAGE,
        after: None,
    }
}

/// A page of such a query. The first place on it should be `first`, and all up to `known_to` are known to be linked: where one of them is
/// not found and indexes are behind, the page is read once more, a delay later. What is missing then is gone.
///
/// # Errors
/// `Retry` when the store cannot be reached; `Invalid` for a cursor that is not from this query.
pub async fn page(store: &Store, scope: &AccountScope, query: Query, first: u64, known_to: u64) -> Result<ItemPage> {
    let page = store.page(scope, query.clone()).await?;
    let delay = store.index_delay();
    if delay.is_zero() || is_whole(&page, first, known_to) {
        return Ok(page);
    }
    tokio::time::sleep(delay).await;
    store.page(scope, query).await
}

/// How many of a page's rows follow each other without a gap, from the place `first` on.
pub(super) fn in_a_row(page: &ItemPage, first: u64) -> usize {
    let places = page.items.iter().map(|item| chain::place_of(&item.body));
    (first..).zip(places).take_while(|(wanted, place)| *place == Some(*wanted)).count()
}

fn is_whole(page: &ItemPage, first: u64, known_to: u64) -> bool {
    let count = in_a_row(page, first);
    let last = first + count as u64 - 1;
    count == page.items.len() && (page.next.is_some() || last >= known_to)
}
