//! Access tokens and the keys that sign them: Ed25519, sealed in the database, replaced every 90 days and whenever somebody asks.
//!
//! A new key is published and signs at once: whoever checks tokens reads the keys again when a token names an unknown one. With it, in the
//! same transaction, the private part of the key before is deleted; the public part stays published for a day, many times as long as any
//! token that it has signed.

use std::{sync::Arc, time::Duration};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rusqlite::{Connection, OptionalExtension, params};
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
/// How long a key is published after it has signed its last token.
const KEPT_PUBLIC: Duration = Duration::from_secs(24 * 60 * 60);
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
    retired: Vec<RetiredKey>,
}

struct PresentKey {
    id: String,
    x: String,
    created_at_ms: i64,
    private: EncodingKey,
}

/// What is left of a key that signs no more.
struct RetiredKey {
    id: String,
    x: String,
    published_until_ms: i64,
}

/// What a rotation of the keys that sign access tokens did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRotation {
    /// The key that signs now.
    pub key_id: String,
    /// The key before it, if there was one.
    pub retired: Option<String>,
    /// Until when that one is published.
    pub published_until: Timestamp,
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
            CREATE TABLE IF NOT EXISTS retired_signing_keys (
                id TEXT PRIMARY KEY,
                x TEXT NOT NULL,
                published_until_ms INTEGER NOT NULL
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

    /// The public keys as a JWKS document: the one that signs, then those whose tokens may still be on their way.
    pub(super) async fn jwks(&self, now: Timestamp) -> Result<Value> {
        Ok(self.ring(now).await?.jwks(now))
    }

    /// Replaces the key that signs, however young it is.
    ///
    /// # Errors
    /// `Denied` in a directory opened for reading; those of the database.
    pub(super) async fn rotate(&self, now: Timestamp) -> Result<SigningRotation> {
        let mut cached = self.ring.lock().await;
        let before = self.load().await?;
        self.replace(before.present.as_ref(), now).await?;
        let ring = Arc::new(self.load().await?);
        *cached = Some(ring.clone());
        let key_id = ring.present.as_ref().ok_or_else(unusable)?.id.clone();
        let published_until = Timestamp::from_millisecond(published_until_ms(now)).unwrap_or(Timestamp::MAX);
        Ok(SigningRotation { key_id, retired: before.present.map(|key| key.id), published_until })
    }

    /// The keys, the present one made or replaced when it is time. Whoever else works with this database may have replaced it: its
    /// private part is gone then, and nothing is signed by it any more.
    async fn ring(&self, now: Timestamp) -> Result<Arc<Ring>> {
        let mut cached = self.ring.lock().await;
        if let Some(ring) = &*cached
            && ring.is_fresh(now)
            && ring.signs_by(self.database.glance(newest)?.map(|(name, ..)| name).as_deref())
        {
            return Ok(ring.clone());
        }
        let mut ring = self.load().await?;
        if !ring.is_fresh(now) && self.database.is_writable() {
            self.replace(ring.present.as_ref(), now).await?;
            ring = self.load().await?;
        }
        let ring = Arc::new(ring);
        *cached = Some(ring.clone());
        Ok(ring)
    }

    async fn load(&self) -> Result<Ring> {
        let (newest, retired) =
            self.database.read(|connection| Ok((newest(connection)?, retired(connection)?))).await?;
        let Some((name, sealed, created_at_ms)) = newest else { return Ok(Ring { present: None, retired }) };
        let seed = secret::open(&*self.keys, &context(&name), &sealed).await?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| unusable())?;
        let (id, x) = public_part(&pair);
        let pkcs8 = pair.to_pkcs8v1().map_err(|_| unusable())?;
        let private = EncodingKey::from_ed_der(pkcs8.as_ref());
        Ok(Ring { present: Some(PresentKey { id, x, created_at_ms, private }), retired })
    }

    /// Makes a key in the place of `present`, unless somebody else did so meanwhile.
    async fn replace(&self, present: Option<&PresentKey>, now: Timestamp) -> Result<()> {
        let mut seed = Zeroizing::new([0; SEED_BYTES]);
        self.random.fill(&mut *seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| unusable())?;
        let name = name_of(&public_part(&pair).0);
        let sealed = secret::seal(&*self.keys, &context(&name), &*seed).await?;
        let retired = present.map(|key| (key.id.clone(), key.x.clone()));
        let is_made = self
            .database
            .write(move |connection| {
                let found = newest(connection)?.map(|(name, ..)| name);
                if found != retired.as_ref().map(|(id, _)| name_of(id)) {
                    return Ok(false);
                }
                retire(connection, retired, now)?;
                let insert = "INSERT INTO secrets (name, sealed, created_at_ms) VALUES (?1, ?2, ?3)";
                connection.execute(insert, params![name, sealed, now.as_millisecond()]).map_err(failed)?;
                Ok(true)
            })
            .await?;
        if is_made {
            tracing::info!("access tokens are signed by a new key");
        }
        Ok(())
    }
}

impl Ring {
    fn is_fresh(&self, now: Timestamp) -> bool {
        let lifetime_ms = i64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        self.present.as_ref().is_some_and(|key| now.as_millisecond() - key.created_at_ms < lifetime_ms)
    }

    fn signs_by(&self, newest: Option<&str>) -> bool {
        newest == self.present.as_ref().map(|key| name_of(&key.id)).as_deref()
    }

    fn jwks(&self, now: Timestamp) -> Value {
        let is_published = |key: &&RetiredKey| now.as_millisecond() < key.published_until_ms;
        let retired = self.retired.iter().filter(is_published).map(|key| public_key(&key.id, &key.x));
        let keys: Vec<Value> = self.present.iter().map(|key| public_key(&key.id, &key.x)).chain(retired).collect();
        json!({ "keys": keys })
    }
}

/// Name, sealed seed and time of the key that signs.
fn newest(connection: &Connection) -> Result<Option<(String, String, i64)>> {
    let select = "SELECT name, sealed, created_at_ms FROM secrets WHERE name LIKE 'signing-key/%' \
                  ORDER BY created_at_ms DESC, name LIMIT 1";
    connection.query_row(select, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional().map_err(failed)
}

/// Those that sign no more, the latest first.
fn retired(connection: &Connection) -> Result<Vec<RetiredKey>> {
    let select = "SELECT id, x, published_until_ms FROM retired_signing_keys ORDER BY published_until_ms DESC, id";
    let mut select = connection.prepare(select).map_err(failed)?;
    select
        .query_map([], |row| Ok(RetiredKey { id: row.get(0)?, x: row.get(1)?, published_until_ms: row.get(2)? }))
        .and_then(Iterator::collect)
        .map_err(failed)
}

/// Deletes every private part, keeps the public one of the key that signed until now, and forgets those that nobody needs any more.
fn retire(connection: &Connection, key: Option<(String, String)>, now: Timestamp) -> Result<()> {
    connection.execute("DELETE FROM secrets WHERE name LIKE 'signing-key/%'", []).map_err(failed)?;
    let delete = "DELETE FROM retired_signing_keys WHERE published_until_ms <= ?1";
    connection.execute(delete, [now.as_millisecond()]).map_err(failed)?;
    let Some((id, x)) = key else { return Ok(()) };
    let insert = "INSERT INTO retired_signing_keys (id, x, published_until_ms) VALUES (?1, ?2, ?3)";
    connection.execute(insert, params![id, x, published_until_ms(now)]).map(|_| ()).map_err(failed)
}

fn published_until_ms(now: Timestamp) -> i64 {
    let kept_ms = i64::try_from(KEPT_PUBLIC.as_millis()).unwrap_or(i64::MAX);
    now.as_millisecond().saturating_add(kept_ms)
}

fn name_of(id: &str) -> String {
    format!("signing-key/{id}")
}

/// The id of a key (its thumbprint, RFC 7638) and its public part in base64url.
fn public_part(pair: &Ed25519KeyPair) -> (String, String) {
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let id = tokens::hash(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
    (id, x)
}

/// A public key as a JWK (RFC 8037).
fn public_key(id: &str, x: &str) -> Value {
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "alg": "EdDSA", "use": "sig" })
}

/// What the secret of that name is bound to.
pub(super) fn context(name: &str) -> String {
    format!("secret={name}")
}

fn unusable() -> Error {
    Error::new(ErrorKind::Bug, "there is no usable key to sign access tokens")
}

#[cfg(test)]
mod tests;
