//! Pages of rows, by a table's key or one of its indexes.

use rusqlite::{Connection, Row, params_from_iter, types::Value as Sql};

use super::{
    item,
    schema::{self, TableSql, index_column_names},
};
use crate::{
    adapters::{
        embedded::database::failed,
        rows::{
            self, MAX_PAGE_BYTES, Reach,
            cursor::{self, Position},
        },
    },
    error::Result,
    ports::{ItemPage, Query, SortRange},
};

/// One page.
pub(in crate::adapters::embedded) fn page(
    connection: &Connection,
    now_s: i64,
    reach: &Reach,
    query: &Query,
) -> Result<ItemPage> {
    let (sql, parameters) = statement(now_s, reach, query)?;
    let prepared = connection.prepare_cached(&sql);
    let mut select =
        prepared.map_err(|error| schema::unfit(connection, query.table).unwrap_or_else(|| failed(error)))?;
    let mut rows = select.query(params_from_iter(parameters)).map_err(failed)?;
    let (mut page, mut bytes, mut last) = (ItemPage::default(), 0, None);
    while let Some(row) = rows.next().map_err(failed)? {
        if let Some(last) = &last
            && (page.items.len() == query.limit || bytes >= MAX_PAGE_BYTES)
        {
            page.next = Some(cursor::encode(query, reach, last));
            break;
        }
        let (body, version, position) = read(row).map_err(failed)?;
        bytes += body.len();
        page.items.push(item(query.table, &body, version)?);
        last = Some(position);
    }
    Ok(page)
}

fn read(row: &Row<'_>) -> rusqlite::Result<(String, i64, Position)> {
    let position = Position { order: row.get(2)?, partition: row.get(3)?, sort: row.get(4)? };
    Ok((row.get(0)?, row.get(1)?, position))
}

/// The statement and its parameters.
///
/// # Errors
/// `Bug` when the query does not fit the schema, `Invalid` for a cursor of another query.
fn statement(now_s: i64, reach: &Reach, query: &Query) -> Result<(String, Vec<Sql>)> {
    rows::order_of(query)?;
    let (partition, sort) = &match query.index.and_then(|name| query.table.index(name)) {
        None => ("partition".to_owned(), "sort".to_owned()),
        Some(index) => index_column_names(index),
    };
    let (compare, direction) = if query.descending { ("<", "DESC") } else { (">", "ASC") };
    let mut filter = Filter::default();
    filter.add(&format!("{partition} = ?"), [Sql::Text(query.partition.clone())]);
    filter.add_bounds(sort, &query.sort);
    filter.add("(expires_at IS NULL OR expires_at > ?)", [Sql::Integer(now_s)]);
    if let Reach::Account(account_id) = reach {
        filter.add("account_id = ?", [Sql::Text(account_id.clone())]);
    }
    if let Some(after) = &query.after {
        let Position { order, partition, sort: last } = cursor::decode(query, reach, after)?;
        filter.add(
            &format!("({sort}, partition, sort) {compare} (?, ?, ?)"),
            [order.into(), Sql::Text(partition), last.into()],
        );
    }
    filter.parameters.push(Sql::Integer(query.limit as i64 + 1));
    let sql = format!(
        "SELECT body, version, {sort}, partition, sort FROM {} WHERE {} \
         ORDER BY {sort} {direction}, partition {direction}, sort {direction} LIMIT ?",
        TableSql::of(query.table)?.name,
        filter.terms.join(" AND "),
    );
    Ok((sql, filter.parameters))
}

#[derive(Default)]
struct Filter {
    terms: Vec<String>,
    parameters: Vec<Sql>,
}

impl Filter {
    fn add<const N: usize>(&mut self, term: &str, parameters: [Sql; N]) {
        self.terms.push(term.to_owned());
        self.parameters.extend(parameters);
    }

    fn add_bounds(&mut self, column: &str, bounds: &SortRange) {
        let (from, to) = match bounds {
            SortRange::All => (None, None),
            SortRange::Prefix(prefix) => (Some(Sql::Text(prefix.clone())), after_prefix(prefix).map(Sql::Text)),
            SortRange::Between(from, to) => (from.clone().map(Sql::Text), to.clone().map(Sql::Text)),
            SortRange::Numbers(from, to) => (from.map(Sql::Integer), to.map(Sql::Integer)),
        };
        if let Some(from) = from {
            self.add(&format!("{column} >= ?"), [from]);
        }
        if let Some(to) = to {
            self.add(&format!("{column} < ?"), [to]);
        }
    }
}

/// The least text that is greater than all texts with this prefix; `None` when there is none.
fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        // Text is ordered by bytes, which for UTF-8 is the order of code points.
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::after_prefix;

    #[test]
    fn the_end_of_a_prefix_is_its_successor_in_code_points() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{d7ff}").as_deref(), Some("a\u{e000}"), "there are no surrogates in text");
        assert_eq!(after_prefix(&format!("a{}", char::MAX)).as_deref(), Some("b"));
        assert_eq!(after_prefix(&char::MAX.to_string()), None);
        assert_eq!(after_prefix(""), None);
    }
}
