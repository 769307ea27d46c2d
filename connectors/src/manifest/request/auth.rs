//! Who signs a request.

use std::{collections::HashMap, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    super::{
        components::Plugged,
        load::{Take, View},
        session::Session,
        template::{Python, Template},
    },
    jwt::Jwt,
    legacy_token::LegacyToken,
    oauth::OAuth,
    options::{Injections, RequestOption},
    session_token::SessionToken,
    token_pool::TokenPool,
};
use crate::{Authenticator, Error, ErrorKind, Result};

/// An authenticator.
#[derive(Clone, Debug, Default)]
pub(crate) enum Auth {
    /// Nobody.
    #[default]
    None,
    /// A key in a place that the manifest names.
    ApiKey { option: RequestOption, token: Template },
    /// `Authorization: Bearer …`.
    Bearer(Template),
    /// `Authorization: Basic …`.
    Basic { username: Template, password: Option<Template> },
    /// OAuth 2.
    Grant(Arc<OAuth>),
    /// A token from a login request.
    SessionToken(Arc<SessionToken>),
    /// A token from the settings while it works, else from a login.
    LegacyToken(Arc<LegacyToken>),
    /// `CustomAuthenticator`.
    Custom(Plugged<dyn Authenticator>),
    /// One of several tokens, by what is left of their quotas.
    Pool(Arc<TokenPool>),
    /// A token that we sign.
    Jwt(Arc<Jwt>),
    /// One of several, chosen by a setting.
    Selective { path: Vec<String>, choices: Arc<HashMap<String, Auth>> },
}

impl Auth {
    /// True when requests carry no credential.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Reads the component in the field called `authenticator`.
    pub(crate) fn load(requester: &View<'_>) -> Take<Self> {
        requester.child("authenticator").map_or(Ok(Self::None), |view| Self::read(&view, requester))
    }

    fn read(view: &View<'_>, requester: &View<'_>) -> Take<Self> {
        Ok(match view.kind() {
            _ if view.is_custom() => {
                Self::Custom(view.plug_in("authenticator", &view.loader().components.authenticators)?)
            }
            "NoAuth" => Self::None,
            "ApiKeyAuthenticator" => Self::api_key(view)?,
            "BearerAuthenticator" => Self::Bearer(view.required_template("api_token")?),
            "BasicHttpAuthenticator" => {
                let (username, password) = (view.required_template("username"), view.template("password"));
                Self::Basic { username: username?, password: password? }
            }
            "OAuthAuthenticator" => Self::Grant(Arc::new(OAuth::load(view)?)),
            "SessionTokenAuthenticator" => Self::SessionToken(Arc::new(SessionToken::load(view)?)),
            "LegacySessionTokenAuthenticator" => Self::LegacyToken(Arc::new(LegacyToken::load(view, requester)?)),
            "RateLimitedMultipleTokenAuthenticator" => Self::Pool(Arc::new(TokenPool::load(view)?)),
            "JwtAuthenticator" => Self::Jwt(Arc::new(Jwt::load(view)?)),
            "SelectiveAuthenticator" => {
                let path = view.texts("authenticator_selection_path")?;
                let choices: Vec<_> = view
                    .named_children("authenticators")
                    .iter()
                    .map(|(name, view)| Ok((name.to_string(), Self::read(view, requester)?)))
                    .collect();
                let choices = Arc::new(choices.into_iter().collect::<Take<_>>()?);
                Self::Selective { path: path.unwrap_or_default(), choices }
            }
            _ => return Err(view.unsupported("authenticator")),
        })
    }

    fn api_key(view: &View<'_>) -> Take<Self> {
        let option = match (view.child("inject_into"), view.template("header")?) {
            (Some(option), None) => RequestOption::load(&option)?,
            (None, Some(header)) => RequestOption::header(header),
            _ => return Err(view.problem("an ApiKeyAuthenticator needs `inject_into` or, in old manifests, `header`")),
        };
        Ok(Self::ApiKey { option, token: view.required_template("api_token")? })
    }

    /// What signing adds to a request, and the token if it may have to be replaced.
    ///
    /// # Errors
    /// `Reauthorise` when a person must sign in again; as for templates and requests.
    pub(crate) async fn sign(&self, session: &Session) -> Result<Injections> {
        let mut injections = Injections::default();
        match self.chosen(session)? {
            Self::None | Self::Selective { .. } | Self::Pool(_) => {}
            Self::ApiKey { option, token } => {
                let token = token.text(&session.engine, session.scope())?;
                option.inject(&session.engine, session.scope(), Python::Text(token), &mut injections)?;
            }
            Self::Bearer(token) => {
                let token = token.text(&session.engine, session.scope())?;
                authorize(&mut injections, format!("Bearer {token}"));
            }
            Self::Basic { username, password } => {
                let username = username.text(&session.engine, session.scope())?;
                let password =
                    password.as_ref().map(|password| password.text(&session.engine, session.scope())).transpose()?;
                let pair = format!("{username}:{}", password.unwrap_or_default());
                authorize(&mut injections, format!("Basic {}", STANDARD.encode(pair)));
            }
            Self::Grant(oauth) => authorize(&mut injections, format!("Bearer {}", oauth.access_token(session).await?)),
            Self::SessionToken(token) => token.sign(session, &mut injections).await?,
            Self::LegacyToken(token) => token.sign(session, &mut injections).await?,
            Self::Custom(custom) => {
                for (name, value) in custom.part.sign(&session.own_settings(), &session.http).await? {
                    injections.headers.set(&[name], Python::Text(value.expose_secret().to_owned()));
                }
            }
            Self::Jwt(jwt) => jwt.sign(session, &mut injections)?,
        }
        Ok(injections)
    }

    /// The pool of tokens that sign whole requests, if this is one.
    ///
    /// # Errors
    /// As for [`Auth::sign`].
    pub(super) fn pool(&self, session: &Session) -> Result<Option<&TokenPool>> {
        Ok(match self.chosen(session)? {
            Self::Pool(pool) => Some(pool),
            _ => None,
        })
    }

    /// After the product refused a token (the present one, when it is not known which): gets another one.
    ///
    /// # Errors
    /// As for [`Auth::sign`].
    pub(crate) async fn renew(&self, session: &Session, refused: Option<SecretString>) -> Result<bool> {
        match self.chosen(session)? {
            Self::Grant(oauth) => oauth.renew(session, refused).await,
            _ => Ok(false),
        }
    }

    fn chosen(&self, session: &Session) -> Result<&Self> {
        let Self::Selective { path, choices } = self else { return Ok(self) };
        let pointer = path
            .iter()
            .fold(String::new(), |pointer, step| format!("{pointer}/{}", step.replace('~', "~0").replace('/', "~1")));
        let key = session.settings.pointer(&pointer).map(|value| Python::from(value).text());
        let key = key.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("the setting {pointer} says how to sign in and is missing"))
        })?;
        let known = || {
            let mut names: Vec<&str> = choices.keys().map(String::as_str).collect();
            names.sort_unstable();
            names.join(", ")
        };
        let chosen = choices.get(&key);
        chosen
            .ok_or_else(|| Error::new(ErrorKind::Invalid, format!("the setting {pointer} must be one of {}", known())))?
            .chosen(session)
    }
}

/// Sets the `Authorization` header.
pub(super) fn authorize(injections: &mut Injections, value: String) {
    injections.headers.set(&["Authorization".to_owned()], Python::Text(value));
}
