//! The SQL of each table, made once from its schema.
//!
//! A row is `partition, sort, account_id, version, expires_at, body` and, for each index, the attributes that it
//! orders by, copied out of the body (absent ones NULL: the index is sparse).

use std::{fmt::Write as _, sync::LazyLock};

use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::{columns::Columns, item};
use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    tables::{self, AttributeType, IndexSchema, TableSchema},
};

/// Columns that every table has, in the order of [`Columns::into_values`].
const COMMON: [&str; 6] = ["partition", "sort", "account_id", "version", "expires_at", "body"];

/// The statements of a table. Parameters: key (1, 2) and the present instant in seconds (3) unless said otherwise.
///
/// SQLite writes an index anew when a statement names one of its columns, changed or not; so there is an update for each set of
/// indexes that a row's new version may move in.
pub(super) struct TableSql {
    schema: &'static TableSchema,
    /// Its name in SQLite.
    pub(super) name: String,
    /// `body, version, account_id` of one row.
    pub(super) get: String,
    /// `rowid, version, account_id` of one row, and the columns of all indexes.
    pub(super) find: String,
    /// Makes a row, in the place of one that has expired; parameters are all columns.
    pub(super) insert: String,
    /// Changes the row with an id, the last parameter; the others are its columns but the key, and those of the indexes that have
    /// their bits in the place.
    updates: Vec<String>,
    /// Removes the row with an id, the only parameter.
    pub(super) delete: String,
    /// Removes expired rows; parameters are the present instant in seconds and how many.
    pub(super) sweep: String,
}

static ALL: LazyLock<Vec<TableSql>> = LazyLock::new(|| tables::ALL.iter().map(|table| TableSql::new(table)).collect());

impl TableSql {
    /// The statements of `table`.
    ///
    /// # Errors
    /// `Bug` for a table that is not part of the schema.
    pub(super) fn of(table: &TableSchema) -> Result<&'static Self> {
        ALL.iter()
            .find(|sql| std::ptr::eq(sql.schema, table))
            .ok_or_else(|| Error::new(ErrorKind::Bug, "the table is not part of the schema").with("table", table.name))
    }

    fn new(schema: &'static TableSchema) -> Self {
        let name = format!("rows_{}", schema.name.replace('-', "_"));
        let columns: Vec<String> =
            COMMON.iter().map(|name| (*name).to_owned()).chain(index_columns(schema).map(|(name, _)| name)).collect();
        let places = vec!["?"; columns.len()].join(", ");
        let updates = columns.iter().skip(2).map(|name| format!("{name} = excluded.{name}")).collect::<Vec<_>>();
        let alive = "(expires_at IS NULL OR expires_at > ?3)";
        Self {
            get: format!("SELECT body, version, account_id FROM {name} WHERE partition = ?1 AND sort = ?2 AND {alive}"),
            find: format!(
                "SELECT {} FROM {name} WHERE partition = ?1 AND sort = ?2 AND {alive}",
                ["rowid", "version", "account_id"]
                    .into_iter()
                    .chain(columns.iter().skip(COMMON.len()).map(String::as_str))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            updates: (0..1 << schema.indexes.len()).map(|changed| update(&name, schema, changed)).collect(),
            insert: format!(
                "INSERT INTO {name} ({}) VALUES ({places}) ON CONFLICT (partition, sort) DO UPDATE SET {}",
                columns.join(", "),
                updates.join(", ")
            ),
            delete: format!("DELETE FROM {name} WHERE rowid = ?"),
            sweep: format!(
                "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} WHERE expires_at <= ?1 LIMIT ?2)"
            ),
            schema,
            name,
        }
    }

    /// The update that moves a row in the indexes whose bits are set.
    pub(super) fn update(&self, changed: usize) -> &str {
        &self.updates[changed]
    }

    /// Whether its rows may expire.
    pub(super) fn expires(&self) -> bool {
        self.schema.expires.is_some()
    }

    /// The table as all stores know it.
    pub(super) fn schema(&self) -> &'static TableSchema {
        self.schema
    }
}

fn update(name: &str, schema: &'static TableSchema, changed: usize) -> String {
    let moved = schema.indexes.iter().enumerate().filter(|(index, _)| changed & (1 << index) != 0);
    let index_columns = moved.flat_map(|(_, index)| <[String; 2]>::from(index_column_names(index)));
    let columns = COMMON.iter().skip(2).map(|name| (*name).to_owned()).chain(index_columns);
    let set = columns.map(|column| format!("{column} = ?")).collect::<Vec<_>>().join(", ");
    format!("UPDATE {name} SET {set} WHERE rowid = ?")
}

/// Column names of an index: partition, sort.
pub(super) fn index_column_names(index: &IndexSchema) -> (String, String) {
    let name = index.name.replace('-', "_");
    (format!("{name}_partition"), format!("{name}_sort"))
}

/// Makes the tables that are missing, and anew those whose schema is another one than when they were made: indexes
/// come and go with versions of the program, and a column must never hold what an older schema put there.
pub(in crate::adapters::embedded) fn set_up(connection: &Connection) -> Result<()> {
    connection
        .execute_batch("CREATE TABLE IF NOT EXISTS row_schemas (name TEXT PRIMARY KEY, definition TEXT NOT NULL)")
        .map_err(failed)?;
    for table in ALL.iter() {
        let definition = format!("{:?}", table.schema);
        if stored_definition(connection, table)?.as_ref() != Some(&definition) {
            build(connection, table)?;
            connection
                .execute(
                    "INSERT INTO row_schemas (name, definition) VALUES (?1, ?2) \
                     ON CONFLICT DO UPDATE SET definition = excluded.definition",
                    params![table.name, definition],
                )
                .map_err(failed)?;
        }
    }
    Ok(())
}

fn stored_definition(connection: &Connection, table: &TableSql) -> Result<Option<String>> {
    connection
        .query_row("SELECT definition FROM row_schemas WHERE name = ?1", params![table.name], |row| row.get(0))
        .optional()
        .map_err(failed)
}

/// Why a statement does not fit the table as it is stored: another version of the program made it, and none of this version that may
/// write has opened the directory since. `None` when the table is as it should be.
pub(super) fn unfit(connection: &Connection, schema: &'static TableSchema) -> Option<Error> {
    let table = TableSql::of(schema).ok()?;
    if stored_definition(connection, table).ok().flatten() == Some(format!("{schema:?}")) {
        return None;
    }
    let message = "the tables here were made by another, most likely earlier version of this program, without what this needs. \
                   Let this version open the data directory for writing once, and try again: end the process that writes there, \
                   if there is one, and start `listbackup up` of this version on the directory";
    Some(Error::new(ErrorKind::Invalid, message).with("table", schema.name))
}

/// Makes a table, with the rows of the one that is there.
fn build(connection: &Connection, table: &TableSql) -> Result<()> {
    let (name, old) = (&table.name, format!("old_{}", table.name));
    if !connection.table_exists(None, name.as_str()).map_err(failed)? {
        return connection.execute_batch(&(create(table) + &create_indexes(table))).map_err(failed);
    }
    connection.execute_batch(&format!("ALTER TABLE {name} RENAME TO {old}; {}", create(table))).map_err(failed)?;
    copy_rows(connection, table, &old)?;
    connection.execute_batch(&format!("DROP TABLE {old}; {}", create_indexes(table))).map_err(failed)
}

fn copy_rows(connection: &Connection, table: &TableSql, from: &str) -> Result<()> {
    let mut select = connection.prepare(&format!("SELECT body, version FROM {from}")).map_err(failed)?;
    let mut put = connection.prepare(&table.insert).map_err(failed)?;
    let mut rows = select.query([]).map_err(failed)?;
    while let Some(row) = rows.next().map_err(failed)? {
        let (body, version): (String, i64) = (row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        let columns = Columns::of(table.schema, &item(table.schema, &body, version)?.body)?;
        put.execute(params_from_iter(columns.into_values(version))).map_err(failed)?;
    }
    Ok(())
}

fn create(table: &TableSql) -> String {
    let sort_type = table.schema.sort.map_or("TEXT", |attribute| sql_type(attribute.kind));
    let mut sql = format!(
        "CREATE TABLE {} (partition TEXT NOT NULL, sort {sort_type} NOT NULL, account_id TEXT, \
         version INTEGER NOT NULL, expires_at INTEGER, body TEXT NOT NULL",
        table.name
    );
    for (name, sql_type) in index_columns(table.schema) {
        let _ = write!(sql, ", {name} {sql_type}");
    }
    sql.push_str(", PRIMARY KEY (partition, sort));");
    sql
}

fn create_indexes(table: &TableSql) -> String {
    let name = &table.name;
    let mut sql = String::new();
    for index in table.schema.indexes {
        let (partition, sort) = index_column_names(index);
        let _ = write!(
            sql,
            "CREATE INDEX {name}_{partition} ON {name} ({partition}, {sort}, partition, sort) \
             WHERE {partition} IS NOT NULL;"
        );
    }
    if table.schema.expires.is_some() {
        let _ = write!(sql, "CREATE INDEX {name}_expiry ON {name} (expires_at);");
    }
    sql
}

fn index_columns(schema: &'static TableSchema) -> impl Iterator<Item = (String, &'static str)> {
    schema.indexes.iter().flat_map(|index| {
        let (partition, sort) = index_column_names(index);
        let sort_type = index.sort.map_or("TEXT", |attribute| sql_type(attribute.kind));
        [(partition, "TEXT"), (sort, sort_type)]
    })
}

fn sql_type(kind: AttributeType) -> &'static str {
    match kind {
        AttributeType::Text => "TEXT",
        AttributeType::Number => "INTEGER",
    }
}
