//! A token from a login request, used until it ends.

use std::{sync::Arc, time::Duration as StdDuration};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    super::{
        decode::Decoder,
        json::Slice,
        load::{Take, View},
        session::Session,
        template::{Python, Template},
        time::Duration,
    },
    auth::authorize,
    options::{Injections, RequestOption},
    requester::{Call, Requester, Sent},
};
use crate::{Error, ErrorKind, Result, clock};

/// `SessionTokenAuthenticator`.
#[derive(Debug)]
pub(crate) struct SessionToken {
    login: Arc<Requester>,
    decoder: Decoder,
    path: Vec<String>,
    lasts: Option<Duration>,
    usage: Usage,
}

/// How the token is sent.
#[derive(Debug)]
enum Usage {
    Bearer,
    ApiKey { option: RequestOption, template: Option<Template> },
}

impl SessionToken {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let decoder = Decoder::load(view, "decoder")?;
        if !matches!(decoder, Decoder::Json | Decoder::Xml) {
            return Err(view.problem("the `decoder` of a SessionTokenAuthenticator must be JsonDecoder or XmlDecoder"));
        }
        let login = Requester::load(&view.required_child("login_requester")?);
        let lasts = match view.text("expiration_duration")? {
            Some(text) => Some(Duration::parse(&text).map_err(|reason| view.problem(reason))?),
            None => None,
        };
        let usage = view.required_child("request_authentication")?;
        let usage = match usage.kind() {
            "Bearer" => Usage::Bearer,
            "ApiKey" => Usage::ApiKey {
                option: RequestOption::load(&usage.required_child("inject_into")?)?,
                template: usage.template("api_token")?,
            },
            _ => return Err(usage.unsupported("request authentication")),
        };
        let path = view.texts("session_token_path")?.unwrap_or_default();
        Ok(Self { login: Arc::new(login?), decoder, path, lasts, usage })
    }

    /// Signs a request, logging in if need be.
    ///
    /// # Errors
    /// As for [`Requester::send`].
    pub(crate) async fn sign(&self, session: &Session, injections: &mut Injections) -> Result<()> {
        let token = match self.lasts {
            None => self.log_in(session).await?,
            Some(lasts) => self.kept(session, lasts).await?,
        };
        match &self.usage {
            Usage::Bearer => authorize(injections, format!("Bearer {token}")),
            Usage::ApiKey { option, template } => {
                let scope = session.scope().clone().with("session_token", minijinja::Value::from(token.as_str()));
                let token = template.as_ref().map_or(Ok(token), |template| template.text(&session.engine, &scope))?;
                option.inject(&session.engine, session.scope(), Python::Text(token), injections)?;
            }
        }
        Ok(())
    }

    /// The token, shared by all streams of the session until it ends. The lock makes one login of many.
    async fn kept(&self, session: &Session, lasts: Duration) -> Result<String> {
        let login = session.login(format!("{:?}", self.login));
        let mut kept = login.lock().await;
        if let Some((token, until)) = &*kept
            && clock::now() < *until
        {
            return Ok(token.expose_secret().to_owned());
        }
        let token = self.log_in(session).await?;
        let until = clock::after(StdDuration::from_micros(lasts.micros.max(0) as u64));
        *kept = Some((SecretString::from(token.clone()), until));
        Ok(token)
    }

    async fn log_in(&self, session: &Session) -> Result<String> {
        // Boxed: a login is a request, and a request may need a login.
        let answer = Box::pin(self.login.send(session, &Call::default())).await?;
        let missing =
            || Error::new(ErrorKind::BadAnswer, format!("the login answer has no token at `{}`", self.path.join(".")));
        let Sent::Answer(answer) = answer else { return Err(missing()) };
        let body = self.decoder.open(answer.body)?.next().ok_or_else(missing)??;
        let text = std::str::from_utf8(&body).unwrap_or("");
        let answer =
            Slice::parse(text).map_err(|_| Error::new(ErrorKind::BadAnswer, "the login answer is not JSON"))?;
        let token = Python::from_json(answer.at(&self.path).ok_or_else(missing)?).text();
        session.hide_token(&token);
        Ok(token)
    }
}
