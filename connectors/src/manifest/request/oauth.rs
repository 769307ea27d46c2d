//! OAuth 2 as manifests describe it: a token endpoint with its own names for everything.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::{FutureExt as _, future::BoxFuture};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::{
    super::{
        json::Slice,
        load::{Take, View},
        session::Session,
        template::{Only, Python, Template},
    },
    body::Inputs,
    jwt::Jwt,
    options::Fields,
    url::{encode, push_pairs},
};
use crate::{
    CredentialStore, Error, ErrorKind, Result, TokenPlace, Tokens, clock,
    http::{self, HttpClient, Method, Request, RetryPolicy},
    oauth::{MemoryCredentials, TokenSource},
};

/// The kind of grant in which a token that we sign is exchanged (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// `OAuthAuthenticator`.
#[derive(Debug)]
pub(crate) struct OAuth {
    endpoint: Option<Template>,
    client_id: Option<Template>,
    client_secret: Option<Template>,
    refresh_token: Option<Template>,
    /// Where the settings hold a refresh token that works once, and what the endpoint calls it.
    single_use: Option<SingleUse>,
    access_token: Option<Template>,
    names: Names,
    grant_type: Option<Template>,
    scopes: Vec<String>,
    body: Inputs,
    headers: Inputs,
    in_query: bool,
    /// A token that we sign takes the place of a refresh token, where the condition holds.
    assertion: Option<(Template, Arc<Jwt>)>,
    /// True for the manifest's first grant of a person.
    is_first_grant: bool,
}

/// `RefreshTokenUpdater`: rotated tokens go to the credential store; the settings hold the first one.
#[derive(Debug)]
struct SingleUse {
    name: String,
    pointer: String,
}

impl SingleUse {
    fn load(view: &View<'_>) -> Take<Self> {
        let path = view
            .texts("refresh_token_config_path")?
            .unwrap_or_else(|| vec!["credentials".into(), "refresh_token".into()]);
        let pointer = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect();
        Ok(Self { name: view.text("refresh_token_name")?.unwrap_or_else(|| "refresh_token".into()), pointer })
    }
}

/// What the endpoint calls things.
#[derive(Debug)]
struct Names {
    client_id: Option<Template>,
    client_secret: Option<Template>,
    refresh_token: Option<Template>,
    grant_type: Option<Template>,
    access_token: Option<Template>,
    expires_in: Option<Template>,
}

/// One refresh request with everything filled in.
#[derive(Clone)]
struct Exchange {
    url: url::Url,
    headers: http::HeaderMap,
    fields: Vec<(String, String)>,
    refresh_token_name: String,
    access_token_name: String,
    expires_in_name: String,
    in_query: bool,
    assertion: Option<(Arc<Jwt>, Session)>,
}

impl OAuth {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let assertion = match (view.template("use_profile_assertion")?, view.child("profile_assertion")) {
            (None, _) => None,
            (Some(uses), Some(jwt)) => Some((uses, Arc::new(Jwt::load(&jwt)?))),
            (Some(_), None) => return Err(view.problem("`use_profile_assertion` needs `profile_assertion`")),
        };
        let names = Names {
            client_id: view.template("client_id_name")?,
            client_secret: view.template("client_secret_name")?,
            refresh_token: view.template("refresh_token_name")?,
            grant_type: view.template("grant_type_name")?,
            access_token: view.template("access_token_name")?,
            expires_in: view.template("expires_in_name")?,
        };
        Ok(Self {
            names,
            assertion,
            endpoint: view.template("token_refresh_endpoint")?,
            client_id: view.template("client_id")?,
            client_secret: view.template("client_secret")?,
            refresh_token: view.template("refresh_token")?,
            single_use: view.child("refresh_token_updater").map(|updater| SingleUse::load(&updater)).transpose()?,
            access_token: view.template("access_token_value")?,
            grant_type: view.template("grant_type")?,
            scopes: view.texts("scopes")?.unwrap_or_default(),
            body: Inputs::load(view, "refresh_request_body")?,
            headers: Inputs::load(view, "refresh_request_headers")?,
            in_query: view.flag("send_refresh_request_as_query_params")?.unwrap_or(false),
            is_first_grant: is_first_grant(view),
        })
    }

    /// The access token to send.
    ///
    /// # Errors
    /// `Reauthorise` when a person must sign in again, `Retry` when the product cannot be reached.
    pub(crate) async fn access_token(&self, session: &Session) -> Result<String> {
        match self.source(session)? {
            Some(source) => {
                let token = source.access_token().await?;
                session.hide_token(token.expose_secret());
                Ok(token.expose_secret().to_owned())
            }
            None => self
                .fixed(session)?
                .ok_or_else(|| Error::new(ErrorKind::Reauthorise, "there is no access token: sign in first")),
        }
    }

    /// Gets another access token than the refused one, or than the present one; false when there is no way to.
    ///
    /// # Errors
    /// As for [`OAuth::access_token`].
    pub(crate) async fn renew(&self, session: &Session, refused: Option<SecretString>) -> Result<bool> {
        let Some(source) = self.source(session)? else { return Ok(false) };
        let refused = match refused {
            Some(refused) => refused,
            None => source.access_token().await?,
        };
        source.after_unauthorised(&refused).await?;
        Ok(true)
    }

    /// The access token from the settings, for manifests without a token endpoint.
    fn fixed(&self, session: &Session) -> Result<Option<String>> {
        let token = self.access_token.as_ref().map(|token| token.text(&session.engine, session.scope())).transpose()?;
        Ok(token.filter(|token| !token.is_empty()))
    }

    fn source(&self, session: &Session) -> Result<Option<TokenSource>> {
        if self.endpoint.is_none() {
            return Ok(None);
        }
        let exchange = self.exchange(session)?;
        let configured = self.configured_refresh_token(session)?;
        let signer = exchange.assertion.as_ref().map(|(jwt, _)| Arc::clone(jwt));
        let what = format!("{}\n{:?}\n{configured:?}{signer:?}", exchange.url, exchange.fields);
        let http = session.http.clone();
        // Tokens by client credentials need no sign-in by a person and are never rotated; a manifest may have several.
        let grant_type = self.text(session, self.grant_type.as_ref(), "refresh_token")?;
        let is_own = configured.is_none() && grant_type == "client_credentials";
        let store = if is_own {
            Arc::new(MemoryCredentials::empty()) as Arc<dyn CredentialStore>
        } else {
            self.place(session, &exchange.url, configured.as_deref())?
        };
        let make = || {
            let refresh: crate::oauth::Refresh = Arc::new(move |old: Tokens| -> BoxFuture<'static, Result<Tokens>> {
                let (exchange, http, configured) = (exchange.clone(), http.clone(), configured.clone());
                async move { exchange.refresh(&http, &old, configured).await }.boxed()
            });
            TokenSource::issuing(store, refresh)
        };
        Ok(Some(session.tokens(what, make)))
    }

    /// Where the tokens of a grant are kept. A grant that the settings bring has a place of its own, named after what it
    /// began with: two in one manifest stay apart, and another refresh token in the settings begins anew.
    fn place(&self, session: &Session, endpoint: &url::Url, grant: Option<&str>) -> Result<Arc<dyn CredentialStore>> {
        let credentials = Arc::clone(&session.credentials);
        if session.is_of_browser(grant) {
            return Ok(credentials);
        }
        let client = self.text(session, self.client_id.as_ref(), "")?;
        let mut digest = Sha256::new();
        for part in [endpoint.as_str(), &client, grant.unwrap_or_default()] {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let name = URL_SAFE_NO_PAD.encode(&digest.finalize()[..16]);
        Ok(credentials.place(TokenPlace { name, inherits: self.is_first_grant && !session.has_browser() }))
    }

    fn text(&self, session: &Session, template: Option<&Template>, default: &str) -> Result<String> {
        template.map_or(Ok(default.to_owned()), |template| template.text(&session.engine, session.scope()))
    }

    /// As the settings have it; an empty one is sent too, as the reference does.
    fn configured_refresh_token(&self, session: &Session) -> Result<Option<String>> {
        if let Some(single_use) = &self.single_use {
            return Ok(session.settings.pointer(&single_use.pointer).map(|token| Python::from(token).text()));
        }
        self.refresh_token.as_ref().map(|token| token.text(&session.engine, session.scope())).transpose()
    }

    fn exchange(&self, session: &Session) -> Result<Exchange> {
        let endpoint = self.text(session, self.endpoint.as_ref(), "")?;
        let mut headers = http::HeaderMap::new();
        for (name, value) in self.headers.evaluate(&session.engine, session.scope(), Only::Any)?.0 {
            super::requester::insert_header(&mut headers, &name, &value.text())?;
        }
        if let Some((uses, jwt)) = &self.assertion
            && uses.is_met(&session.engine, session.scope())?
        {
            return self.asserted(session, Arc::clone(jwt), &endpoint, headers);
        }
        let mut fields = Fields::default();
        let mut set = |name: String, value: Python| fields.set(&[name], value);
        let grant_type = self.text(session, self.grant_type.as_ref(), "refresh_token")?;
        set(self.text(session, self.names.grant_type.as_ref(), "grant_type")?, Python::Text(grant_type));
        if !headers.contains_key(http::HeaderName::from_static("authorization")) {
            let id = self.text(session, self.client_id.as_ref(), "")?;
            let secret = self.text(session, self.client_secret.as_ref(), "")?;
            set(self.text(session, self.names.client_id.as_ref(), "client_id")?, Python::Text(id));
            set(self.text(session, self.names.client_secret.as_ref(), "client_secret")?, Python::Text(secret));
        }
        if !self.scopes.is_empty() {
            set("scopes".into(), Python::List(self.scopes.iter().cloned().map(Python::Text).collect()));
        }
        for (name, value) in self.body.evaluate(&session.engine, session.scope(), Only::Any)?.0 {
            if !fields.0.iter().any(|(known, _)| *known == name) {
                fields.set(&[name], value);
            }
        }
        let mut pairs = Vec::new();
        for (name, value) in fields.0 {
            push_pairs(&mut pairs, &name, value)?;
        }
        Ok(Exchange {
            url: super::url::join(&endpoint, "")?,
            headers,
            fields: pairs,
            refresh_token_name: match &self.single_use {
                Some(single_use) => single_use.name.clone(),
                None => self.text(session, self.names.refresh_token.as_ref(), "refresh_token")?,
            },
            access_token_name: self.text(session, self.names.access_token.as_ref(), "access_token")?,
            expires_in_name: self.text(session, self.names.expires_in.as_ref(), "expires_in")?,
            in_query: self.in_query,
            assertion: None,
        })
    }

    /// An exchange of a token that we sign.
    fn asserted(&self, session: &Session, jwt: Arc<Jwt>, endpoint: &str, headers: http::HeaderMap) -> Result<Exchange> {
        let grant_type = self.text(session, self.names.grant_type.as_ref(), "grant_type")?;
        Ok(Exchange {
            url: super::url::join(endpoint, "")?,
            headers,
            fields: vec![(grant_type, JWT_BEARER.to_owned())],
            refresh_token_name: String::new(),
            access_token_name: self.text(session, self.names.access_token.as_ref(), "access_token")?,
            expires_in_name: self.text(session, self.names.expires_in.as_ref(), "expires_in")?,
            in_query: self.in_query,
            assertion: Some((jwt, session.apart())),
        })
    }
}

impl Exchange {
    async fn refresh(self, http: &HttpClient, old: &Tokens, configured: Option<String>) -> Result<Tokens> {
        let stored = old.refresh_token.as_ref().map(|token| token.expose_secret().to_owned());
        let mut fields = self.fields.clone();
        if let Some((jwt, session)) = &self.assertion {
            fields.push(("assertion".to_owned(), jwt.token(session)?));
        } else if let Some(token) = stored.or(configured) {
            fields.push((self.refresh_token_name.clone(), token));
        }
        let mut request = if self.in_query {
            let mut url = self.url.clone();
            url.set_query(Some(&encode(&fields)));
            Request { method: Method::POST, ..Request::get(url) }
        } else {
            Request::post(self.url.clone(), "application/x-www-form-urlencoded", encode(&fields))
        };
        request.headers.extend(self.headers.clone());
        // The product has refused nothing then: to sign in again would be of no use.
        http.guarded().map_or(Ok(()), |secret| secret.check(&request))?;
        let response = http.send(request, &RetryPolicy::default()).await.map_err(refused)?;
        let text = std::str::from_utf8(&response.body).unwrap_or("");
        let answer = Slice::parse(text)
            .map_err(|_| Error::new(ErrorKind::BadAnswer, "the token endpoint did not answer with JSON"))?;
        let found = |name: &str| find(answer, name, 0);
        let token = found(&self.access_token_name).and_then(|token| token.as_text().map(|text| text.into_owned()));
        let token = token.ok_or_else(|| {
            Error::new(ErrorKind::BadAnswer, format!("the token endpoint's answer has no `{}`", self.access_token_name))
        })?;
        let rotated = found(&self.refresh_token_name)
            .and_then(|token| token.as_text().map(|text| SecretString::from(text.into_owned())));
        Ok(Tokens {
            access_token: token.into(),
            refresh_token: rotated.or_else(|| old.refresh_token.clone()),
            expires_at: Some(clock::after(
                found(&self.expires_in_name).and_then(lifetime).unwrap_or(Duration::from_secs(3600)),
            )),
            version: old.version + 1,
        })
    }
}

/// True for the manifest's first authenticator with a grant of a person; clients that sign in for themselves keep nothing.
fn is_first_grant(view: &View<'_>) -> bool {
    let text = |name: &str| view.field(name).map(|node| node.to_json().to_string());
    let grant = [text("refresh_token"), text("refresh_token_updater")];
    let is_of_client = text("grant_type").is_some_and(|kind| kind == r#""client_credentials""#);
    let is_grant = !is_of_client || grant.iter().any(Option::is_some);
    let identity = [text("token_refresh_endpoint"), text("client_id")];
    is_grant && view.loader().is_first_grant(&format!("{identity:?}{grant:?}"))
}

/// A refused refresh means that a person must sign in again.
fn refused(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Reauthorise => Error::new(
            ErrorKind::Reauthorise,
            "the product refuses to renew the sign-in: sign in again, and check client id and secret",
        ),
        _ => error,
    }
}

/// The member called `name`, also inside other members.
fn find<'a>(value: Slice<'a>, name: &str, depth: u32) -> Option<Slice<'a>> {
    if let Some(found) = value.get(name) {
        return Some(found);
    }
    if depth >= 5 {
        return None;
    }
    value.members().into_iter().find_map(|(_, inner)| find(inner, name, depth + 1))
}

fn lifetime(value: Slice<'_>) -> Option<Duration> {
    let text = value.as_text().map_or_else(|| value.text().to_owned(), |text| text.into_owned());
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}
