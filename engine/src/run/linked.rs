//! Reading an account's chain of events by their places, also where indexes are behind.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::relay;
use crate::{
    error::Result,
    model::{ActivityEvent, chain, scope::AccountScope},
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

/// Events that follow each other.
pub(super) struct Stretch {
    /// Without those of a later version that this one does not know.
    pub events: Vec<ActivityEvent>,
    /// The place of the last one, those that are left out included.
    pub end: u64,
}

/// Events from `first` on, up to `last` at most, which is known to be linked. Where those at `first` are gone, it is an empty stretch up to
/// the next one that is there: whoever checks the chain is told. It goes further than `first` at least.
///
/// # Errors
/// As [`page`].
pub(super) async fn stretch(store: &Store, scope: &AccountScope, first: u64, last: u64) -> Result<Stretch> {
    let limit = usize::try_from(last - first + 1).unwrap_or(relay::PAGE).min(relay::PAGE);
    let query = Query { limit, ..linked(scope, first, Some(last + 1)) };
    let page = page(store, scope, query, first, last).await?;
    let count = in_a_row(&page, first);
    if count == 0 {
        let next = page.items.first().and_then(|item| chain::place_of(&item.body));
        let end = next.map_or(last, |next| next - 1);
        tracing::error!(account = %scope.account_id(), first, end, "linked events are missing");
        return Ok(Stretch { events: Vec::new(), end });
    }
    let events = page.items.iter().take(count).filter_map(|item| decode(&item.body)).collect();
    Ok(Stretch { events, end: first + count as u64 - 1 })
}

/// `None`, and a line in the log, for an event of a later version that this one does not know.
pub(super) fn decode(body: &Map<String, Value>) -> Option<ActivityEvent> {
    ActivityEvent::deserialize(body)
        .inspect_err(|error| tracing::warn!(%error, event = ?body.get("eventId"), "an event was not handed on"))
        .ok()
}

/// How many of a page's rows follow each other without a gap, from the place `first` on.
fn in_a_row(page: &ItemPage, first: u64) -> usize {
    let places = page.items.iter().map(|item| chain::place_of(&item.body));
    (first..).zip(places).take_while(|(wanted, place)| *place == Some(*wanted)).count()
}

fn is_whole(page: &ItemPage, first: u64, known_to: u64) -> bool {
    let count = in_a_row(page, first);
    let last = first + count as u64 - 1;
    count == page.items.len() && (page.next.is_some() || last >= known_to)
}
