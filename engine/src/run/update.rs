//! Read, decide, write under a condition, and again when somebody else wrote in between.

use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{Condition, Key, Write},
    store::{self, Store, Versioned},
    tables::Row,
};

/// Writers of one row that lose this often in a row are not racing, something is wrong.
pub(super) const ATTEMPTS_MAX: u32 = 32;

/// What a decision wants written.
pub enum Decision<R, T> {
    /// The row, changed, and further writes in the same transaction.
    Write(R, Vec<Write>, T),
    /// Nothing to write.
    Keep(T),
}

/// Changes one row by a pure decision, atomically.
///
/// # Errors
/// `NotFound`; what `decide` returns; `Conflict` when the row never stood still.
pub async fn update<R: Row + Clone, T>(
    store: &Store,
    scope: &AccountScope,
    key: Key,
    mut decide: impl FnMut(R) -> Result<Decision<R, T>>,
) -> Result<T> {
    for _ in 0..ATTEMPTS_MAX {
        let Versioned { row, version } = store.get::<R>(scope, key.clone()).await?;
        let (row, more, outcome) = match decide(row)? {
            Decision::Keep(outcome) => return Ok(outcome),
            Decision::Write(row, more, outcome) => (row, more, outcome),
        };
        let mut writes = vec![store::put(&row, Condition::Version(version))?];
        writes.extend(more);
        match store.transact(scope, writes).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => return done.map(|()| outcome),
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the row changed under every attempt to write it")
        .with("table", R::TABLE.name)
        .with("key", format!("{}/{}", key.partition, key.sort)))
}
