//! Access tokens and the keys that sign them: Ed25519, sealed in the database, replaced every 90 days.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rusqlite::{Connection, params};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::tokens;
use crate::{
    adapters::embedded::database::{Database, failed},
    error::{Error, ErrorKind, Result},
    model::{AccountId, UserId},
    ports::{Keys, Random},
    secret,
};

/// How long an access token lives.
pub(super) const ACCESS_TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Who access tokens are for.
pub(super) const AUDIENCE: &str = "listbackup";
/// Age at which a key is replaced.
const KEY_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// The present key and the one before it, whose tokens may still be on their way.
const PUBLISHED_KEYS: i64 = 2;
const SEED_BYTES: usize = 32;
const ISSUER: &str = "issuer";

/// The signing keys of one data directory.
pub(super) struct SigningKeys {
    database: Database,
    keys: Arc<dyn Keys>,
    random: Arc<dyn Random>,
    ring: Mutex<Option<Arc<Ring>>>,
}

/// The keys at one time.
struct Ring {
    present: Option<PresentKey>,
    jwks: Value,
}

struct PresentKey {
    id: String,
    created_at_ms: i64,
    private: EncodingKey,
}

/// Makes the tables that are missing, and at the first start the issuer's name: one of its own for each data
/// directory, so that two installations never take each other's tokens.
pub(super) fn set_up(connection: &Connection, random: &dyn Random) -> Result<()> {
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS secrets (
                name TEXT PRIMARY KEY,
                sealed TEXT NOT NULL,
                created_at_ms INTEGER NOT NULL
            );
            CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);",
        )
        .map_err(failed)?;
    connection
        .execute(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![ISSUER, format!("urn:listbackup:{}", tokens::identifier(random))],
        )
        .map(|_| ())
        .map_err(failed)
}

/// `iss` of this data directory's tokens.
pub(super) fn issuer(database: &Database) -> Result<String> {
    database.look(|connection| {
        connection.query_row("SELECT value FROM settings WHERE name = ?1", [ISSUER], |row| row.get(0)).map_err(failed)
    })
}

impl SigningKeys {
    /// Over the database; nothing is read before the first use.
    pub(super) fn new(database: Database, keys: Arc<dyn Keys>, random: Arc<dyn Random>) -> Self {
        Self { database, keys, random, ring: Mutex::new(None) }
    }

    /// A JWT for work in one account.
    pub(super) async fn access_token(
        &self,
        issuer: &str,
        user_id: UserId,
        account_id: AccountId,
        now: Timestamp,
    ) -> Result<SecretString> {
        let ring = self.ring(now).await?;
        let key = ring.present.as_ref().ok_or_else(unusable)?;
        let now_s = now.as_second();
        let claims = json!({
            "iss": issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "account": account_id,
            "token_use": "access",
            "iat": now_s,
            "nbf": now_s,
            "exp": now_s + ACCESS_TOKEN_LIFETIME.as_secs().cast_signed(),
            "jti": tokens::identifier(&*self.random),
        });
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(key.id.clone());
        jsonwebtoken::encode(&header, &claims, &key.private)
            .map(SecretString::from)
            .map_err(|error| unusable().caused_by(error))
    }

    /// The public keys as a JWKS document.
    pub(super) async fn jwks(&self, now: Timestamp) -> Result<Value> {
        Ok(self.ring(now).await?.jwks.clone())
    }

    /// The keys, the present one made or replaced when it is time.
    async fn ring(&self, now: Timestamp) -> Result<Arc<Ring>> {
        let mut cached = self.ring.lock().await;
        if let Some(ring) = &*cached
            && ring.is_fresh(now)
        {
            return Ok(ring.clone());
        }
        let mut ring = self.load().await?;
        if !ring.is_fresh(now) && self.database.is_writable() {
            self.generate(now).await?;
            ring = self.load().await?;
        }
        let ring = Arc::new(ring);
        *cached = Some(ring.clone());
        Ok(ring)
    }

    async fn load(&self) -> Result<Ring> {
        let rows: Vec<(String, String, i64)> = self
            .database
            .read(|connection| {
                let mut select = connection
                    .prepare(
                        "SELECT name, sealed, created_at_ms FROM secrets WHERE name LIKE 'signing-key/%' \
                              ORDER BY created_at_ms DESC, name LIMIT ?1",
                    )
                    .map_err(failed)?;
                select
                    .query_map([PUBLISHED_KEYS], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                    .and_then(Iterator::collect)
                    .map_err(failed)
            })
            .await?;
        let (mut present, mut public) = (None, Vec::new());
        for (name, sealed, created_at_ms) in rows {
            let seed = secret::open(&*self.keys, &context(&name), &sealed).await?;
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| unusable())?;
            let (id, key) = public_key(&pair);
            public.push(key);
            if present.is_none() {
                let pkcs8 = pair.to_pkcs8v1().map_err(|_| unusable())?;
                present = Some(PresentKey { id, created_at_ms, private: EncodingKey::from_ed_der(pkcs8.as_ref()) });
            }
        }
        Ok(Ring { present, jwks: json!({ "keys": public }) })
    }

    async fn generate(&self, now: Timestamp) -> Result<()> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        self.random.fill(&mut *seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| unusable())?;
        let name = format!("signing-key/{}", public_key(&pair).0);
        let sealed = secret::seal(&*self.keys, &context(&name), &*seed).await?;
        let created_at_ms = now.as_millisecond();
        self.database
            .write(move |connection| {
                connection
                    .execute(
                        "INSERT INTO secrets (name, sealed, created_at_ms) VALUES (?1, ?2, ?3)",
                        params![name, sealed, created_at_ms],
                    )
                    .map(|_| ())
                    .map_err(failed)
            })
            .await
    }
}

impl Ring {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let lifetime_ms = i64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        self.present.as_ref().is_some_and(|key| now.as_millisecond() - key.created_at_ms < lifetime_ms)
    }
}

/// The id of a key (its thumbprint, RFC 7638) and its public part as a JWK (RFC 8037).
fn public_key(pair: &Ed25519KeyPair) -> (String, Value) {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let id = tokens::hash(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "alg": "EdDSA", "use": "sig" });
    (id, key)
}

/// What the secret of that name is bound to.
pub(super) fn context(name: &str) -> String {
    format!("secret={name}")
}

fn unusable() -> Error {
    Error::new(ErrorKind::Bug, "there is no usable key to sign access tokens")
}
