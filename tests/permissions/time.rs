//! What only time brings otherwise.

use listbackup_engine::{
    model::scope::SystemScope,
    ports::{Condition, Key},
    store::{Store, put},
    tables::Row,
};

use crate::day::Day;

impl Day {
    /// Changes a row in its table, as if its time had come.
    pub async fn altered<R: Row>(&self, place: Key, alter: impl FnOnce(&mut R)) {
        let (store, system) = (Store::new(self.ports.tables.clone()), SystemScope::of_this_process());
        let mut found = store.get::<R>(&system, place).await.expect("the row");
        alter(&mut found.row);
        let write = put(&found.row, Condition::Version(found.version)).expect("a write");
        store.transact(&system, vec![write]).await.expect("written");
    }
}
