//! Sign-in of the embedded mode: addresses proved by mail, passwords, access and refresh tokens.
//!
//! Where things are: a person is a row of the `users` table, with the hash of the password in `signIn`. Registrations that
//! wait for their code, refresh tokens and signing keys are in SQLite tables of this adapter: they are looked up by
//! hashes that the `users` table has no index for, change at every sign-in without being news about the person, and
//! end by themselves. All are in one database, so that a step of a flow is one transaction.
//!
//! **Guessing**: wrong passwords for an address are slowed down, not locked out, and those of strangers apart from the owner's
//! (`guesses.rs`). A refused attempt costs nothing and puts nothing off; whoever is signed in is not touched. Unknown addresses are limited,
//! answered and worked on in the same way. Codes are counted apart (`passwords_anew.rs`, `second_factor.rs`). What one network may do to
//! all addresses is the API's.
//!
//! **Secrets**: passwords are kept by a slow hash; tokens and codes, which nobody guesses, by a quick one; the secret of an authenticator
//! app sealed, since codes are made of it.

mod challenges;
mod factors;
mod guesses;
mod letters;
mod limits;
mod passwords;
mod passwords_anew;
mod people;
mod refresh;
mod registration;
mod resets;
mod rewrap;
mod second_factor;
mod signing;
mod tokens;
mod totp;

use std::{net::IpAddr, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

pub(super) use self::rewrap::{remove_other_forms, wrap_secrets_anew};
pub use self::signing::SigningRotation;
use self::{limits::Limits, passwords::Passwords, refresh::Grant, registration::Applicant, signing::SigningKeys};
use super::database::Database;
use crate::{
    adapters::registrant,
    error::{Error, ErrorKind, Result},
    model::{AccountId, UserId, user::normal_address},
    ports::{Challenge, Clock, Identity, Keys, Mail, NewFactor, Person, Random, SignIn, SignedIn},
};

/// The embedded identity.
pub(super) struct EmbeddedIdentity {
    database: Database,
    mail: Arc<dyn Mail>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    passwords: Passwords,
    signing: SigningKeys,
    keys: Arc<dyn Keys>,
    limits: Limits,
    issuer: String,
}

/// Makes the tables that are missing.
pub(super) fn set_up(connection: &Connection, random: &dyn Random) -> Result<()> {
    signing::set_up(connection, random)?;
    registration::set_up(connection)?;
    resets::set_up(connection)?;
    factors::set_up(connection)?;
    challenges::set_up(connection)?;
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
            signing: SigningKeys::new(database.clone(), keys.clone(), random.clone()),
            passwords: Passwords::new(random.clone()),
            keys,
            limits: Limits::new(),
            database,
            mail,
            clock,
            random,
            issuer,
        })
    }

    /// Replaces the key that signs access tokens.
    pub(super) async fn rotate_signing_key(&self) -> Result<SigningRotation> {
        self.signing.rotate(self.clock.now()).await
    }

    /// Checks the password and says who it is, with the hash that it was checked against; the answer and the work are the same for all
    /// who fail.
    async fn authenticate(
        &self,
        email: &str,
        password: &SecretString,
        from: IpAddr,
    ) -> Result<(UserId, Option<String>)> {
        let now = self.clock.now();
        self.limits.sign_ins.take(email, from, now)?;
        let (address, now_s) = (email.to_owned(), now.as_second());
        let user = self.database.read(move |connection| people::by_email(connection, now_s, &address)).await?;
        let hash = user.as_ref().and_then(|user| user.row.password_hash()).map(str::to_owned);
        let right = self.passwords.verify(password, hash.as_deref()).await?;
        match user {
            Some(user) if right && user.row.verified_at.is_some() => {
                self.limits.sign_ins.succeeded(email, from);
                Ok((user.row.user_id, hash))
            }
            _ => Err(refused()),
        }
    }

    async fn exchange(&self, refresh_token: &SecretString, switch: Option<Grant>) -> Result<SignedIn> {
        let now = self.clock.now();
        let next = tokens::refresh_token(&*self.random);
        let (hash, next_hash) = (tokens::hash(refresh_token.expose_secret()), tokens::hash(next.expose_secret()));
        let grant = self
            .database
            .write(move |connection| refresh::rotate(connection, &hash, &next_hash, switch, now))
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Denied, "the session has ended; sign in again"))?;
        self.signed_in(grant, next, now).await
    }

    async fn signed_in(&self, grant: Grant, refresh_token: SecretString, now: Timestamp) -> Result<SignedIn> {
        let access_token = self.signing.access_token(&self.issuer, grant.user_id, grant.account_id, now).await?;
        let Grant { user_id, account_id } = grant;
        let expires_in = signing::ACCESS_TOKEN_LIFETIME;
        Ok(SignedIn { access_token, refresh_token, expires_in, user_id, account_id, recovery_codes_left: None })
    }
}

#[async_trait]
impl Identity for EmbeddedIdentity {
    async fn register(&self, email: &str, password: &SecretString, name: &str) -> Result<()> {
        let now = self.clock.now();
        let (email, name) = registrant::check(email, password, name)?;
        let password_hash = self.passwords.hash(password).await?;
        if self.limits.letters.take(&email, now).is_err() {
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
        let email = normal_address(email).ok_or_else(refused)?;
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
        let Some(email) = normal_address(email) else { return Ok(()) };
        if self.limits.letters.take(&email, now).is_err() {
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

    async fn sign_in(
        &self,
        email: &str,
        password: &SecretString,
        account: Option<AccountId>,
        from: IpAddr,
    ) -> Result<SignIn> {
        // A malformed address is one more unknown one.
        let email = normal_address(email).unwrap_or_default();
        let (user_id, checked) = self.authenticate(&email, password, from).await?;
        let now = self.clock.now();
        let (token, family) = (tokens::refresh_token(&*self.random), tokens::family(&*self.random));
        let question = tokens::challenge(&*self.random);
        let (token_hash, question_hash) = (tokens::hash(token.expose_secret()), tokens::hash(question.expose_secret()));
        let (grant, is_asked) = self
            .database
            .write(move |connection| {
                // Another password that was set meanwhile has ended every sign-in, and this is one of them.
                let user = people::by_id(connection, now.as_second(), user_id)?;
                if user.is_none_or(|user| user.row.password_hash() != checked.as_deref()) {
                    return Err(refused());
                }
                let account_id = people::account_to_work_in(connection, now.as_second(), user_id, account)?;
                let (grant, is_asked) = (Grant { user_id, account_id }, factors::is_on(connection, user_id)?);
                if is_asked {
                    challenges::insert(connection, &question_hash, &grant, now)?;
                } else {
                    refresh::begin(connection, &family, &token_hash, &grant, now)?;
                }
                Ok((grant, is_asked))
            })
            .await?;
        if is_asked {
            return Ok(SignIn::SecondFactor(Challenge { token: question, expires_in: challenges::LIFETIME }));
        }
        self.signed_in(grant, token, now).await.map(SignIn::Done)
    }

    async fn answer(&self, challenge: &SecretString, code: &SecretString) -> Result<SignedIn> {
        self.answer_challenge(challenge, code).await
    }

    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn> {
        self.exchange(refresh_token, None).await
    }

    async fn switch(&self, refresh_token: &SecretString, user_id: UserId, account_id: AccountId) -> Result<SignedIn> {
        self.exchange(refresh_token, Some(Grant { user_id, account_id })).await
    }

    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()> {
        let hash = tokens::hash(refresh_token.expose_secret());
        self.database.write(move |connection| refresh::end(connection, &hash)).await
    }

    async fn sign_out_everywhere(&self, person: Person<'_>) -> Result<()> {
        self.end_every_sign_in(person.user_id).await
    }

    async fn request_reset(&self, email: &str) -> Result<()> {
        self.mail_reset_code(email).await
    }

    async fn reset(&self, email: &str, code: &SecretString, password: &SecretString, from: IpAddr) -> Result<UserId> {
        self.reset_password(email, code, password, from).await
    }

    async fn change_password(&self, person: Person<'_>, old: &SecretString, new: &SecretString) -> Result<()> {
        self.replace_password(person.user_id, old, new).await
    }

    async fn has_factor(&self, person: Person<'_>) -> Result<bool> {
        self.factor_is_on(person.user_id).await
    }

    async fn set_up_factor(&self, person: Person<'_>) -> Result<NewFactor> {
        self.make_factor(person.user_id).await
    }

    async fn enable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<Vec<SecretString>> {
        self.turn_factor_on(person.user_id, code).await
    }

    async fn disable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<()> {
        self.turn_factor_off(person.user_id, code).await
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

fn refused() -> Error {
    Error::new(ErrorKind::Denied, "the address or the password is wrong")
}
