//! The key that signs access tokens is replaced, and nobody is signed out by it.

use std::time::Duration;

use listbackup_engine::{ErrorKind, adapters::embedded::EmbeddedStores, adapters::embedded::OpenMode};
use serde_json::Value;

use crate::support::{Embedded, pass};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn key_ids(stores: &EmbeddedStores) -> Vec<String> {
    let document = stores.ports().identity.jwks().await.unwrap();
    let ids = document["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
    ids.collect()
}

fn count(embedded: &Embedded, table: &str) -> i64 {
    let database = rusqlite::Connection::open(embedded.directory.path().join("listbackup.db")).unwrap();
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_signed_is_published_a_day_longer_and_its_private_part_is_deleted_at_once() {
    let embedded = Embedded::new();
    let first = key_ids(&embedded.stores).await;
    assert_eq!(first.len(), 1);
    pass(89 * DAY).await;
    assert_eq!(key_ids(&embedded.stores).await, first, "not before its time");
    pass(DAY).await;
    let both = key_ids(&embedded.stores).await;
    assert_eq!((both.len(), &both[1]), (2, &first[0]), "the new one, then the one before");
    assert_eq!(count(&embedded, "secrets WHERE name LIKE 'signing-key/%'"), 1, "one private part");
    pass(DAY - Duration::from_secs(1)).await;
    assert_eq!(key_ids(&embedded.stores).await, both);
    pass(Duration::from_secs(1)).await;
    assert_eq!(key_ids(&embedded.stores).await, both[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_replaced_before_its_time_when_somebody_asks() {
    let embedded = Embedded::new();
    let first = key_ids(&embedded.stores).await;
    let second = embedded.stores.rotate_signing_key().await.unwrap();
    let third = embedded.stores.rotate_signing_key().await.unwrap();
    assert_eq!((&second.retired, &third.retired), (&Some(first[0].clone()), &Some(second.key_id.clone())));
    let published = key_ids(&embedded.stores).await;
    assert_eq!((published.len(), &published[0]), (3, &third.key_id), "all whose tokens may be on their way");
    assert!(published.contains(&first[0]) && published.contains(&second.key_id));
    let reader = EmbeddedStores::open(embedded.directory.path(), OpenMode::Read).unwrap();
    let refused = reader.rotate_signing_key().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    pass(DAY).await;
    embedded.stores.rotate_signing_key().await.unwrap();
    assert_eq!(count(&embedded, "retired_signing_keys"), 1, "what nobody needs is forgotten");
}

#[tokio::test(start_paused = true)]
async fn many_who_need_a_new_key_at_one_time_make_one() {
    let embedded = Embedded::new();
    key_ids(&embedded.stores).await;
    pass(90 * DAY).await;
    let identity = embedded.stores.ports().identity;
    let asked = (0..20).map(|_| {
        let identity = identity.clone();
        async move { identity.jwks().await.unwrap() }
    });
    let answers: Vec<Value> = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "all see the same keys");
    assert_eq!(
        (count(&embedded, "secrets WHERE name LIKE 'signing-key/%'"), count(&embedded, "retired_signing_keys")),
        (1, 1)
    );
}
