//! Sign-in of the embedded mode: addresses proved by mail, passwords, access and refresh tokens.
//!
//! Where things are: a person is a row of the `users` table, with the hash of the password in `signIn`. Registrations that
//! wait for their code, refresh tokens and signing keys are in SQLite tables of this adapter: they are looked up by
//! hashes that the `users` table has no index for, change at every sign-in without being news about the person, and
//! end by themselves. All are in one database, so that a step of a flow is one transaction.
//!
//! **Guessing**: wrong passwords for an address are slowed down, not locked out: ten at once, then one each half minute.
//! A refused attempt costs nothing and puts nothing off, so that a person under attack waits for the next free slot
//! at the longest; whoever is signed in is not touched. Unknown addresses are limited, answered and worked on in the
//! same way. Limits by client are the API's.

mod attempts;
mod passwords;
mod people;
mod refresh;
mod registration;
mod rewrap;
mod signing;
mod tokens;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub(super) use self::rewrap::{remove_other_forms, wrap_secrets_anew};
use self::{attempts::Attempts, passwords::Passwords, refresh::Grant, registration::Applicant, signing::SigningKeys};
use super::database::Database;
use crate::{
    adapters::registrant,
    error::{Error, ErrorKind, Result},
    model::{AccountId, UserId},
    ports::{Clock, Identity, Keys, Letter, Mail, Random, SignedIn},
};

/// Wrong passwords that an address may have at once.
const SIGN_IN_BURST: u32 = 10;
/// One more after this.
const SIGN_IN_PACE: Duration = Duration::from_secs(30);
/// Letters that an address may get at once.
const LETTER_BURST: u32 = 5;
/// One more after this.
const LETTER_PACE: Duration = Duration::from_secs(12 * 60);

/// The embedded identity.
pub(super) struct EmbeddedIdentity {
    database: Database,
    mail: Arc<dyn Mail>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passwords: Passwords,
    signing: SigningKeys,
    sign_ins: Attempts,
    letters: Attempts,
    issuer: String,
}

/// Makes the tables that are missing.
pub(super) fn set_up(connection: &Connection, random: &dyn Random) -> Result<()> {
    signing::set_up(connection, random)?;
    registration::set_up(connection)?;
    refresh::set_up(connection)
}

impl EmbeddedIdentity {
    /// Over the database; the keys seal what signs the tokens.
    pub(super) fn open(
        database: Database,
        keys: Arc<dyn Keys>,
        mail: Arc<dyn Mail>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let issuer = signing::issuer(&database)?;
        Ok(Self {
            signing: SigningKeys::new(database.clone(), keys, random.clone()),
            passwords: Passwords::new(random.clone()),
            sign_ins: Attempts::new(SIGN_IN_BURST, SIGN_IN_PACE),
            letters: Attempts::new(LETTER_BURST, LETTER_PACE),
            database,
            mail,
            clock,
            random,
            issuer,
        })
    }

    /// Checks the password and says who it is; the answer and the work are the same for all who fail.
    async fn authenticate(&self, email: &str, password: &SecretString) -> Result<UserId> {
        let now = self.clock.now();
        self.sign_ins.take(email, now)?;
        let (address, now_s) = (email.to_owned(), now.as_second());
        let user = self.database.read(move |connection| people::by_email(connection, now_s, &address)).await?;
        let hash = user.as_ref().and_then(|user| user.row.password_hash());
        let right = self.passwords.verify(password, hash).await?;
        match user {
            Some(user) if right && user.row.verified_at.is_some() => {
                self.sign_ins.forgive(email);
                Ok(user.row.user_id)
            }
            _ => Err(Error::new(ErrorKind::Denied, "the address or the password is wrong")),
        }
    }

    async fn signed_in(&self, grant: Grant, refresh_token: SecretString, now: Timestamp) -> Result<SignedIn> {
        let access_token = self.signing.access_token(&self.issuer, grant.user_id, grant.account_id, now).await?;
        let Grant { user_id, account_id } = grant;
        Ok(SignedIn { access_token, refresh_token, expires_in: signing::ACCESS_TOKEN_LIFETIME, user_id, account_id })
    }

    async fn send_code(&self, email: &str, name: &str, code: &str) -> Result<()> {
        self.mail
            .send(&Letter {
                to: email.to_owned(),
                subject: "Your ListBackup verification code".to_owned(),
                text: format!(
                    "Hello {name},\n\nyour verification code is:\n\nCode: {code}\n\nIt can be used once, within an hour. \
                     If you did not register, ignore this letter: without the code nothing happens."
                ),
            })
            .await
    }

    async fn send_reminder(&self, email: &str) -> Result<()> {
        self.mail
            .send(&Letter {
                to: email.to_owned(),
                subject: "You have a ListBackup account already".to_owned(),
                text: "Somebody, most likely you, registered with this address. It has an account already: sign in, \
                       or reset your password. If it was not you, there is nothing to do."
                    .to_owned(),
            })
            .await
    }
}

#[async_trait]
impl Identity for EmbeddedIdentity {
    async fn register(&self, email: &str, password: &SecretString, name: &str) -> Result<()> {
        let now = self.clock.now();
        let (email, name) = registrant::check(email, password, name)?;
        let password_hash = self.passwords.hash(password).await?;
        if self.letters.take(&email, now).is_err() {
            // Enough letters for now; the answer stays the same.
            return Ok(());
        }
        let code = tokens::code(&*self.random);
        let applicant = Applicant { email: email.clone(), name: name.clone(), password_hash };
        let (user_id, code_hash) = (UserId::new(&*self.clock, &*self.random), tokens::code_hash(&email, &code));
        let known = self
            .database
            .write(move |connection| {
                // Also for an address that is in use: nothing comes of it, but the work is the same.
                registration::insert(connection, &applicant, &code_hash, now)?;
                people::find_or_add(connection, now, &applicant.email, &applicant.name, user_id)
                    .map(|user| user.verified_at.is_some())
            })
            .await?;
        if known { self.send_reminder(&email).await } else { self.send_code(&email, &name, &code).await }
    }

    async fn verify(&self, email: &str, code: &SecretString) -> Result<UserId> {
        let refused =
            || Error::new(ErrorKind::Denied, "the code is wrong, was used, or has expired; ask for a new one");
        let email = registrant::normalise(email).ok_or_else(refused)?;
        let code_hash = tokens::code_hash(&email, code.expose_secret());
        let now = self.clock.now();
        let account_id = AccountId::new(&*self.clock, &*self.random);
        self.database
            .write(move |connection| match registration::take(connection, &email, &code_hash, now)? {
                Some(applicant) => people::admit(connection, now, &applicant, account_id),
                None => Ok(None),
            })
            .await?
            .ok_or_else(refused)
    }

    async fn resend(&self, email: &str) -> Result<()> {
        let now = self.clock.now();
        let Some(email) = registrant::normalise(email) else { return Ok(()) };
        if self.letters.take(&email, now).is_err() {
            return Ok(());
        }
        let code = tokens::code(&*self.random);
        let (address, code_hash) = (email.clone(), tokens::code_hash(&email, &code));
        let waiting = self
            .database
            .write(move |connection| {
                let user = people::by_email(connection, now.as_second(), &address)?;
                if user.is_none_or(|user| user.row.verified_at.is_some()) {
                    return Ok(None);
                }
                registration::renew(connection, &address, &code_hash, now)
            })
            .await?;
        match waiting {
            Some(name) => self.send_code(&email, &name, &code).await,
            None => Ok(()),
        }
    }

    async fn sign_in(&self, email: &str, password: &SecretString, account: Option<AccountId>) -> Result<SignedIn> {
        // A malformed address is one more unknown one.
        let email = registrant::normalise(email).unwrap_or_default();
        let user_id = self.authenticate(&email, password).await?;
        let now = self.clock.now();
        let (token, family) = (tokens::refresh_token(&*self.random), tokens::family(&*self.random));
        let token_hash = tokens::hash(token.expose_secret());
        let grant = self
            .database
            .write(move |connection| {
                let account_id = people::account_to_work_in(connection, now.as_second(), user_id, account)?;
                let grant = Grant { user_id, account_id };
                refresh::begin(connection, &family, &token_hash, &grant, now)?;
                Ok(grant)
            })
            .await?;
        self.signed_in(grant, token, now).await
    }

    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn> {
        let now = self.clock.now();
        let next = tokens::refresh_token(&*self.random);
        let (hash, next_hash) = (tokens::hash(refresh_token.expose_secret()), tokens::hash(next.expose_secret()));
        let grant = self
            .database
            .write(move |connection| refresh::rotate(connection, &hash, &next_hash, now))
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Denied, "the session has ended; sign in again"))?;
        self.signed_in(grant, next, now).await
    }

    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()> {
        let hash = tokens::hash(refresh_token.expose_secret());
        self.database.write(move |connection| refresh::end(connection, &hash)).await
    }

    async fn jwks(&self) -> Result<Value> {
        self.signing.jwks(self.clock.now()).await
    }

    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn audience(&self) -> &str {
        signing::AUDIENCE
    }
}
