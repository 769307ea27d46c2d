//! The port for signing people in.

use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;
use serde_json::Value;

use crate::{
    error::Result,
    model::{AccountId, UserId},
};

/// Tokens of a signed-in person.
pub struct SignedIn {
    /// A JWT for `Authorization: Bearer`, at most 15 minutes.
    pub access_token: SecretString,
    /// Exchanged once for a new pair.
    pub refresh_token: SecretString,
    /// How long the access token lives.
    pub expires_in: Duration,
    /// Who.
    pub user_id: UserId,
}

/// Signs people in (own, or Cognito). Access tokens are verified apart, through [`Identity::jwks`].
#[async_trait]
pub trait Identity: Send + Sync {
    /// Makes a user and mails a verification code. Equal answer whether or not the address is known already.
    ///
    /// # Errors
    /// `Invalid` for a malformed address or weak password.
    async fn register(&self, email: &str, password: &SecretString, name: &str) -> Result<()>;

    /// Proves the address by the code from the mail; the user can sign in from now on. Returns the user.
    ///
    /// # Errors
    /// `Denied` for a wrong, used or expired code.
    async fn verify(&self, email: &str, code: &SecretString) -> Result<UserId>;

    /// Mails a new verification code, if the address waits for one. Equal answer either way.
    async fn resend(&self, email: &str) -> Result<()>;

    /// Signs in for work in `account` (or the person's first account).
    ///
    /// # Errors
    /// `Denied`, with equal words and work for an unknown address and a wrong password; `RateLimited` after too many.
    async fn sign_in(&self, email: &str, password: &SecretString, account: Option<AccountId>) -> Result<SignedIn>;

    /// Exchanges a refresh token, once. Using one twice ends the whole family.
    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn>;

    /// Ends the family of a refresh token.
    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()>;

    /// The public keys of access tokens, as a JWKS document (RFC 7517).
    async fn jwks(&self) -> Result<Value>;

    /// `iss` of access tokens.
    fn issuer(&self) -> &str;
}
