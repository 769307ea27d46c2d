//! Secrets of webhooks, and what they sign: [Standard Webhooks](https://www.standardwebhooks.com), signature `v1`.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::{
    error::Result,
    model::{AccountId, WebhookId},
    ports::{Keys, Random},
    secret,
};

/// Secrets begin so where people see them.
const PREFIX: &str = "whsec_";
/// Of a secret.
const BYTES: usize = 32;

/// A new secret: sealed for the webhook's row, and as the receiver is shown it, once.
///
/// # Errors
/// Those of [`Keys::generate`].
pub async fn new_secret(
    keys: &dyn Keys,
    random: &dyn Random,
    account_id: AccountId,
    webhook_id: WebhookId,
) -> Result<(String, SecretString)> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    random.fill(&mut *bytes);
    let sealed = secret::seal(keys, &context(account_id, webhook_id), &*bytes).await?;
    Ok((sealed, format!("{PREFIX}{}", STANDARD.encode(*bytes)).into()))
}

/// What a secret's seal is bound to.
pub fn context(account_id: AccountId, webhook_id: WebhookId) -> String {
    format!("account={account_id};webhook={webhook_id}")
}

/// The signature of one message by one secret.
pub fn sign(secret: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut signing = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    signing.update(format!("{id}.{timestamp}.").as_bytes());
    signing.update(body);
    format!("v1,{}", STANDARD.encode(signing.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example_is_signed_as_it_says() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = sign(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
