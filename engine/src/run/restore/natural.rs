//! Natural keys: what a record is known by apart from its key, such as an address. By it a record that is in the product
//! already is found before another one is made: a restore that was killed and never resumed may have made it.
//!
//! A natural key names a record only where one record of the snapshot and one of the product have it: so each finds the
//! other whatever the order, and in every attempt.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use futures::TryStreamExt;
use tokio::sync::OnceCell;

use super::{
    decide::writable,
    members::{self, Members},
    work::{States, Target},
};
use crate::{
    error::Result,
    snapshot::{RecordKey, SnapshotReader, SpillMap},
};

/// The records of the product and of the snapshot by their natural keys, for each stream that has some; made when one is first
/// needed, by one read of each.
pub(super) struct NaturalKeys(BTreeMap<String, OfStream>);

struct OfStream {
    maps: Mutex<[SpillMap; 2]>,
    filled: OnceCell<()>,
}

/// Whose natural key it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// Nobody's.
    None,
    /// One record's.
    One(RecordKey),
    /// That of several records.
    Several,
}

/// The places of the maps.
const CURRENT: usize = 0;
const WANTED: usize = 1;

impl NaturalKeys {
    /// For the streams that have natural keys, in maps that `spill_map` makes; nothing is read yet.
    ///
    /// # Errors
    /// Those of `spill_map`.
    pub(super) fn of(targets: &[Target], spill_map: impl Fn() -> Result<SpillMap>) -> Result<Self> {
        let named = targets.iter().filter(|target| !target.write.natural_key.is_empty());
        let of_stream = |target: &Target| {
            let maps = Mutex::new([spill_map()?, spill_map()?]);
            Ok((target.spec.name.clone(), OfStream { maps, filled: OnceCell::new() }))
        };
        Ok(Self(named.map(of_stream).collect::<Result<_>>()?))
    }

    /// Whose the natural key `text` is in the product, and whether only one record of the snapshot has the natural key `own`.
    ///
    /// # Errors
    /// Those of reading the store; `Exhausted` when a scratch file is full.
    pub(super) async fn find(&self, states: &States, target: &Target, text: &str, own: &str) -> Result<(Named, bool)> {
        let Some(of_stream) = self.0.get(&target.spec.name) else { return Ok((Named::None, false)) };
        let fill = || async {
            of_stream.fill(CURRENT, &states.current, target).await?;
            of_stream.fill(WANTED, &states.wanted, target).await
        };
        of_stream.filled.get_or_try_init(fill).await?;
        Ok((of_stream.get(CURRENT, text)?, matches!(of_stream.get(WANTED, own)?, Named::One(_))))
    }
}

impl OfStream {
    async fn fill(&self, map: usize, reader: &SnapshotReader, target: &Target) -> Result<()> {
        let stream = &target.spec.name;
        if !reader.manifest().streams.contains_key(stream) {
            return Ok(());
        }
        let mut records = std::pin::pin!(reader.scan(stream)?);
        while let Some(record) = records.try_next().await? {
            let Some(text) = text(target, &writable(target, &record.body)?) else { continue };
            let key = match self.get(map, &text)? {
                Named::None => record.key.as_bytes(),
                // No key is empty.
                Named::One(_) => &[],
                Named::Several => continue,
            };
            self.lock()[map].insert(text.as_bytes(), key)?;
        }
        Ok(())
    }

    fn get(&self, map: usize, text: &str) -> Result<Named> {
        Ok(match self.lock()[map].get(text.as_bytes())? {
            None => Named::None,
            Some(key) if key.is_empty() => Named::Several,
            Some(key) => Named::One(RecordKey::trusted(&key)),
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, [SpillMap; 2]> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The natural key of a record; `None` where a field of it is missing, null, a list or an object.
pub(super) fn text(target: &Target, record: &Members) -> Option<String> {
    let fields = &target.write.natural_key;
    let values: Option<Vec<String>> = fields.iter().map(|field| members::scalar_at(record, field)).collect();
    // Texts in JSON hold no line feed.
    values.filter(|values| !values.is_empty()).map(|values| values.join("\n"))
}
