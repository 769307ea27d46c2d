//! The second factor of people in a user pool: an authenticator app, which the pool keeps.
//!
//! * A question is the pool's session, for whom it is and where they are about to work, in one token. Only the session is secret; who
//!   alters the rest is told no by the pool, or has no place in the account. It lives as long as the pool's client says (three minutes
//!   when it says nothing), and the pool ends it when it was answered.
//! * The pool counts wrong codes, and takes each code once.
//! * **Turning it off** takes a code here. The pool asks for none: whoever has an access token may turn it off there. No operation of it checks a
//!   code of somebody who is signed in but `VerifySoftwareToken`, which is meant for the first one: with a second factor in use and
//!   no other one being set up, what it compares with is the one in use.
//! * There are no recovery codes. An operator of the pool turns a second factor off by `AdminSetUserMFAPreference`.

use std::time::Duration;

use aws_sdk_cognitoidentityprovider::{
    operation::{get_user::GetUserOutput, initiate_auth::InitiateAuthOutput},
    types::{ChallengeNameType, SoftwareTokenMfaSettingsType, VerifySoftwareTokenResponseType},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{CognitoIdentity, answers, incomplete};
use crate::{
    adapters::authenticator,
    error::{Error, ErrorKind, Result},
    model::AccountId,
    ports::{Challenge, NewFactor, SignedIn},
};

/// As long as a session of a pool's client lives that says nothing else.
const LIFETIME: Duration = Duration::from_secs(3 * 60);
const APP: &str = "SOFTWARE_TOKEN_MFA";

/// What a question is made of.
#[derive(Serialize, Deserialize)]
struct Question {
    session: String,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountId>,
}

impl CognitoIdentity {
    /// What the pool wants besides the password.
    pub(super) fn asked(
        &self,
        answer: InitiateAuthOutput,
        email: &str,
        account: Option<AccountId>,
    ) -> Result<Challenge> {
        if answer.challenge_name != Some(ChallengeNameType::SoftwareTokenMfa) {
            return Err(answers::challenged(answer.challenge_name.as_ref()));
        }
        let session = answer.session.ok_or_else(incomplete)?;
        // The name in the pool, where an address is only another name.
        let user = answer.challenge_parameters.and_then(|mut parameters| parameters.remove("USER_ID_FOR_SRP"));
        let question = Question { session, user: user.unwrap_or_else(|| email.to_owned()), account };
        let token = serde_json::to_vec(&question)
            .map_err(|error| Error::new(ErrorKind::Bug, "a question could not be written").caused_by(error))?;
        Ok(Challenge { token: URL_SAFE_NO_PAD.encode(token).into(), expires_in: LIFETIME })
    }

    pub(super) async fn answer_challenge(&self, challenge: &SecretString, code: &SecretString) -> Result<SignedIn> {
        let token = URL_SAFE_NO_PAD.decode(challenge.expose_secret()).ok();
        let question = token.and_then(|token| serde_json::from_slice(&token).ok());
        let Question { session, user, account } = question.ok_or_else(answers::wrong_factor)?;
        let respond = self
            .client
            .respond_to_auth_challenge()
            .client_id(&self.client_id)
            .challenge_name(ChallengeNameType::SoftwareTokenMfa)
            .session(session)
            .challenge_responses("USERNAME", user)
            .challenge_responses("SOFTWARE_TOKEN_MFA_CODE", digits(code)?);
        let answer = respond.send().await.map_err(answers::of_factor)?;
        match answer.authentication_result {
            Some(given) => self.signed_in(given, None, account).await,
            None => Err(answers::challenged(answer.challenge_name.as_ref())),
        }
    }

    pub(super) async fn make_factor(&self, access_token: &SecretString) -> Result<NewFactor> {
        let user = self.of_token(access_token).await?;
        if is_on(&user) {
            return Err(authenticator::is_on_already());
        }
        let email = user.user_attributes.iter().find(|attribute| attribute.name == "email");
        let email = email.and_then(|attribute| attribute.value.as_deref()).unwrap_or(&user.username);
        let associate = self.client.associate_software_token().access_token(access_token.expose_secret());
        let made = associate.send().await.map_err(answers::of_session)?;
        authenticator::factor(made.secret_code.ok_or_else(incomplete)?, email)
    }

    pub(super) async fn turn_factor_on(&self, access_token: &SecretString, code: &SecretString) -> Result<()> {
        self.check(access_token, code).await?;
        self.prefer_factor(access_token, true).await
    }

    pub(super) async fn turn_factor_off(&self, access_token: &SecretString, code: &SecretString) -> Result<()> {
        if !self.factor_is_on(access_token).await? {
            return Err(answers::wrong_factor());
        }
        self.check(access_token, code).await?;
        self.prefer_factor(access_token, false).await
    }

    pub(super) async fn factor_is_on(&self, access_token: &SecretString) -> Result<bool> {
        self.of_token(access_token).await.map(|user| is_on(&user))
    }

    async fn of_token(&self, access_token: &SecretString) -> Result<GetUserOutput> {
        let get = self.client.get_user().access_token(access_token.expose_secret());
        get.send().await.map_err(answers::of_session)
    }

    async fn check(&self, access_token: &SecretString, code: &SecretString) -> Result<()> {
        let token = access_token.expose_secret();
        let verify = self.client.verify_software_token().access_token(token).user_code(digits(code)?);
        match verify.send().await.map_err(answers::of_factor)?.status {
            Some(VerifySoftwareTokenResponseType::Success) => Ok(()),
            _ => Err(answers::wrong_factor()),
        }
    }

    async fn prefer_factor(&self, access_token: &SecretString, is_on: bool) -> Result<()> {
        let settings = SoftwareTokenMfaSettingsType::builder().enabled(is_on).preferred_mfa(is_on).build();
        let set = self.client.set_user_mfa_preference().access_token(access_token.expose_secret());
        set.software_token_mfa_settings(settings).send().await.map(drop).map_err(answers::of_session)
    }
}

/// However the person writes it.
fn digits(code: &SecretString) -> Result<String> {
    let plain: String = code.expose_secret().chars().filter(char::is_ascii_alphanumeric).collect();
    if plain.is_empty() { Err(answers::wrong_factor()) } else { Ok(plain) }
}

fn is_on(user: &GetUserOutput) -> bool {
    user.user_mfa_setting_list.as_ref().is_some_and(|list| list.iter().any(|setting| setting == APP))
}
