//! Rows that do not have their noun's shape, where others must have their turn all the same.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{Versioned, decode, key_of};
use crate::{
    ports::{Item, Key},
    tables::Row,
};

/// Rows that are remembered as told; when there are more, all are told once more.
const TOLD_MAX: usize = 1_000;
/// The version at which each row was told, by table and key: looks come every second, and a line for each of them would bury all others.
static TOLD: Mutex<BTreeMap<(&str, String, String), u64>> = Mutex::new(BTreeMap::new());

/// The row of an item. One of another shape is `None`, and an error line tells of it, once for each of its versions.
pub(super) fn left_out<R: Row>(item: Item) -> Option<Versioned<R>> {
    let (table, version) = (R::TABLE.name, item.version);
    let place = key_of(R::TABLE, &item.body).unwrap_or_else(|_| Key { partition: String::new(), sort: String::new() });
    let error = match decode(item) {
        Ok(row) => return Some(row),
        Err(error) => error,
    };
    let Key { partition, sort } = place;
    if is_news(table, &partition, &sort, version) {
        tracing::error!(
            %error, table, partition, sort, version,
            "a stored row cannot be read and is left out: nothing is done for it until it is put right, or a version of this \
             program that knows its shape looks after it"
        );
    }
    None
}

fn is_news(table: &'static str, partition: &str, sort: &str, version: u64) -> bool {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.len() >= TOLD_MAX {
        told.clear();
    }
    told.insert((table, partition.to_owned(), sort.to_owned()), version) != Some(version)
}

#[cfg(test)]
mod tests {
    use super::is_news;

    #[test]
    fn a_row_that_cannot_be_read_is_told_once_until_it_changes() {
        let told: Vec<bool> = [7, 7, 8, 8].map(|version| is_news("jobs", "acc_1", "job_1", version)).into();
        assert_eq!(told, [true, false, true, false]);
        assert!(is_news("sources", "acc_1", "job_1", 8), "a key of another table is another row");
    }
}
