//! Setting another password of a user of the pool. The pool keeps tokens that it gave before; so every sign-in is ended here, too.

use secrecy::{ExposeSecret, SecretString};

use super::{CognitoIdentity, answers};
use crate::{
    adapters::registrant,
    error::{Error, Result},
    model::{UserId, user::normal_address},
};

impl CognitoIdentity {
    pub(super) async fn mail_reset_code(&self, email: &str) -> Result<()> {
        let Some(email) = normal_address(email) else { return Ok(()) };
        let forgot = self.client.forgot_password().client_id(&self.client_id).username(email);
        match forgot.send().await {
            Ok(_) => Ok(()),
            Err(error) if answers::is_about_the_address(&error) => Ok(()),
            Err(error) => Err(answers::failed(error)),
        }
    }

    pub(super) async fn reset_password(
        &self,
        email: &str,
        code: &SecretString,
        password: &SecretString,
    ) -> Result<UserId> {
        registrant::check_password(password)?;
        let email = normal_address(email).ok_or_else(answers::wrong_code)?;
        let code: String = code.expose_secret().chars().filter(char::is_ascii_alphanumeric).collect();
        if code.is_empty() {
            return Err(answers::wrong_code());
        }
        let confirm = self.client.confirm_forgot_password().client_id(&self.client_id).username(&email);
        let confirm = confirm.confirmation_code(code).password(password.expose_secret());
        confirm.send().await.map_err(answers::of_reset)?;
        // Nobody is signed in, and who has a second factor cannot be signed in by the password alone: only the operator's right does it.
        let end = self.client.admin_user_global_sign_out().user_pool_id(&self.pool_id).username(&email);
        end.send().await.map_err(answers::not_signed_out)?;
        let person = self.person(&email).await;
        let unknown = "the new password is set, but whose it is could not be asked";
        person.map(|person| person.user_id).map_err(|error| Error::new(error.kind(), unknown).caused_by(error))
    }

    pub(super) async fn replace_password(
        &self,
        access_token: &SecretString,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<()> {
        registrant::check_password(new)?;
        let change = self.client.change_password().access_token(access_token.expose_secret());
        let change = change.previous_password(old.expose_secret()).proposed_password(new.expose_secret());
        change.send().await.map_err(answers::of_change)?;
        let end = self.client.global_sign_out().access_token(access_token.expose_secret());
        end.send().await.map(drop).map_err(answers::not_signed_out)
    }

    pub(super) async fn end_every_sign_in(&self, access_token: &SecretString) -> Result<()> {
        let end = self.client.global_sign_out().access_token(access_token.expose_secret());
        end.send().await.map(drop).map_err(answers::of_session)
    }
}
