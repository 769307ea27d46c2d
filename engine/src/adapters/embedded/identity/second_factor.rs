//! The second factor: an authenticator app, and recovery codes in place of it.
//!
//! A code of the app counts for its time step and those beside it, and each step once: which was the last is part of the transaction that
//! signs in, so of two that come at one time with the same code one is let in.
//!
//! **Guessing**: six digits are few. Codes are counted before they are looked at, by person, and whoever guesses has the password already.
//! Recovery codes have 80 bits; wrong ones are counted too, but a right one counts at any time: so the owner gets in while somebody who
//! has found out their password guesses, and a reset, which goes to their address, ends the guessing.

use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};

use super::{
    EmbeddedIdentity, challenges,
    factors::{self, Factor},
    people,
    refresh::{self, Grant},
    signing, tokens, totp,
};
use crate::{
    adapters::authenticator,
    error::{Error, ErrorKind, Result},
    model::UserId,
    ports::{NewFactor, SignedIn},
    secret,
};

const RECOVERY_CODES: usize = 10;

/// What somebody showed, not used up yet.
enum Proof {
    /// A code of the app with the secret of this name.
    Code { name: String, step: i64 },
    /// What may be a recovery code.
    Recovery { hash: String },
}

impl EmbeddedIdentity {
    pub(super) async fn answer_challenge(&self, challenge: &SecretString, code: &SecretString) -> Result<SignedIn> {
        let now = self.clock.now();
        let hash = tokens::hash(challenge.expose_secret());
        let asked = hash.clone();
        let asked = self.database.read(move |connection| challenges::find(connection, &asked, now)).await?;
        let user_id = asked.ok_or_else(no_question)?.user_id;
        let proof = self.proof(user_id, code).await?;
        let (token, family) = (tokens::refresh_token(&*self.random), tokens::family(&*self.random));
        let token_hash = tokens::hash(token.expose_secret());
        let is_recovery = matches!(proof, Proof::Recovery { .. });
        let (grant, left) = self
            .use_up(user_id, proof, move |connection| {
                // Another answer, another password or signing out everywhere may have ended it meanwhile.
                let grant = challenges::find(connection, &hash, now)?.ok_or_else(no_question)?;
                let Grant { user_id, account_id } = grant;
                people::account_to_work_in(connection, now.as_second(), user_id, Some(account_id))?;
                challenges::end(connection, &hash)?;
                refresh::begin(connection, &family, &token_hash, &grant, now)?;
                let left = is_recovery.then(|| factors::recovery_codes(connection, user_id)).transpose()?;
                Ok((grant, left))
            })
            .await?;
        Ok(SignedIn { recovery_codes_left: left, ..self.signed_in(grant, token, now).await? })
    }

    pub(super) async fn make_factor(&self, user_id: UserId) -> Result<NewFactor> {
        let now = self.clock.now();
        let user = self.database.read(move |connection| people::by_id(connection, now.as_second(), user_id)).await?;
        let email = user.ok_or_else(|| Error::new(ErrorKind::Denied, "there is no such person any more"))?.row.email;
        let made = totp::secret(&*self.random);
        let name = format!("{}{}", factors::SECRET_PREFIX, tokens::identifier(&*self.random));
        let sealed = secret::seal(&*self.keys, &signing::context(&name), made.as_bytes()).await?;
        self.database
            .write(move |connection| {
                if factors::is_on(connection, user_id)? {
                    return Err(authenticator::is_on_already());
                }
                factors::replace(connection, user_id, &name, &sealed, now.as_millisecond())
            })
            .await?;
        authenticator::factor(made.to_base32(), &email)
    }

    pub(super) async fn turn_factor_on(&self, user_id: UserId, code: &SecretString) -> Result<Vec<SecretString>> {
        let code = totp::digits(code.expose_secret()).unwrap_or_default();
        let (name, step) = self.step(user_id, &code, false).await?;
        let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| tokens::code(&*self.random)).collect();
        let hashes: Vec<_> = codes.iter().map(|code| tokens::code_hash(&user_id.to_string(), code)).collect();
        self.database
            .write(move |connection| {
                if !factors::use_step(connection, user_id, &name, step)? {
                    return Err(wrong_code());
                }
                factors::turn_on(connection, user_id, &hashes)
            })
            .await?;
        self.limits.factor_codes.forgive(&user_id.to_string());
        Ok(codes.into_iter().map(SecretString::from).collect())
    }

    pub(super) async fn turn_factor_off(&self, user_id: UserId, code: &SecretString) -> Result<()> {
        let proof = self.proof(user_id, code).await?;
        self.use_up(user_id, proof, move |connection| factors::remove(connection, user_id)).await
    }

    pub(super) async fn factor_is_on(&self, user_id: UserId) -> Result<bool> {
        self.database.read(move |connection| factors::is_on(connection, user_id)).await
    }

    /// What a code of somebody whose second factor is on may be worth.
    async fn proof(&self, user_id: UserId, code: &SecretString) -> Result<Proof> {
        match totp::digits(code.expose_secret()) {
            Some(code) => self.step(user_id, &code, true).await.map(|(name, step)| Proof::Code { name, step }),
            None => Ok(Proof::Recovery { hash: tokens::code_hash(&user_id.to_string(), code.expose_secret()) }),
        }
    }

    /// The name of the secret, and the time step that a code of it is for.
    async fn step(&self, user_id: UserId, code: &str, is_on: bool) -> Result<(String, i64)> {
        let now = self.clock.now();
        self.limits.factor_codes.take(&user_id.to_string(), now)?;
        let factor = self.database.read(move |connection| factors::find(connection, user_id)).await?;
        let Factor { name, sealed, last_step, .. } =
            factor.filter(|factor| factor.is_on == is_on).ok_or_else(wrong_code)?;
        let secret = secret::open(&*self.keys, &signing::context(&name), &sealed).await?;
        match totp::step(&secret, code, now)? {
            Some(step) if step > last_step => Ok((name, step)),
            _ => Err(wrong_code()),
        }
    }

    /// Does `work` in the transaction that uses the proof up, or neither.
    async fn use_up<T: Send + 'static>(
        &self,
        user_id: UserId,
        proof: Proof,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let is_counted = matches!(proof, Proof::Code { .. });
        let done = self
            .database
            .write(move |connection| {
                let is_right = factors::is_on(connection, user_id)?
                    && match proof {
                        Proof::Code { name, step } => factors::use_step(connection, user_id, &name, step)?,
                        Proof::Recovery { hash } => factors::use_recovery(connection, user_id, &hash)?,
                    };
                if is_right { work(connection) } else { Err(wrong_code()) }
            })
            .await;
        let whose = user_id.to_string();
        match &done {
            Ok(_) => self.limits.factor_codes.forgive(&whose),
            Err(error) if error.kind() == ErrorKind::Denied && !is_counted => {
                self.limits.factor_codes.take(&whose, self.clock.now())?;
            }
            Err(_) => {}
        }
        done
    }
}

fn wrong_code() -> Error {
    Error::new(ErrorKind::Denied, "the code is wrong or was used; wait for the next one")
}

fn no_question() -> Error {
    Error::new(ErrorKind::Denied, "this sign-in has ended; sign in again")
}
