//! The key that signs access tokens is replaced, and nobody is signed out by it.

use std::time::Duration;

use listbackup::jwt::Verifier;
use listbackup_engine::{
    ErrorKind,
    adapters::embedded::{EmbeddedStores, OpenMode},
    ports::SignIn,
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::{
    letters_to,
    suites::identity::HERE,
    support::{Embedded, pass},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);
/// How long an access token lives.
const LIFE: Duration = Duration::from_secs(15 * 60);
const EMAIL: &str = "ada@example.com";

async fn key_ids(stores: &EmbeddedStores) -> Vec<String> {
    let document = stores.ports().identity.jwks().await.unwrap();
    let ids = document["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned());
    ids.collect()
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

async fn register(embedded: &Embedded) {
    let identity = embedded.stores.ports().identity;
    identity.register(EMAIL, &secret("correct horse battery"), "Ada").await.unwrap();
    let letters = letters_to(&embedded.stores.mail_dir(), EMAIL);
    let code = letters[0].lines().find_map(|line| line.strip_prefix("Code: ")).unwrap();
    identity.verify(EMAIL, &secret(code)).await.unwrap();
}

/// An access token, and the id of the key that signed it.
async fn token(embedded: &Embedded) -> (SecretString, String) {
    let signed_in = embedded.stores.ports().identity.sign_in(EMAIL, &secret("correct horse battery"), None, HERE).await;
    let SignIn::Done(signed_in) = signed_in.unwrap() else { panic!("nobody was to be asked") };
    let header = jsonwebtoken::decode_header(signed_in.access_token.expose_secret()).unwrap();
    (signed_in.access_token, header.kid.unwrap())
}

/// Why a token is refused, or nothing.
async fn refusal(verifier: &Verifier, token: &SecretString) -> Option<String> {
    verifier.verify(token.expose_secret()).await.err().map(|error| error.to_string())
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

#[tokio::test(start_paused = true)]
async fn a_token_is_good_until_it_ends_also_when_its_key_is_replaced() {
    let embedded = Embedded::new();
    register(&embedded).await;
    let ports = embedded.stores.ports();
    let (before, retired) = token(&embedded).await;
    let verifier = Verifier::new(&ports);
    assert_eq!(refusal(&verifier, &before).await, None);
    let rotation = embedded.stores.rotate_signing_key().await.unwrap();
    assert_eq!(rotation.retired.as_ref(), Some(&retired));
    let (after, present) = token(&embedded).await;
    assert_eq!(present, rotation.key_id);
    // One that knew the keys of before, and one that knows none yet.
    for verifier in [&verifier, &Verifier::new(&ports)] {
        assert_eq!((refusal(verifier, &before).await, refusal(verifier, &after).await), (None, None));
    }
    pass(LIFE - SECOND).await;
    for verifier in [&verifier, &Verifier::new(&ports)] {
        assert_eq!((refusal(verifier, &before).await, refusal(verifier, &after).await), (None, None));
    }
    pass(SECOND).await;
    let ended = refusal(&verifier, &before).await.unwrap();
    assert!(ended.contains("the token has expired"), "{ended}");
    assert!(key_ids(&embedded.stores).await.contains(&retired), "its key is published longer than it lives");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_key_was_removed_is_refused() {
    let embedded = Embedded::new();
    register(&embedded).await;
    let ports = embedded.stores.ports();
    let (before, removed) = token(&embedded).await;
    let verifier = Verifier::new(&ports);
    assert_eq!(refusal(&verifier, &before).await, None);
    embedded.stores.rotate_signing_key().await.unwrap();
    let database = rusqlite::Connection::open(embedded.directory.path().join("listbackup.db")).unwrap();
    assert_eq!(database.execute("DELETE FROM retired_signing_keys WHERE id = ?1", [&removed]).unwrap(), 1);
    embedded.stores.rotate_signing_key().await.unwrap();
    assert!(!key_ids(&embedded.stores).await.contains(&removed));
    let refused = refusal(&Verifier::new(&ports), &before).await.unwrap();
    assert!(refused.contains("the token's key is not one of ours"), "{refused}");
    // Whoever knew the key reads the keys again after ten minutes, and then refuses too what would live for five more.
    pass(Duration::from_secs(10 * 60) - SECOND).await;
    assert_eq!(refusal(&verifier, &before).await, None);
    pass(SECOND).await;
    let refused = refusal(&verifier, &before).await.unwrap();
    assert!(refused.contains("the token's key is not one of ours"), "{refused}");
}
