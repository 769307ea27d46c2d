//! Letters to those who administer an account, about what is not as it should be: each event has a letter, or counts in that of its hour
//! ([`crate::model::alert`]). Who sends them, when and to whom is [`crate::run::alerts`]' matter.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{DERIVED_MAX, Derived};
use crate::{
    error::Result,
    model::{ActivityEvent, Alert, scope::AccountScope},
    ports::Condition,
    store::{self, Store, key},
};

pub(super) async fn derive(store: &Store, scope: &AccountScope, events: &[ActivityEvent]) -> Result<Derived> {
    let (mut taken, mut rows) = (0, BTreeMap::<String, (Alert, Condition)>::new());
    for event in events {
        if let Some(place) = Alert::sort_key(event) {
            if rows.len() >= DERIVED_MAX && !rows.contains_key(&place) {
                break;
            }
            match rows.entry(place) {
                Entry::Occupied(mut known) => known.get_mut().0.take(event),
                Entry::Vacant(unknown) => {
                    let found = store.find::<Alert>(scope, key(scope.account_id(), unknown.key())).await?;
                    let row = match found {
                        Some(mut found) => {
                            found.row.take(event);
                            (found.row, Condition::Version(found.version))
                        }
                        None => (Alert::of(event, unknown.key().clone()), Condition::Absent),
                    };
                    unknown.insert(row);
                }
            }
        }
        taken += 1;
    }
    let is_due = rows.values().any(|(row, _)| row.is_due());
    let writes = rows.into_values().map(|(row, condition)| store::put(&row, condition)).collect::<Result<_>>()?;
    Ok(Derived { taken, writes, is_due })
}
