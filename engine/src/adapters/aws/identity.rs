//! People in a user pool of Cognito: the identity port.
//!
//! The pool must take addresses as user names (`UsernameAttributes: email`) and prove them by a code; its client must have no
//! secret, allow `USER_PASSWORD_AUTH`, hide whether a user exists (`PreventUserExistenceErrors`), rotate refresh tokens, and give access
//! tokens 15 minutes.
//!
//! * **Who** somebody is follows from the `sub` of the pool: the 16 bytes of that UUID are the [`UserId`]. The row in the users table and a
//!   first account are made when the address was proved, or with the first sign-in of somebody whom the pool got in another way.
//! * **Passwords**, codes, letters, second factors and the counting of wrong guesses are the pool's. Nothing of them is in our tables.
//! * **The account** that a person works in is not in the pool's tokens: each request names it, and it is looked up each time.
//! * **Two registrations** of one address that nobody proved yet: the pool keeps the first, with its password, and mails its code
//!   again. So whoever gets a code without having registered must not use it: the letter of the pool should say so. An owner who did, sets
//!   another password by the pool's reset, which goes to the address.
//! * **Another password** ends every sign-in: after a reset that takes `AdminUserGlobalSignOut`, since nobody is signed in then.
//! * **Second factors** are authenticator apps (`MfaConfiguration: OPTIONAL` with `SOFTWARE_TOKEN_MFA`), without recovery codes:
//!   `identity/second_factor.rs`. Who is to give something else, such as a code by SMS, is refused.

mod answers;
mod passwords;
mod people;
mod public_keys;
mod second_factor;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_cognitoidentityprovider::{
    Client,
    types::{AttributeType, AuthFlowType, AuthenticationResultType},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use self::{
    people::{People, PoolUser},
    public_keys::PublicKeys,
};
use super::{AwsClients, AwsSettings};
use crate::{
    adapters::registrant,
    error::{Error, ErrorKind, Result},
    model::{AccountId, UserId, user::normal_address},
    ports::{Clock, Identity, NewFactor, Person, Random, SignIn, SignedIn, Tables},
};

/// Stands for what is no address, so that it is refused as an unknown one is.
const NOBODY: &str = "nobody@example.invalid";

/// A user pool and one client of it.
pub struct CognitoIdentity {
    client: Client,
    pool_id: String,
    client_id: String,
    issuer: String,
    people: People,
    public_keys: PublicKeys,
}

impl CognitoIdentity {
    /// The user pool of the settings, with people's rows in the tables. Nothing is sent yet.
    ///
    /// # Errors
    /// `Invalid` when the settings name no user pool.
    pub fn new(
        clients: &AwsClients,
        settings: &AwsSettings,
        tables: Arc<dyn Tables>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let (pool_id, client_id) = settings
            .user_pool()
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the settings of AWS name no user pool and client of it"))?;
        // The pool's own, which its id begins with.
        let region = pool_id.split('_').next().unwrap_or_default();
        let issuer = format!("https://cognito-idp.{region}.amazonaws.com/{pool_id}");
        let default_url = format!("{issuer}/.well-known/jwks.json");
        Ok(Self {
            client: clients.cognito.clone(),
            pool_id: pool_id.to_owned(),
            client_id: client_id.to_owned(),
            public_keys: PublicKeys::new(settings.user_pool_keys_url().unwrap_or(&default_url), clock.clone())?,
            people: People::new(tables, clock, random),
            issuer,
        })
    }

    /// The person of an address, or of a user's name, as the pool knows them.
    async fn person(&self, name: &str) -> Result<PoolUser> {
        let get = self.client.admin_get_user().user_pool_id(&self.pool_id).username(name);
        let user = get.send().await.map_err(answers::failed)?;
        let attributes = user.user_attributes.unwrap_or_default();
        let attribute = |name: &str| attributes.iter().find(|found| found.name == name)?.value.clone();
        let email = attribute("email").and_then(|email| normal_address(&email));
        let user_id = attribute("sub").and_then(|sub| people::user_id(&sub));
        let (Some(user_id), Some(email)) = (user_id, email) else {
            return Err(Error::new(ErrorKind::Invalid, "a user of the pool has no address or no id").with("user", name));
        };
        let is_proved = attribute("email_verified").is_some_and(|value| value == "true");
        Ok(PoolUser { user_id, name: attribute("name").unwrap_or_else(|| email.clone()), email, is_proved })
    }

    /// What the pool gave, for work in an account. Without a place in one the session ends at once.
    async fn signed_in(
        &self,
        given: AuthenticationResultType,
        last_refresh_token: Option<&SecretString>,
        account: Option<AccountId>,
    ) -> Result<SignedIn> {
        let refresh_token = given
            .refresh_token
            .map(SecretString::from)
            .or_else(|| last_refresh_token.cloned())
            .ok_or_else(incomplete)?;
        let access_token = given.access_token.map(SecretString::from).ok_or_else(incomplete)?;
        let place = self.place(&access_token, account).await;
        if place.as_ref().is_err_and(|error| error.kind() == ErrorKind::Denied) {
            self.end(&refresh_token).await;
        }
        let (user_id, account_id) = place?;
        let expires_in = Duration::from_secs(u64::try_from(given.expires_in).unwrap_or_default());
        Ok(SignedIn { access_token, refresh_token, expires_in, user_id, account_id, recovery_codes_left: None })
    }

    async fn exchange(&self, refresh_token: &SecretString, account: Option<AccountId>) -> Result<SignedIn> {
        let token = refresh_token.expose_secret();
        let get = self.client.get_tokens_from_refresh_token().client_id(&self.client_id).refresh_token(token);
        match get.send().await {
            Ok(answer) => {
                let given = answer.authentication_result.ok_or_else(incomplete)?;
                self.signed_in(given, Some(refresh_token), account).await
            }
            Err(error) => {
                if answers::is_reuse(&error) {
                    self.end(refresh_token).await;
                }
                Err(answers::of_refresh(error))
            }
        }
    }

    /// Ends a session that nobody is to have, as well as that can be done: no token of it is handed out.
    async fn end(&self, refresh_token: &SecretString) {
        if let Err(error) = self.sign_out(refresh_token).await {
            tracing::warn!(%error, "a session that was refused could not be ended in the user pool");
        }
    }

    /// Who a token that just came from the pool is for, and where they work.
    async fn place(&self, access_token: &SecretString, account: Option<AccountId>) -> Result<(UserId, AccountId)> {
        let claims = people::claims(access_token.expose_secret()).ok_or_else(incomplete)?;
        let user_id = claims.get("sub").and_then(Value::as_str).and_then(people::user_id).ok_or_else(incomplete)?;
        if !self.people.is_known(user_id).await? {
            let name = claims.get("username").and_then(Value::as_str).ok_or_else(incomplete)?;
            let person = self.person(name).await?;
            if !person.is_proved {
                return Err(answers::refused());
            }
            self.people.admit(&person).await?;
        }
        Ok((user_id, self.people.account_to_work_in(user_id, account).await?))
    }
}

#[async_trait]
impl Identity for CognitoIdentity {
    async fn register(&self, email: &str, password: &SecretString, name: &str) -> Result<()> {
        let (email, name) = registrant::check(email, password, name)?;
        let attribute = |name: &str, value: &str| {
            AttributeType::builder().name(name).value(value).build().map_err(|error| {
                Error::new(ErrorKind::Bug, "an attribute of a user could not be built").caused_by(error)
            })
        };
        let sign_up = self
            .client
            .sign_up()
            .client_id(&self.client_id)
            .username(&email)
            .password(password.expose_secret())
            .user_attributes(attribute("email", &email)?)
            .user_attributes(attribute("name", &name)?);
        match sign_up.send().await {
            Ok(_) => Ok(()),
            // Whoever registers twice has lost the code, if it was not proved; the answer stays the same.
            Err(error) if answers::is_known_already(&error) => self.resend(&email).await,
            Err(error) => Err(answers::of_registration(error)),
        }
    }

    async fn verify(&self, email: &str, code: &SecretString) -> Result<UserId> {
        let email = normal_address(email).ok_or_else(answers::wrong_code)?;
        // However the person writes it.
        let code: String = code.expose_secret().chars().filter(char::is_ascii_alphanumeric).collect();
        if code.is_empty() {
            return Err(answers::wrong_code());
        }
        let confirm = self.client.confirm_sign_up().client_id(&self.client_id).username(&email).confirmation_code(code);
        confirm.send().await.map_err(answers::of_code)?;
        // The code just proved this address; the pool may still have to write so.
        let person = self.person(&email).await?;
        if person.email != email {
            return Err(answers::wrong_code());
        }
        self.people.admit(&person).await?;
        Ok(person.user_id)
    }

    async fn resend(&self, email: &str) -> Result<()> {
        let Some(email) = normal_address(email) else { return Ok(()) };
        let resend = self.client.resend_confirmation_code().client_id(&self.client_id).username(email);
        match resend.send().await {
            Ok(_) => Ok(()),
            Err(error) if answers::is_about_the_address(&error) => Ok(()),
            Err(error) => Err(answers::failed(error)),
        }
    }

    async fn sign_in(
        &self,
        email: &str,
        password: &SecretString,
        account: Option<AccountId>,
        _: IpAddr,
    ) -> Result<SignIn> {
        let email = normal_address(email).unwrap_or_else(|| NOBODY.to_owned());
        let sign_in = self
            .client
            .initiate_auth()
            .client_id(&self.client_id)
            .auth_flow(AuthFlowType::UserPasswordAuth)
            .auth_parameters("USERNAME", &email)
            .auth_parameters("PASSWORD", password.expose_secret());
        let answer = sign_in.send().await.map_err(answers::of_sign_in)?;
        match answer.authentication_result {
            Some(given) => self.signed_in(given, None, account).await.map(SignIn::Done),
            None => self.asked(answer, &email, account).map(SignIn::SecondFactor),
        }
    }

    async fn answer(&self, challenge: &SecretString, code: &SecretString) -> Result<SignedIn> {
        self.answer_challenge(challenge, code).await
    }

    async fn refresh(&self, refresh_token: &SecretString) -> Result<SignedIn> {
        self.exchange(refresh_token, None).await
    }

    async fn switch(&self, refresh_token: &SecretString, user_id: UserId, account_id: AccountId) -> Result<SignedIn> {
        let signed_in = self.exchange(refresh_token, Some(account_id)).await?;
        if signed_in.user_id != user_id {
            self.end(&signed_in.refresh_token).await;
            return Err(answers::refused());
        }
        Ok(signed_in)
    }

    async fn sign_out(&self, refresh_token: &SecretString) -> Result<()> {
        let revoke = self.client.revoke_token().client_id(&self.client_id).token(refresh_token.expose_secret());
        match revoke.send().await {
            Ok(_) => Ok(()),
            Err(error) if answers::is_no_token(&error) => Ok(()),
            Err(error) => Err(answers::failed(error)),
        }
    }

    async fn sign_out_everywhere(&self, person: Person<'_>) -> Result<()> {
        self.end_every_sign_in(person.access_token).await
    }

    async fn request_reset(&self, email: &str) -> Result<()> {
        self.mail_reset_code(email).await
    }

    async fn reset(&self, email: &str, code: &SecretString, password: &SecretString, _: IpAddr) -> Result<UserId> {
        self.reset_password(email, code, password).await
    }

    async fn change_password(&self, person: Person<'_>, old: &SecretString, new: &SecretString) -> Result<()> {
        self.replace_password(person.access_token, old, new).await
    }

    async fn has_factor(&self, person: Person<'_>) -> Result<bool> {
        self.factor_is_on(person.access_token).await
    }

    async fn set_up_factor(&self, person: Person<'_>) -> Result<NewFactor> {
        self.make_factor(person.access_token).await
    }

    async fn enable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<Vec<SecretString>> {
        self.turn_factor_on(person.access_token, code).await.map(|()| Vec::new())
    }

    async fn disable_factor(&self, person: Person<'_>, code: &SecretString) -> Result<()> {
        self.turn_factor_off(person.access_token, code).await
    }

    async fn jwks(&self) -> Result<Value> {
        self.public_keys.document().await
    }

    fn issuer(&self) -> &str {
        &self.issuer
    }

    fn audience(&self) -> &str {
        &self.client_id
    }

    fn user_of(&self, subject: &str) -> Option<UserId> {
        people::user_id(subject)
    }
}

fn incomplete() -> Error {
    Error::new(ErrorKind::Retry, "Cognito answered without what was asked for")
}
