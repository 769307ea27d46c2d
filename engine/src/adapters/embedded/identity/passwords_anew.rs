//! Setting another password: by a code from a letter, or by the old one. Either ends every sign-in of the person.
//!
//! **Guessing codes of a letter**: they have 80 bits and live for an hour, so nobody guesses one. Wrong ones are counted, and too many
//! are answered `RateLimited`; but the right one counts at any time, so that no stranger who keeps guessing keeps the owner from a new
//! password. It forgives wrong passwords: its bearer gets in at once, also while somebody guesses.

use std::net::IpAddr;

use rusqlite::Connection;
use secrecy::{ExposeSecret, SecretString};

use super::{EmbeddedIdentity, challenges, people, refresh, resets, tokens};
use crate::{
    adapters::registrant,
    error::{Error, ErrorKind, Result},
    model::{UserId, user::normal_address},
};

impl EmbeddedIdentity {
    pub(super) async fn mail_reset_code(&self, email: &str) -> Result<()> {
        let now = self.clock.now();
        let Some(email) = normal_address(email) else { return Ok(()) };
        if self.limits.reset_letters.take(&email, now).is_err() {
            // Enough letters for now; the answer stays the same, and codes that are out go on counting.
            return Ok(());
        }
        let code = tokens::code(&*self.random);
        let (address, code_hash) = (email.clone(), tokens::code_hash(&email, &code));
        let name = self
            .database
            .write(move |connection| {
                // Also for an address that nobody signs in with: nothing comes of it, but the work is the same.
                resets::insert(connection, &address, &code_hash, now)?;
                let user = people::by_email(connection, now.as_second(), &address)?;
                Ok(user.filter(|user| user.row.verified_at.is_some()).map(|user| user.row.name))
            })
            .await?;
        match name {
            Some(name) => self.send_reset_code(&email, &name, &code).await,
            None => self.send_no_reset(&email).await,
        }
    }

    pub(super) async fn reset_password(
        &self,
        email: &str,
        code: &SecretString,
        password: &SecretString,
        from: IpAddr,
    ) -> Result<UserId> {
        registrant::check_password(password)?;
        let now = self.clock.now();
        let email = normal_address(email).ok_or_else(wrong_code)?;
        let code_hash = tokens::code_hash(&email, code.expose_secret());
        let (address, hash) = (email.clone(), code_hash.clone());
        if !self.database.read(move |connection| resets::is_known(connection, &address, &hash, now)).await? {
            self.limits.reset_codes.take(&email, now)?;
            return Err(wrong_code());
        }
        let password_hash = self.passwords.hash(password).await?;
        let address = email.clone();
        let user_id = self
            .database
            .write(move |connection| {
                let user = people::by_email(connection, now.as_second(), &address)?;
                let user = user.filter(|user| user.row.verified_at.is_some()).ok_or_else(wrong_code)?;
                // Another request may have used it meanwhile.
                if !resets::is_known(connection, &address, &code_hash, now)? {
                    return Err(wrong_code());
                }
                end_all(connection, user.row.user_id, &address)?;
                let user_id = user.row.user_id;
                people::set_password(connection, now, user, &password_hash)?;
                Ok(user_id)
            })
            .await?;
        self.limits.reset_codes.forgive(&email);
        self.limits.sign_ins.succeeded(&email, from);
        Ok(user_id)
    }

    pub(super) async fn replace_password(&self, user_id: UserId, old: &SecretString, new: &SecretString) -> Result<()> {
        registrant::check_password(new)?;
        let (now, whose) = (self.clock.now(), user_id.to_string());
        self.limits.old_passwords.take(&whose, now)?;
        let user = self.database.read(move |connection| people::by_id(connection, now.as_second(), user_id)).await?;
        let checked = user.as_ref().and_then(|user| user.row.password_hash()).map(str::to_owned);
        if !self.passwords.verify(old, checked.as_deref()).await? {
            return Err(wrong_password());
        }
        self.limits.old_passwords.forgive(&whose);
        let password_hash = self.passwords.hash(new).await?;
        self.database
            .write(move |connection| {
                let user = people::by_id(connection, now.as_second(), user_id)?.ok_or_else(wrong_password)?;
                // A reset that came between: what was checked is no password any more.
                if user.row.password_hash() != checked.as_deref() {
                    return Err(wrong_password());
                }
                end_all(connection, user_id, &user.row.email)?;
                people::set_password(connection, now, user, &password_hash)
            })
            .await
    }

    pub(super) async fn end_every_sign_in(&self, user_id: UserId) -> Result<()> {
        self.database.write(move |connection| end_sign_ins(connection, user_id)).await
    }
}

/// What rests on the password that was, sign-ins that wait for a second factor among it.
fn end_all(connection: &Connection, user_id: UserId, email: &str) -> Result<()> {
    resets::end_all(connection, email)?;
    end_sign_ins(connection, user_id)
}

fn end_sign_ins(connection: &Connection, user_id: UserId) -> Result<()> {
    challenges::end_all(connection, user_id)?;
    refresh::end_all(connection, user_id)
}

fn wrong_code() -> Error {
    Error::new(ErrorKind::Denied, "the code is wrong, was used, or has expired; ask for a new one")
}

fn wrong_password() -> Error {
    Error::new(ErrorKind::Denied, "the old password is wrong")
}
