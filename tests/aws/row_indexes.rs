//! Indexes of DynamoDB, which follow their tables a moment later.

use listbackup_engine::{
    ErrorKind,
    ports::{Condition, Key, Query, SortRange, Write},
    tables::{JOBS, SOURCES},
};
use serde_json::json;

use crate::{
    rows::Rows,
    servers::between::Fate,
    suites::tables::{put, query, source},
};

fn due() -> Query {
    query(&JOBS, Some("due"), "shard")
}

#[tokio::test]
async fn an_index_that_is_behind_shows_no_row_that_is_so_no_more() {
    let Some(rows) = Rows::start().await else { return };
    rows.jobs("shard", 0..5).await;
    rows.page(due(), "jobId").await;
    let heard = rows.between.heard();
    let behind = heard.iter().find(|heard| heard.operation == "Query").unwrap().answer.clone();

    let key = |job: &str| Key { partition: rows.account.account_id().to_string(), sort: job.to_owned() };
    let delete = Write::Delete { table: &JOBS, key: key("job_0001"), condition: Condition::Any };
    rows.transact(vec![delete]).await.unwrap();
    // Away, and to another time.
    rows.jobs("elsewhere", [2]).await;
    let tables = &rows.subject.ports.tables;
    let mut moved = tables.get((&rows.account).into(), &JOBS, &key("job_0003")).await.unwrap().unwrap().body;
    moved.insert("nextDueMs".to_owned(), json!(300));
    rows.transact(vec![Write::Put { table: &JOBS, body: moved, condition: Condition::Any }]).await.unwrap();

    rows.between.heard();
    rows.between.next([Fate::IsAnswered(200, behind.clone())]);
    let bounded = Query { sort: SortRange::Numbers(None, Some(300)), ..due() };
    let (jobs, next) = rows.page(bounded, "jobId").await;
    assert_eq!((jobs, next), (vec![json!("job_0000"), json!("job_0004")], None));
    // One that moved within the bounds is not missed, and is shown as it is.
    rows.between.next([Fate::IsAnswered(200, behind)]);
    assert_eq!(rows.page(due(), "nextDueMs").await.0, [0, 300, 4]);
    assert_eq!(rows.page(due(), "nextDueMs").await.0, [0, 4, 300]);
}

#[tokio::test]
async fn a_page_is_filled_with_what_comes_after_rows_that_are_not_shown() {
    let Some(rows) = Rows::start().await else { return };
    rows.jobs("shard", 0..6).await;
    let page = Query { limit: 3, ..due() };
    rows.page(page.clone(), "jobId").await;
    let behind = rows.between.heard()[1].clone();
    assert_eq!(behind.operation, "Query", "after the transaction");
    rows.jobs("elsewhere", [0, 1]).await;
    rows.between.heard();
    rows.between.next([Fate::IsAnswered(200, behind.answer)]);
    let (jobs, next) = rows.page(page.clone(), "jobId").await;
    assert_eq!(jobs, ["job_0002", "job_0003", "job_0004"]);
    let (jobs, next) = rows.page(Query { after: Some(next.unwrap()), ..page }, "jobId").await;
    assert_eq!((jobs, next), (vec![json!("job_0005")], None));
}

/// In a moment an index may have both places of a row that moves.
#[tokio::test]
async fn a_row_that_an_index_has_twice_is_shown_once() {
    let Some(rows) = Rows::start().await else { return };
    rows.jobs("shard", 0..2).await;
    rows.page(due(), "jobId").await;
    let mut twice = rows.between.heard()[1].answer.clone();
    let mut double = twice["Items"][0].clone();
    double["nextDueMs"] = json!({ "N": "-1" });
    twice["Items"].as_array_mut().unwrap().insert(0, double);
    rows.between.next([Fate::IsAnswered(200, twice)]);
    let (jobs, _) = rows.page(due(), "jobId").await;
    assert_eq!(jobs, ["job_0000", "job_0001"]);
}

#[tokio::test]
async fn rows_that_a_batch_left_over_are_asked_for_again() {
    let Some(rows) = Rows::start().await else { return };
    rows.jobs("shard", 0..5).await;
    rows.between.heard();
    rows.between.next([Fate::Happens, Fate::LeavesOver(2), Fate::LeavesOver(0), Fate::LeavesOver(1)]);
    let (times, _) = rows.page(due(), "nextDueMs").await;
    assert_eq!(times, [0, 1, 2, 3, 4]);
    assert_eq!(rows.between.operations(), ["Query", "BatchGetItem", "BatchGetItem", "BatchGetItem", "BatchGetItem"]);

    // As long as some come each time, it goes on.
    rows.jobs("shard", 5..12).await;
    rows.between.heard();
    rows.between.next([Fate::Happens]);
    rows.between.next((0..11).map(|_| Fate::LeavesOver(1)));
    assert_eq!(rows.page(due(), "nextDueMs").await.0.len(), 12);
    assert_eq!(rows.between.operations().len(), 1 + 12);

    rows.between.next([Fate::Happens]);
    rows.between.next((0..8).map(|_| Fate::LeavesOver(0)));
    let error = rows.subject.ports.tables.query((&rows.account).into(), due()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

/// DynamoDB ends a page after a megabyte, a batch after sixteen; ours ends after four, so that memory is bounded.
#[tokio::test]
async fn pages_of_large_rows_are_short_and_lead_to_the_end() {
    let Some(rows) = Rows::start().await else { return };
    let account = rows.account.account_id().to_string();
    let mut ids = Vec::new();
    for n in 0..15 {
        let mut row = source(&rows.account, &format!("{n:02}"), &"x".repeat(390_000));
        row.insert("integration".to_owned(), json!("large"));
        rows.transact(vec![put(&SOURCES, row, Condition::Absent)]).await.unwrap();
        ids.push(json!(format!("{n:02}")));
    }
    for pages in [query(&SOURCES, None, &account), query(&SOURCES, Some("by-integration"), "large")] {
        let (mut found, next) = rows.page(pages.clone(), "sourceId").await;
        assert_eq!((found.len(), next.is_some()), (11, true), "{:?}", pages.index);
        let (rest, next) = rows.page(Query { after: next, ..pages }, "sourceId").await;
        found.extend(rest);
        assert_eq!((found, next), (ids.clone(), None));
    }
}

#[tokio::test]
async fn bounds_that_nothing_can_be_in_cost_nothing() {
    let rows = Rows::alone().await;
    let text = |text: &str| Some(text.to_owned());
    let account = rows.account.account_id().to_string();
    for range in [
        SortRange::Between(text("b"), text("b")),
        SortRange::Between(text("b"), text("a")),
        SortRange::Between(None, text("")),
        SortRange::Prefix("x".repeat(1025)),
    ] {
        let empty = Query { sort: range, ..query(&JOBS, None, &account) };
        assert_eq!(rows.page(empty, "jobId").await, (vec![], None));
    }
    for (from, to) in [(Some(5), Some(5)), (Some(5), Some(4)), (Some(i64::MIN), Some(i64::MIN))] {
        let empty = Query { sort: SortRange::Numbers(from, to), ..due() };
        assert_eq!(rows.page(empty, "jobId").await, (vec![], None));
    }
    assert_eq!(rows.between.operations(), [""; 0]);
}
