//! Two processes that work with one database.

use async_trait::async_trait;
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use secrecy::ExposeSecret;
use tempfile::TempDir;
use tokio::sync::Barrier;

use super::*;
use crate::{
    adapters::embedded::{EmbeddedStores, OpenMode, SystemRandom},
    ports::DataKey,
};

const ISSUER: &str = "urn:listbackup:test";
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// Lets nobody seal a new key before as many as that are about to.
struct AtOnce {
    keys: Arc<dyn Keys>,
    barrier: Barrier,
}

#[async_trait]
impl Keys for AtOnce {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        self.barrier.wait().await;
        self.keys.generate(context).await
    }
    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>> {
        self.keys.wrap(context, plain).await
    }
    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        self.keys.unwrap(context, wrapped).await
    }
}

fn stores() -> (EmbeddedStores, TempDir) {
    let directory = TempDir::new().unwrap();
    (EmbeddedStores::open(directory.path(), OpenMode::Write).unwrap(), directory)
}

fn process(stores: &EmbeddedStores, keys: Arc<dyn Keys>) -> SigningKeys {
    SigningKeys::new(stores.database.clone(), keys, Arc::new(SystemRandom))
}

async fn token(signing: &SigningKeys) -> SecretString {
    let (user_id, account_id) = (UserId::derived(1, [1; 10]), AccountId::derived(1, [1; 10]));
    signing.access_token(ISSUER, user_id, account_id, NOW).await.unwrap()
}

/// The key of a token that the published keys of a process verify.
async fn verified(signing: &SigningKeys, token: &SecretString) -> String {
    let keys: JwkSet = serde_json::from_value(signing.jwks(NOW).await.unwrap()).unwrap();
    let key_id = jsonwebtoken::decode_header(token.expose_secret()).unwrap().kid.unwrap();
    let key = DecodingKey::from_jwk(keys.find(&key_id).expect("the key is published")).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation).expect("a token of ours");
    key_id
}

#[tokio::test]
async fn two_processes_that_replace_the_key_at_one_time_make_one_and_take_each_others_tokens() {
    let (stores, _directory) = stores();
    let keys = stores.ports().keys;
    let first = token(&process(&stores, keys.clone())).await;
    let at_once: Arc<dyn Keys> = Arc::new(AtOnce { keys, barrier: Barrier::new(2) });
    let both = [process(&stores, at_once.clone()), process(&stores, at_once)];
    let mut tokens = vec![first, token(&both[0]).await, token(&both[1]).await];
    let (one, other) = tokio::join!(both[0].rotate(NOW), both[1].rotate(NOW));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one, other, "both tell of the one new key");
    tokens.extend([token(&both[0]).await, token(&both[1]).await]);
    for signing in &both {
        let published = signing.jwks(NOW).await.unwrap();
        assert_eq!(published["keys"].as_array().map(Vec::len), Some(2), "{published}");
        let mut key_ids = Vec::new();
        for token in &tokens {
            key_ids.push(verified(signing, token).await);
        }
        let retired = one.retired.clone().unwrap();
        assert_eq!(key_ids, [&retired, &retired, &retired, &one.key_id, &one.key_id].map(String::clone));
    }
}

#[tokio::test]
async fn a_key_that_another_process_replaced_signs_no_more() {
    let (stores, _directory) = stores();
    let keys = stores.ports().keys;
    let (one, other) = (process(&stores, keys.clone()), process(&stores, keys));
    let before = token(&one).await;
    let rotation = other.rotate(NOW).await.unwrap();
    let after = token(&one).await;
    for signing in [&one, &other] {
        assert_eq!(Some(verified(signing, &before).await), rotation.retired);
        assert_eq!(verified(signing, &after).await, rotation.key_id);
    }
}
