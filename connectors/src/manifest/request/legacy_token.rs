//! `LegacySessionTokenAuthenticator`: a token from the settings while it works, else one from a login with name and password.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    super::{
        json::{Slice, write_text},
        load::{Take, View},
        session::Session,
        template::{Python, Template},
    },
    options::Injections,
    requester::insert_header,
    url::join,
};
use crate::{
    Error, ErrorKind, Result, clock,
    http::{Request, RetryPolicy, failure},
};

/// How long a token from a login is used.
const LOGIN_LASTS: Duration = Duration::from_secs(86_400);

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct LegacyToken {
    base: Template,
    header: Template,
    token: Option<Template>,
    response_key: Option<Template>,
    username: Option<Template>,
    password: Option<Template>,
    login_path: Template,
    validate_path: Template,
}

impl LegacyToken {
    /// Reads the component; addresses start with the base of `requester`.
    pub(crate) fn load(view: &View<'_>, requester: &View<'_>) -> Take<Self> {
        let base = requester.template("url_base")?.map_or_else(|| requester.required_template("url"), Ok);
        Ok(Self {
            base: base?,
            header: view.required_template("header")?,
            token: view.template("session_token")?,
            response_key: view.template("session_token_response_key")?,
            username: view.template("username")?,
            password: view.template("password")?,
            login_path: view.required_template("login_url")?,
            validate_path: view.required_template("validate_session_url")?,
        })
    }

    /// Signs a request, logging in if need be.
    ///
    /// # Errors
    /// `Invalid` without a working token and without name and password; as for requests.
    pub(crate) async fn sign(&self, session: &Session, injections: &mut Injections) -> Result<()> {
        let header = text(session, Some(&self.header))?;
        let token = self.kept(session, &header).await?;
        injections.headers.set(&[header], Python::Text(token));
        Ok(())
    }

    async fn kept(&self, session: &Session, header: &str) -> Result<String> {
        let login = session.login(format!("{self:?}"));
        let mut kept = login.lock().await;
        if let Some((token, until)) = &*kept
            && clock::now() < *until
        {
            return Ok(token.expose_secret().to_owned());
        }
        let configured = text(session, self.token.as_ref())?;
        let token = if !configured.is_empty() && self.works(session, header, &configured).await? {
            configured
        } else {
            self.log_in(session).await?
        };
        *kept = Some((SecretString::from(token.clone()), clock::after(LOGIN_LASTS)));
        Ok(token)
    }

    async fn works(&self, session: &Session, header: &str, token: &str) -> Result<bool> {
        let mut request = Request::get(self.address(session, &self.validate_path)?);
        insert_header(&mut request.headers, header, token)?;
        let response = session.send(request).await?;
        match failure(&response, clock::now()) {
            None => Ok(true),
            Some(error) if error.kind() == ErrorKind::Reauthorise => Ok(false),
            Some(error) => Err(error),
        }
    }

    async fn log_in(&self, session: &Session) -> Result<String> {
        let (username, password) = (text(session, self.username.as_ref())?, text(session, self.password.as_ref())?);
        if username.is_empty() || password.is_empty() {
            return Err(Error::new(
                ErrorKind::Reauthorise,
                "the session token does not work, and there is no name and password to log in with",
            ));
        }
        let mut body = String::from("{\"username\":");
        write_text(&username, &mut body);
        body.push_str(",\"password\":");
        write_text(&password, &mut body);
        body.push('}');
        let request = Request::post(self.address(session, &self.login_path)?, "application/json", body);
        let response = session.http.send(request, &RetryPolicy::default()).await?;
        let key = text(session, self.response_key.as_ref())?;
        let answer = std::str::from_utf8(&response.body).ok().and_then(|text| Slice::parse(text).ok());
        let token = answer.and_then(|answer| answer.get(&key)).map(|token| Python::from_json(token).text());
        let token =
            token.ok_or_else(|| Error::new(ErrorKind::BadAnswer, format!("the login answer has no `{key}`")))?;
        session.hide_token(&token);
        Ok(token)
    }

    fn address(&self, session: &Session, path: &Template) -> Result<url::Url> {
        join(&format!("{}{}", text(session, Some(&self.base))?, text(session, Some(path))?), "")
    }
}

fn text(session: &Session, template: Option<&Template>) -> Result<String> {
    template.map_or(Ok(String::new()), |template| template.text(&session.engine, session.scope()))
}
