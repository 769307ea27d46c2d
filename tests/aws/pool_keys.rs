//! The keys of a user pool, and the tokens that they sign: however many tokens come, the pool is asked seldom.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use listbackup::jwt::Verifier;
use listbackup_engine::{ErrorKind, ports::Identity};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use super::identity::{SUB, answer, identity_over};
use crate::support::{Embedded, MovableClock, Subject};

#[tokio::test]
async fn keys_of_a_pool_that_is_gone_are_asked_for_once_a_minute_and_without_any_every_five_seconds() {
    let pool = MockServer::start().await;
    let is_up = Arc::new(AtomicBool::new(false));
    let answers = is_up.clone();
    let document = move |_: &Request| match answers.load(Ordering::Relaxed) {
        true => answer(json!({ "keys": [] })),
        false => ResponseTemplate::new(503),
    };
    Mock::given(matchers::path("/keys")).respond_with(document).mount(&pool).await;
    let pool_keys = PoolKeys::of(&pool).await;
    for (seconds, asked) in [(0, 1), (4, 1), (1, 2), (5, 3)] {
        pool_keys.subject.pass(Duration::from_secs(seconds)).await;
        for read in futures::future::join_all((0..20).map(|_| pool_keys.identity().jwks())).await {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Retry);
        }
        assert_eq!(pool_keys.asked(&pool).await, asked);
    }
    is_up.store(true, Ordering::Relaxed);
    pool_keys.subject.pass(Duration::from_secs(5)).await;
    assert!(pool_keys.identity().jwks().await.is_ok());
    is_up.store(false, Ordering::Relaxed);
    for (seconds, asked) in [(59, 4), (1, 5), (30, 5), (29, 5), (1, 6)] {
        pool_keys.subject.pass(Duration::from_secs(seconds)).await;
        for read in futures::future::join_all((0..20).map(|_| pool_keys.identity().jwks())).await {
            assert!(read.is_ok(), "the last ones serve");
        }
        assert_eq!(pool_keys.asked(&pool).await, asked);
    }
}

#[tokio::test]
async fn however_many_tokens_name_unknown_keys_the_pool_is_asked_once_a_minute_and_a_new_key_is_found_then() {
    let pool = MockServer::start().await;
    let (first, new) = (PoolKey::new("first"), PoolKey::new("new"));
    let published = Arc::new(Mutex::new(vec![first.public.clone()]));
    let keys = published.clone();
    let document = move |_: &Request| answer(json!({ "keys": *keys.lock().unwrap() }));
    Mock::given(matchers::path("/keys")).respond_with(document).mount(&pool).await;
    let pool_keys = PoolKeys::of(&pool).await;
    let verifier = Verifier::new(&pool_keys.subject.ports);
    let is_good = async |key: &PoolKey| verifier.verify(&key.token(&pool_keys)).await.is_ok();
    let floods = async || {
        let names = (0..100).map(|n| PoolKey::new(&format!("made up {n}")).token(&pool_keys)).collect::<Vec<_>>();
        let refused = futures::future::join_all(names.iter().map(|token| verifier.verify(token))).await;
        assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err().kind() == ErrorKind::Denied));
    };
    assert!(is_good(&first).await);
    // Each minute is asked for by a hundred at once and another hundred in every ten seconds after.
    for minute in 0..3 {
        for _ in 0..6 {
            floods().await;
            assert_eq!(pool_keys.asked(&pool).await, minute + 1);
            assert!(is_good(&first).await, "nobody else is kept out");
            pool_keys.subject.pass(Duration::from_secs(10)).await;
        }
    }
    floods().await;
    published.lock().unwrap().push(new.public.clone());
    pool_keys.subject.pass(Duration::from_secs(59)).await;
    assert!(!is_good(&new).await);
    assert_eq!(pool_keys.asked(&pool).await, 4);
    pool_keys.subject.pass(Duration::from_secs(1)).await;
    assert!(is_good(&new).await && is_good(&first).await);
    assert_eq!(pool_keys.asked(&pool).await, 5);
}

/// People in a pool of which only the keys are asked for, with a clock that is moved by hand.
struct PoolKeys {
    subject: Subject,
    _embedded: Embedded,
}

impl PoolKeys {
    async fn of(pool: &MockServer) -> Self {
        let (embedded, clock) = (Embedded::new(), Arc::new(MovableClock::new()));
        let mut ports = embedded.stores.ports();
        ports.clock = clock.clone();
        ports.identity = identity_over(pool, ports.clone()).await;
        Self { subject: Subject::with_clock(ports, clock), _embedded: embedded }
    }

    fn identity(&self) -> &dyn Identity {
        &*self.subject.ports.identity
    }

    /// How often the pool was asked.
    async fn asked(&self, pool: &MockServer) -> usize {
        pool.received_requests().await.unwrap().len()
    }
}

/// A key of the pool.
struct PoolKey {
    id: String,
    private: EncodingKey,
    public: Value,
}

impl PoolKey {
    fn new(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&aws_lc_rs::rand::SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        let x = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let public = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x });
        Self { id: id.to_owned(), private: EncodingKey::from_ed_der(document.as_ref()), public }
    }

    /// A token that is good now, if the key is the pool's.
    fn token(&self, pool_keys: &PoolKeys) -> String {
        let now = pool_keys.subject.ports.clock.now().as_second();
        let identity = pool_keys.identity();
        let claims = json!({ "iss": identity.issuer(), "client_id": identity.audience(), "sub": SUB,
            "token_use": "access", "iat": now, "exp": now + 900 });
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.private).unwrap()
    }
}
