//! The promises of the blobs port.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use listbackup_engine::{
    ErrorKind,
    model::scope::AccountScope,
    ports::{BlobEntry, PutOutcome, QueueName},
};

use crate::support::{Subject, pass};

/// Every promise, one after another.
pub async fn keeps_all(subject: &Subject) {
    stores_objects(subject).await;
    snapshots_are_announced(subject).await;
    locked_objects_cannot_be_removed(subject).await;
}

/// Every promise but the message of a new snapshot: for stores whose service sends that by itself, in its own form.
pub async fn stores_objects(subject: &Subject) {
    what_is_put_is_read_back(subject).await;
    nothing_is_overwritten(subject).await;
    of_racing_writers_exactly_one_creates(subject).await;
    readers_never_see_a_part(subject).await;
    large_objects_are_whole_and_made_once(subject).await;
    ranges_are_exact(subject).await;
    listings_are_in_path_order(subject).await;
    deleting_is_repeatable(subject).await;
    paths_outside_the_account_are_denied(subject).await;
}

fn path(account: &AccountScope, rest: &str) -> String {
    format!("accounts/{}/{rest}", account.account_id())
}

async fn put(subject: &Subject, account: &AccountScope, rest: &str, bytes: impl Into<Bytes>) -> PutOutcome {
    subject.ports.blobs.put_if_absent(account, &path(account, rest), bytes.into()).await.unwrap()
}

async fn what_is_put_is_read_back(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    for (rest, content) in [("empty", Bytes::new()), ("sources/s/segments/1.seg", Bytes::from(vec![7; 3_000_000]))] {
        let path = path(&account, rest);
        assert_eq!(blobs.get(&account, &path).await.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(blobs.size(&account, &path).await.unwrap(), None);
        assert_eq!(blobs.put_if_absent(&account, &path, content.clone()).await.unwrap(), PutOutcome::Created);
        assert_eq!(blobs.get(&account, &path).await.unwrap(), content);
        assert_eq!(blobs.size(&account, &path).await.unwrap(), Some(content.len() as u64));
    }
    // A directory of the embedded store is no object.
    assert_eq!(blobs.size(&account, &path(&account, "sources")).await.unwrap(), None);
}

async fn nothing_is_overwritten(subject: &Subject) {
    let account = subject.account();
    assert_eq!(put(subject, &account, "a", "first").await, PutOutcome::Created);
    assert_eq!(put(subject, &account, "a", "second").await, PutOutcome::Exists);
    assert_eq!(subject.ports.blobs.get(&account, &path(&account, "a")).await.unwrap(), "first");
}

async fn of_racing_writers_exactly_one_creates(subject: &Subject) {
    let account = subject.account();
    for round in 0..20 {
        // A new directory each round: making it is part of the race.
        let rest = format!("race/{round}/object");
        let racers = (0..32_u8).map(|racer| {
            let (blobs, path) = (subject.ports.blobs.clone(), path(&account, &rest));
            tokio::spawn(async move {
                (racer, blobs.put_if_absent(&account, &path, vec![racer; 10_000].into()).await.unwrap())
            })
        });
        let outcomes = futures::future::join_all(racers).await;
        let winners: Vec<u8> = outcomes
            .into_iter()
            .map(Result::unwrap)
            .filter_map(|(racer, outcome)| (outcome == PutOutcome::Created).then_some(racer))
            .collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?} won");
        let content = subject.ports.blobs.get(&account, &path(&account, &rest)).await.unwrap();
        assert_eq!(content, vec![winners[0]; 10_000], "round {round}: the winner's bytes are there");
    }
}

async fn large_objects_are_whole_and_made_once(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    let path = path(&account, "large");
    // No two blocks of it are alike, so none can take another's place.
    let content = |first: u64| -> Bytes { (first..first + 8_400).flat_map(|n| n.to_le_bytes().repeat(512)).collect() };
    let racers = [0, 1 << 40].map(|first| blobs.put_if_absent(&account, &path, content(first)));
    let outcomes: Vec<_> = futures::future::join_all(racers).await.into_iter().map(Result::unwrap).collect();
    let winner = outcomes.iter().position(|outcome| *outcome == PutOutcome::Created).expect("one creates");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == PutOutcome::Created).count(), 1, "{outcomes:?}");
    assert!(blobs.get(&account, &path).await.unwrap() == content([0, 1 << 40][winner]), "the winner's bytes are there");
    assert_eq!(blobs.put_if_absent(&account, &path, content(2)).await.unwrap(), PutOutcome::Exists);
    let (at, length) = (16 * 1024 * 1024 - 5, 10);
    let range = blobs.get_range(&account, &path, at..at + length).await.unwrap();
    assert_eq!(range, content([0, 1 << 40][winner]).slice(at as usize..(at + length) as usize));
}

async fn readers_never_see_a_part(subject: &Subject) {
    let account = subject.account();
    let size = 2_000_000;
    for round in 0..10 {
        let path = path(&account, &format!("whole/{round}"));
        let done = Arc::new(AtomicBool::new(false));
        let reader = {
            let (blobs, path, done) = (subject.ports.blobs.clone(), path.clone(), done.clone());
            tokio::spawn(async move {
                loop {
                    let last_look = done.load(Ordering::Acquire);
                    match blobs.get(&account, &path).await {
                        Ok(content) => assert_eq!(content.len(), size, "a part was read"),
                        Err(error) => assert!(error.kind() == ErrorKind::NotFound && !last_look, "{error}"),
                    }
                    if last_look {
                        return;
                    }
                }
            })
        };
        let writers = (0..4_u8).map(|n| subject.ports.blobs.put_if_absent(&account, &path, vec![n; size].into()));
        for outcome in futures::future::join_all(writers).await {
            outcome.unwrap();
        }
        done.store(true, Ordering::Release);
        reader.await.unwrap();
    }
}

async fn ranges_are_exact(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    put(subject, &account, "r", "0123456789").await;
    let path = path(&account, "r");
    assert_eq!(blobs.get_range(&account, &path, 0..10).await.unwrap(), "0123456789");
    assert_eq!(blobs.get_range(&account, &path, 3..5).await.unwrap(), "34");
    assert_eq!(blobs.get_range(&account, &path, 9..10).await.unwrap(), "9");
    for (start, end) in [(0, 11), (10, 11), (20, 30), (0, u64::MAX)] {
        let cut = blobs.get_range(&account, &path, start..end).await.unwrap_err();
        assert_eq!(cut.kind(), ErrorKind::Corrupt, "{start}..{end}");
    }
    let missing = blobs.get_range(&account, &format!("{path}x"), 0..1).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

async fn listings_are_in_path_order(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    let other = subject.account();
    put(subject, &other, "a/1", "x").await;
    let mut paths: Vec<String> =
        ["a/1", "a/2", "a-b/1", "a.b", "a/c/d/e", "b", "a0", "é/1"].map(|rest| path(&account, rest)).into();
    for path in &paths {
        blobs.put_if_absent(&account, path, Bytes::from_static(b"xyz")).await.unwrap();
    }
    paths.sort();
    let all = path(&account, "");
    let listed = blobs.list(&account, &all, None, 100).await.unwrap();
    assert_eq!(listed, paths.iter().map(|path| BlobEntry { path: path.clone(), size_bytes: 3 }).collect::<Vec<_>>());
    for limit in 1..=3 {
        let (mut walked, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = blobs.list(&account, &all, after.as_deref(), limit).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.path.clone());
            walked.extend(page.into_iter().map(|entry| entry.path));
        }
        assert_eq!(walked, paths, "{limit} at a time");
    }
    let start = path(&account, "a");
    let expected: Vec<_> = paths.iter().filter(|path| path.starts_with(&start)).cloned().collect();
    let listed = blobs.list(&account, &start, None, 100).await.unwrap();
    assert_eq!(
        listed.into_iter().map(|entry| entry.path).collect::<Vec<_>>(),
        expected,
        "a prefix may end within a name"
    );
    assert_eq!(blobs.list(&account, &path(&account, "nothing/here"), None, 100).await.unwrap(), []);
}

async fn deleting_is_repeatable(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    put(subject, &account, "d/1", "x").await;
    let path = path(&account, "d/1");
    blobs.delete(&account, &path).await.unwrap();
    blobs.delete(&account, &path).await.unwrap();
    assert_eq!(blobs.size(&account, &path).await.unwrap(), None);
    assert_eq!(put(subject, &account, "d/1", "y").await, PutOutcome::Created);
}

/// Needs a store that was set up for locks.
pub async fn locked_objects_cannot_be_removed(subject: &Subject) {
    let (account, blobs) = (subject.account(), &subject.ports.blobs);
    let (path, other) = (path(&account, "sources/s/locked"), path(&account, "sources/s/free"));
    let soon = subject.ports.clock.now().round(jiff::Unit::Second).unwrap() + Duration::from_secs(3);
    let absent = blobs.retain_until(&account, &path, soon).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
    assert_eq!(blobs.retained_until(&account, &path).await.unwrap(), None);
    for path in [&path, &other] {
        blobs.put_if_absent(&account, path, "kept".into()).await.unwrap();
        assert_eq!(blobs.retained_until(&account, path).await.unwrap(), None);
    }
    blobs.retain_until(&account, &path, soon - Duration::from_secs(1)).await.unwrap();
    blobs.retain_until(&account, &path, soon).await.unwrap();
    blobs.retain_until(&account, &path, soon - Duration::from_secs(1)).await.unwrap();
    assert_eq!(blobs.retained_until(&account, &path).await.unwrap(), Some(soon), "a lock is never shortened");
    let refused = blobs.delete(&account, &path).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    assert!(refused.to_string().contains("locked until"), "{refused}");
    assert_eq!(blobs.get(&account, &path).await.unwrap(), "kept");
    assert_eq!(blobs.put_if_absent(&account, &path, "other".into()).await.unwrap(), PutOutcome::Exists);
    blobs.delete(&account, &other).await.unwrap();
    let listed = blobs.list(&account, &path.replace("locked", ""), None, 9).await.unwrap();
    assert_eq!(listed, [BlobEntry { path: path.clone(), size_bytes: 4 }], "locks are not listed");
    // Rounding takes up to half a second, and a server may count the last second as locked to its end.
    pass(Duration::from_secs(5)).await;
    blobs.delete(&account, &path).await.unwrap();
    assert_eq!(blobs.size(&account, &path).await.unwrap(), None);
    assert_eq!(blobs.retained_until(&account, &path).await.unwrap(), None);
}

async fn paths_outside_the_account_are_denied(subject: &Subject) {
    let (mine, other) = (subject.account(), subject.account());
    let blobs = &subject.ports.blobs;
    put(subject, &other, "secret", "x").await;
    let id = mine.account_id();
    let paths = [
        path(&other, "secret"),
        format!("accounts/{id}/../{}/secret", other.account_id()),
        format!("accounts/{id}/a/../../b"),
        format!("accounts/{id}x/a"),
        format!("accounts/{id}"),
        format!("/accounts/{id}/a"),
        format!("accounts/{id}//a"),
        format!("accounts/{id}/./a"),
        format!("accounts/{id}/a\0b"),
        format!("accounts/{id}/a/"),
        "../a".to_owned(),
        "a".to_owned(),
        String::new(),
    ];
    for path in &paths {
        let mut kinds = vec![
            blobs.get(&mine, path).await.unwrap_err().kind(),
            blobs.get_range(&mine, path, 0..1).await.unwrap_err().kind(),
            blobs.size(&mine, path).await.unwrap_err().kind(),
            blobs.put_if_absent(&mine, path, Bytes::new()).await.unwrap_err().kind(),
            blobs.delete(&mine, path).await.unwrap_err().kind(),
            blobs.retain_until(&mine, path, Timestamp::MAX).await.unwrap_err().kind(),
            blobs.retained_until(&mine, path).await.unwrap_err().kind(),
        ];
        if !path.ends_with('/') {
            kinds.push(blobs.list(&mine, path, None, 10).await.unwrap_err().kind());
        }
        assert!(kinds.iter().all(|kind| *kind == ErrorKind::Denied), "{path:?}: {kinds:?}");
    }
    assert_eq!(blobs.get(&other, &path(&other, "secret")).await.unwrap(), "x");
}

async fn snapshots_are_announced(subject: &Subject) {
    let (account, queue) = (subject.account(), &subject.ports.queue);
    let rest = "sources/s/snapshots/1.snap";
    put(subject, &account, "sources/s/segments/1.seg", "not told").await;
    assert_eq!(put(subject, &account, rest, "12345").await, PutOutcome::Created);
    let visibility = Duration::from_secs(30);
    let told = queue.receive(QueueName::Data, 10, visibility, Duration::from_secs(20)).await.unwrap();
    let expected = serde_json::json!({ "path": path(&account, rest), "sizeBytes": 5 });
    assert_eq!(told.iter().map(|message| &message.body).collect::<Vec<_>>(), [&expected]);
    queue.acknowledge(QueueName::Data, &told[0].receipt).await.unwrap();
    assert_eq!(put(subject, &account, rest, "54321").await, PutOutcome::Exists);
    assert_eq!(queue.receive(QueueName::Data, 10, visibility, Duration::from_secs(2)).await.unwrap(), []);
}
