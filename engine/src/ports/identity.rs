//! The port for signing people in.

use std::{net::IpAddr, time::Duration};

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
    /// How many recovery codes are left, when one of them was used for this.
    pub recovery_codes_left: Option<u32>,
}

/// What a right password leads to.
pub enum SignIn {
    /// The person is signed in.
    Done(SignedIn),
    /// A second factor is asked for.
    SecondFactor(Challenge),
}

/// A question for the second factor, which only somebody with the right password gets.
pub struct Challenge {
    /// Shown with the code in [`Identity::answer`]. Once, and not for long.
    pub token: SecretString,
    /// How long it can be answered.
    pub expires_in: Duration,
}

/// Somebody who is signed in now and asks for something about themselves.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    /// Who, as the access token says.
    pub user_id: UserId,
    /// The access token itself, verified: a user pool wants to see it.
    pub access_token: &'a SecretString,
}

/// What an authenticator app needs (TOTP, RFC 6238: SHA-1, six digits, 30 seconds).
pub struct NewFactor {
    /// Base32 without padding.
    pub secret: SecretString,
    /// `otpauth://totp/…`, for a QR code.
    pub uri: SecretString,
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

    /// Signs in for work in `account` (or the person's first account), as far as the password goes: who has a second factor gets a
    /// question for it. Attempts are counted by `from`, the network address of whoever asks, too: a stranger's do not use up the owner's.
    ///
    /// # Errors
    /// `Denied`, with equal words and work for an unknown address and a wrong password; `RateLimited` after too many.
    async fn sign_in(
        &self,
        email: &str,
        password: &SecretString,
        account: Option<AccountId>,
        from: IpAddr,
    ) -> Result<SignIn>;

    /// Answers a question of [`Self::sign_in`] by a code of the authenticator app, or by a recovery code. A wrong code may be followed by
    /// another one while the question lives; a right one ends it.
    ///
    /// # Errors
    /// `Denied` for a wrong or used code, and an unknown, used or expired question; `RateLimited` after too many wrong codes.
    async fn answer(&self, challenge: &SecretString, code: &SecretString) -> Result<SignedIn>;

    /// Exchanges a refresh token, once. Using one twice ends the whole family. A pool that does not rotate its refresh tokens gives the
    /// same one back.
    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn>;

    /// Exchanges a refresh token of this person for a pair that works in another account.
    ///
    /// # Errors
    /// `Denied` for a token that [`Self::refresh`] would not take or that is somebody else's, and when the person has no place in the
    /// account; our own token is not used up by the latter two.
    async fn switch(&self, refresh_token: &SecretString, user_id: UserId, account_id: AccountId) -> Result<SignedIn>;

    /// Ends the family of a refresh token.
    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()>;

    /// Ends every sign-in of the person, this one too. Access tokens that are out live on for their 15 minutes.
    ///
    /// # Errors
    /// `Denied` when a user pool does not take the access token any more.
    async fn sign_out_everywhere(&self, person: Person<'_>) -> Result<()>;

    /// Mails a code that sets a new password. Equal answer whether or not the address is known.
    ///
    /// # Errors
    /// Those of the mail.
    async fn request_reset(&self, email: &str) -> Result<()>;

    /// Sets a new password by the mailed code, and ends every sign-in of the person. The second factor stays as it is.
    ///
    /// # Errors
    /// `Denied` for a wrong, used or expired code; `RateLimited` after too many of them; `Invalid` for a weak password, with `/password`
    /// as its place: the code is not used up then.
    async fn reset(&self, email: &str, code: &SecretString, password: &SecretString, from: IpAddr) -> Result<UserId>;

    /// Sets a new password by the old one, and ends every sign-in of the person, this one too: its access token lives on for its 15
    /// minutes.
    ///
    /// # Errors
    /// `Denied` when the old password is wrong; `RateLimited` after too many; `Invalid` for a weak new one, with `/password` as its place.
    async fn change_password(&self, person: Person<'_>, old: &SecretString, new: &SecretString) -> Result<()>;

    /// True when signing in takes a second factor.
    async fn has_factor(&self, person: Person<'_>) -> Result<bool>;

    /// Makes the secret of an authenticator app. It counts once [`Self::enable_factor`] has seen a code of it; until then another call
    /// replaces it.
    ///
    /// # Errors
    /// `Conflict` when there is a second factor: it has to be turned off first, with a code.
    async fn set_up_factor(&self, person: Person<'_>) -> Result<NewFactor>;

    /// Turns the second factor on by a first code. Returns recovery codes, each good once in place of a code; none with a user pool, which
    /// has no such thing: who loses the app there needs the operator of the pool.
    ///
    /// # Errors
    /// `Denied` for a wrong code, or when nothing was set up; `RateLimited` after too many.
    async fn enable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<Vec<SecretString>>;

    /// Turns the second factor off, by a code or a recovery code.
    ///
    /// # Errors
    /// `Denied` for a wrong or used code, or without a second factor; `RateLimited` after too many.
    async fn disable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<()>;

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
