//! Writes of one transaction: what can be checked and serialised is, before the one writer's thread has them; there all conditions
//! come before the first change.

use rusqlite::{CachedStatement, Connection, OptionalExtension, params, types::Value as Sql};

use super::{columns::Columns, schema::TableSql};
use crate::{
    adapters::{
        embedded::database::failed,
        rows::{self, Reach, Scalar},
    },
    error::Result,
    model::scope::Scope,
    ports::{Condition, Key, Write},
    tables::TableSchema,
};

/// Rows past their expiry that one write to their table sweeps out.
const SWEEP_ROWS: usize = 100;

/// All writes of a transaction, ready for the writer.
pub(in crate::adapters::embedded) struct Writes {
    reach: Reach,
    writes: Vec<Prepared>,
}

struct Prepared {
    table: &'static TableSql,
    key: Key,
    sort: Scalar,
    condition: Condition,
    change: Change,
}

enum Change {
    Put(Columns),
    Delete,
    None,
}

/// A row as it is.
struct Found {
    row_id: i64,
    version: i64,
    is_ours: bool,
    /// A bit for each index in which what is to be put has another place.
    moves: usize,
}

impl Writes {
    /// # Errors
    /// `Denied` for a table that no account owns and for another account's row; `Bug` for too many writes, two on one row, or a
    /// row that its table's schema does not fit; `Invalid` for a row or a transaction that is too large.
    pub(in crate::adapters::embedded) fn of(scope: Scope<'_>, writes: Vec<Write>) -> Result<Self> {
        Self::prepare(writes, |table| Reach::of(scope, table))
    }

    /// Of the identity, which is nobody's.
    ///
    /// # Errors
    /// Those of [`Writes::of`].
    pub(in crate::adapters::embedded) fn of_everybody(writes: Vec<Write>) -> Result<Self> {
        Self::prepare(writes, |_| Ok(Reach::Everything))
    }

    fn prepare(writes: Vec<Write>, reach_of: impl Fn(&TableSchema) -> Result<Reach>) -> Result<Self> {
        rows::check_count(writes.len())?;
        let mut reach = Reach::Everything;
        let (mut ready, mut size_bytes): (Vec<Prepared>, usize) = (Vec::with_capacity(writes.len()), 0);
        for write in writes {
            let (table, write) = Prepared::of(write)?;
            reach = reach_of(table)?;
            if let Change::Put(columns) = &write.change {
                if !reach.covers(columns.account_id.as_deref()) {
                    return Err(rows::foreign(table, &write.key));
                }
                size_bytes += columns.item_bytes;
            }
            if ready.iter().any(|other| std::ptr::eq(other.table, write.table) && other.key == write.key) {
                return Err(rows::twice(table, &write.key));
            }
            ready.push(write);
        }
        rows::check_size(size_bytes)?;
        Ok(Self { reach, writes: ready })
    }

    /// All or none, within the writer's transaction. The outer error is that of a transaction that is lost as a whole.
    ///
    /// # Errors
    /// Inside: `Conflict` when a condition does not hold, `Denied` when a row is another account's; nothing was changed then.
    pub(in crate::adapters::embedded) fn carry_out(self, connection: &Connection, now_s: i64) -> Result<Result<()>> {
        let mut found = Vec::with_capacity(self.writes.len());
        for write in &self.writes {
            match write.find(connection, &self.reach, now_s).and_then(|row| write.check(row)) {
                Ok(row) => found.push(row),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let mut swept: Vec<&'static str> = Vec::new();
        for (write, row) in self.writes.into_iter().zip(found) {
            if write.table.expires() && !swept.contains(&write.table.name.as_str()) {
                swept.push(&write.table.name);
                sweep(connection, now_s, write.table)?;
            }
            write.carry_out(connection, row)?;
        }
        Ok(Ok(()))
    }
}

impl Prepared {
    fn of(write: Write) -> Result<(&'static TableSchema, Self)> {
        let (schema, key, condition, change) = match write {
            Write::Put { table, body, condition } => {
                let columns = Columns::of(table, &body)?;
                (table, columns.key.clone(), condition, Change::Put(columns))
            }
            Write::Delete { table, key, condition } => (table, key, condition, Change::Delete),
            Write::Check { table, key, condition } => (table, key, condition, Change::None),
        };
        let sort = rows::sort_value(schema, &key.sort)?;
        Ok((schema, Self { table: TableSql::of(schema)?, key, sort, condition, change }))
    }

    fn find(&self, connection: &Connection, reach: &Reach, now_s: i64) -> Result<Option<Found>> {
        let mut select = connection.prepare_cached(&self.table.find).map_err(failed)?;
        select
            .query_row(params![self.key.partition, self.sort, now_s], |row| {
                let is_ours = reach.covers(row.get_ref(2)?.as_str_or_null()?);
                let moves = match &self.change {
                    Change::Put(columns) => columns.moves(row, 3)?,
                    Change::Delete | Change::None => 0,
                };
                Ok(Found { row_id: row.get(0)?, version: row.get(1)?, is_ours, moves })
            })
            .optional()
            .map_err(failed)
    }

    /// The row that was found, if the write may have it.
    fn check(&self, row: Option<Found>) -> Result<Option<Found>> {
        if row.as_ref().is_some_and(|row| !row.is_ours) {
            return Err(rows::foreign(self.table.schema(), &self.key));
        }
        let version = row.as_ref().map_or(0, |row| row.version);
        let holds = match self.condition {
            Condition::Any => true,
            Condition::Absent => version == 0,
            Condition::Version(wanted) => version > 0 && u64::try_from(version) == Ok(wanted),
        };
        if holds { Ok(row) } else { Err(rows::conflict(self.table.schema(), &self.key)) }
    }

    fn carry_out(self, connection: &Connection, row: Option<Found>) -> Result<()> {
        let statement = |sql: &str| connection.prepare_cached(sql).map_err(failed);
        match (self.change, row) {
            (Change::None, _) | (Change::Delete, None) => Ok(()),
            (Change::Delete, Some(row)) => {
                statement(&self.table.delete)?.execute([row.row_id]).map(drop).map_err(failed)
            }
            (Change::Put(columns), None) => run(statement(&self.table.insert)?, columns.into_values(1)).map_err(failed),
            (Change::Put(columns), Some(row)) => {
                let values = columns.into_update(row.version + 1, row.moves, row.row_id);
                run(statement(self.table.update(row.moves))?, values).map_err(failed)
            }
        }
    }
}

fn run(mut statement: CachedStatement<'_>, values: impl IntoIterator<Item = Sql>) -> rusqlite::Result<()> {
    for (place, value) in values.into_iter().enumerate() {
        statement.raw_bind_parameter(place + 1, value)?;
    }
    statement.raw_execute().map(drop)
}

fn sweep(connection: &Connection, now_s: i64, table: &TableSql) -> Result<()> {
    let mut delete = connection.prepare_cached(&table.sweep).map_err(failed)?;
    delete.execute(params![now_s, SWEEP_ROWS as i64]).map_err(failed)?;
    Ok(())
}
