//! The SQL of each table, made once from its schema.
//!
//! A row is `partition, sort, account_id, version, expires_at, body` and, for each index, the attributes that it
//! orders by, copied out of the body (absent ones NULL: the index is sparse).

use std::{fmt::Write as _, sync::LazyLock};

use rusqlite::{Connection, params, params_from_iter};

use super::{columns::Columns, item};
use crate::{
    adapters::embedded::database::failed,
    error::{Error, ErrorKind, Result},
    tables::{self, AttributeType, TableSchema},
};

/// Columns that every table has, in the order of [`Columns::into_values`].
const COMMON: [&str; 6] = ["partition", "sort", "account_id", "version", "expires_at", "body"];

/// The statements of a table. Parameters: key (1, 2) and the present instant in seconds (3) unless said otherwise.
pub(super) struct TableSql {
    schema: &'static TableSchema,
    /// Its name in SQLite.
    pub(super) name: String,
    /// `body, version, account_id` of one row.
    pub(super) get: String,
    /// `version, account_id` of one row.
    pub(super) version: String,
    /// Makes or replaces a row; parameters are all columns.
    pub(super) put: String,
    /// Removes a row.
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
            version: format!("SELECT version, account_id FROM {name} WHERE partition = ?1 AND sort = ?2 AND {alive}"),
            put: format!(
                "INSERT INTO {name} ({}) VALUES ({places}) ON CONFLICT (partition, sort) DO UPDATE SET {}",
                columns.join(", "),
                updates.join(", ")
            ),
            delete: format!("DELETE FROM {name} WHERE partition = ?1 AND sort = ?2"),
            sweep: format!(
                "DELETE FROM {name} WHERE rowid IN (SELECT rowid FROM {name} WHERE expires_at <= ?1 LIMIT ?2)"
            ),
            schema,
            name,
        }
    }
}

/// Column names of the index at `position` in its schema: partition, sort.
pub(super) fn index_column_names(position: usize) -> (String, String) {
    (format!("index_{position}_partition"), format!("index_{position}_sort"))
}

/// Makes the tables that are missing, and adds the columns of indexes that are new in this version of the program.
pub(in crate::adapters::embedded) fn set_up(connection: &Connection) -> Result<()> {
    for table in ALL.iter() {
        connection.execute_batch(&create(table)).map_err(failed)?;
        if add_columns(connection, table)? {
            fill_columns(connection, table)?;
        }
        connection.execute_batch(&create_indexes(table)).map_err(failed)?;
    }
    Ok(())
}

fn create(table: &TableSql) -> String {
    let sort_type = table.schema.sort.map_or("TEXT", |attribute| sql_type(attribute.kind));
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (partition TEXT NOT NULL, sort {sort_type} NOT NULL, account_id TEXT, \
         version INTEGER NOT NULL, expires_at INTEGER, body TEXT NOT NULL",
        table.name
    );
    for (name, sql_type) in index_columns(table.schema) {
        let _ = write!(sql, ", {name} {sql_type}");
    }
    sql.push_str(", PRIMARY KEY (partition, sort))");
    sql
}

fn create_indexes(table: &TableSql) -> String {
    let name = &table.name;
    let mut sql = String::new();
    for position in 0..table.schema.indexes.len() {
        let (partition, sort) = index_column_names(position);
        let _ = write!(
            sql,
            "CREATE INDEX IF NOT EXISTS {name}_index_{position} ON {name} ({partition}, {sort}, partition, sort) \
             WHERE {partition} IS NOT NULL;"
        );
    }
    if table.schema.expires.is_some() {
        let _ = write!(sql, "CREATE INDEX IF NOT EXISTS {name}_expiry ON {name} (expires_at);");
    }
    sql
}

/// True when a column had to be added.
fn add_columns(connection: &Connection, table: &TableSql) -> Result<bool> {
    let mut info = connection.prepare("SELECT name FROM pragma_table_info(?1)").map_err(failed)?;
    let present: Vec<String> =
        info.query_map(params![table.name], |row| row.get(0)).and_then(Iterator::collect).map_err(failed)?;
    let missing: Vec<_> = index_columns(table.schema).filter(|(name, _)| !present.contains(name)).collect();
    for (name, sql_type) in &missing {
        let sql = format!("ALTER TABLE {} ADD COLUMN {name} {sql_type}", table.name);
        connection.execute_batch(&sql).map_err(failed)?;
    }
    Ok(!missing.is_empty())
}

/// Writes every row anew, so that new columns get their values out of the body.
fn fill_columns(connection: &Connection, table: &TableSql) -> Result<()> {
    let mut select = connection.prepare(&format!("SELECT body, version FROM {}", table.name)).map_err(failed)?;
    let rows: Vec<(String, i64)> =
        select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).and_then(Iterator::collect).map_err(failed)?;
    let mut put = connection.prepare(&table.put).map_err(failed)?;
    for (body, version) in rows {
        let columns = Columns::of(table.schema, &item(table.schema, &body, version)?.body)?;
        put.execute(params_from_iter(columns.into_values(version))).map_err(failed)?;
    }
    Ok(())
}

fn index_columns(schema: &'static TableSchema) -> impl Iterator<Item = (String, &'static str)> {
    schema.indexes.iter().enumerate().flat_map(|(position, index)| {
        let (partition, sort) = index_column_names(position);
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
