//! The records that a restore looks at: those of the snapshot that the product does not hold so.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{Interrupted, order::Selection, work::States};
use crate::{
    error::Result,
    snapshot::{Bodies, Change, Record, RecordKey},
};

/// Records of one look at a range.
const PAGE: usize = 1000;

/// A record of the snapshot that is gone from the product, or differs there.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Its key in the snapshot.
    pub(super) key: RecordKey,
    /// The record in the snapshot.
    pub(super) wanted: Bytes,
    /// The record in the product.
    pub(super) current: Option<Bytes>,
}

/// All candidates of a selection, in key order and constant memory. At the end `equal` holds how many records of the
/// selection are equal in both.
pub(super) fn of<'a>(
    states: &'a States,
    selection: &'a Selection,
    equal: &'a Mutex<u64>,
) -> BoxStream<'a, Result<Candidate, Interrupted>> {
    let add = move |count: i64| {
        let mut equal = equal.lock().unwrap_or_else(PoisonError::into_inner);
        *equal = equal.saturating_add_signed(count);
    };
    if states.is_elsewhere {
        return of_all(states, selection);
    }
    if !selection.keys.is_empty() {
        let found = stream::iter(&selection.keys)
            .then(move |key| named(states, &selection.stream, key))
            .inspect_ok(move |found| add(i64::from(matches!(found, Named::Equal))));
        return found
            .try_filter_map(|found| async move {
                Ok(match found {
                    Named::Differs(candidate) => Some(candidate),
                    Named::Equal | Named::Unknown => None,
                })
            })
            .map_err(Interrupted::from)
            .boxed();
    }
    let differences = async move {
        add(i64::try_from(total(states, selection).await?).unwrap_or(i64::MAX));
        states.wanted.diff(&states.current, &selection.stream, &selection.range(), Bodies::Wanted)
    };
    stream::once(differences)
        .try_flatten()
        .try_filter_map(move |difference| async move {
            // What came after the snapshot stays: a restore deletes nothing.
            let Some(wanted) = difference.before.filter(|_| difference.change != Change::Added) else {
                return Ok(None);
            };
            add(-1);
            Ok(Some(Candidate { key: difference.key, wanted, current: difference.after }))
        })
        .map_err(Interrupted::from)
        .boxed()
}

/// Every record of a selection, for a product in which its key means nothing.
fn of_all<'a>(states: &'a States, selection: &'a Selection) -> BoxStream<'a, Result<Candidate, Interrupted>> {
    let candidate = |record: Record| Candidate { key: record.key, wanted: record.body, current: None };
    if !selection.keys.is_empty() {
        let found = stream::iter(&selection.keys).then(|key| states.wanted.get(&selection.stream, key));
        return found
            .try_filter_map(move |found| async move { Ok(found.map(candidate)) })
            .map_err(Interrupted::from)
            .boxed();
    }
    let records = async { states.wanted.scan(&selection.stream) };
    stream::once(records)
        .try_flatten()
        .try_filter_map(move |record| async move { Ok(selection.contains(&record.key).then(|| candidate(record))) })
        .map_err(Interrupted::from)
        .boxed()
}

enum Named {
    Differs(Candidate),
    Equal,
    /// The snapshot has no such record.
    Unknown,
}

async fn named(states: &States, stream: &str, key: &RecordKey) -> Result<Named> {
    let Some(wanted) = states.wanted.get(stream, key).await? else { return Ok(Named::Unknown) };
    let current = states.current.get(stream, key).await?.map(|record| record.body);
    if current.as_ref() == Some(&wanted.body) {
        return Ok(Named::Equal);
    }
    Ok(Named::Differs(Candidate { key: key.clone(), wanted: wanted.body, current }))
}

/// How many records of the snapshot are in the selection.
async fn total(states: &States, selection: &Selection) -> Result<u64> {
    if selection.is_all() {
        return Ok(states.wanted.manifest().streams.get(&selection.stream).map_or(0, |state| state.records));
    }
    let (mut range, mut count) = (selection.range(), 0);
    loop {
        let page = states.wanted.browse(&selection.stream, &range, &[], PAGE).await?;
        count += page.records.len() as u64;
        match page.next {
            Some(next) => range.after = Some(next),
            None => return Ok(count),
        }
    }
}
