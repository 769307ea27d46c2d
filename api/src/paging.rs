//! Lists: pages with opaque cursors.

use std::str::FromStr;

use listbackup_engine::{
    Result as EngineResult,
    model::scope::Scope,
    ports::{Item, Query, SortRange},
    store::RowPage,
    tables::{Row, TableSchema},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{problem::Problem, state::AppState};

/// Items of a page when the caller names no limit.
const LIMIT_DEFAULT: usize = 50;
/// Most items of a page.
pub const LIMIT_MAX: usize = 200;
/// Rows read to fill one page of a filtered list; then the page goes out as it is, with a cursor to go on.
const SCAN_MAX: usize = 1_000;
/// Most of them at a time.
const SCAN_PAGE: usize = 500;

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// At most so many items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    pub cursor: Option<String>,
}

impl PageParams {
    /// The page that a list with parameters of its own was asked for.
    pub fn of(limit: Option<usize>, cursor: Option<String>) -> Self {
        Self { limit, cursor }
    }

    /// The id after which the page begins, in a list that is read in the order of its ids.
    ///
    /// # Errors
    /// 422 for a cursor that is no such id.
    pub fn after_id<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        let id = self.cursor.as_deref().map(str::parse).transpose();
        id.map_err(|_| Problem::invalid_field("?cursor", "is not a cursor of this list"))
    }

    /// Items wanted.
    pub fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
    }

    /// The page's rows of one partition, oldest first.
    pub fn query(&self, table: &'static TableSchema, index: Option<&'static str>, partition: &impl ToString) -> Query {
        Query {
            table,
            index,
            partition: partition.to_string(),
            sort: SortRange::All,
            descending: false,
            limit: self.limit(),
            after: self.cursor.clone(),
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items. A page of a filtered list may hold fewer than asked for, even none, and still have a next page.
    pub items: Vec<T>,
    /// Hand it back as `cursor` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The rows of a store's page, each turned into its view.
    pub fn of<R: Row>(page: RowPage<R>, view: impl Fn(R) -> T) -> Self {
        Self { items: page.rows.into_iter().map(|found| view(found.row)).collect(), next_cursor: page.next }
    }

    /// A page of a list that is read in the order of its ids, with one item more than asked for where there are more.
    pub fn by_id(mut items: Vec<T>, limit: usize, id: impl Fn(&T) -> String) -> Self {
        let is_last = items.len() <= limit;
        items.truncate(limit);
        Self { next_cursor: items.last().filter(|_| !is_last).map(id), items }
    }

    /// Everything there is, on one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next_cursor: None }
    }
}

/// A page of the rows that `keep` turns into something, reading on over those that it drops: more at a time where it drops most of them.
/// It may be asked for a row twice.
///
/// # Errors
/// Those of the store, and of `keep`.
pub async fn filtered<T>(
    state: &AppState,
    scope: impl Into<Scope<'_>>,
    mut query: Query,
    keep: impl Fn(Item) -> EngineResult<Option<T>>,
) -> EngineResult<Page<T>> {
    let scope = scope.into();
    let wanted = query.limit;
    let mut items = Vec::new();
    let mut scanned = 0;
    loop {
        let page = state.ports.tables.query(scope, query.clone()).await?;
        let read = page.items.len();
        let (kept, full_after) = kept(page.items, wanted - items.len(), &keep)?;
        if let Some(rows) = full_after {
            // A cursor stands at the end of what was read: so this is read once more, up to there.
            query.limit = rows;
            continue;
        }
        items.extend(kept);
        scanned += read;
        if page.next.is_none() || items.len() == wanted || scanned >= SCAN_MAX {
            return Ok(Page { items, next_cursor: page.next });
        }
        // As many as so far it takes to find the rest, but a tenth: what is read beyond the page is read twice.
        let missing = wanted - items.len();
        let likely = if items.is_empty() { query.limit * 2 } else { missing * scanned / items.len() * 9 / 10 };
        query = Query { after: page.next, limit: likely.clamp(missing.min(SCAN_PAGE), SCAN_PAGE), ..query };
    }
}

/// What is kept of some rows where there is room for so many; and after how many rows it is full, where more of them would be kept.
fn kept<T>(
    rows: Vec<Item>,
    room: usize,
    keep: impl Fn(Item) -> EngineResult<Option<T>>,
) -> EngineResult<(Vec<T>, Option<usize>)> {
    let (mut kept, mut last) = (Vec::new(), 0);
    for (place, row) in rows.into_iter().enumerate() {
        let Some(found) = keep(row)? else { continue };
        if kept.len() == room {
            return Ok((kept, Some(last)));
        }
        kept.push(found);
        last = place + 1;
    }
    Ok((kept, None))
}
