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
    /// The account that they work in. Our own access tokens name it; with those of a user pool each request must. After a refresh
    /// there, which cannot know it, their first.
    pub account_id: AccountId,
}

/// Signs people in (own, or Cognito). Access tokens are verified apart, through [`Identity::jwks`].
///
/// What a user pool keeps by itself is as it keeps it: the life of codes, how often guesses and letters are allowed, and whose password
/// counts of two registrations that wait for one address (the first one's). Its tokens have the lives of the pool's client.
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

    /// Exchanges a refresh token, once. Using one twice ends the whole family. A pool that does not rotate its refresh tokens gives the
    /// same one back.
    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn>;

    /// Ends the family of a refresh token.
    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()>;

    /// The public keys of access tokens, as a JWKS document (RFC 7517).
    async fn jwks(&self) -> Result<Value>;

    /// `iss` of access tokens.
    fn issuer(&self) -> &str;

    /// Who access tokens are for: their `aud`, or with a user pool their `client_id`.
    fn audience(&self) -> &str;

    /// The person whom `sub` of an access token means; `None` for what is nobody's.
    fn user_of(&self, subject: &str) -> Option<UserId> {
        subject.parse().ok()
    }
}
