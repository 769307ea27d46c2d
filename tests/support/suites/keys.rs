//! The promises of the keys port, and of secrets sealed through it.

use listbackup_engine::{ErrorKind, secret};

use crate::support::Subject;

/// Every promise, one after another.
pub async fn keeps_all(subject: &Subject) {
    a_wrapped_key_opens_in_its_context_only(subject).await;
    a_key_wrapped_again_opens_in_its_context_only(subject).await;
    an_altered_wrapped_key_is_refused(subject).await;
    a_sealed_secret_opens_in_its_context_only(subject).await;
    an_altered_secret_is_refused(subject).await;
}

async fn a_wrapped_key_opens_in_its_context_only(subject: &Subject) {
    let keys = &subject.ports.keys;
    let (one, two) =
        (keys.generate("account=a;epoch=1").await.unwrap(), keys.generate("account=a;epoch=1").await.unwrap());
    assert_ne!(*one.plain, *two.plain);
    assert!(!one.wrapped.windows(32).any(|window| window == &one.plain[..]), "the wrapped key shows the key");
    assert_eq!(*keys.unwrap("account=a;epoch=1", &one.wrapped).await.unwrap(), *one.plain);
    for context in ["account=b;epoch=1", "account=a;epoch=2", ""] {
        assert_eq!(keys.unwrap(context, &one.wrapped).await.unwrap_err().kind(), ErrorKind::Corrupt, "{context}");
    }
}

async fn a_key_wrapped_again_opens_in_its_context_only(subject: &Subject) {
    let keys = &subject.ports.keys;
    let key = keys.generate("account=a;epoch=1").await.unwrap();
    let wrapped = keys.wrap("account=a;epoch=1", &key.plain).await.unwrap();
    assert_ne!(wrapped, key.wrapped);
    assert_eq!(*keys.unwrap("account=a;epoch=1", &wrapped).await.unwrap(), *key.plain);
    assert_eq!(keys.unwrap("account=b;epoch=1", &wrapped).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

async fn an_altered_wrapped_key_is_refused(subject: &Subject) {
    let keys = &subject.ports.keys;
    let key = keys.generate("c").await.unwrap();
    for position in 0..key.wrapped.len() {
        let mut flipped = key.wrapped.clone();
        flipped[position] ^= 1;
        assert_eq!(keys.unwrap("c", &flipped).await.unwrap_err().kind(), ErrorKind::Corrupt, "byte {position}");
        let cut = &key.wrapped[..position];
        assert_eq!(keys.unwrap("c", cut).await.unwrap_err().kind(), ErrorKind::Corrupt, "cut at {position}");
    }
}

async fn a_sealed_secret_opens_in_its_context_only(subject: &Subject) {
    let keys = &*subject.ports.keys;
    for plain in [&b""[..], b"sk_live_canary", &[7; 10_000]] {
        let sealed = secret::seal(keys, "source=1", plain).await.unwrap();
        assert!(!sealed.contains("canary"));
        assert_ne!(sealed, secret::seal(keys, "source=1", plain).await.unwrap(), "sealed twice, it looks different");
        assert_eq!(**secret::open(keys, "source=1", &sealed).await.unwrap(), *plain);
        assert_eq!(secret::open(keys, "source=2", &sealed).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

async fn an_altered_secret_is_refused(subject: &Subject) {
    let keys = &*subject.ports.keys;
    let sealed = secret::seal(keys, "source=1", b"sk_live_canary").await.unwrap();
    for position in 0..sealed.len() {
        let mut altered = sealed.clone().into_bytes();
        altered[position] = if altered[position] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(secret::open(keys, "source=1", &altered).await.is_err(), "letter {position}");
        assert!(secret::open(keys, "source=1", &sealed[..position]).await.is_err(), "cut at {position}");
    }
}
