//! The promises of the tables port about queries: indexes, bounds, order, pages, cursors.

use listbackup_engine::{
    ErrorKind,
    ports::{Condition, Key, Query, SortRange, Write},
    tables::{ACTIVITY, JOBS, RUNS, SOURCES},
};
use serde_json::json;

use super::tables::{all, object, put, query, source, source_key, write};
use crate::support::Subject;

/// Every promise, one after another.
pub async fn keeps_all(subject: &Subject) {
    indexes_find_rows_and_are_sparse(subject).await;
    ranges_bound_the_sort_attribute(subject).await;
    numbers_are_ordered_as_numbers(subject).await;
    paging_reaches_the_end_without_gaps_or_doubles(subject).await;
    a_page_goes_on_past_rows_of_other_accounts(subject).await;
    cursors_of_other_queries_are_refused(subject).await;
}

async fn indexes_find_rows_and_are_sparse(subject: &Subject) {
    let account = subject.account();
    let integration = format!("{}-stripe", account.account_id());
    for id in ["b", "a", "c"] {
        write(subject, &account, put(&SOURCES, source(&account, id, "n"), Condition::Any)).await.unwrap();
    }
    let by_integration = query(&SOURCES, Some("by-integration"), &integration);
    assert_eq!(all(subject, &account, by_integration.clone(), "sourceId").await, ["a", "b", "c"]);
    let mut body = source(&account, "b", "n");
    body.remove("integration");
    write(subject, &account, put(&SOURCES, body, Condition::Any)).await.unwrap();
    let delete = Write::Delete { table: &SOURCES, key: source_key(&account, "c"), condition: Condition::Any };
    write(subject, &account, delete).await.unwrap();
    assert_eq!(all(subject, &account, by_integration, "sourceId").await, ["a"], "without its attributes a row is out");
    let own = query(&SOURCES, None, &account.account_id().to_string());
    assert_eq!(all(subject, &account, own, "sourceId").await, ["a", "b"]);
}

async fn ranges_bound_the_sort_attribute(subject: &Subject) {
    let account = subject.account();
    let ids = ["a", "a/1", "a/2", "a0", "b", "é", "😀"];
    for id in ids {
        write(subject, &account, put(&SOURCES, source(&account, id, "n"), Condition::Any)).await.unwrap();
    }
    let text = |text: &str| Some(text.to_owned());
    let cases = [
        (SortRange::All, &ids[..]),
        (SortRange::Prefix("a/".to_owned()), &ids[1..3]),
        (SortRange::Prefix("a".to_owned()), &ids[..4]),
        (SortRange::Prefix(String::new()), &ids[..]),
        (SortRange::Prefix("z".to_owned()), &ids[..0]),
        (SortRange::Between(text("a/1"), text("b")), &ids[1..4]),
        (SortRange::Between(None, text("a/1")), &ids[..1]),
        (SortRange::Between(text("b"), None), &ids[4..]),
    ];
    for (range, expected) in cases {
        for descending in [false, true] {
            let mut expected = expected.to_vec();
            if descending {
                expected.reverse();
            }
            let partition = account.account_id().to_string();
            let bounded = Query { sort: range.clone(), descending, limit: 2, ..query(&SOURCES, None, &partition) };
            assert_eq!(all(subject, &account, bounded, "sourceId").await, expected, "{range:?}");
        }
    }
}

async fn numbers_are_ordered_as_numbers(subject: &Subject) {
    let (account, shard) = (subject.account(), subject.unique("shard"));
    for due in [-5_i64, 0, 9, 10, 1_000_000_000_000] {
        let body = json!({ "accountId": account.account_id(), "jobId": format!("job {due}"), "sourceId": "s",
            "dueShard": shard, "nextDueMs": due });
        write(subject, &account, put(&JOBS, object(body), Condition::Any)).await.unwrap();
    }
    let due = async |from: Option<i64>, to: Option<i64>| {
        let range = Query { sort: SortRange::Numbers(from, to), ..query(&JOBS, Some("due"), &shard) };
        all(subject, &subject.system, range, "nextDueMs").await
    };
    assert_eq!(due(None, None).await, ["-5", "0", "9", "10", "1000000000000"]);
    assert_eq!(due(None, Some(10)).await, ["-5", "0", "9"]);
    assert_eq!(due(Some(9), Some(11)).await, ["9", "10"]);

    let event = subject.unique("evt");
    let body = json!({ "eventId": event, "timestamp": 9, "accountId": account.account_id() });
    write(subject, &account, put(&ACTIVITY, object(body), Condition::Absent)).await.unwrap();
    let key = Key { partition: event, sort: "9".to_owned() };
    assert!(subject.ports.tables.get((&account).into(), &ACTIVITY, &key).await.unwrap().is_some());
}

async fn paging_reaches_the_end_without_gaps_or_doubles(subject: &Subject) {
    let (account, shard) = (subject.account(), subject.unique("shard"));
    // Many rows with the same place in the index: only their keys tell them apart, in an order of the store's own.
    let jobs: Vec<String> = (0..23).map(|n| format!("job_{n:02}")).collect();
    for (n, job) in jobs.iter().enumerate() {
        let body = json!({ "accountId": account.account_id(), "jobId": job, "sourceId": "s",
            "dueShard": shard, "nextDueMs": n / 10 });
        write(subject, &account, put(&JOBS, object(body), Condition::Any)).await.unwrap();
    }
    for limit in [1, 2, 5, 22, 23, 24, 1000] {
        let pages = Query { limit, ..query(&JOBS, Some("due"), &shard) };
        for descending in [false, true] {
            let pages = Query { descending, ..pages.clone() };
            let mut found = all(subject, &account, pages, "jobId").await;
            if descending {
                found.reverse();
            }
            for places in [0..10, 10..20, 20..23] {
                found[places].sort_unstable();
            }
            assert_eq!(found, jobs, "{limit} a page, descending {descending}");
        }
    }
    // Rows that come and go behind and before the cursor do not shift the page.
    let half = Query { limit: 10, ..query(&JOBS, Some("due"), &shard) };
    let first = subject.ports.tables.query((&account).into(), half.clone()).await.unwrap();
    let key = Key { partition: account.account_id().to_string(), sort: jobs[9].clone() };
    write(subject, &account, Write::Delete { table: &JOBS, key, condition: Condition::Any }).await.unwrap();
    let rest = all(subject, &account, Query { after: first.next, ..half }, "jobId").await;
    assert_eq!(rest, jobs[10..]);
}

async fn a_page_goes_on_past_rows_of_other_accounts(subject: &Subject) {
    let (accounts, job) = ([subject.account(), subject.account()], subject.unique("job"));
    for n in 0..9 {
        let account = &accounts[n % 2];
        let body = json!({ "accountId": account.account_id(), "jobId": job, "runId": format!("run_{n}"),
            "liveShard": job, "leaseExpiresMs": n });
        write(subject, account, put(&RUNS, object(body), Condition::Absent)).await.unwrap();
    }
    for index in [None, Some("live")] {
        let mut pages = Query { limit: 2, ..query(&RUNS, index, &job) };
        for expected in [&["run_1", "run_3"], &["run_5", "run_7"]] {
            let page = subject.ports.tables.query((&accounts[1]).into(), pages.clone()).await.unwrap();
            let found: Vec<_> = page.items.iter().map(|item| item.body["runId"].as_str().unwrap()).collect();
            assert_eq!(found, expected, "{index:?}");
            pages.after = page.next;
        }
        if pages.after.is_some() {
            assert!(all(subject, &accounts[1], pages, "runId").await.is_empty(), "{index:?}");
        }
    }
}

async fn cursors_of_other_queries_are_refused(subject: &Subject) {
    let account = subject.account();
    for id in ["a", "b", "c"] {
        write(subject, &account, put(&SOURCES, source(&account, id, "n"), Condition::Any)).await.unwrap();
    }
    let partition = account.account_id().to_string();
    let integration = format!("{partition}-stripe");
    let base = Query { limit: 1, ..query(&SOURCES, None, &partition) };
    let tables = &subject.ports.tables;
    let next = tables.query((&account).into(), base.clone()).await.unwrap().next;
    assert!(next.is_some());
    let others = [
        Query { after: next.clone(), ..query(&SOURCES, Some("by-integration"), &integration) },
        Query { after: next.clone(), ..query(&SOURCES, None, "acc_other") },
        Query { after: next.clone(), ..query(&JOBS, None, &partition) },
        Query { after: next.map(|text| format!("x{text}")), ..base.clone() },
        Query { after: Some("nonsense".to_owned()), ..base.clone() },
        Query { after: Some(String::new()), ..base },
    ];
    for other in others {
        let shown = format!("{other:?}");
        assert_eq!(tables.query((&account).into(), other).await.unwrap_err().kind(), ErrorKind::Invalid, "{shown}");
    }
}
