//! Access tokens: one verifier for our own tokens and Cognito's, through the identity's JWKS document.
//!
//! Ours say for whom they are in `aud` and name the account that their person works in. Those of a user pool have `client_id` instead
//! and name none: each request does, in a header (see `caller.rs`).
//!
//! The algorithm comes from the key, never from the token. Addresses and keys inside a token's header (`jku`, `x5u`,
//! `jwk`) are ignored. Instants are checked against the injected clock.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{AccountId, UserId},
    ports::{Clock, Identity, Ports},
};
use serde::Deserialize;
use serde_json::Value;

/// A token longer than this is refused unread; ours have about 500 bytes.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// An access token that claims to live longer is refused.
const LIFE_SECONDS_MAX: i64 = 15 * 60;
/// How far the clock of whoever made the token may be ahead.
const SKEW_SECONDS: i64 = 30;
/// Keys are read again when a token names an unknown one, but for that reason not more often than this: a new key signs at once, and
/// whoever makes names up asks for one reading a minute.
const REFRESH_GAP: SignedDuration = SignedDuration::from_secs(60);
/// Keys are read again after this time, so that a withdrawn one ends.
const KEYS_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// Who an access token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSubject {
    /// The person.
    pub user_id: UserId,
    /// The account that they work in, when the token names it.
    pub account_id: Option<AccountId>,
    /// When the token ends.
    pub expires_at: Timestamp,
}

/// Checks access tokens.
pub struct Verifier {
    identity: Arc<dyn Identity>,
    clock: Arc<dyn Clock>,
    keys: RwLock<Keys>,
}

#[derive(Default)]
struct Keys {
    by_id: BTreeMap<String, (Algorithm, DecodingKey)>,
    read_at: Option<Timestamp>,
    /// When they were read last because a token named an unknown one.
    sought_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Option<Audience>,
    client_id: Option<String>,
    sub: String,
    account: Option<String>,
    token_use: String,
    iat: i64,
    nbf: Option<i64>,
    exp: i64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn has(&self, wanted: &str) -> bool {
        match self {
            Self::One(audience) => audience == wanted,
            Self::Many(audiences) => audiences.iter().any(|audience| audience == wanted),
        }
    }
}

impl Verifier {
    /// Over the identity's keys.
    pub fn new(ports: &Ports) -> Self {
        Self { identity: ports.identity.clone(), clock: ports.clock.clone(), keys: RwLock::default() }
    }

    /// Checks a token and says who it speaks for.
    ///
    /// # Errors
    /// `Denied` for every token that is not exactly right, with a reason that helps its owner and no attacker;
    /// `Retry` when the keys cannot be read.
    pub async fn verify(&self, token: &str) -> Result<TokenSubject> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(refused("the token is too long"));
        }
        let header = decode_header(token).map_err(|_| refused("this is not a signed token"))?;
        if header.crit.is_some() {
            return Err(refused("the token asks for extensions that are not supported"));
        }
        let key_id = header.kid.ok_or_else(|| refused("the token names no key"))?;
        let (algorithm, key) = self.key(&key_id).await?;
        let claims = decode::<Claims>(token, &key, &signature_only(algorithm))
            .map_err(|_| refused("the token's signature or form is wrong"))?
            .claims;
        self.subject(&claims)
    }

    fn subject(&self, claims: &Claims) -> Result<TokenSubject> {
        let now = self.clock.now().as_second();
        let audience = self.identity.audience();
        let is_of_a_pool = claims.aud.is_none() && claims.client_id.is_some();
        let is_for_us = match &claims.aud {
            Some(named) => named.has(audience),
            None => claims.client_id.as_deref() == Some(audience),
        };
        if claims.iss != self.identity.issuer() || !is_for_us || claims.token_use != "access" {
            return Err(refused("the token was made for something else"));
        }
        if claims.exp <= now {
            return Err(refused("the token has expired; refresh it or sign in again"));
        }
        let earliest = now + SKEW_SECONDS;
        // A pool says only when it made a token.
        let not_before = claims.nbf.or(is_of_a_pool.then_some(claims.iat)).unwrap_or(i64::MAX);
        if not_before > earliest || claims.iat > earliest || claims.exp.saturating_sub(claims.iat) > LIFE_SECONDS_MAX {
            return Err(refused("the token is not valid at this time"));
        }
        let unreadable = || refused("the token's subject is not one of ours");
        let account_id = match &claims.account {
            Some(account) => Some(account.parse().map_err(|_| unreadable())?),
            None if is_of_a_pool => None,
            None => return Err(unreadable()),
        };
        Ok(TokenSubject {
            user_id: self.identity.user_of(&claims.sub).ok_or_else(unreadable)?,
            account_id,
            expires_at: Timestamp::from_second(claims.exp).map_err(|_| refused("the token never ends"))?,
        })
    }

    async fn key(&self, key_id: &str) -> Result<(Algorithm, DecodingKey)> {
        let sought_at = match self.look_up(key_id) {
            LookUp::Known(found) => return Ok(found),
            LookUp::Unknown => return Err(unknown_key()),
            LookUp::Stale(sought_at) => sought_at,
        };
        let document = self.identity.jwks().await?;
        let keys = Keys { by_id: usable_keys(&document), read_at: Some(self.clock.now()), sought_at };
        let found = keys.by_id.get(key_id).cloned();
        *self.keys.write().unwrap_or_else(std::sync::PoisonError::into_inner) = keys;
        found.ok_or_else(unknown_key)
    }

    fn look_up(&self, key_id: &str) -> LookUp {
        let keys = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = self.clock.now();
        let is_within = |at: Option<Timestamp>, time| at.is_some_and(|at| now.duration_since(at) < time);
        match keys.by_id.get(key_id) {
            Some(found) if is_within(keys.read_at, KEYS_LIFE) => LookUp::Known(found.clone()),
            Some(_) => LookUp::Stale(keys.sought_at),
            None if keys.read_at.is_none() => LookUp::Stale(None),
            None if is_within(keys.sought_at, REFRESH_GAP) => LookUp::Unknown,
            None => LookUp::Stale(Some(now)),
        }
    }
}

/// What is known of a key.
enum LookUp {
    Known((Algorithm, DecodingKey)),
    /// And it was found out a moment ago.
    Unknown,
    /// The keys must be read again to tell; with when they were, or are, read because of an unknown key.
    Stale(Option<Timestamp>),
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Denied, why)
}

fn unknown_key() -> Error {
    refused("the token's key is not one of ours")
}

/// The signature is jsonwebtoken's matter, bound to the key's algorithm; the claims are ours (injected clock).
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Keys that sign, with the one algorithm each is for. Symmetric keys have no place in a public document.
fn usable_keys(document: &Value) -> BTreeMap<String, (Algorithm, DecodingKey)> {
    let keys = document.get("keys").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    keys.iter()
        .filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
            let algorithm = algorithm_of(&jwk)?;
            let for_signing = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
            let decoding = DecodingKey::from_jwk(&jwk).ok().filter(|_| for_signing)?;
            Some((jwk.common.key_id?, (algorithm, decoding)))
        })
        .collect()
}

fn algorithm_of(jwk: &Jwk) -> Option<Algorithm> {
    match (&jwk.algorithm, jwk.common.key_algorithm) {
        (AlgorithmParameters::OctetKeyPair(key), None | Some(KeyAlgorithm::EdDSA))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            Some(Algorithm::EdDSA)
        }
        (AlgorithmParameters::EllipticCurve(key), None | Some(KeyAlgorithm::ES256))
            if key.curve == EllipticCurve::P256 =>
        {
            Some(Algorithm::ES256)
        }
        (AlgorithmParameters::RSA(_), None | Some(KeyAlgorithm::RS256)) => Some(Algorithm::RS256),
        _ => None,
    }
}
